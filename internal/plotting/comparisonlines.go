package plotting

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/tfconvrnn/go/compare"
)

const (
	linesWidth  = vg.Length(300) // of a panel
	linesHeight = vg.Length(230)
	legendWidth = vg.Length(130)
)

// overTime draws scores over time beside ceiled ones, or, at one time, of each layer.
func (c *comparison) overTime() (*Figure, error) {
	if c.both || c.Analysis == "best" {
		return nil, fmt.Errorf("%w: scores of several times of features for each bin are a matrix", ErrImpossible)
	}
	ceilings := c.Analysis == "ceiling"
	shared := c.sharedCeiling()
	panels := []scorePanel{{label: "score", score: func(s *compare.ResultScore) (v, e float64) {
		return float64(s.Score), float64(s.Error)
	}, band: shared}}
	ceiled := slices.ContainsFunc(c.Scores, func(s compare.ResultScore) bool { return !math.IsNaN(float64(s.Ceiled)) })
	switch {
	case ceilings:
		panels[0] = scorePanel{label: "ceiling", score: func(s *compare.ResultScore) (v, e float64) {
			return float64(s.Ceiling), valueOf(s.CeilingError)
		}}
	case ceiled:
		panels = append(panels, scorePanel{label: "ceiled score", score: func(s *compare.ResultScore) (v, e float64) {
			return float64(s.Ceiled), math.NaN()
		}, one: true})
	}
	f := &Figure{Title: "Scores over time", width: vg.Length(len(panels))*linesWidth + legendWidth, height: linesHeight,
		Caption: "Lines are scores, with their errors; a score is at the middle of the bin of responses."}
	legend := vg.Length(legendWidth)
	if len(c.bins) == 1 {
		f.Title, f.Caption, legend = "Scores of layers", "Dots are scores, with their errors.", 0
		f.width -= legendWidth
	}
	if ceilings {
		f.Title = "Ceilings"
	} else if shared {
		f.Caption += c.ceilingCaption()
	} else {
		f.Caption += " The lines have ceilings of their own, which only the ceiled scores show."
	}
	f.body = func(canvas draw.Canvas, st *styles) {
		plots := make([]*plot.Plot, len(panels))
		for k := range panels {
			plots[k] = panels[k].plot(c, st)
		}
		tiles := draw.Tiles{Rows: 1, Cols: len(panels), PadX: 16, PadTop: 6}
		area := draw.Crop(canvas, 0, -legend, 0, 0)
		for k, panel := range plot.Align([][]*plot.Plot{plots}, tiles, area)[0] {
			plots[k].Draw(panel)
		}
		if len(c.bins) > 1 {
			c.legend(draw.Crop(canvas, canvas.Size().X-legendWidth+14, 0, 0, 0), st)
		}
	}
	return f, nil
}

// scorePanel is one panel of scores.
type scorePanel struct {
	label     string
	score     func(s *compare.ResultScore) (value, err float64)
	band, one bool // the ceiling; a line at 1
}

// at is where a score of a series is along the axis.
func (c *comparison) at(series int, s *compare.ResultScore) float64 {
	if len(c.bins) == 1 {
		return float64(series)
	}
	return middle(s)
}

func (p scorePanel) plot(c *comparison, st *styles) *plot.Plot {
	var values []float64
	from, to := math.Inf(1), math.Inf(-1)
	for k, line := range c.series {
		for _, s := range line.scores {
			v, e := p.score(s)
			if values = append(values, v); !math.IsNaN(e) {
				values = append(values, v-e, v+e)
			}
			if lo, hi := ceilingBand(s); p.band {
				values = append(values, lo, hi)
			}
			from, to = min(from, c.at(k, s)), max(to, c.at(k, s))
		}
	}
	if p.one {
		values = append(values, 1)
	}
	room := 0.03 * (to - from)
	axes := timeAxes{from: from - room, to: to + room, ylabel: p.label, xlabel: len(c.bins) > 1}
	axes.lo, axes.hi = limitsOf(values...)
	if len(c.bins) == 1 {
		axes.from, axes.to = -0.5, float64(len(c.series))-0.5
	}
	plotted := newTimePlot(axes, nil, st)
	if len(c.bins) == 1 {
		c.nameSeries(plotted)
	}
	if p.band {
		c.addBand(plotted)
	}
	if p.one {
		plotted.Add(level{1})
	}
	for k, line := range c.series {
		for _, part := range c.parts(k, line, p.score) {
			plotted.Add(errorBars{part.x, part.y, part.e, seriesColor(k, len(c.series))})
			_ = addLine(plotted, part.x, part.y, seriesColor(k, len(c.series)), nil) // all values are finite
		}
	}
	return plotted
}

