//go:build cgo && (linux || darwin)

package kernels

/*
#cgo CFLAGS: -std=gnu11 -O3 -Wall
#cgo linux LDFLAGS: -lpthread -lm
#include <stdlib.h>

#include "kernels.h"
#include "tensorflow.h"

static const char *kernels_name(int i) {
  return kernels_isas[i] == NULL ? NULL : kernels_isas[i]->name;
}
static const char *kernels_function(int i) { return kernels_functions[i]; }
static int kernels_runs(int i) { return kernels_isa_runs(kernels_isas[i]); }
static int kernels_pack_for(int i, const kernels_shape *shape, const float *const *filters, int threads,
                            kernels_weights **packed) {
  return kernels_pack(kernels_isas[i], shape, filters, threads, packed);
}
*/
import "C"

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/tfconvrnn/go/internal/libtf"
)

// Register makes the operations of this package known to TensorFlow, once for the process:
// further calls return what the first did, and an error that wraps ErrInvalid if they ask for
// other instructions. instructions is one of Instructions. Other errors wrap ErrUnavailable.
func Register(runtime *libtf.Runtime, instructions string) error {
	registering.Do(func() { registered, registeredFor = register(runtime, instructions), instructions })
	if registered == nil && instructions != registeredFor {
		return fmt.Errorf("%w: this process computes with %s already, not %s", ErrInvalid, registeredFor, instructions)
	}
	return registered
}

var (
	registering   sync.Once
	registered    error
	registeredFor string
)

func register(runtime *libtf.Runtime, instructions string) error {
	functions, err := functionsOf(runtime.Symbol)
	if err != nil {
		return err
	}
	i, err := isaOf(instructions)
	if err != nil {
		return err
	}
	var text [1024]C.char
	C.kernels_register(&functions[0], i, &text[0], C.size_t(len(text)))
	if text[0] != 0 {
		return fmt.Errorf("%w: %s", ErrUnavailable, C.GoString(&text[0]))
	}
	return nil
}

// functionsOf returns what the C code calls of TensorFlow.
func functionsOf(lookup func(name string) unsafe.Pointer) ([]unsafe.Pointer, error) {
	var functions []unsafe.Pointer
	var missing []string
	for i := C.int(0); C.kernels_function(i) != nil; i++ {
		name := C.GoString(C.kernels_function(i))
		function := lookup(name)
		if function == nil {
			missing = append(missing, name)
		}
		functions = append(functions, function)
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%w: the library lacks %s", ErrUnavailable, strings.Join(missing, ", "))
	}
	return functions, nil
}

