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
	out                      string
	format                   plotting.Format
	kinds, layers, timesteps []string
	stimuli                  []string
	top, channels, most, dpi int
	force, quiet, asJSON     bool
	selected                 []string // kinds; none for all that is possible
	options                  plotting.Options
}

// allPlotKinds are those of features and of results.
func allPlotKinds() []string { return slices.Concat(plotting.Kinds(), plotting.ComparisonKinds()) }

func newPlot() *cobra.Command {
	p := &plotCommand{}
	cmd := &cobra.Command{
		Use:   "plot FILE --out FILE [flags]",
		Short: "Draw extracted features, or what compare found",
		Long: `Draw the features in an output of extract, of any format, as PNG, SVG, an HTML page
or an animated GIF. The kinds of figures:

  probabilities  the likeliest classes over time: softmax of imnetds
  dynamics       mean response of each layer over time, ± 1 standard deviation
                 between stimuli; not of layers that are random projections
  rdm            representational dissimilarity, 1 - Pearson's correlation, of
                 each two stimuli, by layer and time
  mosaic         feature maps of a stimulus, by layer and time
  animation      the same, moving (.gif, .html)

A bar shows when the image is; there is none for sequences, since outputs do not tell
how long each is. Of a result of compare (.nc, .zarr or .json):

  best           what "compare best" chose for each region, and how well it does
  scores         scores over time, or of each layer, with the ceiling
  layers         layers × time
  matrix         time of features × time of responses
  points         predicted and measured solution times, or d'
  between        how similar layers are to each other

A PNG or SVG shows one kind (unless --kind says another, dynamics or the first that is
possible), a GIF the animation, an HTML page all that the file allows.`,
		Example: `  ` + program + ` plot features.npz --out features.html
  ` + program + ` plot features.npz --kind rdm --layers conv8,conv10 --out rdm.svg
  ` + program + ` plot features.npz --stimuli cat.jpg --out cat.gif
  ` + program + ` plot scores.nc --out report.html`,
		Args: p.args,
		RunE: p.run,
	}
	flags := cmd.Flags()
	flags.StringVarP(&p.out, "out", "o", "", "`FILE` to write: .png, .svg, .html or .gif")
	addParsed(cmd, &p.format, "format", "", plotting.ParseFormat,
		"its `FORMAT`, if the name does not tell it: png, svg, html or gif", "png", "svg", "html", "gif")
	flags.StringArrayVar(&p.kinds, "kind", nil, "comma-separated `KINDS` of figures: "+strings.Join(allPlotKinds(), ", "))
	flags.StringArrayVar(&p.layers, "layers", nil, "comma-separated `LAYERS` (default: all)")
	flags.StringArrayVar(&p.stimuli, "stimuli", nil,
		"`STIMULUS` by name or number; repeat it for several (default: all, or the first ones)")
	flags.StringArrayVar(&p.timesteps, "timesteps", nil,
		"comma-separated `TIMESTEPS` of matrices and feature maps (default: eight)")
	flags.IntVar(&p.top, "top", 5, "number of classes of probabilities")
	flags.IntVar(&p.channels, "channels", 16, "number of feature maps of a layer")
	flags.IntVar(&p.most, "max-stimuli", 100,
		"most stimuli of dissimilarity matrices; of more, so many are taken, evenly spaced")
	flags.IntVar(&p.dpi, "dpi", 144, "resolution of PNG and GIF in dots per inch")
	flags.BoolVar(&p.force, "force", false, "replace an existing file")
	addQuiet(cmd, &p.quiet)
	addJSON(cmd, &p.asJSON)
	complete(cmd, "kind", allPlotKinds()...)
	return cmd
}

func (p *plotCommand) args(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 1:
		return nil
	case 0:
		return usagef("which features? name an output that extract wrote, or a result of compare")
	}
	return usagef("one output at a time; %d arguments are too many", len(args))
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
	if p.out == "" {
		return usagef("where to? give --out FILE, for example --out features.html")
	}
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
		return plotError(err)
	}
	if err := atomicfile.Write(p.out, data); err != nil {
		return err
	}
	report.Output, report.Format, report.Bytes = p.out, p.format.String(), len(data)
	if p.asJSON {
		return printJSON(cmd.OutOrStdout(), report)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", p.out, strings.Join(report.Figures, ", "))
	return nil
}

// comparisonless are flags that say nothing about results of compare.
var comparisonless = []string{"stimuli", "timesteps", "top", "channels", "max-stimuli"}

// drawn draws a file of features, or of a result.
func (p *plotCommand) drawn(cmd *cobra.Command, name string) (data []byte, report *plotReport, err error) {
	c, report := commandConsole(cmd, p.quiet), &plotReport{}
	drawing := plotting.Drawing{Format: p.format, Kinds: p.selected, DPI: p.dpi, Options: p.options,
		Begin: func(kind string) (func(done, total int64), func()) {
			progress := c.start(kind, unitImages, 0)
			return progress.set, progress.end
		},
		Impossible: func(kind string, err error) {
			c.note("without %s: %s", kind, describe(err))
			report.Skipped = append(report.Skipped, kind)
		},
	}
	switch result, err := recordings.ReadResult(name); {
	case err == nil:
		for _, flag := range comparisonless {
			if cmd.Flags().Changed(flag) {
				return nil, nil, usagef("--%s is for features, and %s is a result of compare", flag, name)
			}
		}
		data, report.Figures, err = drawing.DrawResult(cmd.Context(), name, result)
		return data, report, err
	case !errors.Is(err, recordings.ErrFormat):
		return nil, nil, inputError{err}
	}
	for _, kind := range p.selected {
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

// plotError tells faults of the command line from those of the input.
func plotError(err error) error {
	for _, cause := range []error{plotting.ErrOption, plotting.ErrNoLayer, plotting.ErrNoStimulus,
		plotting.ErrNoTimestep} {
		if errors.Is(err, cause) {
			return usage(err)
		}
	}
	for _, cause := range []error{plotting.ErrImpossible, plotting.ErrUnsupported} {
		if errors.Is(err, cause) {
			return inputError{err}
		}
	}
	return err
}

// parse checks the flags against one another.
func (p *plotCommand) parse() (err error) {
	if p.format == "" {
		if p.format, err = plotting.FormatOf(p.out); err != nil {
			return usagef("--out: %w, or say --format", err)
		}
	}
	p.selected = splitList(p.kinds)
	if err := plotting.CheckKinds(p.format, p.selected); err != nil {
		return usage(err)
	}
	for _, v := range []struct {
		name  string
		value int
	}{{"top", p.top}, {"channels", p.channels}, {"max-stimuli", p.most}} {
		if v.value < 1 { // 0 is the default in the package
			return usagef("--%s %d: it is at least 1", v.name, v.value)
		}
	}
	p.options = plotting.Options{Layers: splitList(p.layers), Stimuli: p.stimuli, Top: p.top, Channels: p.channels,
		MaxStimuli: p.most}
	for _, text := range splitList(p.timesteps) {
		t, err := strconv.Atoi(text)
		if err != nil || t < 0 {
			return usagef("--timesteps: %q is no timestep; they are 0, 1, …", text)
		}
		p.options.Timesteps = append(p.options.Timesteps, t)
	}
	return nil
}
