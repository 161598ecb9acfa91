//go:build unix

package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every file and folder that commands write has the permissions that the umask leaves.
// The umask is the whole process's, so it is changed in a child.
func TestUmaskDecides(t *testing.T) {
	const child = "TFCONVRNN_TEST_UMASK"
	if _, err := runtimePath(); err != nil {
		require.NotEqual(t, "1", os.Getenv(requireEnv), "%v", err)
		t.Skip("needs libtensorflow:", err)
	}
	pictures, err := filepath.Abs("../../testdata/pictures")
	require.NoError(t, err)
	text := os.Getenv(child)
	if text == "" {
		for _, mask := range []string{"002", "077"} {
			command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestUmaskDecides$", "-test.v")
			command.Env = append(os.Environ(), child+"="+mask)
			out, err := command.CombinedOutput()
			require.NoError(t, err, "umask %s: %s", mask, out)
			require.Contains(t, string(out), "--- PASS: TestUmaskDecides", "umask %s", mask)
		}
		return
	}
	number, err := strconv.ParseInt(text, 8, 32)
	require.NoError(t, err)
	dir := t.TempDir()
	t.Chdir(dir)
	syscall.Umask(int(number))
	mask := fs.FileMode(number)
	require.NoError(t, os.Mkdir("out", 0o777))
	for _, line := range []string{
		"extract --out out/a.npz --trace out/trace.json --on-error skip",
		"extract --out out/a.zarr", "extract --out out/a.nc --include-logits", "extract --out out/a.mat",
		"extract --out out/a.npy",
		"extract plan --out out/b.zarr --plan out/b.plan", "extract work --plan out/b.plan",
		"extract finish --plan out/b.plan",
		"plot out/a.npz --kind dynamics --out out/a.png",
		"presentation show --model timedecay_shallow --png out/timeline.png",
		"evaluate --images out/set --records out/records.csv --per-class out/classes.csv --plot out/accuracy.png",
		"convert timedecay_shallow --out out/savedmodel", "checkpoint seed timedecay_shallow --out out/checkpoints",
	} {
		words := strings.Fields(line)
		if words[0] == "evaluate" {
			require.NoError(t, os.MkdirAll("out/set/n02123045", 0o777))
			picture, err := os.ReadFile(filepath.Join(pictures, "chelsea.png"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile("out/set/n02123045/a.png", picture, 0o666))
		}
		if words[0] == "extract" && words[1] != "work" && words[1] != "finish" {
			words = append(words, filepath.Join(pictures, "chelsea.png"))
		}
		switch {
		case words[0] == "extract" && words[1] != "work" && words[1] != "finish" || words[0] == "evaluate":
			words = append(words, "--model", "timedecay_shallow", "--weights", "seeded:1", "--store", "out/store")
		case words[0] == "convert":
			words = append(words, "--weights", "seeded:1")
		case words[0] == "extract" && words[1] == "work":
			words = append(words, "--store", "out/store")
		}
		code, _, stderr := run(t.Context(), words...)
		require.Equal(t, exitOK, code, "%s: %s", line, stderr)
	}
	count := 0
	require.NoError(t, filepath.WalkDir("out", func(path string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := entry.Info()
		require.NoError(t, err)
		want := 0o666 &^ mask
		if entry.IsDir() {
			want = 0o777 &^ mask
		}
		count++
		assert.Equal(t, want, info.Mode().Perm(), path)
		return nil
	}))
	require.Greater(t, count, 50)
}
