// Package reduce makes the features of a layer smaller while they are extracted.
//
//	gap             the mean over all positions: [height, width, channels] → [channels]
//	pool(k)         means over the fields of a grid of k×k: → [k, k, channels]
//	sparse(d,seed)  a sparse random projection: → [d]
//	pca(FILE)       principal components that FitPCA found and WritePCA saved; pca(FILE,k) the first k
//
// The projection is y = R·x, where x are the n features in C order and R is d×n.
// Each row of R has m = ⌈√n⌉ entries ±√(n/(m·d)), at places drawn with replacement
// (entries drawn at one place add up), so that E|y|² = |x|² and distances are kept
// as by dense projections (Li, Hastie and Church, "Very sparse random projections",
// KDD 2006, whose density 1/√n this is; they draw the number of entries of a row
// too). The draws are those of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), so
// that a few lines of any language make the same matrix. With all arithmetic
// modulo 2^64, mix its finaliser and γ = 0x9E3779B97F4A7C15:
//
//	z      = mix(mix(seed + γ) + (m·row + draw + 1)·γ)     draw = 0 … m-1
//	column = z mod n
//	sign   = + if z < 2^63, else -
//
// Sums are taken in float64, in the order of the draws, and rounded to float32.
package reduce

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/internal/parallel"
	"github.com/tfconvrnn/go/internal/products"
)

var (
	// ErrReduction means that there is no such reduction.
	ErrReduction = errors.New("unknown reduction")
	// ErrShape means that a reduction is impossible for a layer of that shape.
	ErrShape = errors.New("impossible reduction")
)

type kind uint8

const (
	none kind = iota
	gap
	pool
	sparse
	principal
)

// maxDraws bounds the memory of a projection: eight bytes for each.
const maxDraws = 1 << 27

// Reduction says what to do with the features of a layer. The zero value leaves
// them as they are.
type Reduction struct {
	kind kind
	size int // of pool and sparse
	seed uint64
	file *pcaFile
	// layer is whose components are taken.
	layer string
}

var (
	pcaPattern = regexp.MustCompile(`^pca\(([^,()]*[^,()0-9][^,()]*)(?:,([0-9]{1,6}))?\)$`)
	pattern    = regexp.MustCompile(`^(pool|sparse)\(([0-9]{1,9})(?:,([0-9]{1,20}))?\)$`)
)

// Parse reads "none", "gap", "pool(k)" or "sparse(d,seed)", and opens no file: texts may come from
// strangers. The error wraps ErrReduction.
func Parse(text string) (Reduction, error) { return parseOne(text, false) }

func parseOne(text string, files bool) (Reduction, error) {
	compact := strings.Join(strings.Fields(text), "")
	switch compact {
	case "", "none":
		return Reduction{}, nil
	case "gap":
		return Reduction{kind: gap}, nil
	}
	if match := pcaPattern.FindStringSubmatch(strings.TrimSpace(text)); match != nil && files {
		count, _ := strconv.Atoi(match[2]) // 0 for none
		file, err := openPCA(strings.TrimSpace(match[1]), count)
		return Reduction{kind: principal, file: file}, err
	}
	if strings.HasPrefix(compact, "pca") && files {
		return Reduction{}, fmt.Errorf(
			"%w %q: principal components are those of a file, as in pca(components.npz) or pca(components.npz,100)",
			ErrReduction, text)
	}
	match := pattern.FindStringSubmatch(compact)
	if match != nil {
		size, err := strconv.Atoi(match[2])
		switch {
		case err != nil || size < 1:
		case match[1] == "pool" && match[3] == "":
			return Reduction{kind: pool, size: size}, nil
		case match[1] == "sparse" && match[3] != "":
			if seed, err := strconv.ParseUint(match[3], 10, 64); err == nil {
				return Reduction{kind: sparse, size: size, seed: seed}, nil
			}
		}
	}
	return Reduction{}, fmt.Errorf(
		"%w %q; there are gap, pool(k) such as pool(3), and sparse(d,seed) such as sparse(1000,1)%s", ErrReduction, text,
		map[bool]string{true: "; and pca(FILE), with the components of a file"}[files])
}

// String returns what Parse reads.
func (r Reduction) String() string {
	switch r.kind {
	case gap:
		return "gap"
	case pool:
		return fmt.Sprintf("pool(%d)", r.size)
	case sparse:
		return fmt.Sprintf("sparse(%d,%d)", r.size, r.seed)
	case principal:
		return r.file.String()
	}
	return "none"
}

// IsNone says whether features stay as they are.
func (r Reduction) IsNone() bool { return r.kind == none }

// IsAverage says whether features are averaged over all positions.
func (r Reduction) IsAverage() bool { return r.kind == gap }

