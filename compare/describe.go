package compare

import (
	"cmp"
	"fmt"
	"strings"
)

// String says how is compared, but for splits.
func (o *AlignmentOptions) String() string {
	if o.Alignment != "" && o.Alignment != RSA {
		return string(o.Alignment)
	}
	measure, similarity := cmp.Or(o.Measure, CorrelationMeasure), cmp.Or(o.Similarity, RankCorrelation)
	text := fmt.Sprintf("rsa: %s dissimilarities, %s", measure, similarity)
	if features := o.OfFeatures(); features != measure {
		text = fmt.Sprintf("rsa: %s dissimilarities of responses, %s of features, %s", measure, features, similarity)
	}
	if i := o.Inference; i != nil {
		text += "; inference: t over subjects"
		if i.Bootstrap != "" {
			text += fmt.Sprintf(" and %d samples of %s, seed %d", cmp.Or(i.Samples, 1000), i.Bootstrap, i.Seed)
		}
	}
	return text
}

// ostDecoders are the names of the decoders.
var ostDecoders = []string{BrainScoreOSTDecoder: "brain-score", ConvergedOSTDecoder: "converged"}

// ParseOSTDecoder reads brain-score or converged. The error wraps ErrOptions.
func ParseOSTDecoder(name string) (OSTDecoder, error) {
	for d, known := range ostDecoders {
		if name == known {
			return OSTDecoder(d), nil
		}
	}
	return 0, fmt.Errorf("%w: unknown decoder %q; there are %s", ErrOptions, name, strings.Join(ostDecoders, " and "))
}

// String returns what ParseOSTDecoder reads.
func (d OSTDecoder) String() string {
	if d < 0 || int(d) >= len(ostDecoders) {
		return fmt.Sprintf("decoder %d", int(d))
	}
	return ostDecoders[d]
}
