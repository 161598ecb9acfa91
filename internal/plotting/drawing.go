package plotting

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/compare"
)

// Format is a format of drawings.
type Format string

// The formats. A PNG or SVG shows one figure, a GIF the animation, an HTML page any number.
const (
	PNG  Format = "png"
	SVG  Format = "svg"
	HTML Format = "html"
	GIF  Format = "gif"
)

// Formats lists the formats.
func Formats() []Format { return []Format{PNG, SVG, HTML, GIF} }

// ParseFormat reads the name of a format. The error wraps ErrOption.
func ParseFormat(text string) (Format, error) {
	if f := Format(strings.ToLower(text)); slices.Contains(Formats(), f) {
		return f, nil
	}
	return "", fmt.Errorf("%w: unknown format %q; there are %s, %s, %s and %s", ErrOption, text, PNG, SVG, HTML, GIF)
}

// FormatOf returns the format that a file's name tells. The error wraps ErrOption.
func FormatOf(path string) (Format, error) {
	suffix := strings.TrimPrefix(strings.ToLower(filepath.Ext(path)), ".")
	if suffix == "htm" {
		return HTML, nil
	}
	f, err := ParseFormat(suffix)
	if err != nil {
		return "", fmt.Errorf("%w: the name %s does not tell the format; it ends in .png, .svg, .html or .gif",
			ErrOption, path)
	}
	return f, nil
}

// String returns what ParseFormat reads.
func (f Format) String() string { return string(f) }

// The kinds of figures of features.
const (
	KindProbabilities = "probabilities"
	KindDynamics      = "dynamics"
	KindRDM           = "rdm"
	KindMosaic        = "mosaic"
	KindAnimation     = "animation"
)

// Kinds are the kinds of figures of features, in the order of an HTML page.
func Kinds() []string {
	return []string{KindProbabilities, KindDynamics, KindRDM, KindMosaic, KindAnimation}
}

// CheckKinds tells whether a drawing in a format can hold such kinds, of features or of a result.
// The error wraps ErrOption.
func CheckKinds(f Format, kinds []string) error {
	all := slices.Concat(Kinds(), ComparisonKinds())
	for _, kind := range kinds {
		if !slices.Contains(all, kind) {
			return fmt.Errorf("%w: unknown kind %q; there are %s", ErrOption, kind, strings.Join(all, ", "))
		}
	}
	switch {
	case f == HTML:
	case f == GIF && len(kinds) > 0 && !slices.Equal(kinds, []string{KindAnimation}):
		return fmt.Errorf("%w: a GIF holds the animation; for %s choose .png, .svg or .html", ErrOption, kinds[0])
	case f != GIF && slices.Contains(kinds, KindAnimation):
		return fmt.Errorf("%w: an animation needs .gif or .html", ErrOption)
	case f != GIF && len(kinds) > 1:
		return fmt.Errorf("%w: a %s holds one kind of figure; for several choose .html", ErrOption,
			strings.ToUpper(f.String()))
	}
	return nil
}

// Drawing says what of features is drawn into one file.
type Drawing struct {
	Format Format
	// Kinds are those drawn. Without any an HTML page has all that the features allow, a GIF the
	// animation, and what else there is the dynamics.
	Kinds []string
	// DPI is the resolution of PNG and GIF in dots per inch.
	DPI int
	Options
	// Begin, if not nil, is called before a kind is drawn; its progress is Options.Progress, and
	// end is called afterwards.
	Begin func(kind string) (progress func(done, total int64), end func())
	// Impossible, if not nil, is called with the kinds that a page does without, and why.
	Impossible func(kind string, err error)
}

