package plotting

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"image/gif"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/hdf5"
)

// hostileName is a stimulus whose name must not leave its place in a file.
const hostileName = `<script>&"x'` + "\x01" + `.png`

// madeUp describes a small output: conv9 has timesteps 2 and 3 before it is driven.
func madeUp(stimuli int) *features.Layout {
	ids := make([]string, stimuli)
	for i := range ids {
		ids[i] = fmt.Sprintf("picture %d.png", i)
	}
	ids[0] = hostileName
	provenance := `{"software":"tfconvrnn 0","model":"made_up","weights":{"untrained":true},
		"presentation":"custom(times=8,on=0,off=3,on=5,off=6),blank=gray","times":8,"milliseconds_per_timestep":10}`
	dims := []string{"timestep", "height", "width", "channel"}
	return &features.Layout{
		Rows: stimuli, Model: "made_up", Identifier: "made_up", StimulusSet: "set",
		Streamed: []features.Streamed{
			{Name: "conv9", DataType: features.Float32, RowShape: []int{5, 4, 4, 6}, Dimensions: dims,
				Layer: &features.Layer{Timesteps: []int{2, 3, 4, 5, 6}, Driven: []bool{false, false, true, true, true}}},
			{Name: "conv10", DataType: features.Float16, RowShape: []int{4, 3, 2, 5}, Dimensions: dims,
				Layer: &features.Layer{Timesteps: []int{4, 5, 6, 7}}},
			{Name: "imnetds", DataType: features.Float32, RowShape: []int{3, 1000}, Dimensions: []string{"timestep", "class"},
				Layer: &features.Layer{Timesteps: []int{5, 6, 7}, Driven: []bool{true, true, true}}},
			{Name: "logits", DataType: features.Float32, RowShape: []int{1000}, Dimensions: []string{"class"}},
		},
		Columns:    []features.Column{{Name: "stimulus_id", Values: ids}},
		Attributes: []features.Attribute{{Name: "provenance", Value: provenance}},
	}
}

// values are the features of a made-up layer: random, and the same for all stimuli
// before the layer is driven.
func values(l *features.Layout, array, stimulus int) []float32 {
	s := l.Streamed[array]
	n := 1
	for _, d := range s.RowShape {
		n *= d
	}
	row := make([]float32, n)
	random := rand.New(rand.NewPCG(uint64(array), uint64(stimulus)))
	common := rand.New(rand.NewPCG(uint64(array), 1000))
	for i := range row {
		row[i] = float32(random.NormFloat64())
		if s.Layer != nil && s.Layer.Driven != nil && !s.Layer.Driven[i/(n/len(s.Layer.Timesteps))] {
			row[i] = float32(common.NormFloat64())
		}
		if s.DataType == features.Float16 {
			row[i] = features.Float32FromFloat16(features.Float16FromFloat32(row[i]))
		}
	}
	return row
}

func write(t testing.TB, path string, format features.Format, layout *features.Layout, options features.Options, change func(array, stimulus int, row []float32)) string {
	t.Helper()
	w, err := features.Create(path, format, layout, options)
	require.NoError(t, err)
	defer w.Abort()
	for stimulus := range layout.Rows {
		for array := range layout.Streamed {
			row := values(layout, array, stimulus)
			if change != nil {
				change(array, stimulus, row)
			}
			require.NoError(t, w.WriteRows(array, stimulus, row))
		}
	}
	require.NoError(t, w.Finish(t.Context()))
	return path
}

func npz(t testing.TB, layout *features.Layout, change func(array, stimulus int, row []float32)) *Source {
	t.Helper()
	return open(t, write(t, filepath.Join(t.TempDir(), "made_up.npz"), features.NPZ, layout, features.Options{}, change))
}

