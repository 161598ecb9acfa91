//go:build cgo && (linux || darwin)

package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func randomFloats(r *rand.Rand, n int) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(r.NormFloat64())
	}
	return values
}

// reference is the convolution at one output, in float64.
func reference(f Filter, height, width int, inputs, filters [][]float32, item, y, x, n int) float64 {
	sum, before := 0.0, (f.Kernel-1)/2
	for i, channels := range f.Channels {
		for dy := range f.Kernel {
			for dx := range f.Kernel {
				row, column := y+dy-before, x+dx-before
				if row < 0 || row >= height || column < 0 || column >= width {
					continue
				}
				in := inputs[i][((item*height+row)*width+column)*channels:]
				weights := filters[i][(dy*f.Kernel+dx)*channels*f.Depth:]
				for c := range channels {
					sum += float64(in[c]) * float64(weights[c*f.Depth+n])
				}
			}
		}
	}
	return sum
}

// depthwise convolves each channel with its own stencil, adding in float64.
func depthwise(c testCase, x, stencil []float32) []float32 {
	y, channels, before := make([]float32, len(x)), c.filter.Channels[0], (c.stencil-1)/2
	for i := range y {
		sum, pixel := 0.0, i/channels
		for dy := range c.stencil {
			for dx := range c.stencil {
				row, column := pixel/c.width%c.height+dy-before, pixel%c.width+dx-before
				if row < 0 || row >= c.height || column < 0 || column >= c.width {
					continue
				}
				from := ((pixel/(c.width*c.height)*c.height+row)*c.width + column) * channels
				sum += float64(x[from+i%channels]) * float64(stencil[(dy*c.stencil+dx)*channels+i%channels])
			}
		}
		y[i] = float32(sum)
	}
	return y
}

type testCase struct {
	filter               Filter
	form                 Form
	stencil              int // size of the depthwise convolution before, or 0
	batch, height, width int
}

// forms are those of Winograd for a kernel.
var forms = map[int][]Form{2: {F3, F4}, 3: {F2, F3, F4}, 4: {F2, F3}}

// randomCase returns one of at most so many multiply-accumulates.
func randomCase(r *rand.Rand, most int) testCase {
	for {
		c := testCase{batch: 1 + r.IntN(4), height: 1 + r.IntN(60), width: 1 + r.IntN(60)}
		c.filter.Kernel = 1 + r.IntN(7)
		if winograd := forms[c.filter.Kernel]; len(winograd) > 0 && r.IntN(4) > 0 {
			c.form = winograd[r.IntN(len(winograd))]
		}
		channels := func() int { return int(math.Exp(r.Float64()*math.Log(1024./3)) * 3) }
		macs := 0
		inputs := 1 + r.IntN(3)
		if c.filter.Kernel == 1 {
			inputs, c.stencil = 1, r.IntN(8)
		}
		for range inputs {
			n := channels()
			if r.IntN(2) == 0 {
				n = (n + 15) / 16 * 16
			}
			c.filter.Channels = append(c.filter.Channels, n)
			macs += n
		}
		c.filter.Depth = channels()
		if macs*c.filter.Kernel*c.filter.Kernel*c.filter.Depth*c.batch*c.height*c.width < most {
			return c
		}
	}
}

// tolerance is the largest difference from the float64 convolution, in parts of the outputs' RMS.
func (c testCase) tolerance() float64 {
	if c.form == Product || int(c.form)+c.filter.Kernel-1 == 4 {
		return 1e-5
	}
	return 5e-5
}

func TestConvolutionsOfRandomShapes(t *testing.T) {
	cases := 150
	if testing.Short() {
		cases = 30
	}
	for _, instructions := range Instructions() {
		t.Run(instructions, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			for range cases {
				c := randomCase(r, 100e6)
				checkCase(t, r, instructions, c)
			}
		})
	}
}

