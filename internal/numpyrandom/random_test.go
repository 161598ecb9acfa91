package numpyrandom_test

import (
	"cmp"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/numpyrandom"
)

// golden reads one of the streams that testdata/comparison/generators/golden_rng.py wrote with NumPy.
func golden[T any](t *testing.T, name string) (value T) {
	text, err := os.ReadFile(cmp.Or(os.Getenv("TFCONVRNN_GOLDEN_COMPARISON"), "../../testdata/comparison") + "/rng.json")
	require.NoError(t, err)
	var all map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &all))
	require.Contains(t, all, name)
	require.NoError(t, json.Unmarshal(all[name], &value))
	return value
}

func draws(count int, draw func() int) []int {
	values := make([]int, count)
	for i := range values {
		values[i] = draw()
	}
	return values
}

func TestState(t *testing.T) {
	s := numpyrandom.NewState(1)
	assert.Equal(t, golden[[]int](t, "seed1_permutation10"), s.Permutation(10))
	assert.Equal(t, golden[[]int](t, "seed1_then_permutation120"), s.Permutation(120))
	assert.Equal(t, golden[[]int](t, "seed1_choice_of_10_size3_noreplace"), numpyrandom.NewState(1).Choose(10, 3))
	list := draws(20, func() func() int { i := -1; return func() int { i++; return i } }())
	numpyrandom.NewState(0).Shuffle(20, func(i, j int) { list[i], list[j] = list[j], list[i] })
	assert.Equal(t, golden[[]int](t, "seed0_shuffle_list20"), list)
	s = numpyrandom.NewState(5)
	assert.Equal(t, golden[[]int](t, "seed5_randint_0_7_size20"), draws(20, func() int { return s.Intn(7) }))
	s = numpyrandom.NewState(42)
	assert.Equal(t, golden[[]int](t, "seed42_randint_0_40_size40"), draws(40, func() int { return s.Intn(40) }))
}

func TestGenerator(t *testing.T) {
	g := numpyrandom.NewGenerator(0)
	for _, want := range golden[[]uint64](t, "pcg64_seed0_raw64") {
		assert.Equal(t, want, g.Uint64())
	}
	g = numpyrandom.NewGenerator(0)
	assert.Equal(t, golden[[]int](t, "pcg64_seed0_integers_0_24_size24"), draws(24, func() int { return g.Intn(24) }))
	assert.Equal(t, golden[[]int](t, "then_integers_0_10_size10"), draws(10, func() int { return g.Intn(10) }))
	g = numpyrandom.NewGenerator(0)
	assert.Equal(t, golden[[]int](t, "pcg64_seed0_permutation6"), g.Permutation(6))
	assert.Equal(t, golden[[]int](t, "then_permutation6"), g.Permutation(6))
	assert.Zero(t, g.Intn(1))
}
