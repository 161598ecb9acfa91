package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/libtf"
)

// Two workers, of which one is killed and started again, make the Gram matrices that one process makes, to the byte,
// and comparing with them gives the scores of the features.
func TestGramPlanByWorkers(t *testing.T) {
	p := newProver(t)
	dir := t.TempDir()
	pictures, whole, out, plan := filepath.Join(dir, "pictures"), filepath.Join(dir, "whole.grams"),
		filepath.Join(dir, "many.grams"), filepath.Join(dir, "many.plan")
	const count = 24
	makePictures(t, pictures, count)
	model := []string{"--layers", "conv5,imnetds", "--batch", "2", "--threads", "1", "--window", "60:90", "--quiet"}
	p.succeed(t, append(model, "--keep-features", "--out", whole, pictures)...)
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(p.program, append([]string{"extract"}, args...)...)
		cmd.Env = append(os.Environ(), libtf.Env+"="+p.library, "TFCONVRNN_CACHE="+p.store, "CI=")
		return cmd
	}
	do := func(into any, args ...string) {
		t.Helper()
		text, err := command(append(args, "--json")...).Output()
		require.NoError(t, err, "%s", text)
		require.NoError(t, json.Unmarshal(text, into))
	}
	p.succeed(t, append([]string{"plan", "--plan", plan, "--out", out, pictures}, model...)...)
	work := []string{"work", "--plan", plan, "--store", p.store, "--shard"}
	killed := command(append(work, "0/2")...)
	require.NoError(t, killed.Start())
	records := func() int {
		files, err := filepath.Glob(filepath.Join(out+".zarr.work", "*", "chunks-*", "*.json"))
		require.NoError(t, err)
		return len(files)
	}
	for begun := time.Now(); records() == 0 && time.Since(begun) < 2*time.Minute; {
		time.Sleep(time.Millisecond)
	}
	require.NoError(t, killed.Process.Kill())
	require.Error(t, killed.Wait())
	require.Less(t, records(), count/4, "killed too late")
	var first, second, third workReport
	do(&first, append(work, "1/2")...)
	assert.Positive(t, first.Awaited, "the features of the other shard")
	assert.Zero(t, first.Worked.Matrices)
	do(&second, append(work, "0/2")...)
	assert.Positive(t, second.Worked.Matrices)
	assert.Positive(t, second.MatricesMissing)
	do(&third, append(work, "1/2")...)
	assert.Equal(t, second.MatricesMissing, third.Worked.Matrices)
	assert.Zero(t, third.MatricesMissing)
	var finished finishReport
	do(&finished, "finish", "--plan", plan)
	assert.Equal(t, second.Worked.Matrices+third.Worked.Matrices, finished.Matrices)
	assert.Equal(t, contentOf(t, whole), contentOf(t, out))
	left, err := filepath.Glob(out + "*")
	require.NoError(t, err)
	assert.Equal(t, []string{out}, left)

	table := &strings.Builder{}
	table.WriteString("stimulus_id,neuroid_id,time_bin_start,time_bin_end,rate\n")
	names, err := os.ReadDir(pictures)
	require.NoError(t, err)
	for i, name := range names {
		for j := range 3 {
			fmt.Fprintf(table, "%s,n%d,60,90,%d\n", name.Name(), j, (i*i*(j+2))%11+i*j)
		}
	}
	data := filepath.Join(dir, "data.csv")
	require.NoError(t, os.WriteFile(data, []byte(table.String()), 0o600))
	scores := func(features string) (list []any) {
		t.Helper()
		code, stdout, stderr := run(t.Context(), "compare", "fit", "--features", features, "--data", data, "--metric",
			"ridge", "--splits", "2", "--gram-cache", "none", "--json")
		require.Equal(t, exitOK, code, "%s", stderr)
		var report struct {
			Scores []any `json:"scores"`
		}
		require.NoError(t, json.Unmarshal([]byte(stdout), &report))
		return report.Scores
	}
	want := scores(whole + ".zarr")
	require.Len(t, want, 2)
	assert.Equal(t, want, scores(out))
	code, _, stderr := run(t.Context(), "extract", "--model", "timedecay_shallow", "--window", "60:90", "--out",
		filepath.Join(dir, "x.npz"), pictures)
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "--window is for Gram matrices, --out it.grams")
}