// nameSeries has the axis name the series.
func (c *comparison) nameSeries(p *plot.Plot) {
	p.X.Tick.Marker = plot.TickerFunc(func(float64, float64) []plot.Tick {
		var ticks []plot.Tick
		for k, s := range c.series {
			ticks = append(ticks, plot.Tick{Value: float64(k), Label: shorten(s.name, p.X.Tick.Label, 90, true) + " "})
		}
		return ticks
	})
	if len(c.series) > 5 {
		p.X.Tick.Label.Rotation, p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = math.Pi/2, text.XRight, text.YCenter
	}
}

// run is a piece of a line without gaps.
type run struct{ x, y, e []float64 }

// parts are the pieces of a line; it is broken where there is no score.
func (c *comparison) parts(series int, line series, score func(s *compare.ResultScore) (value, err float64)) []run {
	var parts []run
	open := false
	for _, s := range line.scores {
		v, e := score(s)
		if math.IsNaN(v) {
			open = false
			continue
		}
		if !open {
			parts, open = append(parts, run{}), true
		}
		last := &parts[len(parts)-1]
		last.x, last.y, last.e = append(last.x, c.at(series, s)), append(last.y, v), append(last.e, e)
	}
	return parts
}

// addBand adds the ceiling: that of the first series that has one at each place.
func (c *comparison) addBand(p *plot.Plot) {
	type place struct{ lo, hi float64 }
	places := map[float64]place{}
	for k, line := range c.series {
		for _, s := range line.scores {
			if lo, hi := ceilingBand(s); !math.IsNaN(lo) && !math.IsNaN(hi) {
				if _, known := places[c.at(k, s)]; !known {
					places[c.at(k, s)] = place{lo, hi}
				}
			}
		}
	}
	var x []float64
	for at := range places {
		x = append(x, at)
	}
	slices.Sort(x)
	b := band{color: color.NRGBA{0x88, 0x88, 0x88, 0x48}}
	for _, at := range x {
		lo, hi := places[at].lo, places[at].hi
		if least := (p.Y.Max - p.Y.Min) / 150; hi-lo < least { // to be seen
			lo, hi = (lo+hi-least)/2, (lo+hi+least)/2
		}
		b.x, b.lo, b.hi = append(b.x, at), append(b.lo, lo), append(b.hi, hi)
	}
	if len(c.bins) == 1 || len(b.x) == 1 { // steps
		wide := band{color: b.color}
		half := 0.5
		if len(c.bins) > 1 {
			half = (p.X.Max - p.X.Min) / 2
		}
		for i, at := range b.x {
			wide.x = append(wide.x, at-half, at+half)
			wide.lo, wide.hi = append(wide.lo, b.lo[i], b.lo[i]), append(wide.hi, b.hi[i], b.hi[i])
		}
		b = wide
	}
	p.Add(b)
}

// sharedCeiling tells whether all scores of a time have the same ceiling, as those of several regions or consistencies
// do not.
func (c *comparison) sharedCeiling() bool {
	at := map[float64]compare.Number{}
	for i := range c.Scores {
		s := &c.Scores[i]
		if math.IsNaN(float64(s.Ceiling)) {
			continue
		}
		place := valueOf(s.TimeBinStart)
		if math.IsNaN(place) {
			place = -1
		}
		if known, there := at[place]; there && math.Abs(float64(known-s.Ceiling)) > 1e-9 {
			return false
		}
		at[place] = s.Ceiling
	}
	return true
}

// level is a dashed line across.
type level struct{ y float64 }

// Plot draws the line.
func (l level) Plot(c draw.Canvas, p *plot.Plot) {
	_, y := p.Transforms(&c)
	c.StrokeLine2(draw.LineStyle{Color: faint, Width: 0.8, Dashes: []vg.Length{3, 3}}, c.Min.X, y(l.y), c.Max.X, y(l.y))
}

// errorBars are vertical lines of ± e; NaN for none.
type errorBars struct {
	x, y, e []float64
	color   color.Color
}

// Plot draws the bars.
func (b errorBars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i, e := range b.e {
		if !math.IsNaN(e) {
			c.StrokeLine2(draw.LineStyle{Color: b.color, Width: 1}, x(b.x[i]), y(b.y[i]-e), x(b.x[i]), y(b.y[i]+e))
		}
	}
}

// legend names the series, from the top.
func (c *comparison) legend(canvas draw.Canvas, st *styles) {
	sty := st.tick
	sty.YAlign = draw.YCenter
	y := canvas.Max.Y - 12
	for k, s := range c.series {
		if y < canvas.Min.Y+6 {
			canvas.FillText(sty, vg.Point{X: canvas.Min.X, Y: y}, fmt.Sprintf("… and %d more", len(c.series)-k))
			return
		}
		canvas.StrokeLine2(draw.LineStyle{Color: seriesColor(k, len(c.series)), Width: 2}, canvas.Min.X, y,
			canvas.Min.X+16, y)
		name := s.name
		if name == "" {
			name = "all neuroids"
		}
		canvas.FillText(sty, vg.Point{X: canvas.Min.X + 21, Y: y}, shorten(name, sty, canvas.Size().X-22, true))
		y -= 13
	}
}

