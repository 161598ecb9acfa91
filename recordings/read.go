package recordings

import (
	"fmt"
	"math"
	"slices"

	"github.com/tfconvrnn/go/compare"
)

const (
	// mostPart is the most values that are read of a file at once.
	mostPart = 8 << 20
	// mostKept is the most values that are kept of time bins read ahead.
	mostKept = 10 << 20
)

// count is the number of bins that are read.
func (r *Recording) count() int { return max(len(r.bins), 1) }

func (r *Recording) checkBin(bin int) error {
	if bin < 0 || bin >= r.count() {
		return r.bad(ErrSelection, "time bin %d of %d", bin, r.count())
	}
	return nil
}

// Average returns the responses in a time bin, [stimuli][neuroids]: the mean over the
// repetitions that are not NaN, NaN where there is none. They are the caller's.
func (r *Recording) Average(bin int) (compare.Targets, error) {
	if err := r.checkBin(bin); err != nil {
		return nil, err
	}
	r.cache.Lock()
	defer r.cache.Unlock()
	size := len(r.stimuli) * len(r.neuroids)
	if at := bin - r.means.first; at < 0 || at >= len(r.means.values) {
		ahead := r.ahead(bin, 2*size)
		sums, counts := make([][]float64, ahead), make([][]float64, ahead)
		for b := range ahead {
			sums[b], counts[b] = make([]float64, size), make([]float64, size)
		}
		err := r.read(bin, ahead, func(at row, b, neuroid int, v float64) {
			if !math.IsNaN(v) {
				sums[b][at.stimulus*len(r.neuroids)+neuroid] += v
				counts[b][at.stimulus*len(r.neuroids)+neuroid]++
			}
		})
		if err != nil {
			return nil, err
		}
		r.means = block[compare.Targets]{first: bin}
		for b := range ahead {
			for i := range sums[b] {
				sums[b][i] /= counts[b][i] // 0/0 is NaN
			}
			r.means.values = append(r.means.values, rowsOf(sums[b], len(r.neuroids)))
		}
	}
	var targets compare.Targets
	for _, responses := range r.means.values[bin-r.means.first] {
		targets = append(targets, slices.Clone(responses))
	}
	return targets, nil
}

func rowsOf(flat []float64, width int) [][]float64 {
	rows := make([][]float64, len(flat)/width)
	for i := range rows {
		rows[i] = flat[i*width:][:width:width]
	}
	return rows
}

// Trials returns the responses to each presentation in a time bin, [stimuli][repetitions][neuroids];
// NaN where there was none. They are not the caller's to change.
func (r *Recording) Trials(bin int) (compare.Trials, error) {
	if err := r.checkBin(bin); err != nil {
		return nil, err
	}
	r.cache.Lock()
	defer r.cache.Unlock()
	if at := bin - r.each.first; at < 0 || at >= len(r.each.values) {
		q, k := len(r.neuroids), len(r.repetitions)
		size := len(r.stimuli) * k * q
		ahead := r.ahead(bin, size)
		flat := make([][]float64, ahead)
		for b := range flat {
			flat[b] = slices.Repeat([]float64{math.NaN()}, size)
		}
		err := r.read(bin, ahead, func(at row, b, neuroid int, v float64) {
			flat[b][(at.stimulus*k+at.repetition)*q+neuroid] = v
		})
		if err != nil {
			return nil, err
		}
		r.each = block[compare.Trials]{first: bin}
		for b := range flat {
			trials := make(compare.Trials, len(r.stimuli))
			for i := range trials {
				trials[i] = rowsOf(flat[b][i*k*q:][:k*q:k*q], q)
			}
			r.each.values = append(r.each.values, trials)
		}
	}
	return r.each.values[bin-r.each.first], nil
}

// ahead is how many bins are read at once, of so many values each: files keep bins together, and
// decompress all of them to read one.
func (r *Recording) ahead(bin, size int) int {
	return max(min(mostKept/max(size, 1), r.count()-bin), 1)
}