func open(t testing.TB, path string) *Source {
	t.Helper()
	s, err := Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

func TestOpenReadsEveryFormatAlike(t *testing.T) {
	layout := madeUp(5)
	dir := t.TempDir()
	for name, make := range map[string]func(path string) string{
		"npz": func(path string) string {
			return write(t, path+".npz", features.NPZ, layout, features.Options{}, nil)
		},
		"zarr": func(path string) string {
			return write(t, path+".zarr", features.Zarr, layout, features.Options{ChunkRows: 2}, nil)
		},
		"npy": func(path string) string {
			return write(t, path+".npy", features.NPYFolder, layout, features.Options{}, nil)
		},
		"uncompressed zarr": func(path string) string {
			return write(t, path+".zarr", features.Zarr, layout, features.Options{Uncompressed: true}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, make(filepath.Join(dir, strings.ReplaceAll(name, " ", "_"))))
			assert.Equal(t, About{
				Model: "made_up", Presentation: "custom(times=8,on=0,off=3,on=5,off=6),blank=gray", Software: "tfconvrnn 0", Untrained: true,
				Episodes: []Episode{{0, 30}, {50, 60}},
			}, s.About())
			assert.Equal(t, layout.Columns[0].Values, s.Stimuli())
			require.Len(t, s.Layers(), 3)
			for i, l := range s.Layers() {
				want := layout.Streamed[i]
				assert.Equal(t, want.Name, l.Name)
				assert.Equal(t, want.RowShape[1:], l.Shape)
				assert.Equal(t, want.Layer.Timesteps, l.Timesteps)
				driven := want.Layer.Driven
				if driven == nil {
					driven = []bool{true, true, true, true}
				}
				assert.Equal(t, driven, l.Driven)
				for k, timestep := range l.Timesteps {
					assert.Equal(t, float64(10*timestep), l.Milliseconds[k])
				}
				for _, stimulus := range []int{4, 0, 3, 1, 2} {
					row, err := l.rows.row(stimulus)
					require.NoError(t, err)
					assert.True(t, slices.Equal(values(layout, i, stimulus), row), "%s, stimulus %d", l.Name, stimulus)
				}
				_, err := l.rows.row(5)
				assert.ErrorIs(t, err, features.ErrRange)
			}
		})
	}
}

// A figure does not depend on the format of the output that it is drawn from.
func TestEveryFormatIsDrawnAlike(t *testing.T) {
	layout := madeUp(4)
	layout.Streamed = layout.Streamed[:1] // MATLAB has no float16, netCDF one time axis
	layout.Streamed[0].Layer.Timesteps = []int{0, 1, 2, 3, 4}
	figures := map[string]features.Format{}
	for _, format := range features.Formats() {
		if format == features.HDF5 && hdf5.Load("") != nil {
			continue // internal/hdf5's tests say that the library is missing
		}
		s := open(t, write(t, filepath.Join(t.TempDir(), "x"), format, layout, features.Options{ChunkRows: 3}, nil))
		figure, err := FeatureMaps(t.Context(), s, Options{Stimuli: []string{"2"}})
		require.NoError(t, err, format)
		var svg bytes.Buffer
		require.NoError(t, figure.WriteSVG(&svg))
		figures[svg.String()] = format
	}
	assert.Len(t, figures, 1)
}

// drawAll renders everything that can be drawn from a source.
func drawAll(t *testing.T, s *Source) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	var figures []*Figure
	for name, f := range figureKinds {
		figure, err := f(t.Context(), s, Options{})
		require.NoError(t, err, name)
		assert.Equal(t, name, figure.Name)
		var svg, raster bytes.Buffer
		require.NoError(t, figure.WriteSVG(&svg))
		require.NoError(t, figure.WritePNG(&raster, 72))
		all[name+".svg"], all[name+".png"] = svg.Bytes(), raster.Bytes()
		figures = append(figures, figure)
	}
	slices.SortFunc(figures, func(a, b *Figure) int { return strings.Compare(a.Name, b.Name) })
	animation, err := Animate(t.Context(), s, Options{})
	require.NoError(t, err)
	var moving, page bytes.Buffer
	require.NoError(t, animation.WriteGIF(t.Context(), &moving, 72))
	require.NoError(t, NewPage(s, figures, []*Animation{animation}).Write(t.Context(), &page, 72))
	all["animation.gif"], all["page.html"] = moving.Bytes(), page.Bytes()
	return all
}

