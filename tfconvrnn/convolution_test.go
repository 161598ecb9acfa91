package tfconvrnn

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/kernels"
	"github.com/tfconvrnn/go/internal/tfpb"
)

func TestConvolutionOption(t *testing.T) {
	o := loadOptions{session: defaultSessionOptions()}
	assert.ErrorIs(t, WithConvolution("fast")(&o), ErrOption)
	assert.NoError(t, WithConvolution(ConvolutionDirect)(&o))
	assert.NoError(t, WithConvolution("")(&o))
	assert.Equal(t, ConvolutionAuto, o.session.convolution)
}

// TestConvolutions compares this project's convolutions with TensorFlow's.
func TestConvolutions(t *testing.T) {
	for _, name := range []string{"timedecay_shallow", "lstm_shallow", "rgc_shallow"} {
		t.Run(name, func(t *testing.T) {
			direct := loadTest(t, name, WithConvolution(ConvolutionDirect))
			auto := loadTest(t, name)
			if len(kernels.Instructions()) == 0 {
				t.Skip("needs this project's operations")
			}
			assert.Equal(t, ConvolutionDirect, direct.Convolution())
			assert.Equal(t, Convolution(winograd+kernels.Instructions()[0]), auto.Convolution())
			for _, batch := range []int{1, 3} {
				stimuli := testStimuli(t, batch)
				options := []ExtractOption{WithPresentation(Custom(9, 5)), AllTimesteps(), BatchSize(batch)}
				want, err := direct.Extract(t.Context(), stimuli, options...)
				require.NoError(t, err)
				got, err := auto.Extract(t.Context(), stimuli, options...)
				require.NoError(t, err)
				assert.Equal(t, ConvolutionDirect, want.Provenance.Convolution)
				assert.Equal(t, auto.Convolution(), got.Provenance.Convolution)
				same := true
				for _, l := range auto.Info().Layers {
					a, err := want.Layer(l.Name)
					require.NoError(t, err)
					b, err := got.Layer(l.Name)
					require.NoError(t, err)
					assert.Less(t, relativeError(a.Data, b.Data), 1e-4, l.Name)
					same = same && assert.ObjectsAreEqual(a.Data, b.Data)
				}
				assert.False(t, same, "they are computed in different ways")
				again, err := auto.Extract(t.Context(), stimuli, options...)
				require.NoError(t, err)
				assert.Equal(t, got.Layers, again.Layers)
			}
		})
	}
}

// TestConvolutionIsDirect where this project's operations would not do.
func TestConvolutionIsDirect(t *testing.T) {
	for name, options := range map[string][]Option{
		"plain variant": {WithVariant("plain")},
		"trusted":       {WithTrust()},
		"asked for":     {WithConvolution(ConvolutionDirect)},
		"not loaded":    {WithConvolution(ConvolutionDirect), WithoutSession()},
	} {
		assert.Equal(t, ConvolutionDirect, loadTest(t, "timedecay_shallow", options...).Convolution(), name)
	}
	auto := loadTest(t, "timedecay_shallow")
	assert.Equal(t, auto.Convolution(), loadTest(t, "timedecay_shallow", WithoutSession()).Convolution(),
		"plans say what workers do")
	t.Setenv(instructionsEnv, "sse1")
	_, err := Load("timedecay_shallow", WithWeights("seeded:1"), WithStore(t.TempDir()))
	assert.ErrorIs(t, err, ErrOption)
}

// TestWeightsThatOperationsRead are checked when the model is loaded, as TensorFlow checks those
// that it reads.
func TestWeightsThatOperationsRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "model")
	require.NoError(t, os.CopyFS(dir, os.DirFS(loadTest(t, "timedecay_shallow").Dir())))
	model, err := LoadSavedModel(t.Context(), dir)
	require.NoError(t, err)
	if model.filters == nil {
		t.Skip("needs this project's operations")
	}
	assert.NotEmpty(t, model.filters.released)
	entry, ok := model.filters.reader.Entry(model.filters.released[0])
	require.True(t, ok)
	require.NoError(t, model.Close())
	require.NoError(t, model.Close())

	file, err := os.OpenFile(filepath.Join(dir, "variables", "variables.data-00000-of-00001"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer file.Close()
	value := make([]byte, 1)
	_, err = file.ReadAt(value, entry.Offset+5)
	require.NoError(t, err)
	value[0] ^= 4
	_, err = file.WriteAt(value, entry.Offset+5)
	require.NoError(t, err)
	_, err = LoadSavedModel(t.Context(), dir)
	assert.ErrorIs(t, err, ErrModified)
	assert.ErrorContains(t, err, "checksum")
}

// TestOperationsAtOnce: those of this project share the cores among themselves.
func TestOperationsAtOnce(t *testing.T) {
	for threads, want := range map[int]int32{1: 1, 2: 1, 7: 1, 8: 2, 64: 16} {
		o := defaultSessionOptions()
		o.threads = threads
		for _, convolution := range []Convolution{ConvolutionDirect, winograd + "avx512"} {
			o.convolution = convolution
			data, err := o.config(nil)
			require.NoError(t, err)
			config := &tfpb.ConfigProto{}
			require.NoError(t, proto.Unmarshal(data, config))
			assert.EqualValues(t, threads, config.IntraOpParallelismThreads)
			if convolution == ConvolutionDirect {
				assert.EqualValues(t, threads, config.InterOpParallelismThreads)
				assert.False(t, config.UsePerSessionThreads)
				continue
			}
			assert.Equal(t, want, config.InterOpParallelismThreads, threads)
			assert.True(t, config.UsePerSessionThreads)
		}
	}
}
