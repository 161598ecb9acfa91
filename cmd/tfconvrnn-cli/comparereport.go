package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/recordings"
)

// float is a number of JSON, where NaN is null.
type float float64

func (f float) MarshalJSON() ([]byte, error) {
	if v := float64(f); math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(f))
}

func floatRows(raw [][]float64) [][]float {
	var rows [][]float
	for _, values := range raw {
		row := make([]float, len(values))
		for i, v := range values {
			row[i] = float(v)
		}
		rows = append(rows, row)
	}
	return rows
}

// scoreReport is one score as it is printed.
type scoreReport struct {
	Layer           string    `json:"layer,omitempty"`
	TimeBinStart    *float    `json:"time_bin_start"`
	TimeBinEnd      *float    `json:"time_bin_end"`
	FeatureBinStart *float    `json:"feature_bin_start,omitempty"`
	FeatureBinEnd   *float    `json:"feature_bin_end,omitempty"`
	Score           float     `json:"score"`
	Error           float     `json:"error"`
	Ceiling         float     `json:"ceiling"`
	CeilingError    *float    `json:"ceiling_error,omitempty"`
	LowerCeiling    *float    `json:"lower_ceiling,omitempty"`
	Ceiled          float     `json:"ceiled"`
	Normalisation   string    `json:"normalisation,omitempty"`
	Neuroids        int       `json:"neuroids"`
	Undefined       []string  `json:"undefined_neuroids,omitempty"`
	UndefinedSplits int       `json:"undefined_splits,omitempty"`
	Stimuli         int       `json:"stimuli"`
	Solved          *float    `json:"solved,omitempty"`
	Reason          string    `json:"reason,omitempty"`
	NeuroidIDs      []string  `json:"neuroid_ids,omitempty"`
	Raw             [][]float `json:"raw,omitempty"`
	RawCeiling      [][]float `json:"raw_ceiling,omitempty"`
	Alphas          [][]float `json:"alphas,omitempty"`
}

// meanReport is a mean over time.
type meanReport struct {
	Layer  string `json:"layer"`
	Score  float  `json:"score"`
	Ceiled float  `json:"ceiled"`
	Bins   int    `json:"bins"`
	Of     int    `json:"of_bins"`
}

// compareReport is what compare prints.
type compareReport struct {
	Analysis   string        `json:"analysis"`
	Metric     string        `json:"metric,omitempty"`
	Splits     string        `json:"splits,omitempty"`
	Features   string        `json:"features,omitempty"`
	Data       string        `json:"data"`
	DataSHA256 string        `json:"data_sha256,omitempty"`
	Software   string        `json:"software"`
	Selection  []string      `json:"left_out,omitempty"`
	Notes      []string      `json:"notes,omitempty"`
	Scores     []scoreReport `json:"scores"`
	Means      []meanReport  `json:"means_over_time,omitempty"`
}

func newCompareReport(analysis, features, data string) *compareReport {
	return &compareReport{Analysis: analysis, Features: features, Data: data, Software: program + " " + version.Version, Scores: []scoreReport{}}
}

func pointer(v float64) *float {
	f := float(v)
	return &f
}

// setBin sets the time of a score; a bin without an end is none.
func (s *scoreReport) setBin(b compare.Bin) {
	if b != (compare.Bin{}) {
		s.TimeBinStart, s.TimeBinEnd = pointer(b.Start), pointer(b.End)
	}
}

// said adds what a recording left out and assumed.
func (r *compareReport) said(recording *recordings.Recording) {
	for _, d := range recording.Dropped {
		r.Selection = append(r.Selection, d.String())
	}
	r.Notes = append(r.Notes, recording.Notes...)
}

// add takes over scores over time.
func (r *compareReport) add(fits *compare.Fits) {
	r.Notes = append(r.Notes, fits.Notes...)
	for _, s := range fits.Scores {
		row := scoreReport{
			Layer: s.Layer, Score: float(s.Score.Center), Error: float(s.Score.Error), Ceiling: float(s.Ceiling.Center), Ceiled: float(s.Ceiled),
			Neuroids: len(s.NeuroidIDs) - len(s.Undefined), Undefined: s.Undefined, UndefinedSplits: s.UndefinedSplits, Stimuli: s.Stimuli, Reason: s.Reason,
			NeuroidIDs: s.NeuroidIDs, Raw: floatRows(s.Score.Raw), RawCeiling: floatRows(s.Ceiling.Raw), Alphas: floatRows(s.Alphas),
		}
		row.setBin(s.Bin)
		if s.Features != s.Bin {
			row.FeatureBinStart, row.FeatureBinEnd = pointer(s.Features.Start), pointer(s.Features.End)
		}
		if !math.IsNaN(s.Ceiling.Center) {
			row.Normalisation = string(s.Normalisation)
		}
		if s.Ceiling.Raw != nil {
			row.CeilingError = pointer(s.Ceiling.Error)
		}
		if !math.IsNaN(s.LowerCeiling) {
			row.LowerCeiling = pointer(s.LowerCeiling)
		}
		r.Scores = append(r.Scores, row)
		if s.EdgeAlphas > 0 {
			r.Notes = append(r.Notes, fmt.Sprintf("layer %s at %v ms: %d alphas are the first or last of those to choose from", s.Layer, s.Bin, s.EdgeAlphas))
		}
	}
}

