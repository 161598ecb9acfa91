package evaluation

import (
	"encoding/csv"
	"fmt"
	"image/color"
	"io"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// WriteClasses writes the accuracy of each class as CSV, accuracies in percent. They
// are empty where no picture of a class could be read.
func (r *Result) WriteClasses(w io.Writer) error {
	table := csv.NewWriter(w)
	rows := [][]string{{"index", "wordnet_id", "name", "images", "top1", "top1_low", "top1_high", "top5", "top5_low",
		"top5_high"}}
	for _, c := range r.Classes {
		row := []string{strconv.Itoa(c.Index), c.WordNetID, c.Name(), strconv.Itoa(c.Top1.Images)}
		for _, p := range []Proportion{c.Top1, c.Top5} {
			for _, v := range []float64{p.Percent, p.Low, p.High} {
				if p.Images == 0 {
					row = append(row, "")
					continue
				}
				row = append(row, strconv.FormatFloat(v, 'f', 2, 64))
			}
		}
		rows = append(rows, row)
	}
	return table.WriteAll(rows)
}

// Plot draws accuracy as a function of time, with its confidence intervals and the
// published accuracies (in percent; 0 for none) as dashed lines, as a PNG. Grey is the
// time before an image can have reached the readout.
func (r *Result) Plot(w io.Writer, title string, publishedTop1, publishedTop5 float64) error {
	p := plot.New()
	p.Title.Text = title
	p.X.Label.Text = "time (ms)"
	p.Y.Label.Text = "accuracy (%)"
	p.Y.Min, p.Y.Max = 0, 100
	p.Legend.Top, p.Legend.Left = true, true
	if err := r.shadeUndriven(p); err != nil {
		return err
	}
	p.Add(plotter.NewGrid())
	curves := []struct {
		name      string
		published float64
		color     color.RGBA
		of        func(TimestepAccuracy) Proportion
	}{
		{"top-1", publishedTop1, color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff}, func(a TimestepAccuracy) Proportion {
			return a.Top1
		}},
		{"top-5", publishedTop5, color.RGBA{R: 0xd6, G: 0x5f, B: 0x0e, A: 0xff}, func(a TimestepAccuracy) Proportion {
			return a.Top5
		}},
	}
	for _, c := range curves {
		points := make(plotter.XYs, len(r.OverTime))
		bars := make(plotter.YErrors, len(r.OverTime))
		for i, a := range r.OverTime {
			proportion := c.of(a)
			points[i] = plotter.XY{X: float64(a.Milliseconds), Y: proportion.Percent}
			bars[i].Low, bars[i].High = proportion.Percent-proportion.Low, proportion.High-proportion.Percent
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return fmt.Errorf("drawing accuracy over time: %w", err)
		}
		line.Color, line.Width = c.color, vg.Points(1.5)
		intervals, err := plotter.NewYErrorBars(struct {
			plotter.XYs
			plotter.YErrors
		}{points, bars})
		if err != nil {
			return fmt.Errorf("drawing accuracy over time: %w", err)
		}
		intervals.Color = c.color
		p.Add(line, intervals)
		p.Legend.Add(c.name+" of the readout", line)
		if c.published > 0 && len(points) > 0 {
			dashed,
				err := plotter.NewLine(plotter.XYs{{X: points[0].X, Y: c.published}, {X: points[len(points)-1].X, Y: c.published}})
			if err != nil {
				return fmt.Errorf("drawing accuracy over time: %w", err)
			}
			dashed.Color, dashed.Dashes = c.color, []vg.Length{vg.Points(4), vg.Points(3)}
			p.Add(dashed)
			p.Legend.Add(c.name+" published", dashed)
		}
	}
	image, err := p.WriterTo(16*vg.Centimeter, 11*vg.Centimeter, "png")
	if err != nil {
		return err
	}
	_, err = image.WriteTo(w)
	return err
}

// shadeUndriven shades the time before the first driven timestep.
func (r *Result) shadeUndriven(p *plot.Plot) error {
	undriven := 0
	for undriven < len(r.OverTime) && !r.OverTime[undriven].Driven {
		undriven++
	}
	if undriven == 0 {
		return nil
	}
	const half = tfconvrnn.MillisecondsPerTimestep / 2.0
	from, to := float64(r.OverTime[0].Milliseconds)-half, float64(r.OverTime[undriven-1].Milliseconds)+half
	shade, err := plotter.NewPolygon(plotter.XYs{{X: from, Y: 0}, {X: to, Y: 0}, {X: to, Y: 100}, {X: from, Y: 100}})
	if err != nil {
		return fmt.Errorf("drawing accuracy over time: %w", err)
	}
	shade.Color, shade.LineStyle.Width = color.Gray{0xe8}, 0
	p.Add(shade)
	p.Legend.Add("not yet driven", shade)
	return nil
}
