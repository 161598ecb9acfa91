package convert

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/gpukernels"
	"github.com/tfconvrnn/go/internal/tfpb"
	"github.com/tfconvrnn/go/internal/unroll"
	"github.com/tfconvrnn/go/internal/zoo"
)

// TestGPUReadiness shows that a GPU would compute all that counts in the SavedModels
// of all models, in both variants and all precisions: what their signatures put out,
// what the library fetches, and what is computed once.
func TestGPUReadiness(t *testing.T) {
	kernels, err := gpukernels.Recorded()
	require.NoError(t, err)
	for _, m := range zoo.Models() {
		for _, variant := range []Variant{Plain, LightCone} {
			options := Options{Variant: variant}
			require.NoError(t, options.complete(m))
			network := unroll.Unroll(m, options.Times, unroll.Variant(options.Variant),
				unroll.Options{MatMulPixels: options.MatMulPixels})
			_, fetches := gpukernels.Hot(network)
			graph := newSavedModel(network).MetaGraphs[0]
			for _, signature := range graph.SignatureDef {
				for name, output := range signature.Outputs {
					require.Contains(t, fetches, output.Name, name)
				}
			}
			for _, precision := range []tfpb.DataType{tfpb.DataType_DT_FLOAT, tfpb.DataType_DT_HALF, tfpb.DataType_DT_BFLOAT16} {
				t.Run(fmt.Sprintf("%s/%s/%s", m.Name, variant, strings.ToLower(strings.TrimPrefix(precision.String(), "DT_"))),
					func(t *testing.T) {
						report, err := gpukernels.Audit(gpukernels.InPrecision(graph.GraphDef, precision), fetches, kernels)
						require.NoError(t, err)
						for _, use := range report.Fallbacks() {
							t.Errorf("%s (%d operations) has no GPU kernel", use.Name(), use.Nodes)
						}
						for _, c := range report.Stalls() {
							if gpukernels.ExpectedStall(c) != "" {
								assert.Equal(t, 1, c.Edges)
								continue
							}
							t.Errorf("%s → %s goes back from the GPU (%d times)", c.From, c.To, c.Edges)
						}
						conv := slices.IndexFunc(report.Uses, func(u gpukernels.Use) bool { return u.Op == "Conv2D" })
						require.GreaterOrEqual(t, conv, 0, "the graph is one of the model")
						assert.Equal(t, gpukernels.OnGPU, report.Uses[conv].Place)
						for _, use := range report.Uses {
							if use.Place == gpukernels.OnHost && strings.Contains(use.Name(), "float") && use.Op != "Shape" &&
								use.Op != "VarHandleOp" {
								t.Errorf("%s stays on the host", use.Name())
							}
						}
					})
			}
		}
	}
}
