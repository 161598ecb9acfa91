package compare

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// text is a number with all its digits, "" for none.
func (n *Number) text() string {
	if n == nil {
		return ""
	}
	return strconv.FormatFloat(float64(*n), 'g', -1, 64)
}

// short is a number to four decimals, "-" for none.
func (n *Number) short() string {
	if n == nil || math.IsNaN(float64(*n)) {
		return "-"
	}
	return strconv.FormatFloat(float64(*n), 'f', 4, 64)
}

// shortIfAny is short, but "" for none.
func (n *Number) shortIfAny() string {
	if n == nil {
		return ""
	}
	return n.short()
}

// probability is a number to two digits.
func (n *Number) probability() string { return strconv.FormatFloat(float64(*n), 'g', 2, 64) }

// resultColumn is a column of tables.
type resultColumn struct {
	name  string
	value func(s *ResultScore) string
	// optional ones are there if some score has a value.
	optional bool
}

var csvColumns = []resultColumn{
	{name: "layer", value: func(s *ResultScore) string { return s.Layer }},
	{name: "time_bin_start", value: func(s *ResultScore) string { return s.TimeBinStart.text() }},
	{name: "time_bin_end", value: func(s *ResultScore) string { return s.TimeBinEnd.text() }},
	{name: "feature_bin_start", value: func(s *ResultScore) string { return s.FeatureBinStart.text() }},
	{name: "feature_bin_end", value: func(s *ResultScore) string { return s.FeatureBinEnd.text() }},
	{name: "score", value: func(s *ResultScore) string { return s.Score.text() }},
	{name: "error", value: func(s *ResultScore) string { return s.Error.text() }},
	{name: "ceiling", value: func(s *ResultScore) string { return s.Ceiling.text() }},
	{name: "ceiling_error", value: func(s *ResultScore) string { return s.CeilingError.text() }},
	{name: "lower_ceiling", value: func(s *ResultScore) string { return s.LowerCeiling.text() }},
	{name: "ceiled", value: func(s *ResultScore) string { return s.Ceiled.text() }},
	{name: "normalisation", value: func(s *ResultScore) string { return s.Normalisation }},
	{name: "neuroids", value: func(s *ResultScore) string { return strconv.Itoa(s.Neuroids) }},
	{name: "stimuli", value: func(s *ResultScore) string { return strconv.Itoa(s.Stimuli) }},
	{name: "reason", value: func(s *ResultScore) string { return s.Reason }},
	{name: "region", value: func(s *ResultScore) string { return s.Region }, optional: true},
	{name: "offset_ms", value: func(s *ResultScore) string { return s.Offset.text() }, optional: true},
	{name: "consistency", value: func(s *ResultScore) string { return s.Consistency }, optional: true},
	{name: "correct", value: func(s *ResultScore) string { return s.Correct.text() }, optional: true},
	{name: "other_layer", value: func(s *ResultScore) string { return s.OtherLayer }, optional: true},
	{name: "solved", value: func(s *ResultScore) string { return s.Solved.text() }, optional: true},
	{name: "chosen", value: func(s *ResultScore) string { return s.Chosen }, optional: true},
	{name: "score_not_nested", value: func(s *ResultScore) string { return s.NotNested.text() }, optional: true},
	{name: "low", value: ofInference(func(i *ResultInference) string { return i.Low.text() }), optional: true},
	{name: "high", value: ofInference(func(i *ResultInference) string { return i.High.text() }), optional: true},
	{name: "p_against_zero", value: ofInference(func(i *ResultInference) string {
		return i.AgainstZero.text()
	}), optional: true},
	{name: "p_against_lower_ceiling", value: ofInference(func(i *ResultInference) string {
		return i.AgainstCeiling.text()
	}), optional: true},
}

// ofInference is "" without inference.
func ofInference(value func(i *ResultInference) string) func(s *ResultScore) string {
	return func(s *ResultScore) string {
		if s.Inference == nil {
			return ""
		}
		return value(s.Inference)
	}
}

// shown are the columns that a result has values for.
func (r *Result) shown(columns []resultColumn) []resultColumn {
	var list []resultColumn
	for _, c := range columns {
		there := !c.optional
		for i := range r.Scores {
			there = there || c.value(&r.Scores[i]) != ""
		}
		if there {
			list = append(list, c)
		}
	}
	return list
}

// WriteCSV writes a row for each score.
func (r *Result) WriteCSV(w io.Writer) error {
	columns := r.shown(csvColumns)
	rows := make([][]string, len(r.Scores)+1)
	for _, c := range columns {
		rows[0] = append(rows[0], c.name)
		for i := range r.Scores {
			rows[i+1] = append(rows[i+1], c.value(&r.Scores[i]))
		}
	}
	return csv.NewWriter(w).WriteAll(rows)
}

