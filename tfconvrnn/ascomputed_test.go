package tfconvrnn

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is reported while a batch is computed is what the batch holds when it is whole, to the last bit: each layer's
// timesteps once, in order.
func TestAsComputed(t *testing.T) {
	black, err := ColorBlank(0, 0, 0)
	require.NoError(t, err)
	for _, name := range []string{"timedecay_shallow", "rgc_shallow"} {
		m := loadTest(t, name)
		stimuli := testStimuli(t, 3)
		for label, options := range map[string][]ExtractOption{
			"all":            {AllTimesteps(), Logits()},
			"some":           {Layers("conv4", "conv1"), WithPresentation(Neural())},
			"blank":          {AllTimesteps(), WithPresentation(Custom(8, 3).WithBlank(black))},
			"constants only": {Layers("conv5"), AllTimesteps(), WithPresentation(Constant(3))},
			"logits only":    {OnlyLogits()},
			"units":          {Layers("conv5", "conv4"), SelectUnits("conv4=center")},
		} {
			options = append(options, BatchSize(2))
			want, err := m.Extract(t.Context(), stimuli, options...)
			require.NoError(t, err)
			type key struct{ first, layer int }
			came := map[key][]int{}
			values := map[key][]float32{}
			report := AsComputed(func(b *Batch, layer, timestep int) {
				k := key{b.First, layer}
				came[k] = append(came[k], timestep)
				for i := range b.Stimuli {
					v, err := b.Feature(layer, timestep, i)
					assert.NoError(t, err)
					values[k] = append(values[k], v...)
				}
			})
			got, err := m.Extract(t.Context(), stimuli, append(options, report)...)
			require.NoError(t, err)
			assert.Equal(t, want.Logits, got.Logits, label)
			for i, l := range want.Layers {
				assert.Equal(t, l.Data, got.Layers[i].Data, "%s %s", label, l.Name)
				each := make([]int, len(l.Timesteps))
				for k := range each {
					each[k] = k
				}
				require.Equal(t, each, came[key{0, i}], "%s %s", label, l.Name)
				require.Equal(t, each, came[key{2, i}], "%s %s", label, l.Name)
				// The first batch holds two stimuli, side by side at each timestep.
				var first []float32
				for _, timestep := range l.Timesteps {
					first = append(append(first, l.At(0, timestep)...), l.At(1, timestep)...)
				}
				require.True(t, slices.Equal(first, values[key{0, i}]), "%s %s", label, l.Name)
			}
		}
	}
}
