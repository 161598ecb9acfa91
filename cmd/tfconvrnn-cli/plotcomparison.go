package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/internal/plotting"
	"github.com/tfconvrnn/go/recordings"
)

// comparisonOnly are flags of plot that say nothing about results of compare.
var comparisonOnly = []string{"stimuli", "timesteps", "top", "channels", "max-stimuli"}

// comparison draws a result of compare.
func (p *plotCommand) comparison(cmd *cobra.Command, name string, result *compare.Result) ([]byte, *plotReport, error) {
	for _, flag := range comparisonOnly {
		if cmd.Flags().Changed(flag) {
			return nil, nil, usagef("--%s is for features, and %s is a result of compare", flag, name)
		}
	}
	if layers := splitList(p.layers); len(layers) > 0 {
		result.Scores = slices.DeleteFunc(result.Scores, func(s compare.ResultScore) bool {
			return !slices.Contains(layers, s.Layer)
		})
		if len(result.Scores) == 0 {
			return nil, nil, usagef("--layers: %s has no scores of %s", name, strings.Join(layers, ", "))
		}
	}
	kinds := p.selected
	if len(kinds) == 0 {
		kinds = plotting.ComparisonKinds()
	}
	report := &plotReport{Figures: []string{}}
	var figures []*plotting.Figure
	for _, kind := range kinds {
		figure, err := plotting.Comparison(result, kind)
		if len(p.selected) == 0 && errors.Is(err, plotting.ErrImpossible) {
			continue // results have few of the kinds
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		figures, report.Figures = append(figures, figure), append(report.Figures, kind)
	}
	if len(figures) == 0 {
		return nil, nil, fmt.Errorf("%s: %w: no kind of figure", name, plotting.ErrImpossible)
	}
	data, err := p.write(cmd.Context(), name, result, figures)
	if p.format != "html" {
		report.Figures = report.Figures[:1]
	}
	return data, report, err
}

func (p *plotCommand) write(ctx context.Context, name string, result *compare.Result, figures []*plotting.Figure) (
	[]byte, error) {
	var out bytes.Buffer
	var err error
	switch p.format {
	case "html":
		err = plotting.NewComparisonPage(name, result, figures).Write(ctx, &out, p.dpi)
	case "svg":
		err = figures[0].WriteSVG(&out)
	case "png":
		err = figures[0].WritePNG(&out, p.dpi)
	default:
		err = usagef("a GIF holds the animation of features; for results choose .png, .svg or .html")
	}
	return out.Bytes(), err
}

// resultOf returns the result of compare that a file is, nil for features and what is neither.
func resultOf(name string) (*compare.Result, error) {
	result, err := recordings.ReadResult(name)
	if errors.Is(err, recordings.ErrFormat) {
		return nil, nil
	}
	return result, err
}
