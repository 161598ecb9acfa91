package libtf

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func roundTrip[T Element](t *testing.T, want DataType, data ...T) {
	t.Run(want.String(), func(t *testing.T) {
		noLeaks(t)
		assert.Equal(t, want, DataTypeOf[T]())
		x := tensor(t, []int64{1, int64(len(data))}, data...)
		assert.Equal(t, want, x.DataType())
		assert.Equal(t, []int64{1, int64(len(data))}, x.Shape())
		assert.Equal(t, len(data)*want.Size(), x.ByteSize())
		got, err := Data[T](x)
		require.NoError(t, err)
		assert.Equal(t, data, got)
	})
}

func TestTensorOfEveryType(t *testing.T) {
	need(t)
	roundTrip[float32](t, Float, 1, -2, float32(math.Inf(1)))
	roundTrip[float64](t, Double, 1, -2, math.MaxFloat64)
	roundTrip[int8](t, Int8, 1, -128)
	roundTrip[int16](t, Int16, 1, -2)
	roundTrip[int32](t, Int32, 1, -2)
	roundTrip[int64](t, Int64, 1, math.MinInt64)
	roundTrip[uint8](t, Uint8, 1, 255)
	roundTrip[uint16](t, Uint16, 1, 65535)
	roundTrip[uint32](t, Uint32, 1, math.MaxUint32)
	roundTrip[uint64](t, Uint64, 1, math.MaxUint64)
	roundTrip(t, Bool, true, false, true)
	roundTrip[complex64](t, Complex64, 1i, 2)
	roundTrip[complex128](t, Complex128, 1i, 2)
	roundTrip[BFloat16Bits](t, BFloat16, 0x3f80, 0)
	roundTrip[HalfBits](t, Half, 0x3c00, 0)
}

func TestDataTypeNames(t *testing.T) {
	assert.Equal(t, "float32", Float.String())
	assert.Equal(t, "DataType(99)", DataType(99).String())
	assert.Zero(t, String.Size())
}

func TestScalarAndEmptyTensor(t *testing.T) {
	need(t)
	noLeaks(t)
	scalar := tensor[int32](t, nil, 7)
	assert.Empty(t, scalar.Shape())
	value, err := Data[int32](scalar)
	require.NoError(t, err)
	assert.Equal(t, []int32{7}, value)

	empty := tensor[float32](t, []int64{0, 3})
	values, err := Data[float32](empty)
	require.NoError(t, err)
	assert.Empty(t, values)
	assert.Equal(t, []int64{0, 3}, empty.Shape())
}

func TestAllocateAndFill(t *testing.T) {
	need(t)
	noLeaks(t)
	x, err := AllocateTensor(Uint8, []int64{2, 3})
	require.NoError(t, err)
	defer x.Close()
	view, err := Data[uint8](x)
	require.NoError(t, err)
	copy(view, []uint8{1, 2, 3, 4, 5, 6})
	again, err := Data[uint8](x)
	require.NoError(t, err)
	assert.Equal(t, []uint8{1, 2, 3, 4, 5, 6}, again)
	assert.Same(t, &view[0], &again[0], "the view is no copy")
}

func TestTensorDoesNotShareItsArguments(t *testing.T) {
	need(t)
	shape, data := []int64{2}, []float32{1, 2}
	x := tensor(t, shape, data...)
	shape[0], data[0] = 9, 9
	assert.Equal(t, []int64{2}, x.Shape())
	x.Shape()[0] = 9
	assert.Equal(t, []int64{2}, x.Shape())
	got, err := Data[float32](x)
	require.NoError(t, err)
	assert.Equal(t, []float32{1, 2}, got)
}

