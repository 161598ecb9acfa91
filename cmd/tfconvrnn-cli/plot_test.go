package main

import (
	"bytes"
	"context"
	"encoding/json"
	"image/gif"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/plotting"
)

// writeFeatures writes a small output as extract would: a layer with maps and, if
// asked for, imnetds.
func writeFeatures(t *testing.T, name string, format features.Format, readout bool) string {
	t.Helper()
	column := "stimulus_id"
	if format == features.NPZ {
		column = "stimuli"
	}
	layout := &features.Layout{
		Rows: 3, Model: "timedecay_shallow",
		Streamed: []features.Streamed{{
			Name: "conv1", DataType: features.Float32, RowShape: []int{3, 4, 4, 2}, Dimensions: []string{"timestep", "height",
				"width", "channel"},
			Layer: &features.Layer{Timesteps: []int{1, 2, 3}, Driven: []bool{true, true, true}},
		}},
		Columns: []features.Column{{Name: column, Values: []string{"a.png", "b.png", "c.png"}}},
	}
	if readout {
		layout.Streamed = append(layout.Streamed, features.Streamed{
			Name: "imnetds", DataType: features.Float32, RowShape: []int{2, 1000}, Dimensions: []string{"timestep", "class"},
			Layer: &features.Layer{Timesteps: []int{6, 7}, Driven: []bool{true, true}},
		})
	}
	path := filepath.Join(t.TempDir(), name)
	w, err := features.Create(path, format, layout, features.Options{})
	require.NoError(t, err)
	defer w.Abort()
	for row := range layout.Rows {
		for i, s := range layout.Streamed {
			n := 1
			for _, d := range s.RowShape {
				n *= d
			}
			values := make([]float32, n)
			for k := range values {
				values[k] = float32((k*7+row*11)%23) / 5
			}
			require.NoError(t, w.WriteRows(i, row, values))
		}
	}
	require.NoError(t, w.Finish(t.Context()))
	return path
}

func TestPlotEveryFormat(t *testing.T) {
	for _, written := range []string{
		writeFeatures(t, "features.npz", features.NPZ, true),
		writeFeatures(t, "features.zarr", features.Zarr, true),
		writeFeatures(t, "features.mat", features.MATLAB, true),
		writeFeatures(t, "features.npy", features.NPYFolder, true),
	} {
		dir := t.TempDir()
		for _, kind := range []string{"probabilities", "dynamics", "rdm", "mosaic"} {
			for _, format := range []string{"png", "svg"} {
				out := filepath.Join(dir, kind+"."+format)
				code, stdout, stderr := run(t.Context(), "plot", written, "--kind", kind, "--out", out, "--dpi", "50")
				require.Equal(t, exitOK, code, stderr)
				assert.Equal(t, out+": "+kind+"\n", stdout)
				assert.Empty(t, stderr)
				data, err := os.ReadFile(out)
				require.NoError(t, err)
				if format == "png" {
					_, err = png.Decode(bytes.NewReader(data))
					assert.NoError(t, err)
				} else {
					assert.Contains(t, string(data), "</svg>")
				}
			}
		}
		out := filepath.Join(dir, "x.gif")
		code, _, stderr := run(t.Context(), "plot", written, "--out", out, "--stimuli", "b.png", "--timesteps", "1,3",
			"--dpi", "50")
		require.Equal(t, exitOK, code, stderr)
		data, err := os.ReadFile(out)
		require.NoError(t, err)
		moving, err := gif.DecodeAll(bytes.NewReader(data))
		require.NoError(t, err)
		assert.Len(t, moving.Image, 2)

		code, stdout, stderr := run(t.Context(), "plot", written, "--out", filepath.Join(dir, "x.html"), "--json",
			"--dpi", "50")
		require.Equal(t, exitOK, code, stderr)
		var report plotReport
		require.NoError(t, json.Unmarshal([]byte(stdout), &report))
		assert.Equal(t, plotting.Kinds(), report.Figures)
		assert.Equal(t, "html", report.Format)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Len(t, left, 10, "nothing temporary is left")
	}
}

