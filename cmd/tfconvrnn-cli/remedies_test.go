package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

func TestRemedies(t *testing.T) {
	known := map[string]bool{}
	root := newRoot()
	var gather func(command *cobra.Command)
	gather = func(command *cobra.Command) {
		command.Flags().VisitAll(func(f *pflag.Flag) { known["--"+f.Name] = true })
		for _, below := range command.Commands() {
			gather(below)
		}
	}
	gather(root)
	for _, r := range remedies {
		text := describe(fmt.Errorf("it: %w", r.cause))
		assert.True(t, strings.HasSuffix(text, "; "+r.what), "%s", text)
		for _, flag := range regexp.MustCompile(`--[a-z][a-z0-9-]*`).FindAllString(r.what, -1) {
			assert.True(t, known[flag], "there is no %s", flag)
		}
	}
	assert.Contains(t, describe(&savedmodels.NoWeightsError{Model: "gru_shallow"}), `"tfconvrnn-cli download gru_shallow"`)
	assert.Contains(t, describe(&tfconvrnn.TimestepError{Of: "on", Given: 15, Nearest: 20}), "write 20; or round to it with --round-ms")
	assert.Equal(t, "whatever", describe(errors.New("whatever")))
}

// flagless are the packages whose messages name no flags: flags are the command's.
var flagless = []string{"tfconvrnn", "savedmodels", "convert", "internal/evaluation", "internal/runtimeinstall", "internal/trust", "convert/manifest"}

func TestPackagesNameNoFlags(t *testing.T) {
	flag := regexp.MustCompile("\"[^\"`]*(^|[ (])--[a-z]|tfconvrnn-cli [a-z]")
	for _, dir := range flagless {
		checked := 0
		require.NoError(t, filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			checked++
			text, err := os.ReadFile(path)
			for line := range strings.Lines(string(text)) {
				if code := strings.TrimSpace(line); !strings.HasPrefix(code, "//") && !strings.Contains(code, "exec.Command") {
					assert.NotRegexp(t, flag, code, path)
				}
			}
			return err
		}))
		assert.Positive(t, checked, dir)
	}
}
