package tfconvrnn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// abortCase is something that would make libtensorflow end the process, or close to
// it, tried through the public functions. make prepares files in dir.
type abortCase struct {
	make func(t *testing.T, dir string)
	run  func(t *testing.T, dir string) error
	want error // nil for any
}

// extractAll computes all that a model has.
func extractAll(t *testing.T, m *Model, err error) error {
	if err != nil {
		return err
	}
	defer m.Close()
	_, err = m.Extract(t.Context(), testStimuli(t, 2), AllTimesteps(), Logits())
	return err
}

func loadDir(t *testing.T, dir string, options ...Option) error {
	m, err := LoadSavedModel(t.Context(), filepath.Join(dir, "model"), options...)
	return extractAll(t, m, err)
}

func copyModel(t *testing.T, dir string) string {
	to := filepath.Join(dir, "model")
	require.NoError(t, os.CopyFS(to, os.DirFS(convertedModel(t))))
	return to
}

// inGraph is a case of a SavedModel whose graph is changed, and whose manifest fits.
func inGraph(options []Option, change func(g *tfpb.GraphDef)) abortCase {
	return abortCase{
		make: func(t *testing.T, dir string) {
			model := copyModel(t, dir)
			changeGraph(t, model, change)
			changeManifest(t, model, nil)
		},
		run: func(t *testing.T, dir string) error { return loadDir(t, dir, options...) },
	}
}

// inFiles is a case of a SavedModel whose files are changed.
func inFiles(options []Option, want error, change func(t *testing.T, model string)) abortCase {
	return abortCase{
		make: func(t *testing.T, dir string) { change(t, copyModel(t, dir)) },
		run:  func(t *testing.T, dir string) error { return loadDir(t, dir, options...) },
		want: want,
	}
}

// inRuntime is a case of a libtensorflow that cannot be loaded.
func inRuntime(make func(t *testing.T, library string)) abortCase {
	return abortCase{
		make: func(t *testing.T, dir string) { make(t, filepath.Join(dir, "libtensorflow_cc.so.2")) },
		run: func(t *testing.T, dir string) error {
			store, err := sharedStore()
			require.NoError(t, err)
			m, err := Load("timedecay_shallow", WithWeights("seeded:1"), WithStore(store), WithRuntime(dir))
			return extractAll(t, m, err)
		},
	}
}

// onModel is a case of what a loaded model is asked.
func onModel(want error, f func(t *testing.T, m *Model) error) abortCase {
	return abortCase{
		run:  func(t *testing.T, _ string) error { return f(t, loadTest(t, "timedecay_shallow")) },
		want: want,
	}
}

func extractImages(t *testing.T, m *Model, images ...*Image) error {
	_, err := m.Extract(t.Context(), []Stimulus{{ID: "s", Frames: images}}, early...)
	return err
}

func truncated(name string, size int64) func(t *testing.T, model string) {
	return func(t *testing.T, model string) {
		require.NoError(t, os.Truncate(filepath.Join(model, filepath.FromSlash(name)), size))
		changeManifest(t, model, nil)
	}
}

func option(o Option) abortCase {
	return abortCase{run: func(t *testing.T, _ string) error {
		_, err := Load("timedecay_shallow", WithWeights("seeded:1"), o)
		return err
	}, want: ErrOption}
}

func constantNode(name string, dimensions ...int64) *tfpb.NodeDef {
	shape := &tfpb.TensorShapeProto{}
	for _, d := range dimensions {
		shape.Dim = append(shape.Dim, &tfpb.TensorShapeProto_Dim{Size: d})
	}
	const float = tfpb.DataType_DT_FLOAT
	return &tfpb.NodeDef{Name: name, Op: "Const", Attr: map[string]*tfpb.AttrValue{
		"dtype": {Value: &tfpb.AttrValue_Type{Type: float}},
		"value": {Value: &tfpb.AttrValue_Tensor{Tensor: &tfpb.TensorProto{Dtype: float, TensorShape: shape,
			FloatVal: []float32{0}}}},
	}}
}

