package tfconvrnn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tfconvrnn/go/internal/libtf"
)

// reportGPU prints what scripts/gpu/prove.sh collects into its table.
func reportGPU(t *testing.T, check string, values map[string]any) {
	t.Helper()
	values["check"] = check
	text, err := json.Marshal(values)
	require.NoError(t, err)
	fmt.Printf("PROVE: %s\n", text)
}

// provedDevice is the GPU of the tests: the second where they are simulated, so that what is placed by accident shows.
func provedDevice() Device {
	if os.Getenv(simulatedEnv) != "" {
		return GPU(1)
	}
	return GPU(0)
}

// provedModel is the model of the tests that take one.
func provedModel() string {
	if only := os.Getenv(onlyEnv); only != "" {
		return only
	}
	return "rgc_intermediate"
}

// nodeRun is one run of an operation, from TensorFlow's step statistics.
type nodeRun struct{ device, name, op string }

var timelineLabel = regexp.MustCompile(`(?:^|\s)(\S+) = ([A-Za-z_][A-Za-z0-9_]*)\(`)

// nodeRuns reads a serialized RunMetadata.
func nodeRuns(metadata []byte) (runs []nodeRun, err error) {
	err = eachField(metadata, 1, func(stepStats []byte) error { // RunMetadata.step_stats
		return eachField(stepStats, 1, func(device []byte) error { // StepStats.dev_stats
			var name string
			if err := eachField(device, 1, func(text []byte) error { name = string(text); return nil }); err != nil {
				return err
			}
			return eachField(device, 2, func(node []byte) error { // DeviceStepStats.node_stats
				run := nodeRun{device: name}
				err := errors.Join(
					eachField(node, 1, func(text []byte) error { run.name = string(text); return nil }),
					eachField(node, 8, func(text []byte) error { // timeline_label
						if m := timelineLabel.FindStringSubmatch(string(text)); m != nil {
							run.op = m[2]
						}
						return nil
					}))
				runs = append(runs, run)
				return err
			})
		})
	})
	return runs, err
}

// eachField calls visit with every field of a number whose value is bytes.
func eachField(message []byte, number protowire.Number, visit func(value []byte) error) error {
	for len(message) > 0 {
		n, kind, length := protowire.ConsumeTag(message)
		if length < 0 {
			return protowire.ParseError(length)
		}
		message = message[length:]
		if n == number && kind == protowire.BytesType {
			value, length := protowire.ConsumeBytes(message)
			if length < 0 {
				return protowire.ParseError(length)
			}
			if err := visit(value); err != nil {
				return err
			}
			message = message[length:]
			continue
		}
		if length = protowire.ConsumeFieldValue(n, kind, message); length < 0 {
			return protowire.ParseError(length)
		}
		message = message[length:]
	}
	return nil
}

// onHost are operations that belong to the host: what is fed and fetched, and shapes.
var onHost = []string{"", "_Arg", "_Retval", "_Send", "_Recv", "_HostSend", "_HostRecv", "Const", "NoOp", "Placeholder",
	"Shape", "StridedSlice", "Range", "Pack", "ConcatV2",
	"VarHandleOp", "Identity", "Cast", "ReadVariableOp"}

// TestGPUPlacement asks TensorFlow where it ran every operation.
func TestGPUPlacement(t *testing.T) {
	requireGPU(t)
	model, err := Load(provedModel(), WithWeights("seeded:1"), WithStore(testStore(t)), WithDevice(provedDevice()),
		WithConvolution(ConvolutionDirect))
	require.NoError(t, err)
	defer model.Close()
	var runs []nodeRun
	model.stepStats = func(metadata []byte) {
		list, err := nodeRuns(metadata)
		require.NoError(t, err)
		runs = append(runs, list...)
	}
	_, err = model.Extract(context.Background(), goldenStimuli(t), Logits())
	require.NoError(t, err)
	require.NotEmpty(t, runs)
	device := model.device
	if device == "" {
		device = "/device:GPU:0"
	}
	there, elsewhere := map[string]int{}, map[string]int{}
	for _, run := range runs {
		switch {
		case strings.Contains(run.device, strings.TrimPrefix(device, "/")) || strings.Contains(strings.ToLower(run.device),
			strings.ToLower(strings.TrimPrefix(device, "/"))):
			there[run.op]++
		case !slices.Contains(onHost, run.op):
			elsewhere[run.op]++
		}
	}
	reportGPU(t, "placement", map[string]any{"model": provedModel(), "operations": len(runs),
		"kinds_on_device": len(there), "elsewhere": elsewhere})
	assert.Empty(t, elsewhere, "operations that compute and ran elsewhere than on %s", device)
	assert.Positive(t, there["Conv2D"]+there["_FusedConv2D"]+there["_MklNativeConv2D"]+there["_MklNativeFusedConv2D"],
		"%v", there)
}

