// Package console shows progress and messages on standard error.
package console

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// lineInterval is how often progress is reported where there is no terminal, unless Every says it.
const lineInterval = 10 * time.Second

// A Console shows progress and warnings on standard error: a bar on a terminal,
// else a line now and then. It is safe for concurrent use.
type Console struct {
	out      io.Writer
	terminal bool // and messages are for people
	quiet    bool
	log      *slog.Logger
	every    time.Duration // see Every

	mu   sync.Mutex
	bars *mpb.Progress // nil while no bar is shown
}

// New returns a console that writes to out, and names the program in warnings; where that is a
// terminal it shows bars. Quiet hides progress and notes.
func New(program string, out io.Writer, quiet bool) *Console {
	c := &Console{out: out, terminal: IsTerminal(out), quiet: quiet}
	level := slog.LevelInfo
	if quiet {
		level = slog.LevelWarn
	}
	c.log = slog.New(NewLineHandler(program, c.Writer(), level))
	return c
}

// ForMachines makes the console write no bars, whose messages a program reads.
func (c *Console) ForMachines() { c.terminal = false }

// Every makes the console report progress so often where no bar is shown, and also the beginning and the end of
// every task, for a program that draws a bar of its own. It is called before Start.
func (c *Console) Every(interval time.Duration) { c.every = interval }

// Quieten hides progress.
func (c *Console) Quieten() { c.quiet = true }

// Terminal says whether a person watches.
func (c *Console) Terminal() bool { return c.terminal }

// SetLog replaces the logger, which writes to Writer.
func (c *Console) SetLog(log *slog.Logger) { c.log = log }

// Log is where messages go.
func (c *Console) Log() *slog.Logger { return c.log }

// Writer returns what writes above the bar, if there is one.
func (c *Console) Writer() io.Writer { return consoleWriter{c} }

// A consoleWriter writes above the bar.
type consoleWriter struct{ console *Console }

func (w consoleWriter) Write(text []byte) (int, error) {
	w.console.Print(string(text))
	return len(text), nil
}

// IsTerminal says whether a stream is a terminal.
func IsTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Warn prints a line, also if quiet.
func (c *Console) Warn(format string, args ...any) {
	c.log.Warn(fmt.Sprintf(format, args...))
}

// Note prints a line unless quiet.
func (c *Console) Note(format string, args ...any) {
	c.log.Info(fmt.Sprintf(format, args...))
}

// Debug prints a line if the user wants to know everything.
func (c *Console) Debug(message string, attributes ...any) {
	c.log.Debug(message, attributes...)
}

// Print writes text above the bar.
func (c *Console) Print(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bars != nil {
		_, _ = c.bars.Write([]byte(line)) // above the bar
		return
	}
	_, _ = io.WriteString(c.out, line)
}

// A Unit says what a task counts.
type Unit string

// What tasks count.
const (
	UnitImages     Unit = "images"
	UnitParameters Unit = "parameters"
	UnitBytes      Unit = "bytes"
	UnitChunks     Unit = "chunks"
	UnitFits       Unit = "fits"
	UnitMatrices   Unit = "matrices"
)

func (u Unit) format(n int64) string {
	switch u {
	case UnitBytes:
		return humanize.Bytes(uint64(max(0, n)))
	case UnitParameters:
		return ShortCount(n)
	}
	return fmt.Sprint(n)
}

// ShortCount writes a number as 24.0 M, rounded (humanize.SIWithDigits cuts).
func ShortCount(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	value, prefix := humanize.ComputeSI(float64(n))
	if math.Round(10*value) >= 10_000 { // 1000.0 k is 1.0 M
		value, prefix = humanize.ComputeSI(1.001 * float64(n))
	}
	return fmt.Sprintf("%.1f %s", value, prefix)
}

// A Task is something whose progress is shown until End is called.
type Task struct {
	console *Console
	label   string
	unit    Unit
	total   int64 // at its beginning
	begun   time.Time

	resumed atomic.Int64 // was done before, and counts for no rate

	mu       sync.Mutex
	bar      *mpb.Bar
	lastLine time.Time
	said     bool // whether there was a line
	done     int64
}

// rate is what was done per second, without what was done before.
func (t *Task) rate(done int64, elapsed time.Duration) float64 {
	return float64(done-t.resumed.Load()) / elapsed.Seconds()
}

