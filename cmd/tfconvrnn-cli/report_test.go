package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tfconvrnn/go/internal/cachedir"
)

func TestReport(t *testing.T) {
	home := filepath.Join(t.TempDir(), "alice")
	t.Setenv("HOME", home)
	t.Setenv(cachedir.Env, filepath.Join(home, "cache"))
	t.Setenv("HTTPS_PROXY", "http://user:hunter2@proxy.example")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
	t.Setenv("LD_PRELOAD", "https://user:hunter2@example.org")
	t.Setenv("OMP_NUM_THREADS", "3")
	t.Setenv("TMPDIR", os.TempDir())
	code, stdout, stderr := run(t.Context(), "doctor", "--report", "--store", filepath.Join(home, "store"))
	assert.Contains(t, []int{exitOK, exitMissing}, code, "%s", stderr)
	for _, words := range []string{
		"### tfconvrnn-cli doctor --report", "**versions**", "**system**", "**TensorFlow**", "**store**", "**environment**",
		"**doctor**",
		"| OMP_NUM_THREADS | \"3\" |", "| HTTPS_PROXY | (set) |", "| LD_PRELOAD | (withheld) |", "| directory | ~/store |",
		"~/cache", "| cores | ",
	} {
		assert.Contains(t, stdout, words)
	}
	assert.NotContains(t, stdout, "hunter2")
	assert.NotContains(t, stdout, "alice")
	if host, err := os.Hostname(); err == nil && len(host) > 6 {
		assert.NotContains(t, stdout, host)
	}
	for line := range strings.Lines(stdout) {
		if strings.HasPrefix(line, "|") {
			assert.Equal(t, 3, strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"), "%s", line)
		}
	}
	code, stdout, _ = run(t.Context(), "doctor", "--report", "--json", "--store", filepath.Join(home, "store"))
	assert.Contains(t, []int{exitOK, exitMissing}, code)
	assert.Contains(t, stdout, `"name": "environment"`)
	assert.NotContains(t, stdout, "hunter2")
}
