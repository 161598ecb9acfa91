package recordings

import (
	"fmt"
	"slices"

	"github.com/tfconvrnn/go/internal/hdf5"
)

// What NWB files of DiCarlo's lab hold: rates, and, in one of some groups, an object that tells their bins.
const (
	nwbRates = "/scratch/psth_pipeline_format"
	nwbBins  = "BinnedAlignedSpikesToStimulus"
	nwbWidth = "bin_width_in_milliseconds"
	nwbFirst = "milliseconds_from_event_to_first_bin"
)

// nwbAxes are those of the rates.
var nwbAxes = []string{Neuroid, Stimulus, Repetition, TimeBin}

// nwbLayout completes the layout of a file that has such rates, if they are asked for or nothing else is; notes say
// with what.
func nwbLayout(name string, layout Layout) (_ Layout, notes []string, err error) {
	if layout.Array != "" && layout.Array != nwbRates || len(layout.Axes) > 0 && !slices.Equal(layout.Axes, nwbAxes) {
		return layout, nil, nil
	}
	file, err := hdf5.Open(name)
	if err != nil {
		return layout, nil, nil // what is wrong with it is said by what opens it
	}
	defer file.Close()
	d, err := file.Dataset(nwbRates)
	if err != nil {
		return layout, nil, nil
	}
	d.Close()
	if len(layout.Axes) == 0 {
		notes = append(notes, fmt.Sprintf("%s is read as %v", nwbRates, nwbAxes))
	}
	layout.Array, layout.Axes = nwbRates, nwbAxes
	if layout.BinWidth > 0 {
		return layout, notes, nil
	}
	path, err := nwbFind(file)
	if path == "" || err != nil {
		return layout, notes, err
	}
	var numbers [2]float64
	for i, attribute := range []string{nwbWidth, nwbFirst} {
		value, err := file.Attribute(path, attribute)
		if err != nil {
			return layout, nil, fmt.Errorf("%s: %w", name, hdf5Error(err))
		}
		v, ok := value.(float64)
		if !ok && attribute == nwbWidth {
			return layout, notes, nil
		}
		numbers[i] = v // the first bin is at the event where nothing else is said
	}
	if !(numbers[0] > 0) {
		return layout, nil, fmt.Errorf("%s: %w: %s of %s is %v", name, ErrFormat, nwbWidth, path, numbers[0])
	}
	layout.BinWidth, layout.FirstBin = numbers[0], numbers[1]
	return layout, append(notes, fmt.Sprintf("time bins of %g ms from %g ms on, as %s says", numbers[0], numbers[1],
		path)), nil
}

// nwbFind looks for the object that tells the bins, and returns its path, or "".
func nwbFind(file *hdf5.File) (string, error) {
	groups := []string{"/scratch", "/analysis", "/acquisition"}
	members, err := file.Members("/")
	if err != nil {
		return "", hdf5Error(err)
	}
	if slices.ContainsFunc(members, func(m hdf5.Member) bool { return m.Name == "processing" && m.Group }) {
		modules, err := file.Members("/processing")
		if err != nil {
			return "", hdf5Error(err)
		}
		for _, m := range modules {
			if m.Group {
				groups = append(groups, "/processing/"+m.Name)
			}
		}
	}
	for _, group := range groups {
		members, err := file.Members(group)
		if err != nil {
			continue // there is none
		}
		for _, m := range members {
			if m.Name == nwbBins && m.Group {
				return group + "/" + m.Name, nil
			}
		}
	}
	return "", nil
}
