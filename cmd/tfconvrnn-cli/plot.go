package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/plotting"
	"github.com/tfconvrnn/go/recordings"
)

type plotCommand struct {
	out     string
	format  plotting.Format
	kinds   []string // none for all that is possible
	dpi     int
	force   bool
	options plotting.Options
}

// allPlotKinds are those of features and of results.
func allPlotKinds() []string { return slices.Concat(plotting.Kinds(), plotting.ComparisonKinds()) }

func newPlot() *cobra.Command {
	p := &plotCommand{}
	cmd := &cobra.Command{Use: "plot FILE --out FILE [flags]", RunE: p.run,
		Args: oneOf("output", "which features? name an output that extract wrote, or a result of compare")}
	flags, o := cmd.Flags(), &p.options
	flags.StringVarP(&p.out, "out", "o", "", "`FILE` to write: .png, .svg, .html or .gif")
	addParsed(cmd, &p.format, "format", "", plotting.ParseFormat,
		"its `FORMAT`, if the name does not tell it: png, svg, html or gif", "png", "svg", "html", "gif")
	addList(cmd, &p.kinds, "kind", "comma-separated `KINDS` of figures: "+strings.Join(allPlotKinds(), ", "))
	addList(cmd, &o.Layers, "layers", "comma-separated `LAYERS` (default: all)")
	flags.StringArrayVar(&o.Stimuli, "stimuli", nil,
		"`STIMULUS` by name or number; repeat it for several (default: all, or the first ones)")
	flags.Func("timesteps", "comma-separated `TIMESTEPS` of matrices and feature maps (default: eight)",
		func(text string) error {
			for _, word := range splitList(text) {
				t, err := strconv.Atoi(word)
				if err != nil || t < 0 {
					return fmt.Errorf("%q is no timestep; they are 0, 1, …", word)
				}
				o.Timesteps = append(o.Timesteps, t)
			}
			return nil
		})
	addCount(cmd, &o.Top, "top", 5, 1, "number of classes of probabilities")
	addCount(cmd, &o.Channels, "channels", 16, 1, "number of feature maps of a layer")
	addCount(cmd, &o.MaxStimuli, "max-stimuli", 100, 1,
		"most stimuli of dissimilarity matrices; of more, so many are taken, evenly spaced")
	flags.IntVar(&p.dpi, "dpi", 144, "resolution of PNG and GIF in dots per inch")
	flags.BoolVar(&p.force, "force", false, "replace an existing file")
	addMessages(cmd)
	complete(cmd, "kind", allPlotKinds()...)
	obey(cmd, needed("out", "where to? give --out FILE, for example --out features.html"))
	return cmd
}

// plotReport is what plot prints.
type plotReport struct {
	Output  string   `json:"output"`
	Format  string   `json:"format"`
	Bytes   int      `json:"bytes"`
	Figures []string `json:"figures"`
	Skipped []string `json:"skipped,omitempty"`
}

func (p *plotCommand) run(cmd *cobra.Command, args []string) error {
	if err := checkFileName("--out", p.out, "features."+cmp.Or(p.format, plotting.HTML).String()); err != nil {
		return err
	}
	if err := p.parse(); err != nil {
		return err
	}
	if err := checkOutput(p.out, p.force, args...); err != nil {
		return err
	}
	data, report, err := p.drawn(cmd, args[0])
	if err != nil {
		return err
	}
	if err := atomicfile.Write(p.out, data); err != nil {
		return err
	}
	report.Output, report.Format, report.Bytes = p.out, p.format.String(), len(data)
	return presentf(cmd, report, "%s: %s\n", p.out, strings.Join(report.Figures, ", "))
}

// comparisonless are flags that say nothing about results of compare.
var comparisonless = []string{"stimuli", "timesteps", "top", "channels", "max-stimuli"}

// drawn draws a file of features, or of a result.
func (p *plotCommand) drawn(cmd *cobra.Command, name string) (data []byte, report *plotReport, err error) {
	c, report := commandConsole(cmd), &plotReport{}
	drawing := plotting.Drawing{Format: p.format, Kinds: p.kinds, DPI: p.dpi, Options: p.options,
		Begin: func(kind string) (func(done, total int64), func()) {
			progress := c.Start(kind, unitImages, 0)
			return progress.Set, progress.End
		},
		Impossible: func(kind string, err error) {
			c.Note("without %s: %s", kind, describe(err))
			report.Skipped = append(report.Skipped, kind)
		},
	}
	switch result, err := recordings.ReadResult(name); {
	case err == nil:
		if of := given(cmd, comparisonless...); len(of) > 0 {
			return nil, nil, usagef("--%s is for features, and %s is a result of compare", of[0], name)
		}
		data, report.Figures, err = drawing.DrawResult(cmd.Context(), name, result)
		return data, report, err
	case !errors.Is(err, recordings.ErrFormat):
		return nil, nil, inputError{err}
	}
	for _, kind := range p.kinds {
		if slices.Contains(plotting.ComparisonKinds(), kind) {
			return nil, nil, inputf("%s is no result of compare, which %s draws", name, kind)
		}
	}
	source, err := plotting.Open(name)
	if err != nil {
		return nil, nil, inputError{err}
	}
	defer source.Close()
	data, report.Figures, err = drawing.Draw(cmd.Context(), source)
	return data, report, err
}

// parse checks the flags against one another.
func (p *plotCommand) parse() (err error) {
	if p.format == "" {
		if p.format, err = plotting.FormatOf(p.out); err != nil {
			return usagef("--out: %w, or say --format", err)
		}
	}
	return plotting.CheckKinds(p.format, p.kinds)
}
