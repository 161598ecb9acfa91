package extraction

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/tfconvrnn"
)

func TestCheckOutput(t *testing.T) {
	dir := t.TempDir()
	touch := func(name string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, nil, 0o666))
		return path
	}
	there := touch("there.npz")
	interrupted := filepath.Join(dir, "a.npz")
	touch("a.npz.journal")
	written := filepath.Join(dir, "c.npy")
	writer, err := features.Create(written, features.NPYFolder, &features.Layout{
		Rows:    1,
		Columns: []features.Column{{Name: "stimulus_id", Values: []string{"a"}}},
		Streamed: []features.Streamed{
			{Name: "logits", DataType: features.Float32, RowShape: []int{7}, Dimensions: []string{"class"}},
		},
	}, features.Options{Identity: 1})
	require.NoError(t, err)
	defer func() { assert.NoError(t, writer.Abort()) }()
	planned := filepath.Join(dir, "b.zarr")
	touch("b.zarr.plan")
	for _, c := range []struct {
		output   string
		options  RunOptions
		resuming bool
		err      error
	}{
		{filepath.Join(dir, "new.npz"), RunOptions{}, false, nil},
		{filepath.Join(dir, "new.npz"), RunOptions{Resume: true}, false, nil},
		{there, RunOptions{}, false, features.ErrExists},
		{there, RunOptions{Resume: true}, false, features.ErrExists},
		{there, RunOptions{Replace: true}, false, nil},
		{interrupted, RunOptions{}, false, features.ErrUnfinished},
		{interrupted, RunOptions{Resume: true}, true, nil},
		{interrupted, RunOptions{Replace: true}, false, nil},
		{written, RunOptions{}, false, features.ErrBusy},
		{written, RunOptions{Resume: true}, false, features.ErrBusy},
		{written, RunOptions{Replace: true}, false, features.ErrBusy},
		{planned, RunOptions{}, false, features.ErrUnfinished},
		{planned, RunOptions{Resume: true}, true, nil},
		{filepath.Join(dir, "none", "x.npz"), RunOptions{}, false, os.ErrNotExist},
	} {
		resuming, err := CheckOutput(t.Context(), c.output, c.options)
		assert.Equal(t, c.resuming, resuming, "%s %+v", c.output, c.options)
		assert.ErrorIs(t, err, c.err, "%s %+v", c.output, c.options)
	}
}

// Nobody means an input by Replace.
func TestOutputIsNoInput(t *testing.T) {
	input := filepath.Join(t.TempDir(), "a.npz")
	require.NoError(t, os.WriteFile(input, nil, 0o666))
	_, err := Prepare(t.Context(), testRequest(input, input, 4))
	assert.ErrorIs(t, err, features.ErrOwnInput)
	_, err = FitComponents(t.Context(), ComponentsRequest{Features: input, Output: input, Replace: true})
	assert.ErrorIs(t, err, features.ErrOwnInput)
	content, err := os.ReadFile(input)
	require.NoError(t, err)
	assert.Empty(t, content)
}

// What is wrong with a request is found before anything is read.
func TestCheckRequest(t *testing.T) {
	good := func() *Request { return testRequest("table.csv", "out.npz", 4) }
	require.NoError(t, good().Check())
	for name, spoil := range map[string]func(*Request){
		"layer":     func(q *Request) { q.Layers = []string{"conv99"} },
		"units":     func(q *Request) { q.Selections = []string{"conv5=everything"} },
		"chunk":     func(q *Request) { q.ChunkStimuli = -1 },
		"output":    func(q *Request) { q.Output = "" },
		"reduction": func(q *Request) { q.Reductions = []string{"smaller"} },
		"shown":     func(q *Request) { q.Shown = &tfconvrnn.PresentationSpec{Name: "blink"} },
	} {
		q := good()
		spoil(q)
		assert.Error(t, q.Check(), name)
	}
}

// Files that recipes name are found by workers in other folders.
func TestAbsoluteReductions(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	dir, err := os.Getwd()
	require.NoError(t, err)
	list, err := absoluteReductions([]string{"gap", "pool(2)", "pca(f.npz)", "conv5=pca(f.npz,100)", "pca(/a//f.npz)",
		"pca(100)"})
	require.NoError(t, err)
	assert.Equal(t, []string{"gap", "pool(2)", "pca(" + dir + "/f.npz)", "conv5=pca(" + dir + "/f.npz,100)",
		"pca(/a//f.npz)", "pca(100)"}, list)
}
