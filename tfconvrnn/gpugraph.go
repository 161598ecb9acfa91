package tfconvrnn

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// What is done to a graph where GPUs compute it: features are selected, averaged and rounded there, so that
// less is copied to the host, and in bfloat16 the operands of convolutions and matrix products are cast.

// The operations that are added begin with these names.
const (
	unitsPrefix    = "device/units/"  // places for the units of a layer
	selectedPrefix = "device/select/" // features of the units
	averagePrefix  = "device/mean/"   // features averaged over positions
	fieldsPrefix   = "device/fields/" // places for the weights of a layer's fields
	poolPrefix     = "device/pool/"   // features averaged over fields
	halfPrefix     = "device/half/"   // of each of these, and of whole features, as float16
)

// adaptToGPU adds to a graph what a GPU can do before features are copied to the host, and puts
// it into the precision of the session.
func (o *loadOptions) adaptToGPU(def *tfpb.GraphDef, m *manifest.Manifest) {
	if o.session.precision == BFloat16 {
		computeInBFloat16(def)
	}
	added := graph.New()
	axis := added.Int32s("device/axis", []int32{1})
	axes := added.Int32s("device/axes", []int32{1, 2}, 2)
	add := func(name, op string, attributes graph.Attributes, inputs ...graph.Tensor) graph.Tensor {
		return added.Add(graph.Spec{Name: name, Op: op, Inputs: inputs, Attributes: attributes})
	}
	features := map[string]bool{}
	for _, l := range m.Layers {
		size := 1
		for _, d := range l.Shape {
			size *= d
		}
		flat := added.Int32s("device/flat/"+l.Name, []int32{-1, int32(size)}, 2)
		units := add(unitsPrefix+l.Name, "Placeholder", graph.Attributes{"dtype": int32Type, "shape": graph.Shape(-1)})
		var wide, fields graph.Tensor
		if len(l.Shape) == 3 {
			wide = added.Int32s("device/positions/"+l.Name, []int32{-1, int32(l.Shape[0] * l.Shape[1]), int32(l.Shape[2])}, 3)
			fields = add(fieldsPrefix+l.Name, "Placeholder", graph.Attributes{"dtype": doubleType, "shape": graph.Shape(-1, -1)})
		}
		for _, step := range l.Timesteps {
			if step.Kind == kindConstant || features[step.Tensor] {
				continue
			}
			features[step.Tensor] = true
			a := adding{add, step.Tensor}
			x := add(step.Tensor, "Placeholder", graph.Attributes{"dtype": floatType}) // stands for the one in def
			a.half("", x)
			a.half(selectedPrefix, a.op(selectedPrefix, "GatherV2", graph.Attributes{
				"Tparams": floatType, "Tindices": int32Type, "Taxis": int32Type, "batch_dims": graph.Int(0)},
				a.reshape("device/rows/", floatType, x, flat), units, axis))
			if len(l.Shape) != 3 {
				continue
			}
			double := a.cast("device/wide/", floatType, doubleType, x)
			a.half(averagePrefix, a.cast(averagePrefix, doubleType, floatType, a.op("device/wide_mean/", "Mean",
				graph.Attributes{"T": doubleType, "Tidx": int32Type, "keep_dims": graph.Bool(false)}, double, axes)))
			a.half(poolPrefix, a.cast(poolPrefix, doubleType, floatType, a.op("device/wide_pool/", "BatchMatMulV2",
				graph.Attributes{"T": doubleType, "adj_x": graph.Bool(false), "adj_y": graph.Bool(false)}, fields,
				a.reshape("device/wide_positions/", doubleType, double, wide))))
		}
	}
	for _, node := range added.Proto().Node {
		if !features[node.Name] {
			def.Node = append(def.Node, node)
		}
	}
}

// adding adds operations on a tensor of features, named after it.
type adding struct {
	add    func(name, op string, attributes graph.Attributes, inputs ...graph.Tensor) graph.Tensor
	tensor string
}

func (a adding) op(prefix, op string, attributes graph.Attributes, inputs ...graph.Tensor) graph.Tensor {
	return a.add(prefix+a.tensor, op, attributes, inputs...)
}

func (a adding) cast(prefix string, from, to *tfpb.AttrValue, x graph.Tensor) graph.Tensor {
	return a.op(prefix, "Cast", graph.Attributes{"SrcT": from, "DstT": to, "Truncate": graph.Bool(false)}, x)
}

func (a adding) reshape(prefix string, of *tfpb.AttrValue, x, shape graph.Tensor) graph.Tensor {
	return a.op(prefix, "Reshape", graph.Attributes{"T": of, "Tshape": int32Type}, x, shape)
}

// half adds features, or what was made of them, as float16.
func (a adding) half(prefix string, x graph.Tensor) {
	a.cast(halfPrefix+prefix, floatType, halfType, x)
}

