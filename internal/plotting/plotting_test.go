package plotting

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"image/gif"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
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

func write(t testing.TB, path string, format features.Format, layout *features.Layout, options features.Options,
	change func(array, stimulus int, row []float32)) string {
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
				Model: "made_up", Presentation: "custom(times=8,on=0,off=3,on=5,off=6),blank=gray", Software: "tfconvrnn 0",
				Untrained: true, Episodes: []Episode{{0, 30}, {50, 60}},
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
			assert.Equal(t, [4]uint32{0xffff, 0xffff, 0xffff, 0xffff}, [4]uint32{r, g, b, a},
				"%s: the background is white", name)
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
	assert.Equal(t, strings.Count(string(all["rdm.svg"]), "<image "),
		strings.Count(string(all["rdm.svg"]), `preserveAspectRatio="none"`),
		"colour bars are stretched")
	assert.Contains(t, string(all["probabilities.svg"]), ">probability</text>")
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
	assert.ErrorContains(t, err, "the layer imnetds, which is not there")

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
		{Name: "conv1", DataType: features.Float32, RowShape: []int{1, 1, 1, 1}, Layer: &features.Layer{Timesteps: []int{0},
			Driven: []bool{false}}},
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
		l.Timesteps, l.Milliseconds, l.Driven = append(l.Timesteps, i), append(l.Milliseconds, float64(10*i)),
			append(l.Driven, true)
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
