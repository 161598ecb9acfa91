// Package timeline draws how stimuli are presented: a row for the stimulus, and one for each
// layer that shows from which timestep on the stimulus can have reached it.
package timeline

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// A Timeline says what is shown at every timestep, and from when on it drives each layer.
type Timeline struct {
	Model        string  `json:"model"`
	Presentation string  `json:"presentation"`
	Times        int     `json:"times"`
	Milliseconds int     `json:"milliseconds"`
	Shown        []int   `json:"shown"` // the image shown at each timestep, from 0, or -1 for the blank
	Layers       []Layer `json:"layers"`

	sequence bool
}

// A Layer is a row of a timeline.
type Layer struct {
	Name string `json:"name"`
	// FirstDriven is nil if the layer never is.
	FirstDriven   *int `json:"first_driven_timestep"`
	FirstDrivenMS *int `json:"first_driven_ms"`
	ReportedFrom  int  `json:"reported_from_timestep"`
}

// New returns the timeline of a resolved presentation for a model. Frames is the number of images of the
// sequence that is drawn, 0 for as many as can be seen.
func New(model savedmodels.Model, p tfconvrnn.Presentation, frames int) *Timeline {
	times := p.Times(model)
	t := &Timeline{
		Model: model.Name, Presentation: p.String(), Times: times, Milliseconds: times * tfconvrnn.MillisecondsPerTimestep,
		sequence: p.TimestepsPerFrame() > 0,
	}
	if frames == 0 {
		if frames = 1; t.sequence {
			frames = times
		}
	}
	t.Shown = p.Schedule(frames)
	for _, l := range model.Layers {
		layer := Layer{Name: l.Name, ReportedFrom: l.ReportedFrom}
		if first := p.ImageOn() + l.DrivenFrom; first < times {
			ms := first * tfconvrnn.MillisecondsPerTimestep
			layer.FirstDriven, layer.FirstDrivenMS = &first, &ms
		}
		t.Layers = append(t.Layers, layer)
	}
	return t
}

