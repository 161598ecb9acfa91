package convert_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/bundle"
	"github.com/tfconvrnn/go/internal/tfpb"
	"github.com/tfconvrnn/go/internal/weights"
	"github.com/tfconvrnn/go/internal/zoo"
)

const (
	golden = "../testdata/golden/timedecay_shallow/model.ckpt"
	model  = "timedecay_shallow"
)

func seeded(t testing.TB, model string) *convert.Source {
	source, err := convert.Seeded(model, 1)
	require.NoError(t, err)
	return source
}

func convertTo(t testing.TB, dir string, source *convert.Source, options convert.Options) *manifest.Manifest {
	m, err := convert.Convert(t.Context(), model, source, dir, options)
	require.NoError(t, err)
	return m
}

// tree returns the contents of all files below a directory.
func tree(t *testing.T, dir string) map[string]string {
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(data)
		return err
	}))
	return files
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestSameBytes(t *testing.T) {
	dir := t.TempDir()
	m := convertTo(t, filepath.Join(dir, "a"), seeded(t, model), convert.Options{})
	convertTo(t, filepath.Join(dir, "b"), seeded(t, model), convert.Options{})
	a := tree(t, filepath.Join(dir, "a"))
	require.Len(t, a, 4)
	assert.Equal(t, a, tree(t, filepath.Join(dir, "b")))

	read, err := manifest.Read(filepath.Join(dir, "a"))
	require.NoError(t, err)
	assert.Equal(t, m, read)
	require.NoError(t, m.Verify(filepath.Join(dir, "a")))
	assert.Len(t, m.Files, 3)
	assert.Equal(t, 30, m.Times)
	assert.Equal(t, "lightcone", m.Variant)
	assert.True(t, m.Weights.Untrained)
	assert.EqualValues(t, 1, *m.Weights.Seed)

	// Another seed, variant or number of timesteps is another SavedModel.
	other, err := convert.Seeded(model, 2)
	require.NoError(t, err)
	byOther := convertTo(t, filepath.Join(dir, "c"), other, convert.Options{})
	assert.NotEqual(t, m.Weights.SHA256, byOther.Weights.SHA256)
	assert.Equal(t, m.Files["saved_model.pb"], byOther.Files["saved_model.pb"])
	plain := convertTo(t, filepath.Join(dir, "d"), seeded(t, model), convert.Options{Variant: convert.Plain, Times: 16})
	assert.Equal(t, m.Weights, plain.Weights)
	assert.NotEqual(t, m.Files["saved_model.pb"], plain.Files["saved_model.pb"])
	assert.Equal(t, 16, plain.Times)
}

// TestCheckpointGivesTheWeightsOfItsSeed converts a checkpoint that TensorFlow wrote.
func TestCheckpointGivesTheWeightsOfItsSeed(t *testing.T) {
	dir := t.TempDir()
	checkpoint, err := convert.Checkpoint(model, golden)
	require.NoError(t, err)
	defer checkpoint.Close()
	a := convertTo(t, filepath.Join(dir, "a"), checkpoint, convert.Options{})
	b := convertTo(t, filepath.Join(dir, "b"), seeded(t, model), convert.Options{})
	assert.Equal(t, b.Weights.SHA256, a.Weights.SHA256)
	assert.Equal(t, b.Weights, a.Weights, "a seed's values are untrained wherever they come from")
	assert.Equal(t, b.Files, a.Files, "the same weights give the same files")
}

// TestTrainedOnlyIfNoSeedMakesTheValues looks at what the manifest says of checkpoints.
func TestTrainedOnlyIfNoSeedMakesTheValues(t *testing.T) {
	far, err := convert.Seeded(model, 1<<63)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		change    func(v *weights.Variable, values []float32) []float32
		untrained bool
	}{
		"a seed that is not searched": {func(v *weights.Variable, _ []float32) []float32 {
			values, err := far.Variable(v.Name, v.Shape)
			require.NoError(t, err)
			return values
		}, true},
		"one value of another seed": {func(v *weights.Variable, values []float32) []float32 {
			if strings.HasSuffix(v.Name, "imnetds/pre_1/weights") {
				values[len(values)-1] = -values[len(values)-1]
			}
			return values
		}, true},
		"trained": {func(v *weights.Variable, values []float32) []float32 {
			for i := range values {
				if v.Trainable {
					values[i] *= 1.0001
				}
			}
			return values
		}, false},
	} {
		checkpoint, err := convert.Checkpoint(model, writeCheckpoint(t, model, test.change))
		require.NoError(t, err)
		m := convertTo(t, filepath.Join(t.TempDir(), "m"), checkpoint, convert.Options{})
		require.NoError(t, checkpoint.Close())
		assert.Equal(t, manifest.Weights{SHA256: m.Weights.SHA256, Kind: "checkpoint", Untrained: test.untrained},
			m.Weights, name)
	}
}

