package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/checkpointserver"
	"github.com/tfconvrnn/go/internal/libtf"
)

// TestWeightScripts tries the commands about trained weights from an empty home,
// with a local server in place of the published address.
func TestWeightScripts(t *testing.T) {
	library, missing := runtimePath()
	if missing != nil && os.Getenv(requireEnv) == "1" {
		require.NoError(t, missing, "%s=1", requireEnv)
	}
	published, other := t.TempDir(), t.TempDir()
	for _, model := range []string{"timedecay_shallow", "simplernn_shallow"} {
		require.NoError(t, checkpointserver.WriteSeeded(published, model, 1))
	}
	require.NoError(t, checkpointserver.WriteSeeded(other, "timedecay_shallow", 2))
	server, otherServer := checkpointserver.New(published), checkpointserver.New(other)
	// The scripts run after this function has returned.
	t.Cleanup(server.Close)
	t.Cleanup(otherServer.Close)
	repository, err := filepath.Abs("../..")
	require.NoError(t, err)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/weights",
		Setup: func(env *testscript.Env) error {
			for name, value := range map[string]string{
				"HOME":                  filepath.Join(env.WorkDir, "home"),
				"TFCONVRNN_CACHE":       "",
				"XDG_CACHE_HOME":        "",
				"TFCONVRNN_CHECKPOINTS": "",
				libtf.Env:               library,
				"CI":                    "",
				"SERVER":                server.URL,
				"OTHER_SERVER":          otherServer.URL,
				"PUBLISHED":             published,
				"PICTURES":              filepath.Join(repository, "testdata/pictures"),
			} {
				env.Setenv(name, value)
			}
			return nil
		},
		Condition: func(condition string) (bool, error) {
			if condition == "runtime" {
				return missing == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", condition)
		},
		Cmds: map[string]func(ts *testscript.TestScript, negated bool, args []string){"exits": exits, "flip": flipByte},
	})
}