func span(start, end *Number) string {
	if start == nil {
		return "-"
	}
	return start.text() + "-" + end.text()
}

func (r *Result) tableColumns() []resultColumn {
	dashed := func(text string) string {
		if text == "" {
			return "-"
		}
		return text
	}
	if r.Between() {
		return []resultColumn{
			{name: "LAYER", value: func(s *ResultScore) string { return s.Layer }},
			{name: "OTHER LAYER", value: func(s *ResultScore) string { return s.OtherLayer }},
			{name: "MS", value: func(s *ResultScore) string { return span(s.TimeBinStart, s.TimeBinEnd) }},
			{name: "SCORE", value: func(s *ResultScore) string { return s.Score.short() }},
			{name: "", value: func(s *ResultScore) string { return s.Reason }},
		}
	}
	return []resultColumn{
		{name: "REGION", value: func(s *ResultScore) string { return s.Region }, optional: true},
		{name: "LAYER", value: func(s *ResultScore) string { return dashed(s.Layer) }},
		{name: "KIND", value: func(s *ResultScore) string { return s.Consistency }, optional: true},
		{name: "MS", value: func(s *ResultScore) string { return span(s.TimeBinStart, s.TimeBinEnd) }},
		{name: "FEATURES' MS", value: func(s *ResultScore) string {
			if s.FeatureBinStart == nil && r.Features != "" {
				return "same"
			}
			return span(s.FeatureBinStart, s.FeatureBinEnd)
		}},
		{name: "SCORE", value: func(s *ResultScore) string { return s.Score.short() }},
		{name: "ERROR", value: func(s *ResultScore) string { return s.Error.short() }},
		{name: "CEILING", value: func(s *ResultScore) string {
			if s.LowerCeiling != nil {
				return s.LowerCeiling.short() + " … " + s.Ceiling.short()
			}
			return s.Ceiling.short()
		}},
		{name: "CEILED", value: func(s *ResultScore) string { return s.Ceiled.short() }},
		{name: "NEUROIDS", value: func(s *ResultScore) string {
			if r.Analysis == "ost" || r.Analysis == "behaviour" {
				return ""
			}
			return strconv.Itoa(s.Neuroids)
		}, optional: true},
		{name: "95 %", value: ofInference(func(i *ResultInference) string {
			return i.Low.short() + " … " + i.High.short()
		}), optional: true},
		{name: "P > 0", value: ofInference(func(i *ResultInference) string {
			return i.AgainstZero.probability()
		}), optional: true},
		{name: "P ≠ CEILING", value: ofInference(func(i *ResultInference) string {
			return i.AgainstCeiling.probability()
		}), optional: true},
		{name: "CORRECT", value: func(s *ResultScore) string { return s.Correct.shortIfAny() }, optional: true},
		{name: "SOLVED", value: func(s *ResultScore) string { return s.Solved.shortIfAny() }, optional: true},
		{name: "CHOSEN", value: func(s *ResultScore) string { return s.Chosen }, optional: true},
		{name: "NOT NESTED", value: func(s *ResultScore) string { return s.NotNested.shortIfAny() }, optional: true},
		{name: "", value: func(s *ResultScore) string { return s.Reason }},
	}
}

// Table is the table that WriteTable writes, with a heading.
func (r *Result) Table() [][]string {
	columns := r.shown(r.tableColumns())
	rows := make([][]string, len(r.Scores)+1)
	for _, c := range columns {
		rows[0] = append(rows[0], c.name)
		for i := range r.Scores {
			rows[i+1] = append(rows[i+1], c.value(&r.Scores[i]))
		}
	}
	return rows
}

// WriteTable writes a table for people, and below it what the numbers are.
func (r *Result) WriteTable(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range r.Table() {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	normalisation, above, squared := "", false, false
	for k := range r.Scores {
		s := &r.Scores[k]
		if s.Normalisation != "" {
			normalisation = s.Normalisation
		}
		above = above || s.Ceiled > 1
		squared = squared || s.Score < 0 && s.Ceiled > 0
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, m := range r.Means {
		offset := ""
		if m.Offset != nil {
			offset = ", features " + m.Offset.text() + " ms before"
		}
		fmt.Fprintf(w, "%s%s, mean over %d of %d bins: %s, ceiled %s\n", m.Layer, offset, m.Bins, m.Of, m.Score.short(),
			m.Ceiled.short())
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
	if squared {
		line += "; where the score is negative, its square hides it"
	}
	_, err := fmt.Fprintln(w, line)
	return err
}
