package unroll

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/tfpb"
	"github.com/tfconvrnn/go/internal/zoo"
)

var variants = []Variant{Plain, LightCone}

var networks = map[string]*Network{}

// network returns the network of a model's default presentation. It is built once.
func network(model string, variant Variant) *Network {
	key := model + "/" + string(variant)
	if networks[key] == nil {
		m := zoo.Lookup(model)
		networks[key] = Unroll(m, m.Default.Times, variant, Options{MatMulPixels: 49})
	}
	return networks[key]
}

// eachNetwork calls f with the network of every model and variant.
func eachNetwork(t *testing.T, f func(t *testing.T, n *Network)) {
	for _, m := range zoo.Models() {
		for _, variant := range variants {
			t.Run(fmt.Sprintf("%s/%s", m.Name, variant), func(t *testing.T) {
				f(t, network(m.Name, variant))
			})
		}
	}
}

// operationOf returns the operation that an input or a tensor name is of.
func operationOf(input string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(input, "^"), ":")
	return name
}

// dependents returns the operations that depend on the named one, by value.
func dependents(def *tfpb.GraphDef, name string) map[string]bool {
	found := map[string]bool{name: true}
	for _, n := range def.Node { // in topological order
		for _, input := range n.Input {
			if !strings.HasPrefix(input, "^") && found[operationOf(input)] {
				found[n.Name] = true
			}
		}
	}
	return found
}

// TestKindsFollowTheLightCone compares what the unroll finds out about values with
// the layers' light cones, and both with the graph.
func TestKindsFollowTheLightCone(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n *Network) {
		driven := dependents(n.Graph.Proto(), FramesName)
		recurrent := false
		for i := range n.Model.Layers {
			l := &n.Model.Layers[i]
			recurrent = recurrent || l.Cell != zoo.None
			for time, f := range n.Features[i] {
				where := fmt.Sprintf("%s t=%d", l.Name, time)
				assert.Equal(t, time >= l.DrivenFrom, driven[f.Full.Operation()], where)
				assert.Equal(t, time >= l.DrivenFrom, driven[f.Compact.Operation()], where)
				switch {
				case n.Variant == Plain:
					assert.Equal(t, PerStimulus, f.Kind, where)
				case time < l.DrivenFrom:
					assert.Equal(t, Constant, f.Kind, where)
				case !recurrent || time == l.DrivenFrom: // one frame has arrived, or counts
					assert.Equal(t, PerFrame, f.Kind, where)
					assert.Equal(t, time-l.DrivenFrom, f.Shown, where)
				default:
					assert.Equal(t, PerStimulus, f.Kind, where)
				}
			}
		}
	})
}

var validName = regexp.MustCompile(`^[A-Za-z0-9.][A-Za-z0-9_>./\\-]*$`)

func TestGraphsAreWellFormed(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n *Network) {
		times := n.Times
		def := n.Graph.Proto()
		seen := map[string]bool{}
		for _, node := range def.Node {
			require.Regexp(t, validName, node.Name)
			require.False(t, seen[node.Name], "%s is there twice", node.Name)
			for _, input := range node.Input {
				require.True(t, seen[operationOf(input)], "%s reads %s, which comes later or not at all", node.Name, input)
			}
			seen[node.Name] = true
		}
		require.Len(t, n.Features, len(n.Model.Layers))
		for i, features := range n.Features {
			require.Len(t, features, times)
			for time, f := range features {
				assert.Equal(t, FeatureName(n.Model.Layers[i].Name, time), f.Full.Operation())
				assert.True(t, f.Compact.Exists())
			}
		}
		require.Len(t, n.Logits, times+1)
		for count, logits := range n.Logits {
			assert.Equal(t, count >= n.Model.FirstTimes(), logits.Exists(), "logits after %d timesteps", count)
			if logits.Exists() {
				assert.Equal(t, LogitsName(count), logits.Operation())
			}
		}
		if n.Variant == Plain {
			assert.Empty(t, n.Boundaries)
			assert.Empty(t, n.KnownFrames)
		}
		again, err := proto.MarshalOptions{Deterministic: true}.Marshal(Unroll(n.Model, times, n.Variant,
			Options{MatMulPixels: 49}).Graph.Proto())
		require.NoError(t, err)
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(def)
		require.NoError(t, err)
		assert.Equal(t, data, again, "the same model gives the same graph")
	})
}

func TestAnyNumberOfTimesteps(t *testing.T) {
	for _, name := range []string{"rgc_shallow", "ugrnn_intermediate_t30_dthresh"} {
		m := zoo.Lookup(name)
		for _, variant := range variants {
			for _, times := range []int{m.Default.Times, 31, 64} {
				n := Unroll(m, times, variant, Options{})
				require.Len(t, n.Logits, times+1)
				require.True(t, n.Logits[times].Exists(), "%s, %d timesteps", m.Name, times)
				require.Equal(t, n.Logits[m.Default.Times], n.DefaultLogits)
			}
		}
	}
}

