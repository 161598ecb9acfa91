package extraction

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/reduce"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// What decides the last bits must be equal for a run to go on.
func TestIdentityHoldsWhatDecidesTheLastBits(t *testing.T) {
	text := func(p tfconvrnn.Provenance) json.RawMessage {
		identity, err := json.Marshal(newIdentity(&Provenance{Provenance: p}, "fail", []string{"a"}, []string{"00"}))
		require.NoError(t, err)
		return identity
	}
	differences, err := features.Compare(
		text(tfconvrnn.Provenance{Threads: 2, OneDNN: "AVX2", Processor: "P", Convolution: "direct"}),
		text(tfconvrnn.Provenance{Threads: 8, OneDNN: "off", Processor: "Q", Convolution: "winograd avx2"}))
	require.NoError(t, err)
	assert.Equal(t, []features.Difference{
		{Field: "convolution", Before: `"direct"`, Now: `"winograd avx2"`},
		{Field: "onednn", Before: `"AVX2"`, Now: `"off"`},
		{Field: "processor", Before: `"P"`, Now: `"Q"`},
		{Field: "threads", Before: "2", Now: "8"},
	}, differences)
}

// A plan is not computed with another instruction set; another processor of the same
// instructions may compute it.
func TestCheckModelComparesArithmetic(t *testing.T) {
	planned := tfconvrnn.Provenance{Device: "cpu", Threads: 2, OneDNN: "AVX2", Processor: "P"}
	p := &Plan{name: "a.plan", Recipe: Recipe{Provenance: &Provenance{Provenance: planned}}}
	here := planned
	here.Processor = "Q"
	assert.NoError(t, p.checkModel(here))
	here.OneDNN = "off"
	err := p.checkModel(here)
	require.ErrorIs(t, err, ErrModel)
	assert.ErrorContains(t, err, `onednn is "AVX2" in the plan, "off" here`)
	here.OneDNN, here.Threads = "AVX2", 3
	assert.ErrorContains(t, p.checkModel(here), "threads is 2 in the plan, 3 here")
	here = planned
	here.Convolution = "direct"
	p.Provenance.Convolution = "winograd avx512"
	assert.ErrorContains(t, p.checkModel(here), `convolution is "winograd avx512" in the plan, "direct" here`)
	p.Provenance.Convolution = ""
	p.Provenance.Device, here = "gpu:0", planned
	here.Device, here.OneDNN = "gpu:1", "off" // does not compute
	assert.NoError(t, p.checkModel(here))
}

// A reduction that fits no layer is refused, one that fits some says which it leaves.
func TestReduceLayers(t *testing.T) {
	layers := []tfconvrnn.LayerOutput{{Name: "conv4", Shape: []int{7, 7, 8}}, {Name: "conv5", Shape: []int{4, 4, 8}},
		{Name: "imnetds", Shape: []int{1000}}}
	parse := func(texts ...string) *reduce.Specification {
		s, err := reduce.ParseSpecification(texts)
		require.NoError(t, err)
		return s
	}
	_, err := reduceLayers(layers, parse("pool(99)"))
	require.ErrorIs(t, err, reduce.ErrShape)
	assert.ErrorContains(t, err, "pool(99) makes 99×99 fields of a map that has 7×7 only; it fits none of the layers")
	list, err := reduceLayers(layers, parse("pool(5)"))
	require.NoError(t, err)
	assert.NoError(t, list[0].Kept)
	assert.ErrorContains(t, list[1].Kept, "pool(5) makes 5×5 fields of a map that has 4×4 only")
	assert.ErrorContains(t, list[2].Kept, "needs features over space")
	assert.Equal(t, map[string]string{"conv4": "pool(5)"}, reductionNames(list))
	for _, texts := range [][]string{nil, {"none"}, {"conv4=gap"}, {"gap", "imnetds=none"}} {
		list, err := reduceLayers(layers, parse(texts...))
		require.NoError(t, err)
		for _, l := range list {
			assert.NoError(t, l.Kept, "%v %s", texts, l.Name)
		}
	}
	_, err = reduceLayers(layers[2:], parse("gap"))
	assert.ErrorContains(t, err, "fits none")
}
