package plotting

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFormatsAndKinds(t *testing.T) {
	for name, want := range map[string]Format{"a.png": PNG, "a.SVG": SVG, "b/a.htm": HTML, "a.html": HTML, "a.gif": GIF} {
		f, err := FormatOf(name)
		require.NoError(t, err)
		assert.Equal(t, want, f)
	}
	for _, name := range []string{"a", "a.jpg", "png"} {
		_, err := FormatOf(name)
		assert.ErrorIs(t, err, ErrOption, name)
	}
	for _, c := range []struct {
		format Format
		kinds  []string
		good   bool
	}{
		{HTML, Kinds(), true}, {HTML, ComparisonKinds(), true}, {HTML, nil, true}, {PNG, nil, true}, {GIF, nil, true},
		{PNG, []string{KindRDM}, true}, {GIF, []string{KindAnimation}, true},
		{PNG, []string{KindRDM, KindMosaic}, false}, {SVG, []string{KindAnimation}, false}, {GIF, []string{KindRDM}, false},
		{HTML, []string{"pie"}, false},
	} {
		if err := CheckKinds(c.format, c.kinds); c.good {
			assert.NoError(t, err)
		} else {
			assert.ErrorIs(t, err, ErrOption, "%v", c)
		}
	}
}
