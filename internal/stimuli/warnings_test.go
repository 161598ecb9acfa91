package stimuli

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// warnings collects what a user is told.
func warnings(list *[]string) func(string) {
	return func(message string) { *list = append(*list, message) }
}

// The first warning of a reader does not silence those of another kind, and a kind is
// told once though every stimulus has a set of its own.
func TestWarningsOfEveryKind(t *testing.T) {
	var told []string
	reader, err := NewReader(t.Context(), Options{Warn: warnings(&told)}, nil)
	require.NoError(t, err)
	defer reader.Close()
	for range 2 {
		one, other := reader.set.child(), reader.set.child()
		one.warnOnce("orientation", "a.jpg lies on its side")
		other.warnOnce("alpha", "%s has transparent pixels", "b.png")
	}
	assert.Equal(t, []string{"a.jpg lies on its side", "b.png has transparent pixels"}, told)
}
