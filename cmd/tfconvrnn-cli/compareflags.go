package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/recordings"
)

// flagSection is a part of a help text: flags under a title.
type flagSection struct {
	title string
	// names are those in it; nil for all that are in none, except some.
	names, except []string
}

var (
	featureSection = flagSection{title: "Features", names: []string{"features", "layers", "model", "areas", "features-in",
		"features-memory", "gram-cache", "gram-cache-size"}}
	dataSection = flagSection{title: "Recordings", names: []string{"data", "region", "subject", "reliability", "time",
		"average-time", "where", "missing", "shared-stimuli"}}
	formatSection = flagSection{title: "Recordings that do not say what they are",
		names: []string{"data-array", "data-axes", "data-bins", "data-coordinate", "stimulus-coordinate", "ignore"}}
	timeSection   = flagSection{title: "Times of features", names: []string{"offset-ms", "matrix", "span-time"}}
	splitSection  = flagSection{title: "Splits", names: []string{"splits", "train-fraction", "stratify", "seed"}}
	globalSection = flagSection{title: "Other", names: []string{"help", "log-format", "log-level"}}
	resultSection = flagSection{title: "Result", names: []string{"out", "force", "json", "quiet"}}
)

// sections has the help of a command show its flags in sections; those that are in none are for --model.
func sections(cmd *cobra.Command, list ...flagSection) {
	cmd.SetUsageFunc(func(c *cobra.Command) error {
		out := c.OutOrStderr()
		fmt.Fprintf(out, "Usage:\n  %s\n\nExamples:\n%s\n", c.UseLine(), c.Example)
		seen := map[string]bool{}
		rest := flagSection{title: "More", except: globalSection.names}
		if c.Flags().Lookup("model") != nil {
			rest.title = "With --model, as in extract"
		}
		for _, s := range append(slices.Clone(list), rest, globalSection) {
			set := pflag.NewFlagSet(s.title, pflag.ContinueOnError)
			set.SortFlags = false
			for _, name := range s.names {
				if f := c.Flags().Lookup(name); f != nil && !f.Hidden {
					set.AddFlag(f)
					seen[name] = true
				}
			}
			if s.names == nil {
				c.Flags().VisitAll(func(f *pflag.Flag) {
					if !seen[f.Name] && !f.Hidden && !slices.Contains(s.except, f.Name) {
						set.AddFlag(f)
					}
				})
			}
			set.VisitAll(func(f *pflag.Flag) {
				if f.Value.Type() == "float64Slice" && f.DefValue == "[]" { // pflag shows it
					f.DefValue = ""
				}
			})
			if set.HasFlags() {
				fmt.Fprintf(out, "\n%s:\n%s", s.title, set.FlagUsages())
			}
		}
		return nil
	})
}

// featureFlags name features.
type featureFlags struct {
	features string
	layers   []string
	grams    gramFlags
	computed *computedFlags // nil where features must be in a file
}

func (f *featureFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.features, "features", "",
		"`FILE` of features: an output of extract, BrainIO's netCDF-4, or a folder of Gram matrices")
	cmd.Flags().StringArrayVar(&f.layers, "layers", nil, "comma-separated `LAYERS` (default: all)")
}

func (f *featureFlags) check() error {
	if f.features == "" && !f.computed.asked() {
		return usagef("which features? give --features FILE")
	}
	return nil
}

func (f *featureFlags) open() (*recordings.FeatureFile, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	file, err := recordings.OpenFeatures(f.features)
	return file, hinted(err)
}

// missingFlags say what is done about what is missing.
type missingFlags struct {
	shared  bool
	missing compare.Missing
}

func (f *missingFlags) register(cmd *cobra.Command, policies ...compare.Missing) {
	cmd.Flags().BoolVar(&f.shared, "shared-stimuli", false, "leave out stimuli without features")
	addChoice(cmd, &f.missing, "missing", compare.RefuseMissing,
		"what to do about what is missing of the data, as a `POLICY`: "+strings.Join(names(policies), ", "), policies...)
}

// timeFlags say which features are compared with which responses.
type timeFlags struct {
	missingFlags
	offsets []float64
	matrix  bool
}

func (f *timeFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Float64SliceVar(&f.offsets, "offset-ms", nil,
		"compare responses with features of so many `MILLISECONDS` before; of several, with commas between, with each")
	flags.BoolVar(&f.matrix, "matrix", false, "compare every bin of the features with every bin of the responses")
	f.missingFlags.register(cmd, compare.RefuseMissing, compare.DropNeuroids, compare.DropStimuli, compare.PerNeuroid)
}

func (f *timeFlags) check() error {
	if f.matrix && len(f.offsets) > 0 {
		return usagef("--matrix compares all times; leave out --offset-ms")
	}
	return nil
}

// splitFlags say how stimuli are split.
type splitFlags struct {
	splits        int
	trainFraction float64
	stratify      string
	seed          uint32
}

func (f *splitFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVar(&f.splits, "splits", 10, "number of splits")
	flags.Float64Var(&f.trainFraction, "train-fraction", 0.9, "part of the stimuli to train on")
	flags.StringVar(&f.stratify, "stratify", "object_name",
		"`COORDINATE` of stimuli that all parts of a split have in the same proportions; none for none")
	flags.Uint32Var(&f.seed, "seed", 1, "seed of the splits")
}

func (f *splitFlags) options() (compare.Splits, error) {
	if f.splits < 1 || !(f.trainFraction > 0 && f.trainFraction < 1) {
		return compare.Splits{}, usagef("--splits must be at least 1, and --train-fraction between 0 and 1")
	}
	return compare.Splits{Count: f.splits, TrainFraction: f.trainFraction, Seed: &f.seed}, nil
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q; features are --features FILE, recordings --data FILE", args[0])
	}
	return nil
}
