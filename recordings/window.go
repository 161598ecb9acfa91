package recordings

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseWindow reads FROM:TO in ms, of which either may be left out, as Selection has them; "" is none. The error wraps
// ErrSelection.
func ParseWindow(text string) (from, to *float64, err error) {
	if text == "" {
		return nil, nil, nil
	}
	before, after, two := strings.Cut(text, ":")
	var values [2]*float64
	for i, part := range []string{before, after} {
		v, err := strconv.ParseFloat(part, 64)
		if !two || err != nil && part != "" {
			return nil, nil, fmt.Errorf("%w: %q is not of the form FROM:TO, such as 70:170", ErrSelection, text)
		}
		if part != "" {
			values[i] = &v
		}
	}
	return values[0], values[1], nil
}

// ParseBins reads FIRST:WIDTH in ms, of time bins whose file does not tell them, into a Layout. The error wraps
// ErrLayout.
func (l *Layout) ParseBins(text string) error {
	first, width, err := ParseWindow(text)
	if err != nil || first == nil || width == nil || !(*width > 0) {
		return fmt.Errorf("%w: %q is not of the form FIRST:WIDTH, such as 70:10", ErrLayout, text)
	}
	l.FirstBin, l.BinWidth = *first, *width
	return nil
}

// bounds are From and To, infinite where there are none.
func (s *Selection) bounds() (from, to float64) {
	from, to = math.Inf(-1), math.Inf(1)
	if s.From != nil {
		from = *s.From
	}
	if s.To != nil {
		to = *s.To
	}
	return from, to
}