// TestGPURepeats runs the same batch ten times.
func TestGPURepeats(t *testing.T) {
	requireGPU(t)
	model, err := Load(provedModel(), WithWeights("seeded:1"), WithStore(testStore(t)), WithDevice(provedDevice()))
	require.NoError(t, err)
	defer model.Close()
	var want *Features
	same, largest := 0, 0.0
	const times = 10
	for range times {
		got, err := model.Extract(context.Background(), goldenStimuli(t), Logits())
		require.NoError(t, err)
		if want == nil {
			want = got
		}
		if difference(want, got) == "" {
			same++
		}
		for i := range want.Layers {
			largest = max(largest, largestDifference(want.Layers[i].Data, got.Layers[i].Data))
		}
	}
	reportGPU(t, "repeatability", map[string]any{"model": provedModel(), "runs": times, "same_bytes": same,
		"largest_difference_of_rms": largest})
	assert.LessOrEqual(t, largest, 1e-5)
}

// largestDifference is max |a - b| / RMS of a.
func largestDifference(a, b []float32) float64 {
	sum, largest := 0.0, 0.0
	for i := range a {
		sum += float64(a[i]) * float64(a[i])
		largest = max(largest, math.Abs(float64(a[i])-float64(b[i])))
	}
	if sum == 0 {
		return largest
	}
	return largest / math.Sqrt(sum/float64(len(a)))
}

// TestGPUTF32 says how far features in TensorFloat-32 are off. It needs a process of its own.
func TestGPUTF32(t *testing.T) {
	requireGPU(t)
	if used := &usedGPUs; used.fixed && !used.options.tf32 {
		t.Skip("another test of this process has fixed that TensorFloat-32 is off")
	}
	store := testStore(t)
	var results [2]*Features
	for i, options := range [][]Option{{WithDevice(provedDevice()), WithTF32()}, {WithDevice(CPU)}} {
		model, err := Load(provedModel(), append(options, WithWeights("seeded:1"), WithStore(store))...)
		require.NoError(t, err)
		results[i], err = model.Extract(context.Background(), goldenStimuli(t), Logits())
		require.NoError(t, err)
		require.NoError(t, model.Close())
	}
	largest, where := 0.0, ""
	for i, l := range results[1].Layers {
		if d := largestDifference(l.Data, results[0].Layers[i].Data); d > largest {
			largest, where = d, l.Name
		}
	}
	reportGPU(t, "tf32", map[string]any{"model": provedModel(), "largest_difference_of_rms": largest, "layer": where})
	assert.Less(t, largest, 0.5)
}

// TestGPUMemory asks for more than a limit allows: an error, after which a smaller batch works; and a batch that was
// chosen is halved. It needs a process of its own.
func TestGPUMemory(t *testing.T) {
	requireGPU(t)
	simulated := os.Getenv(simulatedEnv) != ""
	if simulated && os.Getenv(simulatedBatchEnv) == "" {
		t.Skipf("simulated GPUs have no limit of memory; set %s", simulatedBatchEnv)
	}
	if usedGPUs.fixed {
		t.Skip("another test of this process has fixed the limit")
	}
	const limit = 1 << 30
	before, total, seen := gpuMemory()
	model, err := Load(provedModel(), WithWeights("seeded:1"), WithStore(testStore(t)), WithDevice("gpu"),
		WithGPUMemoryLimit(limit))
	require.NoError(t, err)
	defer model.Close()
	stimuli := testStimuli(t, 256)
	request := []ExtractOption{Layers("imnetds")}
	_, err = model.Extract(context.Background(), stimuli, append(request, BatchSize(256))...)
	require.ErrorIs(t, err, ErrMemory)
	require.ErrorContains(t, err, "gpu:0 cannot compute 256 stimuli at once, with a limit of 1.0 GiB")
	_, err = model.Extract(context.Background(), stimuli[:1], append(request, BatchSize(1))...)
	require.NoError(t, err)

	report := map[string]any{"model": provedModel(), "limit_gib": 1, "goes_on": true}
	// The largest size of which one half does not find memory and a quarter does.
	for size := 256; ; size /= 2 {
		require.Greater(t, size, 1, "nothing fits")
		x := chosen(t, model, size, request...)
		features, err := x.Extract(context.Background(), stimuli[:size])
		if err != nil {
			require.ErrorIs(t, err, ErrMemory)
			continue
		}
		require.Equal(t, size, features.Provenance.BatchHalvedFrom)
		require.Equal(t, size/2, features.Provenance.BatchSize)
		require.Len(t, features.Stimuli, size)
		report["halved_from"], report["to"] = size, size/2
		break
	}
	if after, _, ok := gpuMemory(); seen && ok && !simulated {
		report["used_gib"], report["total_gib"] = after-before, total
		assert.Less(t, after-before, float64(limit)/(1<<30)+1.5, "the limit, and what CUDA takes")
	}
	reportGPU(t, "memory", report)
}

