package plotting

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/compare"
)

// ComparisonKinds are the kinds of figures of a result of compare, in the order of an HTML page:
//
//	best      what was chosen for each region, and how well it does
//	scores    scores over time, or of each layer, with the ceiling
//	layers    layers × time
//	matrix    time of features × time of responses
//	points    predicted and measured solution times or d′
//	between   layers × layers: how similar their dissimilarities are
func ComparisonKinds() []string {
	return []string{"best", "scores", "layers", "matrix", "points", "between"}
}

// Comparison draws a result of compare. The error wraps ErrImpossible where the result lacks what the kind
// shows, or ErrOption.
func Comparison(r *compare.Result, kind string) (*Figure, error) {
	draw, known := map[string]func(*comparison) (*Figure, error){
		"best": (*comparison).best, "scores": (*comparison).overTime, "layers": (*comparison).layers,
		"matrix": (*comparison).matrix, "points": (*comparison).points,
		"between": (*comparison).between,
	}[kind]
	if !known {
		return nil, fmt.Errorf("%w: results have no figure %q; they have %s", ErrOption, kind,
			strings.Join(ComparisonKinds(), ", "))
	}
	if len(r.Scores) == 0 {
		return nil, fmt.Errorf("%w: there are no scores", ErrImpossible)
	}
	if r.Between() != (kind == "between") {
		return nil, fmt.Errorf("%w: similarities between layers are drawn as between, and nothing else is", ErrImpossible)
	}
	f, err := draw(newComparison(r.Symmetric()))
	if err != nil {
		return nil, err
	}
	f.Name, f.Subtitle = kind, printable(r.Metric)
	if r.Splits != "" {
		f.Subtitle += " · " + printable(r.Splits)
	}
	return f, nil
}

// comparison is a result, sorted for drawing.
type comparison struct {
	*compare.Result
	series []series
	bins   []float64 // starts of the bins of responses, ascending; NaN for none
	both   bool      // several times of features for a bin of responses
}

// series are the scores of a layer, at one offset and of one kind, over time.
type series struct {
	name   string
	scores []*compare.ResultScore
}

func newComparison(r *compare.Result) *comparison {
	c := &comparison{Result: r}
	at := map[[4]string]int{} // of series
	pairs := map[[2]string]bool{}
	for i := range r.Scores {
		s := &r.Scores[i]
		start := valueOf(s.TimeBinStart)
		if !slices.ContainsFunc(c.bins, func(v float64) bool { return v == start || v != v && start != start }) {
			c.bins = append(c.bins, start)
		}
		key := [4]string{s.Region, s.Layer, s.Consistency, ""}
		if s.Offset != nil {
			key[3] = number(float64(*s.Offset)) + " ms before"
		}
		if pair := [2]string{strings.Join(key[:], "\x00"), fmt.Sprint(start)}; pairs[pair] {
			c.both = true
		} else {
			pairs[pair] = true
		}
		k, known := at[key]
		if !known {
			k = len(c.series)
			at[key] = k
			c.series = append(c.series, series{name: strings.Join(slices.DeleteFunc(key[:], func(v string) bool {
				return v == ""
			}), ", ")})
		}
		c.series[k].scores = append(c.series[k].scores, s)
	}
	slices.Sort(c.bins)
	return c
}

// valueOf is NaN for none.
func valueOf(n *compare.Number) float64 {
	if n == nil {
		return math.NaN()
	}
	return float64(*n)
}

// middle is the middle of the bin of responses.
func middle(s *compare.ResultScore) float64 {
	return (valueOf(s.TimeBinStart) + valueOf(s.TimeBinEnd)) / 2
}

// ceilingBand is where a score is as good as it can be, in the units of the score: the lower and upper noise
// ceiling, or where the ceiled score is 1, ± the error of the ceiling.
func ceilingBand(s *compare.ResultScore) (lo, hi float64) {
	if s.LowerCeiling != nil {
		return float64(*s.LowerCeiling), float64(s.Ceiling)
	}
	ceiling, e := float64(s.Ceiling), valueOf(s.CeilingError)
	if math.IsNaN(e) {
		e = 0
	}
	lo, hi = ceiling-e, ceiling+e
	if rooted(s.Normalisation) {
		lo, hi = math.Sqrt(max(lo, 0)), math.Sqrt(max(hi, 0))
	}
	return lo, hi
}

// rooted tells whether r = √ρ is as good as can be.
func rooted(normalisation string) bool {
	switch compare.Normalisation(normalisation) {
	case compare.Squared, compare.Root, compare.SquaredPerNeuroid:
		return true
	}
	return false
}

// ceilingCaption says what the band is.
func (c *comparison) ceilingCaption() string {
	normalisation, lower, there := "", false, false
	for i := range c.Scores {
		s := &c.Scores[i]
		if s.Normalisation != "" {
			normalisation = s.Normalisation
		}
		lower = lower || s.LowerCeiling != nil
		there = there || !math.IsNaN(float64(s.Ceiling))
	}
	switch {
	case !there:
		return ""
	case lower:
		return " Grey: between the lower and the upper noise ceiling over subjects."
	case rooted(normalisation):
		return " Grey: √ρ of the ceiling ρ ± its error, where the ceiled score " + normalisation + " is 1."
	}
	return " Grey: the ceiling ρ ± its error."
}

// seriesColor tells series apart: few by palette8, many, which are layers in their order, by how deep they are.
func seriesColor(i, of int) color.NRGBA {
	if of <= len(palette8) {
		return palette8[i]
	}
	return sequentialMap().at(0.25 + 0.75*float64(i)/float64(of-1))
}

// limitsOf returns a range that holds the values and those that are not NaN of others, with some room.
func limitsOf(values ...float64) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	if math.IsInf(lo, 1) {
		return 0, 1
	}
	room := max(0.08*(hi-lo), 0.01)
	return lo - room, hi + room
}

// binText is a bin as axes have it.
func binText(start float64) string {
	return strings.ReplaceAll(strconv.FormatFloat(start, 'f', -1, 64), "-", "−")
}
