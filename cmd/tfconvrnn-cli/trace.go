package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tfconvrnn/go/internal/chrometrace"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// An extractTrace notes what an extraction spends its time on: in a file of --trace,
// and with --log-level debug in messages.
type extractTrace struct {
	writer  *chrometrace.Writer // nil without --trace
	console *console
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
		t.console.debug(name, "seconds", end.Sub(begin).Seconds())
		if t.writer != nil {
			t.writer.Span("program", name, begin, end, nil)
		}
	}
}

// span notes a stage of a batch.
func (t *extractTrace) span(s tfconvrnn.Span) {
	first := s.First
	t.console.debug(string(s.Stage), "first", first, "stimuli", s.Stimuli, "seconds", s.End.Sub(s.Begin).Seconds())
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
