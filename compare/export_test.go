package compare

import "fmt"

// Predictions are those of the test stimuli of a split, [stimuli][neuroids].
func Predictions(m Mapping, g *Gram, targets Targets, split Split) (Targets, error) {
	f, err := m.predict(g, targets, []Split{split})
	if err != nil {
		return nil, err
	}
	rows := make(Targets, len(split.Test))
	for i := range rows {
		for _, p := range f[0].prediction {
			rows[i] = append(rows[i], p[i])
		}
	}
	return rows, nil
}

// LeaveOneOutErrors are the mean squares of each alpha when each training stimulus is left out.
func LeaveOneOutErrors(alphas []float64, g *Gram, targets Targets, split Split) ([]float64, error) {
	l := newLeaveOut(g, targets, []Split{split})
	var errors []float64
	for _, alpha := range alphas {
		inverse, ok := l.inverse(alpha)
		if !ok {
			return nil, fmt.Errorf("alpha %g is too small", alpha)
		}
		errors = append(errors, meanOf(inverse.leaveOneMore(inverse.remove(l.out[0]))))
	}
	return errors, nil
}

// OSTWeights are the weights [features][objects], the bias and the probabilities of Brain-Score's decoder.
func OSTWeights(train [][]float64, labels []string, test [][]float64) (weights [][]float32, bias []float32,
	probabilities [][]float64) {
	a := fitAdam(train, labels)
	k := len(a.objects)
	for from := 0; from < len(a.weights); from += k {
		weights = append(weights, a.weights[from:from+k])
	}
	return weights, a.bias, a.probabilities(test)
}

// Scaler has the means and standard deviations of the features that a readout is fitted on.
func (r *Readout) Scaler() (mean, sd []float64) { return r.mean, r.sd }

// OSTDPrimes are the d′ of the test images of a split in one bin.
func OSTDPrimes(bin OSTFeatures, labels []string, split Split) ([]float64, error) {
	return binDPrimes(bin, pick(labels, split.Train), pick(labels, split.Test), split, BrainScoreOSTDecoder)
}

// InferenceFrom infers from samples that were drawn, [samples][models, lower, upper ceiling].
func InferenceFrom(samples map[BootstrapKind][][]float64, kind BootstrapKind, models, subjects, stimuli int) (
	*RSAInference, error) {
	return inferred(samples, kind, models, subjects, stimuli)
}

// FoldErrors are the mean squares of the errors at folds of the training stimuli, [alphas][neuroids].
func FoldErrors(r Ridge, g *Gram, targets Targets, split Split) ([][]float64, error) {
	squares := make([][]float64, len(r.Alphas))
	return squares, r.foldErrors(g, targets, split, squares)
}

// LeaveOneOutOfEach are LeaveOneOutErrors of each neuroid, [alphas][neuroids].
func LeaveOneOutOfEach(alphas []float64, g *Gram, targets Targets, split Split) ([][]float64, error) {
	s, err := newSpectrum(g, targets, split)
	if err != nil {
		return nil, err
	}
	var errors [][]float64
	for _, alpha := range alphas {
		errors = append(errors, s.leaveOneOut(alpha))
	}
	return errors, nil
}

// Products are the numbers of a Gram matrix.
func Products(g *Gram) []float64 { return append(append([]float64{}, g.matrix()...), g.sums...) }