var figureKinds = map[string]func(context.Context, *Source, Options) (*Figure, error){
	"probabilities": Probabilities, "dynamics": Dynamics, "rdm": RDMs, "mosaic": FeatureMaps,
}

func TestSameInputSameBytes(t *testing.T) {
	layout := madeUp(5)
	dir := t.TempDir()
	first := drawAll(t, open(t, write(t, filepath.Join(dir, "x"), features.NPZ, layout, features.Options{}, nil)))
	second := drawAll(t, open(t, filepath.Join(dir, "x")))
	other := drawAll(t, open(t, write(t, filepath.Join(t.TempDir(), "x"), features.Zarr, layout, features.Options{}, nil)))
	assert.Len(t, first, 10)
	for name := range first {
		assert.True(t, bytes.Equal(first[name], second[name]), "%s differs when drawn again", name)
		assert.True(t, bytes.Equal(first[name], other[name]), "%s differs when drawn from Zarr", name)
	}
}

func TestWhatIsWrittenIsValid(t *testing.T) {
	all := drawAll(t, npz(t, madeUp(5), nil))
	for name, data := range all {
		switch filepath.Ext(name) {
		case ".png":
			img, err := png.Decode(bytes.NewReader(data))
			require.NoError(t, err, name)
			assert.Greater(t, img.Bounds().Dx(), 300, name)
			assert.Greater(t, img.Bounds().Dy(), 100, name)
			r, g, b, a := img.At(1, 1).RGBA()
			assert.Equal(t, [4]uint32{0xffff, 0xffff, 0xffff, 0xffff}, [4]uint32{r, g, b, a}, "%s: the background is white", name)
		case ".svg":
			decoder := xml.NewDecoder(bytes.NewReader(data))
			for {
				token, err := decoder.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				require.NoError(t, err, name)
				if start, ok := token.(xml.StartElement); ok {
					assert.NotEqual(t, "script", start.Name.Local)
				}
			}
			assert.NotContains(t, string(data), "NaN", name)
		}
	}
	moving, err := gif.DecodeAll(bytes.NewReader(all["animation.gif"]))
	require.NoError(t, err)
	assert.Len(t, moving.Image, 6, "a frame for each of timesteps 2 … 7")
	assert.Zero(t, moving.LoopCount)
	assert.NotEqual(t, moving.Image[0].Pix, moving.Image[3].Pix)

	page := string(all["page.html"])
	assert.NotContains(t, page, "<script")
	assert.Equal(t, 5, strings.Count(page, "<img src=\"data:image/"))
	for _, loads := range []string{"http:", "https:", "url(", "@import", "ZgotmplZ"} {
		assert.NotContains(t, page, loads)
	}
	assert.Contains(t, page, "untrained")
	assert.Contains(t, page, "&lt;script&gt;", "the title of the feature maps")
	// Units and names are there to be read.
	assert.Contains(t, string(all["dynamics.svg"]), ">time (ms)</text>")
	assert.Contains(t, string(all["dynamics.svg"]), ">not driven</text>")
	assert.Contains(t, string(all["rdm.svg"]), ">1 − r</text>")
	assert.Contains(t, string(all["rdm.svg"]), ">40 ms</text>")
	assert.Equal(t, strings.Count(string(all["rdm.svg"]), "<image "), strings.Count(string(all["rdm.svg"]), `preserveAspectRatio="none"`),
		"colour bars are stretched")
	assert.Contains(t, string(all["probabilities.svg"]), ">probability</text>")
}

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
	l := &Layer{Name: "imnetds", Shape: []int{1000}, Timesteps: []int{4, 5, 6}, Milliseconds: []float64{40, 50, 60}, Driven: []bool{false, true, true}}
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

