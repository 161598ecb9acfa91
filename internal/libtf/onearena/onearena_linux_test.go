//go:build cgo

package onearena

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The environment that a process starts with counts, so the test runs itself.
func TestTheUsersChoiceStays(t *testing.T) {
	const asked = "TFCONVRNN_TEST_LIMITED"
	if os.Getenv(asked) != "" {
		fmt.Println("limited:", Limited())
		return
	}
	for setting, want := range map[string]bool{
		"":                                      true,
		"GLIBC_TUNABLES=glibc.malloc.perturb=0": true,
		"MALLOC_ARENA_MAX=7":                    false,
		"GLIBC_TUNABLES=glibc.malloc.arena_max=7": false,
	} {
		cmd := exec.Command(os.Args[0], "-test.run=TestTheUsersChoiceStays")
		cmd.Env = []string{asked + "=1", setting}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Contains(t, string(out), fmt.Sprintln("limited:", want), "%q", setting)
	}
}
