package extraction

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/reduce"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Recipe is everything that a plan fixes but the stimuli themselves.
type Recipe struct {
	// Output is the absolute path or the URL of the output.
	Output string `json:"output"`
	// Format is the output's. In a request "" chooses .npz, or Zarr if the output is large, and
	// adds its suffix to Output; plan files are of Zarr.
	Format features.Format `json:"format,omitempty"`
	// Grams, if not nil, makes the output a folder of Gram matrices; Format is Zarr then.
	Grams *Grams `json:"grams,omitempty"`
	// Replace lets finish put the store in the place of another.
	Replace bool `json:"replace,omitempty"`
	// Weights is how the planner found the weights. Workers may find them elsewhere: their
	// hash decides, which is in the provenance.
	Weights tfconvrnn.Weights `json:"weights"`

	Model     string              `json:"model"`
	Devices   tfconvrnn.Devices   `json:"device"`
	Precision tfconvrnn.Precision `json:"precision"`
	// Convolution is tfconvrnn.ConvolutionAuto ("" as well) or ConvolutionDirect.
	Convolution tfconvrnn.Convolution `json:"convolution,omitempty"`
	TF32        bool                  `json:"tf32,omitempty"`
	// Threads is the number of threads that TensorFlow computes with: the last bits
	// depend on it, so it is the same everywhere, however many cores there are.
	Threads       int                     `json:"threads"`
	Layers        []string                `json:"layers"`
	AllTimesteps  bool                    `json:"all_timesteps,omitempty"`
	Logits        bool                    `json:"logits,omitempty"`
	Presentation  tfconvrnn.Presentation  `json:"presentation"`
	Preprocessing tfconvrnn.Preprocessing `json:"preprocessing"`
	// Selections take only some units of layers; see tfconvrnn.SelectUnits. Reductions are of these.
	Selections []string          `json:"selections,omitempty"`
	Reductions []string          `json:"reductions,omitempty"`
	DataType   features.DataType `json:"data_type"` // Float32 or Float16
	OnError    OnError           `json:"on_error"`

	// How sequences are read; see stimuli.Options.
	MaxFrames       int     `json:"max_frames"`
	FramesPerSecond float64 `json:"frames_per_second"`

	// BatchSize is the number of stimuli computed together. ChunkStimuli is that of a
	// chunk of the plan, a multiple of it, and ZarrChunkRows that of a chunk of the
	// store, a divisor of ChunkStimuli: so every stimulus is always computed with the
	// same others.
	BatchSize     int `json:"batch_size"`
	ChunkStimuli  int `json:"chunk_stimuli"`
	ZarrChunkRows int `json:"zarr_chunk_rows"`

	Stimuli int             `json:"stimuli"`
	Set     stimuli.Summary `json:"set"`
	// Columns are those of the store, of which the first are stimulus_id and
	// stimulus_path.
	Columns []PlannedColumn `json:"columns"`
	// ColumnsSHA256 is that of the values of all columns but the first.
	ColumnsSHA256 string `json:"columns_sha256"`
	// HashWidth is the length of the longest hash.
	HashWidth  int         `json:"hash_width"`
	Provenance *Provenance `json:"provenance"`
	// FrameRows is the number of stimuli in each frame of the plan file.
	FrameRows []int `json:"frame_rows"`

	timesteps map[string][]int // those of each layer that a pass computes, where not all are
}

// OnError says what to do with a stimulus that cannot be read.
type OnError string

const (
	// Fail ends the extraction.
	Fail OnError = "fail"
	// Skip writes NaN for the stimulus, and a mask of those that could be read.
	Skip OnError = "skip"
)

// ParseOnError reads fail or skip. The error wraps tfconvrnn.ErrOption.
func ParseOnError(text string) (OnError, error) {
	switch o := OnError(text); o {
	case Fail, Skip:
		return o, nil
	}
	return "", fmt.Errorf("%w: a stimulus that cannot be read lets the extraction %s or %s it, not %q",
		tfconvrnn.ErrOption, Fail, Skip, text)
}

// String returns what ParseOnError reads.
func (o OnError) String() string { return string(o) }