func checkCase(t *testing.T, r *rand.Rand, instructions string, c testCase) {
	name := fmt.Sprintf("%+v", c)
	pixels := c.batch * c.height * c.width
	var inputs, filters [][]float32
	for _, channels := range c.filter.Channels {
		inputs = append(inputs, randomFloats(r, pixels*channels))
		filters = append(filters, randomFloats(r, c.filter.Kernel*c.filter.Kernel*channels*c.filter.Depth))
	}
	w, err := Pack(instructions, c.filter, filters, 1+r.IntN(3))
	require.NoError(t, err, name)
	defer w.Close()
	var stencil []float32
	convolved := inputs
	if c.stencil > 0 {
		stencil = randomFloats(r, c.stencil*c.stencil*c.filter.Channels[0])
		convolved = [][]float32{depthwise(c, inputs[0], stencil)}
	}
	// What is around the outputs must stay.
	const guard = 64
	all := randomFloats(r, pixels*c.filter.Depth+2*guard)
	before := append([]float32(nil), all...)
	y := all[guard : len(all)-guard]
	require.NoError(t, w.Convolve(c.form, c.batch, c.height, c.width, 0, inputs, stencil, y, 1), name)
	require.Equal(t, before[:guard], all[:guard], name)
	require.Equal(t, before[len(all)-guard:], all[len(all)-guard:], name)

	worst, squares, checked := 0.0, 0.0, min(len(y), 400)
	for i := range checked {
		at := i
		if checked < len(y) {
			at = r.IntN(len(y))
		}
		n, pixel := at%c.filter.Depth, at/c.filter.Depth
		want := reference(c.filter, c.height, c.width, convolved, filters, pixel/(c.height*c.width), pixel/c.width%c.height,
			pixel%c.width, n)
		require.False(t, math.IsNaN(float64(y[at])), name)
		worst = max(worst, math.Abs(want-float64(y[at])))
		squares += want * want
	}
	rms := math.Sqrt(squares / float64(checked))
	require.LessOrEqual(t, worst, c.tolerance()*rms, name)
	// The same weights serve another form.
	product := make([]float32, len(y))
	require.NoError(t, w.Convolve(Product, c.batch, c.height, c.width, 0, inputs, stencil, product, 2), name)
	for i := range product {
		worst = max(worst, math.Abs(float64(product[i])-float64(y[i])))
	}
	require.LessOrEqual(t, worst, 4*c.tolerance()*rms, name)

	checkParts(t, r, w, c, inputs, filters)
	// The same bytes with more threads, and one image alone.
	again := make([]float32, len(y))
	require.NoError(t, w.Convolve(c.form, c.batch, c.height, c.width, 0, inputs, stencil, again, 3), name)
	require.Equal(t, y, again, name)
	item := r.IntN(c.batch)
	alone := make([]float32, len(y)/c.batch)
	var some [][]float32
	for _, input := range inputs {
		size := len(input) / c.batch
		some = append(some, input[item*size:(item+1)*size])
	}
	require.NoError(t, w.Convolve(c.form, 1, c.height, c.width, 0, some, stencil, alone, 2), name)
	require.Equal(t, y[item*len(alone):(item+1)*len(alone)], alone, name)
}

// checkParts leaves out some of the inputs: the bytes are those of weights of the others alone.
func checkParts(t *testing.T, r *rand.Rand, w *Weights, c testCase, inputs, filters [][]float32) {
	count := len(inputs)
	if count == 1 {
		return
	}
	first := r.IntN(count)
	last := first + 1 + r.IntN(count-first)
	part := c
	part.filter.Channels = c.filter.Channels[first:last]
	alone, err := Pack(w.instructions, part.filter, filters[first:last], 2)
	require.NoError(t, err)
	defer alone.Close()
	want, got := make([]float32, c.batch*c.height*c.width*c.filter.Depth),
		make([]float32, c.batch*c.height*c.width*c.filter.Depth)
	require.NoError(t, alone.Convolve(c.form, c.batch, c.height, c.width, 0, inputs[first:last], nil, want, 2))
	require.NoError(t, w.Convolve(c.form, c.batch, c.height, c.width, first, inputs[first:last], nil, got, 2))
	require.Equal(t, want, got, "inputs %d to %d of %+v", first, last, c)
}