func TestSelections(t *testing.T) {
	s := npz(t, madeUp(5), nil)
	got, err := s.selectStimuli([]string{"picture 3.png", "0", "3"})
	require.NoError(t, err)
	assert.Equal(t, []int{3, 0}, got)
	for _, bad := range []string{"5", "-1", "nothing", ""} {
		_, err = s.selectStimuli([]string{bad})
		assert.ErrorIs(t, err, ErrNoStimulus, bad)
	}
	columns, err := s.selectColumns(s.Layers(), nil)
	require.NoError(t, err)
	assert.Equal(t, []column{{4, 40}, {5, 50}, {6, 60}, {7, 70}}, columns, "from where one is driven")
	columns, err = s.selectColumns(s.Layers(), []int{7, 2, 7})
	require.NoError(t, err)
	assert.Equal(t, []column{{2, 20}, {7, 70}}, columns)
	assert.Equal(t, []int{0, 3, 6, 9}, spaced([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 4))
	assert.Equal(t, []int{9}, spaced([]int{0, 9}, 1))
	assert.Equal(t, []int{0, 9}, spaced([]int{0, 9}, 5))
	many := make([]int, 5000)
	for i := range many {
		many[i] = i
	}
	picked := spaced(many, 100)
	assert.Len(t, picked, 100)
	assert.Equal(t, []int{0, 4999}, []int{picked[0], picked[99]})
}

func TestOptionErrors(t *testing.T) {
	s := npz(t, madeUp(3), nil)
	for name, c := range map[string]struct {
		kind    string
		options Options
		err     error
		message string
	}{
		"layer":            {"dynamics", Options{Layers: []string{"conv99"}}, ErrNoLayer, "there are conv9, conv10, imnetds"},
		"stimulus":         {"rdm", Options{Stimuli: []string{"x"}}, ErrNoStimulus, "by its number, 0 … 2"},
		"timestep":         {"mosaic", Options{Timesteps: []int{1}}, ErrNoTimestep, "2 … 7"},
		"one stimulus":     {"rdm", Options{Stimuli: []string{"1"}}, ErrImpossible, "two stimuli"},
		"two stimuli":      {"mosaic", Options{Stimuli: []string{"1", "2"}}, ErrOption, "for one"},
		"maps of imnetds":  {"mosaic", Options{Layers: []string{"imnetds"}}, ErrImpossible, "without feature maps"},
		"top":              {"probabilities", Options{Top: 1000}, ErrOption, "top 1000"},
		"channels":         {"mosaic", Options{Channels: -1}, ErrOption, "channels -1"},
		"max-stimuli":      {"rdm", Options{MaxStimuli: 1}, ErrOption, "max-stimuli 1"},
		"many max-stimuli": {"rdm", Options{MaxStimuli: 1 << 30}, ErrOption, "max-stimuli"},
		"many timesteps":   {"rdm", Options{Timesteps: make([]int, 65)}, ErrOption, "65 timesteps"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := figureKinds[c.kind](t.Context(), s, c.options)
			require.ErrorIs(t, err, c.err)
			assert.ErrorContains(t, err, c.message)
		})
	}
	f, err := Dynamics(t.Context(), s, Options{})
	require.NoError(t, err)
	for _, dpi := range []int{0, -5, 1201, 1 << 40} {
		assert.ErrorIs(t, f.WritePNG(io.Discard, dpi), ErrOption)
	}
	f.height *= 100
	assert.ErrorIs(t, f.WritePNG(io.Discard, 300), ErrOption, "too many pixels")
}

func TestOutputsWithoutWhatAFigureNeeds(t *testing.T) {
	layout := madeUp(3)
	layout.Streamed = layout.Streamed[2:3] // imnetds
	s := npz(t, layout, nil)
	for _, f := range []func() error{
		func() error { _, err := FeatureMaps(t.Context(), s, Options{}); return err },
		func() error { _, err := Animate(t.Context(), s, Options{}); return err },
	} {
		err := f()
		require.ErrorIs(t, err, ErrImpossible)
		assert.ErrorContains(t, err, "feature maps")
	}
	layout = madeUp(3)
	layout.Streamed = layout.Streamed[:2]
	_, err := Probabilities(t.Context(), npz(t, layout, nil), Options{})
	require.ErrorIs(t, err, ErrImpossible)
	assert.ErrorContains(t, err, "--layers …,imnetds")

	layout = madeUp(3)
	layout.Streamed[2].RowShape = []int{3, 64}
	_, err = Probabilities(t.Context(), npz(t, layout, nil), Options{})
	require.ErrorIs(t, err, ErrImpossible)
	assert.ErrorContains(t, err, "shape [64]")

	s = npz(t, madeUp(3), func(array, stimulus int, row []float32) {
		if array == 0 && stimulus == 2 {
			row[len(row)-1] = float32(math.Inf(1))
		}
	})
	_, err = Dynamics(t.Context(), s, Options{})
	require.ErrorIs(t, err, ErrImpossible)
	assert.ErrorContains(t, err, "layer conv9 has values that are not finite at timestep 6 of stimulus picture 2.png")
	_, err = Dynamics(t.Context(), s, Options{Stimuli: []string{"0", "1"}})
	assert.NoError(t, err)
	_, err = RDMs(t.Context(), s, Options{})
	assert.NoError(t, err, "grey cells")
}

