package main

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// picturesAndRates makes pictures and a table of made-up responses to them.
func picturesAndRates(t *testing.T, dir string) (pictures, data string) {
	t.Helper()
	if _, err := runtimePath(); err != nil {
		require.NotEqual(t, "1", os.Getenv(requireEnv), "%v", err)
		t.Skip("needs libtensorflow:", err)
	}
	pictures, table := filepath.Join(dir, "pictures"), "stimulus_id,neuroid_id,rate\n"
	require.NoError(t, os.Mkdir(pictures, 0o755))
	const n = 20
	for i := range n {
		name := fmt.Sprintf("p%02d.png", i)
		picture := image.NewNRGBA(image.Rect(0, 0, 224, 224))
		for at := range 224 * 224 {
			x, y := at%224, at/224
			picture.SetNRGBA(x, y, color.NRGBA{uint8(x * (i + 1)), uint8(y * (n - i)), uint8((x ^ y) * i), 255})
		}
		file, err := os.Create(filepath.Join(pictures, name))
		require.NoError(t, err)
		require.NoError(t, png.Encode(file, picture))
		require.NoError(t, file.Close())
		for j := range 3 {
			table += fmt.Sprintf("%s,n%d,%d\n", name, j, (i*i*(j+2))%11+i*j)
		}
	}
	data = filepath.Join(dir, "data.csv")
	require.NoError(t, os.WriteFile(data, []byte(table), 0o600))
	return pictures, data
}

// Features that are computed for a comparison give the scores of those that extract wrote, are computed once, and
// leave nothing but their Gram matrices.
func TestCompareComputesFeatures(t *testing.T) {
	dir := t.TempDir()
	pictures, data := picturesAndRates(t, dir)
	store, cache := filepath.Join(dir, "features.npz"), filepath.Join(dir, "cache")
	model := []string{"--model", "timedecay_shallow", "--weights", "seeded:1", "--layers", "conv4,imnetds"}
	scores := func(args ...string) (list []any, stderr string) {
		t.Helper()
		args = append([]string{"compare", "fit", "--data", data, "--metric", "ridge", "--splits", "3", "--json"}, args...)
		code, stdout, stderr := run(t.Context(), args...)
		require.Equal(t, exitOK, code, "%s", stderr)
		var report struct {
			Scores []any `json:"scores"`
		}
		require.NoError(t, json.Unmarshal([]byte(stdout), &report))
		return report.Scores, stderr
	}
	extract := append([]string{"extract", "--include-all-times", "--times", "6", "--out", store, pictures}, model...)
	code, _, stderr := run(t.Context(), extract...)
	require.Equal(t, exitOK, code, "%s", stderr)
	computed := append([]string{"--gram-cache", cache, "--times", "6", pictures}, model...)
	code, _, stderr = run(t.Context(), append([]string{"compare", "fit", "--data", data}, computed...)...)
	assert.Equal(t, exitInput, code)
	assert.Contains(t, stderr, "the responses have no time")
	kept, err := filepath.Glob(filepath.Join(cache, "*"))
	require.NoError(t, err)
	assert.Empty(t, kept, "nothing was computed")

	want, _ := scores("--features", store, "--matrix")
	got, stderr := scores(append(computed, "--matrix")...)
	assert.Equal(t, want, got)
	assert.Contains(t, stderr, "0 of 4 were kept")
	again, stderr := scores(append(computed, "--matrix")...)
	assert.Equal(t, want, again)
	assert.Contains(t, stderr, "4 of 4 were kept")
	kept, err = filepath.Glob(filepath.Join(cache, "*"))
	require.NoError(t, err)
	assert.Len(t, kept, 4) // of the timesteps that are driven
	for _, file := range kept {
		assert.Equal(t, ".gram", filepath.Ext(file))
	}

	// Wherever the features are meanwhile, the results have the same bytes.
	var results [][]byte
	for _, place := range []string{"memory", "file", "passes"} {
		out, cache := filepath.Join(dir, place+".json"), filepath.Join(dir, place)
		got, stderr := scores(append([]string{"--matrix", "--gram-cache", cache, "--features-in", place, "--features-memory",
			"400kB", "--out", out, "--times", "6", pictures}, model...)...)
		assert.Equal(t, want, got)
		assert.Contains(t, stderr, "0 of 4 were kept")
		assert.Equal(t, place == "passes", strings.Contains(stderr, "of which nothing is written: the model runs 9 times"),
			"%s", stderr)
		assert.Equal(t, 1, strings.Count(stderr, "20 pictures were 224×224 already"), "said once, not in each pass")
		result, err := os.ReadFile(out)
		require.NoError(t, err)
		results = append(results, result)
		_, stderr = scores(append([]string{"--matrix", "--gram-cache", cache, "--out", out, "--force", "--times", "6",
			pictures}, model...)...)
		assert.Contains(t, stderr, "4 of 4 were kept")
		result, err = os.ReadFile(out)
		require.NoError(t, err)
		assert.Equal(t, string(results[0]), string(result), "of matrices that are kept, too")
		kept, err = filepath.Glob(filepath.Join(cache, "*"))
		require.NoError(t, err)
		assert.Len(t, kept, 4)
	}
	assert.Equal(t, string(results[0]), string(results[1]))
	assert.Equal(t, string(results[0]), string(results[2]))
	// What complete passes computed is kept, in whatever passes a later call goes on.
	ctx, cancel := context.WithCancel(t.Context())
	partCache, out := filepath.Join(dir, "part"), filepath.Join(dir, "part.json")
	go func() {
		defer cancel()
		for files, _ := filepath.Glob(filepath.Join(partCache, "*.gram")); len(files) == 0 && t.Context().Err() == nil; {
			time.Sleep(time.Millisecond)
			files, _ = filepath.Glob(filepath.Join(partCache, "*.gram"))
		}
	}()
	inPasses := append([]string{"compare", "fit", "--data", data, "--metric", "ridge", "--splits", "3", "--matrix",
		"--gram-cache", partCache, "--out", out, "--times", "6", "--features-in", "passes", pictures}, model...)
	code, _, stderr = run(ctx, append(inPasses, "--features-memory", "30kB")...) // well over a hundred passes
	require.Equal(t, exitInterrupted, code, "%s", stderr)
	assert.Contains(t, stderr, "the same command goes on with the next")
	code, _, stderr = run(t.Context(), append(inPasses, "--features-memory", "10MB")...)
	require.Equal(t, exitOK, code, "%s", stderr)
	assert.Contains(t, stderr, "the model runs 1 time over all stimuli")
	result, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Equal(t, string(results[0]), string(result))
	kept, err = filepath.Glob(filepath.Join(partCache, "*"))
	require.NoError(t, err)
	assert.Len(t, kept, 4)

	one := append([]string{"compare", "fit", "--data", data, "--matrix", "--metric", "neuron-to-neuron", "--features-in",
		"passes", "--features-memory", "400kB"}, computed...)
	code, _, stderr = run(t.Context(), one...)
	assert.Equal(t, exitInput, code)
	assert.Contains(t, stderr, "--features-memory")

	for _, args := range [][]string{
		append([]string{"--features-memory", "much"}, computed...), append([]string{"--features-in", "much"}, computed...),
		{"--features", store, "--features-in", "passes"},
		append([]string{"--features", store}, computed...), {"--features", store, "--weights", "seeded:1"},
		{"--features", store, pictures},
		{"--model", "timedecay_shallow", pictures}, append([]string{"--gram-cache-size", "much"}, computed...),
	} {
		code, _, _ := run(t.Context(), append([]string{"compare", "rsa", "--data", data}, args...)...)
		assert.Equal(t, exitUsage, code, "%q", args)
	}
}

