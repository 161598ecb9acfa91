// Command prove runs every check of a GPU, one process each, the most telling first, and
// prints one table. scripts/gpu/prove.sh starts it.
//
// A step that fails, hangs, dies or runs out of memory is a line of the table; the others run.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// A step is one process and what its output says.
type step struct {
	name    string
	limit   time.Duration
	command []string
	dir     string
	env     []string
	parse   parser
	// beside names an earlier step whose speed this one's is compared with.
	beside string
}

// A parser reads what a step printed.
type parser func(output []byte) (outcome, error)

// An outcome is what a step found.
type outcome struct {
	Summary string         `json:"summary"`
	Values  map[string]any `json:"values,omitempty"`
}

// The states of a finished step.
const (
	passed     = "ok"
	failed     = "FAILED"
	timedOut   = "TIME IS UP"
	notRun     = "not run"
	wasSkipped = "skipped" // it shows nothing, and says why
)

// A line is a step in the report.
type line struct {
	Name    string  `json:"name"`
	State   string  `json:"state"`
	Seconds float64 `json:"seconds"`
	outcome
	// Output is the end of what a step printed that did not pass.
	Output string `json:"output,omitempty"`
}

// leastTime is what must be left of all the time for another step to begin.
const leastTime = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "prove:", err)
	}
	stop()
	os.Exit(code)
}

func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) (code int, err error) {
	flags := flag.NewFlagSet("prove", flag.ContinueOnError)
	flags.SetOutput(stderr)
	o := options{}
	flags.DurationVar(&o.time, "time", 8*time.Minute, "time for all steps together")
	flags.StringVar(&o.cli, "cli", "", "the program tfconvrnn-cli")
	flags.StringVar(&o.tests, "tests", "", "the tests of package tfconvrnn, compiled")
	flags.StringVar(&o.dir, "dir", "", "folder tfconvrnn, with testdata beside it")
	flags.StringVar(&o.store, "store", "", "folder for converted models")
	flags.StringVar(&o.model, "model", "", "only this model, to be quick")
	flags.StringVar(&o.only, "only", "", "only steps whose name begins so")
	flags.BoolVar(&o.small, "small", false, "compute little in each step, to try the steps themselves")
	report := flags.String("report", "prove.json", "file for the report")
	if err := flags.Parse(arguments); err != nil {
		return 2, nil
	}
	begun := time.Now()
	lines := runAll(ctx, o.steps(), o.time, stderr)
	text, err := json.MarshalIndent(map[string]any{"begun": begun.UTC().Format(time.RFC3339), "small": o.small,
		"steps": lines}, "", "  ")
	if err == nil {
		err = os.WriteFile(*report, append(text, '\n'), 0o666)
	}
	printTable(stdout, lines)
	for _, l := range lines {
		if l.State == failed || l.State == timedOut {
			code = 1
		}
	}
	return code, err
}

// runAll runs steps one after the other, as many as there is time for.
func runAll(ctx context.Context, steps []step, all time.Duration, progress io.Writer) []line {
	end := time.Now().Add(all)
	var lines []line
	for _, s := range steps {
		left := time.Until(end)
		if left < leastTime || ctx.Err() != nil {
			lines = append(lines, line{Name: s.name, State: notRun, outcome: outcome{Summary: "no time was left"}})
			continue
		}
		fmt.Fprintf(progress, "%s …\n", s.name)
		l := s.run(ctx, min(s.limit, left))
		l.compare(s.beside, lines)
		fmt.Fprintf(progress, "%s: %s in %.0f s; %s\n", l.Name, l.State, l.Seconds, l.Summary)
		lines = append(lines, l)
	}
	return lines
}

// run runs the process of a step, and ends it and its children when the limit is over.
func (s step) run(ctx context.Context, limit time.Duration) line {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	command := exec.CommandContext(ctx, s.command[0], s.command[1:]...)
	command.Dir, command.Env = s.dir, append(os.Environ(), s.env...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = 5 * time.Second
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	begin := time.Now()
	err := command.Run()
	l := line{Name: s.name, Seconds: time.Since(begin).Seconds()}
	found, parseErr := s.parse(output.Bytes())
	l.outcome = found
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		l.State, l.Summary = timedOut, join(fmt.Sprintf("ended after %v", limit.Round(time.Second)), found.Summary)
	case err != nil:
		l.State, l.Summary = failed, join(err.Error(), found.Summary, lastLine(output.Bytes()))
	case errors.Is(parseErr, errSkipped):
		l.State, l.Summary = wasSkipped, parseErr.Error()
	case parseErr != nil:
		l.State, l.Summary = failed, join(parseErr.Error(), found.Summary)
	default:
		l.State = passed
	}
	if l.State != passed {
		l.Output = tail(output.Bytes(), 4000)
	}
	return l
}

// compare adds how much faster a step is than an earlier one that passed.
func (l *line) compare(name string, earlier []line) {
	here, ok := l.Values["images_per_second"].(float64)
	for _, e := range earlier {
		if base, measured := e.Values["images_per_second"].(float64); ok && measured && e.Name == name && name != "" &&
			e.State == passed {
			l.Values["times_as_fast"] = here / base
			l.Summary = join(l.Summary, fmt.Sprintf("%.2f times as fast as %s", here/base, name))
		}
	}
}

func join(parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "; ")
}

func tail(output []byte, n int) string { return string(output[max(0, len(output)-n):]) }

// lastLine returns the last line that says what was wrong, shortened.
func lastLine(output []byte) string {
	found := ""
	for l := range strings.Lines(string(output)) {
		if l = strings.TrimSpace(l); l != "" && l != "FAIL" && !strings.HasPrefix(l, "exit status") &&
			!strings.HasPrefix(l, "PROVE:") {
			found = l
		}
	}
	return found[:min(len(found), 200)]
}
