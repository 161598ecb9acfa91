package tfconvrnn

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/savedmodels"
)

func TestSchedules(t *testing.T) {
	model, err := savedmodels.Lookup("timedecay_shallow")
	require.NoError(t, err)
	for _, c := range []struct {
		name   string
		p      Presentation
		frames int
		want   []int
	}{
		{"constant", Constant(4), 1, []int{0, 0, 0, 0}},
		{"custom", Custom(4, 1), 1, []int{0, -1, -1, -1}},
		{"several frames, none in turn", Custom(4, 3), 5, []int{0, 0, 0, -1}},
		{"episodes", Episodes(6, Episode{1, 2}, Episode{4, 6}), 1, []int{-1, 0, -1, -1, 0, 0}},
		{"never", Episodes(3), 1, []int{-1, -1, -1}},
		{"sequence", Sequence(5, 2), 3, []int{0, 0, 1, 1, 2}},
		{"short sequence", Sequence(5, 2), 1, []int{0, 0, -1, -1, -1}},
		{"a frame for each episode", Episodes(8, Episode{1, 3}, Episode{5, 7}).WithTimestepsPerFrame(4), 2,
			[]int{-1, 0, 0, -1, -1, 1, 1, -1}},
		{"default", Default(), 1, []int{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1}},
	} {
		p, err := c.p.Resolve(model)
		require.NoError(t, err, c.name)
		assert.Equal(t, c.want, p.Schedule(c.frames), c.name)
	}
	for _, p := range []Presentation{
		Constant(0), Constant(1001), Custom(4, 5), Custom(4, -1), Sequence(4, 0), Constant(4).WithTimestepsPerFrame(-1),
		Episodes(6, Episode{3, 4}, Episode{1, 2}), Episodes(6, Episode{1, 4}, Episode{3, 5}),
	} {
		_, err := p.Resolve(model)
		assert.ErrorIs(t, err, ErrPresentation, "%s", p)
	}
}
