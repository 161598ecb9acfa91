package recordings_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/recordings"
)

// Every comparison is one call, from files to a file.
func TestComparisons(t *testing.T) {
	needHDF5(t)
	neural := recordings.Comparison{Features: standard + "features.nc", Data: standard + "neural.nc"}
	seventy, ninety := 70.0, 90.0
	average := neural
	average.Selection = recordings.Selection{From: &seventy, To: &ninety, AverageTime: true}
	ost := recordings.Comparison{Features: standard + "ost_features.nc", Data: standard + "ost_target.nc"}
	seed := uint32(3)
	for _, of := range []struct {
		name, metric, splits string
		c                    recordings.Comparison
		run                  func(context.Context, *recordings.Comparison) (*compare.Result, error)
		scores               int
		first                float64 // as compare.txt of the command has it
	}{
		{"fit", "pls(25)", "10 splits, 0.9 of the stimuli for training, seed 1, stratified by object_name",
			neural, func(ctx context.Context, c *recordings.Comparison) (*compare.Result, error) {
				return c.Fit(ctx, compare.FitOptions{Stratify: "object_name"})
			}, 5, 0.8814387},
		{"fit", "ridge(alpha=1), error by a bootstrap over split and neuroid",
			"2 splits, 0.9 of the stimuli for training, seed 3, not stratified", average,
			func(ctx context.Context, c *recordings.Comparison) (*compare.Result, error) {
				return c.Fit(ctx, compare.FitOptions{Mapping: compare.Ridge{}, Splits: compare.Splits{Count: 2, Seed: &seed},
					Bootstrap: []compare.Resample{compare.OverSplits, compare.OverNeuroids}})
			}, 1, math.NaN()},
		{"best", "ridge(alpha=1)", "2 splits, 0.9 of the stimuli for training, seed 1, not stratified; " +
			"the choice by 5 splits of each training set", neural,
			func(ctx context.Context, c *recordings.Comparison) (*compare.Result, error) {
				return c.Best(ctx, compare.BestOptions{FitOptions: compare.FitOptions{Mapping: compare.Ridge{},
					Splits: compare.Splits{Count: 2}}})
			}, 1, math.NaN()},
		{"rsa", "rsa: correlation dissimilarities, spearman", "", neural,
			func(ctx context.Context, c *recordings.Comparison) (*compare.Result, error) {
				return c.Similarity(ctx, compare.AlignmentOptions{})
			}, 5, math.NaN()},
		{"cka", "cka", "2 splits, nine tenths of the stimuli each, seed 1, not stratified", neural,
			func(ctx context.Context, c *recordings.Comparison) (*compare.Result, error) {
				return c.Similarity(ctx, compare.AlignmentOptions{Alignment: compare.UnbiasedCKA,
					Splits: &compare.Splits{Count: 2, TestFraction: 0.9}})
			}, 5, math.NaN()},
		{"ceiling", "internal consistency", "", neural,
			func(ctx context.Context, c *recordings.Comparison) (*compare.Result, error) {
				return c.Ceiling(ctx, false)
			},
			5, math.NaN()},
		{"ost", "object solution times, Spearman's correlation, decoder converged",
			"10 splits, 0.1 of the images for testing, seed 1, not stratified", ost,
			func(ctx context.Context, c *recordings.Comparison) (*compare.Result, error) {
				return c.OST(ctx, recordings.OSTOptions{Decoder: compare.ConvergedOSTDecoder})
			}, 1, math.NaN()},
	} {
		t.Run(of.name+" "+of.metric, func(t *testing.T) {
			c := of.c
			c.Out = filepath.Join(t.TempDir(), "scores.json")
			result, err := of.run(t.Context(), &c)
			require.NoError(t, err)
			assert.Equal(t, of.name, result.Analysis)
			assert.Equal(t, of.metric, result.Metric)
			assert.Equal(t, of.splits, result.Splits)
			assert.Equal(t, c.Data, result.Data)
			assert.NotEmpty(t, result.DataSHA256)
			require.Len(t, result.Scores, of.scores)
			if !math.IsNaN(of.first) {
				assert.InDelta(t, of.first, float64(result.Scores[0].Score), 1e-6)
			}
			written, err := recordings.ReadResult(c.Out)
			require.NoError(t, err)
			assert.Len(t, written.Scores, of.scores)
			assert.Equal(t, result.Metric, written.Metric)
		})
	}
}