func TestInvalidShapes(t *testing.T) {
	instructions := Instructions()[0]
	filter := Filter{Kernel: 3, Channels: []int{4}, Depth: 5}
	values := [][]float32{make([]float32, 9*4*5)}
	for name, f := range map[string]Filter{
		"no inputs":       {Kernel: 3, Depth: 5},
		"too many inputs": {Kernel: 3, Channels: []int{1, 1, 1, 1, 1}, Depth: 5},
		"no channels":     {Kernel: 3, Channels: []int{0}, Depth: 5},
		"no depth":        {Kernel: 3, Channels: []int{4}},
		"too deep":        {Kernel: 3, Channels: []int{4}, Depth: 1 << 40},
		"large kernel":    {Kernel: 8, Channels: []int{4}, Depth: 5},
		"other size":      {Kernel: 3, Channels: []int{5}, Depth: 5},
	} {
		_, err := Pack(instructions, f, values, 1)
		assert.ErrorIs(t, err, ErrInvalid, name)
	}
	_, err := Pack("other", filter, values, 1)
	assert.ErrorIs(t, err, ErrUnavailable)
	for kernel := 1; kernel <= maxKernel; kernel++ {
		made, err := Pack(instructions, Filter{Kernel: kernel, Channels: []int{4}, Depth: 5},
			[][]float32{make([]float32, kernel*kernel*4*5)}, 1)
		require.NoError(t, err)
		for form := Form(-1); form <= 5; form++ {
			err := made.Convolve(form, 1, 2, 3, 0, [][]float32{make([]float32, 2*3*4)}, nil, make([]float32, 2*3*5), 1)
			assert.Equal(t, form == Product || slices.Contains(forms[kernel], form), err == nil, "%d, %v", kernel, form)
		}
		made.Close()
	}

	w, err := Pack(instructions, filter, values, 1)
	require.NoError(t, err)
	defer w.Close()
	x, y := [][]float32{make([]float32, 2*3*4)}, make([]float32, 2*3*5)
	assert.NoError(t, w.Convolve(F4, 1, 2, 3, 0, x, nil, y, 1))
	assert.NoError(t, w.Convolve(F4, 0, 2, 3, 0, [][]float32{nil}, nil, nil, 1))
	assert.ErrorIs(t, w.Convolve(F4, 2, 2, 3, 0, x, nil, y, 1), ErrInvalid)
	assert.ErrorIs(t, w.Convolve(F4, -1, -2, 3, 0, x, nil, y, 1), ErrInvalid)
	assert.ErrorIs(t, w.Convolve(F4, 1, 2, 3, 0, nil, nil, y, 1), ErrInvalid)
	assert.ErrorIs(t, w.Convolve(F4, 1, 2, 3, 1, x, nil, y, 1), ErrInvalid)
	assert.ErrorIs(t, w.Convolve(F4, 1, 2, 3, -1, x, nil, y, 1), ErrInvalid)
	assert.ErrorIs(t, w.Convolve(F4, 1, 2, 3, 0, x, nil, y[1:], 1), ErrInvalid)
	assert.ErrorIs(t, w.Convolve(F4, 1, 2, 3, 0, x, nil, y, 0), ErrInvalid)
	assert.ErrorIs(t, w.Convolve(F4, 1, 2, 3, 0, x, make([]float32, 9*4), y, 1), ErrInvalid, "a stencil is for kernels of 1×1")
	one, err := Pack(instructions, Filter{Kernel: 1, Channels: []int{4}, Depth: 5},
		[][]float32{make([]float32, 20)}, 1)
	require.NoError(t, err)
	defer one.Close()
	assert.NoError(t, one.Convolve(Product, 1, 2, 3, 0, x, make([]float32, 9*4), y, 1))
	assert.ErrorIs(t, one.Convolve(Product, 1, 2, 3, 0, x, make([]float32, 9*4+1), y, 1), ErrInvalid)
	assert.ErrorIs(t, one.Convolve(Product, 1, 2, 3, 0, x, make([]float32, 64*4), y, 1), ErrInvalid)
}

func TestFormOf(t *testing.T) {
	deep := Filter{Kernel: 3, Channels: []int{512}, Depth: 512}
	for _, c := range []struct {
		filter      Filter
		batch, size int
		want        Form
	}{
		{Filter{Kernel: 1, Channels: []int{512}, Depth: 512}, 8, 7, Product},
		{Filter{Kernel: 7, Channels: []int{64}, Depth: 64}, 8, 56, Product},
		{Filter{Kernel: 3, Channels: []int{64}, Depth: 64}, 1, 56, F4},
		{Filter{Kernel: 2, Channels: []int{256}, Depth: 512}, 8, 28, F4},
		{Filter{Kernel: 4, Channels: []int{256, 512}, Depth: 1024}, 8, 7, F3},
		{deep, 8, 7, F4}, {deep, 1, 7, F2},
	} {
		form, err := FormOf(c.filter, c.batch, c.size)
		require.NoError(t, err)
		assert.Equal(t, c.want, form, "%+v", c)
		assert.Contains(t, Forms(c.filter), form)
	}
	_, err := FormOf(Filter{Kernel: 8, Channels: []int{4}, Depth: 5}, 1, 7)
	assert.ErrorIs(t, err, ErrInvalid)
}

