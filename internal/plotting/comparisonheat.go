package plotting

import (
	"fmt"
	"image"
	stddraw "image/draw"
	"maps"
	"math"
	"slices"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/tfconvrnn/go/compare"
)

// heatMap is a table of values as colours, with names of rows and columns.
type heatMap struct {
	title         string
	rows, columns []string // rows from the top
	values        [][]float64
	xlabel        string
	ylabel        string
	// diagonal is the place of each column along the rows, NaN for none: where the times are equal.
	diagonal []float64
}

const (
	heatLabel  = vg.Length(62) // left of a map
	heatBelow  = vg.Length(30)
	heatTitle  = vg.Length(18)
	heatBar    = vg.Length(62)
	heatWidth  = vg.Length(210) // of the colours
	heatHeight = vg.Length(180)
)

// heatFigure draws maps beside and below each other, in the same colours.
func heatFigure(maps []heatMap, across int, label string) *Figure {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, m := range maps {
		for _, row := range m.values {
			for _, v := range row {
				if !math.IsNaN(v) {
					lo, hi = min(lo, v), max(hi, v)
				}
			}
		}
	}
	colors := sequentialMap()
	switch hi = niceCeil(hi); {
	case lo < 0:
		hi = max(hi, niceCeil(-lo))
		lo, colors = -hi, divergingMap()
	case lo > hi/2: // differences would not be seen from 0 on
		lo = min(math.Floor(lo*20)/20, hi-0.05)
	default:
		lo = 0
	}
	columns := min(across, len(maps))
	rows := (len(maps) + columns - 1) / columns
	wide, high := heatLabel+heatWidth+20, heatTitle+heatHeight+heatBelow+8
	f := &Figure{width: vg.Length(columns)*wide + heatBar, height: vg.Length(rows) * high}
	f.body = func(c draw.Canvas, st *styles) {
		for i, m := range maps {
			corner := vg.Point{X: c.Min.X + vg.Length(i%columns)*wide + heatLabel,
				Y: c.Max.Y - vg.Length(i/columns)*high - heatTitle}
			m.draw(c, vg.Rectangle{Min: vg.Point{X: corner.X, Y: corner.Y - heatHeight}, Max: vg.Point{X: corner.X + heatWidth,
				Y: corner.Y}}, colors, lo, hi, st)
		}
		x := c.Min.X + vg.Length(columns)*wide
		colorBar(c, vg.Rectangle{Min: vg.Point{X: x, Y: c.Max.Y - heatTitle - heatHeight},
			Max: vg.Point{X: x + 9, Y: c.Max.Y - heatTitle}}, colors, lo, hi, label, st)
	}
	return f
}

