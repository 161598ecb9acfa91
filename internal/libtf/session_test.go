package libtf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/tfpb"
)

// adder is x + [10, 20] for x of shape [-1, 2].
func adder() []*tfpb.NodeDef {
	return []*tfpb.NodeDef{placeholder("x", Float, -1, 2), constant("c", []int64{2}, 10, 20),
		binary("sum", "AddV2", "x", "c")}
}

func TestRuntimeIsTheTestedOne(t *testing.T) {
	r := need(t)
	assert.Regexp(t, `^2\.\d+\.\d+`, r.Version())
	assert.FileExists(t, r.Path())
	assert.Same(t, r, Loaded())
	again, err := Load("")
	require.NoError(t, err)
	assert.Same(t, r, again)
	again, err = Load(r.Path())
	require.NoError(t, err)
	assert.Same(t, r, again)
	_, err = Load(t.TempDir())
	assert.ErrorIs(t, err, ErrAlreadyLoaded)
}

func TestRun(t *testing.T) {
	noLeaks(t)
	g, s := session(t, adder()...)
	x := tensor[float32](t, []int64{3, 2}, 1, 2, 3, 4, 5, 6)
	results, err := s.Run(t.Context(), []Feed{{g.Operation("x").Output(0), x}},
		[]Output{g.Operation("sum").Output(0), g.Operation("c").Output(0), g.Operation("sum").Output(0)}, nil)
	require.NoError(t, err)
	defer CloseAll(results)
	require.Len(t, results, 3)
	for i, want := range [][]float32{{11, 22, 13, 24, 15, 26}, {10, 20}, {11, 22, 13, 24, 15, 26}} {
		values, err := Data[float32](results[i])
		require.NoError(t, err)
		assert.Equal(t, want, values)
	}
	assert.Equal(t, []int64{3, 2}, results[0].Shape())
	assert.Equal(t, []int64{2}, results[1].Shape())
	assert.Equal(t, Float, results[0].DataType())
}

func TestRunTargetsOnly(t *testing.T) {
	noLeaks(t)
	g, s := session(t, constant("c", nil, 1))
	results, err := s.Run(t.Context(), nil, nil, []*Operation{g.Operation("c")})
	require.NoError(t, err)
	assert.Empty(t, results)
}

func TestResultsOutliveTheSession(t *testing.T) {
	noLeaks(t)
	g, s := session(t, adder()...)
	results, err := s.Run(t.Context(), nil, []Output{g.Operation("c").Output(0)}, nil)
	require.NoError(t, err)
	defer CloseAll(results)
	require.NoError(t, s.Close())
	g.Close()
	values, err := Data[float32](results[0])
	require.NoError(t, err)
	assert.Equal(t, []float32{10, 20}, values)
}

func TestGraph(t *testing.T) {
	noLeaks(t)
	g, _ := session(t, adder()...)
	var names []string
	for _, operation := range g.Operations() {
		names = append(names, operation.Name()+":"+operation.Type())
	}
	assert.ElementsMatch(t, []string{"x:Placeholder", "c:Const", "sum:AddV2"}, names)
	assert.Nil(t, g.Operation("none"))
	assert.Nil(t, g.Operation("x\x00"))
	assert.Nil(t, g.Operation(""))
	assert.Equal(t, 1, g.Operation("sum").NumOutputs())

	sum := g.Operation("sum").Output(0)
	shape, err := sum.Shape()
	require.NoError(t, err)
	assert.Equal(t, []int64{-1, 2}, shape)
	dtype, err := sum.DataType()
	require.NoError(t, err)
	assert.Equal(t, Float, dtype)

	require.NoError(t, g.Import(graphDef(t, constant("scalar", nil, 1),
		node("any", "Placeholder", nil, map[string]*tfpb.AttrValue{"dtype": typeAttr(Int64)})), "part"))
	shape, err = g.Operation("part/scalar").Output(0).Shape()
	require.NoError(t, err)
	assert.Equal(t, []int64{}, shape)
	shape, err = g.Operation("part/any").Output(0).Shape()
	require.NoError(t, err)
	assert.Nil(t, shape)

	for _, bad := range []Output{{}, g.Operation("sum").Output(1), g.Operation("sum").Output(-1),
		g.Operation("none").Output(0)} {
		_, err = bad.Shape()
		assert.ErrorIs(t, err, ErrInvalidArgument)
		_, err = bad.DataType()
		assert.ErrorIs(t, err, ErrInvalidArgument)
	}
	g.Close()
	g.Close()
	assert.Nil(t, g.Operation("x"))
	assert.Nil(t, g.Operations())
	_, err = sum.Shape()
	assert.ErrorIs(t, err, ErrClosed)
	assert.ErrorIs(t, g.Import(nil, ""), ErrClosed)
}

