package benchmark

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Report is what was measured of a model, and of which weights, as people asked for them.
type Report struct {
	Result
	WeightsFrom tfconvrnn.Weights `json:"weights"`
	Photographs *Photographs      `json:"photographs,omitempty"`
}

// contestantNames are what people read.
var contestantNames = map[string]string{
	LightCone:       "light cone",
	LightConeDirect: "light cone, direct",
	PlainPruned:     "plain, pruned",
	PlainEveryLayer: "plain, every layer",
}

func (r *Report) fetches() string {
	f := r.Fetches
	if len(f.Layers) == 0 {
		return "decoded logits"
	}
	text := strings.Join(f.Layers, ",")
	if info, err := savedmodels.Lookup(r.Model); err == nil && len(f.Layers) == len(info.Layers) {
		text = "all layers"
	}
	if f.AllTimesteps {
		text += " at all timesteps"
	}
	if f.Logits {
		text += " and logits"
	}
	return text
}

// about says what was measured, except the model.
func (r *Report) about() string {
	weights := "weights " + string(r.WeightsFrom)
	if r.Untrained {
		weights += " (untrained)"
	}
	return fmt.Sprintf("%s, %s, %s, batch %d, median of %s, %s", r.fetches(), r.Presentation,
		console.Plural(r.Times, "timestep"), r.Batch, console.Plural(r.Runs, "run"), weights)
}

func quartiles(s Spread) string {
	return fmt.Sprintf("%.2f (%.2f … %.2f)", s.Median, s.LowerQuartile, s.UpperQuartile)
}

// Print writes it for people to read.
func (r *Report) Print(out io.Writer) {
	fmt.Fprintf(out, "%s: %s\n%s\n", r.Model, r.about(), r.Machine)
	fmt.Fprintf(out, "GEMM peak %.0f GFLOP/s (%s, median %.0f)", r.Peak.GFLOPS,
		strings.ReplaceAll(fmt.Sprint(r.Peak.Shape), " ", ", "), r.Peak.MedianGFLOPS)
	if r.Peak.GFLOPPerCPUSecond > 0 {
		fmt.Fprintf(out, ", %.0f GFLOP per CPU second", r.Peak.GFLOPPerCPUSecond)
	}
	fmt.Fprintf(out, "\nmemory read at %.0f GB/s, ridge at %.0f FLOP per byte\n\n", r.Peak.MemoryGBPerSecond, r.Peak.Ridge)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name string, value func(c *Contestant) string) {
		fmt.Fprint(table, name)
		for i := range r.Contestants {
			fmt.Fprint(table, "\t", value(&r.Contestants[i]))
		}
		fmt.Fprintln(table)
	}
	row("", func(c *Contestant) string { return contestantNames[c.Name] })
	row("images/s", func(c *Contestant) string { return fmt.Sprintf("%.2f", c.ImagesPerSecond) })
	row("seconds per image", func(c *Contestant) string { return quartiles3(c.SecondsPerImage) })
	row("CPU seconds per image", func(c *Contestant) string { return quartiles3(c.CPUSecondsPerImage) })
	row("GMAC per image", func(c *Contestant) string { return fmt.Sprintf("%.2f", c.GMACPerImage) })
	row("GMAC once", func(c *Contestant) string { return fmt.Sprintf("%.2f", c.GMACOnce) })
	row("GFLOP/s", func(c *Contestant) string {
		return fmt.Sprintf("%.0f, %.0f %% of peak", c.GFLOPS, 100*c.OfPeak)
	})
	if r.Peak.GFLOPPerCPUSecond > 0 {
		row("GFLOP per CPU second", func(c *Contestant) string {
			return fmt.Sprintf("%.0f, %.0f %% of peak", c.GFLOPPerCPUSecond, 100*c.OfCPUPeak)
		})
	}
	measured := func(seconds func(f *FirstResult) float64) func(c *Contestant) string {
		return func(c *Contestant) string {
			if c.FirstResult == nil {
				return "-"
			}
			return fmt.Sprintf("%.2f s", seconds(c.FirstResult))
		}
	}
	row("first result", measured(func(f *FirstResult) float64 { return f.FromProcessStart }))
	row("first ever", measured(func(f *FirstResult) float64 { return f.WithoutKept }))
	row("other fetches", measured(func(f *FirstResult) float64 { return f.OtherFetches }))
	row("peak memory", func(c *Contestant) string { return memory(c.PeakRSSBytes) })
	table.Flush()
	fmt.Fprintln(out)
	for _, line := range []struct{ name, against string }{
		{PlainEveryLayer, "every layer at every timestep, as published"},
		{PlainPruned, "pruned to what the fetches need"},
	} {
		if ratio := r.Ratio(line.name); ratio != nil {
			fmt.Fprintf(out, "ratio to the plain variant, %s: %s; in CPU seconds %s\n", line.against, quartiles(ratio.Seconds),
				quartiles(ratio.CPU))
		}
	}
	if ratio := r.Ratio(LightConeDirect); ratio != nil {
		fmt.Fprintf(out, "ratio to direct convolutions (TensorFlow's own): %s; in CPU seconds %s\n", quartiles(ratio.Seconds),
			quartiles(ratio.CPU))
	}
	fmt.Fprintf(out, "largest difference between the variants' features: %.1e of a layer's RMS\n", r.Difference)
	if r.PrecisionError != nil {
		fmt.Fprintln(out, r.PrecisionError)
	}
	if p := r.Photographs; p != nil {
		fmt.Fprintf(
			out, "%d JPEG photographs to %s (%s): %.1f s, TensorFlow was not running for %.1f %% of it; decoding takes %.2g cores\n",
			p.Count, p.Format, humanize.Bytes(uint64(p.OutputBytes)), p.Seconds, 100*p.OutsideSession, p.DecodeCores)
	}
}

func quartiles3(s Spread) string {
	return fmt.Sprintf("%.3f (%.3f … %.3f)", s.Median, s.LowerQuartile, s.UpperQuartile)
}

func memory(bytes int64) string {
	if bytes == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f GB", float64(bytes)/1e9)
}

// PrintHead writes what comes before the rows of a Markdown table.
func (r *Report) PrintHead(out io.Writer) {
	fmt.Fprintf(out, "%s. %s.\n\n", capitalized(r.about()), r.Machine)
	fmt.Fprintln(
		out, "| model | plain, s/image | light cone, s/image | ratio (quartiles) | to the pruned plain variant | GMAC/image, plain → light cone | GFLOP/s, of peak | first result | peak memory, plain → light cone |")
	fmt.Fprintln(out, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
}

func capitalized(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// PrintRow writes a row of the table.
func (r *Report) PrintRow(out io.Writer) {
	ours, plain := r.Contestant(LightCone), r.Contestant(PlainEveryLayer)
	every, pruned := r.Ratio(PlainEveryLayer), r.Ratio(PlainPruned)
	if ours == nil || plain == nil || every == nil || pruned == nil {
		return
	}
	first := "-"
	if ours.FirstResult != nil {
		first = fmt.Sprintf("%.1f s", ours.FirstResult.FromProcessStart)
	}
	fmt.Fprintf(out, "| %s | %.3f | %.3f | %s | %s | %.1f → %.1f | %.0f, %.0f %% | %s | %s → %s |\n",
		r.Model, plain.SecondsPerImage.Median, ours.SecondsPerImage.Median, quartiles(every.Seconds),
		quartiles(pruned.Seconds),
		plain.GMACPerImage, ours.GMACPerImage, ours.GFLOPS, 100*ours.OfPeak, first, memory(plain.PeakRSSBytes),
		memory(ours.PeakRSSBytes))
}
