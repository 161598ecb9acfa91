package extraction

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/storage"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// LargeOutput is the size in bytes from which on an output whose format nobody names is Zarr.
const LargeOutput = 4 << 30

// ErrExists means that there is a plan of this name, or an output, already.
var ErrExists = errors.New("plan exists")

// Draft is an extraction of which the stimuli are known, with the hashes of their contents, and
// so the format and the size of the output, but no model is loaded. The stimuli are in a
// temporary file. It must not be used concurrently. The caller closes it.
type Draft struct {
	planner
	name    string // that the file gets when it is committed
	file    *atomicfile.File
	written *pass
	summary *stimuli.Summary
	content *outputContent
	layout  *features.Layout
	size    int64
	final   bool // the file is complete
	// halvedFrom is the number of stimuli that were too many at once for a chosen batch, or 0.
	halvedFrom int
}

// Prepare finds the stimuli of a request, reads and hashes their contents, and chooses the
// format. Memory does not grow with the number of stimuli, except for formats other than Zarr,
// the files of which begin with the columns. Errors are those of the stimuli and of options,
// or wrap features.ErrOwnInput.
func Prepare(ctx context.Context, request *Request) (*Draft, error) {
	name := filepath.Join(os.TempDir(), "tfconvrnn.plan")
	if request.Format == features.Zarr && request.Output != "" && !request.Sketch && !storage.IsRemote(request.Output) {
		name = PlanOf(request.Output)
	}
	return prepare(ctx, request, name)
}

// PlanOf is where Run keeps the plan of a Zarr output until it is finished.
func PlanOf(output string) string { return strings.TrimSuffix(output, "/") + ".plan" }

func prepare(ctx context.Context, request *Request, name string) (_ *Draft, err error) {
	d := &Draft{planner: planner{request: request}, name: name}
	if d.recipe, err = request.recipe(); err != nil {
		return nil, err
	}
	if _, err := features.SettleName(d.recipe.Output, d.recipe.Format); err != nil {
		return nil, err
	}
	if err := features.CheckInputs(d.recipe.Output, request.Inputs.Inputs...); err != nil {
		return nil, err
	}
	folder := os.TempDir()
	if !storage.IsRemote(name) {
		folder = filepath.Dir(name)
	}
	if d.file, err = atomicfile.CreateIn(folder, name); err != nil {
		return nil, err
	}
	if d.file, d.written, d.summary, err = d.collect(ctx, d.file); err == nil {
		err = d.settle()
	}
	if err != nil {
		d.Close()
		return nil, features.DiskError(err)
	}
	return d, nil
}

// Close removes the temporary file. It is idempotent.
func (d *Draft) Close() error { return d.file.Abort() }

// Recipe returns what the extraction is, without what only the model tells.
func (d *Draft) Recipe() *Recipe { return &d.recipe }

// Layout describes the output. It must not be changed.
func (d *Draft) Layout() *features.Layout { return d.layout }

// Layers are those of the output, and how they are reduced.
func (d *Draft) Layers() []LayerReduction { return d.content.Layers }

// Size is the bytes that the output takes; for Zarr, which compresses, the most.
func (d *Draft) Size() int64 { return d.size }

// settle completes the recipe as far as the model need not be loaded.
func (d *Draft) settle() error {
	r, summary, written := &d.recipe, d.summary, d.written
	r.Stimuli, r.Set, r.HashWidth, r.FrameRows = written.count, *summary, written.hashWidth, written.frames.rows
	r.ColumnsSHA256 = hex.EncodeToString(written.cells.Sum(nil))
	r.Columns = []PlannedColumn{
		{"stimulus_id", stimuli.TextColumn, written.widths[0]}, {"stimulus_path", stimuli.TextColumn, written.widths[1]},
	}
	for i, name := range summary.Columns {
		r.Columns = append(r.Columns, PlannedColumn{name, summary.Kinds[i], written.widths[2+i]})
	}
	if err := d.show(); err != nil {
		return err
	}
	r.Provenance = &Provenance{
		Inputs: summary.Inputs, DataType: r.DataType, StimuliSHA256: hex.EncodeToString(written.sum.Sum(nil)),
		BlankSHA256: cmp.Or(d.request.BlankSHA256, r.Presentation.Blank().FileSHA256()),
	}
	if summary.Pictures {
		r.Provenance.ExifOrientation = "stored"
		if r.Preprocessing.ApplyOrientation {
			r.Provenance.ExifOrientation = "apply"
		}
	}
	chosen := r.Format == ""
	if chosen {
		r.Format = features.NPZ
	}
	for {
		if err := d.describe(); err != nil {
			return err
		}
		if !chosen || r.Format == features.Zarr || d.size <= LargeOutput {
			break
		}
		r.Format = features.Zarr
	}
	if chosen && r.Output != "" {
		r.Output += r.Format.Suffix()
	}
	if r.Format == features.Zarr && r.Output != "" && !storage.IsRemote(r.Output) {
		var err error
		if r.Output, err = filepath.Abs(r.Output); err != nil {
			return err
		}
	}
	d.noteWindows()
	return nil
}

