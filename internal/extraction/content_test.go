package extraction

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/arrayfiles"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// What decides the last bits must be equal for a run to go on.
func TestIdentityHoldsWhatDecidesTheLastBits(t *testing.T) {
	text := func(p tfconvrnn.Provenance) json.RawMessage {
		identity, err := json.Marshal(NewIdentity(&Provenance{Provenance: p}, "fail", []string{"a"}, []string{"00"}))
		require.NoError(t, err)
		return identity
	}
	differences, err := arrayfiles.Compare(
		text(tfconvrnn.Provenance{Threads: 2, OneDNN: "AVX2", Processor: "P"}),
		text(tfconvrnn.Provenance{Threads: 8, OneDNN: "off", Processor: "Q"}))
	require.NoError(t, err)
	assert.Equal(t, []arrayfiles.Difference{
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
	p.Provenance.Device, here = "gpu:0", planned
	here.Device, here.OneDNN = "gpu:1", "off" // does not compute
	assert.NoError(t, p.checkModel(here))
}