// TestEveryVariableIsRead requires that the graph reads every variable of the
// checkpoint that changes something, each input channel of a kernel just once.
func TestEveryVariableIsRead(t *testing.T) {
	eachNetwork(t, func(t *testing.T, n *Network) {
		names := map[string]bool{}
		channels := map[string]map[int]int{} // of each source
		for _, v := range n.Variables {
			require.False(t, names[v.Name], "%s is there twice", v.Name)
			names[v.Name] = true
			require.Equal(t, len(v.SourceShape), len(v.Shape), v.Name)
			if channels[v.Source] == nil {
				channels[v.Source] = map[int]int{}
			}
			from, to := v.From, v.To
			if to == 0 {
				from, to = 0, 1
				require.Equal(t, v.SourceShape, v.Shape, v.Name)
			} else {
				want := slices.Clone(v.SourceShape)
				want[len(want)-2] = to - from
				require.Equal(t, want, v.Shape, v.Name)
			}
			for c := from; c < to; c++ {
				channels[v.Source][c]++
			}
		}
		for _, v := range n.Model.Variables() {
			read, unused := channels[v.Name], strings.Contains(v.Name, "/probs/") || strings.Contains(v.Name, "/alpha/")
			fixed := strings.HasSuffix(v.Name, "/memory_decay") && !v.Trainable
			if unused || fixed {
				assert.Nil(t, read, "%s changes nothing", v.Name)
				continue
			}
			// Variants that need a whole kernel too may hold it beside its parts.
			want := 1
			if len(read) > 1 {
				want = v.Shape[len(v.Shape)-2]
			}
			assert.Len(t, read, want, "%s is read in part", v.Name)
			delete(channels, v.Name)
		}
		assert.Empty(t, channels, "read, but no variable of the checkpoint")
	})
}

// allFetches are the features of all layers and timesteps, one item per stimulus,
// and the logits.
func allFetches(n *Network) []string {
	var names []string
	for i := range n.Features {
		for _, f := range n.Features[i] {
			names = append(names, f.Full.Name())
		}
	}
	return append(names, n.Logits[n.Times].Name())
}

// costs are the multiply-accumulates of all layers at all timesteps.
func costs(model string, variant Variant) map[string]int64 {
	n := network(model, variant)
	return graph.MACs(n.Graph.Proto(), allFetches(n), nil)
}

// TestCosts holds the multiply-accumulates of an image to those counted by hand
// from the layers' sizes: height·width·kernel²·in·out.
func TestCosts(t *testing.T) {
	shallow := int64(112*112*49*3*64 + 56*56*9*64*128 + 28*28*9*128*256 + 14*14*9*256*256 + 7*7*9*256*512 + 3*3*4*512*1000)
	assert.Equal(t, map[string]int64{"stimulus": 16 * shallow}, costs("timedecay_shallow", Plain))
	ugrnn := int64(112*112*49*3*64 +
		2*56*56*9*(64*64+64*64) + // conv2, conv3: pre and post
		56*56*(9*(64*128+256*256+128*128)+64*128) + // conv4: pre, gates, post; residual
		28*28*9*(128*128+256*256+128*128) +
		28*28*(9*(128*256+512*512+256*256)+128*256) +
		14*14*9*(256*256+512*512+256*256) +
		7*7*(9*(256*512+1024*1024+512*512)+256*512) +
		2*7*7*9*(512*512+1024*1024+512*512) + // conv9, conv10
		512*1000)
	assert.Equal(t, map[string]int64{"stimulus": 17 * ugrnn}, costs("ugrnn_intermediate", Plain))

	for _, m := range zoo.Models() {
		plain, lightCone := costs(m.Name, Plain)["stimulus"], costs(m.Name, LightCone)
		perImage := lightCone["frame"] + lightCone["stimulus"]
		if m.Depth == zoo.Intermediate && m.Default.Times == 17 {
			assert.Less(t, perImage, plain*65/100, m.Name)
		}
		assert.Less(t, perImage, plain, m.Name)
	}
}

func TestPatchIndices(t *testing.T) {
	assert.Equal(t, []int32{
		4, 4, 4, 4, 0, 1, 4, 2, 3,
		4, 4, 4, 0, 1, 4, 2, 3, 4,
		4, 0, 1, 4, 2, 3, 4, 4, 4,
		0, 1, 4, 2, 3, 4, 4, 4, 4,
	}, patchIndices(2, 2, 3))
	assert.Equal(t, []int32{0, 1, 2, 3, 4, 5}, patchIndices(2, 3, 1))
	// SAME padding of even kernels is one more behind than before.
	assert.Equal(t, []int32{0, 1, 2, 3, 1, 4, 3, 4, 2, 3, 4, 4, 3, 4, 4, 4}, patchIndices(2, 2, 2))
}