// TestSignatures reads the SavedModel as TensorFlow does.
func TestSignatures(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	convertTo(t, dir, seeded(t, model), convert.Options{})
	data, err := os.ReadFile(filepath.Join(dir, "saved_model.pb"))
	require.NoError(t, err)
	saved := &tfpb.SavedModel{}
	require.NoError(t, proto.Unmarshal(data, saved))
	require.Len(t, saved.MetaGraphs, 1)
	meta := saved.MetaGraphs[0]
	assert.Equal(t, []string{convert.Tag}, meta.MetaInfoDef.Tags)
	nodes := map[string]*tfpb.NodeDef{}
	for _, n := range meta.GraphDef.Node {
		nodes[n.Name] = n
	}
	require.Len(t, meta.SignatureDef, 2)
	serving, presentation := meta.SignatureDef[convert.ServingSignature], meta.SignatureDef[convert.PresentationSignature]
	assert.Len(t, serving.Outputs, 1)
	m := zoo.Lookup(model)
	assert.Len(t, presentation.Outputs, 30*len(m.Layers)+30)
	for _, l := range m.Layers {
		for time := range 30 {
			assert.Contains(t, presentation.Outputs, fmt.Sprintf("%s/t%d", l.Name, time))
		}
	}
	for _, s := range meta.SignatureDef {
		for _, list := range []map[string]*tfpb.TensorInfo{s.Inputs, s.Outputs} {
			for name, info := range list {
				operation, output, found := strings.Cut(info.Name, ":")
				require.True(t, found && output == "0", info.Name)
				require.NotNil(t, nodes[operation], name)
			}
		}
	}
	assert.Contains(t, nodes, meta.SaverDef.RestoreOpName)

	// The variables that the graph restores are those of the bundle.
	reader, err := bundle.Open(filepath.Join(dir, "variables", "variables"))
	require.NoError(t, err)
	defer reader.Close()
	require.NoError(t, reader.VerifyAll(t.Context(), nil))
	restored := map[string]bool{}
	for _, name := range nodes["save/names"].Attr["value"].GetTensor().StringVal {
		restored[string(name)] = true
	}
	assert.Len(t, reader.Entries(), len(restored))
	for _, e := range reader.Entries() {
		assert.True(t, restored[e.Name], e.Name)
	}
}

// writeCheckpoint writes the seeded checkpoint of a model, changed by change: a nil
// shape leaves a variable out.
func writeCheckpoint(t *testing.T, model string, change func(v *weights.Variable, values []float32) []float32,
	extra ...weights.Variable) (prefix string) {
	prefix = filepath.Join(t.TempDir(), "model.ckpt")
	writer, err := bundle.Create(prefix)
	require.NoError(t, err)
	defer writer.Abort()
	source := seeded(t, model)
	add := func(v weights.Variable, values []float32) {
		shape := make([]int64, len(v.Shape))
		for i, d := range v.Shape {
			shape[i] = int64(d)
		}
		require.NoError(t, writer.Add(v.Name, shape, values))
	}
	for _, v := range zoo.Lookup(model).Variables() {
		values, err := source.Variable(v.Name, v.Shape)
		require.NoError(t, err)
		if change != nil {
			if values = change(&v, values); values == nil {
				continue
			}
		}
		add(v, values)
	}
	for _, v := range extra {
		n := 1
		for _, d := range v.Shape {
			n *= d
		}
		add(v, make([]float32, n))
	}
	require.NoError(t, writer.Finish())
	return prefix
}