// TestGPUGrowth computes little without a limit: most of the GPU's memory stays free for other processes.
func TestGPUGrowth(t *testing.T) {
	requireGPU(t)
	before, total, ok := gpuMemory()
	if !ok || os.Getenv(simulatedEnv) != "" {
		t.Skip("needs nvidia-smi, which tells how much memory is in use")
	}
	model, err := Load("timedecay_shallow", WithWeights("seeded:1"), WithStore(testStore(t)), WithDevice("gpu"))
	require.NoError(t, err)
	defer model.Close()
	_, err = model.Extract(context.Background(), goldenStimuli(t), Layers("imnetds"))
	require.NoError(t, err)
	after, _, ok := gpuMemory()
	require.True(t, ok)
	reportGPU(t, "growth", map[string]any{"model": "timedecay_shallow", "used_without_limit_gib": after - before,
		"total_gib": total})
	assert.Less(t, after-before, total/2)
}

// gpuMemory asks the driver how much memory of the first GPU is in use, and how much it has, in GiB.
func gpuMemory() (used, total float64, ok bool) {
	output, err := exec.Command("nvidia-smi", "--id=0", "--query-gpu=memory.used,memory.total",
		"--format=csv,noheader,nounits").Output()
	if err != nil {
		return 0, 0, false
	}
	if n, err := fmt.Sscanf(string(output), "%f, %f", &used, &total); n != 2 || err != nil {
		return 0, 0, false
	}
	return used / 1024, total / 1024, true
}

// TestGPUSmallerFeatures has the GPU select units, average, pool and round layers before it copies them: the same
// values.
func TestGPUSmallerFeatures(t *testing.T) {
	requireGPU(t)
	name := "rgc_shallow"
	if only := os.Getenv(onlyEnv); only != "" {
		name = only
	}
	model, err := Load(name, WithWeights("seeded:1"), WithStore(testStore(t)), WithDevice(provedDevice()))
	require.NoError(t, err)
	defer model.Close()
	layers := Layers("conv5", "conv4", "conv2", "conv1", "imnetds", "conv3")
	extract := func(options ...ExtractOption) *Features {
		features, err := model.Extract(context.Background(), goldenStimuli(t),
			append([]ExtractOption{layers, AllTimesteps(), Logits(), WithPresentation(Neural())}, options...)...)
		require.NoError(t, err)
		return features
	}
	whole := extract()
	smaller := extract(SelectUnits("conv5=center", "conv4=(1,2)+channels(7,3,5)", "conv2=channels(0-3,9)",
		"imnetds=channels(999,0)"), Average("conv1"), Pool(3, "conv3"))
	require.Equal(t, []string{"conv1"}, smaller.Provenance.Averaged)
	require.Equal(t, map[string]int{"conv3": 3}, smaller.Provenance.Pooled)
	rounded := extract(SelectUnits("conv5=center", "conv4=(1,2)+channels(7,3,5)", "imnetds=channels(999,0)"),
		Average("conv1"), Pool(3, "conv3"), AsFloat16("conv5", "conv4", "conv2", "conv1", "conv3", "imnetds"))
	requireRounded(t, whole, smaller, rounded)
	var values [2]int
	largest := 0.0
	for i := range whole.Layers {
		all, some := &whole.Layers[i], &smaller.Layers[i]
		values[0], values[1] = values[0]+len(all.Data), values[1]+len(some.Data)
		for stimulus := range whole.Stimuli {
			for _, timestep := range all.Timesteps {
				features := all.At(stimulus, timestep)
				if some.pool != nil {
					means := make([]float32, some.Size())
					some.pool.Apply(means, features)
					largest = max(largest, largestDifference(means, some.At(stimulus, timestep)))
					continue
				}
				if !some.Averaged {
					require.Equal(t, some.Selection.of(features), some.At(stimulus, timestep), "%s t=%d", all.Name, timestep)
					continue
				}
				largest = max(largest, largestDifference(positionMeans(features, some.Size()), some.At(stimulus, timestep)))
			}
		}
	}
	reportGPU(t, "smaller", map[string]any{"model": name, "largest_difference_of_rms": largest,
		"smaller_by": float64(values[0]) / float64(values[1])})
	assert.Less(t, largest, 1e-6)
}

