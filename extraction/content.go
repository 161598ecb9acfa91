package extraction

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/dimensions"
	"github.com/tfconvrnn/go/internal/reduce"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Provenance is what an output says about its making.
type Provenance struct {
	tfconvrnn.Provenance
	ExifOrientation string `json:"exif_orientation,omitempty"`
	// BlankSHA256 is that of the file of a blank that is a picture.
	BlankSHA256 string            `json:"blank_sha256,omitempty"`
	Reductions  map[string]string `json:"reductions,omitempty"`
	DataType    features.DataType `json:"data_type"`
	Inputs      []stimuli.Input   `json:"inputs"`
	// StimuliSHA256 is that of all stimuli's names and contents.
	StimuliSHA256 string `json:"stimuli_sha256,omitempty"`
	// ColumnNames are the names in the tables of those columns that have another in the
	// output.
	ColumnNames map[string]string `json:"column_names,omitempty"`
}

// Identity is what must be equal for an interrupted run to go on. What is the same
// in all runs of one version is part of the provenance.
type Identity struct {
	*Provenance
	OnError  OnError           `json:"on_error"`
	Stimuli  int               `json:"stimuli"`
	Contents map[string]string `json:"contents,omitempty"` // of each stimulus, of sets that are not large
	// Blocks has a digest of the ids and contents of every BlockRows stimuli: 1, or whole
	// batches of large sets.
	BlockRows int      `json:"block_rows,omitempty"`
	Blocks    []string `json:"blocks,omitempty"`
}

// maxContents is the number of stimuli whose contents an identity lists, so that it
// can be said which one changed.
const maxContents = 10_000

// newIdentity returns the identity of an extraction of the stimuli with these ids and
// hashes.
func newIdentity(p *Provenance, onError OnError, ids, hashes []string) *Identity {
	i := &Identity{Provenance: p, OnError: onError, Stimuli: len(ids), BlockRows: 1}
	if len(ids) <= maxContents {
		i.Contents = make(map[string]string, len(ids))
		for k, id := range ids {
			i.Contents[id] = hashes[k]
		}
	} else {
		batch := max(p.BatchSize, 1)
		i.BlockRows = batch * ((len(ids) + batch*maxContents - 1) / (batch * maxContents))
	}
	for first := 0; first < len(ids); first += i.BlockRows {
		end := min(first+i.BlockRows, len(ids))
		i.Blocks = append(i.Blocks, blockDigest(ids[first:end], hashes[first:end]))
	}
	return i
}

func blockDigest(ids, hashes []string) string {
	sum := sha256.New()
	for k, id := range ids {
		fmt.Fprintf(sum, "%q %s\n", id, hashes[k])
	}
	return hex.EncodeToString(sum.Sum(nil)[:12])
}

// Errors about reductions: that there is none of the name, that one is impossible for a layer, or that
// a file of principal components cannot be used.
var (
	ErrReduction      = reduce.ErrReduction
	ErrReductionShape = reduce.ErrShape
	ErrComponents     = reduce.ErrPCA
)

// LayerReduction is a layer of an output.
type LayerReduction struct {
	tfconvrnn.LayerOutput
	// Reduction is what Recipe.Reductions names for the layer, such as "gap", or "none".
	Reduction string
	// Kept is why the layer stays as it is though a reduction is meant for all layers, or
	// nil.
	Kept error

	reduction reduce.Reduction
}

// ReduceLayers returns how the layers of an extraction are reduced by reductions such as
// Recipe.Reductions holds, but for those of files; without any, not at all. It is an error if a reduction cannot be
// understood, or does not fit a layer that it names, or is meant for all layers and fits none.
func ReduceLayers(layers []tfconvrnn.LayerOutput, reductions []string) ([]LayerReduction, error) {
	if len(reductions) == 0 {
		reductions = []string{"none"}
	}
	specification, err := reduce.ParseSpecification(reductions)
	if err != nil {
		return nil, err
	}
	return reduceLayers(layers, specification)
}

// reduceLayers returns how the layers of an extraction are reduced. It is an error if a
// reduction is meant for all layers and fits none.
func reduceLayers(layers []tfconvrnn.LayerOutput, specification *reduce.Specification) ([]LayerReduction, error) {
	var list []LayerReduction
	fits := false
	for _, l := range layers {
		r, err := specification.For(l.Name, l.Shape)
		if err != nil {
			return nil, err
		}
		kept := specification.Kept(l.Name, l.Shape)
		list = append(list, LayerReduction{l, r.String(), kept, r})
		fits = fits || kept == nil
	}
	if !fits && len(list) > 0 {
		return nil, fmt.Errorf("%w; it fits none of the layers that are extracted", list[0].Kept)
	}
	for _, name := range specification.Layers() {
		if !slices.ContainsFunc(list, func(l LayerReduction) bool { return l.Name == name }) {
			return nil, fmt.Errorf("%w: it is for layer %s, which is not extracted", reduce.ErrReduction, name)
		}
	}
	return list, nil
}

// reductionNames returns the reductions for provenance.
func reductionNames(layers []LayerReduction) map[string]string {
	names := map[string]string{}
	for _, l := range layers {
		if !l.reduction.IsNone() {
			names[l.Name] = l.Reduction
		}
	}
	return names
}

// outputContent is all that an output holds but the rows.
type outputContent struct {
	Model    savedmodels.Model
	Layers   []LayerReduction
	Logits   bool
	Mask     bool // a mask of the stimuli that could be read
	DataType features.DataType
	// Rows is the number of stimuli, Name that of their set.
	Rows int
	Name string
	// Columns are those of the stimuli, stimulus_id first; Hashes are their contents'.
	// Values may be an features.ColumnType.
	Columns []stimuli.Column
	Hashes  any
	About   *Provenance
}

