package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	terminal "github.com/tfconvrnn/go/internal/console"
)

// commandConsole is the console of a command.
func commandConsole(cmd *cobra.Command, quiet bool) *console {
	f := logFlagsOf(cmd)
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

// console and task are those of package console, under the short names of this package.
type (
	console struct{ *terminal.Console }
	task    struct{ *terminal.Task }
)

// What tasks count.
const (
	unitImages     = terminal.UnitImages
	unitParameters = terminal.UnitParameters
	unitBytes      = terminal.UnitBytes
	unitChunks     = terminal.UnitChunks
	unitFits       = terminal.UnitFits
	unitMatrices   = terminal.UnitMatrices
)

func (c *console) warn(format string, args ...any) { c.Warn(format, args...) }
func (c *console) note(format string, args ...any) { c.Note(format, args...) }

// warnNotice and noteNotice pass on what packages give notice of, with the flags that change it.
func (c *console) warnNotice(message string) { c.Warn("%s", notice(message)) }
func (c *console) noteNotice(message string) { c.Note("%s", notice(message)) }

func (c *console) debug(message string, attributes ...any) { c.Debug(message, attributes...) }

func (c *console) start(label string, u terminal.Unit, total int64) *task {
	return &task{c.Start(label, u, total)}
}

func (t *task) set(done, total int64)    { t.Set(done, total) }
func (t *task) resume(done, total int64) { t.Resume(done, total) }
func (t *task) end()                     { t.End() }
