package trust_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/tfpb"
	"github.com/tfconvrnn/go/internal/trust"
)

// pristine converts a model once; the directory outlives the test that asks first.
var pristine = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "trust")
	if err != nil {
		return "", err
	}
	source, err := convert.Seeded("timedecay_shallow", 1)
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "m")
	_, err = convert.Convert(context.Background(), "timedecay_shallow", source, dir, convert.Options{Times: 16})
	return dir, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := pristine(); err == nil {
		os.RemoveAll(filepath.Dir(dir))
	}
	os.Exit(code)
}

// savedModel returns a copy of a converted model.
func savedModel(t testing.TB) (dir string, m *manifest.Manifest) {
	from, err := pristine()
	require.NoError(t, err)
	dir = filepath.Join(t.TempDir(), "m")
	require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
	m, err = manifest.Read(dir)
	require.NoError(t, err)
	return dir, m
}

func TestCheck(t *testing.T) {
	dir, m := savedModel(t)
	require.NoError(t, trust.Check(dir, m))
	graph, index := filepath.Join(dir, "saved_model.pb"), filepath.Join(dir, "variables", "variables.index")
	data := filepath.Join(dir, "variables", "variables.data-00000-of-00001")
	for _, path := range []string{graph, index} {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		content[len(content)/2] ^= 1
		require.NoError(t, os.WriteFile(path, content, 0o644))
		err = trust.Check(dir, m)
		assert.ErrorIs(t, err, trust.ErrUntrusted)
		assert.ErrorIs(t, err, manifest.ErrModified)
		assert.ErrorContains(t, err, filepath.Base(path))
		require.NoError(t, os.Remove(path))
		err = trust.Check(dir, m)
		assert.ErrorIs(t, err, trust.ErrUntrusted)
		assert.ErrorIs(t, err, fs.ErrNotExist)
		require.NoError(t, syscall.Mkfifo(path, 0o600))
		assert.ErrorIs(t, trust.Check(dir, m), trust.ErrUntrusted, "a pipe")
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.Symlink("/dev/zero", path))
		assert.ErrorIs(t, trust.Check(dir, m), trust.ErrUntrusted, "a device")
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.WriteFile(path, nil, 0o644))
		require.NoError(t, os.Truncate(path, 1<<40)) // takes no space on disk
		assert.ErrorIs(t, trust.Check(dir, m), trust.ErrUntrusted, "huge")
		content[len(content)/2] ^= 1
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.WriteFile(path, content, 0o644))
		require.NoError(t, trust.Check(dir, m))
	}
	info, err := os.Stat(data)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(data, info.Size()-1))
	err = trust.Check(dir, m)
	assert.ErrorIs(t, err, trust.ErrUntrusted)
	assert.ErrorIs(t, err, manifest.ErrModified)
	require.NoError(t, os.Remove(data))
	assert.ErrorIs(t, trust.Check(dir, m), trust.ErrUntrusted)
}

