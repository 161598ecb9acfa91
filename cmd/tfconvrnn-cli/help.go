package main

import (
	"embed"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/runtimeinstall"
)

// helpFiles say what each command is for, as help/extract-plan.txt does for "extract plan": a line for the lists of
// commands; more about it; and, after a line "Examples:", what one may type.
//
//go:embed help/*.txt
var helpFiles embed.FS

// helpWords are what the files leave to be filled in.
var helpWords = strings.NewReplacer("{program}", program, "{formats}\n", features.FormatHelp(), "{libtensorflow}",
	runtimeinstall.Version, "{h5py}", runtimeinstall.HDF5Version)

// document gives a command, and all below it, the texts of their files. They take no arguments, unless they say which.
func document(cmd *cobra.Command) {
	text, err := helpFiles.ReadFile(helpFile(cmd))
	if err != nil {
		panic(err) // TestHelpFiles
	}
	short, more, _ := strings.Cut(helpWords.Replace(string(text)), "\n")
	long, examples, _ := strings.Cut(more, "\nExamples:\n")
	cmd.Short, cmd.Long, cmd.Example = short, strings.Trim(long, "\n"), strings.TrimRight(examples, "\n")
	if cmd.Args == nil {
		cmd.Args = usageArgs(cobra.NoArgs)
	}
	for _, below := range cmd.Commands() {
		document(below)
	}
}

// helpFile is the name of a command's file.
func helpFile(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return "help/root.txt"
	}
	return "help/" + strings.Join(strings.Fields(cmd.CommandPath())[1:], "-") + ".txt"
}
