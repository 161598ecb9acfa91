package main

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

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
	// FirstDriven is -1 if the layer never is.
	FirstDriven   int `json:"first_driven_timestep"`
	FirstDrivenMS int `json:"first_driven_ms"`
	ReportedFrom  int `json:"reported_from_timestep"`
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
		layer := timelineLayer{Name: l.Name, FirstDriven: p.ImageOn() + l.DrivenFrom, ReportedFrom: l.ReportedFrom}
		layer.FirstDrivenMS = layer.FirstDriven * tfconvrnn.MillisecondsPerTimestep
		if layer.FirstDriven >= times {
			layer.FirstDriven, layer.FirstDrivenMS = -1, -1
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
		if l.FirstDriven >= 0 {
			row = row[:l.FirstDriven] + strings.Repeat("=", t.Times-l.FirstDriven)
			note = fmt.Sprintf("driven from timestep %d, %d ms", l.FirstDriven, l.FirstDrivenMS)
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

// draw returns the timeline as a PNG.
func (t *timeline) draw() ([]byte, error) {
	p := plot.New()
	p.Title.Text = t.Model
	p.X.Label.Text = "ms, " + t.Presentation
	const ms = tfconvrnn.MillisecondsPerTimestep
	rows := len(t.Layers) + 1
	bar := func(row, from, to int, fill color.Color) error {
		y := float64(rows - 1 - row)
		polygon, err := plotter.NewPolygon(plotter.XYs{
			{X: float64(from * ms), Y: y - 0.35}, {X: float64(to * ms), Y: y - 0.35}, {X: float64(to * ms), Y: y + 0.35}, {X: float64(from * ms), Y: y + 0.35},
		})
		if err != nil {
			return err
		}
		polygon.Color, polygon.LineStyle.Width = fill, 0
		p.Add(polygon)
		return nil
	}
	ticks := make([]plot.Tick, rows)
	ticks[0] = plot.Tick{Value: float64(rows - 1), Label: "stimulus"}
	for from := 0; from < t.Times; {
		to := from
		for to < t.Times && t.Shown[to] == t.Shown[from] {
			to++
		}
		fill := timelineIdle
		switch {
		case t.Shown[from] >= 0 && t.Shown[from]%2 == 0:
			fill = timelineImage
		case t.Shown[from] >= 0:
			fill = timelineSecond
		}
		if err := bar(0, from, to, fill); err != nil {
			return nil, err
		}
		from = to
	}
	for i, l := range t.Layers {
		ticks[i+1] = plot.Tick{Value: float64(rows - 2 - i), Label: l.Name}
		driven := l.FirstDriven
		if driven < 0 {
			driven = t.Times
		}
		if driven > 0 {
			if err := bar(i+1, 0, driven, timelineIdle); err != nil {
				return nil, err
			}
		}
		if driven < t.Times {
			if err := bar(i+1, driven, t.Times, timelineDriven); err != nil {
				return nil, err
			}
		}
	}
	p.Y.Tick.Marker = plot.ConstantTicks(ticks)
	p.X.Min, p.X.Max = 0, float64(t.Milliseconds)
	p.Y.Min, p.Y.Max = -0.6, float64(rows)-0.4
	writer, err := p.WriterTo(18*vg.Centimeter, vg.Length(rows)*0.7*vg.Centimeter+3*vg.Centimeter, "png")
	if err != nil {
		return nil, err
	}
	var data bytes.Buffer
	_, err = writer.WriteTo(&data)
	return data.Bytes(), err
}
