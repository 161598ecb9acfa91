package tfconvrnn

import (
	"context"
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// launch is one run of an operation of the graph, from TensorFlow's step statistics.
type launch struct {
	name, op string
	bytes    int64 // of its outputs
	micros   int64 // how long it took
}

// launches reads the operations that ran on a device from a serialized RunMetadata.
func launches(metadata []byte, device string) (list []launch, err error) {
	err = eachField(metadata, 1, func(stepStats []byte) error { // RunMetadata.step_stats
		return eachField(stepStats, 1, func(dev []byte) error { // StepStats.dev_stats
			var name string
			if err := eachField(dev, 1, func(text []byte) error { name = string(text); return nil }); err != nil {
				return err
			}
			if !strings.HasSuffix(strings.ToLower(name), device) {
				return nil
			}
			return eachField(dev, 2, func(node []byte) error { // DeviceStepStats.node_stats
				l := launch{micros: varint(node, 4) - varint(node, 3)} // op_end_rel_micros, op_start_rel_micros
				err := errors.Join(
					eachField(node, 1, func(text []byte) error { l.name = string(text); return nil }),
					eachField(node, 8, func(text []byte) error { // timeline_label
						if m := timelineLabel.FindStringSubmatch(string(text)); m != nil {
							l.op = m[2]
						}
						return nil
					}),
					eachField(node, 7, func(output []byte) error { // NodeOutput
						return eachField(output, 3, func(description []byte) error { // TensorDescription
							return eachField(description, 4, func(allocation []byte) error { // AllocationDescription
								l.bytes += varint(allocation, 1) // requested_bytes
								return nil
							})
						})
					}))
				list = append(list, l)
				return err
			})
		})
	})
	return list, err
}

// varint returns the integer in a field of a message, 0 if there is none.
func varint(message []byte, field protowire.Number) (value int64) {
	for len(message) > 0 {
		n, kind, length := protowire.ConsumeTag(message)
		if length < 0 {
			return value
		}
		message = message[length:]
		if n == field && kind == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(message)
			value = int64(v)
		}
		if length = protowire.ConsumeFieldValue(n, kind, message); length < 0 {
			return value
		}
		message = message[length:]
	}
	return value
}

// withoutKernel are operations that launch nothing on a GPU: they pass on what they get, or are on the host.
var withoutKernel = append([]string{"Reshape", "Squeeze", "ExpandDims", "PlaceholderWithDefault", "StopGradient"},
	onHost...)

// smallBytes is how much an operation puts out that takes a GPU less time than launching it: 4 µs are 19 MB of reading
// and writing at 4.8 TB/s, and an operation reads about twice what it writes.
const smallBytes = 6 << 20

var timestepName = regexp.MustCompile(`^[a-z0-9]+/t([0-9]+)/`)

// launchCounts are how many operations a batch launches.
type launchCounts struct {
	all, products, small int
	timesteps            int
	bytes, micros        int64
	ofOp                 map[string]int
}

func countLaunches(list []launch) launchCounts {
	c := launchCounts{ofOp: map[string]int{}}
	steps := map[string]bool{}
	for _, l := range list {
		c.micros += l.micros
		if slices.Contains(withoutKernel, l.op) {
			continue
		}
		c.all++
		c.ofOp[l.op]++
		c.bytes += l.bytes
		if m := timestepName.FindStringSubmatch(l.name); m != nil {
			steps[m[1]] = true
		}
		switch {
		case slices.ContainsFunc(products, func(op string) bool {
			return strings.Contains(l.op, strings.TrimSuffix(op, "V2"))
		}):
			c.products++
		case l.bytes < smallBytes:
			c.small++
		}
	}
	c.timesteps = len(steps)
	return c
}

// TestGPULaunches counts what a batch launches, of all and of those operations that are no convolution or product and
// too small to keep a GPU busy for as long as a launch takes.
func TestGPULaunches(t *testing.T) {
	requireGPU(t)
	name := "ugrnn_intermediate"
	if only := os.Getenv(onlyEnv); only != "" {
		name = only
	}
	model, err := Load(name, WithWeights("seeded:1"), WithStore(testStore(t)), WithDevice("gpu"),
		WithConvolution(ConvolutionDirect))
	require.NoError(t, err)
	defer model.Close()
	device := "/device:gpu:0"
	if simulatedGPUs() > 0 {
		device = "/device:cpu:0"
	}
	var last []launch
	model.stepStats = func(metadata []byte) {
		last, err = launches(metadata, device)
		require.NoError(t, err)
	}
	const batch = 8
	for range 2 { // the first also computes what is computed once
		_, err = model.Extract(context.Background(), testStimuli(t, batch), Layers("imnetds"), BatchSize(batch))
		require.NoError(t, err)
	}
	c := countLaunches(last)
	require.Positive(t, c.products)
	require.Positive(t, c.timesteps)
	reportGPU(t, "launches", map[string]any{
		"model": name, "launches": c.all, "of_a_timestep": float64(c.all) / float64(c.timesteps), "products": c.products,
		"small": c.small, "batch": batch, "output_mb": c.bytes >> 20,
	})
	ops := slices.SortedFunc(maps.Keys(c.ofOp), func(a, b string) int { return c.ofOp[b] - c.ofOp[a] })
	for _, op := range ops {
		t.Logf("%s %d", op, c.ofOp[op])
	}
}

func TestLaunches(t *testing.T) {
	bytes := func(number protowire.Number, value []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), value)
	}
	integer := func(number protowire.Number, value uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), value)
	}
	node := func(name, op string, size uint64) []byte {
		return slices.Concat(bytes(1, []byte(name)), integer(3, 5), integer(4, 12),
			bytes(8, []byte("[CPU] "+name+" = "+op+"(a, b)")),
			bytes(7, bytes(3, bytes(4, integer(1, size)))))
	}
	stats := bytes(1, []byte("/job:localhost/device:GPU:0"))
	for _, n := range [][]byte{node("conv1/t3/Conv2D", "Conv2D", 100), node("conv1/t4/Elu", "Elu", 50),
		node("conv1/t4/AddV2", "AddV2", smallBytes), node("x", "Reshape", 9)} {
		stats = append(stats, bytes(2, n)...)
	}
	metadata := bytes(1,
		append(bytes(1, stats), bytes(1, slices.Concat(bytes(1, []byte("/device:CPU:0")), bytes(2, node("y", "Elu", 1))))...))
	list, err := launches(metadata, "/device:gpu:0")
	require.NoError(t, err)
	require.Len(t, list, 4)
	require.Equal(t, launch{"conv1/t3/Conv2D", "Conv2D", 100, 7}, list[0])
	c := countLaunches(list)
	require.Equal(t, launchCounts{all: 3, products: 1, small: 1, timesteps: 2, bytes: 150 + smallBytes, micros: 28,
		ofOp: map[string]int{"Conv2D": 1, "Elu": 1, "AddV2": 1}}, c)
}
