package plotting

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// timeAxes are the axes of a plot over time, in ms.
type timeAxes struct {
	from, to float64 // ms
	lo, hi   float64
	ylabel   string
	xlabel   bool
}

// newTimePlot returns a plot over time with the episodes of the presentation as a
// bar at the top.
func newTimePlot(a timeAxes, episodes []Episode, st *styles) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.TextHandler = st.tick.Handler
	if a.to <= a.from {
		a.from, a.to = a.from-5, a.to+5
	}
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Padding = 0
		axis.LineStyle.Color, axis.LineStyle.Width = faint, 0.6
		axis.Tick.LineStyle = axis.LineStyle
		axis.Tick.Length = 3
		label, tick := axis.Label.TextStyle, axis.Tick.Label
		label.Font, label.Handler, label.Color = st.label.Font, st.label.Handler, st.label.Color
		tick.Font, tick.Handler, tick.Color = st.tick.Font, st.tick.Handler, st.tick.Color
		axis.Label.TextStyle, axis.Tick.Label = label, tick
		axis.Label.Padding = 3
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = a.from, a.to, a.lo, a.hi
	p.X.Tick.Marker = plot.TickerFunc(func(lo, hi float64) []plot.Tick { return ticksOf(lo, hi, 6) })
	p.Y.Tick.Marker = plot.TickerFunc(func(lo, hi float64) []plot.Tick { return ticksOf(lo, hi, 4) })
	if a.xlabel {
		p.X.Label.Text = "time (ms)"
	}
	p.Y.Label.Text = a.ylabel
	grid := plotter.NewGrid()
	grid.Horizontal = draw.LineStyle{Color: gridGrey, Width: 0.6}
	grid.Vertical = draw.LineStyle{}
	p.Add(grid, shownBar{episodes})
	return p
}

func ticksOf(lo, hi float64, n int) []plot.Tick {
	values, decimals := niceTicks(lo, hi, n)
	ticks := make([]plot.Tick, len(values))
	for i, v := range values {
		ticks[i] = plot.Tick{Value: v, Label: tickText(v, decimals)}
	}
	return ticks
}

// shownBar draws when images are shown, as a bar along the top edge.
type shownBar struct{ episodes []Episode }

// Plot draws the bar.
func (b shownBar) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	for _, e := range b.episodes {
		on, off := max(e.On, p.X.Min), min(e.Off, p.X.Max)
		if off > on {
			fillRect(c, vg.Rectangle{Min: vg.Point{X: x(on), Y: c.Max.Y}, Max: vg.Point{X: x(off), Y: c.Max.Y + 3}}, ink)
		}
	}
}

// notDriven shades the time before a layer is driven.
type notDriven struct {
	until float64 // ms
	style text.Style
}

// Plot draws the shade.
func (s notDriven) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	until := min(s.until, p.X.Max)
	if until <= p.X.Min {
		return
	}
	r := vg.Rectangle{Min: c.Min, Max: vg.Point{X: x(until), Y: c.Max.Y}}
	fillRect(c, r, shade)
	label := s.style
	label.XAlign, label.YAlign = text.XCenter, text.YTop
	if label.Width("not driven") < r.Size().X-4 {
		c.FillText(label, vg.Point{X: (r.Min.X + r.Max.X) / 2, Y: r.Max.Y - 3}, "not driven")
	}
}

// band fills the space between two lines.
type band struct {
	x, lo, hi []float64
	color     color.NRGBA
}

// Plot draws the band.
func (b band) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	var points []vg.Point
	for i := range b.x {
		points = append(points, vg.Point{X: x(b.x[i]), Y: y(b.hi[i])})
	}
	for i := len(b.x) - 1; i >= 0; i-- {
		points = append(points, vg.Point{X: x(b.x[i]), Y: y(b.lo[i])})
	}
	c.FillPolygon(b.color, c.ClipPolygonXY(points))
}

// addLine adds a line with a dot at each timestep.
func addLine(p *plot.Plot, x, y []float64, col color.Color, dashes []vg.Length) error {
	points := make(plotter.XYs, len(x))
	for i := range x {
		points[i] = plotter.XY{X: x[i], Y: y[i]}
	}
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	line.LineStyle = draw.LineStyle{Color: col, Width: 1.5, Dashes: dashes}
	dots.GlyphStyle = draw.GlyphStyle{Color: col, Radius: 1.5, Shape: draw.CircleGlyph{}}
	p.Add(line, dots)
	return nil
}

// drivenFrom returns the start in ms of the first driven timestep, -Inf where all
// are and +Inf where none is.
func (l *Layer) drivenFrom() float64 {
	for i, driven := range l.Driven {
		if driven {
			if i == 0 {
				return math.Inf(-1)
			}
			return l.Milliseconds[i]
		}
	}
	return math.Inf(1)
}

// timeRange returns the time that layers span, in ms, from where an image is
// first shown.
func (s *Source) timeRange(layers []*Layer) (from, to float64) {
	from, to = math.Inf(1), math.Inf(-1)
	for _, e := range s.about.Episodes {
		from = min(from, e.On)
	}
	if s.about.Sequence {
		from = min(from, s.about.onset)
	}
	for _, l := range layers {
		from = min(from, l.Milliseconds[0])
		to = max(to, l.Milliseconds[len(l.Milliseconds)-1])
	}
	return from, to
}