// Features that are open are not opened, stay open, and are called what they are called.
func TestComparisonOfOpenFeatures(t *testing.T) {
	needHDF5(t)
	f := modelled(t)
	c := recordings.Comparison{Features: "mine", Opened: f, Data: data + "neural.nc", StratifyIfThere: true}
	for range 2 {
		result, err := c.Fit(t.Context(), compare.FitOptions{Mapping: compare.Ridge{}, Stratify: "nothing",
			Splits: compare.Splits{Count: 2}})
		require.NoError(t, err)
		assert.Equal(t, "mine", result.Features)
		assert.Contains(t, result.Notes, "not stratified: the stimuli have no nothing")
	}
	_, err := f.Row(0, 0)
	assert.NoError(t, err)
	c.StratifyIfThere = false
	_, err = c.Fit(t.Context(), compare.FitOptions{Stratify: "nothing"})
	assert.ErrorContains(t, err, "no coordinate nothing to stratify by")
}

func TestComparisonErrors(t *testing.T) {
	needHDF5(t)
	c := recordings.Comparison{Features: data + "features.nc", Data: data + "neural.nc"}
	_, err := c.BetweenLayers(t.Context(), compare.BetweenOptions{})
	assert.ErrorIs(t, err, compare.ErrOptions, "one layer only")
	late := 5000.0
	c.Selection.From = &late
	_, err = c.BetweenLayers(t.Context(), compare.BetweenOptions{})
	assert.ErrorIs(t, err, recordings.ErrSelection)
	c.Selection.AverageTime = true
	_, err = c.BetweenLayers(t.Context(), compare.BetweenOptions{})
	assert.ErrorIs(t, err, recordings.ErrSelection)
	c = recordings.Comparison{Features: data + "ost_features.nc", Data: data + "behaviour.csv"}
	_, err = c.Behaviour(t.Context(), recordings.BehaviourOptions{Label: "nothing"})
	assert.ErrorIs(t, err, recordings.ErrNoLabels)
	c.Features = "nowhere.npz"
	_, err = c.OST(t.Context(), recordings.OSTOptions{})
	assert.ErrorContains(t, err, "nowhere.npz")
}

func TestParseWindow(t *testing.T) {
	for text, want := range map[string][2]float64{"70:170": {70, 170}, ":170": {-1, 170}, "-70.5:": {-70.5, -1},
		"": {-1, -1}, ":": {-1, -1}} {
		from, to, err := recordings.ParseWindow(text)
		require.NoError(t, err, text)
		for i, v := range []*float64{from, to} {
			if want[i] == -1 {
				assert.Nil(t, v, text)
			} else if assert.NotNil(t, v, text) {
				assert.Equal(t, want[i], *v, text)
			}
		}
	}
	for _, text := range []string{"70", "a:b", "70:170:200", "70:b", "70-170"} {
		_, _, err := recordings.ParseWindow(text)
		assert.ErrorIs(t, err, recordings.ErrSelection, text)
	}
	var l recordings.Layout
	require.NoError(t, l.ParseBins("70:10"))
	assert.Equal(t, []float64{70, 10}, []float64{l.FirstBin, l.BinWidth})
	for _, text := range []string{"", "70", "70:", ":10", "70:0", "70:-1", "70:NaN"} {
		assert.ErrorIs(t, l.ParseBins(text), recordings.ErrLayout, text)
	}
}

// A result never replaces what it is of.
func TestResultIsNoInput(t *testing.T) {
	input := filepath.Join(t.TempDir(), "a.csv")
	require.NoError(t, os.WriteFile(input, nil, 0o600))
	for _, c := range []recordings.Comparison{{Features: "b.npz", Data: input, Out: input}, {Features: input, Data: "b.csv", Out: input}} {
		_, err := c.Fit(t.Context(), compare.FitOptions{})
		assert.ErrorIs(t, err, features.ErrOwnInput)
	}
}