func TestSkippedStimuliAreLeftOut(t *testing.T) {
	layout := madeUp(4)
	layout.Streamed = append(layout.Streamed, features.Streamed{Name: "valid", DataType: features.Bool})
	skip := func(array, stimulus int, row []float32) {
		for i := range row {
			switch {
			case array == 4:
				row[i] = 1
				if stimulus == 0 {
					row[i] = 0
				}
			case stimulus == 0:
				row[i] = float32(math.NaN())
			}
		}
	}
	for _, format := range []features.Format{features.NPZ, features.Zarr} {
		s := open(t, write(t, filepath.Join(t.TempDir(), "x"), format, layout, features.Options{}, skip))
		stimuli, err := s.selectStimuli(nil)
		require.NoError(t, err)
		assert.Equal(t, []int{1, 2, 3}, stimuli)
		f, err := Dynamics(t.Context(), s, Options{})
		require.NoError(t, err)
		assert.Contains(t, f.Caption, "mean of 3 stimuli")
		_, err = FeatureMaps(t.Context(), s, Options{Stimuli: []string{"0"}})
		require.ErrorIs(t, err, ErrNoStimulus)
		assert.ErrorContains(t, err, "could not be read")
		s.valid = make([]bool, 4)
		_, err = RDMs(t.Context(), s, Options{})
		assert.ErrorIs(t, err, ErrImpossible)
	}
}

func TestOneStimulusOneTimestep(t *testing.T) {
	layout := madeUp(1)
	layout.Streamed = []features.Streamed{
		{Name: "conv1", DataType: features.Float32, RowShape: []int{1, 1, 1, 1}, Layer: &features.Layer{Timesteps: []int{0}, Driven: []bool{false}}},
		{Name: "imnetds", DataType: features.Float32, RowShape: []int{1, 1000}, Layer: &features.Layer{Timesteps: []int{0}}},
	}
	layout.Attributes = nil
	s := npz(t, layout, func(_, _ int, row []float32) { clear(row) })
	for name, f := range figureKinds {
		figure, err := f(t.Context(), s, Options{})
		if name == "rdm" {
			assert.ErrorIs(t, err, ErrImpossible)
			continue
		}
		require.NoError(t, err, name)
		assert.NoError(t, figure.WritePNG(io.Discard, 72), name)
		var svg bytes.Buffer
		assert.NoError(t, figure.WriteSVG(&svg), name)
		assert.NotContains(t, svg.String(), "NaN", name)
		assert.NotContains(t, svg.String(), "Inf", name)
	}
	a, err := Animate(t.Context(), s, Options{})
	require.NoError(t, err)
	assert.NoError(t, a.WriteGIF(t.Context(), io.Discard, 72))
}

// borrowed hands out the same slice again and again, and counts.
type borrowed struct {
	buffer []float32
	reads  int
}

func (b *borrowed) row(stimulus int) ([]float32, error) {
	b.reads++
	for i := range b.buffer {
		b.buffer[i] = float32((i*7+stimulus*13)%29) - 9
	}
	return b.buffer, nil
}

