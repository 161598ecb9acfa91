package tfconvrnn

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Loading keeps TensorFlow quiet, and the environment is what it was. In a child, since
// the runtime is loaded once in a process.
func TestLoadLeavesTheEnvironment(t *testing.T) {
	const child, level = "TFCONVRNN_TEST_ENVIRONMENT", "TF_CPP_MIN_LOG_LEVEL"
	if os.Getenv(child) != "" {
		before := os.Environ()
		loadTest(t, "timedecay_shallow")
		require.Equal(t, before, os.Environ())
		_, set := os.LookupEnv(level)
		_, given := os.LookupEnv("TFCONVRNN_TEST_GIVEN")
		require.Equal(t, given, set)
		return
	}
	requireRuntime(t)
	environment := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, level+"=") })
	environment = append(environment, child+"=1", "TFCONVRNN_TEST_STORE="+testModels(t))
	for name, given := range map[string][]string{"quiet": nil,
		"as the user says": {level + "=0", "TFCONVRNN_TEST_GIVEN=1"}} {
		command := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^TestLoadLeavesTheEnvironment$")
		command.Env = append(slices.Clone(environment), given...)
		out, err := command.CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
		require.Contains(t, string(out), "--- PASS", name)
		assert.Equal(t, given != nil, strings.Contains(string(out), "cpu_feature_guard.cc"), "%s: %s", name, out)
	}
}
