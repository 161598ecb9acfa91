package arrayfiles

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// python returns an interpreter that has the modules of
// scripts/python-requirements.txt, or skips.
func python(t *testing.T) string {
	t.Helper()
	name := os.Getenv("TFCONVRNN_PYTHON")
	given := name != ""
	if !given {
		name = "python3"
	}
	out, err := exec.Command(name, "-c", "import numpy, scipy, xarray, netCDF4, h5netcdf, zarr").CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if given {
			t.Fatalf("TFCONVRNN_PYTHON=%s: %v: %s", name, err, lines[len(lines)-1])
		}
		t.Skipf("no Python with the modules of scripts/python-requirements.txt (set TFCONVRNN_PYTHON): %v: %s", err, lines[len(lines)-1])
	}
	return name
}

// outputNames is where each format's output goes in tests.
var outputNames = map[Format]string{NPZ: "features.npz", NPYFolder: "npy", NetCDF: "features.nc", Zarr: "features.zarr", MATLAB: "mat"}

func TestPythonReadsEveryFormat(t *testing.T) {
	interpreter := python(t)
	for name, options := range map[string]Options{
		"compressed":   {ChunkRows: 4},
		"uncompressed": {ChunkRows: 1, Uncompressed: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			layout := sample(6)
			for format, output := range outputNames {
				writeAll(t, filepath.Join(dir, output), format, layout, 5, options)
			}
			out, err := exec.Command(interpreter, filepath.Join("testdata", "read_outputs.py"), dir).CombinedOutput()
			require.NoError(t, err, "%s", out)
			t.Logf("%s", out)
		})
	}
}