var (
	floatType  = graph.Type(tfpb.DataType_DT_FLOAT)
	doubleType = graph.Type(tfpb.DataType_DT_DOUBLE)
	halfType   = graph.Type(tfpb.DataType_DT_HALF)
	bfloatType = graph.Type(tfpb.DataType_DT_BFLOAT16)
	int32Type  = graph.Type(tfpb.DataType_DT_INT32)
)

// products are the operations that compute in the precision of a session.
var products = []string{"Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2"}

// computeInBFloat16 has convolutions and matrix products take and give bfloat16. All else stays in float32. A
// weight is cast once in a run, however many timesteps use it.
func computeInBFloat16(def *tfpb.GraphDef) {
	casts := map[string]string{}
	cast := func(name, input string, from, to *tfpb.AttrValue) *tfpb.NodeDef {
		return &tfpb.NodeDef{Name: name, Op: "Cast", Input: []string{input}, Attr: map[string]*tfpb.AttrValue{"SrcT": from,
			"DstT": to, "Truncate": graph.Bool(false)}}
	}
	for _, node := range slices.Clone(def.Node) {
		if !slices.Contains(products, node.Op) || node.Attr["T"].GetType() != tfpb.DataType_DT_FLOAT {
			continue
		}
		product := proto.Clone(node).(*tfpb.NodeDef)
		product.Name = "bfloat16/" + node.Name
		product.Attr["T"] = bfloatType
		for i, input := range node.Input {
			if strings.HasPrefix(input, "^") {
				continue
			}
			name, ok := casts[input]
			if !ok {
				name = "bfloat16/of/" + strings.ReplaceAll(input, ":", "_output_")
				casts[input] = name
				def.Node = append(def.Node, cast(name, input, floatType, bfloatType))
			}
			product.Input[i] = name
		}
		def.Node = append(def.Node, product)
		result := cast(node.Name, product.Name, bfloatType, floatType)
		node.Op, node.Input, node.Attr = result.Op, result.Input, result.Attr
	}
}

// tryEnv turns on ways of computing on GPUs that have not been measured on one, separated by commas.
const tryEnv = "TFCONVRNN_GPU_TRY"

// The ways that can be tried.
const (
	// tryXLA has TensorFlow compile clusters of operations, by XLA's automatic clustering.
	tryXLA = "xla"
	// tryNCHW has TensorFlow's layout optimizer turn the graph to channels before positions, which cuDNN prefers in
	// float32.
	tryNCHW = "nchw"
	// tryOverlap has two batches computed at once in each session, so that one is computed while the other's features are
	// copied.
	tryOverlap = "overlap"
)

// parseTrials reads tryEnv's value. The error wraps ErrOption.
func parseTrials(text string) (trials []string, err error) {
	for trial := range strings.SplitSeq(text, ",") {
		if trial = strings.TrimSpace(trial); trial == "" {
			continue
		}
		if !slices.Contains([]string{tryXLA, tryNCHW, tryOverlap}, trial) {
			return nil, fmt.Errorf("%w: %s is %q; there are %s, %s and %s", ErrOption, tryEnv, text, tryXLA, tryNCHW, tryOverlap)
		}
		trials = append(trials, trial)
	}
	slices.Sort(trials)
	return slices.Compact(trials), nil
}

// settleTrials reads what is to be tried on GPUs.
func (g *gpuOptions) settleTrials() (err error) {
	g.trials, err = parseTrials(os.Getenv(tryEnv))
	return err
}

// configureTrials adds what is tried to a session's configuration.
func (g gpuOptions) configureTrials(c *tfpb.ConfigProto) {
	if slices.Contains(g.trials, tryXLA) {
		// On the processor too: devices of it stand in for GPUs.
		c.GraphOptions.OptimizerOptions.GlobalJitLevel = tfpb.OptimizerOptions_ON_2
		c.GraphOptions.OptimizerOptions.CpuGlobalJit = true
	}
	if slices.Contains(g.trials, tryNCHW) {
		const off = tfpb.RewriterConfig_OFF
		c.GraphOptions.RewriteOptions = &tfpb.RewriterConfig{
			LayoutOptimizer: tfpb.RewriterConfig_ON, MinGraphNodes: -1,
			ConstantFolding: off, ArithmeticOptimization: off, DependencyOptimization: off, LoopOptimization: off,
			FunctionOptimization: off,
			ShapeOptimization:    off, Remapping: off, PinToHostOptimization: off, ImplementationSelector: off,
			CommonSubgraphElimination: off,
		}
	}
}

// inFlight is how many batches a session computes at once.
func (g gpuOptions) inFlight() int {
	if slices.Contains(g.trials, tryOverlap) {
		return 2
	}
	return 1
}
