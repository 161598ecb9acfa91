package console

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// NewLineHandler returns a handler of messages from a level on, which those that are not just
// information begin with the program's name.
func NewLineHandler(program string, out io.Writer, level slog.Level) *LineHandler {
	return &LineHandler{program: program, out: out, level: level, mu: new(sync.Mutex)}
}

// A LineHandler writes messages as people read them: a line each, that says what it
// is unless it is information. Attributes are for machines, and for debugging.
type LineHandler struct {
	program    string
	out        io.Writer
	level      slog.Level
	attributes []slog.Attr
	mu         *sync.Mutex
}

// Enabled implements slog.Handler.
func (h *LineHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// Handle implements slog.Handler.
func (h *LineHandler) Handle(_ context.Context, r slog.Record) error {
	var line strings.Builder
	switch {
	case r.Level >= slog.LevelError:
		line.WriteString(h.program + ": ")
	case r.Level >= slog.LevelWarn:
		line.WriteString(h.program + ": warning: ")
	case r.Level < slog.LevelInfo:
		line.WriteString(h.program + ": debug: ")
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

// WithAttrs implements slog.Handler.
func (h *LineHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	with := *h
	with.attributes = append(slices.Clone(h.attributes), attributes...)
	return &with
}

// WithGroup is not used here.
func (h *LineHandler) WithGroup(string) slog.Handler { return h }

// ErrorTypes returns the types of an error and all that it wraps, the outermost
// first, as "A > B".
func ErrorTypes(err error) string {
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

// Plural returns "1 image", "2 images".
func Plural(n int, noun string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, noun)
	}
	if stem, ok := strings.CutSuffix(noun, "us"); ok {
		return fmt.Sprintf("%d %si", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
