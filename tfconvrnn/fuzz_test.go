package tfconvrnn

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/savedmodels"
)

// FuzzPresentation requires of every presentation that is accepted that its
// schedule shows frames that exist.
func FuzzPresentation(f *testing.F) {
	f.Add(17, 0, 12, 0, 0, 0, 1)
	f.Add(26, 3, 5, 5, 9, 2, 3)
	f.Add(-1, 1<<62, -1<<62, 1<<62, 7, 1<<62, 1<<30)
	f.Add(1000, 0, 1000, 1000, 1000, 1, 2)
	model, err := savedmodels.Lookup("ugrnn_shallow")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, times, on, off, on2, off2, timestepsPerFrame, frames int) {
		for _, p := range []Presentation{
			Constant(times), Custom(times, off), Sequence(times, timestepsPerFrame), Default().WithEpisodes(Episode{on, off}),
			Episodes(times, Episode{on, off}, Episode{on2, off2}).WithTimestepsPerFrame(timestepsPerFrame),
			Neural().WithTimestepsPerFrame(timestepsPerFrame),
		} {
			_ = p.String()
			resolved, err := p.Resolve(model)
			if err != nil {
				require.ErrorIs(t, err, ErrPresentation)
				continue
			}
			frames := max(frames, 1)
			schedule := resolved.Schedule(frames)
			require.Len(t, schedule, resolved.times)
			first := resolved.ImageOn()
			for t1, frame := range schedule {
				require.GreaterOrEqual(t, frame, blankFrame)
				require.Less(t, frame, frames)
				if t1 < first {
					require.Equal(t, blankFrame, frame)
				}
			}
			if first < resolved.times {
				require.Equal(t, 0, schedule[first], "the first frame is the first shown")
			}
			_, outputs, err := Outputs(model, WithPresentation(p))
			if err == nil {
				require.Len(t, outputs, len(model.Layers))
			}
		}
	})
}
