package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestShortCount(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 999: "999", 1000: "1.0 k", 23_956_840: "24.0 M", 23_949_999: "23.9 M", 999_949: "999.9 k", 999_950: "1.0 M", 999_999_999: "1.0 G",
	} {
		assert.Equal(t, want, shortCount(n), n)
	}
}

// What an interrupted run did counts for no rate.
func TestRateAfterResuming(t *testing.T) {
	current := newConsole(&bytes.Buffer{}, true).start("extracting", unitImages, 2000)
	current.resume(1000, 2000)
	assert.InDelta(t, 1, current.rate(1010, 10*time.Second), 1e-9)
	left, ok := current.left(1010, 2000, 10*time.Second)
	assert.True(t, ok)
	assert.Equal(t, 990*time.Second, left)
	_, ok = current.left(1000, 2000, 10*time.Second)
	assert.False(t, ok, "nothing is known yet")
}
