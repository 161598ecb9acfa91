package reduce

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"gonum.org/v1/gonum/mat"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/parallel"
	"github.com/tfconvrnn/go/internal/products"
)

// ErrPCA means a file of principal components that cannot be used, or features of which there are none.
var ErrPCA = errors.New("unusable principal components")

// MostRows bounds what PCA is fitted on: its time grows with the cube of their number.
const MostRows = 4096

// PCA are the principal components of a layer's features.
type PCA struct {
	// Shape is that of the features at one timestep.
	Shape []int
	// Mean has one value for each of them. Components are [components, features], of length 1 and
	// orthogonal; Variances are theirs, falling, and Ratios their parts of all variance.
	Mean, Components  []float32
	Variances, Ratios []float64
}

// FitPCA returns the first components of features [rows, units] in C order, fewer where there are fewer:
// scikit-learn's PCA with svd_solver="full", with its signs. It is the same in every run. The error wraps ErrPCA.
func FitPCA(rows []float32, shape []int, components int) (*PCA, error) {
	units := 1
	for _, n := range shape {
		units *= n
	}
	n := len(rows) / max(units, 1)
	if components < 1 || n < 2 || n*units != len(rows) {
		return nil, fmt.Errorf("%w: %d of %d features of the shape %v", ErrPCA, components, n, shape)
	}
	if n > MostRows {
		return nil, fmt.Errorf("%w: it is fitted on %d features at the most, and these are %d", ErrPCA, MostRows, n)
	}
	p := &PCA{Shape: slices.Clone(shape), Mean: make([]float32, units)}
	centred := make([]float32, len(rows))
	parallel.For(units, 256, func(u int) {
		sum := 0.0
		for i := range n {
			sum += float64(rows[i*units+u])
		}
		p.Mean[u] = float32(sum / float64(n))
		for i := range n {
			centred[i*units+u] = float32(float64(rows[i*units+u]) - sum/float64(n))
		}
	})
	gram := make([]float64, n*n)
	products.AddGram(gram, products.Rows[float32]{Data: centred, Count: n, Columns: units, Stride: units})
	products.Mirror(gram, n)
	total := 0.0
	for i := range n {
		total += gram[i*n+i]
	}
	if !(total > 0) || math.IsInf(total, 0) {
		return nil, fmt.Errorf("%w: the features do not vary, or are not finite", ErrPCA)
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(mat.NewSymDense(n, gram), true) {
		return nil, fmt.Errorf("%w: no eigenvalues were found", ErrPCA)
	}
	values := eigen.Values(nil) // rising
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	for k := 0; k < min(components, n-1, units); k++ {
		value := values[n-1-k]
		if value < values[n-1]*1e-12 {
			break
		}
		p.Variances, p.Ratios = append(p.Variances, value/float64(n-1)), append(p.Ratios, value/total)
	}
	p.Components = make([]float32, len(p.Variances)*units)
	parallel.For(len(p.Variances), 1, func(k int) { p.component(k, centred, &vectors, values) })
	return p, nil
}

// component fills in component k: Xᵀu/s, of which the largest entry is positive.
func (p *PCA) component(k int, centred []float32, vectors *mat.Dense, values []float64) {
	n, units := len(values), len(p.Mean)
	sums := make([]float64, units)
	scale := 1 / math.Sqrt(values[n-1-k])
	for i := range n {
		weight := vectors.At(i, n-1-k) * scale
		for u, v := range centred[i*units:][:units] {
			sums[u] += weight * float64(v)
		}
	}
	largest := 0
	for u, v := range sums {
		if math.Abs(v) > math.Abs(sums[largest]) {
			largest = u
		}
	}
	sign := math.Copysign(1, sums[largest])
	for u, v := range sums {
		p.Components[k*units+u] = float32(sign * v)
	}
}

// kindPCA is what a file of principal components says of itself.
const kindPCA = "tfconvrnn principal components 1"

// WritePCA writes principal components of layers as .npz: LAYER/components, LAYER/mean, LAYER/variances,
// LAYER/ratios and LAYER/shape, and the text provenance, which says what they were fitted on. All layers have as many
// as the one with the fewest. Errors wrap ErrPCA or are features.Create's.
func WritePCA(ctx context.Context, path string, layers []string, of map[string]*PCA, provenance string,
	replace bool) error {
	if len(layers) == 0 {
		return fmt.Errorf("%w: of no layer", ErrPCA)
	}
	count := math.MaxInt
	for _, name := range layers {
		count = min(count, len(of[name].Variances))
	}
	layout := &features.Layout{Rows: count, Attributes: []features.Attribute{{Name: "kind", Value: kindPCA},
		{Name: "provenance", Value: provenance}, {Name: "layers", Value: strings.Join(layers, " ")}}}
	for _, name := range layers {
		p := of[name]
		layout.Streamed = append(layout.Streamed, features.Streamed{Name: name + "/components", DataType: features.Float32,
			RowShape: []int{len(p.Mean)}})
		shape := make([]int64, len(p.Shape))
		for i, n := range p.Shape {
			shape[i] = int64(n)
		}
		layout.Constants = append(layout.Constants,
			features.Constant{Name: name + "/mean", Shape: []int{len(p.Mean)}, Values: p.Mean},
			features.Constant{Name: name + "/variances", Shape: []int{count}, Values: p.Variances[:count]},
			features.Constant{Name: name + "/ratios", Shape: []int{count}, Values: p.Ratios[:count]},
			features.Constant{Name: name + "/shape", Shape: []int{len(shape)}, Values: shape})
	}
	w, err := features.Create(path, features.NPZ, layout, features.Options{Force: replace})
	if err != nil {
		return err
	}
	for i, name := range layers {
		if err := w.WriteRows(i, 0, of[name].Components[:count*len(of[name].Mean)]); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	return w.Finish(ctx)
}

// pcaFile is a file of principal components, which reductions of several layers share.
type pcaFile struct {
	path   string
	sha256 string
	count  int // components to take
	layers map[string]*PCA
}

// openPCA reads the file of pca(FILE) or pca(FILE,COUNT); count 0 takes all components.
func openPCA(path string, count int) (*pcaFile, error) {
	fail := func(err error) (*pcaFile, error) { return nil, fmt.Errorf("%w: %s: %w", ErrPCA, path, err) }
	file, err := os.Open(path)
	if err != nil {
		return fail(err)
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return fail(err)
	}
	arrays, err := features.OpenArrays(path)
	if err != nil {
		return fail(err)
	}
	defer arrays.Close()
	text := func(name string) (string, error) {
		a, err := arrays.Array(name)
		if err != nil {
			return "", err
		}
		values, err := a.Strings(0, 1)
		if err != nil {
			return "", err
		}
		return values[0], nil
	}
	if kind, err := text("kind"); err != nil || kind != kindPCA {
		return fail(fmt.Errorf("it holds none (%w)", errors.Join(err, errors.New("its kind is \""+kind+"\""))))
	}
	names, err := text("layers")
	if err != nil {
		return fail(err)
	}
	f := &pcaFile{path: path, sha256: hex.EncodeToString(hash.Sum(nil)), count: count, layers: map[string]*PCA{}}
	for _, name := range strings.Fields(names) {
		p, err := readPCA(arrays, name)
		if err != nil {
			return fail(err)
		}
		if available := len(p.Components) / len(p.Mean); count > available {
			return fail(fmt.Errorf("%d components are asked for, and there are %d", count, available))
		} else if f.count == 0 {
			f.count = available
		}
		f.layers[name] = p
	}
	return f, nil
}

func readPCA(arrays *features.File, name string) (*PCA, error) {
	p := &PCA{}
	shape, err := arrays.Array(name + "/shape")
	if err != nil {
		return nil, err
	}
	numbers, err := shape.Int64s(0, shape.Info().Shape[0])
	if err != nil {
		return nil, err
	}
	units := 1
	for _, n := range numbers {
		if n < 1 || n > math.MaxInt32 || units > math.MaxInt32/int(n) {
			return nil, fmt.Errorf("%w: layer %s of the shape %v", ErrPCA, name, numbers)
		}
		p.Shape, units = append(p.Shape, int(n)), units*int(n)
	}
	for part, to := range map[string]*[]float32{"/mean": &p.Mean, "/components": &p.Components} {
		a, err := arrays.Array(name + part)
		if err != nil {
			return nil, err
		}
		if *to, err = a.Float32s(0, a.Info().Shape[0]); err != nil {
			return nil, err
		}
	}
	if len(p.Mean) != units || len(p.Components) == 0 || len(p.Components)%units != 0 {
		return nil, fmt.Errorf("%w: layer %s has %d components' values of %d features", ErrPCA, name,
			len(p.Components), units)
	}
	return p, nil
}

// String names the components by their content.
func (f *pcaFile) String() string { return fmt.Sprintf("pca(%d,sha256:%s)", f.count, f.sha256) }

// shape is that of a layer's reduced features.
func (f *pcaFile) shape(layer string, shape []int) ([]int, error) {
	p := f.layers[layer]
	if p == nil {
		return nil, fmt.Errorf("%w: %s has no components of layer %s", ErrShape, f.path, layer)
	}
	if !slices.Equal(p.Shape, shape) {
		return nil, fmt.Errorf("%w: the components of %s are of features of the shape %v, and layer %s has %v", ErrShape,
			f.path, p.Shape, layer, shape)
	}
	return []int{f.count}, nil
}

// project sets dst to the components of consecutive features, each by itself the same however many there are.
func (d *Reducer) projectPCA(dst, src []float32) {
	rows := len(src) / d.in
	sums := make([]float64, rows*d.out)
	products.AddProduct(sums, d.out, products.Rows[float32]{Data: src, Count: rows, Columns: d.in, Stride: d.in},
		products.Rows[float32]{Data: d.pca.Components, Count: d.out, Columns: d.in, Stride: d.in})
	for i, v := range sums {
		dst[i] = float32(v - d.offset[i%d.out])
	}
}