// Layout describes the output of an extraction.
func (o *outputContent) Layout(format features.Format) (*features.Layout, error) {
	layout := &features.Layout{Rows: o.Rows, Model: o.Model.Name, Identifier: o.Model.Name, StimulusSet: o.Name}
	for _, l := range o.Layers {
		shape, err := l.reduction.OutputShape(l.Shape)
		if err != nil {
			return nil, err
		}
		streamed := features.Streamed{
			Name: l.Name, DataType: o.DataType, RowShape: append([]int{len(l.Timesteps)}, shape...),
			Dimensions: append([]string{"timestep"}, l.reduction.Dimensions(l.Shape)...),
			Layer:      &features.Layer{Timesteps: l.Timesteps, Driven: l.Driven},
		}
		PlaceUnits(&streamed, l.Selection, !l.reduction.IsNone())
		if info, err := o.Model.Layer(l.Name); err == nil && len(info.Areas) > 0 {
			streamed.Layer.Region = info.Areas[0]
		}
		layout.Streamed = append(layout.Streamed, streamed)
	}
	if o.Logits {
		layout.Streamed = append(layout.Streamed, features.Streamed{
			Name: "logits", DataType: features.Float32, RowShape: []int{dimensions.Classes}, Dimensions: []string{"logit"},
		})
	}
	if o.Mask {
		layout.Streamed = append(layout.Streamed, features.Streamed{Name: "valid", DataType: features.Bool})
	}
	about := *o.About
	about.ColumnNames = o.addColumns(layout, format)
	text, err := json.Marshal(about)
	if err != nil {
		return nil, err
	}
	layout.Attributes = []features.Attribute{{Name: "provenance", Value: string(text)}}
	return layout, nil
}

// PlaceUnits says of an array which units of a layer it holds, as far as a reduction leaves that; a selection of nil
// is all units.
func PlaceUnits(s *features.Streamed, selection *tfconvrnn.Selection, reduced bool) {
	if selection == nil {
		return
	}
	at, last := *selection, len(s.RowShape)-1
	if reduced {
		if s.Dimensions[last] != "channel" {
			return // the provenance has it
		}
		at = tfconvrnn.Selection{Map: append(slices.Clone(s.RowShape[1:last]), at.Map[len(at.Map)-1]), Channels: at.Channels}
	} else if len(at.Map) == 3 {
		s.Dimensions[last] = "channel"
	}
	s.Layer.Selection = (*features.Selection)(&at)
}

// rowWriter makes rows of an output of the features of stimuli, reduced. It must not
// be used concurrently.
type rowWriter struct {
	logits   bool
	mask     bool
	reducers []*reduce.Reducer
	sizes    []int // of a layer's features in the output, over all timesteps
	times    []int // of each layer
	// Buffers for one stimulus.
	features, reduced []float32
}

// newRowWriter prepares the reductions of an output. Those of the layers in reduced have been
// done. Errors wrap reduce.ErrShape.
func newRowWriter(o *outputContent, reduced []string) (*rowWriter, error) {
	f := &rowWriter{logits: o.Logits, mask: o.Mask}
	for _, l := range o.Layers {
		r, err := reduce.New(l.reduction, l.Shape)
		if err != nil {
			return nil, err
		}
		if f.sizes = append(f.sizes, r.OutputSize()*len(l.Timesteps)); l.reduction.IsNone() ||
			slices.Contains(reduced, l.Name) {
			r = nil
		}
		f.reducers, f.times = append(f.reducers, r), append(f.times, len(l.Timesteps))
	}
	return f, nil
}

// Parts passes the rows of stimulus i of a batch, one for each streamed array of the layout,
// each in one or several parts, in order, as they lie in memory; write must not keep them.
// The rows of a stimulus that could not be read are NaN.
func (f *rowWriter) Parts(b *tfconvrnn.Batch, i int, write func(array int, part []float32) error) error {
	failed := b.Failed[i] != nil
	for layer, reducer := range f.reducers {
		var err error
		switch {
		case failed:
			err = write(layer, f.missing(f.sizes[layer]))
		case reducer == nil:
			err = f.timesteps(b, i, layer, write)
		default:
			if f.features, err = b.AppendFeatures(f.features[:0], layer, i); err != nil {
				return err
			}
			f.reduced = slices.Grow(f.reduced[:0], f.sizes[layer])[:f.sizes[layer]]
			reducer.ApplyAll(f.reduced, f.features)
			err = write(layer, f.reduced)
		}
		if err != nil {
			return err
		}
	}
	array := len(f.reducers)
	if f.logits {
		values, err := b.Logits(i)
		if err != nil {
			return err
		}
		if values == nil {
			values = f.missing(dimensions.Classes)
		}
		if err := write(array, values); err != nil {
			return err
		}
		array++
	}
	if f.mask {
		valid := float32(1)
		if failed {
			valid = 0
		}
		return write(array, []float32{valid})
	}
	return nil
}

func (f *rowWriter) timesteps(b *tfconvrnn.Batch, i, layer int, write func(array int, part []float32) error) error {
	for t := range f.times[layer] {
		values, err := b.Feature(layer, t, i)
		if err != nil {
			return err
		}
		if err := write(layer, values); err != nil {
			return err
		}
	}
	return nil
}

func (f *rowWriter) missing(n int) []float32 {
	f.reduced = slices.Grow(f.reduced[:0], n)[:n]
	for k := range f.reduced {
		f.reduced[k] = float32(math.NaN())
	}
	return f.reduced
}