// PoolSize is k of pool(k), 0 of others.
func (r Reduction) PoolSize() int {
	if r.kind == pool {
		return r.size
	}
	return 0
}

// Specification says how the layers of a model are reduced.
type Specification struct {
	general Reduction
	ofLayer map[string]Reduction
}

// ParseSpecification reads reductions such as "gap", for all layers that it can make
// smaller, and "conv5=pool(3)" or "conv4,conv5=gap", for these layers. A reduction that
// names a layer takes precedence over one for all layers. It opens no file, as Parse. Errors wrap ErrReduction.
func ParseSpecification(texts []string) (*Specification, error) {
	return parseSpecification(texts, false)
}

// OpenSpecification is ParseSpecification that also reads "pca(FILE)" and "pca(FILE,k)", and the files.
// Errors wrap ErrReduction or ErrPCA.
func OpenSpecification(texts []string) (*Specification, error) {
	return parseSpecification(texts, true)
}

func parseSpecification(texts []string, files bool) (*Specification, error) {
	s := &Specification{ofLayer: map[string]Reduction{}}
	given := false
	for _, text := range texts {
		layers, reduction, named := strings.Cut(text, "=")
		if !named {
			reduction = text
		}
		r, err := parseOne(reduction, files)
		if err != nil {
			return nil, err
		}
		if !named {
			if given {
				return nil, fmt.Errorf("%w: %s and %s are both for all layers", ErrReduction, s.general, r)
			}
			s.general, given = r, true
			continue
		}
		for _, layer := range strings.Split(layers, ",") {
			layer = strings.TrimSpace(layer)
			if _, twice := s.ofLayer[layer]; twice || layer == "" {
				return nil, fmt.Errorf("%w: %q names a layer twice, or none", ErrReduction, text)
			}
			s.ofLayer[layer] = r
		}
	}
	return s, nil
}

