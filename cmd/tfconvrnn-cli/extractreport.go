package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// extractReport is what extract prints.
type extractReport struct {
	Output       string            `json:"output,omitempty"`
	Format       string            `json:"format"`
	Bytes        int64             `json:"bytes"`
	DryRun       bool              `json:"dry_run,omitempty"`
	Model        string            `json:"model"`
	Untrained    bool              `json:"untrained"`
	Presentation string            `json:"presentation"`
	Times        int               `json:"times"`
	Stimuli      int               `json:"stimuli"`
	Arrays       []arrayReport     `json:"arrays"`
	Resumed      int               `json:"resumed,omitempty"` // stimuli of an interrupted run
	Skipped      []skippedStimulus `json:"skipped,omitempty"`
	Noticed      map[string]int    `json:"noticed,omitempty"` // pictures of each kind that may surprise
	Seconds      float64           `json:"seconds,omitempty"`
	ImagesPerSec float64           `json:"images_per_second,omitempty"`
}

type arrayReport struct {
	Name      string `json:"name"`
	DataType  string `json:"data_type"`
	Shape     []int  `json:"shape"`
	Timesteps []int  `json:"timesteps,omitempty"`
	// Selection is the units taken, where not all are.
	Selection *tfconvrnn.Selection `json:"selection,omitempty"`
	Reduction string               `json:"reduction,omitempty"`
}

// skippedStimulus is one that could not be read.
type skippedStimulus struct {
	Row      int    `json:"row"`
	Stimulus string `json:"stimulus"`
	Error    string `json:"error"`
}

// noteKept says which layers a reduction for all leaves as they are.
func noteKept(c *console, layers []extraction.LayerReduction) {
	for _, l := range layers {
		if l.Kept != nil {
			c.note("%s is not reduced: %v", l.Name, l.Kept)
		}
	}
}

// newExtractReport describes an output.
func newExtractReport(p *extractPlan, recipe *extraction.Recipe, layout *features.Layout, size int64) *extractReport {
	r := &extractReport{
		Format: string(recipe.Format), Bytes: size, Model: recipe.Model, Presentation: recipe.Presentation.String(), Times: p.times, Stimuli: layout.Rows,
	}
	reductions := recipe.Provenance.Reductions
	for _, s := range layout.Streamed {
		a := arrayReport{Name: s.Name, DataType: s.DataType.String(), Shape: append([]int{layout.Rows}, s.RowShape...), Reduction: reductions[s.Name]}
		if s.Layer != nil {
			a.Timesteps = s.Layer.Timesteps
			a.Selection = (*tfconvrnn.Selection)(s.Layer.Selection)
		}
		r.Arrays = append(r.Arrays, a)
	}
	return r
}

// selectionText says which units were taken.
func selectionText(s *tfconvrnn.Selection) string {
	if s == nil {
		return ""
	}
	u := tfconvrnn.Units{Channels: s.Channels}
	if s.Row != nil {
		u.Position = &[2]int{*s.Row, *s.Column}
	}
	return u.String()
}

func (r *extractReport) print(out io.Writer) {
	name, about := r.Output, ""
	if name == "" {
		name = "output"
	}
	if r.DryRun {
		about = "about "
	}
	fmt.Fprintf(out, "%s: %s of %s, %s%s (%s)\n", name, plural(r.Stimuli, "stimulus"), r.Model, about, humanize.Bytes(uint64(r.Bytes)), r.Format)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, a := range r.Arrays {
		notes := ""
		if len(a.Timesteps) > 0 {
			notes = fmt.Sprintf("timesteps %d…%d", a.Timesteps[0], a.Timesteps[len(a.Timesteps)-1])
		}
		for _, note := range []string{selectionText(a.Selection), a.Reduction, strings.Replace(a.DataType, "float32", "", 1)} {
			if note != "" {
				notes = strings.TrimPrefix(notes+", "+note, ", ")
			}
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", a.Name, shapeText(a.Shape), notes)
	}
	table.Flush()
	fmt.Fprintf(out, "presentation %s\n", r.Presentation)
	if r.Untrained {
		fmt.Fprintln(out, "untrained weights")
	}
	if len(r.Skipped) > 0 {
		fmt.Fprintf(out, "%s could not be read; see the mask \"valid\"\n", plural(len(r.Skipped), "stimulus"))
	}
	if r.Resumed > 0 {
		fmt.Fprintf(out, "%s from before the interruption\n", plural(r.Resumed, "stimulus"))
	}
	if !r.DryRun {
		fmt.Fprintf(out, "%.1f s, %.2f images/s\n", r.Seconds, r.ImagesPerSec)
	}
}
