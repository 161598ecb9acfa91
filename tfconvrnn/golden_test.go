package tfconvrnn

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
)

const goldenDir = "../testdata/golden"

// goldenFile is a reference output: <model>.<presentation>.npz.
type goldenFile struct {
	path, model  string
	presentation Presentation
}

func goldenFiles(t testing.TB) []goldenFile {
	paths, err := filepath.Glob(filepath.Join(goldenDir, "*.npz"))
	require.NoError(t, err)
	require.Len(t, paths, 32)
	var files []goldenFile
	for _, path := range paths {
		model, presentation, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".npz"), ".")
		f := goldenFile{path: path, model: model}
		numbers := regexp.MustCompile(`\d+`).FindAllString(presentation, -1)
		number := func(i int) int {
			n, err := strconv.Atoi(numbers[i])
			require.NoError(t, err)
			return n
		}
		switch name, _, _ := strings.Cut(presentation, "-"); name {
		case "default":
			f.presentation = Default()
		case "neural":
			f.presentation = Neural()
		case "constant":
			f.presentation = Constant(number(0))
		case "custom":
			f.presentation = Custom(number(0), number(1))
		default:
			t.Fatalf("unknown presentation in %s", path)
		}
		files = append(files, f)
	}
	return files
}

// tolerance is the largest allowed max |difference| / RMS of a layer at a timestep.
func (g goldenFile) tolerance(times int) float64 {
	if strings.HasPrefix(g.model, "rgc_intermediate") && times >= 20 {
		return 1e-3 // these amplify rounding
	}
	return 1e-4
}

// inCI are the intermediate models that continuous integration compares; all
// shallow ones are.
var inCI = map[string]bool{
	"ugrnn_intermediate": true, "rgc_intermediate": true, "lstm_intermediate": true, "gru_intermediate": true,
	"rgc_intermediate_t22_tmaxconf": true, "ugrnn_intermediate_t30_dthresh": true,
}

// requireRuntime skips a test where there is no libtensorflow, unless it must be there.
func requireRuntime(t testing.TB) {
	t.Helper()
	if err := RuntimeError(); err != nil {
		if os.Getenv("TFCONVRNN_REQUIRE_RUNTIME") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs libtensorflow: %v", err)
	}
}

// TestGolden compares every layer at every timestep, and the logits, with the
// published implementation. All 32 files are compared where TFCONVRNN_GOLDEN is
// "all"; it prints a table.
func TestGolden(t *testing.T) {
	requireRuntime(t)
	variant := Variant(os.Getenv("TFCONVRNN_PLAN"))
	store := os.Getenv("TFCONVRNN_TEST_STORE")
	if store == "" {
		store = t.TempDir()
	}
	images, err := features.OpenArrays(filepath.Join(goldenDir, "images.npy"))
	require.NoError(t, err)
	defer images.Close()
	array, err := images.Array("")
	require.NoError(t, err)
	pixels, err := array.Uint8s(0, 2)
	require.NoError(t, err)
	stimuli, err := FromUint8(pixels)
	require.NoError(t, err)

	byModel := map[string][]goldenFile{}
	var models []string
	for _, g := range goldenFiles(t) {
		if os.Getenv("TFCONVRNN_GOLDEN") != "all" && strings.Contains(g.model, "_intermediate") && !inCI[g.model] {
			continue
		}
		if byModel[g.model] == nil {
			models = append(models, g.model)
		}
		byModel[g.model] = append(byModel[g.model], g)
	}
	var table []string
	for _, name := range models {
		t.Run(name, func(t *testing.T) {
			model, err := Load(name, WithWeights("seeded:1"), WithStore(store), WithVariant(variant))
			require.NoError(t, err)
			defer model.Close()
			for _, g := range byModel[name] {
				t.Run(strings.TrimSuffix(filepath.Base(g.path)[len(name)+1:], ".npz"), func(t *testing.T) {
					features, err := model.Extract(context.Background(), stimuli, WithPresentation(g.presentation), AllTimesteps(),
						Logits())
					require.NoError(t, err)
					worst, where, logits := compareGolden(t, g, features)
					table = append(table, fmt.Sprintf("| %s | %s | %.1e | %s | %.1e |", name,
						strings.TrimSuffix(filepath.Base(g.path)[len(name)+1:], ".npz"), worst, where, logits))
					require.LessOrEqual(t, worst, g.tolerance(features.Provenance.Times), where)
					require.LessOrEqual(t, logits, g.tolerance(features.Provenance.Times), "logits")
				})
			}
		})
		runtime.GC()
		if os.Getenv("TFCONVRNN_TEST_STORE") == "" {
			require.NoError(t, os.RemoveAll(filepath.Join(store, name)))
		}
	}
	sort.Strings(table)
	t.Logf("max |difference| / RMS against the published code\n| model | presentation | worst | layer | logits |\n|---|---|---|---|---|\n%s",
		strings.Join(table, "\n"))
}

// compareGolden returns the worst error of any layer at any timestep, where it is,
// and that of the logits.
func compareGolden(t *testing.T, g goldenFile, extracted *Features) (worst float64, where string, logits float64) {
	file, err := features.OpenArrays(g.path)
	require.NoError(t, err)
	defer file.Close()
	read := func(name string) ([]float64, []int) {
		array, err := file.Array(name)
		require.NoError(t, err)
		info := array.Info()
		values, err := array.Float64s(0, info.Rows())
		require.NoError(t, err)
		return values, info.Shape
	}
	for _, layer := range extracted.Layers {
		sample, shape := read(layer.Name + "/sample")
		means, _ := read(layer.Name + "/mean")
		rmss, _ := read(layer.Name + "/rms")
		times, k := shape[1], shape[2]
		require.Equal(t, []int{2, len(layer.Timesteps), k}, shape, layer.Name)
		size := layer.Size()
		stride, count := 1, size
		if size > 499 {
			stride, count = size/499, 499
		}
		require.Equal(t, count, k)
		for n := range 2 {
			for time := range times {
				values := layer.At(n, time)
				require.Len(t, values, size)
				row := n*times + time
				rms := rmss[row]
				largest := 0.0
				for i := range k {
					largest = max(largest, math.Abs(float64(values[i*stride])-sample[row*k+i]))
				}
				var sum, squares float64
				for _, v := range values {
					require.False(t, math.IsNaN(float64(v)))
					sum += float64(v)
					squares += float64(v) * float64(v)
				}
				largest = max(largest, math.Abs(sum/float64(size)-means[row]), math.Abs(math.Sqrt(squares/float64(size))-rms))
				if e := largest / rms; e > worst {
					worst, where = e, fmt.Sprintf("%s t=%d", layer.Name, time)
				}
			}
		}
	}
	want, _ := read("logits")
	require.Len(t, extracted.Logits, len(want))
	for n := range 2 {
		var squares, largest float64
		for i := n * Classes; i < (n+1)*Classes; i++ {
			squares += want[i] * want[i]
			largest = max(largest, math.Abs(float64(extracted.Logits[i])-want[i]))
		}
		logits = max(logits, largest/math.Sqrt(squares/Classes))
	}
	return worst, where, logits
}
