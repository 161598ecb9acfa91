package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"github.com/tfconvrnn/go/internal/hdf5"
	"github.com/tfconvrnn/go/internal/libtf"
)

var (
	shellBlocks   = regexp.MustCompile("(?ms)^```(sh|console)\n(.*?)^```$")
	inlineCommand = regexp.MustCompile("`((?:go run \\./cmd/)?" + program + " [^`]*)`")
)

// documentedCommands returns the shell commands of a document: those of its blocks, without
// what they print, and those in its text.
func documentedCommands(text string) []string {
	var commands []string
	for _, block := range shellBlocks.FindAllStringSubmatch(text, -1) {
		if block[1] == "sh" {
			commands = append(commands, block[2])
			continue
		}
		continued := false
		for line := range strings.Lines(block[2]) {
			command, prompted := strings.CutPrefix(line, "$ ")
			if !prompted && !continued {
				continue
			}
			if continued {
				commands[len(commands)-1] += command
			} else {
				commands = append(commands, command)
			}
			continued = strings.HasSuffix(line, "\\\n")
		}
	}
	for _, inline := range inlineCommand.FindAllStringSubmatch(shellBlocks.ReplaceAllString(text, ""), -1) {
		commands = append(commands, strings.ReplaceAll(inline[1], `\|`, "|"))
	}
	return commands
}

// ownArguments returns the arguments of this program where a shell command runs it, by
// itself or in one of its images.
func ownArguments(t *testing.T, command string) [][]string {
	file, err := syntax.NewParser().Parse(strings.NewReader(command), "")
	require.NoError(t, err, "%s", command)
	var list [][]string
	syntax.Walk(file, func(node syntax.Node) bool {
		call, ok := node.(*syntax.CallExpr)
		if !ok {
			return true
		}
		for i, word := range call.Args {
			name := word.Lit()
			runs := i > 0 && call.Args[1].Lit() == "run" // go run, docker run
			if name != program && (!runs || name != "./cmd/"+program && !strings.HasPrefix(name, "tfconvrnn:")) {
				continue
			}
			var args []string
			for _, word := range call.Args[i+1:] {
				arg, err := expand.Literal(nil, word)
				require.NoError(t, err, "%s", command)
				args = append(args, arg)
			}
			list = append(list, args)
			break
		}
		return true
	})
	return list
}

// Every command in the documents exists, takes the flags that it is given, and as many
// arguments. Text may name a command without its arguments.
func TestDocumentedCommands(t *testing.T) {
	count := 0
	for _, pattern := range []string{"../../*.md", "../../docs/*.md"} {
		names, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, name := range names {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			for _, command := range documentedCommands(string(text)) {
				for _, args := range ownArguments(t, command) {
					assert.NoError(t, checkCommandLine(args), "%s: %s", filepath.Base(name), command)
					count++
				}
			}
		}
	}
	assert.Greater(t, count, 60)
	for _, wrong := range []string{"extrakt", "extract --modell x", "info a b", "convert --times many x"} {
		assert.Error(t, checkCommandLine(strings.Fields(wrong)), "%s", wrong)
	}
}

// So does every example of a help text.
func TestHelpExamples(t *testing.T) {
	count := 0
	var check func(*cobra.Command)
	check = func(cmd *cobra.Command) {
		for _, args := range ownArguments(t, cmd.Example) {
			assert.NoError(t, checkCommandLine(args), "%s: %s", cmd.CommandPath(), strings.Join(args, " "))
			count++
		}
		for _, sub := range cmd.Commands() {
			check(sub)
		}
	}
	check(newRoot())
	assert.Greater(t, count, 25)
}

