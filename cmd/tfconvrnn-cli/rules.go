package main

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// A rule says what is wrong with flags of which each is right by itself.
type rule func(cmd *cobra.Command) error

// obey has a command hold to rules, in their order, before it runs, after those that it has.
func obey(cmd *cobra.Command, rules ...rule) {
	earlier := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if earlier != nil {
			if err := earlier(cmd, args); err != nil {
				return err
			}
		}
		for _, rule := range rules {
			if err := rule(cmd); err != nil {
				return err
			}
		}
		return nil
	}
}

// needed demands a flag, with a question.
func needed(flag, question string) rule {
	return func(cmd *cobra.Command) error {
		if !cmd.Flags().Changed(flag) || cmd.Flags().Lookup(flag).Value.String() == "" {
			return usagef("%s", question)
		}
		return nil
	}
}

// notBoth lets only one of the flags be given.
func notBoth(flags ...string) rule {
	return func(cmd *cobra.Command) error {
		if len(given(cmd, flags...)) < 2 {
			return nil
		}
		if len(flags) == 2 {
			return usagef("give --%s or --%s, not both", flags[0], flags[1])
		}
		last := len(flags) - 1
		return usagef("give one of --%s and --%s", strings.Join(flags[:last], ", --"), flags[last])
	}
}

// goesWith refuses flags where the first, without which they say nothing, is not given.
func goesWith(first string, flags ...string) rule {
	return func(cmd *cobra.Command) error {
		if of := given(cmd, flags...); len(of) > 0 && len(given(cmd, first)) == 0 {
			return usagef("--%s goes with --%s", of[0], first)
		}
		return nil
	}
}

// differ refuses flags that name the same file.
func differ(flags ...string) rule {
	return func(cmd *cobra.Command) error {
		seen := map[string]string{}
		for _, flag := range given(cmd, flags...) {
			file := filepath.Clean(cmd.Flag(flag).Value.String())
			if other, ok := seen[file]; ok && file != "." {
				return usagef("--%s and --%s name the same file, %s", other, flag, file)
			}
			seen[file] = flag
		}
		return nil
	}
}

// onlyFor refuses flags where that is not there which they are for.
func onlyFor(what string, there func() bool, flags ...string) rule {
	return func(cmd *cobra.Command) error {
		if of := given(cmd, flags...); len(of) > 0 && !there() {
			return usagef("--%s is for %s", of[0], what)
		}
		return nil
	}
}

// given returns those of the flags that the command line gives; --json=false does not give --json.
func given(cmd *cobra.Command, flags ...string) []string {
	return slices.DeleteFunc(slices.Clone(flags), func(name string) bool {
		return !cmd.Flags().Changed(name) || cmd.Flags().Lookup(name).Value.String() == "false"
	})
}

// usageArgs makes the errors of an Args function usage errors.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usage(err)
		}
		return nil
	}
}

// oneOf is the Args of commands that take one thing; the question asks for it, "" if it may be left out.
func oneOf(what, question string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0 && question != "":
			return usagef("%s", question)
		case len(args) > 1:
			return usagef("one %s at a time; %d arguments are too many", what, len(args))
		}
		return nil
	}
}

// oneModel is the Args of commands that take a model's name.
var oneModel = oneOf("model", "which model? "+program+" models lists them")

// unknownSubcommand is the Args of commands that only hold others.
func unknownSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usagef("unknown command %q; did you mean %s?", args[0], strings.Join(near, ", "))
	}
	return usagef("unknown command %q", args[0])
}
