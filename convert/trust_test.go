package convert

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/trust"
	"github.com/tfconvrnn/go/internal/unroll"
	"github.com/tfconvrnn/go/internal/zoo"
)

// TestWhatIsWrittenIsTrusted holds the lists of package trust to the ops and
// attributes of all models and variants: neither more nor less.
func TestWhatIsWrittenIsTrusted(t *testing.T) {
	ops, attributes := map[string]bool{}, map[string]bool{}
	for _, m := range zoo.Models() {
		for _, variant := range []Variant{Plain, LightCone} {
			saved := newSavedModel(unroll.Unroll(m, m.Default.Times, unroll.Variant(variant),
				unroll.Options{MatMulPixels: DefaultMatMulPixels}))
			for _, node := range saved.MetaGraphs[0].GraphDef.Node {
				ops[node.Op] = true
				for name := range node.Attr {
					attributes[name] = true
				}
			}
			data, err := proto.Marshal(saved)
			require.NoError(t, err)
			require.NoError(t, trust.CheckGraph(data), fmt.Sprintf("%s, %s", m.Name, variant))
		}
	}
	assert.Equal(t, slices.Sorted(maps.Keys(ops)), slices.Sorted(maps.Keys(trust.Ops)))
	assert.Equal(t, slices.Sorted(maps.Keys(attributes)), slices.Sorted(maps.Keys(trust.Attributes)))
}
