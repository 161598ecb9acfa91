package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestShortCount(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 999: "999", 1000: "1.0 k", 23_956_840: "24.0 M", 23_949_999: "23.9 M", 999_949: "999.9 k", 999_950: "1.0 M", 999_999_999: "1.0 G",
	} {
		assert.Equal(t, want, shortCount(n), n)
	}
}
