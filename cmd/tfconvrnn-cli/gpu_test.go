package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/tfconvrnn"
)

func TestGPUFlags(t *testing.T) {
	for _, good := range []struct {
		flags  gpuFlags
		device string
		count  int
	}{
		{gpuFlags{}, "cpu", 1}, {gpuFlags{}, "gpu", 1}, {gpuFlags{tf32: true, memory: "8GiB"}, "gpu:1", 3},
		{gpuFlags{memory: "all"}, "gpu", 2},
		{gpuFlags{}, "gpu:0,gpu:1", 1}, {gpuFlags{numbers: "1"}, "cpu", 1}, {gpuFlags{numbers: "0,1", tf32: true}, "cpu", 2},
	} {
		options, err := good.flags.options(good.device)
		require.NoError(t, err)
		assert.Len(t, options, good.count)
		_, err = tfconvrnn.Load("nonesuch", options...)
		assert.ErrorIs(t, err, tfconvrnn.ErrUnknownModel, "the library takes them")
	}
	for _, bad := range []struct {
		flags  gpuFlags
		device string
	}{
		{gpuFlags{}, ""}, {gpuFlags{}, "tpu"}, {gpuFlags{}, "gpu:x"}, {gpuFlags{}, "gpu:-1"}, {gpuFlags{}, "cpu:1"},
		{gpuFlags{tf32: true}, "cpu"}, {gpuFlags{memory: "1GiB"}, "cpu"}, {gpuFlags{memory: "much"}, "gpu"},
		{gpuFlags{memory: "-1"}, "gpu"},
		{gpuFlags{}, "gpu:0,cpu"}, {gpuFlags{}, "cpu,cpu"}, {gpuFlags{}, "gpu:0,1"}, {gpuFlags{}, "gpu,gpu:0"},
		{gpuFlags{}, ","}, {gpuFlags{numbers: "0"}, "gpu"},
		{gpuFlags{numbers: "0,0"}, "cpu"}, {gpuFlags{numbers: "0,"}, "cpu"}, {gpuFlags{numbers: "x"}, "cpu"},
		{gpuFlags{numbers: "-1"}, "cpu"},
	} {
		_, err := bad.flags.options(bad.device)
		assert.ErrorAs(t, err, new(usageError), "%+v", bad)
	}
}