// checkCommandLine parses a command line without running it.
func checkCommandLine(args []string) error {
	root := newRoot()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	cmd, rest, err := root.Find(joinBooleanAliases(args))
	if err != nil {
		return err
	}
	if cmd == root && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return fmt.Errorf("no command %q", rest[0])
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if len(args) == strings.Count(cmd.CommandPath(), " ") {
		return nil // only the command's name
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// runnable are the blocks of documents that work in a clone without trained weights, by what they begin with, and the
// folder that they are for.
var runnable = []struct{ document, begins, folder string }{
	{"README.md", "$ go run ./cmd/tfconvrnn-cli extract --yes", ""},
	{"README.md", "$ tfconvrnn-cli extract --model ugrnn_intermediate --weights seeded:1 --areas IT", ""},
	{"README.md", "$ tfconvrnn-cli runtime install --hdf5", ""},
	{"README.md", "$ tfconvrnn-cli extract plan", ""},
	{"docs/cluster.md", "$ tfconvrnn-cli extract plan", "testdata"},
	{"docs/compare.md", "$ cd testdata/comparison", ""},
	{"docs/compare.md", "$ tfconvrnn-cli compare fit", "testdata/comparison"},
	{"docs/models.md", "tfconvrnn-cli models", ""},
	{"docs/observability.md", "tfconvrnn-cli extract", "testdata"},
	{"docs/serving.md", "mkdir -p models/timedecay_shallow", ""},
	{"docs/stimuli.md", "tfconvrnn-cli extract --model ugrnn_intermediate --areas IT", "testdata"},
	{"docs/stimuli.md", "$ tfconvrnn-cli presentation show", ""},
	{"docs/stimuli.md", "tfconvrnn-cli extract --model rgc_shallow --on-ms", ""},
}

var (
	consoleBlocks = regexp.MustCompile("(?ms)^```(?:sh|console)\n(.*?)^```$")
	pythonSession = regexp.MustCompile(`(?s)\$ python\n.*`)
	trailing      = regexp.MustCompile(`(?m) +$`)
	extracting    = regexp.MustCompile(`(extract(?: plan)?) (.*?)--model \w+(?: --weights seeded:1)?`)
)

// asScript returns a block as a shell script, with the fastest model, and what the document says that it prints.
func asScript(block string) (script, prints string) {
	block = pythonSession.ReplaceAllString(block, "")
	block = strings.NewReplacer(
		"go run ./cmd/", "", "\\\n", "", "conv9,conv10", "conv4,conv5", program+" runtime", "true").Replace(block)
	block = extracting.ReplaceAllString(block, "$1 $2--model timedecay_shallow --weights seeded:1")
	for line := range strings.Lines(block) {
		command, prompted := strings.CutPrefix(line, "$ ")
		if prompted || !strings.Contains(block, "$ ") {
			script += command
		} else {
			prints += line
		}
	}
	return script, prints
}

// These blocks do in a clone what the documents say, and print it.
func TestDocumentsRun(t *testing.T) {
	library, err := runtimePath()
	if err != nil {
		require.NotEqual(t, "1", os.Getenv(requireEnv), "%v", err)
		t.Skip("needs libtensorflow:", err)
	}
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("needs a shell:", err)
	}
	repository, err := filepath.Abs("../..")
	require.NoError(t, err)
	cache := t.TempDir()
	for _, r := range runnable {
		t.Run(r.document+" "+r.begins, func(t *testing.T) {
			if strings.HasSuffix(r.begins, "--hdf5") || r.document == "docs/compare.md" {
				needHDF5(t)
			}
			text, err := os.ReadFile(filepath.Join(repository, r.document))
			require.NoError(t, err)
			script, prints := "", ""
			for _, block := range consoleBlocks.FindAllStringSubmatch(string(text), -1) {
				if strings.HasPrefix(block[1], r.begins) {
					script, prints = asScript(block[1])
					break
				}
			}
			require.NotEmpty(t, script, "no such block")
			dir := t.TempDir()
			for _, name := range []string{"pictures", "comparison"} {
				folder := os.DirFS(filepath.Join(repository, "testdata", name))
				require.NoError(t, os.CopyFS(filepath.Join(dir, "testdata", name), folder))
			}
			table, err := os.ReadFile(filepath.Join(repository, "testdata/stimuli.csv"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "testdata/stimuli.csv"), table, 0o666))
			shell := exec.Command("bash", "-euc", script)
			shell.Dir = filepath.Join(dir, r.folder)
			shell.Env = append(os.Environ(), libtf.Env+"="+library, hdf5.Env+"="+hdf5Library(), "TFCONVRNN_CACHE="+cache, "CI=")
			var stderr strings.Builder
			shell.Stderr = &stderr
			stdout, err := shell.Output()
			require.NoError(t, err, "%s\n%s", script, &stderr)
			assert.Contains(t, trailing.ReplaceAllString(string(stdout), ""), prints)
		})
	}
}

// needHDF5 skips a test without HDF5's library, or fails it where the libraries must be there.
func needHDF5(t *testing.T) {
	t.Helper()
	if hdf5Library() == "" {
		require.NotEqual(t, "1", os.Getenv(requireEnv), "no HDF5 library")
		t.Skip("needs HDF5's library")
	}
}
