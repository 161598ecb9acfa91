package fetchfile

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestContentRange(t *testing.T) {
	start, whole, ok := contentRange("bytes 5-9/10")
	assert.True(t, ok)
	assert.EqualValues(t, 5, start)
	assert.EqualValues(t, 10, whole)
	_, whole, ok = contentRange("bytes 5-9/*")
	assert.True(t, ok)
	assert.EqualValues(t, -1, whole)
	for _, bad := range []string{"", "bytes", "bytes */10", "bytes 5/10", "bytes 5-9", "5-9/10", "bytes -1-9/10",
		"bytes 5-9/x", "bytes 9-9/3"} {
		_, _, ok = contentRange(bad)
		assert.False(t, ok, bad)
	}
}