// TestManyAtOnce convolves in several goroutines with helpers.
func TestManyAtOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	filter := Filter{Kernel: 3, Channels: []int{64}, Depth: 64}
	filters := [][]float32{randomFloats(r, 9*64*64)}
	w, err := Pack(Instructions()[0], filter, filters, 2)
	require.NoError(t, err)
	defer w.Close()
	x := [][]float32{randomFloats(r, 2*14*14*64)}
	want := make([]float32, 2*14*14*64)
	require.NoError(t, w.Convolve(F4, 2, 14, 14, 0, x, nil, want, 1))
	results := make(chan []float32)
	for threads := range 4 {
		go func() {
			for range 50 {
				y := make([]float32, len(want))
				if w.Convolve(F4, 2, 14, 14, 0, x, nil, y, 1+threads) != nil {
					y = nil
				}
				results <- y
			}
		}()
	}
	for range 4 * 50 {
		assert.Equal(t, want, <-results)
	}
}

func BenchmarkConvolve(b *testing.B) {
	for _, c := range []testCase{
		{Filter{3, []int{128}, 256}, F4, 0, 8, 56, 56}, {Filter{3, []int{128}, 256}, F4, 0, 1, 56, 56},
		{Filter{3, []int{256}, 512}, F4, 0, 8, 28, 28}, {Filter{3, []int{256}, 512}, F4, 0, 1, 28, 28},
		{Filter{3, []int{256}, 512}, F2, 0, 1, 28, 28}, {Filter{3, []int{256}, 512}, F3, 0, 1, 28, 28},
		{Filter{3, []int{256}, 512}, Product, 0, 1, 28, 28},
		{Filter{3, []int{512}, 512}, F4, 0, 8, 14, 14}, {Filter{3, []int{512}, 512}, F4, 0, 1, 14, 14},
		{Filter{3, []int{512}, 512}, F2, 0, 1, 14, 14},
		{Filter{3, []int{512}, 512}, F3, 0, 1, 14, 14}, {Filter{3, []int{512}, 512}, Product, 0, 1, 14, 14},
		{Filter{3, []int{512}, 1024}, F4, 0, 8, 7, 7}, {Filter{3, []int{512}, 1024}, F3, 0, 8, 7, 7},
		{Filter{3, []int{512}, 1024}, F2, 0, 8, 7, 7}, {Filter{3, []int{512}, 1024}, Product, 0, 8, 7, 7},
		{Filter{3, []int{512}, 1024}, F4, 0, 1, 7, 7}, {Filter{3, []int{512}, 1024}, F2, 0, 1, 7, 7},
		{Filter{3, []int{512}, 1024}, Product, 0, 1, 7, 7},
		{Filter{1, []int{128}, 128}, Product, 3, 8, 56, 56}, {Filter{1, []int{128}, 128}, Product, 5, 8, 28, 28},
		{Filter{1, []int{512}, 512}, Product, 7, 8, 7, 7},
		{Filter{3, []int{64}, 64}, F4, 0, 8, 56, 56}, {Filter{1, []int{128}, 128}, Product, 0, 8, 56, 56},
		{Filter{1, []int{512}, 512}, Product, 0, 8, 7, 7},
	} {
		for _, instructions := range Instructions()[:1] {
			r := rand.New(rand.NewPCG(5, 6))
			sizes, err := c.filter.sizes()
			require.NoError(b, err)
			w, err := Pack(instructions, c.filter, [][]float32{randomFloats(r, sizes[0])}, 2)
			require.NoError(b, err)
			pixels := c.batch * c.height * c.width
			x, y := [][]float32{randomFloats(r, pixels*c.filter.Channels[0])}, make([]float32, pixels*c.filter.Depth)
			var stencil []float32
			if c.stencil > 0 {
				stencil = randomFloats(r, c.stencil*c.stencil*c.filter.Channels[0])
			}
			b.Run(fmt.Sprintf("%s/%d×%d²×%d→%d/%d/%v/%d", instructions, c.batch, c.height, c.filter.Channels[0], c.filter.Depth,
				c.filter.Kernel, c.form, c.stencil), func(b *testing.B) {
				for b.Loop() {
					require.NoError(b, w.Convolve(c.form, c.batch, c.height, c.width, 0, x, stencil, y, 2))
				}
				macs := float64(pixels) * float64(sizes[0])
				b.ReportMetric(2*macs*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
			w.Close()
		}
	}
}
