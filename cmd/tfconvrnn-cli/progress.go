package main

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
	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// lineInterval is how often progress is reported where there is no terminal.
const lineInterval = 10 * time.Second

// A console shows progress and warnings on standard error: a bar on a terminal,
// else a line now and then. It is safe for concurrent use.
type console struct {
	out      io.Writer
	terminal bool // and messages are for people
	quiet    bool
	log      *slog.Logger

	mu   sync.Mutex
	bars *mpb.Progress // nil while no bar is shown
}

func newConsole(out io.Writer, quiet bool) *console {
	c := &console{out: out, terminal: isTerminal(out), quiet: quiet}
	c.log = newLogger(&logFlags{}, consoleWriter{c}, quiet)
	return c
}

// commandConsole is the console of a command.
func commandConsole(cmd *cobra.Command, quiet bool) *console {
	f := logFlagsOf(cmd)
	c := newConsole(cmd.ErrOrStderr(), quiet)
	c.log = f.logger(cmd, consoleWriter{c}, quiet)
	if f.format == logJSON {
		c.terminal = false
	}
	if level := logLevels[f.level]; level > slog.LevelInfo {
		c.quiet = true
	}
	return c
}

// A consoleWriter writes above the bar, if there is one.
type consoleWriter struct{ console *console }

func (w consoleWriter) Write(text []byte) (int, error) {
	w.console.print(string(text))
	return len(text), nil
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// warn prints a line, also if quiet.
func (c *console) warn(format string, args ...any) {
	c.log.Warn(fmt.Sprintf(format, args...))
}

// note prints a line unless quiet.
func (c *console) note(format string, args ...any) {
	c.log.Info(fmt.Sprintf(format, args...))
}

// debug prints a line if the user wants to know everything.
func (c *console) debug(message string, attributes ...any) {
	c.log.Debug(message, attributes...)
}

func (c *console) print(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bars != nil {
		_, _ = c.bars.Write([]byte(line)) // above the bar
		return
	}
	_, _ = io.WriteString(c.out, line)
}

// A unit says what a task counts.
type unit string

const (
	unitImages     unit = "images"
	unitParameters unit = "parameters"
	unitBytes      unit = "bytes"
	unitChunks     unit = "chunks"
	unitFits       unit = "fits"
)

func (u unit) format(n int64) string {
	switch u {
	case unitBytes:
		return humanize.Bytes(uint64(max(0, n)))
	case unitParameters:
		return shortCount(n)
	}
	return fmt.Sprint(n)
}

// shortCount writes a number as 24.0 M, rounded (humanize.SIWithDigits cuts).
func shortCount(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	value, prefix := humanize.ComputeSI(float64(n))
	if math.Round(10*value) >= 10_000 { // 1000.0 k is 1.0 M
		value, prefix = humanize.ComputeSI(1.001 * float64(n))
	}
	return fmt.Sprintf("%.1f %s", value, prefix)
}

// A task is something whose progress is shown until end is called.
type task struct {
	console *console
	label   string
	unit    unit
	begun   time.Time

	resumed atomic.Int64 // was done before, and counts for no rate

	mu       sync.Mutex
	bar      *mpb.Bar
	lastLine time.Time
	done     int64
}

// rate is what was done per second, without what was done before.
func (t *task) rate(done int64, elapsed time.Duration) float64 {
	return float64(done-t.resumed.Load()) / elapsed.Seconds()
}

// left is how long the rest takes at that rate; false if it cannot be said.
func (t *task) left(done, total int64, elapsed time.Duration) (time.Duration, bool) {
	rate := t.rate(done, elapsed)
	if rate <= 0 || total <= done {
		return 0, false
	}
	return time.Duration(float64(total-done) / rate * float64(time.Second)).Round(time.Second), true
}

// resume is set for what was done before the task began.
func (t *task) resume(done, total int64) {
	t.resumed.Store(done)
	t.set(done, total)
}

// start begins to show a task; total may be 0 if it is not known yet. Only one
// task is shown at a time.
func (c *console) start(label string, u unit, total int64) *task {
	t := &task{console: c, label: label, unit: u, begun: time.Now(), lastLine: time.Now()}
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
	case unitBytes:
		counters, speed = decor.CountersKiloByte("% .1f / % .1f"), decor.AverageSpeed(decor.SizeB1000(0), "% .1f")
	case unitParameters:
		counters, speed = decor.Name(""), decor.Name("")
	}
	t.bar = c.bars.AddBar(total,
		mpb.PrependDecorators(decor.Name(label+" "), counters),
		mpb.AppendDecorators(decor.Percentage(), decor.Name("  "), speed, decor.Name("  "), left),
	)
	return t
}

// set says how far the task is.
func (t *task) set(done, total int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done = done
	if t.bar != nil {
		t.bar.SetTotal(total, false)
		t.bar.SetCurrent(done)
		return
	}
	now := time.Now()
	if t.console.quiet || now.Sub(t.lastLine) < lineInterval {
		return
	}
	t.lastLine = now
	elapsed := now.Sub(t.begun)
	line := t.label + ": " + t.unit.format(done)
	if total > 0 {
		line += " of " + t.unit.format(total)
	}
	if t.unit != unitBytes {
		line += " " + string(t.unit)
	}
	if t.unit == unitImages {
		line += fmt.Sprintf(", %.2f images/s", max(0, t.rate(done, elapsed)))
	}
	if left, ok := t.left(done, total, elapsed); ok {
		line += fmt.Sprintf(", %s left", left)
	}
	t.console.log.Info(line, "done", done, "total", total, "unit", string(t.unit))
}

// end removes the bar. It may be called more than once.
func (t *task) end() {
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