func TestRowsAreReadOneAtATime(t *testing.T) {
	const stimuli = 3000
	reader := &borrowed{buffer: make([]float32, 4*8*8*16)}
	l := &Layer{Name: "conv1", Shape: []int{8, 8, 16}, Timesteps: []int{0, 1, 2, 3}, Milliseconds: []float64{0, 10, 20, 30},
		Driven: []bool{true, true, true, true}, rows: reader}
	s := &Source{path: "x", stimuli: make([]string, stimuli), layers: []*Layer{l}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Dynamics(t.Context(), s, Options{})
	require.NoError(t, err)
	runtime.ReadMemStats(&after)
	assert.Equal(t, stimuli, reader.reads)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), "bytes; all rows together have 49 MB")
	reader.reads = 0
	f, err := RDMs(t.Context(), s, Options{MaxStimuli: 20})
	require.NoError(t, err)
	assert.Equal(t, 21, reader.reads)
	assert.Contains(t, f.Caption, "20 of 3000 stimuli, evenly spaced")
}

func TestCancelling(t *testing.T) {
	s := npz(t, madeUp(3), nil)
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	animation, err := Animate(ctx, s, Options{})
	require.NoError(t, err)
	cancel(stopped)
	for name, f := range figureKinds {
		_, err := f(ctx, s, Options{})
		assert.ErrorIs(t, err, stopped, name)
	}
	_, err = Animate(ctx, s, Options{})
	assert.ErrorIs(t, err, stopped)
	assert.ErrorIs(t, animation.WriteGIF(ctx, io.Discard, 72), stopped)
	assert.ErrorIs(t, NewPage(s, nil, []*Animation{animation}).Write(ctx, io.Discard, 72), stopped)
}

func TestUnsupportedInputs(t *testing.T) {
	dir := t.TempDir()
	layout := madeUp(2)
	text := filepath.Join(dir, "text.npz")
	require.NoError(t, os.WriteFile(text, []byte("hello"), 0o644))
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.Mkdir(empty, 0o755))
	nothing := *layout
	nothing.Streamed = layout.Streamed[3:]
	for name, c := range map[string]struct {
		path    string
		err     error
		message string
	}{
		"missing":        {filepath.Join(dir, "none.npz"), os.ErrNotExist, "none.npz"},
		"text":           {text, features.ErrFormat, "no output of features"},
		"empty folder":   {empty, features.ErrFormat, "no output of features"},
		"no layers":      {write(t, filepath.Join(dir, "l.npz"), features.NPZ, &nothing, features.Options{}, nil), ErrUnsupported, "no layer"},
		"no zarr layers": {write(t, filepath.Join(dir, "l.zarr"), features.Zarr, &nothing, features.Options{}, nil), ErrUnsupported, "no layer"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(c.path)
			require.ErrorIs(t, err, c.err)
			assert.ErrorContains(t, err, c.message)
		})
	}
}

