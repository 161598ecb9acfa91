package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// interpreter returns the Python that an environment variable names, or a default,
// if it has some modules, and skips or, if it was named, fails without them.
func interpreter(t *testing.T, env, fallback, modules, requirements string) string {
	t.Helper()
	name := os.Getenv(env)
	given := name != ""
	if !given {
		name = fallback
	}
	out, err := exec.Command(name, "-c", "import "+modules).CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if given {
			t.Fatalf("%s=%s: %v: %s", env, name, err, lines[len(lines)-1])
		}
		t.Skipf("no Python with the modules of %s (set %s): %v: %s", requirements, env, err, lines[len(lines)-1])
	}
	return name
}

// makePageOutputs runs the commands of docs/python.md in a folder that it makes the
// working one.
func makePageOutputs(t *testing.T) (page, store string) {
	t.Helper()
	if _, err := runtimePath(); err != nil {
		require.NotEqual(t, "1", os.Getenv(requireEnv), "%v", err)
		t.Skip("needs libtensorflow:", err)
	}
	page, err := filepath.Abs("../../docs/python.md")
	require.NoError(t, err)
	pictures, err := filepath.Abs("../../testdata/pictures")
	require.NoError(t, err)
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	store = t.TempDir()
	t.Chdir(t.TempDir())
	require.NoError(t, os.CopyFS("pictures", os.DirFS(pictures)))
	require.NoError(t, os.WriteFile("stimuli.csv", []byte(
		"path,stimulus_id,category\npictures/chelsea.png,first,cat\npictures/rocket.jpg,second,rocket\npictures/chelsea.png,third,cat\n"), 0o666))
	count := 0
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		for _, line := range strings.Split(strings.TrimSpace(block[1]), "\n") {
			commands := ownArguments(t, line)
			require.Len(t, commands, 1, "%s", line)
			code, _, stderr := run(t.Context(), append(commands[0], "--store", store)...)
			require.Equal(t, exitOK, code, "%s: %s", line, stderr)
			count++
		}
	}
	require.Greater(t, count, 5)
	return page, store
}

// The Python of the documentation, with the readers that users have and have had.
func TestPythonPage(t *testing.T) {
	check, err := filepath.Abs("testdata/check_python_page.py")
	require.NoError(t, err)
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	outputs := sync.OnceValues(func() (page, store string) { return makePageOutputs(t) })
	const readers = "numpy, scipy, xarray, netCDF4, h5netcdf, h5py, zarr"
	t.Run("readers", func(t *testing.T) {
		pythons := append(filepath.SplitList(os.Getenv("TFCONVRNN_OLD_PYTHONS")),
			interpreter(t, "TFCONVRNN_PYTHON", "python3", readers, "scripts/python-requirements.txt"))
		page, _ := outputs()
		for _, python := range pythons {
			out, err := exec.Command(python, check, page).CombinedOutput()
			require.NoError(t, err, "%s: %s", python, out)
		}
	})
	// Brain-Score's own BrainIO, which needs an xarray of its own and so a virtual
	// environment of its own.
	t.Run("BrainIO", func(t *testing.T) {
		python := interpreter(t, "TFCONVRNN_BRAINIO_PYTHON", "python3", "brainio.assemblies",
			"scripts/python-requirements-brainio.txt")
		page, _ := outputs()
		out, err := exec.Command(python, check, page, "brainio").CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
	// The five lines of the README, with a smaller model.
	t.Run("README", func(t *testing.T) {
		python := interpreter(t, "TFCONVRNN_PYTHON", "python3", readers, "scripts/python-requirements.txt")
		_, store := outputs()
		session := regexp.MustCompile("(?m)^\\$ tfconvrnn-cli (extract [^$]*)\\$ python\n((?:>>> .*\n)+)").FindSubmatch(
			readme)
		require.NotNil(t, session)
		smaller := strings.NewReplacer("\\", " ", "ugrnn_intermediate", "timedecay_shallow", "testdata/", "", "conv9",
			"conv5", ">>> ", "")
		code, _, stderr := run(t.Context(), append(strings.Fields(smaller.Replace(string(session[1]))), "--store", store)...)
		require.Equal(t, exitOK, code, "%s", stderr)
		lines := strings.Split(strings.TrimSpace(smaller.Replace(string(session[2]))), "\n")
		last := len(lines) - 1
		lines[last] = "means = " + lines[last]
		lines = append(lines, `import numpy`,
			`conv5 = numpy.load("features.npz")["conv5"][:, 9:21].mean((2, 3))`,
			`assert means.dims == ("category", "ms", "conv5_channel") and list(means["category"].values) == ["cat", "rocket"]`,
			`numpy.testing.assert_allclose(means.values, [conv5[[0, 2]].mean(0), conv5[1]], rtol=1e-4, atol=1e-5)`)
		out, err := exec.Command(python, "-c", strings.Join(lines, "\n")).CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
}

// The bill of materials, against the schema that CycloneDX publishes.
func TestSBOMFitsItsSchema(t *testing.T) {
	python := interpreter(t, "TFCONVRNN_PYTHON", "python3", "cyclonedx.validation.json, jsonschema",
		"scripts/python-requirements.txt")
	code, stdout, stderr := run(t.Context(), "version", "--sbom")
	require.Equal(t, exitOK, code, "%s", stderr)
	cmd := exec.Command(python, "testdata/check_sbom.py")
	cmd.Stdin = strings.NewReader(stdout)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
