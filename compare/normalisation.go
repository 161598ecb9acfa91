package compare

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Normalisation says how a score becomes one that a perfect model would have 1 of.
type Normalisation string

// The normalisations of the field, which differ: results say which one they have.
const (
	// Squared is Brain-Score's since December 2025: r²/ρ.
	Squared Normalisation = "r²/ρ"
	// SquaredRatio is Brain-Score's before: (r/ρ)².
	SquaredRatio Normalisation = "(r/ρ)²"
	// Ratio is r/ρ: of dissimilarity matrices, and of solution times.
	Ratio Normalisation = "r/ρ"
	// Root is r/√ρ: of behavioural consistencies.
	Root Normalisation = "r/√ρ"
	// SquaredPerNeuroid is Brain-Score's with ceilings per voxel: r²/ρ of each neuroid, then the mean over neuroids.
	SquaredPerNeuroid Normalisation = "mean over neuroids of r²/ρ"
	// Corrected is of the ConvRNNs' authors: the reliability of the predictions counts too (NoiseCorrected).
	Corrected Normalisation = "r/√(ρ_xx ρ_yy)"
	// CorrectedSquared is the explained variance of qbilius/streams.
	CorrectedSquared Normalisation = "r²/(ρ_xx ρ_yy)"
)

// Normalisations are those of fits.
func Normalisations() []Normalisation {
	return []Normalisation{Squared, SquaredRatio, Ratio, Root, SquaredPerNeuroid, Corrected, CorrectedSquared}
}

// Apply returns the normalised score. Scores above 1 are possible. An unknown
// normalisation gives NaN, and so do those that need more than r and ρ.
func (n Normalisation) Apply(r, ceiling float64) float64 {
	switch n {
	case Squared:
		return r * r / ceiling
	case SquaredRatio:
		return r / ceiling * (r / ceiling)
	case Ratio:
		return r / ceiling
	case Root:
		return r / math.Sqrt(ceiling)
	}
	return math.NaN()
}

// normalisationNames are short names, in the order of Normalisations.
var normalisationNames = []string{"squared", "squared-ratio", "ratio", "root", "per-neuroid", "corrected",
	"corrected-squared"}

// NormalisationNames are the names that ParseNormalisation knows.
func NormalisationNames() []string { return slices.Clone(normalisationNames) }

// ParseNormalisation returns the normalisation of a name. The error wraps ErrOptions.
func ParseNormalisation(name string) (Normalisation, error) {
	at := slices.Index(normalisationNames, name)
	if at < 0 {
		return "", fmt.Errorf("%w: unknown normalisation %q; there are %s", ErrOptions, name,
			strings.Join(normalisationNames, ", "))
	}
	return Normalisations()[at], nil
}
