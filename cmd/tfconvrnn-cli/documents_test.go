package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
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
