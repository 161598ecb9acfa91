package main

import (
	"io/fs"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
)

// Every command has its file of help, and every file its command; what they print fits into a window.
func TestHelpFiles(t *testing.T) {
	files := map[string]bool{}
	require.NoError(t, fs.WalkDir(helpFiles, "help", func(path string, entry fs.DirEntry, err error) error {
		files[path] = !entry.IsDir()
		return err
	}))
	delete(files, "help")
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		path := helpFile(cmd)
		assert.True(t, files[path], "%s", path)
		delete(files, path)
		assert.NotEmpty(t, cmd.Short, path)
		for line := range strings.Lines(cmd.Short + "\n" + cmd.Long + "\n" + cmd.Example) {
			if strings.Contains(features.FormatHelp(), line) { // the formats say it
				continue
			}
			assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 90, "%s: %s", path, line)
			assert.NotRegexp(t, `[{][a-z0-9]+[}]`, line, path)
		}
		for _, below := range cmd.Commands() {
			check(below)
		}
	}
	check(newRoot())
	assert.Empty(t, files, "files without a command")
}
