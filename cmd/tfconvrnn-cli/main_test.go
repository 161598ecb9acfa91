package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/hdf5"
	"github.com/tfconvrnn/go/internal/imagenet"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/tfconvrnn"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){program: main})
}

// runtimePath returns the library that tests use. Those that need one skip
// without it, or fail where TFCONVRNN_REQUIRE_RUNTIME=1 says that it must be there.
func runtimePath() (string, error) {
	if err := tfconvrnn.RuntimeError(); err != nil {
		return "", err
	}
	return libtf.Loaded().Path(), nil
}

const requireEnv = "TFCONVRNN_REQUIRE_RUNTIME"

func TestScripts(t *testing.T) {
	library, missing := runtimePath()
	if missing != nil && os.Getenv(requireEnv) == "1" {
		require.NoError(t, missing, "%s=1", requireEnv)
	}
	repository, err := filepath.Abs("../..")
	require.NoError(t, err)
	store := t.TempDir() // shared, so that models are converted once
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			bin, _, _ := strings.Cut(os.Getenv("PATH"), string(os.PathListSeparator))
			for name, value := range map[string]string{
				"HOME":                  filepath.Join(env.WorkDir, "home"),
				"TFCONVRNN_CACHE":       filepath.Join(env.WorkDir, "cache"),
				"TFCONVRNN_CHECKPOINTS": "",
				libtf.Env:               library,
				"CI":                    "", // it would install the runtime
				"STORE":                 store,
				"LIBTENSORFLOW":         library,
				"LIBHDF5":               hdf5Library(),
				hdf5.Env:                hdf5Library(),
				"BIN":                   bin,
				"PICTURES":              filepath.Join(repository, "testdata/pictures"),
				"GOLDEN":                filepath.Join(repository, "testdata/golden"),
				"COMPARISON":            filepath.Join(repository, "testdata/comparison"),
				"STIMULI":               filepath.Join(repository, "stimuli/testdata"),
				"IMAGES":                filepath.Join(repository, "internal/images/testdata/pictures"),
			} {
				env.Setenv(name, value)
			}
			return nil
		},
		Condition: func(condition string) (bool, error) {
			if condition == "runtime" {
				return missing == nil, nil
			}
			if condition == "hdf5" {
				err := hdf5.Load("")
				if err != nil && os.Getenv(requireEnv) == "1" {
					return false, err
				}
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", condition)
		},
		Cmds: map[string]func(ts *testscript.TestScript, negated bool, args []string){
			"exits":     exits,
			"arrays":    listArrays,
			"npy":       makeArray,
			"picture":   makePicture,
			"cut":       cutFile,
			"flip":      flipByte,
			"waitfor":   waitForFile,
			"waitrows":  waitForRows,
			"sameArray": sameArray,
		},
	})
}

// hdf5Library is what commands with a cache of their own load too, "" if there is none.
func hdf5Library() string {
	if hdf5.Load("") != nil {
		return ""
	}
	path, _ := hdf5.Loaded()
	return path
}

// exits CODE COMMAND ARG… runs a command and demands its exit code.
func exits(ts *testscript.TestScript, negated bool, args []string) {
	if negated || len(args) < 2 {
		ts.Fatalf("usage: exits code command args…")
	}
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d instead of %s", code, args[0])
	}
	if stderr := ts.ReadFile("stderr"); strings.Contains(stderr, "goroutine ") || strings.Contains(stderr, "panic:") {
		ts.Fatalf("it panicked")
	}
}

// arrays FILE prints the name, type and shape of every array in an .npz, and the
// values of those of strings.
func listArrays(ts *testscript.TestScript, negated bool, args []string) {
	f, err := features.OpenArrays(ts.MkAbs(args[0]))
	if negated {
		if err == nil {
			ts.Fatalf("%s is readable", args[0])
		}
		return
	}
	ts.Check(err)
	defer f.Close()
	for _, name := range f.Names() {
		array, err := f.Array(name)
		ts.Check(err)
		info := array.Info()
		fmt.Fprintf(ts.Stdout(), "%s %s %v", name, info.DataType, info.Shape)
		switch {
		case info.DataType == features.Text:
			values, err := array.Strings(0, info.Rows())
			ts.Check(err)
			fmt.Fprintf(ts.Stdout(), " %s", strings.Join(values, " "))
		case strings.HasSuffix(name, "/timesteps"):
			values, err := array.Int64s(0, info.Rows())
			ts.Check(err)
			fmt.Fprintf(ts.Stdout(), " %v", values)
		}
		fmt.Fprintln(ts.Stdout())
	}
}

