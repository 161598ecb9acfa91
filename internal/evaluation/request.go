package evaluation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// ErrClasses means that the classes to choose from cannot be told.
var ErrClasses = errors.New("unusable choice of classes")

// Classes says among which classes the likeliest is chosen: AllClasses, PresentClasses, or a file
// of WordNet ids.
type Classes string

const (
	// AllClasses are all 1000, which "" is too.
	AllClasses Classes = "all"
	// PresentClasses are those that there are pictures of.
	PresentClasses Classes = "present"
)

// ParseClasses reads classes as people write them. The error, for an empty text, wraps ErrClasses.
func ParseClasses(text string) (Classes, error) {
	if text == "" {
		return "", fmt.Errorf("%w: no classes are named", ErrClasses)
	}
	return Classes(text), nil
}

// String returns what ParseClasses reads.
func (c Classes) String() string { return string(c) }

// choose returns the set with a choice among the classes.
func (c Classes) choose(ctx context.Context, set *Set) (*Set, error) {
	switch c {
	case AllClasses, "":
		return set, nil
	case PresentClasses:
		return set.ChooseAmong(set.Present())
	}
	outputs, err := ReadClasses(ctx, string(c), set.Order)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrClasses, err)
	}
	return set.ChooseAmong(outputs)
}

// Request says which labelled pictures are evaluated.
type Request struct {
	// Images is a folder of pictures, in folders called by their classes (see Folders), or where
	// the paths of Labels begin. Labels is a list of paths and labels (see Labels).
	Images, Labels string
	// Order is a file of 1000 WordNet ids in the order of the outputs (see ReadOrder); sorted if empty.
	Order string
	// Classes are those among which the likeliest is chosen.
	Classes Classes
	// Limit is the most pictures, evenly spread over the set; 0 for all.
	Limit int
	// MayBeMissing lets pictures of Labels be missing: then they fail when they are read.
	MayBeMissing bool
}

// Find finds the pictures. Errors wrap ErrSet, ErrOrder, ErrClasses or ErrMissing.
func (q Request) Find(ctx context.Context) (*Set, error) {
	order := WordNetOrder()
	var err error
	if q.Order != "" {
		if order, err = ReadOrder(ctx, q.Order); err != nil {
			return nil, err
		}
	}
	var set *Set
	switch {
	case q.Labels != "":
		set, err = Labels(ctx, q.Labels, q.Images, order, q.MayBeMissing)
	case q.Images != "":
		set, err = Folders(ctx, q.Images, order)
	default:
		err = fmt.Errorf("%w: neither a folder nor a list of pictures is named", ErrSet)
	}
	if err != nil {
		return nil, err
	}
	if set, err = q.Classes.choose(ctx, set); err != nil {
		return nil, err
	}
	return set.Limit(q.Limit), nil
}

// ModelOptions say how a model is shown the pictures.
type ModelOptions struct {
	Options
	// Presentation is resolved.
	Presentation  tfconvrnn.Presentation
	Preprocessing tfconvrnn.Preprocessing
	// BatchSize is the number of pictures computed together; 0 chooses.
	BatchSize int
	// SkipUnreadable lists pictures that cannot be read; otherwise the first ends the evaluation.
	SkipUnreadable bool
	// Warn and Note tell what may surprise about the pictures. They may be nil.
	Warn, Note func(message string)
	// OnHalved is as in tfconvrnn.OnHalved; it may be nil.
	OnHalved func(from, to int, err error)
}

// Evaluate evaluates a model, which stays the caller's, on a set, and says how it compares with the
// published accuracy. Errors are those of NewModelPredictor and Run.
func Evaluate(ctx context.Context, m *tfconvrnn.Model, set *Set, o ModelOptions) (*Report, error) {
	predictor, err := NewModelPredictor(m, o.Preprocessing, o.SkipUnreadable, tfconvrnn.WithPresentation(o.Presentation),
		tfconvrnn.BatchSize(o.BatchSize),
		tfconvrnn.OnHalved(o.OnHalved))
	if err != nil {
		return nil, err
	}
	predictor.Notices.Warn, predictor.Notices.Note = o.Warn, o.Note
	defer predictor.Notices.Close()
	result, err := Run(ctx, set, predictor, o.Options)
	if err != nil {
		return nil, err
	}
	how := How{Model: m.Info(), Presentation: o.Presentation, Preprocessing: o.Preprocessing, Untrained: m.Untrained()}
	report := NewReport(how, set, result)
	report.Source = predictor.Provenance()
	return report, nil
}

// WriteFiles writes the accuracy of each class (CSV) and a plot of accuracy over time (PNG) to the
// files that are named, whole or not at all.
func (r *Report) WriteFiles(classes, plot string) error {
	var published PublishedAccuracy
	if r.Published != nil {
		published = *r.Published
	}
	draw := func(w io.Writer) error { return r.Result.Plot(w, r.Model, published.Top1, published.Top5) }
	for _, file := range []struct {
		path  string
		write func(io.Writer) error
	}{{classes, r.Result.WriteClasses}, {plot, draw}} {
		if file.path == "" {
			continue
		}
		var content bytes.Buffer
		if err := file.write(&content); err != nil {
			return err
		}
		if err := atomicfile.Write(file.path, content.Bytes()); err != nil {
			return err
		}
	}
	return nil
}