// ParseDataType reads the type of features in an output: float32 or float16. The error wraps
// tfconvrnn.ErrOption.
func ParseDataType(text string) (features.DataType, error) {
	for _, d := range []features.DataType{features.Float32, features.Float16} {
		if d.String() == text {
			return d, nil
		}
	}
	return features.InvalidType, fmt.Errorf("%w: features are of type %v or %v, not %s", tfconvrnn.ErrOption,
		features.Float32, features.Float16, text)
}

// PlannedColumn is a column whose values are in the stimuli's records.
type PlannedColumn struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"` // stimuli.TextColumn and so on
	Width int    `json:"width"`
}

func (c PlannedColumn) columnType() features.ColumnType {
	switch c.Kind {
	case stimuli.WholeColumn:
		return features.ColumnType{DataType: features.Int64}
	case stimuli.DecimalColumn:
		return features.ColumnType{DataType: features.Float64}
	case stimuli.BooleanColumn:
		return features.ColumnType{DataType: features.Bool}
	}
	return features.ColumnType{DataType: features.Text, Width: max(c.Width, 1)}
}

// checkChoices makes sure that what is chosen from a list is in it. Errors wrap
// tfconvrnn.ErrOption.
func (r *Recipe) checkChoices() error {
	_, err := ParseDataType(r.DataType.String())
	if err == nil {
		_, err = ParseOnError(string(r.OnError))
	}
	if err == nil {
		_, err = tfconvrnn.ParsePrecision(string(r.Precision))
	}
	if err == nil {
		_, err = tfconvrnn.ParseConvolution(string(r.Convolution))
	}
	return err
}

// specification returns the reductions.
func (r *Recipe) specification() (*reduce.Specification, error) {
	return reduce.OpenSpecification(r.Reductions)
}

// extractOptions are the library's options for the recipe.
func (r *Recipe) extractOptions() []tfconvrnn.ExtractOption {
	options := []tfconvrnn.ExtractOption{
		tfconvrnn.WithPresentation(r.Presentation), tfconvrnn.BatchSize(r.BatchSize),
	}
	if len(r.Layers) == 0 {
		options = append(options, tfconvrnn.OnlyLogits())
	} else {
		options = append(options, tfconvrnn.Layers(r.Layers...))
	}
	if r.AllTimesteps {
		options = append(options, tfconvrnn.AllTimesteps())
	}
	if r.Logits {
		options = append(options, tfconvrnn.Logits())
	}
	for layer, some := range r.timesteps {
		options = append(options, tfconvrnn.Timesteps(layer, some...))
	}
	if len(r.Selections) > 0 {
		options = append(options, tfconvrnn.SelectUnits(r.Selections...))
	}
	if r.Set.Pictures {
		options = append(options, tfconvrnn.NotePreprocessing(r.Preprocessing))
	}
	return options
}

// LoadOptions are the options with which a worker loads the model. Further ones, such
// as a store of converted models or the number of threads, may follow, and WithWeights
// where they lie elsewhere.
func (r *Recipe) LoadOptions() ([]tfconvrnn.Option, error) {
	info, err := savedmodels.Lookup(r.Model)
	if err != nil {
		return nil, err
	}
	options := []tfconvrnn.Option{tfconvrnn.WithWeights(r.Weights)}
	if len(r.Devices) > 0 {
		options = append(options, tfconvrnn.WithDevices(r.Devices...))
	}
	if r.Threads > 0 {
		options = append(options, tfconvrnn.WithThreads(r.Threads))
	}
	if times := r.Presentation.Times(info); times > convert.DefaultTimes {
		options = append(options, tfconvrnn.WithTimes(times))
	}
	if r.Precision != "" && r.Precision != tfconvrnn.Float32 {
		options = append(options, tfconvrnn.WithPrecision(r.Precision))
	}
	if r.Convolution != "" {
		options = append(options, tfconvrnn.WithConvolution(r.Convolution))
	}
	if r.TF32 {
		options = append(options, tfconvrnn.WithTF32())
	}
	return options, nil
}