// TestOtherForms: TensorFlow would read these instead of, or besides, what is checked.
func TestOtherForms(t *testing.T) {
	for _, name := range []string{"saved_model.pbtxt", "saved_model.cpb", "assets", "assets.extra"} {
		dir, m := savedModel(t)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
		assert.ErrorIs(t, trust.Check(dir, m), trust.ErrUntrusted, name)
	}
	dir, m := savedModel(t)
	odd := filepath.Join(filepath.Dir(dir), `odd [a]*?\`)
	require.NoError(t, os.Rename(dir, odd))
	require.NoError(t, trust.Check(odd, m))
	require.NoError(t, os.WriteFile(filepath.Join(odd, "saved_model.cpb"), nil, 0o644))
	assert.ErrorIs(t, trust.Check(odd, m), trust.ErrUntrusted)
}

func graphBytes(t testing.TB) []byte {
	dir, _ := savedModel(t)
	data, err := os.ReadFile(filepath.Join(dir, "saved_model.pb"))
	require.NoError(t, err)
	return data
}

// raw returns an unknown field of a message.
func raw(number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), value)
}

func TestHostileGraphs(t *testing.T) {
	pristine := graphBytes(t)
	require.NoError(t, trust.CheckGraph(pristine))
	node := func(m *tfpb.MetaGraphDef, op string) *tfpb.NodeDef {
		for _, n := range m.GraphDef.Node {
			if n.Op == op {
				return n
			}
		}
		t.Fatalf("no node of type %s", op)
		return nil
	}
	named := func(m *tfpb.MetaGraphDef, name string) *tfpb.NodeDef {
		for _, n := range m.GraphDef.Node {
			if n.Name == name {
				return n
			}
		}
		t.Fatalf("no node %s", name)
		return nil
	}
	add := func(m *tfpb.MetaGraphDef, n *tfpb.NodeDef) { m.GraphDef.Node = append(m.GraphDef.Node, n) }
	tensor := func(t *tfpb.TensorProto) map[string]*tfpb.AttrValue {
		return map[string]*tfpb.AttrValue{"value": {Value: &tfpb.AttrValue_Tensor{Tensor: t}}}
	}
	for name, spoil := range map[string]func(s *tfpb.SavedModel, m *tfpb.MetaGraphDef){
		"reads files":  func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) { add(m, &tfpb.NodeDef{Name: "x", Op: "ReadFile"}) },
		"writes files": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) { add(m, &tfpb.NodeDef{Name: "x", Op: "WriteFile"}) },
		"saves":        func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) { add(m, &tfpb.NodeDef{Name: "x", Op: "SaveV2"}) },
		"runs Python":  func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) { add(m, &tfpb.NodeDef{Name: "x", Op: "PyFunc"}) },
		"calls":        func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) { node(m, "Conv2D").Op = "PartitionedCall" },
		"loops":        func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) { node(m, "Conv2D").Op = "While" },
		"no op":        func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) { node(m, "Conv2D").Op = "" },
		"another case": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) { node(m, "Conv2D").Op = "conv2D" },
		"a device":     func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) { node(m, "Conv2D").Device = "/job:worker/task:1" },
		"compiled": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) {
			node(m, "Conv2D").Attr["_XlaMustCompile"] = graph.Bool(true)
		},
		"restores twice": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) {
			add(m, proto.Clone(node(m, "RestoreV2")).(*tfpb.NodeDef))
		},
		"restores another": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) { node(m, "RestoreV2").Input[0] = "save/names" },
		"restores from afar": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) {
			named(m, "save/filename").Attr["value"].GetTensor().StringVal[0] = []byte("/etc/x")
		},
		"restores from two": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) {
			v := named(m, "save/filename").Attr["value"].GetTensor()
			v.StringVal = append([][]byte{[]byte("/x")}, v.StringVal...)
		},
		"restores nothing": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) { node(m, "RestoreV2").Op = "NoOp" },
		"file is computed": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) { named(m, "save/filename").Op = "Identity" },
		"no file": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) {
			delete(named(m, "save/filename").Attr, "value")
		},
		"a huge constant": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) {
			add(m,
				&tfpb.NodeDef{Name: "x", Op: "Const", Attr: tensor(&tfpb.TensorProto{TensorShape: graph.ShapeProto(1<<20, 1<<20)})})
		},
		"an overflow": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) {
			add(m,
				&tfpb.NodeDef{Name: "x", Op: "Const", Attr: tensor(&tfpb.TensorProto{TensorShape: graph.ShapeProto(1<<62, 1<<62)})})
		},
		"a negative dimension": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) {
			add(m, &tfpb.NodeDef{Name: "x", Op: "Const", Attr: tensor(&tfpb.TensorProto{TensorShape: graph.ShapeProto(-1)})})
		},
		"zero times much": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) {
			add(m,
				&tfpb.NodeDef{Name: "x", Op: "Const",
					Attr: tensor(&tfpb.TensorProto{TensorShape: graph.ShapeProto(0, 1<<21, 1<<21)})})
		},
		"a merged shape": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) {
			a := tensor(&tfpb.TensorProto{TensorShape: graph.ShapeProto(1 << 20)})
			half, err := proto.Marshal(a["value"])
			require.NoError(t, err)
			a["value"].ProtoReflect().SetUnknown(half)
			add(m, &tfpb.NodeDef{Name: "x", Op: "Const", Attr: a})
		},
		"a function": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) {
			m.GraphDef.ProtoReflect().SetUnknown(raw(2, raw(1, []byte{})))
		},
		"a named call": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) {
			v := graph.Bool(true)
			v.Value = nil
			v.ProtoReflect().SetUnknown(raw(10, nil))
			node(m, "Conv2D").Attr["T"] = v
		},
		"assets": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) { m.ProtoReflect().SetUnknown(raw(6, nil)) },
		"collections": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) {
			m.ProtoReflect().SetUnknown(raw(4, raw(1, []byte("saved_model_main_op"))))
		},
		"objects":         func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) { m.ProtoReflect().SetUnknown(raw(7, nil)) },
		"two graphs":      func(s *tfpb.SavedModel, m *tfpb.MetaGraphDef) { s.MetaGraphs = append(s.MetaGraphs, m) },
		"no graph":        func(s *tfpb.SavedModel, _ *tfpb.MetaGraphDef) { s.MetaGraphs = nil },
		"an unknown part": func(s *tfpb.SavedModel, _ *tfpb.MetaGraphDef) { s.ProtoReflect().SetUnknown(raw(9, nil)) },
		"two ops in a node": func(_ *tfpb.SavedModel, m *tfpb.MetaGraphDef) {
			node(m, "Conv2D").ProtoReflect().SetUnknown(raw(2, []byte("Conv2D")))
		},
	} {
		saved := &tfpb.SavedModel{}
		require.NoError(t, proto.Unmarshal(pristine, saved))
		spoil(saved, saved.MetaGraphs[0])
		data, err := proto.Marshal(saved)
		require.NoError(t, err)
		assert.ErrorIs(t, trust.CheckGraph(data), trust.ErrUntrusted, name)
	}
	for _, data := range []string{"", "\x00", "garbage", strings.Repeat("\xff", 100), "\x0b\x0c"} {
		assert.ErrorIs(t, trust.CheckGraph([]byte(data)), trust.ErrUntrusted, "%q", data)
	}
	for n := range 200 {
		assert.ErrorIs(t, trust.CheckGraph(pristine[:n*len(pristine)/200]), trust.ErrUntrusted, "truncated")
	}
}

// FuzzCheckGraph requires that of what is accepted nothing but the allowed ops
// reaches a reader that decodes the whole message.
func FuzzCheckGraph(f *testing.F) {
	small := &tfpb.SavedModel{}
	require.NoError(f, proto.Unmarshal(graphBytes(f), small))
	meta := small.MetaGraphs[0]
	meta.SignatureDef = nil
	var kept []*tfpb.NodeDef
	seen := map[string]bool{}
	for _, n := range meta.GraphDef.Node {
		if !seen[n.Op] || strings.HasPrefix(n.Name, "save/filename") {
			kept = append(kept, n)
		}
		seen[n.Op] = true
	}
	meta.GraphDef.Node = kept
	data, err := proto.Marshal(small)
	require.NoError(f, err)
	require.NoError(f, trust.CheckGraph(data))
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := trust.CheckGraph(data); err != nil {
			require.ErrorIs(t, err, trust.ErrUntrusted)
			return
		}
		saved := &tfpb.SavedModel{}
		if proto.Unmarshal(data, saved) != nil {
			return // TensorFlow would refuse it too
		}
		restores := 0
		for _, n := range saved.MetaGraphs[0].GetGraphDef().GetNode() {
			require.True(t, trust.Ops[n.Op], n.Op)
			require.Empty(t, n.Device)
			for name, a := range n.Attr {
				require.True(t, trust.Attributes[name], name)
				if shape := a.GetTensor().GetTensorShape(); shape != nil {
					elements := int64(1)
					for _, d := range shape.Dim {
						require.LessOrEqual(t, elements, int64(1<<22))
						elements *= max(1, d.Size)
					}
				}
			}
			if n.Op == "RestoreV2" {
				restores++
				require.Equal(t, "save/filename", n.Input[0])
			}
			if n.Name == "save/filename" {
				require.Equal(t, "Const", n.Op)
			}
		}
		require.Equal(t, 1, restores)
	})
}

func BenchmarkCheck(b *testing.B) {
	dir := b.TempDir()
	source, err := convert.Seeded("rgc_intermediate", 1)
	require.NoError(b, err)
	m, err := convert.Convert(b.Context(), "rgc_intermediate", source, filepath.Join(dir, "m"), convert.Options{})
	require.NoError(b, err)
	for b.Loop() {
		if err := trust.Check(filepath.Join(dir, "m"), m); err != nil {
			b.Fatal(err)
		}
	}
}