// requireRounded compares features that a GPU rounded to float16 with those that it did not.
func requireRounded(t *testing.T, whole, smaller, rounded *Features) {
	t.Helper()
	for i := range rounded.Layers {
		got, want := &rounded.Layers[i], smaller.Layers[i].Data
		if got.Name == "conv2" { // whole here
			want = whole.Layers[i].Data
		}
		require.Len(t, got.Data, len(want), got.Name)
		exact := !got.Averaged && got.pool == nil
		for k, v := range roundToFloat16(want) {
			if exact {
				require.Equal(t, v, got.Data[k], "%s %d", got.Name, k)
				continue
			}
			// Sums in another order may be rounded to the neighbour.
			require.InDelta(t, v, got.Data[k], math.Abs(float64(v))/1000+1e-7, "%s %d", got.Name, k)
		}
	}
}

// TestGPUTrials computes in every way that can be tried.
func TestGPUTrials(t *testing.T) {
	requireGPU(t)
	name := "ugrnn_shallow"
	if only := os.Getenv(onlyEnv); only != "" {
		name = only
	}
	store := testStore(t)
	features := func(trial string) (*Features, error) {
		t.Setenv(tryEnv, trial)
		model, err := Load(name, WithWeights("seeded:1"), WithStore(store), WithDevice(provedDevice()))
		if err != nil {
			return nil, err
		}
		defer model.Close()
		return model.Extract(context.Background(), goldenStimuli(t), BatchSize(1), AllTimesteps(), Logits())
	}
	want, err := features("")
	require.NoError(t, err)
	require.Empty(t, want.Provenance.GPUTrials)
	report := map[string]any{"model": name}
	for _, trial := range []string{tryOverlap, tryNCHW, tryXLA} {
		got, err := features(trial)
		if !assert.NoError(t, err, trial) {
			continue
		}
		assert.Equal(t, []string{trial}, got.Provenance.GPUTrials)
		largest := 0.0
		for i, l := range want.Layers {
			largest = max(largest, largestDifference(l.Data, got.Layers[i].Data))
		}
		report[trial] = largest
		assert.Less(t, largest, gpuTolerance, trial)
	}
	reportGPU(t, "trials", report)
}

func TestMemoryError(t *testing.T) {
	m := &Model{session: sessionOptions{device: "gpu:1"}, gpu: gpuOptions{limit: 2 << 30}}
	err := m.memoryError(fmt.Errorf("run: %w", libtf.ErrResourceExhausted), 64)
	require.ErrorIs(t, err, ErrMemory)
	require.ErrorIs(t, err, libtf.ErrResourceExhausted)
	require.ErrorContains(t, err, "gpu:1 cannot compute 64 stimuli at once, with a limit of 2.0 GiB")
	require.Equal(t, errTest, m.memoryError(errTest, 64))
}

// TestNodeRuns reads metadata that is damaged in every way: an error, never a panic.
func TestNodeRuns(t *testing.T) {
	field := func(number protowire.Number, value []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), value)
	}
	node := append(field(1, []byte("conv1/Conv2D")), field(8, []byte("[CPU] conv1/Conv2D = Conv2D(a, b)"))...)
	whole := field(1, field(1, append(field(1, []byte("/device:GPU:0")), field(2, node)...)))
	runs, err := nodeRuns(whole)
	require.NoError(t, err)
	require.Equal(t, []nodeRun{{"/device:GPU:0", "conv1/Conv2D", "Conv2D"}}, runs)
	for n := 1; n < len(whole); n++ {
		_, err := nodeRuns(whole[:n])
		require.Error(t, err, n)
	}
}
