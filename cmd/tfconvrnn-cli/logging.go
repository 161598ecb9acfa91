package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	terminal "github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/internal/version"
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

// logger is newLogger for a command, which messages in JSON name.
func (f *logFlags) logger(cmd *cobra.Command, out io.Writer, quiet bool) *slog.Logger {
	log := newLogger(f, out, quiet)
	if f.format == logJSON {
		log = log.With("command", cmd.CommandPath())
	}
	return log
}

func newLogger(f *logFlags, out io.Writer, quiet bool) *slog.Logger {
	return slog.New(f.handler(out, quiet))
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