func TestPlotPageOfWhatIsPossible(t *testing.T) {
	written := writeFeatures(t, "features.npz", features.NPZ, false)
	out := filepath.Join(t.TempDir(), "x.html")
	code, stdout, stderr := run(t.Context(), "plot", written, "--out", out, "--dpi", "50")
	require.Equal(t, exitOK, code, stderr)
	assert.Equal(t, out+": dynamics, rdm, mosaic, animation\n", stdout)
	assert.Contains(t, stderr, "without probabilities: ")
	code, _, stderr = run(t.Context(), "plot", written, "--out", out, "--kind", "probabilities", "--force")
	assert.Equal(t, exitInput, code, "asked for, it must be possible")
	assert.Contains(t, stderr, "imnetds")
}

func TestPlotErrors(t *testing.T) {
	written := writeFeatures(t, "features.npz", features.NPZ, true)
	dir := t.TempDir()
	there := filepath.Join(dir, "there.png")
	require.NoError(t, os.WriteFile(there, []byte("mine"), 0o644))
	out := filepath.Join(dir, "x.png")
	for _, c := range []struct {
		code    int
		message string
		args    []string
	}{
		{exitUsage, "which features?", []string{"--out", out}},
		{exitUsage, "one output at a time", []string{written, written, "--out", out}},
		{exitUsage, "give --out FILE", []string{written}},
		{exitUsage, "does not tell the format", []string{written, "--out", "x.jpg"}},
		{exitUsage, `unknown format "jpg"`, []string{written, "--out", out, "--format", "jpg"}},
		{exitUsage, `unknown kind "pie"`, []string{written, "--out", out, "--kind", "pie"}},
		{exitUsage, "holds one kind", []string{written, "--out", out, "--kind", "rdm,mosaic"}},
		{exitUsage, "needs .gif or .html", []string{written, "--out", out, "--kind", "animation"}},
		{exitUsage, "a GIF holds the animation", []string{written, "--out", "x.gif", "--kind", "rdm"}},
		{exitUsage, `"0" for "--top" flag: it is at least 1`, []string{written, "--out", out, "--top", "0"}},
		{exitUsage, "99 dpi", []string{written, "--out", out, "--dpi", "99999"}},
		{exitUsage, `no such layer: "conv7"`, []string{written, "--out", out, "--layers", "conv7"}},
		{exitUsage, "no such stimulus", []string{written, "--out", out, "--stimuli", "d.png"}},
		{exitUsage, `"x" is no timestep`, []string{written, "--out", out, "--timesteps", "x"}},
		{exitUsage, "no such timestep", []string{written, "--out", out, "--kind", "rdm", "--timesteps", "20"}},
		{exitInput, "without feature maps", []string{written, "--out", out, "--kind", "mosaic", "--layers", "imnetds"}},
		{exitInput, "no such file", []string{filepath.Join(dir, "none.npz"), "--out", out}},
		{exitInput, "no output of features", []string{dir, "--out", out}},
		{exitInput, "no output of features", []string{there, "--out", out}},
		{exitUsage, "replace it with --force", []string{written, "--out", there}},
		{exitFailure, "cannot write to the folder", []string{written, "--out", filepath.Join(dir, "none", "x.png")}},
	} {
		code, stdout, stderr := run(t.Context(), append([]string{"plot"}, c.args...)...)
		assert.Equal(t, c.code, code, "%v: %s", c.args, stderr)
		assert.Contains(t, stderr, c.message)
		assert.Empty(t, stdout)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code, _, _ := run(ctx, "plot", written, "--out", out)
	assert.Equal(t, exitInterrupted, code)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, left, 1, "nothing is left")
	mine, err := os.ReadFile(there)
	require.NoError(t, err)
	assert.Equal(t, "mine", string(mine))
}
