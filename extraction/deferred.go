package extraction

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/dustin/go-humanize"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/processor"
	"github.com/tfconvrnn/go/recordings"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Keep says where computed features are until they are compared.
type Keep string

// The places.
const (
	// KeepAuto is KeepInMemory if they take no more than they may, else KeepInFile if the disk has the room, else
	// KeepNowhere.
	KeepAuto Keep = "auto"
	// KeepInMemory keeps all in memory.
	KeepInMemory Keep = "memory"
	// KeepInFile writes them to the output of the request, with which a later call goes on after an interruption.
	KeepInFile Keep = "file"
	// KeepNowhere writes none: the model runs in several passes over all stimuli, each of which computes only as many
	// layers and timesteps, or features of one, as may be in memory.
	KeepNowhere Keep = "passes"
)

// Keeps are all of them.
func Keeps() []Keep { return []Keep{KeepAuto, KeepInMemory, KeepInFile, KeepNowhere} }

// DeferredOptions may be left empty.
type DeferredOptions struct {
	// Keep is KeepAuto if "".
	Keep Keep
	// Memory is how many bytes of features may be in memory; 0 is a quarter of what is available. KeepInMemory does not
	// look at it.
	Memory int64
	// Run computes all features by Draft.Run, with its argument as RunOptions.Writer, and Resume; nil does just that.
	Run func(into features.Writer) error
	// Pass is called before each pass, whose options it returns: Progress has the stimuli of the pass. Nil tells nobody.
	Pass func(p compare.Pass) RunOptions
	// Warn is called with what the user should know; nil tells nobody.
	Warn func(message string)
}

// deferred is an extraction that runs when features are needed.
type deferred struct {
	*Draft
	ctx    context.Context
	model  *tfconvrnn.Model
	o      DeferredOptions
	key    string // of what decides the features
	ids    []string
	layers []compare.FeatureLayer
}

// Deferred returns features to compare before they are computed. They are when they are first needed, which they
// are not where a compare.GramCache has all. Where they are then, the options say. A file, the output of the request,
// stays until remove is called; its format should be one whose single timesteps are read fast, such as features.NPZ.
// The same features give the same comparisons wherever they are.
//
// The draft and the model must stay open while the features are. Errors wrap tfconvrnn.ErrOption.
func (d *Draft) Deferred(ctx context.Context, model *tfconvrnn.Model, o DeferredOptions) (f *recordings.FeatureFile,
	remove func() error, err error) {
	x := &deferred{Draft: d, ctx: ctx, model: model, o: o, layers: recordings.LayersOf(d.layout)}
	if d.recipe.DataType != features.Float32 {
		return nil, nil, fmt.Errorf("%w: features are compared as %v, not as %v", tfconvrnn.ErrOption, features.Float32,
			d.recipe.DataType)
	}
	if x.o.Run == nil {
		x.o.Run = func(into features.Writer) error {
			_, err := d.Run(ctx, model, RunOptions{Resume: true, Writer: into})
			return err
		}
	}
	if x.o.Pass == nil {
		x.o.Pass = func(compare.Pass) RunOptions { return RunOptions{} }
	}
	if x.o.Warn == nil {
		x.o.Warn = func(string) {}
	}
	if x.o.Memory <= 0 {
		x.o.Memory = processor.AvailableMemory() / 4
	}
	if x.key, err = d.Key(model); err != nil {
		return nil, nil, err
	}
	var content outputContent
	if err = d.recipe.readColumns(&content, func(each func([]stimuli.Record) error) error {
		return d.reread(d.written, each)
	}); err != nil {
		return nil, nil, err
	}
	x.ids = content.Columns[0].Values.([]string)
	var columns []features.Column
	for _, c := range content.Columns {
		columns = append(columns, features.Column{Name: c.Name, Values: c.Values})
	}
	provenance, err := x.provenance()
	if err != nil {
		return nil, nil, err
	}
	f, err = recordings.ComputedFeatures(x.ids, columns, x.layers, x.key, provenance, x.compute)
	return f, x.remove, err
}

// provenance is that of features that were computed now. Whether they are, and in which batches on a GPU, is settled
// later.
func (x *deferred) provenance() (string, error) {
	batch, threads := x.recipe.BatchSize, x.recipe.Threads
	err := x.complete(x.model)
	x.recipe.BatchSize, x.recipe.Threads = batch, threads
	return x.layout.Provenance(), err
}

// keyFile is a file that says of which key the features are, when all are there.
func (x *deferred) keyFile() string { return x.recipe.Output + ".key" }

func (x *deferred) compute() (*recordings.FeatureFile, error) {
	out := x.recipe.Output
	if text, err := os.ReadFile(x.keyFile()); err == nil && string(text) == x.key {
		if made, err := recordings.OpenFeatures(out); err == nil {
			return made, nil
		}
	}
	if err := os.RemoveAll(out); err != nil {
		return nil, err
	}
	keep, err := x.keep()
	if err != nil {
		return nil, err
	}
	switch keep {
	case KeepInMemory:
		if err := x.begin(x.ctx, x.model, RunOptions{Warn: x.o.Warn}.defaults()); err != nil {
			return nil, err
		}
		m := recordings.NewMemoryFeatures(x.layout)
		if err := x.o.Run(m); err != nil {
			return nil, err
		}
		return m.Features(x.ids)
	case KeepNowhere:
		return x.inPasses()
	}
	made, err := x.inFile()
	if x.o.Keep == KeepInFile || !errors.Is(err, features.ErrNoSpace) {
		return made, err
	}
	x.o.Warn(fmt.Sprintf("%v; nothing is written now, and the features are computed in passes", err))
	if err := features.Discard(out); err != nil {
		return nil, err
	}
	return x.inPasses()
}

// keep decides where the features are. The error wraps compare.ErrRoom.
func (x *deferred) keep() (Keep, error) {
	switch x.o.Keep {
	case KeepInFile, KeepNowhere:
		return x.o.Keep, nil
	case KeepInMemory:
		if available := processor.AvailableMemory(); x.size > available {
			return "", fmt.Errorf("%w: they take %s, and %s of memory are available", compare.ErrRoom,
				humanize.Bytes(uint64(x.size)), humanize.Bytes(uint64(available)))
		}
		return KeepInMemory, nil
	case KeepAuto, "":
	default:
		return "", fmt.Errorf("%w: features are kept in none of %v: %q", tfconvrnn.ErrOption, Keeps(), x.o.Keep)
	}
	switch {
	case features.Interrupted(x.recipe.Output):
		return KeepInFile, nil
	case x.size <= x.o.Memory:
		return KeepInMemory, nil
	case CheckSpace(x.recipe.Output, x.size) == nil:
		return KeepInFile, nil
	}
	return KeepNowhere, nil
}

func (x *deferred) inFile() (*recordings.FeatureFile, error) {
	if err := x.o.Run(nil); err != nil {
		return nil, err
	}
	if err := atomicfile.Write(x.keyFile(), []byte(x.key)); err != nil {
		return nil, err
	}
	return recordings.OpenFeatures(x.recipe.Output)
}

func (x *deferred) remove() error {
	if err := os.Remove(x.keyFile()); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.RemoveAll(x.recipe.Output)
}
