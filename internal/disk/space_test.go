package disk

import (
	"math"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCheck(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	assert.NoError(t, Check(dir, 1))
	if runtime.GOOS == "windows" {
		t.Skip("free space is not known here")
	}
	err := Check(dir, math.MaxInt64)
	assert.ErrorIs(t, err, ErrNoSpace)
	assert.ErrorContains(t, err, dir)
}