// lowRank makes a convolution of the given op read a scalar whose rank is not known before the run.
func lowRank(op string) func(g *tfpb.GraphDef) {
	return func(g *tfpb.GraphDef) {
		shape := constantNode("empty_shape", 0)
		shape.Attr["dtype"] = &tfpb.AttrValue{Value: &tfpb.AttrValue_Type{Type: tfpb.DataType_DT_INT32}}
		shape.Attr["value"].GetTensor().Dtype, shape.Attr["value"].GetTensor().FloatVal = tfpb.DataType_DT_INT32, nil
		t := map[string]*tfpb.AttrValue{"T": {Value: &tfpb.AttrValue_Type{Type: tfpb.DataType_DT_INT32}},
			"dtype": {Value: &tfpb.AttrValue_Type{Type: tfpb.DataType_DT_INT32}}}
		unknown := &tfpb.NodeDef{Name: "unknown_shape", Op: "PlaceholderWithDefault", Input: []string{"empty_shape"},
			Attr: map[string]*tfpb.AttrValue{
				"dtype": t["dtype"],
				"shape": {
					Value: &tfpb.AttrValue_Shape{Shape: &tfpb.TensorShapeProto{Dim: []*tfpb.TensorShapeProto_Dim{{Size: -1}}}}},
			}}
		scalar := &tfpb.NodeDef{Name: "scalar", Op: "Reshape", Input: []string{"one_value", "unknown_shape"},
			Attr: map[string]*tfpb.AttrValue{
				"T": {Value: &tfpb.AttrValue_Type{Type: tfpb.DataType_DT_FLOAT}}, "Tshape": t["T"],
			}}
		g.Node = append([]*tfpb.NodeDef{shape, unknown, constantNode("one_value", 1), scalar}, g.Node...)
		for i, n := range g.Node {
			switch {
			case n.Name == "per_frame/conv1/Conv2D" && op == n.Op:
				n.Input[0] = "scalar"
			case n.Name == "features_per_frame/conv1" && op != "Conv2D":
				kernel := "tnn_model/conv1/pre_0/weights_basenet/Read"
				added := &tfpb.NodeDef{Name: "added", Op: op, Input: []string{"scalar", kernel}, Attr: map[string]*tfpb.AttrValue{}}
				for _, other := range g.Node {
					if other.Op == "Conv2D" {
						for key, value := range other.Attr {
							if key != "use_cudnn_on_gpu" {
								added.Attr[key] = value
							}
						}
						break
					}
				}
				n.Input[0] = added.Name
				g.Node = slices.Insert(g.Node, i, added)
				return
			}
		}
	}
}

var trusted = []Option{WithTrust()}

