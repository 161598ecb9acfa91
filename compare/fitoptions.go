package compare

import (
	"errors"
	"fmt"
	"slices"
)

// ErrOptions means options that do not go together.
var ErrOptions = errors.New("impossible options")

// check refuses what cannot be computed, and sets what depends on the mapping.
func (o *FitOptions) check(r Responses) error {
	if o.Mapping == nil {
		o.Mapping = PLS{}
	}
	if o.Normalisation == "" {
		o.Normalisation = Squared
	}
	_, isRidge := o.Mapping.(Ridge)
	_, isOneToOne := o.Mapping.(OneToOne)
	corrected := o.Normalisation == Corrected || o.Normalisation == CorrectedSquared
	overStimuli := slices.Contains(o.Bootstrap, OverStimuli)
	for _, c := range []struct {
		wrong bool
		why   string
	}{
		{!slices.Contains(Normalisations(), o.Normalisation), fmt.Sprintf("there is no normalisation %q", o.Normalisation)},
		{o.Missing == PerNeuroid && !isRidge, "only ridge can fit each neuroid on its own stimuli"},
		{o.Missing == PerNeuroid && (o.SpanTime || o.Reverse || corrected || overStimuli),
			"neuroids with stimuli of their own are fitted bin by bin, and not corrected for noise nor drawn anew by stimuli"},
		{o.SpanTime && (o.Matrix || len(o.Offsets) > 1 || o.Reverse || isOneToOne || corrected ||
			overStimuli), "one mapping for all bins is fitted by itself: not for all times or several offsets, in reverse, one to one, corrected for noise, or with a bootstrap over stimuli"},
		{o.Reverse && (isOneToOne || corrected || o.Normalisation == SquaredPerNeuroid),
			"in reverse, neuroids are no targets with noise of their own to correct for, and none is matched with a feature"},
		{o.Reverse && (overStimuli || slices.Contains(o.Bootstrap, OverSubjects)),
			"in reverse, a bootstrap is over splits and features"},
		{isOneToOne && (corrected || overStimuli),
			"one to one, nothing is corrected for noise, and no bootstrap is over stimuli"},
		{o.Matrix && len(o.Offsets) > 1, "all times are compared with all, so that offsets are not needed"},
		{overStimuli && len(o.Bootstrap) > 1, "a bootstrap over stimuli is over nothing else"},
		{slices.Contains(o.Bootstrap, OverSubjects) && o.Subjects == nil, "the neuroids have no subjects to draw from"},
		{o.Subjects != nil && len(o.Subjects) != len(r.Neuroids()), fmt.Sprintf("subjects of %d neuroids, and there are %d",
			len(o.Subjects), len(r.Neuroids()))},
		{o.Halvings < 0, fmt.Sprintf("%d halvings", o.Halvings)},
	} {
		if c.wrong {
			return fmt.Errorf("%w: %s", ErrOptions, c.why)
		}
	}
	return nil
}
