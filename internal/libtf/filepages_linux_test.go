package libtf

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What loading touches counts in a process that does nothing else, so the test runs itself.
func TestLoadingKeepsFewPagesOfTheLibrary(t *testing.T) {
	const asked = "TFCONVRNN_TEST_FILE_PAGES"
	need(t)
	if os.Getenv(asked) != "" {
		fmt.Println("kB:", unwritableKilobytes(t))
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), asked+"=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	_, text, found := strings.Cut(string(out), "kB: ")
	require.True(t, found, "%s", out)
	var kilobytes int
	_, err = fmt.Sscan(text, &kilobytes)
	require.NoError(t, err)
	assert.Less(t, kilobytes, 100_000, "relocation and initialization touch 240,000")
}

// unwritableKilobytes are the resident parts of the library's segments that nothing writes to.
func unwritableKilobytes(t *testing.T) (sum int) {
	file, err := os.Open("/proc/self/smaps")
	require.NoError(t, err)
	defer file.Close()
	counts := false
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) >= 5 && strings.Contains(fields[0], "-"):
			counts = fields[1][1] == '-' && strings.Contains(lines.Text(), "libtensorflow")
		case fields[0] == "Rss:" && counts:
			var kilobytes int
			_, err := fmt.Sscan(fields[1], &kilobytes)
			require.NoError(t, err)
			sum += kilobytes
		}
	}
	return sum
}
