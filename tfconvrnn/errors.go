package tfconvrnn

import (
	"errors"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/savedmodels"
)

// Errors that callers can test for with errors.Is. Every error of this package
// wraps one of them, an error of the file system, or a context's.
var (
	// ErrClosed means that the Model was closed.
	ErrClosed = errors.New("model is closed")
	// ErrUnknownModel means that there is no such model; the message names the
	// nearest ones.
	ErrUnknownModel = savedmodels.ErrUnknownModel
	// ErrUnknownLayer means that the model has no such layer or area.
	ErrUnknownLayer = savedmodels.ErrUnknownLayer
	// ErrNoWeights means that neither a SavedModel nor a checkpoint was found;
	// the message says what to do.
	ErrNoWeights = savedmodels.ErrNoWeights
	// ErrPresentation means a presentation that is impossible, or impossible for
	// the model.
	ErrPresentation = errors.New("impossible presentation")
	// ErrImages means images of a wrong size, type or range of values.
	ErrImages = errors.New("unusable images")
	// ErrOption means an option that makes no sense.
	ErrOption = errors.New("impossible option")
	// ErrPrecision means that the processor cannot compute in the precision asked for.
	ErrPrecision = errors.New("precision is not available")
	// ErrDevice means that the device asked for is not there.
	ErrDevice = errors.New("device is not available")
	// ErrMemory means that a batch does not fit into the memory of its device; the message says
	// how many stimuli, where, and with which limit. A smaller batch may.
	ErrMemory = errors.New("out of memory")
	// ErrNoGPUBuild means that the runtime cannot use GPUs; errors that wrap it wrap
	// ErrDevice too.
	ErrNoGPUBuild = errors.New("is the CPU build of libtensorflow")
	// ErrModified means that a SavedModel's files are not those that were converted.
	ErrModified = manifest.ErrModified
	// ErrRuntimeNotFound means that libtensorflow was not found; the message says
	// where it was looked for and how to get it.
	ErrRuntimeNotFound error = libtf.ErrNotFound
	// ErrUnreadable means a picture that cannot be decoded.
	ErrUnreadable = images.ErrUnreadable
)
