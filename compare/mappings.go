package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// MappingOptions are those of ParseMapping. Zero values are each mapping's own.
type MappingOptions struct {
	Components, Folds int
	Alphas            []float64
	PerNeuroid        bool
}

// mappings are the options that each name of a mapping knows.
var mappings = []struct {
	name                                  string
	components, folds, alphas, perNeuroid bool
}{
	{name: "pls", components: true}, {name: "ridge", alphas: true}, {name: "ridge-loo", alphas: true, perNeuroid: true},
	{name: "ridge-kfold", alphas: true, perNeuroid: true, folds: true}, {name: "linear"}, {name: "neuron-to-neuron"},
}

// MappingNames are the names that ParseMapping knows.
func MappingNames() []string {
	var names []string
	for _, m := range mappings {
		names = append(names, m.name)
	}
	return names
}

// ParseMapping returns the mapping of a name: pls (25 Components), ridge (α = 1, or the one of Alphas), ridge-loo (of
// Alphas or BrainScoreAlphas), ridge-kfold (5 Folds), linear, neuron-to-neuron. The error wraps ErrOptions, also for
// options that the mapping does not know.
func ParseMapping(name string, o MappingOptions) (Mapping, error) {
	at := slices.Index(MappingNames(), name)
	if at < 0 {
		return nil, fmt.Errorf("%w: unknown metric %q; there are %s", ErrOptions, name, strings.Join(MappingNames(), ", "))
	}
	known := mappings[at]
	for _, c := range []struct {
		wrong bool
		why   string
	}{
		{o.Components != 0 && !known.components, "components are those of pls"},
		{o.Folds != 0 && !known.folds, "folds are those of ridge-kfold"},
		{len(o.Alphas) > 0 && !known.alphas, "alphas are those of ridge, ridge-loo and ridge-kfold"},
		{o.PerNeuroid && !known.perNeuroid, "alphas are chosen for each neuroid by ridge-loo and ridge-kfold only"},
		{o.Components < 0, fmt.Sprintf("%d components; there is at least 1", o.Components)},
		{o.Folds < 0 || o.Folds == 1, fmt.Sprintf("%d folds; there are at least 2", o.Folds)},
		{slices.ContainsFunc(o.Alphas, func(alpha float64) bool { return !(alpha > 0) || math.IsInf(alpha, 0) }),
			"ridge parameters are positive numbers"},
		{name == "ridge" && len(o.Alphas) > 1, "ridge has one alpha; ridge-loo and ridge-kfold choose among several"},
	} {
		if c.wrong {
			return nil, fmt.Errorf("%w: %s: %s", ErrOptions, name, c.why)
		}
	}
	alphas := o.Alphas
	if len(alphas) == 0 {
		alphas = BrainScoreAlphas()
	}
	switch name {
	case "pls":
		return PLS{Components: o.Components}, nil
	case "ridge":
		return Ridge{Alphas: o.Alphas}, nil
	case "ridge-loo":
		return Ridge{Alphas: alphas, PerNeuroid: o.PerNeuroid}, nil
	case "ridge-kfold":
		folds := o.Folds
		if folds == 0 {
			folds = 5
		}
		return Ridge{Alphas: alphas, PerNeuroid: o.PerNeuroid, Folds: folds}, nil
	case "linear":
		return Linear{}, nil
	}
	return OneToOne{}, nil
}

// String says how stimuli are split, but for strata.
func (s Splits) String() string {
	if s.Folds {
		return fmt.Sprintf("%d folds, seed %d", s.count(), s.seed())
	}
	part, of := cmp.Or(s.TrainFraction, 0.9), "training"
	if s.TestFraction != 0 {
		part, of = s.TestFraction, "testing"
	}
	return fmt.Sprintf("%d splits, %g of the stimuli for %s, seed %d", s.count(), part, of, s.seed())
}

// Samples says which stimuli are compared where nothing is fitted: the test stimuli of each split.
func (s Splits) Samples() string {
	part := fmt.Sprint(s.TestFraction)
	if s.TestFraction == 0.9 {
		part = "nine tenths"
	}
	return fmt.Sprintf("%d splits, %s of the stimuli each, seed %d", s.count(), part, s.seed())
}
