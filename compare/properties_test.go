package compare_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/tfconvrnn/go/compare"
)

// Features that are the neurons without their noise reach the ceiling; with the stimuli of others they explain nothing.
func TestPerfectAndShuffledModels(t *testing.T) {
	const n, q, repetitions = 300, 30, 6
	r := rand.New(rand.NewPCG(11, 11))
	features, trials, targets := make([]float32, n*q), make(compare.Trials, n), make(compare.Targets, n)
	for i := range n {
		for j := range q {
			features[i*q+j] = float32(r.NormFloat64())
		}
		targets[i] = make([]float64, q)
		for range repetitions {
			trial := make([]float64, q)
			for j := range trial {
				trial[j] = float64(features[i*q+j]) + r.NormFloat64()
				targets[i][j] += trial[j] / repetitions
			}
			trials[i] = append(trials[i], trial)
		}
	}
	shuffled := make([]float32, 0, n*q)
	for _, i := range r.Perm(n) {
		shuffled = append(shuffled, features[i*q:(i+1)*q]...)
	}
	ceiling, err := compare.InternalConsistency(trials)
	require.NoError(t, err)
	splits := splitsOf(t, compare.Splits{}, n, nil)
	for _, mapping := range []compare.Mapping{compare.PLS{Components: q}, compare.Ridge{Alphas: compare.BrainScoreAlphas(),
		PerNeuroid: true}, compare.Linear{}} {
		fit, err := compare.FitTargets(gramOf(t, features, n), targets, splits, mapping)
		require.NoError(t, err)
		assert.InDelta(t, 1, compare.Squared.Apply(fit.Center, ceiling.Center), 0.06, mapping.String())
		none, err := compare.FitTargets(gramOf(t, shuffled, n), targets, splits, mapping)
		require.NoError(t, err)
		assert.InDelta(t, 0, none.Center, 0.1, mapping.String())
	}
}

// Ridge regression from the Gram matrix is that from the features: (XᵀX + αI)⁻¹XᵀY of centred training features.
func TestGramMatricesAgainstFeatures(t *testing.T) {
	model, data := goldenData(t)
	n, p := len(data.ids), len(model[0][9])
	flat, targets := model.flat(9), data.bin(2)
	split := splitsOf(t, compare.Splits{}, n, nil)[0]
	const alpha = 7
	means, x, y := make([]float64, p), mat.NewDense(len(split.Train), p, nil),
		mat.NewDense(len(split.Train), len(targets[0]), nil)
	for i, at := range split.Train {
		for j := range p {
			means[j] += float64(flat[at*p+j]) / float64(len(split.Train))
		}
		y.SetRow(i, targets[at])
	}
	for i, at := range split.Train {
		for j := range p {
			x.Set(i, j, float64(flat[at*p+j])-means[j])
		}
	}
	var normal, right, weights mat.Dense
	normal.Mul(x.T(), x)
	for j := range p {
		normal.Set(j, j, normal.At(j, j)+alpha)
	}
	right.Mul(x.T(), y)
	require.NoError(t, weights.Solve(&normal, &right))
	predicted, err := compare.Predictions(compare.Ridge{Alphas: []float64{alpha}}, gramOf(t, flat, n), targets, split)
	require.NoError(t, err)
	for i, at := range split.Test {
		for j := range targets[0] {
			want := mat.Sum(y.ColView(j)) / float64(len(split.Train))
			for f := range p {
				want += (float64(flat[at*p+f]) - means[f]) * weights.At(f, j)
			}
			assert.InDelta(t, want, predicted[i][j], 1e-9)
		}
	}
}
