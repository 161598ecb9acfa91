package recordings_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/recordings"
)

// NWB files of a known layout tell their axes and bins; what is read so is said.
func TestNWB(t *testing.T) {
	needHDF5(t)
	file, err := features.OpenArrays("testdata/nwb_like.npy")
	require.NoError(t, err)
	defer file.Close()
	array, err := file.Array("")
	require.NoError(t, err)
	rates, err := array.Float64s(0, 3)
	require.NoError(t, err)
	layout := recordings.Layout{Coordinates: []recordings.CoordinateFrom{{Name: "stimulus_id", Axis: recordings.Stimulus,
		Values: []string{"a", "b", "c", "d"}}}}
	for _, bins := range []struct{ first, width float64 }{{-20, 0}, {30, 5}} {
		layout.BinWidth = bins.width
		if bins.width > 0 {
			layout.FirstBin = bins.first
		}
		a, err := recordings.Open("testdata/nwb_like.nwb", layout)
		require.NoError(t, err)
		r := selected(t, a, recordings.Selection{})
		width := bins.width
		if bins.width == 0 {
			width = 10
			assert.Contains(t, r.Notes[1],
				"time bins of 10 ms from -20 ms on, as /processing/ecephys/BinnedAlignedSpikesToStimulus says")
		}
		assert.Contains(t, r.Notes[0], "/scratch/psth_pipeline_format is read as [neuroid stimulus repetition time_bin]")
		for i, b := range r.Bins() {
			assert.Equal(t, compare.Bin{Start: bins.first + float64(i)*width, End: bins.first + float64(i+1)*width}, b)
			average, err := r.Average(i)
			require.NoError(t, err)
			for s := range 4 {
				for unit := range 3 {
					at := func(repetition int) float64 { return rates[((unit*4+s)*2+repetition)*5+i] }
					want := (at(0) + at(1)) / 2
					if unit == 1 && s == 2 { // one repetition is padding
						want = at(0)
					}
					assert.Equal(t, want, average[s][unit])
				}
			}
		}
		require.NoError(t, a.Close())
	}
	if _, err := os.Stat(data + "neural.nc"); err == nil { // which has no such dataset
		a := open(t, "neural.nc", recordings.Layout{})
		assert.Empty(t, a.Notes)
	}
}
