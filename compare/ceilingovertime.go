package compare

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// CeilingOverTime returns the ceiling of the responses in each bin of time: their InternalConsistency, or
// the median over neuroids of their NoiseCeiling. NeuroidIDs are sorted. Errors wrap ErrData, or are ctx's or the
// responses'.
func CeilingOverTime(ctx context.Context, r Responses, noise bool) ([]TimeScore, error) {
	k, names := keepAll(r), r.Neuroids()
	order := upTo(len(names))
	slices.SortStableFunc(order, func(i, j int) int { return strings.Compare(names[i], names[j]) })
	var scores []TimeScore
	for bin, b := range k.bins() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		trials, err := k.trials(bin)
		if err != nil {
			return nil, err
		}
		nothing := Score{Center: math.NaN(), Error: math.NaN()}
		s := TimeScore{Bin: b, Features: b, Offset: math.NaN(), Score: nothing, Ceiling: nothing, Ceiled: math.NaN(),
			LowerCeiling: math.NaN(), NeuroidIDs: pick(names, order), Stimuli: len(trials)}
		if len(trials) == 0 || len(trials[0]) < 2 {
			return nil, fmt.Errorf("%w: no stimulus was repeated", ErrData)
		}
		if noise {
			values, err := NoiseCeiling(trials)
			if err != nil {
				return nil, err
			}
			s.Ceiling.Raw = inOrder([][]float64{values}, order)
			s.Ceiling.Center = nanMedian(values)
		} else {
			ceiling, err := InternalConsistency(trials)
			if err != nil {
				return nil, err
			}
			s.Ceiling = *ceiling
			s.Ceiling.Raw = inOrder(ceiling.Raw, order)
		}
		for j, id := range s.NeuroidIDs {
			if nowhere(s.Ceiling.Raw, j) {
				s.Undefined = append(s.Undefined, id)
			}
		}
		if math.IsNaN(s.Ceiling.Center) {
			s.Reason = noCeiling
		}
		scores = append(scores, s)
	}
	return scores, nil
}