var abortCases = map[string]abortCase{
	"runtime is truncated": inRuntime(func(t *testing.T, library string) {
		from, err := os.Open(os.Getenv(libraryEnv))
		require.NoError(t, err)
		defer from.Close()
		to, err := os.Create(library)
		require.NoError(t, err)
		_, err = io.CopyN(to, from, 3<<20)
		require.NoError(t, err)
		require.NoError(t, to.Close())
		// The library that it depends on is beside it, undamaged, so that only the cut
		// counts.
		framework := filepath.Join(filepath.Dir(os.Getenv(libraryEnv)), "libtensorflow_framework.so.2")
		require.NoError(t, os.Symlink(framework, filepath.Join(filepath.Dir(library), filepath.Base(framework))))
	}),
	"runtime is cut in its middle": inRuntime(func(t *testing.T, library string) {
		// The file ends in its middle. Only its head is copied; the rest is a hole, which
		// takes no space.
		from, err := os.Open(os.Getenv(libraryEnv))
		require.NoError(t, err)
		defer from.Close()
		to, err := os.Create(library)
		require.NoError(t, err)
		_, err = io.CopyN(to, from, 1<<16)
		require.NoError(t, err)
		info, err := from.Stat()
		require.NoError(t, err)
		require.NoError(t, to.Truncate(info.Size()/2))
		require.NoError(t, to.Close())
	}),
	"runtime is empty": inRuntime(func(t *testing.T, library string) {
		require.NoError(t, os.WriteFile(library, nil, 0o644))
	}),
	"runtime is text": inRuntime(func(t *testing.T, library string) {
		require.NoError(t, os.WriteFile(library, []byte("#!/bin/sh\n"), 0o755))
	}),
	"runtime is folder": inRuntime(func(t *testing.T, library string) { require.NoError(t, os.Mkdir(library, 0o755)) }),
	"runtime is device": inRuntime(func(t *testing.T, library string) {
		require.NoError(t, os.Symlink("/dev/zero", library))
	}),
	"no runtime": inRuntime(func(t *testing.T, library string) {}),

	"threads -1":          option(WithThreads(-1)),
	"threads 0":           option(WithThreads(0)),
	"threads too many":    option(WithThreads(1 << 31)),
	"device -1":           option(WithDevice("gpu:-1")),
	"device of no number": option(WithDevice("gpu:99999999999999999999")),
	"memory limit -1":     option(WithGPUMemoryLimit(-1)),

	"graph is truncated":          inFiles(nil, ErrUntrusted, truncated("saved_model.pb", 100_000)),
	"graph is truncated, trusted": inFiles(trusted, nil, truncated("saved_model.pb", 100_000)),
	"graph is empty":              inFiles(nil, ErrUntrusted, truncated("saved_model.pb", 0)),
	"graph is empty, trusted":     inFiles(trusted, nil, truncated("saved_model.pb", 0)),
	"graph is garbage, trusted": inFiles(trusted, nil, func(t *testing.T, model string) {
		require.NoError(t, os.WriteFile(filepath.Join(model, "saved_model.pb"), slices.Repeat([]byte{0xff, 0x12, 0x00}, 1000),
			0o644))
	}),
	"graph is modified": inFiles(nil, ErrModified, func(t *testing.T, model string) {
		changeGraph(t, model, func(g *tfpb.GraphDef) { g.Node = g.Node[1:] })
	}),
	"graph lacks a node, trusted": inGraph(trusted, func(g *tfpb.GraphDef) { g.Node = g.Node[1:] }),
	"no graph": inFiles(nil, fs.ErrNotExist, func(t *testing.T, model string) {
		require.NoError(t, os.Remove(filepath.Join(model, "saved_model.pb")))
	}),
	"no graph, trusted": inFiles(trusted, nil, func(t *testing.T, model string) {
		require.NoError(t, os.Remove(filepath.Join(model, "saved_model.pb")))
	}),
	"no manifest": inFiles(trusted, fs.ErrNotExist, func(t *testing.T, model string) {
		require.NoError(t, os.Remove(filepath.Join(model, manifest.Name)))
	}),
	"manifest is broken": inFiles(trusted, ErrModified, func(t *testing.T, model string) {
		require.NoError(t, os.Truncate(filepath.Join(model, manifest.Name), 1000))
	}),
	"no variables": inFiles(nil, ErrUntrusted, func(t *testing.T, model string) {
		require.NoError(t, os.RemoveAll(filepath.Join(model, "variables")))
	}),
	"no variables, trusted": inFiles(trusted, nil, func(t *testing.T, model string) {
		require.NoError(t, os.RemoveAll(filepath.Join(model, "variables")))
	}),
	"variables are cut": inFiles(nil, ErrUntrusted, truncated("variables/variables.data-00000-of-00001",
		1_000_000)),
	"variables are cut, trusted": inFiles(trusted, nil, truncated("variables/variables.data-00000-of-00001", 1_000_000)),
	"index is cut, trusted":      inFiles(trusted, nil, truncated("variables/variables.index", 100)),
	"a bit of the variables is flipped": inFiles(nil, nil, func(t *testing.T, model string) {
		path := filepath.Join(model, "variables", "variables.data-00000-of-00001")
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		data[len(data)/2] ^= 1
		require.NoError(t, os.WriteFile(path, data, 0o644))
	}),

	"constant overflows": inGraph(nil, func(g *tfpb.GraphDef) {
		g.Node = append(g.Node, constantNode("x", 1<<40, 1<<40))
	}),
	"constant overflows, trusted": inGraph(trusted, func(g *tfpb.GraphDef) {
		g.Node = append(g.Node, constantNode("x", 1<<40, 1<<40))
	}),
	"constant is negative, trusted": inGraph(trusted, func(g *tfpb.GraphDef) {
		g.Node = append(g.Node, constantNode("x", -5, 7))
	}),
	"rank is huge, trusted": inGraph(trusted, func(g *tfpb.GraphDef) {
		g.Node = append(g.Node, constantNode("x", make([]int64, 300)...))
	}),
	"unknown op, trusted": inGraph(trusted, func(g *tfpb.GraphDef) {
		g.Node = append(g.Node, &tfpb.NodeDef{Name: "x", Op: "NoSuchOp"})
	}),
	"cycle, trusted": inGraph(trusted, func(g *tfpb.GraphDef) {
		for _, n := range g.Node {
			if n.Op == "Elu" {
				n.Input[0] = n.Name
			}
		}
	}),
	"convolution of a scalar": inGraph(nil, lowRank("Conv2D")),

	"convolution of a scalar in bfloat16": inGraph([]Option{WithPrecision(BFloat16)}, lowRank("Conv2D")),
	"depthwise convolution of a scalar":   inGraph(nil, lowRank("DepthwiseConv2dNative")),

	"no stimuli": onModel(ErrImages, func(t *testing.T, m *Model) error {
		_, err := m.Extract(t.Context(), nil)
		return err
	}),
	"no frames":  onModel(ErrImages, func(t *testing.T, m *Model) error { return extractImages(t, m) }),
	"nil frame":  onModel(ErrImages, func(t *testing.T, m *Model) error { return extractImages(t, m, nil) }),
	"zero frame": onModel(ErrImages, func(t *testing.T, m *Model) error { return extractImages(t, m, &Image{}) }),
	"frame of 100×100": onModel(ErrImages, func(t *testing.T, m *Model) error {
		return extractImages(t, m, LazyImage(func() ([]uint8, error) { return make([]uint8, 100*100*3), nil }))
	}),
	"frame of nothing": onModel(ErrImages, func(t *testing.T, m *Model) error {
		return extractImages(t, m, LazyImage(func() ([]uint8, error) { return nil, nil }))
	}),
	"blank of 100×100": onModel(ErrImages, func(t *testing.T, m *Model) error {
		blank := ImageBlank("b", LazyImage(func() ([]uint8, error) { return make([]uint8, 100*100*3), nil }))
		_, err := m.Extract(t.Context(), testStimuli(t, 1), Layers("conv2"), WithPresentation(Custom(5, 2).WithBlank(blank)))
		return err
	}),
	"NaN": onModel(ErrImages, func(t *testing.T, m *Model) error {
		pixels := make([]float32, imageValues)
		pixels[5] = float32(math.NaN())
		_, err := FromFloat32(pixels)
		return err
	}),
	"no timesteps": onModel(ErrPresentation, func(t *testing.T, m *Model) error {
		_, err := m.Plan(WithPresentation(Constant(0)))
		return err
	}),
	"many timesteps": onModel(ErrPresentation, func(t *testing.T, m *Model) error {
		_, err := m.Plan(WithPresentation(Constant(1 << 40)))
		return err
	}),
	"batch of -1": onModel(ErrOption, func(t *testing.T, m *Model) error {
		_, err := m.Plan(BatchSize(-1))
		return err
	}),
	"only the blank": onModel(errNone, func(t *testing.T, m *Model) error {
		_, err := m.Extract(t.Context(), testStimuli(t, 2), AllTimesteps(), Logits(), WithPresentation(Custom(16, 0)))
		return none(err)
	}),
	"closed": onModel(ErrClosed, func(t *testing.T, m *Model) error {
		require.NoError(t, m.Close())
		return extractImages(t, m, testStimuli(t, 1)[0].Frames...)
	}),
	"cancelled": onModel(context.Canceled, func(t *testing.T, m *Model) error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := m.Extract(ctx, testStimuli(t, 1))
		return err
	}),
}

