package libtf

import (
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"slices"
	"unsafe"
)

// maxRank is the largest rank TensorFlow represents; beyond it, it aborts.
const maxRank = 254

// Tensor is a multi-dimensional array in memory of the C library. Its owner
// closes it; one that becomes unreachable is freed by the garbage collector
// some time later, which does not see how much memory it holds. All methods
// are safe for concurrent use.
type Tensor struct {
	handle  *handle
	cleanup runtime.Cleanup
	dtype   DataType
	shape   []int64
	data    unsafe.Pointer
	bytes   int
}

func wrapTensor(pointer unsafe.Pointer) *Tensor {
	t := &Tensor{handle: newHandle(pointer, &live.tensors, func(p unsafe.Pointer) error {
		deleteTensor(p)
		return nil
	})}
	t.dtype, t.shape, t.data, t.bytes = describeTensor(pointer)
	t.cleanup = runtime.AddCleanup(t, (*handle).close, t.handle)
	return t
}

// shapeSize returns the bytes that a dense tensor takes, refusing what makes
// TensorFlow abort: negative or overflowing dimensions and too high a rank.
func shapeSize(operation string, dtype DataType, shape []int64) (int, error) {
	if dtype.Size() == 0 {
		return 0, invalid(operation, "elements of type %v have no fixed size", dtype)
	}
	if len(shape) > maxRank {
		return 0, invalid(operation, "rank %d, the largest is %d", len(shape), maxRank)
	}
	// TensorFlow multiplies dimensions in order and refuses an overflow even
	// if a zero follows, so zeros do not shorten this.
	size := uint64(dtype.Size())
	for i, dimension := range shape {
		if dimension < 0 {
			return 0, invalid(operation, "shape %v: dimension %d is negative", shape, i)
		}
		high, low := bits.Mul64(size, max(uint64(dimension), 1))
		if high != 0 || low > math.MaxInt64 {
			return 0, invalid(operation, "shape %v of %v overflows", shape, dtype)
		}
		size = low
	}
	if slices.Contains(shape, 0) {
		return 0, nil
	}
	return int(size), nil
}

// AllocateTensor returns a tensor whose elements are not set yet: fill it
// through [Data] before use. A scalar has an empty shape. Shapes that are
// negative, overflow or have a rank above 254 are ErrInvalidArgument; memory
// that cannot be had is ErrResourceExhausted. The caller closes the tensor.
func AllocateTensor(dtype DataType, shape []int64) (*Tensor, error) {
	const operation = "allocate a tensor"
	if !loaded() {
		return nil, ErrNotLoaded
	}
	bytes, err := shapeSize(operation, dtype, shape)
	if err != nil {
		return nil, err
	}
	pointer := allocateTensor(dtype, shape, bytes)
	if pointer == nil {
		return nil, &Error{operation, ErrResourceExhausted, fmt.Sprintf("shape %v of %v takes %d bytes", shape, dtype, bytes)}
	}
	t := wrapTensor(pointer)
	if bytes > 0 && t.data == nil {
		t.Close()
		return nil, &Error{operation, ErrResourceExhausted, fmt.Sprintf("shape %v of %v takes %d bytes", shape, dtype, bytes)}
	}
	return t, nil
}

// NewTensor returns a tensor with a copy of data, which is in row-major order
// and must have exactly as many elements as shape says. A scalar has an empty
// shape and one element. Errors are those of [AllocateTensor]. The caller
// closes the tensor.
func NewTensor[T Element](shape []int64, data []T) (*Tensor, error) {
	dtype := DataTypeOf[T]()
	bytes, err := shapeSize("make a tensor", dtype, shape)
	if err != nil {
		return nil, err
	}
	if want := bytes / dtype.Size(); want != len(data) {
		return nil, invalid("make a tensor", "shape %v has %d elements, got %d", shape, want, len(data))
	}
	t, err := AllocateTensor(dtype, shape)
	if err != nil {
		return nil, err
	}
	view, err := Data[T](t)
	if err != nil {
		t.Close()
		return nil, err
	}
	copy(view, data)
	return t, nil
}

// DataType returns the type of the elements. It works on a closed tensor too.
func (t *Tensor) DataType() DataType { return t.dtype }

// Shape returns a copy of the dimensions, empty for a scalar. It works on a
// closed tensor too.
func (t *Tensor) Shape() []int64 { return slices.Clone(t.shape) }

// ByteSize returns the size of the elements in bytes.
func (t *Tensor) ByteSize() int { return t.bytes }

// Data returns the elements in row-major order without copying them. The
// slice is memory of the tensor: it must not be touched after Close, nor after
// the last use of t (defer t.Close() makes that the end of the function).
// Tensors made here may be written to until they are first fed. What Run
// returned is read-only, as it may be memory of the model or of a feed. T must
// match the data type, else the error is ErrInvalidArgument.
func Data[T Element](t *Tensor) ([]T, error) {
	if t == nil {
		return nil, invalid("read a tensor", "the tensor is nil")
	}
	if want := DataTypeOf[T](); t.dtype != want {
		return nil, invalid("read a tensor", "elements are %v, asked for %v", t.dtype, want)
	}
	if err := t.handle.acquire(); err != nil {
		return nil, err
	}
	defer t.handle.release()
	if t.bytes == 0 || t.data == nil {
		return []T{}, nil
	}
	return unsafe.Slice((*T)(t.data), t.bytes/t.dtype.Size()), nil
}

// Close frees the tensor, or leaves that to the runs that are still using it.
// Views of its data become invalid. Closing again does nothing, nor does
// closing nil.
func (t *Tensor) Close() {
	if t == nil {
		return
	}
	t.cleanup.Stop()
	t.handle.close()
}

// CloseAll closes every tensor of the slice; nil ones are skipped.
func CloseAll(tensors []*Tensor) {
	for _, t := range tensors {
		t.Close()
	}
}