// Draw draws the features, and returns the file's content and the kinds that it shows. Errors wrap
// ErrOption, ErrNoLayer, ErrNoStimulus, ErrNoTimestep or ErrImpossible.
func (d Drawing) Draw(ctx context.Context, source *Source) (data []byte, kinds []string, err error) {
	if err := CheckKinds(d.Format, d.Kinds); err != nil {
		return nil, nil, err
	}
	wanted, optional := d.Kinds, false
	if len(wanted) == 0 {
		switch d.Format {
		case HTML:
			wanted, optional = Kinds(), true
		case GIF:
			wanted = []string{KindAnimation}
		default:
			wanted = []string{KindDynamics}
		}
	}
	var figures []*Figure
	var animations []*Animation
	for _, kind := range wanted {
		figure, animation, err := d.draw(ctx, source, kind)
		if optional && errors.Is(err, ErrImpossible) {
			if d.Impossible != nil {
				d.Impossible(kind, err)
			}
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if figure != nil {
			figures = append(figures, figure)
		}
		if animation != nil {
			animations = append(animations, animation)
		}
		kinds = append(kinds, kind)
	}
	var out bytes.Buffer
	switch {
	case len(kinds) == 0:
		return nil, nil, fmt.Errorf("%w: no kind of figure", ErrImpossible)
	case d.Format == HTML:
		err = NewPage(source, figures, animations).Write(ctx, &out, d.DPI)
	case d.Format == GIF:
		err = animations[0].WriteGIF(ctx, &out, d.DPI)
	case d.Format == SVG:
		err = figures[0].WriteSVG(&out)
	default:
		err = figures[0].WritePNG(&out, d.DPI)
	}
	return out.Bytes(), kinds, err
}

func (d Drawing) draw(ctx context.Context, source *Source, kind string) (figure *Figure, animation *Animation,
	err error) {
	options := d.Options
	if d.Begin != nil {
		progress, end := d.Begin(kind)
		defer end()
		options.Progress = progress
	}
	switch kind {
	case KindProbabilities:
		figure, err = Probabilities(ctx, source, options)
	case KindDynamics:
		figure, err = Dynamics(ctx, source, options)
	case KindRDM:
		figure, err = RDMs(ctx, source, options)
	case KindMosaic:
		figure, err = FeatureMaps(ctx, source, options)
	case KindAnimation:
		animation, err = Animate(ctx, source, options)
	default:
		err = fmt.Errorf("%w: %s is no result of compare, which %s draws", ErrImpossible, source.path, kind)
	}
	return figure, animation, err
}

// DrawResult is Draw of a result of compare with a name. Of the options only Layers counts; without Kinds, a page has
// all kinds that the result has, and what else there is the first. Errors wrap ErrOption, ErrNoLayer or ErrImpossible.
func (d Drawing) DrawResult(ctx context.Context, name string, result *compare.Result) (data []byte, kinds []string,
	err error) {
	if d.Format == GIF {
		return nil, nil, fmt.Errorf("%w: a GIF holds the animation of features; results are PNG, SVG or HTML", ErrOption)
	}
	if len(d.Layers) > 0 {
		some := *result
		some.Scores = slices.DeleteFunc(slices.Clone(result.Scores), func(s compare.ResultScore) bool {
			return !slices.Contains(d.Layers, s.Layer)
		})
		if result = &some; len(result.Scores) == 0 {
			return nil, nil, fmt.Errorf("%s: %w: there are no scores of %s", name, ErrNoLayer, strings.Join(d.Layers, ", "))
		}
	}
	wanted := d.Kinds
	if len(wanted) == 0 {
		wanted = ComparisonKinds()
	}
	var figures []*Figure
	for _, kind := range wanted {
		figure, err := Comparison(result, kind)
		if len(d.Kinds) == 0 && errors.Is(err, ErrImpossible) {
			continue // results have few of the kinds
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		figures, kinds = append(figures, figure), append(kinds, kind)
	}
	var out bytes.Buffer
	switch {
	case len(figures) == 0:
		return nil, nil, fmt.Errorf("%s: %w: no kind of figure", name, ErrImpossible)
	case d.Format == HTML:
		err = NewComparisonPage(name, result, figures).Write(ctx, &out, d.DPI)
		return out.Bytes(), kinds, err
	case d.Format == SVG:
		err = figures[0].WriteSVG(&out)
	default:
		err = figures[0].WritePNG(&out, d.DPI)
	}
	return out.Bytes(), kinds[:1], err
}
