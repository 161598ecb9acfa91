package libtf

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFindsTensorFlowOfTheWheelsEnvironment(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "env [1] é")
	program := filepath.Join(prefix, "bin", "tfconvrnn-cli")
	packages := filepath.Join(prefix, "lib", "python3.12", "site-packages")
	add := func(name string) { require.NoError(t, os.MkdirAll(filepath.Join(packages, name), 0o777)) }
	add("tensorflow")
	library := filepath.Join(packages, "tensorflow", libraryNames()[0])
	require.NoError(t, os.WriteFile(library, nil, 0o666))
	add("tensorflow_cpu-2.21.0.dist-info")
	assert.Empty(t, inPythonEnvironment(program), "the program is not the wheel's")
	add("tfconvrnn-0.1.0.dist-info")
	assert.Equal(t, []string{filepath.Join(packages, "tensorflow")}, inPythonEnvironment(program))
	assert.Empty(t, inPythonEnvironment(filepath.Join(t.TempDir(), "bin", "tfconvrnn-cli")))

	require.NoError(t, os.Rename(filepath.Join(packages, "tensorflow_cpu-2.21.0.dist-info"),
		filepath.Join(packages, "tensorflow_cpu-2.15.1.dist-info")))
	assert.Empty(t, inPythonEnvironment(program), "it is too old")
	add("tensorflow_estimator-2.20.0.dist-info")
	assert.Empty(t, inPythonEnvironment(program), "another package")
	add("tensorflow-2.18.0.dist-info")
	assert.Len(t, inPythonEnvironment(program), 1)
	require.NoError(t, os.Remove(library))
	assert.Empty(t, inPythonEnvironment(program), "it has no library")
}
