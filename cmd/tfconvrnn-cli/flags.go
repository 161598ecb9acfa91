package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tfconvrnn/go/recordings"
	"github.com/tfconvrnn/go/savedmodels"
)

// flagValue is a flag that functions read and show.
type flagValue struct {
	set  func(text string) error
	show func() string
	kind string // help texts quote the defaults of strings
}

// Set implements pflag.Value.
func (f flagValue) Set(text string) error { return f.set(text) }

// String implements pflag.Value.
func (f flagValue) String() string { return f.show() }

// Type implements pflag.Value.
func (f flagValue) Type() string { return f.kind }

// addParsed adds a flag that a library reads, with a default, and completes it with values, if there are any.
func addParsed[T fmt.Stringer](cmd *cobra.Command, value *T, name string, otherwise T, parse func(string) (T, error),
	usage string, values ...string) {
	*value = otherwise
	cmd.Flags().Var(flagValue{kind: "string", show: func() string { return (*value).String() },
		set: func(text string) error {
			parsed, err := parse(text)
			if err == nil {
				*value = parsed
			}
			return err
		}}, name, usage)
	if len(values) > 0 {
		complete(cmd, name, values...)
	}
}

// addChoice adds a flag that takes one of some words, and completes it with them.
func addChoice[T ~string](cmd *cobra.Command, value *T, name string, otherwise T, usage string, values ...T) {
	addChoiceTo(cmd.Flags(), cmd, value, name, otherwise, usage, values...)
}

func addChoiceTo[T ~string](flags *pflag.FlagSet, cmd *cobra.Command, value *T, name string, otherwise T, usage string,
	values ...T) {
	*value = otherwise
	flags.Var(flagValue{kind: "string", show: func() string { return string(*value) }, set: func(text string) error {
		if !slices.Contains(values, T(text)) {
			known, last := names(values), len(values)-1
			return fmt.Errorf("it is %s or %s", strings.Join(known[:last], ", "), known[last])
		}
		*value = T(text)
		return nil
	}}, name, usage)
	complete(cmd, name, names(values)...)
}

// addList adds a flag that takes words with commas between, and may be given several times. What is in the list
// already is the default. Where there are values, it takes only these, and is completed with them.
func addList[T ~string](cmd *cobra.Command, list *[]T, name, usage string, values ...T) {
	given := false
	flag := cmd.Flags().VarPF(flagValue{kind: "list",
		show: func() string { return strings.Join(names(*list), ",") },
		set: func(text string) error {
			if !given {
				given, *list = true, nil
			}
			for _, word := range splitList(text) {
				if len(values) > 0 && !slices.Contains(values, T(word)) {
					return fmt.Errorf("%q is none of %s", word, strings.Join(names(values), ", "))
				}
				*list = append(*list, T(word))
			}
			return nil
		}}, name, "", usage)
	if flag.DefValue != "" {
		flag.DefValue = "[" + flag.DefValue + "]"
	}
	if len(values) > 0 {
		complete(cmd, name, names(values)...)
	}
}

// splitList splits a list with commas between, without empty words.
func splitList(text string) (words []string) {
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, word)
		}
	}
	return words
}

// addCount adds a flag that takes a number, which is at least so much if it is given.
func addCount(cmd *cobra.Command, value *int, name string, otherwise, least int, usage string) {
	*value = otherwise
	cmd.Flags().Var(flagValue{kind: "int", show: func() string { return strconv.Itoa(*value) },
		set: func(text string) error {
			n, err := strconv.Atoi(text)
			switch {
			case err != nil:
				return errors.New("it is a number")
			case n < least:
				return fmt.Errorf("it is at least %d", least)
			}
			*value = n
			return nil
		}}, name, usage)
}

// addSize adds a flag that takes a number of bytes, at least so many, as people write it; "" is none of them.
func addSize(cmd *cobra.Command, value *int64, name, otherwise string, least int64, usage string) {
	shown := ""
	flag := flagValue{kind: "string", show: func() string { return shown }, set: func(text string) error {
		size, err := humanize.ParseBytes(text)
		switch {
		case err != nil || size > math.MaxInt64:
			return fmt.Errorf("it is a size such as %s", cmp.Or(otherwise, "4GB"))
		case int64(size) < least:
			return fmt.Errorf("it is at least %s", humanize.IBytes(uint64(least)))
		}
		shown, *value = text, int64(size)
		return nil
	}}
	_ = flag.Set(otherwise)
	cmd.Flags().Var(flag, name, usage)
}

// addWindow adds a flag that takes FROM:TO in ms, of which either may be left out.
func addWindow(cmd *cobra.Command, from, to **float64, name, usage string) {
	text := ""
	cmd.Flags().Var(flagValue{kind: "string", show: func() string { return text }, set: func(window string) (err error) {
		text = window
		*from, *to, err = recordings.ParseWindow(window)
		return err
	}}, name, usage)
}

// setDefault changes a flag's default value.
func setDefault(cmd *cobra.Command, name, value string) {
	flag := cmd.Flags().Lookup(name)
	if err := flag.Value.Set(value); err != nil {
		panic(err) // a constant of this program
	}
	flag.DefValue = value
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

func addModel(cmd *cobra.Command, model *string) {
	cmd.Flags().StringVar(model, "model", "", "name of the `MODEL`; see \""+program+" models\"")
	_ = cmd.RegisterFlagCompletionFunc("model", completeModels)
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

// addYes, addQuiet and addJSON add flags that needRuntime, commandConsole and present look at.
func addYes(cmd *cobra.Command) {
	cmd.Flags().BoolP("yes", "y", false,
		"install the TensorFlow runtime without asking if it is missing (also with CI=true in the environment)")
}

func addQuiet(cmd *cobra.Command) {
	cmd.Flags().BoolP("quiet", "q", false, "no progress on standard error")
}

func addJSON(cmd *cobra.Command) { cmd.Flags().Bool("json", false, "print JSON") }

// addMessages adds what most commands have: --quiet and --json.
func addMessages(cmd *cobra.Command) {
	addQuiet(cmd)
	addJSON(cmd)
}

// says returns whether a command has a flag, and it is set.
func says(cmd *cobra.Command, flag string) bool {
	set, err := cmd.Flags().GetBool(flag)
	return err == nil && set
}
