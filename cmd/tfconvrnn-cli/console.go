package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/chrometrace"
	terminal "github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// logFlags say how messages go to standard error. All commands have them.
type logFlags struct {
	format, level string
	// every is how often progress is said where no bar is shown, 0 for now and then.
	every time.Duration
}

const (
	logText = "text"
	logJSON = "json"
)

var logLevels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn,
	"error": slog.LevelError}

// register makes the flags those of a command and all below it.
func (f *logFlags) register(root *cobra.Command) {
	addChoiceTo(root.PersistentFlags(), root, &f.format, "log-format", logText,
		"`FORMAT` of messages on standard error: text, or json with one object a line", logText, logJSON)
	addChoiceTo(root.PersistentFlags(), root, &f.level, "log-level", "info",
		"least `LEVEL` of messages: debug, info, warn or error", "debug", "info", "warn", "error")
	root.PersistentFlags().DurationVar(&f.every, "progress-every", 0,
		"`TIME` between messages of progress where there is no terminal, such as 500ms (default 10s)")
}

// handler returns where the messages of a command go. Quiet hides what is not a
// warning.
func (f *logFlags) handler(out io.Writer, quiet bool) slog.Handler {
	level, ok := logLevels[f.level]
	if !ok {
		level = slog.LevelInfo
	}
	if quiet {
		level = max(level, slog.LevelWarn)
	}
	if f.format == logJSON {
		return slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level})
	}
	return terminal.NewLineHandler(program, out, level)
}

// logger returns a command's logger. Messages in JSON name the command.
func (f *logFlags) logger(cmd *cobra.Command, out io.Writer, quiet bool) *slog.Logger {
	log := slog.New(f.handler(out, quiet))
	if f.format == logJSON {
		log = log.With("command", cmd.CommandPath())
	}
	return log
}

// logFlagsOf returns the flags that a command was run with.
func logFlagsOf(cmd *cobra.Command) *logFlags {
	f := &logFlags{}
	flags := cmd.Root().PersistentFlags()
	f.format, _ = flags.GetString("log-format")
	f.level, _ = flags.GetString("log-level")
	f.every, _ = flags.GetDuration("progress-every")
	return f
}

// bugHint says how to report what is nobody's fault but the program's.
const bugHint = `If this is a fault of ` + program + `, please report it with what "` + program +
	` doctor --report" prints.`

// reportError writes the message of an error.
func reportError(cmd *cobra.Command, err error, code int, stderr io.Writer) {
	var used usageError
	f := logFlagsOf(cmd)
	f.logger(cmd, stderr, false).Error(describe(err), "exit_code", code, "error_types", terminal.ErrorTypes(err),
		"version", version.Version)
	if f.format == logJSON {
		return
	}
	switch {
	case errors.As(err, &used):
		fmt.Fprintf(stderr, "See \"%s --help\".\n", cmd.CommandPath())
	case isBug(err):
		fmt.Fprintln(stderr, bugHint)
	}
}

// commandConsole is the console of a command, which --quiet makes say less.
func commandConsole(cmd *cobra.Command) *console {
	f, quiet := logFlagsOf(cmd), says(cmd, "quiet")
	c := terminal.New(program, cmd.ErrOrStderr(), quiet)
	c.SetLog(f.logger(cmd, c.Writer(), quiet))
	if f.format == logJSON {
		c.ForMachines()
	}
	if f.every > 0 {
		c.Every(f.every)
	}
	if level := logLevels[f.level]; level > slog.LevelInfo {
		c.Quieten()
	}
	return &console{c}
}

// plural returns "1 image", "2 images".
func plural(n int, noun string) string { return terminal.Plural(n, noun) }

// console is where a command says what it does.
type console struct{ *terminal.Console }

// What tasks count.
const (
	unitImages     = terminal.UnitImages
	unitParameters = terminal.UnitParameters
	unitBytes      = terminal.UnitBytes
	unitChunks     = terminal.UnitChunks
	unitFits       = terminal.UnitFits
	unitMatrices   = terminal.UnitMatrices
)

// warnNotice and noteNotice pass on what packages give notice of, with the flags that change it.
func (c *console) warnNotice(message string) { c.Warn("%s", notice(message)) }
func (c *console) noteNotice(message string) { c.Note("%s", notice(message)) }

// An extractTrace notes what an extraction spends its time on: in a file of --trace,
// and with --log-level debug in messages.
type extractTrace struct {
	writer  *chrometrace.Writer // nil without --trace
	console *console
}

// newTrace returns the trace of a command, in a file if one is named.
func newTrace(c *console, file, command string) (t *extractTrace, err error) {
	t = &extractTrace{console: c}
	if file != "" {
		t.writer, err = chrometrace.Create(file, program+" "+command)
	}
	return t, err
}

func (t *extractTrace) close() error {
	if t.writer == nil {
		return nil
	}
	return t.writer.Close()
}

// wanted says whether anybody wants to know.
func (t *extractTrace) wanted() bool {
	return t.writer != nil || t.console.Log().Enabled(context.Background(), slog.LevelDebug)
}

// start begins a part of the work that is not a batch's, which the returned function
// ends. What an error ends is not noted.
func (t *extractTrace) start(name string) (stop func()) {
	begin := time.Now()
	return func() {
		end := time.Now()
		t.console.Debug(name, "seconds", end.Sub(begin).Seconds())
		if t.writer != nil {
			t.writer.Span("program", name, begin, end, nil)
		}
	}
}

// span notes a stage of a batch.
func (t *extractTrace) span(s tfconvrnn.Span) {
	first := s.First
	t.console.Debug(string(s.Stage), "first", first, "stimuli", s.Stimuli, "seconds", s.End.Sub(s.Begin).Seconds())
	if t.writer == nil {
		return
	}
	args := map[string]any{"first": first, "stimuli": s.Stimuli}
	name := fmt.Sprintf("%s %d…%d", s.Stage, first, first+s.Stimuli-1)
	switch s.Stage {
	case tfconvrnn.StageRun, tfconvrnn.StageConstants, tfconvrnn.StageSession:
		track := "run"
		if s.Session > 0 {
			track = fmt.Sprintf("run on session %d", s.Session)
		}
		t.writer.Nested(track, name, s.Begin, s.End, args)
	default:
		t.writer.Span(string(s.Stage), name, s.Begin, s.End, args)
	}
}