func TestImportErrors(t *testing.T) {
	noLeaks(t)
	g, s := session(t, adder()...)
	assert.ErrorIs(t, g.Import(graphDef(t, node("a", "Nonesuch", nil, nil)), ""), ErrMissing)
	for name, c := range map[string]struct {
		message []byte
		prefix  string
	}{
		"garbage":        {[]byte("garbage\xff\xff"), ""},
		"missing input":  {graphDef(t, binary("a", "AddV2", "b", "c")), ""},
		"name in use":    {graphDef(t, constant("c", nil, 1)), ""},
		"prefix":         {graphDef(t, constant("d", nil, 1)), "a b//$"},
		"zero byte":      {graphDef(t, constant("d", nil, 1)), "a\x00"},
		"huge constant":  {graphDef(t, constant("d", []int64{1 << 40, 1 << 40}, 1)), ""},
		"unknown shape":  {graphDef(t, constant("d", []int64{-1}, 1)), ""},
		"negative shape": {graphDef(t, constant("d", []int64{-5, 2}, 1)), ""},
	} {
		assert.ErrorIs(t, g.Import(c.message, c.prefix), ErrInvalidArgument, name)
	}
	assert.Len(t, g.Operations(), 3)
	_, err := s.ListDevices()
	assert.NoError(t, err)
}

func TestRunRefusesWhatWouldAbort(t *testing.T) {
	noLeaks(t)
	g, s := session(t, adder()...)
	other, _ := session(t, adder()...)
	x := tensor[float32](t, []int64{1, 2}, 1, 2)
	closed := tensor[float32](t, []int64{1, 2}, 1, 2)
	closed.Close()
	in, out := g.Operation("x").Output(0), g.Operation("sum").Output(0)
	good := []Feed{{in, x}}
	for name, c := range map[string]struct {
		feeds   []Feed
		fetches []Output
		targets []*Operation
		want    error
	}{
		"nil fetch":       {good, []Output{{}}, nil, ErrInvalidArgument},
		"missing fetch":   {good, []Output{g.Operation("none").Output(0)}, nil, ErrInvalidArgument},
		"fetch index":     {good, []Output{g.Operation("sum").Output(1)}, nil, ErrInvalidArgument},
		"negative index":  {good, []Output{g.Operation("sum").Output(-1)}, nil, ErrInvalidArgument},
		"fetch of other":  {good, []Output{other.Operation("sum").Output(0)}, nil, ErrInvalidArgument},
		"nil target":      {good, nil, []*Operation{nil}, ErrInvalidArgument},
		"target of other": {good, nil, []*Operation{other.Operation("sum")}, ErrInvalidArgument},
		"nil feed":        {[]Feed{{Output{}, x}}, []Output{out}, nil, ErrInvalidArgument},
		"nil tensor":      {[]Feed{{in, nil}}, []Output{out}, nil, ErrInvalidArgument},
		"closed tensor":   {[]Feed{{in, closed}}, []Output{out}, nil, ErrClosed},
		"feed of other":   {[]Feed{{other.Operation("x").Output(0), x}}, []Output{out}, nil, ErrInvalidArgument},
		"feed twice":      {[]Feed{{in, x}, {in, x}}, []Output{out}, nil, ErrInvalidArgument},
		"type": {[]Feed{{in, tensor[float64](t, []int64{1, 2}, 1, 2)}}, []Output{out}, nil,
			ErrInvalidArgument},
		"rank":   {[]Feed{{in, tensor[float32](t, []int64{2}, 1, 2)}}, []Output{out}, nil, ErrInvalidArgument},
		"scalar": {[]Feed{{in, tensor[float32](t, nil, 1)}}, []Output{out}, nil, ErrInvalidArgument},
		"dimension": {[]Feed{{in, tensor[float32](t, []int64{1, 3}, 1, 2, 3)}}, []Output{out}, nil,
			ErrInvalidArgument},
		"not fed":         {nil, []Output{out}, nil, ErrInvalidArgument},
		"nothing to do":   {good, nil, nil, ErrInvalidArgument},
		"valid after all": {good, []Output{out}, nil, nil},
		"valid, fed constant": {append(good[:1:1], Feed{g.Operation("c").Output(0), tensor[float32](t, []int64{2}, 0, 0)}),
			[]Output{out}, nil, nil},
	} {
		results, err := s.Run(t.Context(), c.feeds, c.fetches, c.targets)
		CloseAll(results)
		if c.want == nil {
			assert.NoError(t, err, name)
			continue
		}
		assert.ErrorIs(t, err, c.want, name)
		assert.Nil(t, results, name)
	}
}

