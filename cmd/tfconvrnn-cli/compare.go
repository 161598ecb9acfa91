package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/recordings"
)

func newCompare() *cobra.Command {
	return group("compare", "Compare features with neural and behavioural data",
		newCompareFit(), newCompareCeiling(), newCompareRSA(), newCompareCKA(), newCompareOST(), newCompareBehaviour())
}

// dataFlags name recordings, and what is taken of them.
type dataFlags struct {
	data, array, axes, bins  string
	coordinates              []string
	regions, subjects, where []string
	reliability, time        string
	averageTime              bool
	stimulus                 string
	ignore                   []string
}

func (f *dataFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.data, "data", "", "`FILE` of recordings: BrainIO's netCDF-4, HDF5, NWB, MATLAB, .npy, .npz, a long .csv or .tsv")
	flags.StringVar(&f.array, "data-array", "", "`NAME` of its array, dataset or column of responses, where it does not say so itself")
	flags.StringVar(&f.axes, "data-axes", "", "comma-separated names of the array's `AXES`: presentation, or stimulus and repetition; neuroid; time_bin")
	flags.StringVar(&f.bins, "data-bins", "", "`FIRST:WIDTH` in ms of the time bins, where the file does not tell")
	flags.StringArrayVar(&f.coordinates, "data-coordinate", nil, "`NAME@AXIS=WHERE` the values of a coordinate are: an array of the file, a .npy, a list, FILE.csv:COLUMN; repeat it for several")
	flags.StringArrayVar(&f.regions, "region", nil, "comma-separated `REGIONS` of neuroids")
	flags.StringArrayVar(&f.subjects, "subject", nil, "comma-separated `SUBJECTS`")
	flags.StringVar(&f.reliability, "reliability", "", "`CONDITION` on the neuroids' reliability, such as '>0.4' or 'ncsnr>0.3'")
	flags.StringArrayVar(&f.where, "where", nil, "`CONDITION` on any coordinate, such as variation=6; repeat it for several, which must all hold")
	flags.StringVar(&f.time, "time", "", "time bins within `FROM:TO` ms")
	flags.BoolVar(&f.averageTime, "average-time", false, "average the responses over these time bins")
	flags.StringVar(&f.stimulus, "stimulus-coordinate", "", "`NAME` of the coordinate of stimulus ids (default: stimulus_id or image_id)")
	flags.StringArrayVar(&f.ignore, "ignore", nil, "comma-separated `COORDINATES` that do not tell presentations of a stimulus apart")
}

// window parses FROM:TO, of which either may be left out.
func window(flag, text string) (from, to *float64, err error) {
	if text == "" {
		return nil, nil, nil
	}
	parts := strings.Split(text, ":")
	var values [2]*float64
	for i, part := range parts {
		if part == "" {
			continue
		}
		v, err := strconv.ParseFloat(part, 64)
		if err != nil || len(parts) != 2 {
			return nil, nil, usagef("--%s %q is not of the form FROM:TO, such as 70:170", flag, text)
		}
		values[i] = &v
	}
	if len(parts) != 2 {
		return nil, nil, usagef("--%s %q is not of the form FROM:TO, such as 70:170", flag, text)
	}
	return values[0], values[1], nil
}

// open opens the recordings; the caller closes the assembly.
func (f *dataFlags) open() (*recordings.Assembly, *recordings.Recording, error) {
	if f.data == "" {
		return nil, nil, usagef("which recordings? give --data FILE")
	}
	layout := recordings.Layout{Array: f.array, Axes: splitList([]string{f.axes})}
	for _, text := range f.coordinates {
		c, err := recordings.ParseCoordinate(text)
		if err != nil {
			return nil, nil, usagef("--data-coordinate: %w", err)
		}
		layout.Coordinates = append(layout.Coordinates, c)
	}
	if f.bins != "" {
		first, width, err := window("data-bins", f.bins)
		if err != nil {
			return nil, nil, err
		}
		if first == nil || width == nil || *width <= 0 {
			return nil, nil, usagef("--data-bins %q is not of the form FIRST:WIDTH, such as 70:10", f.bins)
		}
		layout.FirstBin, layout.BinWidth = *first, *width
	}
	from, to, err := window("time", f.time)
	if err != nil {
		return nil, nil, err
	}
	a, err := recordings.Open(f.data, layout)
	if err != nil {
		return nil, nil, hinted(err)
	}
	r, err := recordings.Select(a, recordings.Selection{
		Regions: splitList(f.regions), Subjects: splitList(f.subjects), Reliability: f.reliability, Where: f.where,
		From: from, To: to, AverageTime: f.averageTime, Stimulus: f.stimulus, Ignore: splitList(f.ignore),
	})
	if err != nil {
		a.Close()
		return nil, nil, hinted(err)
	}
	return a, r, nil
}

