package recordings_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/recordings"
)

// smallArray is an .npy of three images, two repetitions, two bins and two channels: of large ones few can be tried.
func smallArray(descr string, bytes int) []byte {
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (3, 2, 2, 2), }", descr)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	array := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), 0)
	array = append(array, header...)
	for i := range 24 * bytes {
		array = append(array, byte(i))
	}
	return array
}

// FuzzArrays reads .npy and .npz files of strangers: values, or an error, never a panic.
func FuzzArrays(f *testing.F) {
	for _, kind := range []struct {
		descr string
		bytes int
	}{{"<f8", 8}, {">f4", 4}, {"|u1", 1}, {"|b1", 1}} {
		array := smallArray(kind.descr, kind.bytes)
		f.Add(array, "")
		for _, method := range []uint16{zip.Store, zip.Deflate} {
			var archive bytes.Buffer
			w := zip.NewWriter(&archive)
			entry, err := w.CreateHeader(&zip.FileHeader{Name: "rates.npy", Method: method})
			require.NoError(f, err)
			_, err = entry.Write(array)
			require.NoError(f, err)
			require.NoError(f, w.Close())
			f.Add(archive.Bytes(), "rates")
		}
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
