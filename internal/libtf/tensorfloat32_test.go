package libtf

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTensorFloat32(t *testing.T) {
	need(t)
	before, known := TensorFloat32()
	require.True(t, known, "TensorFlow %s has the switch", Version)
	t.Cleanup(func() { SetTensorFloat32(before) })
	for _, allowed := range []bool{false, true, false} {
		require.True(t, SetTensorFloat32(allowed))
		now, known := TensorFloat32()
		require.True(t, known)
		assert.Equal(t, allowed, now)
	}
}