// npy FILE DTYPE SHAPE VALUE writes an array of one value.
func makeArray(ts *testscript.TestScript, _ bool, args []string) {
	file, dtype, shape := ts.MkAbs(args[0]), args[1], args[2]
	value, err := strconv.ParseFloat(args[3], 64)
	ts.Check(err)
	n := 1
	for _, d := range strings.Split(shape, ",") {
		size, err := strconv.Atoi(d)
		ts.Check(err)
		n *= size
	}
	var element []byte
	switch dtype {
	case "|u1":
		element = []byte{uint8(value)}
	case "<f4":
		element = binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(value)))
	case "<f8":
		element = binary.LittleEndian.AppendUint64(nil, math.Float64bits(value))
	case "<i8":
		element = binary.LittleEndian.AppendUint64(nil, uint64(int64(value)))
	default:
		ts.Fatalf("type %s", dtype)
	}
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s,), }", dtype, shape)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	data := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	data = append(data, header...)
	data = append(data, bytes.Repeat(element, n)...)
	ts.Check(os.WriteFile(file, data, 0o644))
}

// picture KIND FILE makes a picture: color, grey, grey16, alpha, exif (a JPEG to
// be turned), huge (60,000 pixels a side) or empty (0 pixels).
func makePicture(ts *testscript.TestScript, _ bool, args []string) {
	var buffer bytes.Buffer
	bounds := image.Rect(0, 0, 300, 260)
	shade := color.NRGBA{200, 100, 50, 128}
	paint := func(set func(x, y int, c color.Color)) {
		for y := range bounds.Dy() {
			for x := range bounds.Dx() {
				set(x, y, shade)
			}
		}
	}
	switch args[0] {
	case "color":
		img := image.NewRGBA(bounds)
		shade.A = 255
		paint(img.Set)
		ts.Check(png.Encode(&buffer, img))
	case "grey":
		img := image.NewGray(bounds)
		paint(img.Set)
		ts.Check(png.Encode(&buffer, img))
	case "grey16":
		img := image.NewGray16(bounds)
		paint(img.Set)
		ts.Check(png.Encode(&buffer, img))
	case "alpha":
		img := image.NewNRGBA(bounds)
		paint(img.Set)
		ts.Check(png.Encode(&buffer, img))
	case "exif":
		img := image.NewRGBA(bounds)
		paint(img.Set)
		var plain bytes.Buffer
		ts.Check(jpeg.Encode(&plain, img, nil))
		// One directory entry: orientation (0x0112), SHORT, 1 value, 6.
		exif := []byte(
			"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00")
		buffer.Write(plain.Bytes()[:2])
		buffer.Write([]byte{0xff, 0xe1, byte((len(exif) + 2) >> 8), byte(len(exif) + 2)})
		buffer.Write(exif)
		buffer.Write(plain.Bytes()[2:])
	case "huge", "empty":
		size := uint32(0)
		if args[0] == "huge" {
			size = 60_000
		}
		chunk := []byte("IHDR")
		chunk = binary.BigEndian.AppendUint32(chunk, size)
		chunk = binary.BigEndian.AppendUint32(chunk, size)
		chunk = append(chunk, 8, 2, 0, 0, 0)
		buffer.WriteString("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d")
		buffer.Write(binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk)))
		buffer.WriteString("\x00\x00\x00\x00IEND\xaeB`\x82")
	default:
		ts.Fatalf("kind %s", args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), buffer.Bytes(), 0o644))
}

// cut FILE N leaves the first N bytes of a file.
func cutFile(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), n))
}

// flip FILE N changes byte N of a file.
func flipByte(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	data[n] ^= 0x10
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o644))
}