// Conv2D under oneDNN ends the process when fed a tensor of rank 0 to 3.
func TestConvolutionFedLowRank(t *testing.T) {
	noLeaks(t)
	conv := node("conv", "Conv2D", []string{"x", "w"}, map[string]*tfpb.AttrValue{
		"T":       typeAttr(Float),
		"strides": {Value: &tfpb.AttrValue_List{List: &tfpb.AttrValue_ListValue{I: []int64{1, 1, 1, 1}}}},
		"padding": {Value: &tfpb.AttrValue_S{S: []byte("SAME")}},
	})
	g, s := session(t, placeholder("x", Float, -1, -1, -1, 1), constant("w", []int64{1, 1, 1, 1}, 2), conv)
	run := func(x *Tensor) error {
		results, err := s.Run(t.Context(), []Feed{{g.Operation("x").Output(0), x}},
			[]Output{g.Operation("conv").Output(0)}, nil)
		CloseAll(results)
		return err
	}
	for _, shape := range [][]int64{{}, {1}, {1, 1}, {1, 1, 1}, {1, 1, 1, 1, 1}} {
		assert.ErrorIs(t, run(tensor[float32](t, shape, 1)), ErrInvalidArgument)
	}
	assert.NoError(t, run(tensor[float32](t, []int64{1, 1, 1, 1}, 1)))
}

func TestErrorOfTensorFlow(t *testing.T) {
	noLeaks(t)
	_, s := session(t, adder()...)
	g := &Graph{handle: s.graph}
	_, err := s.Run(t.Context(), nil, []Output{g.Operation("sum").Output(0)}, nil)
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, ErrInvalidArgument, e.Code)
	assert.Equal(t, "run a session", e.Operation)
	assert.Contains(t, e.Message, "must feed a value for placeholder")
	assert.NotErrorIs(t, err, ErrInternal)
}

func TestCodeNames(t *testing.T) {
	for code := Code(1); code <= 16; code++ {
		assert.NotContains(t, code.Error(), "status code", int(code))
	}
	assert.Equal(t, "status code 99", Code(99).Error())
	err := fmt.Errorf("wrapped: %w", &Error{"x", ErrDataLoss, "y"})
	assert.ErrorIs(t, err, ErrDataLoss)
	assert.False(t, errors.Is(err, ErrUnknown))
}

// slow is a chain of matrix products that takes about 10 ms each.
func slow(products int) []*tfpb.NodeDef {
	nodes := []*tfpb.NodeDef{placeholder("x", Float, 1000, 1000),
		node("p0", "Identity", []string{"x"}, map[string]*tfpb.AttrValue{"T": typeAttr(Float)})}
	for i := range products {
		nodes = append(nodes, binary(fmt.Sprintf("p%d", i+1), "MatMul", fmt.Sprintf("p%d", i), "x"))
	}
	return nodes
}

func TestContext(t *testing.T) {
	noLeaks(t)
	g, s := session(t, slow(20)...)
	x := tensor(t, []int64{1000, 1000}, make([]float32, 1000*1000)...)
	run := func(ctx context.Context) error {
		results, err := s.Run(ctx, []Feed{{g.Operation("x").Output(0), x}}, []Output{g.Operation("p20").Output(0)}, nil)
		if err != nil {
			assert.Nil(t, results)
		}
		CloseAll(results)
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, run(ctx), context.Canceled, "before")

	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	assert.ErrorIs(t, run(ctx), context.Canceled, "meanwhile")

	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, run(ctx), context.DeadlineExceeded)

	assert.NoError(t, run(t.Context()), "the session still works")
}