// content describes the store.
func (r *Recipe) content() (*outputContent, error) {
	info, err := savedmodels.Lookup(r.Model)
	if err != nil {
		return nil, err
	}
	specification, err := r.specification()
	if err != nil {
		return nil, err
	}
	_, outputs, err := tfconvrnn.Outputs(info, r.extractOptions()...)
	if err != nil {
		return nil, err
	}
	c := &outputContent{Model: info, Logits: r.Logits, Mask: r.OnError == Skip, Rows: r.Stimuli, Name: r.Set.Name,
		Hashes: features.ColumnType{DataType: features.Text, Width: max(r.HashWidth, 1)}, About: r.Provenance,
		DataType: r.DataType}
	if err := r.checkChoices(); err != nil {
		return nil, err
	}
	if c.Layers, err = reduceLayers(outputs, specification); err != nil {
		return nil, err
	}
	if r.Provenance != nil && r.Provenance.Reductions != nil {
		for name, reduction := range reductionNames(c.Layers) { // of principal components, the file's hash
			if planned := r.Provenance.Reductions[name]; planned != reduction {
				return nil, fmt.Errorf("%w: the reduction of layer %s is %s, and was %s", ErrModel, name, reduction, planned)
			}
		}
	}
	for _, column := range r.Columns {
		c.Columns = append(c.Columns, stimuli.Column{Name: column.Name, Values: column.columnType()})
	}
	return c, nil
}

// leastChunks is the number of chunks that small sets are divided into too, so that
// there is something to share, and little is lost with one.
const leastChunks = 64

// settleChunks chooses the sizes of chunks, from those that the store would have by
// itself, or from what was asked for.
func (r *Recipe) settleChunks(natural, asked int) {
	batch := r.BatchSize
	natural = min(natural, max(batch, (r.Stimuli+leastChunks-1)/leastChunks))
	if asked > 0 {
		natural = asked
	}
	switch {
	case natural >= batch:
		r.ZarrChunkRows = natural / batch * batch
	default: // several chunks of the store for one batch
		r.ZarrChunkRows = natural
		for batch%r.ZarrChunkRows != 0 {
			r.ZarrChunkRows--
		}
	}
	r.ChunkStimuli = max(r.ZarrChunkRows, batch)
	if r.Stimuli < r.ZarrChunkRows {
		r.ZarrChunkRows = r.Stimuli
	}
}

// check makes sure that a recipe that was read can be followed, so that a damaged
// plan gives an error and nothing else.
func (r *Recipe) check() error {
	rows := 0
	for _, n := range r.FrameRows {
		if n < 1 || n > frameRows {
			return fmt.Errorf("%w: a frame of %d stimuli", ErrPlan, n)
		}
		rows += n
	}
	switch {
	case r.Stimuli < 1 || rows != r.Stimuli:
		return fmt.Errorf("%w: %d stimuli in frames for %d", ErrPlan, rows, r.Stimuli)
	case r.Threads < 1:
		return fmt.Errorf("%w: %d threads", ErrPlan, r.Threads)
	case r.BatchSize < 1 || r.ZarrChunkRows < 1 || r.ChunkStimuli < 1 || r.ChunkStimuli%r.BatchSize != 0:
		return fmt.Errorf("%w: chunks of %d stimuli for batches of %d", ErrPlan, r.ChunkStimuli, r.BatchSize)
	case r.ChunkStimuli%r.ZarrChunkRows != 0 && r.ZarrChunkRows != r.Stimuli:
		return fmt.Errorf("%w: chunks of %d stimuli, and of %d in the store", ErrPlan, r.ChunkStimuli, r.ZarrChunkRows)
	case r.Provenance == nil || r.Output == "" || len(r.Columns) < 2:
		return fmt.Errorf("%w: it lacks the output, columns or provenance", ErrPlan)
	}
	return nil
}

// hash identifies what is computed, wherever the files lie.
func (r *Recipe) hash(identity *Identity) (string, error) {
	grams := r.Grams
	if grams != nil { // whether the features stay changes nothing
		grams = &Grams{Windows: grams.Windows}
	}
	text, err := json.Marshal(struct {
		Identity      *Identity
		ZarrChunkRows int
		Columns       []PlannedColumn
		ColumnsSHA256 string
		Name          string
		Grams         *Grams `json:",omitempty"`
	}{identity, r.ZarrChunkRows, r.Columns, r.ColumnsSHA256, r.Set.Name, grams})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// deviceKind is cpu or gpu: which of several GPUs does not matter.
func deviceKind(device string) string {
	kind, _, _ := strings.Cut(device, ":")
	return kind
}
