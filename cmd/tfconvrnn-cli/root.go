package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	terminal "github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/internal/version"
)

const program = "tfconvrnn-cli"

// Main runs the command line args, without the program's name, and returns the
// exit code. It ends early, tidily, when ctx is done.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	root := newRoot()
	root.SetArgs(joinBooleanAliases(args))
	root.SetIn(stdin)
	results := terminal.NewCheckedWriter(stdout)
	root.SetOut(results)
	root.SetErr(stderr)
	// This does not catch panics of other goroutines.
	defer func() {
		if cause := recover(); cause != nil {
			fmt.Fprintf(stderr,
				"%s: panic: %v\n\n%s\nThis is a fault of %s %s. Please report it with what \"%s doctor --report\" prints.\n",
				program, cause, debug.Stack(), program, version.Version, program)
			code = exitFailure
		}
	}()
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = results.Err()
	}
	return report(command.Context(), command, err, stderr)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:               program,
		Version:           version.Version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              unknownSubcommand,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	logs := &logFlags{}
	logs.register(root)
	ends := root.PersistentFlags().Bool("end-with-stdin", false,
		"stop, tidily, when standard input ends: for programs that start this one")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if logs.every < 0 {
			return usagef("--progress-every %v: it is more than nothing", logs.every)
		}
		if *ends {
			endWithStdin(cmd)
		}
		return nil
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.SetGlobalNormalizationFunc(normalizeFlag)
	root.AddCommand(
		newModels(), newInfo(), newConvert(), newExtract(), newPCA(), newClassify(), newPlot(),
		group("compare", newCompareFit(), newCompareBest(), newCompareCeiling(), newCompareRSA(), newCompareCKA(),
			newCompareOST(), newCompareBehaviour(), newCompareGram()),
		group("presentation", newPresentationShow()),
		newDownload(), newVerify(), newRemove(), newCollectGarbage(), newEvaluate(), newRespond(),
		group("slurm", newSlurmSubmit()), group("kubernetes", newKubernetesManifest()), newServe(), newBench(),
		group("runtime", newRuntimeInstall(), newRuntimeInfo(), newRuntimePack(), newRuntimeUnpack()), newDoctor(),
		group("checkpoint", newCheckpointInspect(), newCheckpointSeed()), newVersion(), &cobra.Command{Use: "exit-codes"},
	)
	document(root)
	return root
}

// endWithStdin makes a command end when its standard input does, so that it ends with the program that started it, also
// if that is killed.
func endWithStdin(cmd *cobra.Command) {
	ctx, cancel := context.WithCancel(cmd.Context())
	cmd.SetContext(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, cmd.InOrStdin()) // an error is its end, too
		cancel()
	}()
}

// group returns a command that only holds others.
func group(use string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Args: unknownSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(commands...)
	return cmd
}

// publishedFlags are the flags of the published run_model.py under other names
// here. Besides, underscores and hyphens in flags are the same.
var publishedFlags = map[string]string{
	"model-name": "model",
	"out-layers": "layers",
	"image-pres": "presentation",
	"ckpt-dir":   "weights",
	"resize":     "preprocess",
}

func normalizeFlag(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	name = strings.ReplaceAll(name, "_", "-")
	if own, ok := publishedFlags[name]; ok {
		name = own
	}
	return pflag.NormalizedName(name)
}

// publishedBooleans take their value as a separate argument in run_model.py,
// which pflag takes for an input.
var publishedBooleans = []string{"--include_all_times", "--include_logits"}

func joinBooleanAliases(args []string) []string {
	var joined []string
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			return append(joined, args[i:]...)
		}
		if slices.Contains(publishedBooleans, args[i]) && i+1 < len(args) &&
			slices.Contains([]string{"true", "false"}, strings.ToLower(args[i+1])) {
			joined = append(joined, args[i]+"="+args[i+1])
			i++
			continue
		}
		joined = append(joined, args[i])
	}
	return joined
}
