package recordings_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/recordings"
)

// FuzzArrays reads .npy and .npz files of strangers: values, or an error, never a panic.
func FuzzArrays(f *testing.F) {
	for _, name := range []string{"psth_images_repetitions_bins_channels.npy", "ost_arrays.npz"} {
		content, err := os.ReadFile(data + name)
		require.NoError(f, err)
		f.Add(content[:min(len(content), 20000)], "rates")
		f.Add(content, "")
	}
	f.Fuzz(func(t *testing.T, content []byte, array string) {
		path := filepath.Join(t.TempDir(), "x.npy")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		a, err := recordings.Open(path, recordings.Layout{Array: array, FirstBin: 70, BinWidth: 10,
			Axes: []string{"stimulus", "repetition", "time_bin", "neuroid"}})
		if err != nil {
			return
		}
		defer a.Close()
		r, err := recordings.Select(a, recordings.Selection{})
		if err == nil {
			_, _ = r.Average(0)
		}
	})
}
