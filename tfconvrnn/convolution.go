package tfconvrnn

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/bundle"
	"github.com/tfconvrnn/go/internal/kernels"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tfpb"
	"github.com/tfconvrnn/go/internal/unroll"
)

// Convolution says how convolutions are computed: as one of the constants below asks for, or, of
// a loaded model, "winograd" and the vector instructions.
type Convolution string

// What can be asked for.
const (
	// ConvolutionAuto computes in float32 on the processor with this project's own
	// operations, by Winograd where that is faster, and otherwise as ConvolutionDirect.
	ConvolutionAuto Convolution = "auto"
	// ConvolutionDirect computes with TensorFlow's operations.
	ConvolutionDirect Convolution = "direct"
)

// ParseConvolution reads auto, which "" is too, or direct. The error wraps ErrOption.
func ParseConvolution(text string) (Convolution, error) {
	switch c := Convolution(text); c {
	case "":
		return ConvolutionAuto, nil
	case ConvolutionAuto, ConvolutionDirect:
		return c, nil
	}
	return "", fmt.Errorf("%w: unknown convolution %q; there are %s and %s", ErrOption, text, ConvolutionAuto,
		ConvolutionDirect)
}

// String returns what ParseConvolution reads, or what Model.Convolution says.
func (c Convolution) String() string { return string(c) }

// WithConvolution chooses ConvolutionAuto, the default, or ConvolutionDirect. Outputs differ in
// the last bits; see [Model.Convolution] for what holds.
func WithConvolution(convolution Convolution) Option {
	return func(o *loadOptions) (err error) {
		o.session.convolution, err = ParseConvolution(string(convolution))
		return err
	}
}

// Convolution says how the model's convolutions are computed: ConvolutionDirect, or
// "winograd" and the vector instructions. ConvolutionAuto is direct on GPUs, in bfloat16, for
// the plain variant, which is the reference, for SavedModels opened with WithTrust, whose graphs may
// change their weights, and where libtensorflow lacks the functions to add operations.
func (m *Model) Convolution() Convolution { return m.session.convolution }

// convolutionKey is all of it that decides the bits of outputs.
func (m *Model) convolutionKey() string {
	if m.session.convolution == ConvolutionDirect {
		return ""
	}
	return string(m.session.convolution) + " " + kernels.Identity()
}

// instructionsEnv limits the vector instructions of this project's own operations, for
// tests: avx512, avx2 or baseline.
const instructionsEnv = "TFCONVRNN_INSTRUCTIONS"

// winograd is how Model.Convolution begins where it is not direct.
const winograd = "winograd "

// settleConvolution decides what ConvolutionAuto is for a model.
func (o *loadOptions) settleConvolution(m *manifest.Manifest) error {
	if o.session.convolution != ConvolutionAuto {
		return nil
	}
	o.session.convolution = ConvolutionDirect
	if len(o.gpu.numbers) > 0 || o.session.precision != Float32 || o.trust || m.Variant != string(unroll.LightCone) {
		return nil
	}
	convolution, err := AvailableConvolution()
	if err == nil {
		o.session.convolution = convolution
	}
	if errors.Is(err, kernels.ErrUnavailable) {
		return nil
	}
	return err
}

// AvailableConvolution returns what [Model.Convolution] is where nothing stands against
// ConvolutionAuto, or an error that says why that is direct in this process. It loads
// libtensorflow, as Load does.
func AvailableConvolution() (Convolution, error) {
	runtime, err := loadRuntime("")
	if errors.Is(err, libtf.ErrAlreadyLoaded) {
		runtime, err = libtf.Loaded(), nil
	}
	if err != nil {
		return "", err
	}
	available := kernels.Instructions()
	if len(available) == 0 {
		return "", fmt.Errorf("%w: this program was built without C", kernels.ErrUnavailable)
	}
	instructions := available[0]
	if asked := os.Getenv(instructionsEnv); asked != "" {
		if instructions = asked; !slices.Contains(available, asked) {
			return "", fmt.Errorf("%w: %s is %q; here there are %s", ErrOption, instructionsEnv, asked,
				strings.Join(available, ", "))
		}
	}
	return Convolution(winograd + instructions), kernels.Register(runtime, instructions)
}

// loads numbers the rewritten graphs of the process.
var loads atomic.Int64

// rewriteConvolutions puts this project's operations into a graph that the converter made.
// The variables that the graph then leaves to the returned filters are added to them.
func (o *loadOptions) rewriteConvolutions(def *tfpb.GraphDef, m *manifest.Manifest, f *filters) {
	kept := map[string]bool{}
	for _, known := range m.Known {
		kept[operationName(known.Source)] = true
	}
	key := strconv.FormatInt(loads.Add(1), 10)
	f.removes = append(f.removes, kernels.Provide(key, f.reader.ReadInto))
	released := kernels.Rewriting{
		Key: key, Threads: o.session.threads, Kept: kept,
		// Computed once, and for one item: packing the weights for that would take longer.
		Skip: func(name string) bool { return strings.HasPrefix(name, "constant/") },
	}.Rewrite(def)
	f.released = append(f.released, released...)
}

// filters read the weights of a SavedModel that this project's operations pack, and that
// TensorFlow therefore does not load.
type filters struct {
	reader   *bundle.Reader
	removes  []func()
	released []string // variables
}

func openFilters(dir string) (*filters, error) {
	reader, err := bundle.Open(filepath.Join(dir, "variables", "variables"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModified, err)
	}
	return &filters{reader: reader}, nil
}

// verify compares the released variables with their checksums, as TensorFlow does with those
// that it loads.
func (f *filters) verify() error {
	for _, name := range f.released {
		if err := f.reader.Verify(name); err != nil {
			return fmt.Errorf("%w: %w", ErrModified, err)
		}
	}
	return nil
}

// close is for when no run needs the weights any more. A nil receiver has nothing to close.
func (f *filters) close() error {
	if f == nil {
		return nil
	}
	for _, remove := range f.removes {
		remove()
	}
	return f.reader.Close()
}

func operationName(tensor string) string {
	name, _, _ := strings.Cut(tensor, ":")
	return name
}