func TestCloseWaitsForRuns(t *testing.T) {
	noLeaks(t)
	g, s := session(t, slow(20)...)
	x := tensor(t, []int64{1000, 1000}, make([]float32, 1000*1000)...)
	feeds, fetches := []Feed{{g.Operation("x").Output(0), x}}, []Output{g.Operation("p20").Output(0)}
	var group sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		group.Go(func() {
			if i == len(errs)/2 {
				time.Sleep(20 * time.Millisecond)
				x.Close() // the runs that use it keep it
				assert.NoError(t, s.Close())
				assert.Zero(t, s.handle.calls)
				g.Close()
				return
			}
			results, err := s.Run(t.Context(), feeds, fetches, nil)
			CloseAll(results)
			errs[i] = err
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			assert.ErrorIs(t, err, ErrClosed, "either it ran or it was refused")
		}
	}
	_, err := s.Run(t.Context(), feeds, fetches, nil)
	assert.ErrorIs(t, err, ErrClosed)
	_, err = s.ListDevices()
	assert.ErrorIs(t, err, ErrClosed)
	_, err = NewSession(g, nil)
	assert.ErrorIs(t, err, ErrClosed)
	assert.NoError(t, s.Close())
	assert.NoError(t, (*Session)(nil).Close())
}

func TestConcurrentRuns(t *testing.T) {
	noLeaks(t)
	g, s := session(t, adder()...)
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			for range 50 {
				x, err := NewTensor([]int64{1, 2}, []float32{float32(i), 0})
				if !assert.NoError(t, err) {
					return
				}
				results, err := s.Run(t.Context(), []Feed{{g.Operation("x").Output(0), x}},
					[]Output{g.Operation("sum").Output(0)}, nil)
				x.Close()
				if !assert.NoError(t, err) {
					return
				}
				values, err := Data[float32](results[0])
				assert.NoError(t, err)
				assert.Equal(t, []float32{float32(i) + 10, 20}, values)
				CloseAll(results)
			}
		})
	}
	group.Wait()
}

func TestCollectorFreesForgottenSessions(t *testing.T) {
	need(t)
	before := LiveObjects()
	func() {
		g, err := NewGraph()
		require.NoError(t, err)
		require.NoError(t, g.Import(graphDef(t, adder()...), ""))
		_, err = NewSession(g, nil)
		require.NoError(t, err)
	}()
	assert.Eventually(t, func() bool {
		runtime.GC()
		return LiveObjects() == before
	}, 10*time.Second, 10*time.Millisecond)
}

func TestSessionOptions(t *testing.T) {
	need(t)
	noLeaks(t)
	g, err := NewGraph()
	require.NoError(t, err)
	defer g.Close()
	s, err := NewSession(g, &SessionOptions{Config: append(varintField(2, 1), varintField(5, 1)...)})
	require.NoError(t, err)
	devices, err := s.ListDevices()
	require.NoError(t, err)
	require.NotEmpty(t, devices)
	assert.Equal(t, "CPU", devices[0].Type)
	assert.Contains(t, devices[0].Name, "device:CPU:0")
	require.NoError(t, s.Close())

	for _, config := range [][]byte{varintField(2, -1), []byte("garbage")} {
		_, err = NewSession(g, &SessionOptions{Config: config})
		assert.ErrorIs(t, err, ErrInvalidArgument)
		_, err = LoadSavedModel(t.TempDir(), []string{"serve"}, &SessionOptions{Config: config})
		assert.ErrorIs(t, err, ErrInvalidArgument)
	}
	_, err = NewSession(nil, nil)
	assert.ErrorIs(t, err, ErrInvalidArgument)
}

func TestRegisteredKernels(t *testing.T) {
	need(t)
	kernels, err := RegisteredKernelsRaw("Conv2D")
	require.NoError(t, err)
	assert.Contains(t, string(kernels), "CPU")
	kernels, err = RegisteredKernelsRaw("Nonesuch")
	require.NoError(t, err)
	assert.Empty(t, kernels)
	_, err = RegisteredKernelsRaw("a\x00b")
	assert.ErrorIs(t, err, ErrInvalidArgument)
}