// addMeans adds the means over time, where there are several bins.
func (r *compareReport) addMeans(fits *compare.Fits) {
	for _, m := range fits.Means() {
		if m.Of > 1 {
			r.Means = append(r.Means, meanReport{m.Layer, float(m.Score), float(m.Ceiled), m.Bins, m.Of})
		}
	}
}

// emit writes the report to --out and prints it.
func (r *compareReport) emit(ctx context.Context, f *resultFlags, c *console, out io.Writer) error {
	if f.out != "" {
		if err := r.write(ctx, f.out); err != nil {
			return err
		}
	}
	for i := range r.Scores {
		s := &r.Scores[i]
		s.NeuroidIDs, s.Raw, s.RawCeiling, s.Alphas = nil, nil, nil, nil // only in files
	}
	if f.asJSON {
		return printJSON(out, r)
	}
	for _, text := range append(r.Selection, r.Notes...) {
		c.note("%s", text)
	}
	return r.print(out)
}

func (r *compareReport) write(ctx context.Context, name string) error {
	var err error
	if r.DataSHA256, err = disk.SHA256(ctx, r.Data); err != nil {
		return err
	}
	var buffer bytes.Buffer
	if strings.EqualFold(filepath.Ext(name), ".json") {
		err = printJSON(&buffer, r)
	} else {
		err = r.writeCSV(&buffer)
	}
	if err != nil {
		return err
	}
	return atomicfile.Write(name, buffer.Bytes())
}

func (f *float) text() string {
	if f == nil {
		return ""
	}
	return strconv.FormatFloat(float64(*f), 'g', -1, 64)
}

func (r *compareReport) writeCSV(out io.Writer) error {
	w := csv.NewWriter(out)
	rows := [][]string{{
		"layer", "time_bin_start", "time_bin_end", "feature_bin_start", "feature_bin_end", "score", "error",
		"ceiling", "ceiling_error", "lower_ceiling", "ceiled", "normalisation", "neuroids", "stimuli", "reason",
	}}
	for _, s := range r.Scores {
		rows = append(rows, []string{
			s.Layer, s.TimeBinStart.text(), s.TimeBinEnd.text(), s.FeatureBinStart.text(), s.FeatureBinEnd.text(), s.Score.text(), s.Error.text(),
			s.Ceiling.text(), s.CeilingError.text(), s.LowerCeiling.text(), s.Ceiled.text(), s.Normalisation, strconv.Itoa(s.Neuroids), strconv.Itoa(s.Stimuli), s.Reason,
		})
	}
	return w.WriteAll(rows)
}

// short prints a number to four decimals.
func (f *float) short() string {
	if f == nil || math.IsNaN(float64(*f)) {
		return "-"
	}
	return strconv.FormatFloat(float64(*f), 'f', 4, 64)
}

func span(start, end *float) string {
	if start == nil {
		return "-"
	}
	return start.text() + "-" + end.text()
}

// print writes a table for people.
func (r *compareReport) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "LAYER\tMS\tFEATURES' MS\tSCORE\tERROR\tCEILING\tCEILED\tNEUROIDS\t")
	normalisation, above := "", false
	for _, s := range r.Scores {
		features := span(s.FeatureBinStart, s.FeatureBinEnd)
		if s.FeatureBinStart == nil && r.Features != "" {
			features = "same"
		}
		layer := s.Layer
		if layer == "" {
			layer = "-"
		}
		ceiling := s.Ceiling.short()
		if s.LowerCeiling != nil {
			ceiling = s.LowerCeiling.short() + " … " + ceiling
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", layer, span(s.TimeBinStart, s.TimeBinEnd), features,
			s.Score.short(), s.Error.short(), ceiling, s.Ceiled.short(), s.Neuroids, s.Reason)
		if s.Normalisation != "" {
			normalisation = s.Normalisation
		}
		above = above || s.Ceiled > 1
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, m := range r.Means {
		fmt.Fprintf(out, "%s, mean over %d of %d bins: %s, ceiled %s\n", m.Layer, m.Bins, m.Of, m.Score.short(), m.Ceiled.short())
	}
	line := r.Metric
	if r.Splits != "" {
		line += "; " + r.Splits
	}
	if normalisation != "" {
		line += "; ceiled is " + normalisation
	}
	if above {
		line += "; above 1, the ceiling is lower than what was explained"
	}
	_, err := fmt.Fprintln(out, line)
	return err
}