// show settles the presentation, now that it is known what kinds of stimuli there are.
func (d *Draft) show() error {
	if d.request.Shown == nil {
		return nil
	}
	info, err := savedmodels.Lookup(d.recipe.Model)
	if err != nil {
		return err
	}
	say := func(to func(string)) func(string) {
		if to == nil {
			return func(string) {}
		}
		return to
	}
	inputs := &d.request.Inputs
	d.recipe.Presentation, err = d.summary.Presentation(*d.request.Shown, info, say(inputs.Warn), say(inputs.Note))
	return err
}

// describe describes the output in the format that the recipe says.
func (d *Draft) describe() (err error) {
	r := &d.recipe
	if r.Format.OneTimeAxis() {
		r.AllTimesteps = true // as its readers expect
	}
	if d.content, err = r.content(); err != nil {
		return err
	}
	r.Provenance.Reductions = reductionNames(d.content.Layers)
	if r.Format != features.Zarr {
		if err := r.readColumns(d.content, func(each func([]stimuli.Record) error) error {
			return d.reread(d.written, each)
		}); err != nil {
			return err
		}
	}
	if d.layout, err = d.content.Layout(r.Format); err != nil {
		return err
	}
	if r.Format != features.Zarr {
		d.size, err = d.layout.Size(r.Format)
		return err
	}
	_, grams, err := r.checkGrams(d.layout)
	if err != nil {
		return err
	}
	store, err := features.NewZarrStore(d.layout, features.Options{})
	if err == nil {
		d.size = store.Size() + grams
	}
	return err
}

// complete adds to the recipe what only the model tells. A nil model is the simulation's.
func (d *Draft) complete(model *tfconvrnn.Model) error {
	r := &d.recipe
	if d.request.Sketch {
		return fmt.Errorf("%w: a sketch is not computed", tfconvrnn.ErrOption)
	}
	if model != nil {
		x, err := model.Plan(r.extractOptions()...)
		if err != nil {
			return err
		}
		r.BatchSize, r.Threads = x.BatchSize(), model.Threads()
		r.Provenance.Provenance = x.Provenance()
		r.Provenance.BatchHalvedFrom = d.halvedFrom
	} else {
		r.BatchSize, r.Threads = max(r.BatchSize, 1), max(r.Threads, 1)
		r.Provenance.BatchSize, r.Provenance.Threads = r.BatchSize, r.Threads
		if r.Grams != nil {
			r.Provenance.Software = version.Software
		}
	}
	var err error
	if d.layout, err = d.content.Layout(r.Format); err != nil { // with the whole provenance
		return err
	}
	if r.Format == features.Zarr {
		r.settleChunks(d.layout.ZarrChunkRows(), d.request.ChunkStimuli)
		return r.check()
	}
	return nil
}

// finish completes the plan file.
func (d *Draft) finish() error {
	if d.final {
		return nil
	}
	text, err := json.Marshal(&d.recipe)
	if err != nil {
		return err
	}
	if len(text) > maxFrameBytes {
		return fmt.Errorf("%w: the recipe has %d bytes", ErrPlan, len(text))
	}
	encoder, err := newEncoder()
	if err != nil {
		return err
	}
	defer encoder.Close()
	d.final = true
	return features.DiskError(d.written.frames.finish(text, encoder))
}

// CheckPlan finds out, before anything is computed, whether a plan file can be written. The error wraps
// ErrExists if there is one and replace is not set, or says why nothing can be written there.
func CheckPlan(ctx context.Context, name string, replace bool) error {
	if exists, err := Exists(ctx, name); err != nil {
		return err
	} else if exists && !replace {
		return fmt.Errorf("%s: %w", name, ErrExists)
	}
	if storage.IsRemote(name) {
		return nil
	}
	return disk.CheckFolder(filepath.Dir(filepath.Clean(name)))
}

// NewPlan is Create, Open and Plan.Start: it plans an extraction to Zarr and makes what workers write
// into. The caller closes the plan.
func NewPlan(ctx context.Context, name string, request *Request, options RunOptions) (*Plan, error) {
	if err := Create(ctx, name, request, options.Replace); err != nil {
		return nil, err
	}
	plan, err := Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := plan.Start(ctx, options); err != nil {
		plan.Close()
		return nil, err
	}
	return plan, nil
}

// Create plans an extraction to Zarr and writes the plan file, which is a path or a URL. It
// holds neither all stimuli in memory nor makes anything but the file. The errors are
// those of Prepare; ErrExists unless replace is set.
func Create(ctx context.Context, name string, request *Request, replace bool) error {
	if err := CheckPlan(ctx, name, replace); err != nil {
		return err
	}
	if request.Format != "" && request.Format != features.Zarr {
		return fmt.Errorf("%w: a plan file is of a Zarr output, not of %s", tfconvrnn.ErrOption, request.Format)
	}
	zarr := *request
	zarr.Format = features.Zarr
	d, err := prepare(ctx, &zarr, name)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.complete(request.Loaded); err != nil {
		return err
	}
	return d.publish(ctx, name)
}

// publish writes the plan file under a name, which may be a URL and may exist.
func (d *Draft) publish(ctx context.Context, name string) error {
	if err := d.finish(); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if name != d.name && !storage.IsRemote(name) {
		return CopyPlan(ctx, d.file.Name(), name)
	}
	return publishPlan(ctx, d.file, name)
}
