package recordings_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/recordings"
)

// hostileFile names the file that a child process spoils, and the first and number of its ways.
const hostileFile = "TFCONVRNN_HOSTILE_FILE"

// spoilt is a file of a stranger: cut off, or with bytes changed, where structures are more often than elsewhere.
func spoilt(content []byte, way int) []byte {
	r := rand.New(rand.NewPCG(11, uint64(way)))
	bad := append([]byte(nil), content...)
	if way%5 == 0 {
		return bad[:r.IntN(len(bad))]
	}
	for range 1 + r.IntN(8) {
		at := r.IntN(len(bad))
		if r.IntN(2) == 0 {
			at = r.IntN(min(len(bad), 8192))
		}
		switch r.IntN(4) {
		case 0:
			bad[at] ^= 1 << r.IntN(8)
		case 1:
			bad[at] = byte(r.IntN(256))
		case 2:
			bad[at] = 0xff
		default: // a size or an address
			for i := at; i < min(at+8, len(bad)); i++ {
				bad[i] = byte(r.IntN(256))
			}
		}
	}
	return bad
}

// readAll reads what commands read of a file; errors are as good as values.
func readAll(path string) {
	layout := recordings.Layout{}
	switch filepath.Ext(path) {
	case ".h5":
		layout = recordings.Layout{Array: "rates", Axes: []string{"stimulus", "repetition"}}
	case ".mat":
		layout = recordings.Layout{Array: "rates", Axes: []string{"stimulus", "repetition", "neuroid"},
			Coordinates: []recordings.CoordinateFrom{
				{Name: "stimulus_id", Axis: "stimulus", From: "stimulus_id"}}}
	}
	if a, err := recordings.Open(path, layout); err == nil {
		if r, err := recordings.Select(a, recordings.Selection{}); err == nil {
			for bin := range max(len(r.Bins()), 1) {
				_, _ = r.Average(bin)
				_, _ = r.Trials(bin)
			}
		}
		a.Close()
	}
	if f, err := recordings.OpenFeatures(path); err == nil {
		_, _ = f.Row(0, 0)
		f.Close()
	}
	_, _ = recordings.ReadTrials(path)
	_, _, _ = recordings.ReadSolutionTimes(path)
}

// Spoilt HDF5 files of every kind give values or errors. The HDF Group's library reads them, whose faults would end the
// process: so each file is read in processes of their own.
func TestHostileHDF5(t *testing.T) {
	if file := os.Getenv(hostileFile); file != "" {
		spoil(t, file)
		return
	}
	needHDF5(t)
	ways := 25
	if n, err := strconv.Atoi(os.Getenv("TFCONVRNN_HOSTILE_WAYS")); err == nil {
		ways = n
	}
	for _, name := range []string{"neural.nc", "neural_old.nc", "features.nc", "ost_target.nc", "behaviour.nc",
		"neural_kar.h5", "neural_v73_like.mat"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for first := 0; first < ways; {
				child := exec.Command(os.Args[0], "-test.run", "^TestHostileHDF5$", "-test.timeout", "2m")
				child.Env = append(os.Environ(), hostileFile+"="+name, fmt.Sprintf("TFCONVRNN_HOSTILE_WAYS=%d %d", first, ways))
				out, err := child.CombinedOutput()
				if err == nil {
					break
				}
				reached := strings.Split(string(out), "way ")
				last, _, _ := strings.Cut(reached[len(reached)-1], "\n")
				way, convErr := strconv.Atoi(last)
				require.NoError(t, convErr, "%s", out)
				assert.Fail(t, "a spoilt file ends the process", "way %d of %s: %v\n%.3000s", way, name, err, out)
				first = way + 1
			}
		})
	}
}

func spoil(t *testing.T, name string) {
	var first, ways int
	_, err := fmt.Sscanf(os.Getenv("TFCONVRNN_HOSTILE_WAYS"), "%d %d", &first, &ways)
	require.NoError(t, err)
	content, err := os.ReadFile(data + name)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "spoilt"+filepath.Ext(name))
	for way := first; way < ways; way++ {
		fmt.Println("way", way)
		require.NoError(t, os.WriteFile(path, spoilt(content, way), 0o600))
		begun := time.Now()
		readAll(path)
		require.Less(t, time.Since(begun), 30*time.Second)
	}
}
