package tfconvrnn

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/convert/manifest"
)

func TestClockCountsOverlapsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		assert.Zero(t, c.read())
		first := c.start()
		time.Sleep(2 * time.Second)
		second := c.start()
		time.Sleep(time.Second)
		first()
		time.Sleep(time.Second)
		assert.Equal(t, 4*time.Second, c.read())
		second()
		time.Sleep(time.Minute)
		assert.Equal(t, 4*time.Second, c.read())
		c.start()()
		assert.Equal(t, 4*time.Second, c.read())
	})
	assert.InDelta(t, 0.25, Statistics{Elapsed: 4, InSession: 3}.OutsideSession(), 1e-12)
	assert.Zero(t, Statistics{}.OutsideSession())
}

func TestCostOfVariants(t *testing.T) {
	requireRuntime(t)
	store := t.TempDir()
	pictures, err := FromUint8(builtInPicture())
	require.NoError(t, err)
	var costs []Cost
	var logits [][]float32
	for _, variant := range []Variant{"lightcone", "plain"} {
		m, err := Load("timedecay_shallow", WithWeights("seeded:1"), WithStore(store), WithVariant(variant))
		require.NoError(t, err)
		defer m.Close()
		count := func(options ...ExtractOption) Cost {
			x, err := m.Plan(options...)
			require.NoError(t, err)
			cost, err := x.Cost()
			require.NoError(t, err)
			return cost
		}
		all, only, every := count(), count(OnlyLogits()), count(OnlyLogits(), EveryLayer())
		assert.Positive(t, only.MACs(1))
		assert.LessOrEqual(t, only.MACs(1), all.MACs(1))
		assert.GreaterOrEqual(t, every.MACs(1), all.MACs(1))
		assert.Equal(t, variant == "plain", all.Blank, "known after the first run, except in the plain variant")
		assert.Equal(t, variant != "plain", all.Once > 0)
		assert.False(t, count(WithPresentation(Constant(16))).Blank)
		costs = append(costs, all)
		if variant == "plain" {
			assert.Zero(t, all.PerFrame)
			assert.Equal(t, 3*all.PerStimulus, all.MACs(3))
		}

		x, err := m.Plan(OnlyLogits(), EveryLayer())
		require.NoError(t, err)
		assert.Empty(t, x.Layers())
		f, err := x.Extract(t.Context(), pictures)
		require.NoError(t, err)
		assert.Empty(t, f.Layers)
		require.Len(t, f.Logits, Classes)
		logits = append(logits, f.Logits)
		s := x.Statistics()
		assert.Positive(t, s.InSession)
		assert.GreaterOrEqual(t, s.Elapsed, s.InSession)
	}
	assert.Less(t, costs[0].MACs(8), costs[1].MACs(8))
	assert.InDeltaSlice(t, logits[1], logits[0], 1e-3)
}

// BenchmarkArrange makes a run's input of stimuli whose pixels are in memory.
func BenchmarkArrange(b *testing.B) {
	requireRuntime(b)
	for _, batch := range []int{1, 8} {
		pixels := slices.Repeat(builtInPicture(), batch)
		floats := make([]float32, len(pixels))
		for i, v := range pixels {
			floats[i] = float32(v) / 255
		}
		fromBytes, err := FromUint8(pixels)
		require.NoError(b, err)
		fromFloats, err := FromFloat32(floats)
		require.NoError(b, err)
		for _, c := range []struct {
			name    string
			stimuli []Stimulus
		}{{"uint8", fromBytes}, {"float32", fromFloats}} {
			b.Run(fmt.Sprintf("%s/%d", c.name, batch), func(b *testing.B) {
				x := &Extraction{times: 17, model: &Model{manifest: &manifest.Manifest{}, constants: &constantCache{}}}
				x.options.presentation = Custom(17, 12)
				b.SetBytes(int64(4 * len(pixels)))
				for b.Loop() {
					l, err := x.loadBatch(context.Background(), 0, c.stimuli)
					require.NoError(b, err)
					l.input.close()
				}
			})
		}
	}
}
