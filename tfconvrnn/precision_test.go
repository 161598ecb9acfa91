package tfconvrnn

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/cpu"
)

func TestPrecision(t *testing.T) {
	o := loadOptions{session: defaultSessionOptions()}
	assert.ErrorIs(t, WithPrecision("float16")(&o), ErrOption)
	assert.NoError(t, WithPrecision(Float32)(&o))
	_, err := o.session.config(nil)
	assert.NoError(t, err)

	assert.NoError(t, WithPrecision(BFloat16)(&o))
	_, err = o.session.config(nil)
	if cpu.X86.HasAVX512BF16 || cpu.X86.HasAMXBF16 {
		assert.NoError(t, err)
	} else {
		assert.ErrorIs(t, err, ErrPrecision)
	}
	o.session.device = "gpu:0"
	_, err = o.session.config(nil)
	assert.NoError(t, err, "GPUs have it, wherever they are")
}

// TestBFloat16OnGPU computes in bfloat16 on a simulated GPU, whatever the processor has.
func TestBFloat16OnGPU(t *testing.T) {
	t.Setenv(simulatedEnv, "1")
	m := loadTest(t, "timedecay_shallow", WithPrecision(BFloat16), WithDevice("gpu"))
	measured, err := m.PrecisionError(t.Context())
	require.NoError(t, err)
	_, largest := measured.Largest()
	for _, e := range []float64{largest, measured.Logits} {
		assert.Greater(t, e, 1e-4, "were it computed in float32, below 1e-5")
		assert.Less(t, e, 0.1)
	}
}

func TestPrecisionError(t *testing.T) {
	m := loadTest(t, "timedecay_shallow")
	measured, err := m.PrecisionError(t.Context())
	require.NoError(t, err)
	assert.Nil(t, measured, "float32 is what others are compared with")
	if !cpu.X86.HasAVX512BF16 && !cpu.X86.HasAMXBF16 {
		t.Skip("needs a processor with bfloat16")
	}
	for name, options := range map[string][]Option{"loaded": nil, "without session": {WithoutSession()}} {
		t.Run(name, func(t *testing.T) {
			m := loadTest(t, "timedecay_shallow", append(options, WithPrecision(BFloat16))...)
			x, err := m.Plan()
			require.NoError(t, err)
			assert.Nil(t, x.Provenance().PrecisionError)
			measured, err := m.PrecisionError(t.Context())
			require.NoError(t, err)
			assert.Len(t, measured.Layers, len(m.Info().Layers))
			_, largest := measured.Largest()
			// 8 significant bits; were it computed in float32, below 1e-5.
			for _, e := range []float64{largest, measured.Logits} {
				assert.Greater(t, e, 1e-4)
				assert.Less(t, e, 0.1)
			}
			assert.Equal(t, measured, x.Provenance().PrecisionError)
			again, err := m.PrecisionError(t.Context())
			require.NoError(t, err)
			assert.Same(t, measured, again)
		})
	}
	m = loadTest(t, "timedecay_shallow", WithPrecision(BFloat16))
	features, err := m.Extract(t.Context(), testStimuli(t, 1), early...)
	require.NoError(t, err)
	assert.NotNil(t, features.Provenance.PrecisionError)
	require.NoError(t, m.Close())
	m = loadTest(t, "timedecay_shallow", WithPrecision(BFloat16))
	require.NoError(t, m.Close())
	_, err = m.PrecisionError(t.Context())
	assert.ErrorIs(t, err, ErrClosed)
}
