package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/stimuli"
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
	flags := regexp.MustCompile(`--[a-z][a-z0-9-]*`)
	for option, r := range optionRemedies {
		_, there := reflect.TypeFor[stimuli.Options]().FieldByName(option)
		assert.True(t, there, "stimuli.Options has no %s", option)
		for _, flag := range flags.FindAllString(r.what+r.otherwise, -1) {
			assert.True(t, known[flag], "there is no %s", flag)
		}
		assert.Equal(t, "it; "+r.otherwise,
			describe(fmt.Errorf("%w", &stimuli.OptionError{Option: option, Err: errors.New("it")})))
	}
	var sources strings.Builder
	for _, pattern := range []string{"../../stimuli/*.go", "../../internal/images/notices.go", "../../compare/gramfolder.go"} {
		paths, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			sources.Write(text)
		}
	}
	for _, r := range noticeRemedies {
		assert.Contains(t, sources.String(), r.notice, "no package says so")
		for _, flag := range flags.FindAllString(r.what, -1) {
			assert.True(t, known[strings.Replace(flag, "--resize", "--preprocess", 1)], "there is no %s", flag)
		}
		assert.Equal(t, "a: "+r.notice+"; "+r.what, notice("a: "+r.notice))
	}
	assert.Equal(t, `a; --path-column "x" takes it`,
		describe(&stimuli.OptionError{Option: "PathColumn", Value: "x", Err: errors.New("a")}))
	assert.Equal(t, "output exists; here", describe(fmt.Errorf("%w", advise(features.ErrExists, "here"))))
	assert.Contains(t, describe(&savedmodels.NoWeightsError{Model: "gru_shallow"}), `"tfconvrnn-cli download gru_shallow"`)
	assert.Contains(t, describe(&tfconvrnn.TimestepError{Of: "on", Given: 15, Nearest: 20}),
		"write 20; or round to it with --round-ms")
	assert.Equal(t, "whatever", describe(errors.New("whatever")))
}

// Where the program's own files cannot be written, it says which variable names another folder.
func TestFolderRemedies(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", filepath.Join(dir, "nowhere"))
	t.Setenv(cachedir.Env, filepath.Join(dir, "file", "cache"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o666))
	code, _, stderr := run(t.Context(), "extract", "--model", "timedecay_shallow", "--weights", "seeded:1", "--out",
		filepath.Join(dir, "a.npz"), "../../testdata/pictures")
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, "no such file or directory; TMPDIR names the folder of temporary files\n")
	_, err := os.MkdirTemp("", "tfconvrnn-graph-*")
	assert.Contains(t, describe(err), "; TMPDIR names ")

	kept := "; TFCONVRNN_CACHE names the folder in which models and libraries are kept"
	code, _, stderr = run(t.Context(), "convert", "timedecay_shallow", "--weights", "seeded:1")
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, filepath.Join(dir, "file")+": not a directory"+kept+"\n")
	below := filepath.Join(dir, "file", "cache", "savedmodels", "x")
	assert.Contains(t, describe(&fs.PathError{Op: "open", Path: below, Err: fs.ErrPermission}), kept)

	for _, other := range []*fs.PathError{
		{Op: "open", Path: filepath.Join(dir, "nowhere", "features.npz.partial"), Err: fs.ErrPermission}, // the user's
		{Op: "open", Path: filepath.Join(dir, "file", "cache", "x"), Err: fs.ErrNotExist},
		{Op: "mkdir", Path: filepath.Join(dir, "other"), Err: fs.ErrPermission},
	} {
		assert.Equal(t, other.Error(), describe(other))
	}
}

// flagless are the packages whose messages name no flags: flags are the command's.
var flagless = []string{"tfconvrnn", "savedmodels", "convert", "internal/evaluation", "internal/runtimeinstall",
	"internal/trust", "convert/manifest",
	"stimuli", "extraction", "features", "internal/images", "internal/plotting", "compare", "recordings"}

func TestPackagesNameNoFlags(t *testing.T) {
	flag := regexp.MustCompile("\"[^\"`]*(^|[ (])--[a-z]|tfconvrnn-cli [a-z]|\\bwith force\\b")
	for _, dir := range flagless {
		checked := 0
		require.NoError(t, filepath.WalkDir(filepath.Join("..", "..", dir),
			func(path string, entry fs.DirEntry, err error) error {
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