// draw draws the map into a rectangle, and its names beside it.
func (m *heatMap) draw(c draw.Canvas, r vg.Rectangle, colors colorMap, lo, hi float64, st *styles) {
	img := scaled(len(m.columns), len(m.rows), func(x, y int) float64 { return (m.values[y][x] - lo) / (hi - lo) }, colors)
	if _, raster := c.Canvas.(*vgimg.Canvas); raster {
		rgba := image.NewRGBA(img.Bounds())
		stddraw.Draw(rgba, rgba.Bounds(), img, img.Bounds().Min, stddraw.Src)
		img = rgba
	}
	c.DrawImage(r, img)
	strokeRect(c, r, draw.LineStyle{Color: faint, Width: 0.6})
	cell := vg.Point{X: r.Size().X / vg.Length(len(m.columns)), Y: r.Size().Y / vg.Length(len(m.rows))}
	at := func(column, row float64) vg.Point { // the middle of a cell
		return vg.Point{X: r.Min.X + cell.X*vg.Length(column+0.5), Y: r.Max.Y - cell.Y*vg.Length(row+0.5)}
	}
	title := st.panel
	title.YAlign = draw.YBottom
	c.FillText(title, vg.Point{X: r.Min.X, Y: r.Max.Y + 5}, shorten(m.title, title, r.Size().X, false))
	side, below := st.tick, st.tick
	side.XAlign, side.YAlign = text.XRight, text.YCenter
	below.XAlign, below.YAlign = text.XCenter, text.YTop
	for _, i := range stepped(len(m.rows), cell.Y, 11) {
		c.FillText(side, vg.Point{X: r.Min.X - 4, Y: at(0, float64(i)).Y}, shorten(m.rows[i], side, heatLabel-18, true))
	}
	for _, i := range stepped(len(m.columns), cell.X, 30) {
		c.FillText(below, vg.Point{X: at(float64(i), 0).X, Y: r.Min.Y - 3}, m.columns[i])
	}
	below.Font = st.label.Font
	c.FillText(below, vg.Point{X: (r.Min.X + r.Max.X) / 2, Y: r.Min.Y - 15}, m.xlabel)
	side = st.label
	side.Rotation, side.XAlign, side.YAlign = math.Pi/2, text.XCenter, text.YTop
	c.FillText(side, vg.Point{X: r.Min.X - heatLabel + 4, Y: (r.Min.Y + r.Max.Y) / 2}, m.ylabel)
	var line []vg.Point
	for column, row := range m.diagonal {
		if !math.IsNaN(row) {
			line = append(line, at(float64(column), row))
		}
	}
	if len(line) > 1 {
		c.StrokeLines(draw.LineStyle{Color: ink, Width: 0.8, Dashes: []vg.Length{3, 2}}, line)
	}
}

// stepped are places of so many cells of a size that are at least a distance apart, with the last one, which for rows
// is at the bottom.
func stepped(n int, size, apart vg.Length) []int {
	step := max(1, int(math.Ceil(float64(apart/size))))
	var list []int
	for i := n - 1; i >= 0; i -= step {
		list = append(list, i)
	}
	return list
}