func TestCheckpointOfAnotherModelIsNamed(t *testing.T) {
	_, err := convert.Checkpoint("gru_shallow", golden)
	require.ErrorIs(t, err, convert.ErrMismatch)
	assert.ErrorContains(t, err, "is a checkpoint of timedecay_shallow")
	_, err = convert.Checkpoint("ugrnn_intermediate", writeCheckpoint(t, "simplernn_shallow", nil))
	require.ErrorIs(t, err, convert.ErrMismatch)
	assert.ErrorContains(t, err, "is a checkpoint of simplernn_shallow")
}

func TestMismatchesAreListed(t *testing.T) {
	prefix := writeCheckpoint(t, model, func(v *weights.Variable, values []float32) []float32 {
		switch v.Name {
		case "tnn_model/conv2/pre_0/bias":
			return nil
		case "tnn_model/conv3/pre_0/bias":
			v.Shape = []int{1, 256}
		}
		return values
	}, weights.Variable{Name: "tnn_model/conv9/pre_0/bias", Shape: []int{3}},
		weights.Variable{Name: "tnn_model/conv1/pre_0/bias/Momentum", Shape: []int{64}},
		weights.Variable{Name: "global_step", Shape: nil})
	_, err := convert.Checkpoint(model, prefix)
	require.ErrorIs(t, err, convert.ErrMismatch)
	var mismatch *weights.MismatchError
	require.ErrorAs(t, err, &mismatch)
	assert.Len(t, mismatch.Missing, 1)
	assert.Len(t, mismatch.Extra, 1)
	assert.Len(t, mismatch.Misshapen, 1)
	for _, part := range []string{"conv2/pre_0/bias", "conv3/pre_0/bias", "[1,256]", "conv9/pre_0/bias"} {
		assert.ErrorContains(t, err, part)
	}
	assert.NotContains(t, err.Error(), "Momentum")
}

func TestMissingAndDamagedCheckpoints(t *testing.T) {
	_, err := convert.Checkpoint(model, filepath.Join(t.TempDir(), "model.ckpt"))
	assert.ErrorIs(t, err, convert.ErrNotFound)
	_, err = convert.Checkpoint("nobody", golden)
	assert.ErrorIs(t, err, convert.ErrUnknownModel)
	_, err = convert.Seeded("nobody", 1)
	assert.ErrorIs(t, err, convert.ErrUnknownModel)

	prefix := writeCheckpoint(t, model, nil)
	path := prefix + ".data-00000-of-00001"
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[len(data)/2] ^= 4
	require.NoError(t, os.WriteFile(path, data, 0o644))
	source, err := convert.Checkpoint(model, prefix)
	require.NoError(t, err, "the damage is in the data")
	defer source.Close()
	dir := t.TempDir()
	_, err = convert.Convert(t.Context(), model, source, filepath.Join(dir, "m"), convert.Options{})
	assert.ErrorIs(t, err, convert.ErrCorrupt)
	assert.ErrorContains(t, err, path)
	requireEmpty(t, dir)

	require.NoError(t, os.Truncate(path, 1000))
	_, err = convert.Checkpoint(model, prefix)
	assert.ErrorIs(t, err, convert.ErrCorrupt)
}

func TestFixedDecayMustBeZero(t *testing.T) {
	for _, decay := range []float32{0.25, -1e-30, float32(nan())} {
		changed := ""
		prefix := writeCheckpoint(t, model, func(v *weights.Variable, values []float32) []float32 {
			if !v.Trainable && strings.HasSuffix(v.Name, "/memory_decay") && changed == "" {
				changed = v.Name
				values[0] = decay
			}
			return values
		})
		require.NotEmpty(t, changed)
		source, err := convert.Checkpoint(model, prefix)
		require.NoError(t, err)
		defer source.Close()
		dir := t.TempDir()
		_, err = convert.Convert(t.Context(), model, source, filepath.Join(dir, "m"), convert.Options{})
		assert.ErrorIs(t, err, convert.ErrMismatch)
		assert.ErrorContains(t, err, changed)
		requireEmpty(t, dir)
	}
}

func nan() float64 { var zero float64; return zero / zero }

