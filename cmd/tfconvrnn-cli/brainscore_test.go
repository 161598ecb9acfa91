package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/hdf5"
)

// Brain-Score's own packages read the features that extract writes, and their metrics give the numbers that
// compare gives.
func TestBrainScoreGivesTheSameNumbers(t *testing.T) {
	python := interpreter(t, "TFCONVRNN_BRAINSCORE_PYTHON", "python3", "brainscore_vision",
		"scripts/python-requirements-brainscore.txt")
	if _, err := runtimePath(); err != nil {
		t.Skip("needs libtensorflow:", err)
	}
	require.NoError(t, hdf5.Load(""))
	dir := t.TempDir()
	pictures, nc, neural := filepath.Join(dir, "pictures"), filepath.Join(dir, "features.nc"),
		filepath.Join(dir, "neural.nc")
	makeSequences(t, pictures, 15) // four pictures each
	code, _, stderr := run(t.Context(), "extract", "--model", "timedecay_shallow", "--weights", "seeded:1", "--layers",
		"conv5", "--out", nc, pictures)
	require.Equal(t, exitOK, code, "%s", stderr)
	command := exec.Command(python, "testdata/check_brainscore.py", nc, neural, "conv5")
	out, err := command.Output()
	require.NoError(t, err, "%s", out)
	type number struct{ Score, Error, Ceiled float64 }
	var want []struct {
		Start      float64 `json:"time_bin_start"`
		Ceiling    float64
		PLS, Ridge number
		RDM        float64
	}
	require.NoError(t, json.Unmarshal(out, &want), "%s", out)
	require.Len(t, want, 3)
	type report struct {
		Scores []struct {
			Start                         float64 `json:"time_bin_start"`
			Score, Error, Ceiling, Ceiled float64
		}
	}
	for name, args := range map[string][]string{"pls": {"fit"}, "ridge": {"fit", "--metric", "ridge"}, "rdm": {"rsa"}} {
		code, stdout, stderr := run(t.Context(), append(append([]string{"compare"}, args...), "--features", nc, "--data",
			neural, "--json")...)
		require.Equal(t, exitOK, code, "%s", stderr)
		var got report
		require.NoError(t, json.Unmarshal([]byte(stdout), &got))
		require.Len(t, got.Scores, len(want))
		for i, s := range got.Scores {
			assert.Equal(t, want[i].Start, s.Start)
			// Brain-Score computes with float32 features in parts; see the specification's tolerances.
			w, tolerance := want[i].PLS, 1e-7
			switch name {
			case "ridge":
				w, tolerance = want[i].Ridge, 5e-5
			case "rdm":
				assert.InDelta(t, want[i].RDM, s.Score, 1e-6)
				continue
			}
			assert.InDelta(t, want[i].Ceiling, s.Ceiling, 1e-9)
			assert.InDelta(t, w.Score, s.Score, tolerance, "%s %v", name, s.Start)
			assert.InDelta(t, w.Error, s.Error, tolerance)
			assert.InDelta(t, w.Ceiled, s.Ceiled, 3*tolerance)
			t.Logf("%s at %v ms: Brain-Score %.10f, here %.10f", name, s.Start, w.Score, s.Score)
		}
	}
}
