package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
)

// writeLayer writes made-up features of a layer, [stimuli][timesteps][units], and responses to its stimuli.
func writeLayer(t *testing.T, file, data string, stimuli, timesteps, units int, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	layer := &features.Layer{}
	for k := range timesteps {
		layer.Timesteps = append(layer.Timesteps, 7+k)
	}
	ids, table := make([]string, stimuli), &strings.Builder{}
	table.WriteString("stimulus_id,neuroid_id,time_bin_start,time_bin_end,rate\n")
	for i := range ids {
		ids[i] = fmt.Sprintf("s%04d", i)
		for j := range 3 {
			for k := range timesteps {
				fmt.Fprintf(table, "%s,n%d,%d,%d,%g\n", ids[i], j, 70+10*k, 80+10*k, random.Float64())
			}
		}
	}
	require.NoError(t, os.WriteFile(data, []byte(table.String()), 0o600))
	w, err := features.Create(file, features.NPZ, &features.Layout{
		Rows: stimuli, Model: "m", Identifier: "m", StimulusSet: "s",
		Streamed: []features.Streamed{{Name: "conv9", DataType: features.Float32, RowShape: []int{timesteps, units},
			Layer: layer}},
		Columns: []features.Column{{Name: "stimuli", Values: ids}},
	}, features.Options{Force: true})
	require.NoError(t, err)
	row := make([]float32, timesteps*units)
	for i := range stimuli {
		for k := range row {
			row[k] = float32(random.NormFloat64())
		}
		require.NoError(t, w.WriteRows(0, i, row))
	}
	require.NoError(t, w.Finish(t.Context()))
}

// Two workers make a folder of Gram matrices, of which one is killed and started again: comparing with it gives the
// scores of the features themselves.
func TestGramMatricesByWorkers(t *testing.T) {
	dir := t.TempDir()
	file, data, folder := filepath.Join(dir, "features.npz"), filepath.Join(dir, "data.csv"),
		filepath.Join(dir, "it.grams")
	const timesteps = 8
	writeLayer(t, file, data, 300, timesteps, 6000, 1)
	worker := func(shard string) *exec.Cmd {
		return exec.Command(program, "compare", "gram", "--features", file, "--window", "70:110", "--out", folder, "--shard",
			shard, "--json")
	}
	work := func(shard string) (r gramReport) {
		t.Helper()
		out, err := worker(shard).Output()
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(out, &r))
		return r
	}
	grams := func() int {
		files, err := filepath.Glob(filepath.Join(folder, "*.gram"))
		require.NoError(t, err)
		return len(files)
	}
	killed := worker("0/2")
	var messages bytes.Buffer
	killed.Stderr = &messages
	require.NoError(t, killed.Start())
	for begun := time.Now(); grams() == 0 && time.Since(begun) < time.Minute; {
		time.Sleep(time.Millisecond)
	}
	require.NoError(t, killed.Process.Kill())
	require.Error(t, killed.Wait(), "%s", &messages)
	there := grams()
	require.Positive(t, there)
	require.Less(t, there, 4, "killed too late")

	first := work("1/2")
	assert.Equal(t, timesteps+1, first.Matrices)
	assert.Equal(t, 5, first.Made)
	assert.Equal(t, 4-there, first.Missing)
	args := func(features string, more ...string) []string {
		return append([]string{"compare", more[0], "--features", features, "--data", data, "--gram-cache", "none", "--json",
			"--time", "70:110"}, more[1:]...)
	}
	code, _, stderr := run(t.Context(), args(folder, "rsa")...)
	assert.Equal(t, exitInput, code)
	assert.Contains(t, stderr, "some Gram matrices are not made yet")
	second := work("0/2")
	assert.Equal(t, 4-there, second.Made)
	assert.Zero(t, second.Missing)
	assert.Zero(t, work("0/1").Made)

	scores := func(args []string) (list []any) {
		t.Helper()
		code, stdout, stderr := run(t.Context(), args...)
		require.Equal(t, exitOK, code, "%s", stderr)
		var report struct {
			Scores []any `json:"scores"`
		}
		require.NoError(t, json.Unmarshal([]byte(stdout), &report))
		require.NotEmpty(t, report.Scores)
		return report.Scores
	}
	for _, of := range [][]string{{"rsa"}, {"cka"}, {"fit", "--metric", "ridge", "--splits", "2"},
		{"fit", "--metric", "pls", "--components", "3", "--average-time"}} {
		assert.Equal(t, scores(args(file, of...)), scores(args(folder, of...)), "%q", of)
	}
	for message, more := range map[string][]string{
		"only Gram matrices of the features are there": {"fit", "--metric", "neuron-to-neuron"},
		"no Gram matrix of the mean over that time":    {"fit", "--offset-ms", "-5"},
	} {
		code, _, stderr := run(t.Context(), args(folder, more...)...)
		assert.Equal(t, exitInput, code)
		assert.Contains(t, stderr, message)
	}
	writeLayer(t, file, data, 300, timesteps, 6000, 2)
	code, _, stderr = run(t.Context(), "compare", "gram", "--features", file, "--window", "70:110", "--out", folder)
	assert.Equal(t, exitInput, code)
	assert.Contains(t, stderr, "other features or times")
	for _, wrong := range [][]string{{"--features", file}, {"--features", folder, "--out", filepath.Join(dir, "x")},
		{"--features", file, "--out", folder, "--shard", "2/2"}, {"--features", file, "--out", folder, "--window", "70"}} {
		code, _, _ := run(t.Context(), append([]string{"compare", "gram"}, wrong...)...)
		assert.Equal(t, exitUsage, code, "%q", wrong)
	}
}
