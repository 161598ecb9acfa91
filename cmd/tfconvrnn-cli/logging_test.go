package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/chrometrace"
	terminal "github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/internal/libtf"
)

// records parses messages in JSON, of which each must be a line.
func records(t *testing.T, stderr string) []map[string]any {
	t.Helper()
	var list []map[string]any
	for lines := bufio.NewScanner(strings.NewReader(stderr)); lines.Scan(); {
		var record map[string]any
		require.NoError(t, json.Unmarshal(lines.Bytes(), &record), "%s", lines.Text())
		for _, key := range []string{"time", "level", "msg", "command"} {
			assert.Contains(t, record, key)
		}
		list = append(list, record)
	}
	return list
}

func TestErrorsInJSON(t *testing.T) {
	code, stdout, stderr := run(t.Context(), "extract", "--model", "nothing", "--out", "a.npz", "--log-format", "json",
		"x.png")
	assert.Equal(t, exitUsage, code)
	assert.Empty(t, stdout)
	list := records(t, stderr)
	require.Len(t, list, 1)
	assert.Equal(t, "ERROR", list[0]["level"])
	assert.Equal(t, float64(exitUsage), list[0]["exit_code"])
	assert.Equal(t, "tfconvrnn-cli extract", list[0]["command"])
	assert.Contains(t, list[0]["error_types"], "*errors.errorString")
	assert.Contains(t, list[0], "version")
}

func TestLogFlagsAreChecked(t *testing.T) {
	for _, args := range [][]string{{"--log-format", "xml"}, {"--log-level", "loud"}, {"--progress-every", "-1s"}} {
		code, _, stderr := run(t.Context(), append(args, "models")...)
		assert.Equal(t, exitUsage, code)
		assert.Contains(t, stderr, args[1])
	}
	// Every command has them.
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		assert.NotNil(t, cmd.InheritedFlags().Lookup("log-format"), cmd.CommandPath())
		assert.Nil(t, cmd.PersistentPreRunE, "%s would hide the check", cmd.CommandPath())
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	for _, sub := range newRoot().Commands() {
		walk(sub)
	}
}

// A command that another program started ends with it.
func TestEndsWithStdin(t *testing.T) {
	in, end := io.Pipe()
	time.AfterFunc(300*time.Millisecond, func() { end.Close() })
	var stdout, stderr bytes.Buffer
	code := Main(t.Context(), []string{"serve", "--end-with-stdin", "--model", "timedecay_shallow", "--weights", "seeded:1",
		"--listen", "127.0.0.1:0"}, in, &stdout, &stderr)
	assert.Equal(t, exitOK, code, stderr.String())
}

func TestLevels(t *testing.T) {
	for level, want := range map[string]string{
		"debug": "tfconvrnn-cli: debug: details file=\"a b\" n=3\nnote\ntfconvrnn-cli: warning: careful\n",
		"info":  "note\ntfconvrnn-cli: warning: careful\n",
		"warn":  "tfconvrnn-cli: warning: careful\n",
		"error": "",
	} {
		var out bytes.Buffer
		c := &console{terminal.New(program, &out, false)}
		f := &logFlags{format: logText, level: level}
		c.SetLog(slog.New(f.handler(c.Writer(), false)))
		c.Debug("details", "file", "a b", "n", 3)
		c.Note("note")
		c.Warn("careful")
		assert.Equal(t, want, out.String(), level)
	}
	var out bytes.Buffer
	f := &logFlags{format: logText, level: "debug"}
	slog.New(f.handler(&out, true)).Info("hidden")
	assert.Empty(t, out.String(), "--quiet wins")
}

func TestErrorTypes(t *testing.T) {
	err := fmt.Errorf("a: %w", errors.Join(inputf("b: %w", &fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}),
		errors.New("c")))
	assert.Equal(t, "*fmt.wrapError > *errors.joinError > main.inputError > *fs.PathError > *errors.errorString",
		terminal.ErrorTypes(err))
}

