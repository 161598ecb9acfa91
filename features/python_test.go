package features

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pythons returns the interpreters that TFCONVRNN_PYTHON and TFCONVRNN_OLD_PYTHONS
// (several, with colons between) name, which have the modules of
// scripts/python-requirements*.txt, by the versions of their readers. It skips where
// there is none.
func pythons(t *testing.T) map[string]string {
	t.Helper()
	names := filepath.SplitList(os.Getenv("TFCONVRNN_OLD_PYTHONS"))
	given := os.Getenv("TFCONVRNN_PYTHON") != ""
	if given {
		names = append(names, os.Getenv("TFCONVRNN_PYTHON"))
	} else if given = len(names) > 0; !given {
		names = []string{"python3"}
	}
	found := map[string]string{}
	for _, name := range names {
		out, err := exec.Command(name, "-c", "import numpy, scipy, xarray, netCDF4, h5netcdf, zarr, numcodecs\n"+
			"print(*(f'{m.__name__}-{m.__version__}' for m in (zarr, numcodecs, xarray, scipy)))").CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		last := lines[len(lines)-1]
		switch {
		case err == nil:
			found[last] = name
		case given:
			t.Fatalf("%s: %v: %s", name, err, last)
		default:
			t.Skipf("no Python with the modules of scripts/python-requirements.txt (set TFCONVRNN_PYTHON): %v: %s", err, last)
		}
	}
	return found
}

// outputNames is where each format's output goes in tests.
var outputNames = map[Format]string{NPZ: "features.npz", NPYFolder: "npy", NetCDF: "features.nc", Zarr: "features.zarr",
	MATLAB: "mat", HDF5: "features.h5"}

func TestPythonReadsEveryFormat(t *testing.T) {
	interpreters := pythons(t)
	for name, options := range map[string]Options{
		"compressed":   {ChunkRows: 4},
		"uncompressed": {ChunkRows: 1, Uncompressed: true},
	} {
		dir := t.TempDir()
		layout := sample(6)
		for format, output := range outputNames {
			require.NoError(t, writable(format))
			writeAll(t, filepath.Join(dir, output), format, layout, 5, options)
		}
		wide := sample(6)
		wide.Columns[2].Values.([]int64)[5] = 1 << 40 // what CDF-2 cannot hold
		writeAll(t, filepath.Join(dir, "wide.nc"), NetCDF, wide, 5, options)
		for versions, interpreter := range interpreters {
			t.Run(name+"/"+versions, func(t *testing.T) {
				out, err := exec.Command(interpreter, filepath.Join("testdata", "read_outputs.py"), dir).CombinedOutput()
				require.NoError(t, err, "%s", out)
				t.Logf("%s", out)
			})
		}
	}
}

// Octave reads MATLAB's files and, with its package netcdf, netCDF.
func TestOctaveReadsMATAndNetCDF(t *testing.T) {
	octave := func(arguments ...string) (string, error) {
		command := exec.Command("octave-cli", append([]string{"--quiet", "--norc"}, arguments...)...)
		out, err := command.CombinedOutput()
		return string(out), err
	}
	if out, err := octave("--eval", "pkg load netcdf"); err != nil {
		require.NotEqual(t, "1", os.Getenv("TFCONVRNN_REQUIRE_OCTAVE"), "%v: %s", err, out)
		t.Skipf("no octave-cli with the package netcdf (apt-get install octave octave-netcdf): %v: %s", err, out)
	}
	dir := t.TempDir()
	layout := sample(6)
	for _, format := range []Format{NetCDF, MATLAB} {
		writeAll(t, filepath.Join(dir, outputNames[format]), format, layout, 5, Options{})
	}
	for i, s := range layout.Streamed { // what it compares with
		var raw bytes.Buffer
		require.NoError(t, binary.Write(&raw, binary.LittleEndian, values(layout, i)))
		require.NoError(t, os.WriteFile(filepath.Join(dir, s.Name+".f4"), raw.Bytes(), 0o666))
	}
	ids := strings.Join(layout.Columns[0].Values.([]string), "\n")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ids.txt"), []byte(ids), 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "provenance.txt"), []byte(layout.Attributes[0].Value), 0o666))
	out, err := octave(filepath.Join("testdata", "read_outputs.m"), dir)
	require.NoError(t, err, "%s", out)
	require.Contains(t, out, "all the same")
}
