package plotting

import (
	"context"
	"fmt"
	"image"
	"math"
	"strings"

	"gonum.org/v1/gonum/blas/blas32"

	"github.com/tfconvrnn/go/internal/parallel"
)

// rdmBlockBytes bounds the standardized features that are in memory at a time,
// unless those of a single stimulus are more.
const rdmBlockBytes = 256 << 20

// RDMs draws representational dissimilarity matrices: 1 - Pearson's correlation
// between the responses of a layer's units to each two stimuli, for layers (rows)
// and timesteps (columns), after Kriegeskorte, Mur and Bandettini (2008). A
// matrix is grey where a response does not vary over units. It stops when ctx is
// done. Errors: ErrNoLayer, ErrNoStimulus, ErrNoTimestep, ErrImpossible (fewer
// than two stimuli), ErrOption, and those of reading.
func RDMs(ctx context.Context, s *Source, o Options) (*Figure, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	layers, err := s.selectLayers(o.Layers, nil, "features")
	if err != nil {
		return nil, err
	}
	stimuli, err := s.selectStimuli(o.Stimuli)
	if err != nil {
		return nil, err
	}
	if len(stimuli) < 2 {
		return nil, fmt.Errorf("%s: %w: dissimilarities need two stimuli or more", s.path, ErrImpossible)
	}
	count := plural(len(stimuli), "stimulus")
	if len(stimuli) > o.MaxStimuli {
		if o.MaxStimuli < 2 {
			return nil, fmt.Errorf("%w: max-stimuli %d; dissimilarities need two or more", ErrOption, o.MaxStimuli)
		}
		count = fmt.Sprintf("%d of %d stimuli, evenly spaced", o.MaxStimuli, len(stimuli))
		stimuli = spaced(stimuli, o.MaxStimuli)
	}
	columns, err := s.selectColumns(layers, o.Timesteps)
	if err != nil {
		return nil, err
	}
	g := &imageGrid{columns: columns}
	for i, l := range layers {
		matrices, err := s.rdms(ctx, l, columns, stimuli, rdmBlockBytes, func(done, total int64) {
			o.Progress(int64(i)*total+done, int64(len(layers))*total)
		})
		if err != nil {
			return nil, err
		}
		largest := 0.0
		for _, m := range matrices {
			for _, v := range m {
				if v > largest { // not NaN
					largest = v
				}
			}
		}
		row := gridRow{name: l.Name, colors: sequentialMap(), lo: 0, hi: niceCeil(largest), label: "1 − r"}
		row.cells, row.blank = make([]image.Image, len(columns)), make([]bool, len(columns))
		for k, m := range matrices {
			if m == nil {
				continue
			}
			n := len(stimuli)
			row.blank[k] = !l.Driven[l.at(columns[k].timestep)]
			row.cells[k] = scaled(n, n, func(x, y int) float64 { return m[y*n+x] / row.hi }, row.colors)
		}
		g.rows = append(g.rows, row)
	}
	f := g.figure()
	f.Name, f.Title, f.Subtitle = "rdm", "Representational dissimilarity", s.subtitle()
	f.Caption = "1 − Pearson's correlation over a layer's units between the responses to each two stimuli (" + count +
		", in the output's order from top left); each row has its own colours. Grey: before an image can have reached the layer, or undefined, since a response does not vary. Dashes: not reported."
	var projected []string
	for _, l := range layers {
		if r := s.about.projection(l.Name); r != "" {
			projected = append(projected, l.Name+" "+r)
		}
	}
	if len(projected) > 0 {
		f.Caption += " Not over units but over the values of a projection: " + strings.Join(projected, ", ") + "."
	}
	return f, nil
}

// rdms returns an n×n matrix for each column at which the layer is reported, nil
// for others. Stimuli are compared in blocks: one block stays in memory while the
// later stimuli are read one by one.
func (s *Source) rdms(ctx context.Context, l *Layer, columns []column, stimuli []int, blockBytes int64,
	progress func(done, total int64)) ([][]float64, error) {
	n, size := len(stimuli), l.size()
	matrices := make([][]float64, len(columns))
	var times, at []int // of the layer, of the columns
	for k, c := range columns {
		if t := l.at(c.timestep); t >= 0 {
			times, at = append(times, t), append(at, k)
			matrices[k] = make([]float64, n*n)
		}
	}
	if len(times) == 0 {
		return matrices, nil
	}
	if _, err := l.rows.row(stimuli[0]); err != nil { // it shows that features are as large as the output says
		return nil, err
	}
	block := int(max(1, min(int64(n), blockBytes/(4*int64(size)*int64(len(times))))))
	var total, done int64
	for first := 0; first < n; first += block {
		total += int64(n - first)
	}
	// read standardizes the responses to a stimulus into dst and tells for which
	// timesteps they have a correlation.
	read := func(stimulus int, dst []float32, defined []bool) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		row, err := l.rows.row(stimulus)
		if err != nil {
			return err
		}
		for i, t := range times {
			defined[i] = standardize(row[t*size:(t+1)*size], dst[i*size:(i+1)*size])
		}
		done++
		progress(done, total)
		return nil
	}
	held := make([]float32, block*len(times)*size)
	heldDefined := make([]bool, block*len(times))
	other := make([]float32, len(times)*size)
	otherDefined := make([]bool, len(times))
	width := len(times) * size
	// compare fills in the dissimilarities of stimulus a, standardized in x, and
	// the first count of those held, which begin with stimulus first.
	compare := func(a int, x []float32, xDefined []bool, first, count int) {
		parallel.For(len(at), 1, func(i int) { // each has its own matrix
			matrix := matrices[at[i]]
			for b := range count {
				d := math.NaN()
				if xDefined[i] && heldDefined[b*len(times)+i] {
					d = 0
					if a != first+b {
						y := held[b*width+i*size : b*width+(i+1)*size]
						d = max(0, 1-blas32.DDot(vector(x[i*size:(i+1)*size]), vector(y)))
					}
				}
				matrix[a*n+first+b], matrix[(first+b)*n+a] = d, d
			}
		})
	}
	for first := 0; first < n; first += block {
		in := min(block, n-first)
		for a := range in {
			x, defined := held[a*width:(a+1)*width], heldDefined[a*len(times):(a+1)*len(times)]
			if err := read(stimuli[first+a], x, defined); err != nil {
				return nil, err
			}
			compare(first+a, x, defined, first, a+1)
		}
		for a := first + in; a < n; a++ {
			if err := read(stimuli[a], other, otherDefined); err != nil {
				return nil, err
			}
			compare(a, other, otherDefined, first, in)
		}
	}
	return matrices, nil
}

func vector(values []float32) blas32.Vector {
	return blas32.Vector{N: len(values), Inc: 1, Data: values}
}

// standardize writes (v - mean)/‖v - mean‖, so that dot products are Pearson's
// correlations. False where v does not vary beyond rounding, or is not finite.
func standardize(v, dst []float32) bool {
	sum := 0.0
	for _, x := range v {
		sum += float64(x)
	}
	mean := sum / float64(len(v))
	square, largest := 0.0, 0.0
	for _, x := range v {
		d := float64(x) - mean
		square += d * d
		largest = max(largest, math.Abs(float64(x)))
	}
	if math.IsNaN(square) || math.IsInf(square, 0) || square <= 1e-14*largest*largest*float64(len(v)) {
		return false
	}
	scale := 1 / math.Sqrt(square)
	for i, x := range v {
		dst[i] = float32((float64(x) - mean) * scale)
	}
	return true
}