func TestDamagedZarr(t *testing.T) {
	layout := madeUp(4)
	edit := func(name string, change func(m map[string]any)) func(t *testing.T, root string) {
		return func(t *testing.T, root string) {
			path := filepath.Join(root, name)
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			var m map[string]any
			require.NoError(t, json.Unmarshal(text, &m))
			change(m)
			text, err = json.Marshal(m)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, text, 0o644))
		}
	}
	set := func(name, key string, value any) func(t *testing.T, root string) {
		return edit(name, func(m map[string]any) { m[key] = value })
	}
	remove := func(name string) func(t *testing.T, root string) {
		return func(t *testing.T, root string) { require.NoError(t, os.RemoveAll(filepath.Join(root, name))) }
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, root string)
		err    error
	}{
		"chunk missing": {remove("conv9/1.0.0.0.0"), features.ErrFormat},
		"chunk cut": {func(t *testing.T, root string) {
			require.NoError(t, os.Truncate(filepath.Join(root, "conv9/0.0.0.0.0"), 100))
		}, features.ErrFormat},
		"chunk empty": {func(t *testing.T, root string) {
			require.NoError(t, os.Truncate(filepath.Join(root, "conv9/0.0.0.0.0"), 0))
		}, features.ErrFormat},
		"no JSON": {func(t *testing.T, root string) {
			require.NoError(t, os.Truncate(filepath.Join(root, "conv9/.zarray"), 10))
		}, features.ErrFormat},
		"order":       {set("conv9/.zarray", "order", "F"), features.ErrFormat},
		"version":     {set("conv9/.zarray", "zarr_format", 3), features.ErrFormat},
		"compressor":  {set("conv9/.zarray", "compressor", map[string]any{"id": "blosc"}), features.ErrFormat},
		"filter":      {set("conv9/.zarray", "filters", []any{map[string]any{"id": "delta", "elementsize": 4}}), features.ErrFormat},
		"filter size": {set("conv9/.zarray", "filters", []any{map[string]any{"id": "shuffle", "elementsize": 3}}), features.ErrFormat},
		"type":        {set("conv9/.zarray", "dtype", "<c8"), features.ErrFormat},
		"integers":    {set("conv9/.zarray", "dtype", "<i4"), features.ErrDataType},
		"chunks":      {set("conv9/.zarray", "chunks", []int{2, 5, 4, 2, 6}), features.ErrFormat},
		"negative":    {set("conv9/.zarray", "shape", []int{-4, 5, 4, 4, 6}), features.ErrFormat},
		"zero":        {set("conv9/.zarray", "chunks", []int{0, 5, 4, 4, 6}), features.ErrFormat},
		"rank":        {set("conv9/.zarray", "shape", []int{4}), features.ErrFormat},
		"overflow": {edit("conv9/.zarray", func(m map[string]any) {
			m["shape"], m["chunks"] = []int{4, 1 << 40, 1 << 40, 4, 6}, []int{2, 1 << 40, 1 << 40, 4, 6}
		}), features.ErrFormat},
		"larger than it": {edit("conv9/.zarray", func(m map[string]any) {
			m["shape"], m["chunks"] = []int{4, 5, 4, 4, 1 << 20}, []int{2, 5, 4, 4, 1 << 20}
		}), features.ErrFormat},
		"more timesteps": {edit("conv9/.zarray", func(m map[string]any) { m["shape"], m["chunks"] = []int{4, 10, 4, 4, 3}, []int{2, 10, 4, 4, 3} }), features.ErrFormat},
		"more stimuli":   {set("conv9/.zarray", "shape", []int{1 << 40, 5, 4, 4, 6}), features.ErrFormat},
		"no timesteps":   {remove("conv9_timestep"), features.ErrFormat},
		"text timesteps": {edit("conv9/.zattrs", func(m map[string]any) {
			m["_ARRAY_DIMENSIONS"] = []string{"presentation", "stimulus_id", "a", "b", "c"}
		}), features.ErrDataType},
		"falling": {edit("conv9/.zattrs", func(m map[string]any) {
			m["_ARRAY_DIMENSIONS"] = []string{"presentation", "conv9_driven", "a", "b", "c"}
		}), features.ErrFormat},
		"attributes": {func(t *testing.T, root string) {
			require.NoError(t, os.WriteFile(filepath.Join(root, ".zattrs"), []byte("]"), 0o644))
		}, features.ErrFormat},
		"wide characters": {set("stimulus_id/.zarray", "dtype", "<U99999999"), features.ErrFormat},
	} {
		t.Run(name, func(t *testing.T) {
			root := write(t, filepath.Join(t.TempDir(), "x.zarr"), features.Zarr, layout, features.Options{ChunkRows: 2}, nil)
			c.damage(t, root)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			s, err := Open(root)
			if err == nil {
				defer s.Close()
				_, err = Dynamics(t.Context(), s, Options{})
				require.Error(t, err)
				_, rdmErr := RDMs(t.Context(), s, Options{})
				require.ErrorIs(t, rdmErr, c.err)
			}
			runtime.ReadMemStats(&after)
			require.ErrorIs(t, err, c.err)
			assert.ErrorContains(t, err, root)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20), "bytes for a few KB of input")
		})
	}
}