func TestBugHint(t *testing.T) {
	var out bytes.Buffer
	cmd := newRoot()
	reportError(cmd, fmt.Errorf("x: %w", &libtf.Error{Operation: "run a session", Code: libtf.ErrInternal,
		Message: "boom"}), exitFailure, &out)
	assert.Contains(t, out.String(), "boom")
	assert.Contains(t, out.String(), "doctor --report")
	out.Reset()
	reportError(cmd, fs.ErrPermission, exitFailure, &out)
	assert.NotContains(t, out.String(), "doctor")
}

// A trace of an extraction: what every batch went through, and that spans nest.
func TestTrace(t *testing.T) {
	if _, err := runtimePath(); err != nil {
		require.NotEqual(t, "1", os.Getenv(requireEnv), "%v", err)
		t.Skip("needs libtensorflow:", err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "trace.json")
	args := []string{
		"extract", "--model", "timedecay_shallow", "--weights", "seeded:1", "--store", filepath.Join(dir, "store"), "--batch",
		"2", "--layers", "conv2",
		"--presentation", "custom", "--times", "4", "--image-off", "2",
		"--out", filepath.Join(dir, "a.npz"), "--trace", file, "--log-format", "json", "--log-level", "debug",
	}
	const pictures = 7
	for range pictures {
		args = append(args, "../../testdata/pictures/coffee.png")
	}
	code, _, stderr := run(t.Context(), args...)
	require.Equal(t, exitOK, code, "%s", stderr)
	events, err := chrometrace.Read(file)
	require.NoError(t, err)
	stages := map[string]map[float64]chrometrace.Event{}
	for _, e := range events {
		if first, ok := e.Args["first"].(float64); ok {
			stage, _, _ := strings.Cut(e.Name, " ")
			if stages[stage] == nil {
				stages[stage] = map[float64]chrometrace.Event{}
			}
			stages[stage][first] = e
		}
	}
	end := func(e chrometrace.Event) float64 { return *e.Begin + *e.Duration }
	for first := 0.0; first < pictures; first += 2 {
		last := 0.0
		for _, stage := range []string{"decode", "queue", "run", "hold", "write"} {
			e, ok := stages[stage][first]
			require.True(t, ok, "%s of batch %v", stage, first)
			assert.GreaterOrEqual(t, *e.Begin+1, last, "%s of batch %v", stage, first) // to the microsecond
			assert.Equal(t, min(2, pictures-first), e.Args["stimuli"])
			last = end(e)
		}
		run := stages["run"][first]
		for _, stage := range []string{"constants", "session"} {
			e, ok := stages[stage][first]
			require.True(t, ok, "%s of batch %v", stage, first)
			assert.Equal(t, run.Thread, e.Thread)
			assert.GreaterOrEqual(t, *e.Begin, *run.Begin)
			assert.LessOrEqual(t, end(e), end(run)+1e-3)
		}
	}
	messages := map[string]int{}
	for _, r := range records(t, stderr) {
		messages[r["msg"].(string)]++
	}
	assert.Equal(t, 4, messages["session"])
	for _, part := range []string{"hash stimuli", "load model", "loaded", "plan", "finish"} {
		assert.Equal(t, 1, messages[part], part)
	}

	// An error ends the trace too, and nothing is left beside it.
	out := filepath.Join(dir, "b.npz")
	code, _, _ = run(t.Context(), "extract", "--model", "timedecay_shallow", "--weights", "seeded:1", "--store",
		filepath.Join(dir, "store"),
		"--batch", "1", "--layers", "conv2", "--out", out, "--trace", file, "../../testdata/pictures/coffee.png", "main.go")
	assert.Equal(t, exitInput, code)
	_, err = chrometrace.Read(file)
	require.NoError(t, err)
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	assert.Empty(t, left)
	out = filepath.Join(dir, "c.npz")
	code, _, _ = run(t.Context(), "extract", "--model", "timedecay_shallow", "--out", out, "--trace", out, "x.png")
	assert.Equal(t, exitUsage, code)
}
