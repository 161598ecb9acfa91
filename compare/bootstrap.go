package compare

import (
	"fmt"
	"math"
	"slices"

	"github.com/tfconvrnn/go/internal/numpyrandom"
)

// Resample names what a bootstrap draws from.
type Resample string

// What a bootstrap of raw scores may draw from.
const (
	OverSplits   Resample = "split"
	OverNeuroids Resample = "neuroid"
	// OverSubjects draws subjects with all their neuroids.
	OverSubjects Resample = "subject"
	// OverStimuli draws stimuli with the predictions of all splits that test on them.
	OverStimuli Resample = "stimulus"
)

// bootstrapDraws is Brain-Score's number of them.
const bootstrapDraws = 1000

// BootstrapError is Brain-Score's bootstrap_error: raw scores [splits][neuroids] are drawn
// 1,000 times with replacement (default_rng(0)) over splits and neuroids, in the order of over, and the
// result is the standard deviation (with n−1) of the statistic, of finite draws. The
// error wraps ErrData.
func BootstrapError(raw [][]float64, over []Resample, statistic func(raw [][]float64) float64) (float64, error) {
	return bootstrapError(raw, over, nil, statistic)
}

// bootstrapError also draws from subjects, those of the neuroids.
func bootstrapError(raw [][]float64, over []Resample, subjects []string, statistic func(raw [][]float64) float64) (
	float64, error) {
	if len(raw) == 0 || len(raw[0]) == 0 {
		return 0, fmt.Errorf("%w: no scores to draw from", ErrData)
	}
	names := slices.Compact(slices.Sorted(slices.Values(subjects)))
	random := numpyrandom.NewGenerator(0)
	var draws []float64
	for range bootstrapDraws {
		drawn, columns := raw, upTo(len(raw[0]))
		for _, dimension := range over {
			switch {
			case dimension == OverSplits:
				rows := make([][]float64, len(drawn))
				for i := range rows {
					rows[i] = drawn[random.Intn(len(drawn))]
				}
				drawn = rows
			case dimension == OverNeuroids:
				places := make([]int, len(columns))
				for j := range places {
					places[j] = columns[random.Intn(len(columns))]
				}
				columns = places
			case dimension == OverSubjects && len(names) > 0:
				var places []int
				for range names {
					name := names[random.Intn(len(names))]
					for _, j := range columns {
						if subjects[j] == name {
							places = append(places, j)
						}
					}
				}
				columns = places
			default:
				return 0, fmt.Errorf("%w: a bootstrap over %q", ErrData, dimension)
			}
		}
		rows := make([][]float64, len(drawn))
		for i, row := range drawn {
			rows[i] = pick(row, columns)
		}
		if v := statistic(rows); !math.IsNaN(v) && !math.IsInf(v, 0) {
			draws = append(draws, v)
		}
	}
	return deviation(draws, 1), nil
}

// bootstrap returns the error of a fit; raw is in the order of the neuroids' ids.
func (c *fitting) bootstrap(raw [][]float64, fit *Fit, targets Targets) (float64, error) {
	if slices.Contains(c.o.Bootstrap, OverStimuli) {
		return bootstrapStimuli(fit.predictions, targets, c.splits)
	}
	var subjects []string
	if c.subjects != nil {
		subjects = pick(c.subjects, c.order)
	}
	return bootstrapError(raw, c.o.Bootstrap, subjects, Center)
}

// bootstrapStimuli pools the predictions [splits][neuroids][test stimuli], draws as many of the stimuli that
// some split tests on as there are, 1,000 times with replacement (default_rng(0)), and returns the standard deviation
// of the median over neuroids of r over the drawn predictions.
func bootstrapStimuli(predictions [][][]float64, targets Targets, splits []Split) (float64, error) {
	if len(predictions) == 0 {
		return 0, fmt.Errorf("%w: no predictions to draw from", ErrData)
	}
	place := slices.Repeat([]int{-1}, len(targets))
	tested := 0
	for _, split := range splits {
		for _, i := range split.Test {
			if place[i] < 0 {
				place[i] = tested
				tested++
			}
		}
	}
	// Of each neuroid and stimulus: how many predictions, and their sums with the response y: Σx, Σx², Σxy. y is
	// the same in all.
	q := len(targets[0])
	counts, y := make([]float64, tested), make([][]float64, q)
	x, xx, xy := make([][]float64, q), make([][]float64, q), make([][]float64, q)
	for j := range q {
		own, _ := centred(targets.column(j, upTo(len(targets))))
		y[j], x[j], xx[j], xy[j] = make([]float64, tested), make([]float64, tested), make([]float64, tested),
			make([]float64, tested)
		shift := meanOf(targets.column(j, upTo(len(targets))))
		for s, split := range splits {
			for i, at := range split.Test {
				k, v := place[at], predictions[s][j][i]-shift
				if j == 0 {
					counts[k]++
				}
				y[j][k] = own[at]
				x[j][k] += v
				xx[j][k] += v * v
				xy[j][k] += v * own[at]
			}
		}
	}
	random := numpyrandom.NewGenerator(0)
	var draws []float64
	medians := make([]float64, q)
	for range bootstrapDraws {
		times := make([]float64, tested)
		for range tested {
			times[random.Intn(tested)]++
		}
		for j := range q {
			var n, sx, sy, sxx, syy, sxy float64
			for k, w := range times {
				if w == 0 {
					continue
				}
				m, v := w*counts[k], y[j][k]
				n += m
				sx += w * x[j][k]
				sy += m * v
				sxx += w * xx[j][k]
				syy += m * v * v
				sxy += w * xy[j][k]
			}
			medians[j] = (sxy - sx*sy/n) / math.Sqrt((sxx-sx*sx/n)*(syy-sy*sy/n))
		}
		if v := nanMedian(medians); !math.IsNaN(v) && !math.IsInf(v, 0) {
			draws = append(draws, v)
		}
	}
	return deviation(draws, 1), nil
}

// Center is the statistic of scores: the mean over splits of the medians over neuroids.
func Center(raw [][]float64) float64 { return aggregate(raw).Center }
