package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"github.com/tfconvrnn/go/extraction"
)

// extractReport is what extract prints.
type extractReport struct {
	Output string `json:"output,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
	extraction.Description
	Untrained    bool                        `json:"untrained"`
	Resumed      int                         `json:"resumed,omitempty"` // stimuli of an interrupted run
	Skipped      []extraction.FailedStimulus `json:"skipped,omitempty"`
	Noticed      map[string]int              `json:"noticed,omitempty"` // pictures of each kind that may surprise
	Seconds      float64                     `json:"seconds,omitempty"`
	ImagesPerSec float64                     `json:"images_per_second,omitempty"`
}

// noteKept says which layers a reduction for all leaves as they are.
func noteKept(c *console, layers []extraction.LayerReduction) {
	for _, l := range layers {
		if l.Kept != nil {
			c.note("%s is not reduced: %v", l.Name, l.Kept)
		}
	}
}

func (r *extractReport) print(out io.Writer) error {
	name, about := r.Output, ""
	if name == "" {
		name = "output"
	}
	if r.DryRun {
		about = "about "
	}
	format := string(r.Format)
	if r.Matrices > 0 {
		if format = matrices(r.Matrices); r.DryRun {
			format += ", after the features"
		}
	}
	fmt.Fprintf(out, "%s: %s of %s, %s%s (%s)\n", name, plural(r.Stimuli, "stimulus"), r.Model, about,
		humanize.Bytes(uint64(r.Bytes)), format)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, a := range r.Arrays {
		notes := ""
		if len(a.Timesteps) > 0 {
			notes = fmt.Sprintf("timesteps %d…%d", a.Timesteps[0], a.Timesteps[len(a.Timesteps)-1])
		}
		for _, note := range []string{a.Selection.String(), a.Reduction, strings.Replace(a.DataType.String(), "float32",
			"", 1)} {
			if note != "" {
				notes = strings.TrimPrefix(notes+", "+note, ", ")
			}
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", a.Name, shapeText(a.Shape), notes)
	}
	if err := table.Flush(); err != nil {
		return err
	}
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
	return nil
}
