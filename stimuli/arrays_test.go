package stimuli

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// One value that just overshoots 1 does not make 0 … 255 of an array; what may be
// either is refused; what was decided is said and recorded.
func TestArrayRanges(t *testing.T) {
	t.Chdir(t.TempDir())
	const pixels = imageValues
	nan, infinite := float32(math.NaN()), float32(math.Inf(1))
	for name, c := range map[string]struct {
		common, odd float32 // values of all pixels, and of one
		stated      string
		first       float64 // what a model sees of the first pixel, which is common
		ranged      string
		clamped     int
		says        string // an error
	}{
		"0-1":                       {0.5, 1, "", 0.5, Range1, 0, ""},
		"zeros":                     {0, 0, "", 0, Range1, 0, ""},
		"just above 1":              {0.5, 1.0000001, "", 0.5, Range1, 1, ""},
		"a hundredth above 1":       {0.5, 1.01, RangeAuto, 0.5, Range1, 1, ""},
		"just below 0":              {0.5, -1e-6, "", 0.5, Range1, 1, ""},
		"1.2":                       {0.5, 1.2, "", 0, "", 0, "this may be either"},
		"7":                         {0.5, 7, "", 0, "", 0, "may be either"},
		"1.2, stated as 0-1":        {0.5, 1.2, Range1, 0.5, Range1, 1, ""},
		"1.2, stated as 0-255":      {0.5, 1.2, Range255, 0.5 / 255, Range255, 0, ""},
		"3, stated as 0-1":          {0.5, 3, Range1, 0, "", 0, "image 0 has the value 3"},
		"0-255":                     {51, 255, "", 0.2, Range255, 0, ""},
		"just above 255":            {51, 255.5, "", 0.2, Range255, 1, ""},
		"beyond 255":                {51, 260, "", 0, "", 0, "image 0 has the value 260 at row 1, column 2, channel 1"},
		"negative among 0-255":      {51, -20, "", 0, "", 0, "value -20"},
		"normalized":                {2.6, -2.1, "", 0, "", 0, "normalized already"},
		"NaN":                       {0.5, nan, "", 0, "", 0, "the value NaN"},
		"infinite":                  {0.5, infinite, "", 0, "", 0, "the value +Inf"},
		"infinite, stated as 0-255": {0.5, -infinite, Range255, 0, "", 0, "the value -Inf"},
	} {
		t.Run(name, func(t *testing.T) {
			values := make([]float32, 2*pixels)
			for i := range values {
				values[i] = c.common
			}
			values[(224*1+2)*3+1] = c.odd
			writeValues(t, "a.npy", []int{2, 224, 224, 3}, values)
			var told, noted []string
			options := Options{Inputs: []string{"a.npy"}, ArrayRange: c.stated, Warn: warnings(&told), Note: warnings(&noted)}
			set, err := Open(t.Context(), options)
			if c.says != "" {
				require.ErrorIs(t, err, ErrInput)
				require.ErrorIs(t, err, tfconvrnn.ErrImages)
				assert.ErrorContains(t, err, c.says)
				assert.ErrorContains(t, err, "a.npy")
				return
			}
			require.NoError(t, err)
			defer set.Close()
			assert.Equal(t, []Input{{Name: "a.npy", Kind: "float32 array", Stimuli: 2, Range: c.ranged, Clamped: c.clamped}},
				set.Inputs())
			assert.Len(t, told, min(c.clamped, 1), "%q", told)
			if c.clamped > 0 {
				assert.Contains(t, told[0], fmt.Sprintf("%d values", c.clamped))
			}
			if c.stated != c.ranged {
				require.Len(t, noted, 1)
				assert.Contains(t, noted[0], "taken as "+c.ranged)
			}
			records, summary := scanned(t, options)
			assert.Equal(t, set.Inputs(), summary.Inputs)
			reader, err := NewReader(t.Context(), options, summary.Arrays)
			require.NoError(t, err)
			defer reader.Close()
			for stimulus := range set.From(0) {
				for _, one := range []tfconvrnn.Stimulus{stimulus, reader.Stimulus(&records[0])} {
					seen, err := one.Frames[0].Pixels()
					require.NoError(t, err)
					assert.InDelta(t, c.first, seen[0], 1e-6)
				}
				break
			}
		})
	}
	// A list says it, too.
	values := make([]float32, pixels)
	values[0] = 1
	writeValues(t, "a.npy", []int{1, 224, 224, 3}, values)
	input := Input{Range: Range1}
	input.ranges([]Input{{Range: Range255, Clamped: 3}, {Range: Range1, Clamped: 1}})
	assert.Equal(t, Input{Range: "0-1 and 0-255", Clamped: 4}, input)
}