// Print writes the timeline as text, a character for each timestep.
func (t *Timeline) Print(out io.Writer) error {
	fmt.Fprintf(out, "%s, %s: %d timesteps, %d ms\n\n", t.Model, t.Presentation, t.Times, t.Milliseconds)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	ruler := strings.Builder{}
	for step := 0; step < t.Times; step += 10 {
		fmt.Fprintf(&ruler, "%-10s", fmt.Sprintf("|%d", step*tfconvrnn.MillisecondsPerTimestep))
	}
	fmt.Fprintf(table, "ms\t%s\n", strings.TrimRight(ruler.String(), " "))
	fmt.Fprintf(table, "stimulus\t%s\n", t.stimulusRow())
	for _, l := range t.Layers {
		row, note := strings.Repeat(".", t.Times), "never driven"
		if l.FirstDriven != nil {
			row = row[:*l.FirstDriven] + strings.Repeat("=", t.Times-*l.FirstDriven)
			note = fmt.Sprintf("driven from timestep %d, %d ms", *l.FirstDriven, *l.FirstDrivenMS)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", l.Name, row, note)
	}
	return table.Flush()
}

func (t *Timeline) stimulusRow() string {
	row := strings.Builder{}
	for _, frame := range t.Shown {
		switch {
		case frame < 0:
			row.WriteByte('.')
		case t.sequence:
			row.WriteByte("123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[frame%61])
		default:
			row.WriteByte('#')
		}
	}
	return row.String()
}

// Colours that are told apart in grey, too.
var (
	imageColor  = color.RGBA{0x1f, 0x4e, 0x79, 0xff}
	secondColor = color.RGBA{0x5b, 0x9b, 0xd5, 0xff}
	drivenColor = color.RGBA{0xc0, 0x56, 0x21, 0xff}
	idleColor   = color.RGBA{0xe7, 0xe6, 0xe6, 0xff}
)

// textStyle is without serifs, as in the other figures.
func textStyle(size vg.Length, c color.Color) text.Style {
	return text.Style{Color: c, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}, YAlign: draw.YCenter,
		Handler: plot.DefaultTextHandler}
}

// PNG returns the timeline as a picture.
func (t *Timeline) PNG() ([]byte, error) {
	p := plot.New()
	ink := color.Gray{0x22}
	p.Title.Text, p.Title.TextStyle, p.Title.Padding = t.Model+": "+t.Presentation, textStyle(11, ink), 8
	p.Title.TextStyle.XAlign = draw.XCenter
	p.X.Label.Text, p.X.Label.TextStyle = "time (ms)", textStyle(10, ink)
	p.X.Label.TextStyle.XAlign = draw.XCenter
	p.X.Tick.Label.Font, p.Y.Tick.Label.Font = textStyle(9, ink).Font, textStyle(10, ink).Font
	rows := len(t.Layers) + 1
	d := &drawing{Timeline: t, plot: p, rows: rows}
	ticks, err := d.bars()
	if err != nil {
		return nil, err
	}
	if err := d.labels(ink); err != nil {
		return nil, err
	}
	p.Y.Tick.Marker, p.Y.Tick.Length, p.Y.LineStyle.Width = plot.ConstantTicks(ticks), 0, 0
	p.X.Tick.Marker = plot.ConstantTicks(millisecondTicks(t.Milliseconds))
	p.X.Min, p.X.Max = 0, float64(t.Milliseconds)
	p.Y.Min, p.Y.Max = -0.6, float64(rows)-0.4
	return renderPNG(p, 18*vg.Centimeter, vg.Length(rows)*0.7*vg.Centimeter+3*vg.Centimeter)
}

// A drawing is a plot that is being filled: bars, with their labels in a bar, before it,
// or dark in one that is pale.
type drawing struct {
	*Timeline
	plot                 *plot.Plot
	rows                 int
	inside, before, dark []barLabel
}

const ms = tfconvrnn.MillisecondsPerTimestep

// bar adds a bar from one timestep to before another.
func (d *drawing) bar(row, from, to int, fill color.Color, label string) error {
	if from == to {
		return nil
	}
	y := float64(d.rows - 1 - row)
	polygon, err := plotter.NewPolygon(plotter.XYs{
		{X: float64(from * ms), Y: y - 0.35}, {X: float64(to * ms), Y: y - 0.35}, {X: float64(to * ms), Y: y + 0.35},
		{X: float64(from * ms), Y: y + 0.35},
	})
	if err != nil {
		return err
	}
	polygon.Color, polygon.LineStyle.Width = fill, 0
	d.plot.Add(polygon)
	l := barLabel{plotter.XY{X: float64(from * ms), Y: y}, label}
	if fill == idleColor {
		d.dark = append(d.dark, l)
		return nil
	}
	// About 90 characters fit across.
	if room := 90 * (to - from) / d.Times; utf8.RuneCountInString(label) < room {
		d.inside = append(d.inside, l)
	} else if row > 0 {
		d.before = append(d.before, l)
	}
	return nil
}

// bars adds the bars of all rows, and returns the rows' names.
func (d *drawing) bars() ([]plot.Tick, error) {
	ticks := make([]plot.Tick, d.rows)
	ticks[0] = plot.Tick{Value: float64(d.rows - 1), Label: "stimulus"}
	for from := 0; from < d.Times; {
		to := from
		for to < d.Times && d.Shown[to] == d.Shown[from] {
			to++
		}
		fill, label := idleColor, ""
		if shown := d.Shown[from]; shown >= 0 {
			if fill, label = imageColor, fmt.Sprintf("%d … %d ms", from*ms, to*ms); d.sequence {
				if label = strconv.Itoa(shown + 1); shown%2 == 1 {
					fill = secondColor
				}
			}
		}
		if err := d.bar(0, from, to, fill, label); err != nil {
			return nil, err
		}
		from = to
	}
	for i, l := range d.Layers {
		ticks[i+1] = plot.Tick{Value: float64(d.rows - 2 - i), Label: l.Name}
		driven, label, never := d.Times, "", "never driven"
		if l.FirstDriven != nil {
			driven, label, never = *l.FirstDriven, fmt.Sprintf("driven from %d ms, timestep %d", *l.FirstDrivenMS,
				*l.FirstDriven), ""
		}
		if err := d.bar(i+1, 0, driven, idleColor, never); err != nil {
			return nil, err
		}
		if err := d.bar(i+1, driven, d.Times, drivenColor, label); err != nil {
			return nil, err
		}
	}
	return ticks, nil
}

// labels adds the labels of the bars.
func (d *drawing) labels(ink color.Color) error {
	for _, labels := range []struct {
		of    []barLabel
		style text.Style
		align text.XAlignment
		shift vg.Length
	}{{d.inside, textStyle(9, color.White), draw.XLeft, 4}, {d.dark, textStyle(9, ink), draw.XLeft, 4},
		{d.before, textStyle(9, ink), draw.XRight, -4}} {
		drawn, err := newBarLabels(labels.of)
		if err != nil {
			return err
		}
		for i := range drawn.TextStyle {
			drawn.TextStyle[i] = labels.style
			drawn.TextStyle[i].XAlign = labels.align
		}
		drawn.Offset.X = labels.shift
		d.plot.Add(drawn)
	}
	return nil
}

// millisecondTicks are at whole numbers, about ten of them.
func millisecondTicks(total int) []plot.Tick {
	step := 10
	for _, candidate := range []int{20, 50, 100, 200, 500, 1000} {
		if total/step > 10 {
			step = candidate
		}
	}
	var ticks []plot.Tick
	for at := 0; at <= total; at += step {
		ticks = append(ticks, plot.Tick{Value: float64(at), Label: strconv.Itoa(at)})
	}
	return ticks
}

// barLabel is a text at the beginning of a bar.
type barLabel struct {
	at   plotter.XY
	text string
}

func newBarLabels(labels []barLabel) (*plotter.Labels, error) {
	var all plotter.XYLabels
	for _, l := range labels {
		all.XYs, all.Labels = append(all.XYs, l.at), append(all.Labels, l.text)
	}
	return plotter.NewLabels(all)
}

// renderPNG draws a plot with a margin, for labels reach to its edge.
func renderPNG(p *plot.Plot, width, height vg.Length) ([]byte, error) {
	canvas := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(144))}
	const margin = 8
	p.Draw(draw.Crop(draw.New(canvas), margin, -margin, margin, -margin))
	var data bytes.Buffer
	_, err := canvas.WriteTo(&data)
	return data.Bytes(), err
}
