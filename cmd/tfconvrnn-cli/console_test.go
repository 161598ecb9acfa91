package main

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

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