// Arrays of other shapes and types are right, or refused with the command that makes
// them right.
func TestArrayShapes(t *testing.T) {
	t.Chdir(t.TempDir())
	for remedy, shape := range map[string][]int{
		"np.moveaxis(a, -3, -1)":                             {2, 3, 224, 224},
		"np.repeat(a[..., None], 3, axis=-1)":                {2, 224, 224},
		"a[..., :3]":                                         {2, 224, 224, 4},
		"a[None]":                                            {224, 224, 3},
		"np.repeat(a, 3, axis=-1)":                           {2, 224, 224, 1},
		"np.repeat(np.moveaxis(a, -3, -1), 3, axis=-1)":      {2, 1, 224, 224},
		"np.moveaxis(a, 1, -1)":                              {1, 3, 2, 224, 224},
		"a.reshape(-1, 224, 224, 3)":                         {2, 224 * 224 * 3},
		`np.load("a.npy"); np.save("a-images.npy", a[None])`: {300, 200, 3},
		"convert it with NumPy":                              {7},
	} {
		writeNPY(t, "a.npy", shape, func(int) uint8 { return 1 })
		_, err := Open(t.Context(), Options{Inputs: []string{"a.npy"}})
		require.ErrorIs(t, err, features.ErrRank, remedy)
		assert.ErrorContains(t, err, remedy)
	}
	for remedy, values := range map[string]any{
		`(a / 65535).astype("float32")`: make([]uint16, imageValues), `a.astype("uint8")`: make([]int64, imageValues),
		`a.astype("uint8") * 255`: make([]bool, imageValues),
	} {
		writeValues(t, "a.npy", []int{1, 224, 224, 3}, values)
		_, err := Open(t.Context(), Options{Inputs: []string{"a.npy"}})
		require.ErrorIs(t, err, features.ErrDataType)
		assert.ErrorContains(t, err, remedy)
	}
	writeValues(t, "a.npy", []int{1, 256, 256, 3}, make([]float32, 256*256*3))
	_, err := Open(t.Context(), Options{Inputs: []string{"a.npy"}})
	assert.ErrorContains(t, err, `(a * 255).round().astype("uint8")`)

	// Pictures of other sizes go through the preprocessing, as the same in files.
	pixels := make([]uint8, 2*300*256*3)
	for i := range pixels {
		pixels[i] = uint8(i / 3 % 256) // grey, from left to right
	}
	writeValues(t, "a.npy", []int{1, 2, 300, 256, 3}, pixels)
	options := Options{Inputs: []string{"a.npy"}, Preprocessing: tfconvrnn.Preprocessing{Name: "crop224"}}
	set := open(t, options)
	assert.True(t, set.Pictures())
	records, summary := scanned(t, options)
	reader, err := NewReader(t.Context(), options, summary.Arrays)
	require.NoError(t, err)
	defer reader.Close()
	for stimulus := range set.From(0) {
		assert.Equal(t, []int{16, 16}, greys(t, stimulus))
		assert.Equal(t, []int{16, 16}, greys(t, reader.Stimulus(&records[0])))
	}
}
