package main

import (
	"fmt"
	"path/filepath"
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
	addList(cmd, &f.layers, "layers", "comma-separated `LAYERS` (default: all)")
	obey(cmd, func(*cobra.Command) error {
		if f.features == "" && !f.computed.asked() {
			return usagef("which features? give --features FILE")
		}
		return nil
	})
}

func (f *featureFlags) open() (*recordings.FeatureFile, error) {
	file, err := recordings.OpenFeatures(f.features)
	return file, inputFault(err)
}

// whichRecordings asks for --data.
const whichRecordings = "which recordings? give --data FILE"

// addData adds the flags that name recordings, and what is taken of them.
func (c *comparison) addData() {
	flags, s := c.cmd.Flags(), &c.Selection
	flags.StringVar(&c.Data, "data", "",
		"`FILE` of recordings: BrainIO's netCDF-4, HDF5, NWB, MATLAB, .npy, .npz, a long .csv or .tsv")
	flags.StringVar(&c.Layout.Array, "data-array", "",
		"`NAME` of its array, dataset or column of responses, where it does not say so itself")
	addList(c.cmd, &c.Layout.Axes, "data-axes",
		"comma-separated names of the array's `AXES`: presentation, or stimulus and repetition; neuroid; time_bin")
	flags.Func("data-bins", "`FIRST:WIDTH` in ms of the time bins, or of all responses, where the file does not tell",
		c.Layout.ParseBins)
	flags.Func("data-coordinate",
		"`NAME@AXIS=WHERE` the values of a coordinate are: an array of the file, a .npy, a list, FILE.csv:COLUMN; repeat it for several",
		func(text string) error {
			coordinate, err := recordings.ParseCoordinate(text)
			c.Layout.Coordinates = append(c.Layout.Coordinates, coordinate)
			return err
		})
	addList(c.cmd, &s.Regions, "region", "comma-separated `REGIONS` of neuroids")
	addList(c.cmd, &s.Subjects, "subject", "comma-separated `SUBJECTS`")
	flags.StringVar(&s.Reliability, "reliability", "",
		"`CONDITION` on the neuroids' reliability, such as '>0.4' or 'ncsnr>0.3'")
	flags.StringArrayVar(&s.Where, "where", nil,
		"`CONDITION` on any coordinate, such as variation=6; repeat it for several, which must all hold")
	addWindow(c.cmd, &s.From, &s.To, "time", "time bins within `FROM:TO` ms")
	flags.BoolVar(&s.AverageTime, "average-time", false, "average the responses over these time bins")
	flags.StringVar(&s.Stimulus, "stimulus-coordinate", "",
		"`NAME` of the coordinate of stimulus ids (default: stimulus_id or image_id)")
	addList(c.cmd, &s.Ignore, "ignore", "comma-separated `COORDINATES` that do not tell presentations of a stimulus apart")
}

// addMissing adds the flags that say what is done about what is missing.
func addMissing(cmd *cobra.Command, missing *compare.Missing, shared *bool, policies ...compare.Missing) {
	cmd.Flags().BoolVar(shared, "shared-stimuli", false, "leave out stimuli without features")
	addChoice(cmd, missing, "missing", compare.RefuseMissing,
		"what to do about what is missing of the data, as a `POLICY`: "+strings.Join(names(policies), ", "), policies...)
}

// addTimes adds the flags that say which features are compared with which responses.
func addTimes(cmd *cobra.Command, offsets *[]float64, matrix *bool) {
	cmd.Flags().Float64SliceVar(offsets, "offset-ms", nil,
		"compare responses with features of so many `MILLISECONDS` before; of several, with commas between, with each")
	cmd.Flags().BoolVar(matrix, "matrix", false, "compare every bin of the features with every bin of the responses")
	obey(cmd, notBoth("matrix", "offset-ms"))
}

// addResult adds the flags that say where the result goes.
func (c *comparison) addResult() {
	c.cmd.Flags().StringVarP(&c.Out, "out", "o",
		"", "`FILE` to write the results to, with the scores of every split and neuroid: .nc or .zarr for xarray, .json; or .csv without them")
	c.cmd.Flags().BoolVar(&c.force, "force", false, "replace an existing file")
	addQuiet(c.cmd)
	addJSON(c.cmd)
	obey(c.cmd, func(*cobra.Command) error {
		c.Out = strings.TrimRight(c.Out, "/")
		if c.Out == "" {
			return nil
		}
		formats, extension := recordings.ResultFormats(), strings.ToLower(filepath.Ext(c.Out))
		if !slices.Contains(formats, extension) {
			return usagef("--out %s: the name must end in %s", c.Out, strings.Join(formats, ", "))
		}
		if extension == ".zarr" {
			return checkOutput(c.Out, c.force, c.features, c.Data)
		}
		return checkFile("--out", c.Out, "scores"+extension, c.force, c.features, c.Data)
	})
}