// TestMutatedInputs changes bytes of outputs at random: errors are fine, panics are
// not.
func TestMutatedInputs(t *testing.T) {
	layout := madeUp(3)
	layout.Streamed[2].RowShape = []int{3, 20}
	layout.Streamed = layout.Streamed[:3]
	dir := t.TempDir()
	archive := write(t, filepath.Join(dir, "x.npz"), features.NPZ, layout, features.Options{}, nil)
	store := write(t, filepath.Join(dir, "x.zarr"), features.Zarr, layout, features.Options{ChunkRows: 2}, nil)
	files := map[string]string{archive: archive}
	require.NoError(t, filepath.WalkDir(store, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files[path] = store
		}
		return err
	}))
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	random := rand.New(rand.NewPCG(1, 2))
	failed := 0
	for range 200 {
		name := names[random.IntN(len(names))]
		original, err := os.ReadFile(name)
		require.NoError(t, err)
		changed := bytes.Clone(original)
		for range 1 + random.IntN(3) {
			changed[random.IntN(len(changed))] = byte(random.IntN(256))
		}
		if random.IntN(4) == 0 {
			changed = changed[:random.IntN(len(changed))]
		}
		require.NoError(t, os.WriteFile(name, changed, 0o644))
		s, err := Open(files[name])
		if err == nil {
			for _, f := range figureKinds {
				if figure, drawErr := f(t.Context(), s, Options{}); drawErr != nil {
					err = drawErr
				} else {
					_ = figure.WriteSVG(io.Discard)
				}
			}
			s.Close()
		}
		if err != nil {
			failed++
		}
		require.NoError(t, os.WriteFile(name, original, 0o644))
	}
	assert.Positive(t, failed)
	_, err := Open(archive)
	assert.NoError(t, err)
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		want   []string
	}{
		{0, 250, []string{"0", "50", "100", "150", "200", "250"}},
		{0, 1, []string{"0.00", "0.25", "0.50", "0.75", "1.00"}},
		{-3, 3, []string{"−2", "0", "2"}},
		{0.01, 0.05, []string{"0.01", "0.02", "0.03", "0.04", "0.05"}},
	} {
		n := 4
		if c.hi > 100 {
			n = 6
		}
		values, decimals := niceTicks(c.lo, c.hi, n)
		var got []string
		for _, v := range values {
			got = append(got, tickText(v, decimals))
		}
		assert.Equal(t, c.want, got)
	}
	for _, c := range [][2]float64{{1, 1}, {2, 1}, {0, math.Inf(1)}, {math.NaN(), 1}} {
		values, _ := niceTicks(c[0], c[1], 4)
		assert.Len(t, values, 1)
	}
	for v, want := range map[float64]string{0: "0", 0.93: "0.93", -2300: "−2300", 1e7: "1e+07", 2e-6: "2e−06"} {
		assert.Equal(t, want, number(v))
	}
	for v, want := range map[float64]float64{0.921: 0.93, 7: 7, 101: 110, 0: 1, math.Inf(1): 1, math.NaN(): 1} {
		assert.InDelta(t, want, niceCeil(v), 1e-9)
	}
}

func BenchmarkRDMs(b *testing.B) {
	reader := &borrowed{buffer: make([]float32, 8*28*28*64)}
	l := &Layer{Name: "conv1", Shape: []int{28, 28, 64}, rows: reader}
	for i := range 8 {
		l.Timesteps, l.Milliseconds, l.Driven = append(l.Timesteps, i), append(l.Milliseconds, float64(10*i)), append(l.Driven, true)
	}
	s := &Source{path: "x", stimuli: make([]string, 50), layers: []*Layer{l}}
	for b.Loop() {
		_, err := RDMs(b.Context(), s, Options{})
		require.NoError(b, err)
	}
}

func TestFiguresAreDrawnConcurrently(t *testing.T) {
	f, err := Dynamics(t.Context(), npz(t, madeUp(3), nil), Options{})
	require.NoError(t, err)
	var want bytes.Buffer
	require.NoError(t, f.WritePNG(&want, 72))
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			var got bytes.Buffer
			assert.NoError(t, f.WritePNG(&got, 72))
			assert.True(t, bytes.Equal(want.Bytes(), got.Bytes()))
			assert.NoError(t, f.WriteSVG(io.Discard))
		})
	}
	wait.Wait()
}
