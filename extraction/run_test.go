package extraction

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/hdf5"
	"github.com/tfconvrnn/go/stimuli"
)

var errPower = errors.New("the power is gone")

// dying is a simulated engine that ends after some stimuli.
func dying(after int) newEngine {
	return func(p *Plan, _ int) (engine, *reading, error) {
		whole := fakeEngine(p, func() {})
		return func(ctx context.Context, records iter.Seq[*stimuli.Record], rows rowSink) error {
			n := 0
			return whole(ctx, records, rowSink{rows.add, func(fault error) error {
				if n++; n > after {
					return errPower
				}
				return rows.end(fault)
			}})
		}, nil, nil
	}
}

// An interrupted run says that something is kept, and then ends in the same bytes. A run of
// which nothing is finished leaves nothing.
func TestRunGoesOn(t *testing.T) {
	for _, format := range features.Formats() {
		if format == features.HDF5 && hdf5.Load("") != nil {
			continue // internal/hdf5's tests say that the library is missing
		}
		dir := t.TempDir()
		inputs := formatInputs(t, dir)
		request := func(out string) *Request {
			require.NoError(t, os.Mkdir(filepath.Join(dir, out), 0o777))
			q := testRequest("", filepath.Join(dir, out, "features"), 4)
			q.Inputs.Inputs, q.Format, q.Reductions = inputs, format, []string{"conv5=sparse(3,1)"}
			return q
		}
		run := func(q *Request, options RunOptions, compute newEngine) (*Result, error) {
			d, err := Prepare(t.Context(), q)
			require.NoError(t, err)
			defer d.Close()
			require.NoError(t, d.complete(nil))
			if format == features.Zarr {
				return d.runStore(t.Context(), options.defaults(), compute)
			}
			return d.runFile(t.Context(), options.defaults(), compute)
		}
		whole, parts, none := request("whole"), request("parts"), request("none")
		_, err := run(whole, RunOptions{}, dying(1000))
		require.NoError(t, err)

		_, err = run(parts, RunOptions{}, dying(13))
		var kept *KeptError
		require.ErrorAs(t, err, &kept, format)
		require.ErrorIs(t, err, errPower)
		_, err = run(parts, RunOptions{}, dying(1000))
		require.ErrorIs(t, err, features.ErrUnfinished, format)
		var progress []int
		result, err := run(parts, RunOptions{Resume: true, Progress: func(n int) {
			progress = append(progress, n)
		}}, dying(1000))
		require.NoError(t, err, format)
		assert.GreaterOrEqual(t, result.Resumed, 12, format)
		assert.Less(t, result.Resumed, 28)
		assert.Equal(t, result.Resumed/4*4, progress[0])
		assert.Equal(t, result.Stimuli, progress[len(progress)-1])
		assert.Equal(t, content(t, filepath.Join(dir, "whole")), content(t, filepath.Join(dir, "parts")), format)

		_, err = run(none, RunOptions{}, dying(0))
		require.ErrorIs(t, err, errPower)
		assert.False(t, errors.As(err, &kept), format)
		left, err := os.ReadDir(filepath.Join(dir, "none"))
		require.NoError(t, err)
		assert.Empty(t, left, format)
	}
}

// The format that nobody names follows from the size, without stimuli being read twice or a
// model being loaded.
func TestFormatFollowsFromSize(t *testing.T) {
	for count, want := range map[int]features.Format{3: features.NPZ, 5000: features.Zarr} {
		dir := t.TempDir()
		q := &Request{
			Recipe: Recipe{Model: "timedecay_shallow", Output: filepath.Join(dir, "features"), Layers: []string{"conv1"},
				AllTimesteps: true},
			Inputs: stimuli.Options{Inputs: []string{writeStimuli(t, dir, count, false)}},
			Sketch: true,
		}
		q.OnError = "skip"
		d, err := Prepare(t.Context(), q)
		require.NoError(t, err)
		assert.Equal(t, want, d.Recipe().Format)
		assert.Equal(t, filepath.Join(dir, "features"+want.Suffix()), d.Recipe().Output)
		assert.Equal(t, want == features.Zarr, d.Size() > LargeOutput)
		assert.Equal(t, count, d.Layout().Rows)
		require.NoError(t, d.Close())
	}
}