func writeSavedModel(t *testing.T, nodes ...*tfpb.NodeDef) string {
	t.Helper()
	message, err := proto.Marshal(&tfpb.SavedModel{SavedModelSchemaVersion: 1, MetaGraphs: []*tfpb.MetaGraphDef{{
		MetaInfoDef: &tfpb.MetaGraphDef_MetaInfoDef{Tags: []string{"serve"}},
		GraphDef:    &tfpb.GraphDef{Node: nodes, Versions: &tfpb.VersionDef{Producer: 1087}},
	}}})
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "saved_model.pb"), message, 0o644))
	return dir
}

func TestLoadSavedModel(t *testing.T) {
	need(t)
	noLeaks(t)
	model, err := LoadSavedModel(writeSavedModel(t, adder()...), []string{"serve"}, nil)
	require.NoError(t, err)
	defer func() { assert.NoError(t, model.Close()) }()
	x := tensor[float32](t, []int64{1, 2}, 1, 2)
	results, err := model.Session.Run(t.Context(), []Feed{{model.Graph.Operation("x").Output(0), x}},
		[]Output{model.Graph.Operation("sum").Output(0)}, nil)
	require.NoError(t, err)
	defer CloseAll(results)
	values, err := Data[float32](results[0])
	require.NoError(t, err)
	assert.Equal(t, []float32{11, 22}, values)
	require.NoError(t, model.Close())
	assert.NoError(t, (*SavedModel)(nil).Close())
}

func TestLoadSavedModelErrors(t *testing.T) {
	need(t)
	noLeaks(t)
	load := func(dir string, tags ...string) error {
		model, err := LoadSavedModel(dir, tags, nil)
		if err == nil {
			assert.NoError(t, model.Close())
		}
		return err
	}
	dir := writeSavedModel(t, adder()...)
	assert.ErrorIs(t, load(filepath.Join(dir, "none"), "serve"), ErrMissing)
	assert.ErrorIs(t, load(t.TempDir(), "serve"), ErrMissing)
	assert.ErrorIs(t, load(dir, "train"), ErrMissing)
	assert.ErrorIs(t, load(dir), ErrMissing)
	assert.ErrorIs(t, load(dir+"\x00", "serve"), ErrInvalidArgument)
	assert.ErrorIs(t, load(dir, "serve\x00"), ErrInvalidArgument)

	overflowing := writeSavedModel(t, constant("c", []int64{1 << 40, 1 << 40}, 1))
	err := load(overflowing, "serve")
	assert.ErrorIs(t, err, ErrInvalidArgument)
	assert.ErrorContains(t, err, overflowing)

	file := filepath.Join(dir, "saved_model.pb")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, size := range []int{1, len(content) / 2, len(content) - 1} {
		require.NoError(t, os.WriteFile(file, content[:size], 0o644))
		var e *Error
		assert.ErrorAs(t, load(dir, "serve"), &e)
	}
	require.NoError(t, os.WriteFile(file, []byte("garbage"), 0o644))
	var e *Error
	assert.ErrorAs(t, load(dir, "serve"), &e)
}

func BenchmarkRun(b *testing.B) {
	g, s := session(b, placeholder("x", Float, -1),
		node("y", "Neg", []string{"x"}, map[string]*tfpb.AttrValue{"T": typeAttr(Float)}))
	for _, size := range []int{1, 8 * 224 * 224 * 3} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			data := make([]float32, size)
			fetches := []Output{g.Operation("y").Output(0)}
			x := g.Operation("x").Output(0)
			b.SetBytes(int64(8 * size)) // in and out
			for b.Loop() {
				in, err := NewTensor([]int64{int64(size)}, data)
				require.NoError(b, err)
				results, err := s.Run(b.Context(), []Feed{{x, in}}, fetches, nil)
				require.NoError(b, err)
				view, err := Data[float32](results[0])
				if err != nil || len(view) != size {
					b.Fatal(err)
				}
				CloseAll(results)
				in.Close()
			}
		})
	}
}
