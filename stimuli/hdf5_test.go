package stimuli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/hdf5"
	"github.com/tfconvrnn/go/tfconvrnn"
)

func needHDF5(t testing.TB) {
	t.Helper()
	if err := hdf5.Load(""); err != nil {
		if os.Getenv("CI") == "true" {
			require.NoError(t, err)
		}
		t.Skip("needs libhdf5:", err)
	}
}

// Pictures in HDF5 are those of NumPy's arrays, to the hash, whatever is read at once.
func TestHDF5IsAsNumPy(t *testing.T) {
	needHDF5(t)
	t.Chdir(t.TempDir())
	const rows = 60 // more than a block
	bytes := make([]uint8, rows*imageValues)
	for i := range bytes {
		bytes[i] = uint8(i/imageValues*3 + i%7)
	}
	floats := make([]float32, 2*imageValues)
	for i := range floats {
		floats[i] = float32(i%256) / 255
	}
	small := make([]uint8, 3*2*8*10*3)
	for i := range small {
		small[i] = uint8(i)
	}
	for name, c := range map[string]struct {
		shape  []int
		values any
	}{
		"bytes":     {[]int{rows, 224, 224, 3}, bytes},
		"floats":    {[]int{2, 224, 224, 3}, floats},
		"sequences": {[]int{3, 2, 8, 10, 3}, small},
	} {
		writeValues(t, name+".npy", c.shape, c.values)
		_, err := hdf5.Make(name+".h5", hdf5.Draft{Datasets: []hdf5.DraftDataset{
			{Name: "images", Shape: c.shape, Values: c.values}}})
		require.NoError(t, err)
		numpy, of := scanned(t, Options{Inputs: []string{name + ".npy"}})
		found, summary := scanned(t, Options{Inputs: []string{name + ".h5"}})
		require.Len(t, found, c.shape[0])
		assert.Equal(t, "images", summary.Arrays[0].Name)
		assert.Equal(t, of.Inputs[0].Kind, summary.Inputs[0].Kind)
		assert.Equal(t, of.Inputs[0].Range, summary.Inputs[0].Range)
		reader, err := NewReader(t.Context(), Options{}, summary.Arrays)
		require.NoError(t, err)
		defer reader.Close()
		other, err := NewReader(t.Context(), Options{}, of.Arrays)
		require.NoError(t, err)
		defer other.Close()
		for i := len(found) - 1; i >= 0; i -= 7 { // backwards, too
			assert.Equal(t, fmt.Sprintf("%s.h5[%d]", name, i), found[i].ID)
			require.Equal(t, numpy[i].SHA256, found[i].SHA256, name)
			assert.Equal(t, seenPixels(t, other.Stimulus(&numpy[i])), seenPixels(t, reader.Stimulus(&found[i])), name)
		}
		found[0].SHA256 = strings.Repeat("0", 64)
		_, err = reader.Stimulus(&found[0]).Frames[0].Pixels()
		require.ErrorIs(t, err, ErrChanged)
	}
}

func seenPixels(t *testing.T, s tfconvrnn.Stimulus) (all [][]float32) {
	t.Helper()
	for _, frame := range s.Frames {
		values, err := frame.Pixels()
		require.NoError(t, err)
		all = append(all, append([]float32(nil), values...))
	}
	return all
}

