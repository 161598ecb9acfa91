package plotting

import (
	"context"
	"encoding/json"
	"maps"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// aboutMadeUp is an output with another provenance than madeUp's.
func aboutMadeUp(t testing.TB, changes map[string]any) *Source {
	layout := madeUp(3)
	var provenance map[string]any
	require.NoError(t, json.Unmarshal([]byte(layout.Attributes[0].Value), &provenance))
	maps.Copy(provenance, changes)
	text, err := json.Marshal(provenance)
	require.NoError(t, err)
	layout.Attributes[0].Value = string(text)
	return npz(t, layout, nil)
}

// The output does not tell how many images a sequence has, so that no bar can say how
// long they are shown.
func TestSequencesHaveNoBar(t *testing.T) {
	s := aboutMadeUp(t,
		map[string]any{"presentation": "sequence(times=8,on=1,off=8,timesteps_per_frame=2),blank=published"})
	assert.True(t, s.About().Sequence)
	assert.Empty(t, s.About().Episodes)
	from, to := s.timeRange(s.Layers())
	assert.Equal(t, []float64{10, 70}, []float64{from, to}, "from the onset")
	for name, draw := range map[string]func(context.Context, *Source, Options) (*Figure, error){
		"dynamics": Dynamics, "probabilities": Probabilities} {
		f, err := draw(t.Context(), s, Options{})
		require.NoError(t, err)
		assert.NotContains(t, f.Caption, "bar", name)
		assert.Contains(t, f.Caption, "Sequences of images: when each ends, the output does not tell.", name)
	}
	f, err := Dynamics(t.Context(), npz(t, madeUp(3), nil), Options{})
	require.NoError(t, err)
	assert.Contains(t, f.Caption, "Black bar: image shown.")
}

func TestBlankIsNoEpisode(t *testing.T) {
	s := aboutMadeUp(t, map[string]any{"presentation": "custom(times=8,on=0,off=3),blank=image(on=4,off=8.png)"})
	assert.Equal(t, []Episode{{0, 30}}, s.About().Episodes)
	s = aboutMadeUp(t, map[string]any{"presentation": "custom(times=8,on=0,off=3),blank=image(timesteps_per_frame=2.png)"})
	assert.False(t, s.About().Sequence)
}

// The values of a random projection are not responses of units.
func TestProjections(t *testing.T) {
	s := aboutMadeUp(t, map[string]any{"reductions": map[string]string{"conv9": "sparse(96,1)", "conv10": "gap",
		"imnetds": "sparse(1000,1)"}})
	f, err := Dynamics(t.Context(), s, Options{})
	require.NoError(t, err)
	assert.Contains(t, f.Caption, "Left out, since a projection has no units: conv9, imnetds.")
	_, err = Dynamics(t.Context(), s, Options{Layers: []string{"conv10", "conv9"}})
	assert.ErrorIs(t, err, ErrImpossible)
	assert.ErrorContains(t, err, "layer conv9 is the projection sparse(96,1)")
	_, err = Probabilities(t.Context(), s, Options{})
	assert.ErrorIs(t, err, ErrImpossible, "1000 dimensions are not 1000 classes")
	f, err = RDMs(t.Context(), s, Options{})
	require.NoError(t, err)
	assert.Contains(t, f.Caption, "over the values of a projection: conv9 sparse(96,1), imnetds sparse(1000,1).")

	all := aboutMadeUp(t, map[string]any{"reductions": map[string]string{"conv9": "sparse(96,1)", "conv10": "sparse(9,1)",
		"imnetds": "sparse(1000,1)"}})
	_, err = Dynamics(t.Context(), all, Options{})
	assert.ErrorIs(t, err, ErrImpossible)

	pooled := aboutMadeUp(t, map[string]any{"reductions": map[string]string{"conv9": "pool(2)", "conv10": "gap"}})
	f, err = Dynamics(t.Context(), pooled, Options{})
	require.NoError(t, err)
	assert.NotContains(t, f.Caption, "projection")
}