// Decoders and readouts of features that are computed for them give the scores of those that extract wrote, with the
// labels of the stimuli's table.
func TestDecodersComputeFeatures(t *testing.T) {
	dir := t.TempDir()
	pictures, _ := picturesAndRates(t, dir)
	table, trials, times := "stimulus_id,path,object_name\n", "stimulus_id,sample_obj,dist_obj,choice\n", "stimulus_id,label,ost,i1\n"
	objects := []string{"car", "dog"}
	for i := range 80 {
		name, object, other := fmt.Sprintf("s%02d", i), objects[i%2], objects[1-i%2]
		table += fmt.Sprintf("%s,%s,%s\n", name, filepath.Join(pictures, fmt.Sprintf("p%02d.png", i%20)), object)
		times += fmt.Sprintf("%s,%s,%d,%.1f\n", name, object, 30+i%20, 0.2+float64(i)/80)
		for trial := range 8 * min(1, max(0, 8-i)) { // of the first eight
			choice := object
			if (i+trial)%3 == 0 {
				choice = other
			}
			trials += fmt.Sprintf("%s,%s,%s,%s\n", name, object, other, choice)
		}
	}
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		return name
	}
	stimuli, store := file("stimuli.csv", table), filepath.Join(dir, "features.npz")
	model := []string{"--model", "timedecay_shallow", "--weights", "seeded:1", "--layers", "imnetds", "--times", "6"}
	code, _, stderr := run(t.Context(), append([]string{"extract", "--include-all-times", "--out", store, stimuli},
		model...)...)
	require.Equal(t, exitOK, code, "%s", stderr)
	t.Setenv("TFCONVRNN_CACHE", filepath.Join(dir, "cache"))
	for _, command := range [][]string{
		{"ost", "--data", file("times.csv", times), "--decoder", "converged", "--time", "20:60"},
		{"behaviour", "--data", file("trials.csv", trials)},
	} {
		t.Run(command[0], func(t *testing.T) {
			scores := func(args ...string) (string, []any) {
				code, stdout, stderr := run(t.Context(), append(append([]string{"compare"}, command...), args...)...)
				require.Equal(t, exitOK, code, "%s", stderr)
				var report struct {
					Scores []any `json:"scores"`
				}
				require.NoError(t, json.Unmarshal([]byte(stdout), &report))
				require.NotEmpty(t, report.Scores)
				return stderr, report.Scores
			}
			_, want := scores("--features", store, "--json")
			_, got := scores(append([]string{"--json", stimuli}, model...)...)
			assert.Equal(t, want, got)
			stderr, got := scores(append([]string{"--json", "--features-in", "passes", stimuli}, model...)...)
			assert.Equal(t, want, got)
			assert.Contains(t, stderr, "of which nothing is written")
		})
	}
	kept, err := filepath.Glob(filepath.Join(dir, "cache", "grams", "*"))
	require.NoError(t, err)
	assert.Empty(t, kept)
}
