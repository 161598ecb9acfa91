package extraction

import (
	"bufio"
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
		if format == features.HDF5 {
			continue // what surrounds the rows is as the library's version has it
		}
		for _, dataType := range []features.DataType{features.Float32, features.Float16} {
			if dataType == features.Float16 && (format == features.NetCDF || format == features.MATLAB) {
				continue // they have no such type
			}
			dir := t.TempDir()
			name := string(format) + "-" + dataType.String()
			out := filepath.Join(dir, "out", name)
			require.NoError(t, os.Mkdir(filepath.Dir(out), 0o777))
			request := testRequest("", out, 4)
			request.Inputs.Inputs, request.DataType, request.Logits = formatInputs(t, dir), dataType, true
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

// writeOutput extracts what a request says, with a simulated engine: in this process and,
// for Zarr, also by two workers of a plan file.
func writeOutput(t *testing.T, request *Request, format features.Format) {
	t.Helper()
	request.Format = format
	result, err := extractWithFake(t, request, RunOptions{}, nil)
	require.NoError(t, err)
	require.Equal(t, request.Output, result.Output)
	if format != features.Zarr {
		return
	}
	alone := content(t, request.Output)
	require.NoError(t, os.RemoveAll(request.Output))
	p := created(t, request)
	require.NoError(t, p.Begin(t.Context(), false))
	for shard := range 2 {
		first, end, err := p.Shard(shard, 2)
		require.NoError(t, err)
		require.NoError(t, p.newWorker(WorkerOptions{}, fakeEngine(p, func() {})).Work(t.Context(),
			chunkRange(first, end), nil))
	}
	_, err = p.Finish(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, alone, content(t, request.Output))
}

// extractWithFake is Run with a simulated engine, which calls chosen before each stimulus.
func extractWithFake(t *testing.T, request *Request, options RunOptions, chosen func()) (*Result, error) {
	t.Helper()
	if chosen == nil {
		chosen = func() {}
	}
	d, err := Prepare(t.Context(), request)
	require.NoError(t, err)
	defer d.Close()
	require.NoError(t, d.complete(nil))
	run := d.runFile
	if d.recipe.Format == features.Zarr {
		run = d.runStore
	}
	return run(t.Context(), options.defaults(), func(p *Plan, _ int) (engine, *reading, error) {
		return fakeEngine(p, chosen), nil, nil
	})
}
