package main

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

func newPresentation() *cobra.Command {
	return group("presentation", "Show how stimuli are presented", newPresentationShow())
}

type presentationShow struct {
	presentationFlags
	model  string
	frames int
	png    string
	force  bool
	asJSON bool
}

func newPresentationShow() *cobra.Command {
	p := &presentationShow{}
	cmd := &cobra.Command{
		Use:   "show --model MODEL [flags]",
		Short: "Draw a presentation's timeline, with each layer's first driven timestep",
		Long: `Draw a presentation's timeline: a row for the stimulus, and one for each layer that
shows from which timestep on the stimulus can have reached it. Before that a layer
responds to nothing but the blank and the zeros that the network starts from.

  #  the image is shown (1, 2, 3, … for the images of a sequence)
  .  the blank is shown; the layer is not yet driven
  =  the layer is driven`,
		Example: `  ` + program + ` presentation show --model ugrnn_intermediate --presentation neural
  ` + program + ` presentation show --model rgc_shallow --on-ms 0,200 --off-ms 100,300 --total-ms 400 --png timeline.png`,
		Args: usageArgs(cobra.NoArgs),
		RunE: p.run,
	}
	p.presentationFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&p.model, "model", "", "name of the `MODEL`; see \""+program+" models\"")
	flags.IntVar(&p.frames, "images", 0, "number of images of the sequence that is drawn with --frames-per-image (default: as many as can be seen)")
	flags.StringVar(&p.png, "png", "", "draw the timeline to a PNG `FILE` too")
	flags.BoolVar(&p.force, "force", false, "replace an existing file")
	addJSON(cmd, &p.asJSON)
	_ = cmd.RegisterFlagCompletionFunc("model", completeModels)
	return cmd
}

// timeline is what presentation show prints.
type timeline struct {
	Model        string          `json:"model"`
	Presentation string          `json:"presentation"`
	Times        int             `json:"times"`
	Milliseconds int             `json:"milliseconds"`
	Shown        []int           `json:"shown"` // the image shown at each timestep, from 0, or -1 for the blank
	Layers       []timelineLayer `json:"layers"`

	sequence bool
}

type timelineLayer struct {
	Name string `json:"name"`
	// FirstDriven is nil if the layer never is.
	FirstDriven   *int `json:"first_driven_timestep"`
	FirstDrivenMS *int `json:"first_driven_ms"`
	ReportedFrom  int  `json:"reported_from_timestep"`
}

func (p *presentationShow) run(cmd *cobra.Command, _ []string) error {
	flags := modelFlags{model: p.model}
	model, err := flags.lookup()
	if err != nil {
		return err
	}
	shown, err := p.presentation(cmd, model, tfconvrnn.Preprocessing{})
	if err != nil {
		return err
	}
	if p.frames < 0 {
		return usagef("--images %d: a sequence has at least 1 image", p.frames)
	}
	if p.png != "" {
		if err := checkFileName("--png", p.png, "timeline.png"); err != nil {
			return err
		}
		if err := checkOutput(p.png, p.force); err != nil {
			return err
		}
	}
	t := newTimeline(model, shown, p.frames)
	if p.png != "" {
		data, err := t.draw()
		if err != nil {
			return err
		}
		if err := atomicfile.Write(p.png, data); err != nil {
			return err
		}
	}
	if p.asJSON {
		return printJSON(cmd.OutOrStdout(), t)
	}
	return t.print(cmd.OutOrStdout())
}

func newTimeline(model savedmodels.Model, p tfconvrnn.Presentation, frames int) *timeline {
	times := p.Times(model)
	t := &timeline{
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
		layer := timelineLayer{Name: l.Name, ReportedFrom: l.ReportedFrom}
		if first := p.ImageOn() + l.DrivenFrom; first < times {
			ms := first * tfconvrnn.MillisecondsPerTimestep
			layer.FirstDriven, layer.FirstDrivenMS = &first, &ms
		}
		t.Layers = append(t.Layers, layer)
	}
	return t
}

func (t *timeline) print(out io.Writer) error {
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

func (t *timeline) stimulusRow() string {
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
	timelineImage  = color.RGBA{0x1f, 0x4e, 0x79, 0xff}
	timelineSecond = color.RGBA{0x5b, 0x9b, 0xd5, 0xff}
	timelineDriven = color.RGBA{0xc0, 0x56, 0x21, 0xff}
	timelineIdle   = color.RGBA{0xe7, 0xe6, 0xe6, 0xff}
)

// timelineText is without serifs, as in the other figures.
func timelineText(size vg.Length, c color.Color) text.Style {
	return text.Style{Color: c, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}, YAlign: draw.YCenter, Handler: plot.DefaultTextHandler}
}

