package main

import (
	"bytes"
	"errors"
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

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// A result that could not be printed is a failure, also of commands that print it in parts.
func TestResultsThatCannotBeWritten(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"models"}, {"info", "timedecay_shallow"}, {"help", "exit-codes"}} {
		var errOut bytes.Buffer
		assert.Equal(t, exitFailure, Main(t.Context(), args, nil, fullWriter{}, &errOut), "%v", args)
		assert.Contains(t, errOut.String(), "disk full", "%v", args)
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
