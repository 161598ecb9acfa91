package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/recordings"
)

func newCompare() *cobra.Command {
	return group("compare", "Compare features with neural and behavioural data",
		newCompareFit(), newCompareBest(), newCompareCeiling(), newCompareRSA(), newCompareCKA(), newCompareOST(),
		newCompareBehaviour(), newCompareGram())
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
	flags.StringVar(&f.data, "data", "",
		"`FILE` of recordings: BrainIO's netCDF-4, HDF5, NWB, MATLAB, .npy, .npz, a long .csv or .tsv")
	flags.StringVar(&f.array, "data-array", "",
		"`NAME` of its array, dataset or column of responses, where it does not say so itself")
	flags.StringVar(&f.axes, "data-axes", "",
		"comma-separated names of the array's `AXES`: presentation, or stimulus and repetition; neuroid; time_bin")
	flags.StringVar(&f.bins, "data-bins", "",
		"`FIRST:WIDTH` in ms of the time bins, or of all responses, where the file does not tell")
	flags.StringArrayVar(&f.coordinates, "data-coordinate",
		nil, "`NAME@AXIS=WHERE` the values of a coordinate are: an array of the file, a .npy, a list, FILE.csv:COLUMN; repeat it for several")
	flags.StringArrayVar(&f.regions, "region", nil, "comma-separated `REGIONS` of neuroids")
	flags.StringArrayVar(&f.subjects, "subject", nil, "comma-separated `SUBJECTS`")
	flags.StringVar(&f.reliability, "reliability", "",
		"`CONDITION` on the neuroids' reliability, such as '>0.4' or 'ncsnr>0.3'")
	flags.StringArrayVar(&f.where, "where", nil,
		"`CONDITION` on any coordinate, such as variation=6; repeat it for several, which must all hold")
	flags.StringVar(&f.time, "time", "", "time bins within `FROM:TO` ms")
	flags.BoolVar(&f.averageTime, "average-time", false, "average the responses over these time bins")
	flags.StringVar(&f.stimulus, "stimulus-coordinate", "",
		"`NAME` of the coordinate of stimulus ids (default: stimulus_id or image_id)")
	flags.StringArrayVar(&f.ignore, "ignore", nil,
		"comma-separated `COORDINATES` that do not tell presentations of a stimulus apart")
}

// window parses FROM:TO, of which either may be left out.
func window(flag, text string) (from, to *float64, err error) {
	if from, to, err = recordings.ParseWindow(text); err != nil {
		err = usagef("--%s: %w", flag, err)
	}
	return from, to, err
}

// set says what is compared.
func (f *dataFlags) set(c *recordings.Comparison) (err error) {
	if f.data == "" {
		return usagef("which recordings? give --data FILE")
	}
	c.Data, c.Layout = f.data, recordings.Layout{Array: f.array, Axes: splitList([]string{f.axes})}
	c.Selection = recordings.Selection{Regions: splitList(f.regions), Subjects: splitList(f.subjects),
		Reliability: f.reliability, Where: f.where, AverageTime: f.averageTime, Stimulus: f.stimulus,
		Ignore: splitList(f.ignore)}
	if c.Selection.From, c.Selection.To, err = window("time", f.time); err != nil {
		return err
	}
	for _, text := range f.coordinates {
		coordinate, err := recordings.ParseCoordinate(text)
		if err != nil {
			return usagef("--data-coordinate: %w", err)
		}
		c.Layout.Coordinates = append(c.Layout.Coordinates, coordinate)
	}
	if f.bins != "" {
		if err := c.Layout.ParseBins(f.bins); err != nil {
			return usagef("--data-bins: %w", err)
		}
	}
	return nil
}

// dataError tells faults of the command line from those of the input.
func dataError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, recordings.ErrSelection), errors.Is(err, compare.ErrSplits), errors.Is(err, compare.ErrNoLayer),
		errors.Is(err, compare.ErrOptions), errors.Is(err, recordings.ErrNoLabels):
		return usage(err)
	}
	for _, cause := range []error{fs.ErrNotExist, fs.ErrPermission, recordings.ErrMissing, recordings.ErrDuplicate,
		recordings.ErrLayout, recordings.ErrFormat, compare.ErrData, compare.ErrOtherGrams, compare.ErrGramsMissing} {
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
	case errors.Is(err, recordings.ErrNoLabels):
		err = fmt.Errorf("%w; give --labels FILE, and --label COLUMN", err)
	case errors.Is(err, recordings.ErrDuplicate):
		err = fmt.Errorf("%w (--where chooses, --ignore COORDINATE ignores)", err)
	case errors.Is(err, recordings.ErrLayout):
		err = fmt.Errorf("%w (--data-array, --data-axes, --data-coordinate and --data-bins say what is what)", err)
	case errors.Is(err, compare.ErrRoom):
		err = fmt.Errorf("%w; choose --features-in file, more --features-memory, or --select or --reduce", err)
	case errors.As(err, &missing):
		err = fmt.Errorf("%w; --shared-stimuli leaves them out", err)
	case errors.Is(err, compare.ErrOtherGrams):
		err = fmt.Errorf("%w; choose another --out", err)
	case errors.Is(err, compare.ErrGramsMissing):
		err = fmt.Errorf("%w; the same compare gram makes them", err)
	case errors.Is(err, compare.ErrMissing):
		err = fmt.Errorf("%w; choose --missing drop-stimuli, or another policy that --help lists", err)
	}
	return dataError(err)
}