func TestOptionsAreChecked(t *testing.T) {
	dir := t.TempDir()
	for _, options := range []convert.Options{{Times: -1}, {Times: 1}, {Times: 15}, {Times: manifest.MaxTimes + 1}} {
		_, err := convert.Convert(t.Context(), model, seeded(t, model), filepath.Join(dir, "m"), options)
		assert.ErrorIs(t, err, convert.ErrTimes, "%d", options.Times)
	}
	_, err := convert.Convert(t.Context(), model, seeded(t, model), filepath.Join(dir, "m"),
		convert.Options{Variant: "fast"})
	assert.ErrorContains(t, err, "unknown variant")
	_, err = convert.Convert(t.Context(), "nobody", seeded(t, model), filepath.Join(dir, "m"), convert.Options{})
	assert.ErrorIs(t, err, convert.ErrUnknownModel)
	// Weights of one model do not make another.
	_, err = convert.Convert(t.Context(), "gru_shallow", seeded(t, model), filepath.Join(dir, "m"), convert.Options{})
	assert.ErrorIs(t, err, weights.ErrUnknownVariable)
	requireEmpty(t, dir)
	for _, times := range []int{16, 45} {
		m := convertTo(t, filepath.Join(dir, fmt.Sprint(times)), seeded(t, model), convert.Options{Times: times})
		assert.Equal(t, times, m.Times)
		assert.Len(t, m.Logits, times)
	}
}

func TestCancellationLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	variables := len(zoo.Lookup(model).Variables())
	for at := range variables + 1 {
		ctx, cancel := context.WithCancel(t.Context())
		steps := 0
		options := convert.Options{Progress: func(done, total int64) {
			if steps++; steps > at {
				cancel()
			}
			assert.LessOrEqual(t, done, total)
		}}
		if at == 0 {
			cancel()
		}
		_, err := convert.Convert(ctx, model, seeded(t, model), filepath.Join(dir, "m"), options)
		cancel()
		if at == variables { // never
			require.NoError(t, err)
			break
		}
		require.ErrorIs(t, err, context.Canceled, "at variable %d", at)
		requireEmpty(t, dir)
	}
}

func TestOverwrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	convertTo(t, dir, seeded(t, model), convert.Options{})
	before := tree(t, dir)
	_, err := convert.Convert(t.Context(), model, seeded(t, model), dir, convert.Options{})
	assert.ErrorIs(t, err, convert.ErrExists)

	broken := convert.SourceOf(&failing{Source: weights.Seeded(1, zoo.Lookup(model).Variables()), after: 3})
	_, err = convert.Convert(t.Context(), model, broken, dir, convert.Options{Overwrite: true})
	assert.ErrorIs(t, err, errRead)
	assert.Equal(t, before, tree(t, dir), "a failure leaves what was there")

	other, err := convert.Seeded(model, 2)
	require.NoError(t, err)
	m := convertTo(t, dir, other, convert.Options{Overwrite: true})
	require.NoError(t, m.Verify(dir))
	entries, err := os.ReadDir(filepath.Dir(dir))
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}

var errRead = errors.New("the disk is gone")

// failing is a source that fails after some variables.
type failing struct {
	weights.Source
	after int
}

func (f *failing) Variable(name string, shape []int) ([]float32, error) {
	if f.after--; f.after < 0 {
		return nil, errRead
	}
	return f.Source.Variable(name, shape)
}

func ExampleConvert() {
	source, err := convert.Seeded("timedecay_shallow", 1)
	if err != nil {
		panic(err)
	}
	defer source.Close()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	m, err := convert.Convert(context.Background(), "timedecay_shallow", source, filepath.Join(dir, "savedmodel"),
		convert.Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println(m.Model, m.Times, m.Variant, m.Weights.Untrained)
	// Output: timedecay_shallow 30 lightcone true
}

// Overwrite replaces SavedModels, and nothing else that a wrong name may mean.
func TestConvertKeepsOtherFolders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "precious")
	thesis := filepath.Join(dir, "thesis.tex")
	require.NoError(t, os.Mkdir(dir, 0o777))
	require.NoError(t, os.WriteFile(thesis, []byte("mine"), 0o666))
	_, err := convert.Convert(t.Context(), model, seeded(t, model), dir, convert.Options{Overwrite: true})
	assert.ErrorIs(t, err, convert.ErrNotSavedModel)
	_, err = convert.Convert(t.Context(), model, seeded(t, model), dir, convert.Options{})
	assert.ErrorIs(t, err, convert.ErrExists)
	text, err := os.ReadFile(thesis)
	require.NoError(t, err)
	assert.Equal(t, "mine", string(text))
	require.NoError(t, os.Remove(thesis))
	assert.NoError(t, convert.CheckOutput(dir, true), "an empty folder holds nothing to lose")
}
