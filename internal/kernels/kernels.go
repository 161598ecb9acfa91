package kernels

import (
	"errors"
	"fmt"
)

// ErrInvalid means shapes that do not fit each other or are too large, or other instructions
// than those that a process computes with.
var ErrInvalid = errors.New("kernels: invalid request")

// ErrMemory means that there was not enough memory.
var ErrMemory = errors.New("kernels: out of memory")

// ErrUnavailable means that the operations cannot be had: the library lacks the functions
// to register them, or there is no code for the processor.
var ErrUnavailable = errors.New("the faster convolutions are not available")

// Operation is the name of the convolution in TensorFlow; tensorflow.c has its attributes.
const Operation = "TfconvrnnConvolution"

// Form says how a convolution is computed.
type Form int

// The forms: F2 and so on are Winograd's F(2×2, r×r), for kernels of r×r from 2×2 to 4×4, as
// long as it has 4 to 6 positions in a row; Product is a matrix product over patches, for all.
const (
	Product Form = 0
	F2      Form = 2
	F3      Form = 3
	F4      Form = 4
)

// String returns the form's name.
func (f Form) String() string {
	if f == Product {
		return "product"
	}
	return fmt.Sprintf("F(%d×%d)", int(f), int(f))
}

// Filter describes the weights of a convolution whose inputs are joined by channels.
type Filter struct {
	Kernel   int   // height and width
	Channels []int // of each input
	Depth    int   // channels put out
}

// sizes returns the number of weights for each input, or an error that wraps ErrInvalid.
func (f Filter) sizes() ([]int, error) {
	if f.Kernel < 1 || f.Kernel > maxKernel || len(f.Channels) < 1 || len(f.Channels) > maxSources || f.Depth < 1 ||
		f.Depth > maxDimension {
		return nil, fmt.Errorf("%w: %+v", ErrInvalid, f)
	}
	sizes := make([]int, len(f.Channels))
	for i, channels := range f.Channels {
		if channels < 1 || channels > maxDimension {
			return nil, fmt.Errorf("%w: %+v", ErrInvalid, f)
		}
		sizes[i] = f.Kernel * f.Kernel * channels * f.Depth
	}
	return sizes, nil
}

// The limits of the C code.
const (
	maxSources   = 4
	maxKernel    = 7
	maxDimension = 1 << 20
)

// code returns the error that a result of the C code means.
func code(result int) error {
	switch result {
	case 0:
		return nil
	case 2:
		return ErrMemory
	}
	return ErrInvalid
}
