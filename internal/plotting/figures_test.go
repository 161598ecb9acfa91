package plotting

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDynamicsAreMeansAndDeviations(t *testing.T) {
	layout := madeUp(6)
	s := npz(t, layout, nil)
	for array, l := range s.Layers() {
		got, err := s.dynamics(t.Context(), l, []int{0, 2, 3, 5}, func(int) {})
		require.NoError(t, err)
		for k := range l.Timesteps {
			var means []float64
			for _, stimulus := range []int{0, 2, 3, 5} {
				sum := 0.0
				for _, v := range values(layout, array, stimulus)[k*l.size() : (k+1)*l.size()] {
					sum += float64(v)
				}
				means = append(means, sum/float64(l.size()))
			}
			mean := (means[0] + means[1] + means[2] + means[3]) / 4
			square := 0.0
			for _, m := range means {
				square += (m - mean) * (m - mean)
			}
			assert.InDelta(t, mean, got.mean[k], 1e-12)
			assert.InDelta(t, math.Sqrt(square/3), got.sd[k], 1e-12)
		}
	}
	one, err := s.dynamics(t.Context(), s.Layers()[0], []int{1}, func(int) {})
	require.NoError(t, err)
	assert.Equal(t, make([]float64, 5), one.sd)
}

// pearson is the textbook's formula.
func pearson(x, y []float32) float64 {
	var sx, sy, sxx, syy, sxy float64
	n := float64(len(x))
	for i := range x {
		a, b := float64(x[i]), float64(y[i])
		sx, sy, sxx, syy, sxy = sx+a, sy+b, sxx+a*a, syy+b*b, sxy+a*b
	}
	return (n*sxy - sx*sy) / math.Sqrt((n*sxx-sx*sx)*(n*syy-sy*sy))
}

func TestRDMsArePearsonDistances(t *testing.T) {
	const n = 7
	layout := madeUp(n)
	constant := func(array, stimulus int, row []float32) {
		if array == 0 && stimulus == 3 { // no variation at the last timestep
			for i := 4 * 96; i < 5*96; i++ {
				row[i] = 0.1
			}
		}
	}
	s := npz(t, layout, constant)
	l := s.Layers()[0]
	cols := []column{{3, 30}, {6, 60}, {7, 70}}
	stimuli := []int{0, 1, 2, 3, 4, 5, 6}
	var whole [][]float64
	for _, block := range []int64{1 << 20, 4 * 96 * 2 * 3, 1} { // all, three and one stimulus at a time
		var last, total int64
		got, err := s.rdms(t.Context(), l, cols, stimuli, block, func(d, of int64) { last, total = d, of })
		require.NoError(t, err)
		assert.Equal(t, total, last)
		require.Len(t, got, 3)
		assert.Nil(t, got[2], "not reported")
		if whole == nil {
			whole = got
		}
		assert.Equal(t, fmt.Sprint(whole), fmt.Sprint(got), "NaN is not equal to itself")
		for k, step := range []int{1, 4} {
			for a := range n {
				for b := range n {
					d := got[k][a*n+b]
					x, y := values(layout, 0, a), values(layout, 0, b)
					constant(0, a, x)
					constant(0, b, y)
					switch {
					case step == 4 && (a == 3 || b == 3):
						assert.True(t, math.IsNaN(d))
					case a == b:
						assert.Zero(t, d)
					default:
						assert.InDelta(t, max(0, 1-pearson(x[step*96:(step+1)*96], y[step*96:(step+1)*96])), d, 1e-6)
					}
				}
			}
		}
	}
}

