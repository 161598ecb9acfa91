package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/version"
)

// logFlags say how messages go to standard error. All commands have them.
type logFlags struct {
	format, level string
}

const (
	logText = "text"
	logJSON = "json"
)

var logLevels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}

// register makes the flags those of a command and all below it, which are checked
// before they run.
func (f *logFlags) register(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&f.format, "log-format", logText, "`FORMAT` of messages on standard error: text, or json with one object a line")
	flags.StringVar(&f.level, "log-level", "info", "least `LEVEL` of messages: debug, info, warn or error")
	_ = root.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{logText, logJSON}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if f.format != logText && f.format != logJSON {
			return usagef("--log-format is text or json, not %q", f.format)
		}
		if _, ok := logLevels[f.level]; !ok {
			return usagef("--log-level is debug, info, warn or error, not %q", f.level)
		}
		return nil
	}
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
	return &lineHandler{out: out, level: level, mu: new(sync.Mutex)}
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
	return f
}

// A lineHandler writes messages as people read them: a line each, that says what it
// is unless it is information. Attributes are for machines, and for debugging.
type lineHandler struct {
	out        io.Writer
	level      slog.Level
	attributes []slog.Attr
	mu         *sync.Mutex
}

func (h *lineHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	var line strings.Builder
	switch {
	case r.Level >= slog.LevelError:
		line.WriteString(program + ": ")
	case r.Level >= slog.LevelWarn:
		line.WriteString(program + ": warning: ")
	case r.Level < slog.LevelInfo:
		line.WriteString(program + ": debug: ")
	}
	line.WriteString(r.Message)
	if h.level < slog.LevelInfo {
		write := func(a slog.Attr) bool {
			value := a.Value.Resolve().String()
			if strings.ContainsAny(value, " \"\n=") || value == "" {
				value = fmt.Sprintf("%q", value)
			}
			line.WriteString(" " + a.Key + "=" + value)
			return true
		}
		for _, a := range h.attributes {
			write(a)
		}
		r.Attrs(write)
	}
	line.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.out, line.String())
	return err
}

func (h *lineHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	with := *h
	with.attributes = append(slices.Clone(h.attributes), attributes...)
	return &with
}

// WithGroup is not used here.
func (h *lineHandler) WithGroup(string) slog.Handler { return h }

// errorTypes returns the types of an error and all that it wraps, the outermost
// first, as "A > B".
func errorTypes(err error) string {
	var types []string
	var walk func(err error)
	walk = func(err error) {
		if name := fmt.Sprintf("%T", err); err != nil && !slices.Contains(types, name) && len(types) < 20 {
			types = append(types, name)
		}
		switch wrapper := err.(type) {
		case interface{ Unwrap() error }:
			if inner := wrapper.Unwrap(); inner != nil {
				walk(inner)
			}
		case interface{ Unwrap() []error }:
			for _, inner := range wrapper.Unwrap() {
				walk(inner)
			}
		}
	}
	walk(err)
	return strings.Join(types, " > ")
}

// bugHint says how to report what is nobody's fault but the program's.
const bugHint = `If this is a fault of ` + program + `, please report it with what "` + program + ` doctor --report" prints.`

// reportError writes the message of an error.
func reportError(cmd *cobra.Command, err error, code int, stderr io.Writer) {
	var used usageError
	f := logFlagsOf(cmd)
	f.logger(cmd, stderr, false).Error(describe(err), "exit_code", code, "error_types", errorTypes(err), "version", version.Version)
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