func places(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func nothing(rows, columns int) [][]float64 {
	values := make([][]float64, rows)
	for i := range values {
		values[i] = slices.Repeat([]float64{math.NaN()}, columns)
	}
	return values
}

// shown is the value that maps show: ceiled, or the score where nothing is.
func (c *comparison) shown() (value func(s *compare.ResultScore) float64, label string) {
	for i := range c.Scores {
		if !math.IsNaN(float64(c.Scores[i].Ceiled)) {
			return func(s *compare.ResultScore) float64 { return float64(s.Ceiled) }, "ceiled score"
		}
	}
	return func(s *compare.ResultScore) float64 { return float64(s.Score) }, "score"
}

// layers draws layers × time.
func (c *comparison) layers() (*Figure, error) {
	switch {
	case c.both || c.Analysis == "best":
		return nil, fmt.Errorf("%w: scores of several times of features for each bin are a matrix", ErrImpossible)
	case len(c.series) < 2 || len(c.bins) < 2:
		return nil, fmt.Errorf("%w: %s and %s are no map", ErrImpossible, plural(len(c.series), "layer"),
			plural(len(c.bins), "bin"))
	}
	value, label := c.shown()
	m := heatMap{xlabel: "start of the bin of responses (ms)", values: nothing(len(c.series), len(c.bins))}
	for _, start := range c.bins {
		m.columns = append(m.columns, binText(start))
	}
	for i, k := range slices.Backward(places(len(c.series))) { // the deepest layer at the top
		row := len(c.series) - 1 - i
		m.rows = append(m.rows, c.series[k].name)
		for _, s := range c.series[k].scores {
			m.values[row][slices.Index(c.bins, valueOf(s.TimeBinStart))] = value(s)
		}
	}
	f := heatFigure([]heatMap{m}, 1, label)
	f.Title, f.Caption = "Layers over time",
		"Each row is a layer. Grey: no score, as before an image can have reached the layer."
	return f, nil
}

// matrix draws, for each layer, time of features × time of responses.
func (c *comparison) matrix() (*Figure, error) {
	if !c.both {
		return nil, fmt.Errorf("%w: responses are compared with features of one time only", ErrImpossible)
	}
	value, label := c.shown()
	var maps []heatMap
	for _, series := range c.series {
		feature := func(s *compare.ResultScore) float64 {
			if s.FeatureBinStart == nil {
				return valueOf(s.TimeBinStart)
			}
			return valueOf(s.FeatureBinStart)
		}
		var starts []float64
		for _, s := range series.scores {
			starts = append(starts, feature(s))
		}
		slices.Sort(starts)
		starts = slices.Compact(starts)
		slices.Reverse(starts)
		m := heatMap{title: series.name, xlabel: "start of the bin of responses (ms)", ylabel: "of features (ms)",
			values: nothing(len(starts), len(c.bins))}
		for _, start := range starts {
			m.rows = append(m.rows, binText(start))
		}
		for _, start := range c.bins {
			m.columns = append(m.columns, binText(start))
			same := math.NaN()
			if at := slices.Index(starts, start); at >= 0 {
				same = float64(at)
			}
			m.diagonal = append(m.diagonal, same)
		}
		for _, s := range series.scores {
			m.values[slices.Index(starts, feature(s))][slices.Index(c.bins, valueOf(s.TimeBinStart))] = value(s)
		}
		maps = append(maps, m)
	}
	f := heatFigure(maps, 3, label)
	f.Title = "Generalisation over time"
	if c.Analysis == "rsa" {
		f.Title = "Similarity of dissimilarities over time"
	}
	f.Caption = "Features of each time (rows) against responses of each time (columns). Dashes: where the times are the same. Grey: no score, as before an image can have reached the layer."
	return f, nil
}

// between draws layers × layers, for each of at most nine times.
func (c *comparison) between() (*Figure, error) {
	var layers []string
	byBin := map[float64][]*compare.ResultScore{}
	none := math.Inf(-1) // for a result without time
	for i := range c.Scores {
		s := &c.Scores[i]
		if !slices.Contains(layers, s.Layer) {
			layers = append(layers, s.Layer)
		}
		start := none
		if s.TimeBinStart != nil {
			start = float64(*s.TimeBinStart)
		}
		if s.Reason == "" {
			byBin[start] = append(byBin[start], s)
		}
	}
	starts := slices.Sorted(maps.Keys(byBin))
	if len(starts) == 0 {
		return nil, fmt.Errorf("%w: no two layers are driven at the same time", ErrImpossible)
	}
	const most = 9
	if n := len(starts); n > most { // from the first to the last
		some := make([]float64, most)
		for i := range some {
			some[i] = starts[i*(n-1)/(most-1)]
		}
		starts = some
	}
	var drawn []heatMap
	for _, start := range starts {
		m := heatMap{rows: layers, columns: layers, values: nothing(len(layers), len(layers))}
		if start != none {
			m.title = binText(start) + " ms"
		}
		for _, s := range byBin[start] {
			m.values[slices.Index(layers, s.Layer)][slices.Index(layers, s.OtherLayer)] = float64(s.Score)
		}
		drawn = append(drawn, m)
	}
	f := heatFigure(drawn, 3, "similarity")
	f.Title = "Similarity of layers"
	f.Caption = "How similar the dissimilarities of stimuli are in two layers at the same time. Grey: a layer that an image cannot have reached."
	if c.Analysis == "cka" {
		f.Caption = "Centred kernel alignment of two layers at the same time. Grey: a layer that an image cannot have reached."
	}
	return f, nil
}

// best draws what was chosen for each region.
func (c *comparison) best() (*Figure, error) {
	if c.Analysis != "best" {
		return nil, fmt.Errorf("%w: nothing was chosen in it", ErrImpossible)
	}
	const rowHeight, left, right = vg.Length(30), vg.Length(150), vg.Length(70)
	f := &Figure{Title: "Best layer and time", width: 560, height: rowHeight*vg.Length(len(c.Scores)) + 34,
		Caption: "Blue: the score of the layer and time that most splits chose, by their training stimuli alone, ± its error; the number says how many splits did. " +
			"Open: the score where the choice is made on the stimuli that score, which is too high." + c.ceilingCaption()}
	var values []float64
	for i := range c.Scores {
		s := &c.Scores[i]
		lo, hi := ceilingBand(s)
		values = append(values, float64(s.Score), float64(s.Score)-orZero(s.Error), float64(s.Score)+orZero(s.Error),
			valueOf(s.NotNested), lo, hi)
	}
	lo, hi := limitsOf(values...)
	f.body = func(canvas draw.Canvas, st *styles) {
		x := func(v float64) vg.Length {
			return canvas.Min.X + left + (canvas.Size().X-left-right)*vg.Length((v-lo)/(hi-lo))
		}
		bottom := canvas.Min.Y + 30
		tick := st.tick
		tick.XAlign, tick.YAlign = text.XCenter, text.YTop
		marks, decimals := niceTicks(lo, hi, 6)
		for _, v := range marks {
			canvas.StrokeLine2(draw.LineStyle{Color: gridGrey, Width: 0.6}, x(v), bottom, x(v), canvas.Max.Y)
			canvas.FillText(tick, vg.Point{X: x(v), Y: bottom - 3}, tickText(v, decimals))
		}
		tick.Font = st.label.Font
		canvas.FillText(tick, vg.Point{X: (x(lo) + x(hi)) / 2, Y: bottom - 15}, "score")
		for i := range c.Scores {
			c.drawBest(canvas, &c.Scores[i], canvas.Max.Y-rowHeight*(vg.Length(i)+0.5), x, st)
		}
	}
	return f, nil
}

// orZero is a number, 0 for NaN.
func orZero(n compare.Number) float64 {
	if math.IsNaN(float64(n)) {
		return 0
	}
	return float64(n)
}

// drawBest draws one row.
func (c *comparison) drawBest(canvas draw.Canvas, s *compare.ResultScore, y vg.Length, x func(float64) vg.Length,
	st *styles) {
	if lo, hi := ceilingBand(s); !math.IsNaN(lo) && !math.IsNaN(hi) {
		fillRect(canvas, vg.Rectangle{Min: vg.Point{X: x(lo), Y: y - 11}, Max: vg.Point{X: max(x(hi), x(lo)+1), Y: y + 11}},
			missing)
	}
	name := st.panel
	name.YAlign = draw.YBottom
	canvas.FillText(name, vg.Point{X: canvas.Min.X, Y: y}, shorten(s.Region+"  "+s.Layer, name, 145, false))
	note := st.note
	note.YAlign = draw.YTop
	times := "no time"
	if s.TimeBinStart != nil {
		times = binText(valueOf(s.TimeBinStart)) + "–" + binText(valueOf(s.TimeBinEnd)) + " ms"
		if s.FeatureBinStart != nil {
			times += ", features' " + binText(valueOf(s.FeatureBinStart)) + "–" + binText(valueOf(s.FeatureBinEnd))
		}
	}
	canvas.FillText(note, vg.Point{X: canvas.Min.X, Y: y}, times)
	v, e := float64(s.Score), orZero(s.Error)
	if !math.IsNaN(v) {
		blue := palette8[0]
		if s.NotNested != nil {
			canvas.DrawGlyph(draw.GlyphStyle{Color: blue, Radius: 3.5, Shape: draw.RingGlyph{}},
				vg.Point{X: x(float64(*s.NotNested)), Y: y})
		}
		canvas.StrokeLine2(draw.LineStyle{Color: blue, Width: 1.2}, x(v-e), y, x(v+e), y)
		canvas.DrawGlyph(draw.GlyphStyle{Color: blue, Radius: 3, Shape: draw.CircleGlyph{}}, vg.Point{X: x(v), Y: y})
	}
	note.YAlign = draw.YCenter
	canvas.FillText(note, vg.Point{X: canvas.Max.X - 62, Y: y}, s.Chosen)
}
