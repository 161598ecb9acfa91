package libtf

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRunAdds(t *testing.T) {
	noLeaks(t)
	g, s := session(t, placeholder("x", Float, -1, 2), constant("c", []int64{2}, 10, 20), binary("sum", "AddV2", "x", "c"))
	x := tensor[float32](t, []int64{3, 2}, 1, 2, 3, 4, 5, 6)
	results, err := s.Run(t.Context(), []Feed{{g.Operation("x").Output(0), x}}, []Output{g.Operation("sum").Output(0)}, nil)
	require.NoError(t, err)
	defer CloseAll(results)
	require.Len(t, results, 1)
	assert.Equal(t, []int64{3, 2}, results[0].Shape())
	assert.Equal(t, Float, results[0].DataType())
	values, err := Data[float32](results[0])
	require.NoError(t, err)
	assert.Equal(t, []float32{11, 22, 13, 24, 15, 26}, values)
}