func TestTrajectoriesPickDrivenPeaks(t *testing.T) {
	l := &Layer{Name: "imnetds", Shape: []int{1000}, Timesteps: []int{4, 5, 6}, Milliseconds: []float64{40, 50, 60},
		Driven: []bool{false, true, true}}
	row := make([]float32, 3000)
	row[10] = 50        // before it is driven
	row[1000+20] = 1000 // would overflow
	row[2000+30] = 3    // third
	row[2000+40] = 3    // the same, with a higher index
	row[2000+999] = 30  // second
	s := &Source{path: "x", stimuli: []string{"a"}}
	got, err := s.trajectory(l, 0, row, 4)
	require.NoError(t, err)
	assert.Equal(t, []int{20, 999, 30, 40}, got.classes)
	assert.InDelta(t, 1, got.probabilities[0][1], 1e-12)
	e3, e30 := math.Exp(3), math.Exp(30)
	assert.InDelta(t, e3/(997+2*e3+e30), got.probabilities[2][2], 1e-15)
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		row[2500] = bad
		_, err = s.trajectory(l, 0, row, 4)
		assert.ErrorIs(t, err, ErrImpossible)
		assert.ErrorContains(t, err, "timestep 6")
	}
}

func TestFeatureMapsPickWhatVaries(t *testing.T) {
	s := npz(t, madeUp(2), func(array, _ int, row []float32) {
		if array == 0 {
			for i := range row {
				channel, position := i%6, i/6
				row[i] = float32(position%2) * []float32{0, 1, 7, 3, 7, 0}[channel]
				if i == 5 {
					row[i] = float32(math.NaN())
				}
			}
		}
	})
	m, err := s.featureMaps(t.Context(), s.Layers()[0], 0, 4)
	require.NoError(t, err)
	assert.Equal(t, []int{2, 4, 3, 1}, m.channels)
	assert.Equal(t, []float32{0, 7, 0, 7}, m.values[:4])
	assert.Equal(t, 0.0, m.lo, "there are no negative values")
	assert.Equal(t, 7.0, m.hi)
	b := m.mosaic(0).Bounds()
	assert.Equal(t, b.Dx(), b.Dy(), "two maps by two")

	m, err = s.featureMaps(t.Context(), s.Layers()[0], 0, 6)
	require.NoError(t, err)
	assert.Equal(t, []int{2, 4, 3, 1, 0, 5}, m.channels, "the one with NaN is last")
	r, g, blue, _ := m.mosaic(0).At(m.mosaic(0).Bounds().Dx()-1, m.mosaic(0).Bounds().Dy()/2+1).RGBA()
	_ = r + g + blue // NaN has a colour: no panic
}

func TestMapsOfBothSignsHaveWhiteZero(t *testing.T) {
	m := &featureMaps{values: []float32{-2, 1, 0, 0.5}}
	m.limits()
	assert.Equal(t, -m.hi, m.lo)
	c := m.colors.at(0.5)
	assert.Equal(t, c.R, c.G)
	assert.Greater(t, c.R, uint8(240))
	m = &featureMaps{values: []float32{0, 0}}
	m.limits()
	assert.Equal(t, 1.0, m.hi)
}

func TestColorsDiffer(t *testing.T) {
	for name, m := range map[string]colorMap{"sequential": sequentialMap(), "diverging": divergingMap()} {
		for i := 1; i < len(m); i++ {
			assert.NotEqual(t, m[i-1], m[i], "%s %d", name, i)
		}
		assert.Equal(t, missing, m.at(math.NaN()))
		assert.Equal(t, m[0], m.at(-1))
		assert.Equal(t, m[len(m)-1], m.at(math.Inf(1)))
		assert.Equal(t, m[int(m.index(0.25))], m.at(0.25))
	}
	// The sequential map darkens all the way, so that it survives grey printing.
	luminance := func(i int) float64 {
		c := sequentialMap()[i]
		return 0.2126*float64(c.R) + 0.7152*float64(c.G) + 0.0722*float64(c.B)
	}
	for i := 1; i < len(sequentialMap()); i++ {
		assert.Less(t, luminance(i), luminance(i-1)+1e-9)
	}
	assert.LessOrEqual(t, len(gifPalette()), 256)
}
