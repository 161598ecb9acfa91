package explorer

import (
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// unit sends what a unit computes at every timestep, as it is. The query has layer, channel, row and column; for the
// readout channel is the class.
func (x *Explorer) unit(w http.ResponseWriter, r *http.Request) error {
	a, _, err := x.pair(r, false)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	l, err := a.layer(query.Get("layer"))
	if err != nil {
		return err
	}
	index := 0
	names := []string{"row", "column", "channel"}
	if len(l.Shape) == 1 {
		names = []string{"channel"}
	}
	for i, name := range names {
		n, err := strconv.Atoi(query.Get(name))
		if err != nil || n < 0 || n >= l.Shape[i] {
			return faultf(http.StatusUnprocessableEntity, "%s %q of %s: it is 0 … %d", name, query.Get(name), l.Name,
				l.Shape[i]-1)
		}
		index = index*l.Shape[i] + n
	}
	values := make([]float32, len(l.Timesteps))
	for t := range values {
		values[t] = at(l, t)[index]
	}
	w.Header().Set("Cache-Control", "private, max-age=600")
	return writeJSON(w, map[string]any{"values": values})
}

// How the similarity of two runs is measured.
const (
	betweenUnits = "units"
	betweenMaps  = "maps"
)

// likeness is how similar two runs are in a layer.
type likeness struct {
	Layer string `json:"layer"`
	// Of says what is correlated: units with the same units, or, of two models, whose units do not correspond, the mean
	// over channels at each place. It is "" where the shapes differ.
	Of string `json:"of"`
	// Correlation is Pearson's at each timestep that both have, null where one does not vary.
	Correlation []*float64 `json:"correlation"`
	// Difference is the RMS of the difference over that of both, at each timestep: 0 for equal ones, 1 for unrelated ones,
	// null where both are 0.
	Difference []*float64 `json:"difference"`
}

// similarity compares a run with the other over time, layer by layer, on one clock.
func (x *Explorer) similarity(w http.ResponseWriter, r *http.Request) error {
	a, b, err := x.pair(r, true)
	if err != nil {
		return err
	}
	all, err := a.all()
	if err != nil {
		return err
	}
	if _, err := b.all(); err != nil {
		return err
	}
	times := min(a.times(), b.times())
	list := []likeness{}
	for i := range all.Layers {
		list = append(list, compareLayers(a, b, &all.Layers[i], times))
	}
	return writeJSON(w, map[string]any{"times": times, "layers": list})
}

func compareLayers(a, b *run, of *tfconvrnn.LayerFeatures, times int) likeness {
	l := likeness{Layer: of.Name, Correlation: []*float64{}, Difference: []*float64{}}
	with, err := b.layer(of.Name)
	if err != nil {
		return l
	}
	reduce := func(v []float32) []float32 { return v }
	switch same := a.model.Name == b.model.Name; {
	case slices.Equal(of.Shape, with.Shape) && (same || len(of.Shape) == 1):
		l.Of = betweenUnits
	case len(of.Shape) == 3 && slices.Equal(of.Shape[:2], with.Shape[:2]):
		l.Of = betweenMaps
		reduce = func(v []float32) []float32 { return meanOverChannels(v, of.Shape[0]*of.Shape[1]) }
	default:
		return l
	}
	for t := range times {
		correlation, difference := correlate(reduce(at(of, t)), reduce(at(with, t)))
		l.Correlation, l.Difference = append(l.Correlation, correlation), append(l.Difference, difference)
	}
	return l
}

func meanOverChannels(values []float32, places int) []float32 {
	channels := len(values) / places
	means := make([]float32, places)
	for p := range means {
		var sum float64
		for _, v := range values[p*channels : (p+1)*channels] {
			sum += float64(v)
		}
		means[p] = float32(sum / float64(channels))
	}
	return means
}

// correlate returns Pearson's correlation of two lists of the same length, and the RMS of their difference over that of
// both.
func correlate(a, b []float32) (correlation, difference *float64) {
	var sumA, sumB float64
	for i := range a {
		sumA += float64(a[i])
		sumB += float64(b[i])
	}
	n := float64(len(a))
	meanA, meanB := sumA/n, sumB/n
	var covariance, varianceA, varianceB, squares, total float64
	for i := range a {
		va, vb := float64(a[i]), float64(b[i])
		covariance += (va - meanA) * (vb - meanB)
		varianceA += (va - meanA) * (va - meanA)
		varianceB += (vb - meanB) * (vb - meanB)
		squares += (va - vb) * (va - vb)
		total += va*va + vb*vb
	}
	// A layer that nothing drives is the same everywhere but for rounding.
	const flat = 1e-12
	if varianceA > flat*n*(meanA*meanA+flat) && varianceB > flat*n*(meanB*meanB+flat) {
		c := min(1, max(-1, covariance/math.Sqrt(varianceA*varianceB)))
		correlation = &c
	}
	if total > 0 {
		d := math.Sqrt(squares / total)
		difference = &d
	}
	return correlation, difference
}