// points draws predicted against measured values.
func (c *comparison) points() (*Figure, error) {
	var shown []*compare.ResultScore
	for _, line := range c.series { // the best time of each
		var best *compare.ResultScore
		for _, s := range line.scores {
			if s.Points != nil && len(s.Points.Measured) > 0 && (best == nil || s.Score > best.Score) {
				best = s
			}
		}
		if best != nil {
			shown = append(shown, best)
		}
	}
	if len(shown) == 0 {
		return nil, fmt.Errorf("%w: no single solution times or d′ are in it", ErrImpossible)
	}
	shown = shown[:min(len(shown), 12)]
	columns := min(len(shown), 3)
	rows := (len(shown) + columns - 1) / columns
	title, what, caption := "Object solution times",
		"time (ms)", "Each dot is an image that both solve; the model's time is the mean over the splits that test on it. The line is where both are equal."
	if c.Analysis == "behaviour" {
		title, what, caption = "Behavioural d′",
			"d′", "Each dot is an image, or an image and a distractor; the people's d′ is of all trials, so that r is higher than the score, which is of one half."
	}
	f := &Figure{Title: title, Caption: caption + " Of each layer the time with the best score.",
		width: max(vg.Length(columns)*230, 320), height: vg.Length(rows) * 225}
	f.body = func(canvas draw.Canvas, st *styles) {
		grid := make([][]*plot.Plot, rows)
		for r := range grid {
			grid[r] = make([]*plot.Plot, columns)
			for k := range grid[r] {
				if i := r*columns + k; i < len(shown) {
					grid[r][k] = scatter(shown[i].Points, what, c.Analysis == "ost", st)
				}
			}
		}
		const title = 30
		for r, canvases := range plot.Align(grid, draw.Tiles{Rows: rows, Cols: columns, PadX: 18, PadY: title, PadTop: title},
			canvas) {
			for k, panel := range canvases {
				if grid[r][k] == nil {
					continue
				}
				grid[r][k].Draw(panel)
				s, data := shown[r*columns+k], grid[r][k].DataCanvas(panel)
				sty := st.panel
				sty.YAlign = draw.YBottom
				name := strings.TrimSpace(s.Layer + " " + s.Consistency)
				if s.TimeBinStart != nil {
					name += fmt.Sprintf(", %s–%s ms", number(valueOf(s.TimeBinStart)), number(valueOf(s.TimeBinEnd)))
				}
				canvas.FillText(sty, vg.Point{X: data.Min.X, Y: data.Max.Y + 16}, shorten(name, sty, data.Size().X, false))
				note := st.note
				note.YAlign = draw.YBottom
				canvas.FillText(note, vg.Point{X: data.Min.X, Y: data.Max.Y + 4},
					fmt.Sprintf("score %s, n = %d", number(float64(s.Score)), len(s.Points.Measured)))
			}
		}
	}
	return f, nil
}

// scatter is a panel of points, with equal axes if that is asked for.
func scatter(points *compare.Points, what string, equal bool, st *styles) *plot.Plot {
	xy := make(plotter.XYs, len(points.Measured))
	var measured, predicted []float64
	for i := range xy {
		xy[i] = plotter.XY{X: float64(points.Measured[i]), Y: float64(points.Predicted[i])}
		measured, predicted = append(measured, xy[i].X), append(predicted, xy[i].Y)
	}
	axes := timeAxes{ylabel: "model's " + what}
	if equal {
		measured = append(measured, predicted...)
		predicted = measured
	}
	axes.from, axes.to = limitsOf(measured...)
	axes.lo, axes.hi = limitsOf(predicted...)
	p := newTimePlot(axes, nil, st)
	p.X.Label.Text = "measured " + what
	if dots, err := plotter.NewScatter(xy); err == nil { // else a value is not finite
		dots.GlyphStyle = draw.GlyphStyle{Color: color.NRGBA{0x00, 0x72, 0xB2, 0x90}, Radius: 1.8, Shape: draw.CircleGlyph{}}
		if equal {
			p.Add(diagonal{})
		}
		p.Add(dots)
	}
	return p
}

// diagonal is where both axes are equal.
type diagonal struct{}

// Plot draws the line.
func (diagonal) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	lo, hi := max(p.X.Min, p.Y.Min), min(p.X.Max, p.Y.Max)
	c.StrokeLine2(draw.LineStyle{Color: faint, Width: 0.8, Dashes: []vg.Length{3, 3}}, x(lo), y(lo), x(hi), y(hi))
}
