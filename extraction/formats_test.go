package extraction

import (
	"bufio"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

var updateOutputs = flag.Bool("update", false, "write testdata/outputs.sha256 anew")

// formatInputs are a table with columns of all kinds, of which some stimuli are missing, and
// a folder, in which a name is equal to another's.
func formatInputs(t *testing.T, dir string) []string {
	t.Helper()
	table := writeStimuli(t, dir, 25, true)
	folder := filepath.Join(dir, "pictures")
	for i, name := range []string{"cats/0.png", "dogs/0.png", "dogs/ü 1.png"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte{byte(i)}, 0o666))
	}
	return []string{table, folder, filepath.Join(folder, "dogs", "0.png")}
}

// The bytes of outputs stay what they are, in every format. The engine is simulated, so
// that they do not depend on the processor.
func TestBytesOfOutputs(t *testing.T) {
	const list = "testdata/outputs.sha256"
	sums := map[string]string{}
	for _, format := range features.Formats() {
		for _, dataType := range []string{"float32", "float16"} {
			if dataType == "float16" && (format == features.NetCDF || format == features.MATLAB) {
				continue // they have no such type
			}
			dir := t.TempDir()
			name := string(format) + "-" + dataType
			out := filepath.Join(dir, "out", name)
			require.NoError(t, os.Mkdir(filepath.Dir(out), 0o777))
			request := testRequest("", out, 4)
			request.Inputs.Inputs, request.DataType, request.Logits, request.Orientation = formatInputs(t, dir), dataType, true, "stored"
			request.Reductions = []string{"conv5=sparse(3,1)"}
			writeOutput(t, request, format)
			require.NoError(t, filepath.WalkDir(filepath.Dir(out), func(file string, entry fs.DirEntry, err error) error {
				if err != nil || entry.IsDir() {
					return err
				}
				data, err := os.ReadFile(file)
				relative, _ := filepath.Rel(filepath.Dir(out), file)
				sums[filepath.ToSlash(relative)] = fmt.Sprintf("%x", sha256.Sum256(data))
				return err
			}))
		}
	}
	if *updateOutputs {
		var text strings.Builder
		for _, name := range slices.Sorted(maps.Keys(sums)) {
			fmt.Fprintf(&text, "%s  %s\n", sums[name], name)
		}
		require.NoError(t, os.MkdirAll(filepath.Dir(list), 0o777))
		require.NoError(t, os.WriteFile(list, []byte(text.String()), 0o666))
		return
	}
	file, err := os.Open(list)
	require.NoError(t, err)
	defer file.Close()
	want := map[string]string{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		sum, name, _ := strings.Cut(lines.Text(), "  ")
		want[name] = sum
	}
	assert.Equal(t, want, sums)
}

// writeOutput extracts what a request says.
func writeOutput(t *testing.T, request *Request, format features.Format) {
	t.Helper()
	if format == features.Zarr {
		p := created(t, request)
		require.NoError(t, p.Begin(t.Context(), false))
		w := p.newWorker(WorkerOptions{}, fakeEngine(p, func() {}))
		require.NoError(t, w.Work(t.Context(), chunkRange(0, p.Chunks()), nil))
		_, err := p.Finish(t.Context(), nil)
		require.NoError(t, err)
		return
	}
	options := request.Inputs
	options.AllowMissing = request.OnError == "skip"
	set, err := stimuli.Open(t.Context(), options)
	require.NoError(t, err)
	defer set.Close()
	hashes, err := set.Hashes(t.Context())
	require.NoError(t, err)
	recipe := request.Recipe
	_, outputs, err := tfconvrnn.Outputs(must(savedmodels.Lookup(recipe.Model)), recipe.extractOptions()...)
	require.NoError(t, err)
	layers, err := ReduceLayers(outputs, must(recipe.specification()))
	require.NoError(t, err)
	dataType := map[string]features.DataType{"float32": features.Float32, "float16": features.Float16}[recipe.DataType]
	c := &Content{
		Model: must(savedmodels.Lookup(recipe.Model)), Rows: set.Len(), Name: set.Name(), Columns: set.Columns(), Hashes: hashes, Layers: layers,
		Logits: recipe.Logits, Mask: recipe.OnError == "skip", DataType: dataType,
		About: &Provenance{Inputs: set.Inputs(), DataType: recipe.DataType, ExifOrientation: request.Orientation, Reductions: ReductionNames(layers),
			StimuliSHA256: must(set.Fingerprint(t.Context()))},
	}
	c.About.BatchSize, c.About.Threads = recipe.BatchSize, 1
	layout, err := c.Layout(format)
	require.NoError(t, err)
	writer, err := features.Create(recipe.Output, format, layout, features.Options{Identity: NewIdentity(c.About, recipe.OnError, set.IDs(), hashes)})
	require.NoError(t, err)
	defer writer.Abort()
	row := 0
	parts := make([][]float32, len(layout.Streamed))
	engine := fakeEngine(&Plan{Recipe: Recipe{BatchSize: recipe.BatchSize, Provenance: c.About}, layout: layout}, func() {})
	require.NoError(t, engine(context.Background(), func(yield func(*stimuli.Record) bool) {
		for i, id := range set.IDs() {
			if !yield(&stimuli.Record{ID: id, SHA256: hashes[i]}) {
				return
			}
		}
	}, rowSink{func(array int, part []float32) error {
		parts[array] = append(parts[array], part...)
		return nil
	}, func(error) error {
		for array, values := range parts {
			if err := writer.WriteRows(array, row, values); err != nil {
				return err
			}
			parts[array] = values[:0]
		}
		row++
		return nil
	}}))
	require.NoError(t, writer.Finish(t.Context()))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