// read calls take for each value of the rows in some bins.
func (r *Recording) read(bin, count int, take func(at row, bin, neuroid int, v float64)) error {
	files := r.binAt[bin:][:min(count, len(r.binAt)-bin)]
	var weights []float64 // of each bin, where they are averaged
	if r.average {
		files = r.binAt
		if bins, err := r.a.timeBins(); err != nil {
			return err
		} else if bins != nil {
			total := 0.0
			for _, at := range files {
				weights = append(weights, bins[at].End-bins[at].Start)
				total += bins[at].End - bins[at].Start
			}
			for i := range weights {
				weights[i] /= total
			}
		}
	}
	p, err := r.plan(files)
	if err != nil {
		return err
	}
	for from := 0; from < len(p.order); {
		to, err := p.load(from)
		if err != nil {
			return err
		}
		for _, i := range p.order[from:to] {
			at := r.rows[i]
			if at.stimulus < 0 {
				continue
			}
			for j, neuroid := range r.neuroidAt {
				if weights == nil {
					for b, file := range files {
						take(at, b, j, p.value(at, neuroid, file))
					}
					continue
				}
				sum := 0.0
				for b, file := range files {
					sum += weights[b] * p.value(at, neuroid, file)
				}
				take(at, 0, j, sum)
			}
		}
		from = to
	}
	return nil
}

// plan reads the file in parts along the first axis of rows.
type plan struct {
	r            *Recording
	order        []int // rows by their place along the first axis
	axes         []int // of rows
	start, count []int
	perPlace     int
	values       []float64
	strides      []int
	neuroid, bin int // axes, -1 for none
}

func (r *Recording) plan(bins []int) (*plan, error) {
	axes, err := r.a.rowAxes()
	if err != nil {
		return nil, err
	}
	p := &plan{r: r, axes: axes, start: slices.Clone(r.others), count: slices.Repeat([]int{1}, len(r.a.Shape)),
		neuroid: r.a.axis(Neuroid), bin: r.a.axis(TimeBin)}
	span := func(axis int, places []int) {
		if axis >= 0 {
			p.start[axis] = slices.Min(places)
			p.count[axis] = slices.Max(places) - p.start[axis] + 1
		}
	}
	span(p.neuroid, r.neuroidAt)
	span(p.bin, bins)
	if len(axes) == 2 {
		p.count[axes[1]] = r.a.Shape[axes[1]]
	}
	p.perPlace = 1
	for _, n := range p.count {
		p.perPlace *= n
	}
	for i, at := range r.rows {
		if at.stimulus >= 0 {
			p.order = append(p.order, i)
		}
	}
	slices.SortStableFunc(p.order, func(i, j int) int { return r.rows[i].at[0] - r.rows[j].at[0] })
	return p, nil
}

// load reads the places of rows from on, and returns how far it came.
func (p *plan) load(from int) (to int, err error) {
	axis := p.axes[0]
	first := p.r.rows[p.order[from]].at[0]
	most := max(mostPart/p.perPlace, 1)
	to = from
	last := first
	for to < len(p.order) && p.r.rows[p.order[to]].at[0]-first < most {
		last = p.r.rows[p.order[to]].at[0]
		to++
	}
	p.start[axis], p.count[axis] = first, last-first+1
	if p.values, err = p.r.a.Read(p.start, p.count); err != nil {
		return 0, err
	}
	p.strides = make([]int, len(p.count))
	n := 1
	for i := len(p.count) - 1; i >= 0; i-- {
		p.strides[i] = n
		n *= p.count[i]
	}
	if len(p.values) != n {
		return 0, fmt.Errorf("%s: %w: %d values where there should be %d", p.r.a.Name, ErrFormat, len(p.values), n)
	}
	return to, nil
}

func (p *plan) value(at row, neuroid, bin int) float64 {
	offset := 0
	for i, axis := range p.axes {
		offset += (at.at[i] - p.start[axis]) * p.strides[axis]
	}
	if p.neuroid >= 0 {
		offset += (neuroid - p.start[p.neuroid]) * p.strides[p.neuroid]
	}
	if p.bin >= 0 {
		offset += (bin - p.start[p.bin]) * p.strides[p.bin]
	}
	return p.values[offset]
}
