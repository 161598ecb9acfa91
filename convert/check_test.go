package convert_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/internal/bundle"
)

func TestCheckAcceptsWhatConvertWritesAndNothingElse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "model")
	for name, options := range map[string]convert.Options{"default": {}, "plain": {Variant: convert.Plain},
		"long": {Times: 40}} {
		options.Overwrite = true
		require.NoError(t, convert.Check(dir, convertTo(t, dir, seeded(t, model), options)), name)
	}
	m := convertTo(t, dir, seeded(t, model), convert.Options{Overwrite: true})

	graph := m.Files["saved_model.pb"]
	m.Files["saved_model.pb"] = m.Files["variables/variables.index"]
	assert.ErrorIs(t, convert.Check(dir, m), convert.ErrForeign, "another graph")
	m.Files["saved_model.pb"] = graph
	for _, times := range []int{-1, 0, 1, 29, 31, 1 << 40} {
		changed := *m
		changed.Times = times
		assert.ErrorIs(t, convert.Check(dir, &changed), convert.ErrForeign, "%d timesteps", times)
	}
	changed := *m
	changed.Variant = "another"
	assert.ErrorIs(t, convert.Check(dir, &changed), convert.ErrForeign)
	changed = *m
	changed.Model = "gru_shallow"
	assert.ErrorIs(t, convert.Check(dir, &changed), convert.ErrForeign)
	changed.Model = "another"
	assert.ErrorIs(t, convert.Check(dir, &changed), convert.ErrUnknownModel)

	// The variables again, but one a scalar, or left out.
	reader, err := bundle.Open(filepath.Join(dir, "variables", "variables"))
	require.NoError(t, err)
	defer reader.Close()
	entries := reader.Entries()
	for name, scalar := range map[string]bool{"a scalar": true, "one too few": false} {
		other := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(other, "variables"), 0o777))
		writer, err := bundle.Create(filepath.Join(other, "variables", "variables"))
		require.NoError(t, err)
		for i, entry := range entries {
			values, err := reader.ReadFloat32(entry.Name)
			require.NoError(t, err)
			shape := entry.Shape
			if i == 0 {
				if !scalar {
					continue
				}
				shape, values = nil, values[:1]
			}
			require.NoError(t, writer.Add(entry.Name, shape, values))
		}
		require.NoError(t, writer.Finish())
		assert.ErrorIs(t, convert.Check(other, m), convert.ErrForeign, name)
	}
}