// left is how long the rest takes at that rate; false if it cannot be said.
func (t *Task) left(done, total int64, elapsed time.Duration) (time.Duration, bool) {
	rate := t.rate(done, elapsed)
	if rate <= 0 || total <= done {
		return 0, false
	}
	return time.Duration(float64(total-done) / rate * float64(time.Second)).Round(time.Second), true
}

// Resume is Set for what was done before the task began.
func (t *Task) Resume(done, total int64) {
	t.resumed.Store(done)
	t.Set(done, total)
}

// Start begins to show a task; total may be 0 if it is not known yet. Only one
// task is shown at a time.
func (c *Console) Start(label string, u Unit, total int64) *Task {
	t := &Task{console: c, label: label, unit: u, total: total, begun: time.Now(), lastLine: time.Now()}
	if c.quiet || !c.terminal {
		return t
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bars = mpb.New(mpb.WithOutput(c.out), mpb.WithWidth(80))
	counters := decor.CountersNoUnit("%d / %d " + string(u))
	speed := decor.Any(func(s decor.Statistics) string {
		return fmt.Sprintf("%.1f %s/s", max(0, t.rate(s.Current, time.Since(t.begun))), u)
	})
	left := decor.Any(func(s decor.Statistics) string {
		left, ok := t.left(s.Current, s.Total, time.Since(t.begun))
		if !ok {
			return ""
		}
		return left.String() + " left"
	})
	switch u {
	case UnitBytes:
		counters, speed = decor.CountersKiloByte("% .1f / % .1f"), decor.AverageSpeed(decor.SizeB1000(0), "% .1f")
	case UnitParameters:
		counters, speed = decor.Name(""), decor.Name("")
	}
	t.bar = c.bars.AddBar(total,
		mpb.PrependDecorators(decor.Name(label+" "), counters),
		mpb.AppendDecorators(decor.Percentage(), decor.Name("  "), speed, decor.Name("  "), left),
	)
	return t
}

// due says whether a line about the task is due. The caller holds the lock.
func (t *Task) due(now time.Time, done, total int64) bool {
	every := t.console.every
	if every == 0 {
		return now.Sub(t.lastLine) >= lineInterval
	}
	return !t.said || now.Sub(t.lastLine) >= every || total > 0 && done >= total
}

// Set says how far the task is.
func (t *Task) Set(done, total int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done = done
	if t.bar != nil {
		t.bar.SetTotal(total, false)
		t.bar.SetCurrent(done)
		return
	}
	now := time.Now()
	if t.console.quiet || !t.due(now, done, total) {
		return
	}
	t.lastLine, t.said = now, true
	elapsed := now.Sub(t.begun)
	line := t.label + ": " + t.unit.format(done)
	if total > 0 {
		line += " of " + t.unit.format(total)
	}
	if t.unit != UnitBytes {
		line += " " + string(t.unit)
	}
	if t.unit == UnitImages {
		line += fmt.Sprintf(", %.2f images/s", max(0, t.rate(done, elapsed)))
	}
	if left, ok := t.left(done, total, elapsed); ok {
		line += fmt.Sprintf(", %s left", left)
	}
	t.console.log.Info(line, "done", done, "total", total, "unit", string(t.unit))
}

// Count is Set with the total that the task began with.
func (t *Task) Count(done int) { t.Set(int64(done), t.total) }

// End removes the bar. It may be called more than once.
func (t *Task) End() {
	t.mu.Lock()
	bar := t.bar
	t.bar = nil
	t.mu.Unlock()
	if bar == nil {
		return
	}
	bar.Abort(true)
	t.console.mu.Lock()
	bars := t.console.bars
	t.console.bars = nil
	t.console.mu.Unlock()
	bars.Wait()
}

// Stages are tasks of which one is shown at a time.
type Stages struct {
	console *Console
	label   string
	task    *Task // nil for none
}

// Stages returns tasks of which none has begun.
func (c *Console) Stages() *Stages { return &Stages{console: c} }

// At returns the task of a label. It begins when it is first asked for, and ends the one before.
func (s *Stages) At(label string, u Unit, total int64) (t *Task, begun bool) {
	if s.task == nil || s.label != label {
		s.End()
		s.label, s.task, begun = label, s.console.Start(label, u, total), true
	}
	return s.task, begun
}

// End ends the task that is shown.
func (s *Stages) End() {
	if s.task != nil {
		s.task.End()
	}
	s.task = nil
}
