package evaluation

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/internal/imagenet"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Report is what an evaluation found, for people and, as JSON, for machines.
type Report struct {
	Model     string `json:"model"`
	Untrained bool   `json:"untrained,omitempty"`
	Decoder   string `json:"decoder"`
	// Published is left out where it is of something else, for the reasons of
	// Differences.
	Published   *PublishedAccuracy   `json:"published,omitempty"`
	Differences []string             `json:"published_left_out,omitempty"`
	Shown       string               `json:"presentation"`
	Notes       []string             `json:"notes,omitempty"`
	Result      *Result              `json:"result"`
	Verdict     string               `json:"verdict,omitempty"`
	Source      tfconvrnn.Provenance `json:"provenance"`
}

// PublishedAccuracy is what the authors state.
type PublishedAccuracy struct {
	Top1   float64 `json:"top1_percent"`
	Top5   float64 `json:"top5_percent"`
	Images int     `json:"images"`
}

// NewReport describes the result of an evaluation.
func NewReport(how How, set *Set, result *Result) *Report {
	r := &Report{
		Model: how.Model.Name, Untrained: how.Untrained, Decoder: how.Model.Decoder, Shown: how.Presentation.String(),
		Notes: set.Notes, Result: result, Verdict: result.Verdict(), Differences: how.Differences(set),
	}
	if len(r.Differences) == 0 {
		r.Published = &PublishedAccuracy{how.Model.Top1, how.Model.Top5, ValidationImages}
	}
	if result.Among <= 5 {
		r.Notes = append(r.Notes, fmt.Sprintf("with %d classes to choose from, top-5 is always right", result.Among))
	}
	if result.Undriven > 0 {
		r.Notes = append(r.Notes,
			fmt.Sprintf("for %d of %s the decoder took a timestep of the readout that no image had reached: what it says then, the blank says",
				result.Undriven, console.Plural(result.Images, "image")))
	}
	return r
}

// mostListed is how many pictures that could not be read are printed.
const mostListed = 20

// Advice says, in the words of who prints a report, how to list all pictures, to name another order
// of classes, and to choose among those that there are pictures of.
type Advice struct{ ListAll, OtherOrder, Present string }

// Print writes it for people to read.
func (r *Report) Print(out io.Writer, advice Advice) error {
	fmt.Fprintf(out, "%s on %s, presentation %s\n", r.Model, console.Plural(r.Result.Images, "image"), r.Shown)
	fmt.Fprintln(out, r.choice(advice))
	if r.Result.Resumed > 0 {
		fmt.Fprintf(out, "%s had been done before\n", console.Plural(r.Result.Resumed, "image"))
	}
	if r.Result.Changed > 0 {
		fmt.Fprintf(out, "%s had other contents before: done again\n", console.Plural(r.Result.Changed, "image"))
	}
	if r.Result.Retried > 0 {
		fmt.Fprintf(out, "%s could not be read before: tried again\n", console.Plural(r.Result.Retried, "image"))
	}
	if r.Result.Images > 0 {
		if err := r.table(out); err != nil {
			return err
		}
	}
	for _, f := range r.Result.Failed[:min(mostListed, len(r.Result.Failed))] {
		fmt.Fprintf(out, "not read: %s: %s\n", f.ID, f.Error)
	}
	if n := len(r.Result.Failed); n > mostListed {
		fmt.Fprintf(out, "not read: %d more; %s\n", n-mostListed, advice.ListAll)
	}
	if r.Untrained {
		fmt.Fprintln(out, "The weights are untrained, so the figures mean nothing.")
	}
	if len(r.Differences) > 0 {
		fmt.Fprintf(out, "The published accuracy is of something else: %s.\n", strings.Join(r.Differences, "; "))
	}
	for _, note := range r.Notes {
		fmt.Fprintf(out, "NOTE: %s.\n", note)
	}
	if r.Verdict != "" {
		verdict := r.Verdict
		if r.Result.OrderDoubtful() {
			verdict += "; " + advice.OtherOrder
		}
		fmt.Fprintf(out, "NOTE: %s.\n", verdict)
	}
	return nil
}

// choice says among which classes the likeliest is chosen.
func (r *Report) choice(advice Advice) string {
	present, among := r.Result.Present, r.Result.Among
	switch {
	case among < imagenet.Classes && among == present:
		return fmt.Sprintf("the likeliest class is chosen among the %d that the pictures are of", among)
	case among < imagenet.Classes:
		return fmt.Sprintf("the likeliest class is chosen among %d; the pictures are of %d of them", among, present)
	case present > 1 && present < imagenet.Classes:
		return fmt.Sprintf("the likeliest class is chosen among all %d; the pictures are of %d of them, among which %s",
			among, present, advice.Present)
	case present < imagenet.Classes:
		return fmt.Sprintf("the likeliest class is chosen among all %d; the pictures are of %d of them", among, present)
	}
	return fmt.Sprintf("the likeliest class is chosen among all %d", among)
}

func (r *Report) table(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	heading := "\tMEASURED %\t95 % INTERVAL\t"
	if r.Published != nil {
		heading += "PUBLISHED %"
		if r.Result.Images != r.Published.Images {
			heading += fmt.Sprintf(" (%d IMAGES)", r.Published.Images)
		}
	}
	fmt.Fprintln(table, heading)
	for i, row := range []struct {
		name     string
		measured Proportion
	}{{"top-1", r.Result.Decoded.Top1}, {"top-5", r.Result.Decoded.Top5}} {
		fmt.Fprintf(table, "%s\t%.2f\t%.2f … %.2f\t", row.name, row.measured.Percent, row.measured.Low, row.measured.High)
		if r.Published != nil {
			fmt.Fprintf(table, "%.2f", []float64{r.Published.Top1, r.Published.Top5}[i])
		}
		fmt.Fprintln(table)
	}
	fmt.Fprintln(table, "\t\t\t\nREADOUT AT\tTOP-1 %\tTOP-5 %\t")
	for _, t := range r.Result.OverTime {
		note := ""
		if !t.Driven {
			note = "not yet driven"
		}
		fmt.Fprintf(table, "%d ms (t=%d)\t%.2f\t%.2f\t%s\n", t.Milliseconds, t.Timestep.Timestep, t.Top1.Percent,
			t.Top5.Percent, note)
	}
	return table.Flush()
}
