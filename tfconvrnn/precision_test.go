package tfconvrnn

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/cpu"
)

func TestPrecision(t *testing.T) {
	o := loadOptions{session: defaultSessionOptions()}
	assert.ErrorIs(t, WithPrecision("float16")(&o), ErrOption)
	assert.NoError(t, WithPrecision(Float32)(&o))
	_, err := o.session.config(nil)
	assert.NoError(t, err)

	assert.NoError(t, WithPrecision(BFloat16)(&o))
	_, err = o.session.config(nil)
	if cpu.X86.HasAVX512BF16 || cpu.X86.HasAMXBF16 {
		assert.NoError(t, err)
	} else {
		assert.ErrorIs(t, err, ErrPrecision)
	}
	o.session.device = "gpu:0"
	_, err = o.session.config(nil)
	assert.ErrorIs(t, err, ErrPrecision)
}