// A dataset that h5py compressed in chunks is found by its path, and named by another; what cannot be pictures is
// refused, also what a file claims to hold.
func TestHDF5OfH5py(t *testing.T) {
	needHDF5(t)
	file := filepath.Join("testdata", "pictures.h5")
	options := func(array, ids string) Options {
		return Options{Inputs: []string{file}, Array: "stimuli/" + array, ArrayIDs: ids}
	}
	for dataset, first := range map[string]string{"stimuli/ids": "picture 0", "stimuli/fixed": "p0"} {
		records, summary := scanned(t, options("images", dataset))
		require.Len(t, records, 40)
		assert.Equal(t, first, records[0].ID)
		assert.True(t, records[0].Given)
		assert.True(t, summary.Pictures, "they are resized")
		reader, err := NewReader(t.Context(), options("images", ""), summary.Arrays)
		require.NoError(t, err)
		defer reader.Close()
		for _, i := range []int{0, 6, 7, 39} {
			for at, v := range seenPixels(t, reader.Stimulus(&records[i]))[0][:3] {
				assert.InDelta(t, float64(uint8(5*i+40*at))/255, v, 1e-6)
			}
		}
	}
	for why, o := range map[string]Options{
		"name the dataset":                     {Inputs: []string{file}},
		`"stimuli/none"`:                       options("none", ""),
		"2 ids in stimuli/few for 40 stimuli":  options("images", "stimuli/few"),
		"ids are texts in one dimension":       options("images", "stimuli/images"),
		"is also that of":                      options("images", "stimuli/twice"),
		`a.astype("uint8")`:                    options("signed", ""),
		`h5py.File("pictures.h5")["stimuli/ch`: options("channels_first", ""),
		"the array holds no images":            options("empty", ""),
		"needs 150528000 bytes, and 0 are":     options("claimed", ""),
		"needs 3010560000 bytes, and 0 are":    options("long", ""),
		"a virtual dataset":                    {Inputs: []string{"testdata/virtual.h5"}},
		"it has no HDF5 signature":             {Inputs: []string{spoiltFile(t, []byte("anything"))}},
		`array "stimuli/ids"`:                  {Inputs: []string{file}, Array: "stimuli/images", ArrayIDs: "stimuli/idz"},
	} {
		_, err := Open(t.Context(), o)
		require.ErrorIs(t, err, ErrInput, why)
		if why != `array "stimuli/ids"` {
			assert.ErrorContains(t, err, why)
		} else {
			require.ErrorIs(t, err, features.ErrNoArray)
		}
	}
}

func spoiltFile(t *testing.T, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "spoilt.h5")
	require.NoError(t, os.WriteFile(name, content, 0o600))
	return name
}

// hostileWay names, in the environment of a process of its own, the spoilt file to begin with.
const hostileWay = "TFCONVRNN_HOSTILE_HDF5"

// Spoilt HDF5 files give pictures or errors. The HDF Group's library reads them, whose faults would end the process: so
// they are read in processes of their own.
func TestHostileHDF5(t *testing.T) {
	const ways = 60
	content, err := os.ReadFile(filepath.Join("testdata", "pictures.h5"))
	require.NoError(t, err)
	if first, err := strconv.Atoi(os.Getenv(hostileWay)); err == nil {
		for way := first; way < ways; way++ {
			fmt.Println("way", way)
			bytes := append([]byte(nil), content...)
			if way%4 == 0 {
				bytes = bytes[:len(bytes)*(way+1)/ways]
			}
			for k := range 1 + way%5 {
				bytes[(way*7919+k*104729)%len(bytes)] ^= uint8(1 + way*31 + k)
			}
			name := spoiltFile(t, bytes)
			for _, array := range []string{"images", "signed", "claimed", "long"} {
				set, err := Open(t.Context(), Options{Inputs: []string{name}, Array: "stimuli/" + array, ArrayIDs: "stimuli/ids"})
				if err != nil {
					continue
				}
				for s := range set.From(0) {
					_, _ = s.Frames[0].Pixels()
				}
				set.Close()
			}
		}
		return
	}
	needHDF5(t)
	for first := 0; first < ways; {
		child := exec.Command(os.Args[0], "-test.run", "^TestHostileHDF5$", "-test.timeout", "2m")
		child.Env = append(os.Environ(), fmt.Sprintf("%s=%d", hostileWay, first))
		out, err := child.CombinedOutput()
		if err == nil {
			break
		}
		reached := strings.Split(string(out), "way ")
		last, _, _ := strings.Cut(reached[len(reached)-1], "\n")
		way, convErr := strconv.Atoi(last)
		require.NoError(t, convErr, "%s", out)
		assert.Fail(t, "a spoilt file ends the process", "way %d: %v\n%.3000s", way, err, out)
		first = way + 1
	}
}