// isaOf returns the place of instructions among the C code's.
func isaOf(instructions string) (C.int, error) {
	for i := C.int(0); C.kernels_name(i) != nil; i++ {
		if C.kernels_runs(i) != 0 && C.GoString(C.kernels_name(i)) == instructions {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%w: there is no code for %q here", ErrUnavailable, instructions)
}

// Instructions lists the sets of vector instructions that there is code for and that this
// processor has, the best first.
func Instructions() []string {
	var names []string
	for i := C.int(0); C.kernels_name(i) != nil; i++ {
		if C.kernels_runs(i) != 0 {
			names = append(names, C.GoString(C.kernels_name(i)))
		}
	}
	return names
}

// Weights are packed weights, in memory of C that the owner frees with Close. Convolve is
// safe for concurrent use; Close must come after.
type Weights struct {
	filter       Filter
	instructions string
	packed       *C.kernels_weights
}

// Pack packs the filters [kernel, kernel, channels, depth], one for each input, for a
// set of instructions.
func Pack(instructions string, filter Filter, filters [][]float32, threads int) (*Weights, error) {
	sizes, err := filter.sizes()
	if err != nil {
		return nil, err
	}
	if len(filters) != len(sizes) {
		return nil, fmt.Errorf("%w: %d filters for %d inputs", ErrInvalid, len(filters), len(sizes))
	}
	for i, size := range sizes {
		if len(filters[i]) != size {
			return nil, fmt.Errorf("%w: a filter of %d values instead of %d", ErrInvalid, len(filters[i]), size)
		}
	}
	i, err := isaOf(instructions)
	if err != nil {
		return nil, err
	}
	shape := filter.shape()
	var pinner runtime.Pinner
	defer pinner.Unpin()
	var pointers [maxSources]*C.float
	for k, values := range filters {
		pointers[k] = pinned(&pinner, values)
	}
	w := &Weights{filter: filter, instructions: instructions}
	if err := code(int(C.kernels_pack_for(i, &shape, &pointers[0], C.int(threads), &w.packed))); err != nil {
		return nil, err
	}
	return w, nil
}

// FormOf returns the form that Operation computes a convolution of square maps in.
func FormOf(filter Filter, batch, size int) (Form, error) {
	if _, err := filter.sizes(); err != nil {
		return 0, err
	}
	shape := filter.shape()
	return Form(C.kernels_form(&shape, C.int64_t(batch), C.int64_t(size), C.int64_t(size))), nil
}

func (f Filter) shape() C.kernels_shape {
	shape := C.kernels_shape{kernel: C.int(f.Kernel), sources: C.int(len(f.Channels)), depth: C.int64_t(f.Depth)}
	for i, channels := range f.Channels {
		shape.channels[i] = C.int64_t(channels)
	}
	return shape
}

// Forms lists the forms that a filter's convolution can be computed in.
func Forms(filter Filter) []Form {
	forms := []Form{Product}
	for form := F2; form <= F4; form++ {
		if C.kernels_has_tile(C.int(filter.Kernel), C.int(form)) != 0 {
			forms = append(forms, form)
		}
	}
	return forms
}

func pinned(pinner *runtime.Pinner, values []float32) *C.float {
	p := unsafe.SliceData(values)
	if p != nil {
		pinner.Pin(p)
	}
	return (*C.float)(unsafe.Pointer(p))
}

// Close frees the weights; closing again does nothing.
func (w *Weights) Close() {
	C.kernels_free(w.packed)
	w.packed = nil
}

// Convolve computes in a form y [batch, height, width, depth] from inputs [batch, height, width,
// channels], with stride 1 and SAME padding. The inputs are those of the filter from first
// on; others are left out of the sum. A stencil [size, size, channels], for one input
// and a kernel of 1×1, is a depthwise convolution before; nil is none.
func (w *Weights) Convolve(form Form, batch, height, width, first int, inputs [][]float32, stencil, y []float32,
	threads int) error {
	if batch < 0 || height < 0 || width < 0 || batch > maxDimension || height > maxDimension || width > maxDimension {
		return fmt.Errorf("%w: %d maps of %d×%d", ErrInvalid, batch, height, width)
	}
	pixels := batch * height * width
	if first < 0 || len(inputs) < 1 || len(inputs) > len(w.filter.Channels)-first || len(y) != pixels*w.filter.Depth ||
		threads < 1 {
		return fmt.Errorf("%w: %d inputs, %d outputs, %d threads", ErrInvalid, len(inputs), len(y), threads)
	}
	for i, input := range inputs {
		if len(input) != pixels*w.filter.Channels[first+i] {
			return fmt.Errorf("%w: an input of %d values instead of %d", ErrInvalid, len(input),
				pixels*w.filter.Channels[first+i])
		}
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	c := C.kernels_convolution{weights: w.packed, tile: C.int(form), first: C.int(first), sources: C.int(len(inputs)),
		batch: C.int64_t(batch), height: C.int64_t(height), width: C.int64_t(width), threads: C.int(threads)}
	for i, input := range inputs {
		c.x[i] = pinned(&pinner, input)
	}
	if stencil != nil {
		size := 1
		for size < maxKernel && size*size*w.filter.Channels[0] < len(stencil) {
			size++
		}
		if size*size*w.filter.Channels[0] != len(stencil) {
			return fmt.Errorf("%w: a stencil of %d values for %d channels", ErrInvalid, len(stencil), w.filter.Channels[0])
		}
		c.stencil, c.stencil_size = pinned(&pinner, stencil), C.int(size)
	}
	c.y = pinned(&pinner, y)
	return code(int(C.kernels_convolve(&c)))
}
