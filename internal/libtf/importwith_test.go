package libtf

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Nodes that are added take what the graph has, and run in a session that has run already.
func TestImportWith(t *testing.T) {
	noLeaks(t)
	g, s := session(t, adder()...)
	x := tensor[float32](t, []int64{1, 2}, 1, 2)
	run := func(name string) ([]float32, error) {
		results, err := s.Run(t.Context(), []Feed{{g.Operation("x").Output(0), x}},
			[]Output{g.Operation(name).Output(0)}, nil)
		if err != nil {
			return nil, err
		}
		defer CloseAll(results)
		values, err := Data[float32](results[0])
		return append([]float32(nil), values...), err
	}
	_, err := run("sum")
	require.NoError(t, err)
	inputs := map[string]Output{"theirs": g.Operation("sum").Output(0), "unused": g.Operation("c").Output(0)}
	require.NoError(t,
		g.ImportWith(graphDef(t, constant("d", []int64{2}, 100, 200), binary("more", "AddV2", "theirs", "d")), "", inputs))
	got, err := run("more")
	require.NoError(t, err)
	assert.Equal(t, []float32{111, 222}, got)
	other, _ := session(t, adder()...)
	for _, bad := range []map[string]Output{{"theirs": {}}, {"theirs": other.Operation("sum").Output(0)},
		{"a\x00": g.Operation("sum").Output(0)}, {}} {
		assert.ErrorIs(t, g.ImportWith(graphDef(t, binary("again", "AddV2", "theirs", "theirs")), "", bad),
			ErrInvalidArgument)
	}
}