// errNone stands for no error, where there is to be none.
var errNone = errors.New("no error")

func none(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// Environment variables of the child process: the case, its directory, and the
// runtime that the parent uses.
const (
	abortEnv     = "TFCONVRNN_TEST_ABORT"
	abortDirEnv  = "TFCONVRNN_TEST_ABORT_DIR"
	libraryEnv   = "TFCONVRNN_TEST_LIBRARY"
	abortMessage = "the error is: "
)

// TestNothingAborts tries every case in a process of its own, which must end
// normally, with an error of ours.
func TestNothingAborts(t *testing.T) {
	if name := os.Getenv(abortEnv); name != "" {
		err := abortCases[name].run(t, os.Getenv(abortDirEnv))
		require.Error(t, err)
		if want := abortCases[name].want; want != nil {
			require.ErrorIs(t, err, want)
		}
		fmt.Println(abortMessage + err.Error())
		return
	}
	requireRuntime(t)
	library := libtf.Loaded().Path()
	t.Setenv(libraryEnv, library)
	store, err := sharedStore()
	require.NoError(t, err)
	loadTest(t, "timedecay_shallow") // so that it is converted once
	for name, c := range abortCases {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			dir := t.TempDir()
			if c.make != nil {
				c.make(t, dir)
			}
			command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNothingAborts$")
			command.Env = append(os.Environ(), abortEnv+"="+name, abortDirEnv+"="+dir, "TFCONVRNN_TEST_STORE="+store)
			out, err := command.CombinedOutput()
			require.NoError(t, err, "%s", out)
			_, message, found := strings.Cut(string(out), abortMessage)
			require.True(t, found, "%s", out)
			assert.NotEmpty(t, strings.TrimSpace(message))
			t.Log(strings.TrimSuffix(message, "PASS\n"))
		})
	}
}
