package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tfconvrnn/go/savedmodels"
)

// parsedFlag is a flag of a type that a library reads.
type parsedFlag[T fmt.Stringer] struct {
	value *T
	parse func(string) (T, error)
}

// Set implements pflag.Value.
func (f parsedFlag[T]) Set(text string) error {
	value, err := f.parse(text)
	if err == nil {
		*f.value = value
	}
	return err
}

// String implements pflag.Value.
func (f parsedFlag[T]) String() string {
	if f.value == nil {
		return ""
	}
	return (*f.value).String()
}

// Type implements pflag.Value; help texts quote the defaults of strings.
func (f parsedFlag[T]) Type() string { return "string" }

// addParsed adds a flag that a library reads, with a default, and completes it with values.
func addParsed[T fmt.Stringer](cmd *cobra.Command, value *T, name string, otherwise T, parse func(string) (T, error),
	usage string, values ...string) {
	*value = otherwise
	cmd.Flags().Var(parsedFlag[T]{value, parse}, name, usage)
	complete(cmd, name, values...)
}

// choiceFlag is a flag that takes one of some words.
type choiceFlag[T ~string] struct {
	value  *T
	values []T
}

// Set implements pflag.Value.
func (f choiceFlag[T]) Set(text string) error {
	if !slices.Contains(f.values, T(text)) {
		known, last := names(f.values), len(f.values)-1
		return fmt.Errorf("it is %s or %s", strings.Join(known[:last], ", "), known[last])
	}
	*f.value = T(text)
	return nil
}

// String implements pflag.Value.
func (f choiceFlag[T]) String() string {
	if f.value == nil {
		return ""
	}
	return string(*f.value)
}

// Type implements pflag.Value.
func (f choiceFlag[T]) Type() string { return "string" }

// addChoice adds a flag that takes one of some words, and completes it with them.
func addChoice[T ~string](cmd *cobra.Command, value *T, name string, otherwise T, usage string, values ...T) {
	addChoiceTo(cmd.Flags(), cmd, value, name, otherwise, usage, values...)
}

func addChoiceTo[T ~string](flags *pflag.FlagSet, cmd *cobra.Command, value *T, name string, otherwise T, usage string,
	values ...T) {
	*value = otherwise
	flags.Var(choiceFlag[T]{value, values}, name, usage)
	complete(cmd, name, names(values)...)
}

// names are values as texts.
func names[T ~string](values []T) []string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = string(v)
	}
	return list
}

// complete has the shell complete a flag with values.
func complete(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

func addWeights(cmd *cobra.Command, weights *savedmodels.Weights) {
	addParsed(cmd, weights, "weights", savedmodels.Trained, savedmodels.ParseWeights,
		"`WEIGHTS`: trained, a directory with <model>/model.ckpt.*, or seeded:<seed> for an untrained model",
		string(savedmodels.Trained), "seeded:1")
}

func addStore(cmd *cobra.Command, store *string) {
	cmd.Flags().StringVar(store, "store", "", "`DIR` of converted models (default: in the user's cache)")
}

func addCheckpoints(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "checkpoints", "", "`DIR` of downloaded checkpoints (default: in the user's cache)")
}

func addLock(cmd *cobra.Command, file *string, usage string) {
	cmd.Flags().StringVar(file, "lock", "", usage+" (default: "+savedmodels.LockFileName+
		" here if it is there, or else beside the checkpoints)")
}

// lockHere returns the lock file that is meant: the one named, or the current folder's, or "".
func lockHere(named string) string {
	if _, err := os.Stat(savedmodels.LockFileName); named == "" && err == nil {
		return savedmodels.LockFileName
	}
	return named
}

func addTrust(cmd *cobra.Command, verify, trust *bool) {
	cmd.Flags().BoolVar(verify, "verify", false, "check the converted model's checksums before loading it")
	cmd.Flags().BoolVar(trust, "trust", false,
		"open a converted model even if this program cannot have made it: its graph may then do what any program may")
}

func addYes(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false,
		"install the TensorFlow runtime without asking if it is missing (also with CI=true in the environment)")
}

func addQuiet(cmd *cobra.Command, quiet *bool) {
	cmd.Flags().BoolVarP(quiet, "quiet", "q", false, "no progress on standard error")
}

func addJSON(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON")
}
