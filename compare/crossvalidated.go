package compare

import "fmt"

// CrossValidatedRDMs compares two matrices on the test stimuli of each split, as Brain-Score's
// rdm_cv. Its splits, which train nothing, are Splits{TestFraction: 0.9} with strata: each leaves out a
// tenth of the stimuli. Score.Raw is [splits][1]. leftOut counts pairs of all splits that are NaN in
// one of the matrices. The error wraps ErrData.
func CrossValidatedRDMs(a, b RDM, splits []Split, s Similarity) (score *Score, leftOut int, err error) {
	score, err = overSplits(splits, a.Stimuli, func(test []int) (float64, error) {
		v, out, err := CompareRDMs(subset(a, test), subset(b, test), s)
		leftOut += out
		return v, err
	})
	return score, leftOut, err
}

// CrossValidatedCKA is CKA, or BiasedCKA, of the test stimuli of each split, as Brain-Score's cka_cv;
// otherwise as CrossValidatedRDMs.
func CrossValidatedCKA(a, b *Gram, splits []Split, biased bool) (*Score, error) {
	of := CKAOf
	if biased {
		of = BiasedCKAOf
	}
	return overSplits(splits, a.n, func(test []int) (float64, error) { return of(a, b, test) })
}

// overSplits scores the test stimuli of each split.
func overSplits(splits []Split, stimuli int, of func(test []int) (float64, error)) (*Score, error) {
	var raw [][]float64
	for _, split := range splits {
		for _, i := range split.Test {
			if i < 0 || i >= stimuli {
				return nil, fmt.Errorf("%w: a split tests on stimulus %d of %d", ErrData, i, stimuli)
			}
		}
		v, err := of(split.Test)
		if err != nil {
			return nil, err
		}
		raw = append(raw, []float64{v})
	}
	score := aggregate(raw)
	return &score, nil
}