// waitfor FILE waits until a file exists.
func waitForFile(ts *testscript.TestScript, _ bool, args []string) {
	for range 600 {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("%s did not appear", args[0])
}

// waitrows FILE waits until more than metadata is in an unfinished .npz, which has
// its full size from the beginning.
func waitForRows(ts *testscript.TestScript, _ bool, args []string) {
	for range 600 {
		if data, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && len(data)-bytes.Count(data, []byte{0}) > 1<<20 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%s did not grow", args[0])
}

// sameArray FILE FILE ARRAY demands equal values of an array in two .npz.
func sameArray(ts *testscript.TestScript, negated bool, args []string) {
	var values [2][]float32
	for i, name := range args[:2] {
		f, err := features.OpenArrays(ts.MkAbs(name))
		ts.Check(err)
		array, err := f.Array(args[2])
		ts.Check(err)
		values[i], err = array.Float32s(0, array.Info().Rows())
		ts.Check(err)
		ts.Check(f.Close())
	}
	if slices.Equal(values[0], values[1]) == negated {
		ts.Fatalf("equal: %v", !negated)
	}
}

// run runs a command line in this process.
func run(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	code = Main(ctx, args, strings.NewReader(""), &out, &errOut)
	return code, out.String(), errOut.String()
}

func TestInterruptedExtractLeavesNothing(t *testing.T) {
	if _, err := runtimePath(); err != nil {
		require.NotEqual(t, "1", os.Getenv(requireEnv), "%v", err)
		t.Skip("needs libtensorflow:", err)
	}
	dir := t.TempDir()
	out := filepath.Join(dir, "features.npz")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // cancel in the middle
		for ctx.Err() == nil {
			if _, err := os.Stat(out + ".partial"); err == nil {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	args := []string{"extract", "--model", "timedecay_shallow", "--weights", "seeded:1", "--store", t.TempDir(), "--batch",
		"2", "--out", out}
	for range 200 {
		args = append(args, "../../testdata/pictures/rocket.jpg")
	}
	code, stdout, stderr := run(ctx, args...)
	assert.Equal(t, exitInterrupted, code)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "tfconvrnn-cli: interrupted\n")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestExitCodesAreDocumented(t *testing.T) {
	code, stdout, _ := run(t.Context(), "help", "exit-codes")
	assert.Equal(t, exitOK, code)
	for _, code := range []int{exitOK, exitFailure, exitUsage, exitInput, exitMissing, exitInterrupted} {
		assert.Regexp(t, fmt.Sprintf(`(?m)^  %d +\w`, code), stdout)
	}
}

func TestJoinBooleanAliases(t *testing.T) {
	assert.Equal(t,
		[]string{"extract", "--include_all_times=True", "--include_logits=false", "--include-logits", "true", "--",
			"--include_logits", "True"},
		joinBooleanAliases([]string{"extract", "--include_all_times", "True", "--include_logits", "false", "--include-logits",
			"true", "--", "--include_logits", "True"}))
	assert.Equal(t, []string{"--include_logits", "a.png"}, joinBooleanAliases([]string{"--include_logits", "a.png"}))
	assert.Equal(t, []string{"--include_logits"}, joinBooleanAliases([]string{"--include_logits"}))
}

func TestTopClasses(t *testing.T) {
	logits := make([]float32, 1000)
	logits[7], logits[3], logits[999] = 1000, 1000, 1001 // would overflow if not shifted
	top := imagenet.Top(logits, 3)
	assert.Equal(t, []int{999, 3, 7}, []int{top[0].Index, top[1].Index, top[2].Index})
	e := math.E
	assert.InDelta(t, e/(e+2), top[0].Probability, 1e-12)
	assert.InDelta(t, 1/(e+2), top[2].Probability, 1e-12)
	assert.Equal(t, "toilet tissue", top[0].Name())
}

func TestOutputsEqualPlan(t *testing.T) {
	if _, err := runtimePath(); err != nil {
		require.NotEqual(t, "1", os.Getenv(requireEnv), "%v", err)
		t.Skip("needs libtensorflow:", err)
	}
	model, err := tfconvrnn.Load("timedecay_shallow", tfconvrnn.WithWeights("seeded:1"), tfconvrnn.WithStore(t.TempDir()))
	require.NoError(t, err)
	defer model.Close()
	for _, options := range [][]tfconvrnn.ExtractOption{
		nil,
		{tfconvrnn.Layers("conv5", "imnetds"), tfconvrnn.WithPresentation(tfconvrnn.Neural())},
		{tfconvrnn.AllTimesteps(), tfconvrnn.WithPresentation(tfconvrnn.Episodes(9, tfconvrnn.Episode{On: 3, Off: 5}))},
	} {
		x, err := model.Plan(options...)
		require.NoError(t, err)
		presentation, outputs, err := tfconvrnn.Outputs(model.Info(), options...)
		require.NoError(t, err)
		assert.Equal(t, x.Layers(), outputs)
		assert.Equal(t, x.Presentation(), presentation)
	}
}