// draw returns the timeline as a PNG.
func (t *timeline) draw() ([]byte, error) {
	p := plot.New()
	ink := color.Gray{0x22}
	p.Title.Text, p.Title.TextStyle, p.Title.Padding = t.Model+": "+t.Presentation, timelineText(11, ink), 8
	p.Title.TextStyle.XAlign = draw.XCenter
	p.X.Label.Text, p.X.Label.TextStyle = "time (ms)", timelineText(10, ink)
	p.X.Label.TextStyle.XAlign = draw.XCenter
	p.X.Tick.Label.Font, p.Y.Tick.Label.Font = timelineText(9, ink).Font, timelineText(10, ink).Font
	const ms = tfconvrnn.MillisecondsPerTimestep
	rows := len(t.Layers) + 1
	var inside, before, dark []barLabel
	bar := func(row, from, to int, fill color.Color, label string) error {
		if from == to {
			return nil
		}
		y := float64(rows - 1 - row)
		polygon, err := plotter.NewPolygon(plotter.XYs{
			{X: float64(from * ms), Y: y - 0.35}, {X: float64(to * ms), Y: y - 0.35}, {X: float64(to * ms), Y: y + 0.35}, {X: float64(from * ms), Y: y + 0.35},
		})
		if err != nil {
			return err
		}
		polygon.Color, polygon.LineStyle.Width = fill, 0
		p.Add(polygon)
		l := barLabel{plotter.XY{X: float64(from * ms), Y: y}, label}
		if fill == timelineIdle {
			dark = append(dark, l)
			return nil
		}
		// About 90 characters fit across.
		if room := 90 * (to - from) / t.Times; utf8.RuneCountInString(label) < room {
			inside = append(inside, l)
		} else if row > 0 {
			before = append(before, l)
		}
		return nil
	}
	ticks := make([]plot.Tick, rows)
	ticks[0] = plot.Tick{Value: float64(rows - 1), Label: "stimulus"}
	for from := 0; from < t.Times; {
		to := from
		for to < t.Times && t.Shown[to] == t.Shown[from] {
			to++
		}
		fill, label := timelineIdle, ""
		if shown := t.Shown[from]; shown >= 0 {
			if fill, label = timelineImage, fmt.Sprintf("%d … %d ms", from*ms, to*ms); t.sequence {
				if label = strconv.Itoa(shown + 1); shown%2 == 1 {
					fill = timelineSecond
				}
			}
		}
		if err := bar(0, from, to, fill, label); err != nil {
			return nil, err
		}
		from = to
	}
	for i, l := range t.Layers {
		ticks[i+1] = plot.Tick{Value: float64(rows - 2 - i), Label: l.Name}
		driven, label, never := t.Times, "", "never driven"
		if l.FirstDriven != nil {
			driven, label, never = *l.FirstDriven, fmt.Sprintf("driven from %d ms, timestep %d", *l.FirstDrivenMS, *l.FirstDriven), ""
		}
		if err := bar(i+1, 0, driven, timelineIdle, never); err != nil {
			return nil, err
		}
		if err := bar(i+1, driven, t.Times, timelineDriven, label); err != nil {
			return nil, err
		}
	}
	for _, labels := range []struct {
		of    []barLabel
		style text.Style
		align text.XAlignment
		shift vg.Length
	}{{inside, timelineText(9, color.White), draw.XLeft, 4}, {dark, timelineText(9, ink), draw.XLeft, 4}, {before, timelineText(9, ink), draw.XRight, -4}} {
		drawn, err := newBarLabels(labels.of)
		if err != nil {
			return nil, err
		}
		for i := range drawn.TextStyle {
			drawn.TextStyle[i] = labels.style
			drawn.TextStyle[i].XAlign = labels.align
		}
		drawn.Offset.X = labels.shift
		p.Add(drawn)
	}
	p.Y.Tick.Marker, p.Y.Tick.Length, p.Y.LineStyle.Width = plot.ConstantTicks(ticks), 0, 0
	p.X.Tick.Marker = plot.ConstantTicks(millisecondTicks(t.Milliseconds))
	p.X.Min, p.X.Max = 0, float64(t.Milliseconds)
	p.Y.Min, p.Y.Max = -0.6, float64(rows)-0.4
	return renderPNG(p, 18*vg.Centimeter, vg.Length(rows)*0.7*vg.Centimeter+3*vg.Centimeter)
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