// Layers returns the layers that are named, sorted.
func (s *Specification) Layers() []string {
	var names []string
	for name := range s.ofLayer {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Kept returns why a layer stays as it is although a reduction is meant for all layers.
// It returns nil if the layer is reduced, or if no reduction is meant for all. The
// error wraps ErrShape.
func (s *Specification) Kept(layer string, shape []int) error {
	if _, named := s.ofLayer[layer]; named || s.general.IsNone() {
		return nil
	}
	_, err := s.general.of(layer).OutputShape(shape)
	return err
}

// of is the reduction for a layer.
func (r Reduction) of(layer string) Reduction {
	r.layer = layer
	return r
}

// For returns the reduction of a layer whose features have a shape. A reduction that is
// meant for all layers leaves a layer as it is if it cannot make it smaller. The error
// wraps ErrShape.
func (s *Specification) For(layer string, shape []int) (Reduction, error) {
	if r, ok := s.ofLayer[layer]; ok {
		r = r.of(layer)
		if _, err := r.OutputShape(shape); err != nil {
			return r, fmt.Errorf("layer %s: %w", layer, err)
		}
		return r, nil
	}
	general := s.general.of(layer)
	if _, err := general.OutputShape(shape); err != nil {
		return Reduction{}, nil
	}
	return general, nil
}

// OutputShape returns the shape of reduced features. The error wraps ErrShape:
// gap and pool need [height, width, channels], and no reduction makes more.
func (r Reduction) OutputShape(shape []int) ([]int, error) {
	n := 1
	for _, d := range shape {
		n *= d
	}
	switch r.kind {
	case gap, pool:
		if len(shape) != 3 {
			return nil, fmt.Errorf("%w: %s needs features over space, not of shape %v", ErrShape, r, shape)
		}
		if r.kind == gap {
			return []int{shape[2]}, nil
		}
		if r.size > shape[0] || r.size > shape[1] {
			return nil, fmt.Errorf("%w: %s makes %d×%d fields of a map that has %d×%d only", ErrShape, r, r.size, r.size,
				shape[0], shape[1])
		}
		return []int{r.size, r.size, shape[2]}, nil
	case sparse:
		if r.size >= n {
			return nil, fmt.Errorf("%w: %s of %d features does not make them fewer", ErrShape, r, n)
		}
		if draws(n) > maxDraws/r.size {
			return nil, fmt.Errorf("%w: %s of %d features needs a matrix of %d × %d entries; %d in all are the most",
				ErrShape, r, n, r.size, draws(n), maxDraws)
		}
		return []int{r.size}, nil
	case principal:
		return r.file.shape(r.layer, shape)
	}
	return slices.Clone(shape), nil
}

// Dimensions names the dimensions of OutputShape.
func (r Reduction) Dimensions(shape []int) []string {
	switch {
	case r.kind == sparse || r.kind == principal:
		return []string{"component"}
	case r.kind == gap:
		return []string{"channel"}
	case len(shape) == 3:
		return []string{"height", "width", "channel"}
	}
	return []string{"class"}
}

// Reducer reduces features of one shape. It is immutable and safe for concurrent
// use.
type Reducer struct {
	reduction Reduction
	shape     []int
	in, out   int
	// A projection: the columns of each row's entries, the sign in bit 0.
	entries []uint32
	scale   float64
	// Principal components, and what they make of the mean.
	pca    *PCA
	offset []float64
}

// New prepares a reduction of features of a shape. The error wraps ErrShape.
func New(r Reduction, shape []int) (*Reducer, error) {
	output, err := r.OutputShape(shape)
	if err != nil {
		return nil, err
	}
	d := &Reducer{reduction: r, shape: slices.Clone(shape), in: 1, out: 1}
	for _, n := range shape {
		d.in *= n
	}
	for _, n := range output {
		d.out *= n
	}
	switch r.kind {
	case sparse:
		d.project()
	case principal:
		d.pca = &PCA{Components: r.file.layers[r.layer].Components[:d.out*d.in]}
		d.offset = make([]float64, d.out)
		products.AddProduct(d.offset, d.out, products.Rows[float32]{Data: r.file.layers[r.layer].Mean, Count: 1,
			Columns: d.in, Stride: d.in},
			products.Rows[float32]{Data: d.pca.Components, Count: d.out, Columns: d.in, Stride: d.in})
	}
	return d, nil
}

const gamma = 0x9E3779B97F4A7C15

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// draws is ⌈√n⌉.
func draws(n int) int {
	m := int(math.Sqrt(float64(n)))
	for m*m < n {
		m++
	}
	for (m-1)*(m-1) >= n {
		m--
	}
	return m
}

func (d *Reducer) project() {
	m := draws(d.in)
	d.entries = make([]uint32, m*d.out)
	d.scale = math.Sqrt(float64(d.in) / (float64(m) * float64(d.out)))
	state := mix(d.reduction.seed + gamma)
	parallel.For(d.out, 1, func(row int) {
		for k := row * m; k < (row+1)*m; k++ {
			z := mix(state + uint64(k+1)*gamma)
			d.entries[k] = uint32(z%uint64(d.in))<<1 | uint32(z>>63)
		}
	})
}

// OutputSize is the number of reduced features.
func (d *Reducer) OutputSize() int { return d.out }

// Apply reduces the features src to dst, which must have their sizes.
func (d *Reducer) Apply(dst, src []float32) {
	dst, src = dst[:d.out], src[:d.in]
	switch d.reduction.kind {
	case gap:
		mean(dst, src, d.shape, 0, d.shape[0], 0, d.shape[1])
	case pool:
		// The fields of PyTorch's adaptive_avg_pool2d.
		k, channels := d.reduction.size, d.shape[2]
		field := func(i, length int) (from, to int) { return i * length / k, ((i+1)*length + k - 1) / k }
		for y := range k {
			top, bottom := field(y, d.shape[0])
			for x := range k {
				left, right := field(x, d.shape[1])
				mean(dst[(y*k+x)*channels:][:channels], src, d.shape, top, bottom, left, right)
			}
		}
	case sparse:
		m := len(d.entries) / d.out
		for row := range dst {
			var sum float64
			for _, e := range d.entries[row*m : (row+1)*m] {
				v := float64(src[e>>1])
				if e&1 != 0 {
					v = -v
				}
				sum += v
			}
			dst[row] = float32(d.scale * sum)
		}
	case principal:
		d.projectPCA(dst, src)
	default:
		copy(dst, src)
	}
}

// mean averages over a field of positions.
func mean(dst, src []float32, shape []int, top, bottom, left, right int) {
	width, channels := shape[1], shape[2]
	sums := make([]float64, channels)
	for y := top; y < bottom; y++ {
		for x := left; x < right; x++ {
			for c, v := range src[(y*width+x)*channels:][:channels] {
				sums[c] += float64(v)
			}
		}
	}
	count := float64((bottom - top) * (right - left))
	for c, sum := range sums {
		dst[c] = float32(sum / count)
	}
}

// ApplyAll reduces consecutive features, several at a time.
func (d *Reducer) ApplyAll(dst, src []float32) {
	if d.reduction.kind == principal {
		d.projectPCA(dst, src)
		return
	}
	parallel.For(len(src)/d.in, 1, func(i int) {
		d.Apply(dst[i*d.out:(i+1)*d.out], src[i*d.in:(i+1)*d.in])
	})
}