// TestPatchIndicesConvolve compares patches times kernel with a convolution by its
// definition.
func TestPatchIndicesConvolve(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for _, c := range [][3]int{{7, 7, 3}, {7, 7, 4}, {3, 5, 2}, {1, 1, 3}, {4, 4, 1}, {2, 7, 5}} {
		height, width, kernel := c[0], c[1], c[2]
		x := make([]float64, height*width+1) // behind the map: outside
		w := make([]float64, kernel*kernel)
		for i := range height * width {
			x[i] = random.NormFloat64()
		}
		for i := range w {
			w[i] = random.NormFloat64()
		}
		indices := patchIndices(height, width, kernel)
		require.Len(t, indices, height*width*kernel*kernel)
		for pixel := range height * width {
			var got, want float64
			for i, index := range indices[pixel*len(w) : (pixel+1)*len(w)] {
				got += w[i] * x[index]
			}
			top, left := pixel/width-(kernel-1)/2, pixel%width-(kernel-1)/2
			for dy := range kernel {
				for dx := range kernel {
					if y, x0 := top+dy, left+dx; y >= 0 && y < height && x0 >= 0 && x0 < width {
						want += w[dy*kernel+dx] * x[y*width+x0]
					}
				}
			}
			require.InDelta(t, want, got, 1e-12, "%v, pixel %d", c, pixel)
		}
	}
}

func TestVariableValues(t *testing.T) {
	source := make([]float32, 2*3*2)
	for i := range source {
		source[i] = float32(i)
	}
	whole := Variable{Shape: []int{2, 3, 2}, SourceShape: []int{2, 3, 2}}
	assert.Equal(t, source, whole.Values(source))

	part := Variable{Shape: []int{2, 2, 2}, SourceShape: []int{2, 3, 2}, From: 1, To: 3}
	assert.Equal(t, []float32{2, 3, 4, 5, 8, 9, 10, 11}, part.Values(source))
	part.From, part.To, part.Shape = 0, 1, []int{2, 1, 2}
	assert.Equal(t, []float32{0, 1, 6, 7}, part.Values(source))

	bias := Variable{Shape: []int{4}, SourceShape: []int{4}, Shift: 1, ShiftTo: 2}
	assert.Equal(t, []float32{1, 2, 2, 3}, bias.Values(source[:4]))
	assert.Equal(t, []float32{0, 1, 2, 3}, source[:4], "the source is left as it is")
}

// TestPartsAreTheKernel requires that the parts of a kernel, put together, are it.
func TestPartsAreTheKernel(t *testing.T) {
	source := make([]float32, 3*3*5*4)
	for i := range source {
		source[i] = float32(i)
	}
	shape := []int{3, 3, 5, 4}
	first := Variable{Shape: []int{3, 3, 2, 4}, SourceShape: shape, From: 0, To: 2}
	second := Variable{Shape: []int{3, 3, 3, 4}, SourceShape: shape, From: 2, To: 5}
	a, b := first.Values(source), second.Values(source)
	var joined []float32
	for position := range 9 {
		joined = append(joined, a[position*8:(position+1)*8]...)
		joined = append(joined, b[position*12:(position+1)*12]...)
	}
	assert.Equal(t, source, joined)
}

func TestJoinedKinds(t *testing.T) {
	constant := value{kind: Constant}
	frame := func(shown int) value { return value{kind: PerFrame, shown: shown} }
	stimulus := value{kind: PerStimulus}
	for _, c := range []struct {
		values []value
		want   value
	}{
		{[]value{constant, constant}, constant},
		{[]value{constant, frame(3)}, frame(3)},
		{[]value{frame(3), constant, frame(3)}, frame(3)},
		{[]value{frame(3), frame(4)}, stimulus},
		{[]value{stimulus, frame(4)}, stimulus},
		{[]value{constant, stimulus}, stimulus},
		{[]value{frame(1), frame(2), frame(1), constant}, stimulus},
	} {
		got := joined(c.values...)
		assert.Equal(t, c.want.kind, got.kind, "%v", c.values)
		if c.want.kind == PerFrame {
			assert.Equal(t, c.want.shown, got.shown)
		}
		slices.Reverse(c.values)
		assert.Equal(t, c.want.kind, joined(c.values...).kind, "%v", c.values)
	}
}

func BenchmarkUnroll(b *testing.B) {
	m := zoo.Lookup("rgc_intermediate")
	for b.Loop() {
		Unroll(m, 30, LightCone, Options{MatMulPixels: 49})
	}
}