// dataError tells faults of the command line from those of the input.
func dataError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, recordings.ErrNoLibrary):
		return fmt.Errorf("%w; install it with %q, or the system's (on Debian apt-get install libhdf5-103-1)", err, program+" runtime install --hdf5")
	case errors.Is(err, recordings.ErrSelection), errors.Is(err, compare.ErrSplits), errors.Is(err, compare.ErrNoLayer):
		return usage(err)
	}
	for _, cause := range []error{recordings.ErrDuplicate, recordings.ErrLayout, recordings.ErrFormat, compare.ErrData} {
		if errors.Is(err, cause) {
			return inputError{err}
		}
	}
	return err
}

// hinted adds the flags that help with recordings.
func hinted(err error) error {
	var missing *compare.MissingFeaturesError
	switch {
	case errors.Is(err, recordings.ErrDuplicate):
		err = fmt.Errorf("%w (--where chooses, --ignore COORDINATE ignores)", err)
	case errors.Is(err, recordings.ErrLayout):
		err = fmt.Errorf("%w (--data-array, --data-axes, --data-coordinate and --data-bins say what is what)", err)
	case errors.As(err, &missing):
		err = fmt.Errorf("%w; --shared-stimuli leaves them out", err)
	case errors.Is(err, compare.ErrMissing):
		err = fmt.Errorf("%w; choose --missing drop-neuroids, drop-stimuli or, for compare fit by ridge, per-neuroid", err)
	}
	return dataError(err)
}

// featureFlags name features.
type featureFlags struct {
	features string
	layers   []string
}

func (f *featureFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.features, "features", "", "`FILE` of features: .npz, .zarr or .nc of extract, or BrainIO's netCDF-4")
	cmd.Flags().StringArrayVar(&f.layers, "layers", nil, "comma-separated `LAYERS` (default: all)")
}

func (f *featureFlags) open() (*recordings.FeatureFile, error) {
	if f.features == "" {
		return nil, usagef("which features? give --features FILE")
	}
	file, err := recordings.OpenFeatures(f.features)
	return file, dataError(err)
}

// timeFlags say which features are compared with which responses.
type timeFlags struct {
	offset          float64
	matrix, shared  bool
	missing         string
	missingPolicies []string
}

func (f *timeFlags) register(cmd *cobra.Command, policies ...compare.Missing) {
	flags := cmd.Flags()
	for _, p := range policies {
		f.missingPolicies = append(f.missingPolicies, string(p))
	}
	flags.Float64Var(&f.offset, "offset-ms", 0, "compare responses with features of so many `MILLISECONDS` before")
	flags.BoolVar(&f.matrix, "matrix", false, "compare every bin of the features with every bin of the responses")
	flags.BoolVar(&f.shared, "shared-stimuli", false, "leave out stimuli without features")
	flags.StringVar(&f.missing, "missing", string(compare.RefuseMissing), "what to do about missing responses, as a `POLICY`: "+strings.Join(f.missingPolicies, ", "))
	_ = cmd.RegisterFlagCompletionFunc("missing", cobra.FixedCompletions(f.missingPolicies, cobra.ShellCompDirectiveNoFileComp))
}

func (f *timeFlags) check() error {
	if !slices.Contains(f.missingPolicies, f.missing) {
		return usagef("--missing %q is none of %s", f.missing, strings.Join(f.missingPolicies, ", "))
	}
	if f.matrix && f.offset != 0 {
		return usagef("--matrix compares all times; leave out --offset-ms")
	}
	return nil
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q; features are --features FILE, recordings --data FILE", args[0])
	}
	return nil
}