// Every one of these shapes ends the process inside TF_AllocateTensor.
func TestImpossibleShapes(t *testing.T) {
	need(t)
	noLeaks(t)
	for _, shape := range [][]int64{
		{-1}, {2, -3}, {math.MinInt64}, {math.MaxInt64}, {1 << 32, 1 << 32}, {1 << 62, 4}, {1 << 40, 1 << 40, 0},
		{0, 1 << 40, 1 << 40}, make([]int64, 255), make([]int64, 1000),
	} {
		_, err := AllocateTensor(Float, shape)
		assert.ErrorIs(t, err, ErrInvalidArgument, "%v", shape)
		_, err = NewTensor[float32](shape, nil)
		assert.ErrorIs(t, err, ErrInvalidArgument, "%v", shape)
	}
	ones := make([]int64, 254)
	for i := range ones {
		ones[i] = 1
	}
	x := tensor[float32](t, ones, 1)
	assert.Equal(t, ones, x.Shape())
}

func TestTensorTooLargeForMemory(t *testing.T) {
	need(t)
	noLeaks(t)
	_, err := AllocateTensor(Uint8, []int64{1 << 46})
	assert.ErrorIs(t, err, ErrResourceExhausted)
}

func TestTensorOfWrongKind(t *testing.T) {
	need(t)
	noLeaks(t)
	for _, dtype := range []DataType{String, Resource, Variant, 0, 99, -1} {
		_, err := AllocateTensor(dtype, []int64{1})
		assert.ErrorIs(t, err, ErrInvalidArgument, dtype)
	}
	_, err := NewTensor([]int64{2}, []float32{1})
	assert.ErrorIs(t, err, ErrInvalidArgument)
	assert.ErrorContains(t, err, "has 2 elements, got 1")
	_, err = NewTensor(nil, []float32{})
	assert.ErrorIs(t, err, ErrInvalidArgument)

	x := tensor[float32](t, []int64{1}, 1)
	_, err = Data[int32](x)
	assert.ErrorIs(t, err, ErrInvalidArgument)
	_, err = Data[float32](nil)
	assert.ErrorIs(t, err, ErrInvalidArgument)
}

func TestCloseTensor(t *testing.T) {
	need(t)
	noLeaks(t)
	x, err := NewTensor([]int64{2}, []float32{1, 2})
	require.NoError(t, err)
	var group sync.WaitGroup
	for range 8 {
		group.Go(x.Close)
	}
	group.Wait()
	_, err = Data[float32](x)
	assert.ErrorIs(t, err, ErrClosed)
	assert.Equal(t, []int64{2}, x.Shape())
	assert.Equal(t, Float, x.DataType())
	(*Tensor)(nil).Close()
	CloseAll([]*Tensor{nil, x})
}

func TestCollectorFreesForgottenTensors(t *testing.T) {
	need(t)
	before := LiveObjects().Tensors
	for range 200 {
		_, err := AllocateTensor(Float, []int64{1000})
		require.NoError(t, err)
	}
	assert.Eventually(t, func() bool {
		runtime.GC()
		return LiveObjects().Tensors == before
	}, 10*time.Second, 10*time.Millisecond)
}

func BenchmarkTensor(b *testing.B) {
	need(b)
	shape := []int64{32, 224, 224, 3}
	pixels := make([]float32, 32*224*224*3)
	b.Run("NewTensor", func(b *testing.B) {
		b.SetBytes(int64(4 * len(pixels)))
		for b.Loop() {
			x, err := NewTensor(shape, pixels)
			require.NoError(b, err)
			x.Close()
		}
	})
	b.Run("Data", func(b *testing.B) {
		x := tensor(b, shape, pixels...)
		b.SetBytes(int64(4 * len(pixels)))
		for b.Loop() {
			view, err := Data[float32](x)
			if err != nil || len(view) != len(pixels) {
				b.Fatal(err)
			}
		}
	})
	for _, size := range []int64{1, 1 << 16} {
		b.Run(fmt.Sprintf("Allocate/%d", size), func(b *testing.B) {
			for b.Loop() {
				x, err := AllocateTensor(Float, []int64{size})
				require.NoError(b, err)
				x.Close()
			}
		})
	}
}
