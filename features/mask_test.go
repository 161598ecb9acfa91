package features

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A mask is no layer: where every layer has a file it is a variable of each, or a
// column of the table. An interruption does not change it.
func TestMasks(t *testing.T) {
	layout := sample(6)
	mask := []bool{true, false, true, true, false, true}
	rows := func(from, to int) []float32 {
		var list []float32
		for _, v := range mask[from:to] {
			list = append(list, map[bool]float32{true: 1}[v])
		}
		return list
	}
	write := func(w Writer, from, to int) {
		for i := range layout.Streamed[:3] {
			n := layout.Streamed[i].rowElements()
			require.NoError(t, w.WriteRows(i, from, values(layout, i)[from*n:to*n]))
		}
		require.NoError(t, w.WriteRows(3, from, rows(from, to)))
	}
	for _, format := range []Format{MATLAB, NPYFolder} {
		for _, interrupted := range []bool{false, true} {
			out := filepath.Join(t.TempDir(), "x")
			options := Options{Identity: "mask", Resume: interrupted}
			w, err := Create(out, format, layout, options)
			require.NoError(t, err)
			if write(w, 0, 2); interrupted {
				require.NoError(t, w.Suspend())
				w, err = Create(out, format, layout, options)
				require.NoError(t, err)
				require.Equal(t, 2, w.Resumed())
			}
			write(w, 2, 6)
			require.NoError(t, w.Finish(context.Background()))

			assert.NoFileExists(t, filepath.Join(out, "valid.mat"))
			assert.NoDirExists(t, filepath.Join(out, "valid"))
			if format == NPYFolder {
				table, err := os.ReadFile(filepath.Join(out, "stimuli.csv"))
				require.NoError(t, err)
				lines := strings.Split(strings.TrimSuffix(string(table), "\n"), "\n")
				require.Equal(t, "stimulus_id,weight,count,flag,valid", lines[0])
				for i, want := range mask {
					require.Equal(t, want, strings.HasSuffix(lines[1+i], ",true"), lines[1+i])
					require.Equal(t, !want, strings.HasSuffix(lines[1+i], ",false"), lines[1+i])
				}
				require.Len(t, lines, 7)
				description, err := os.ReadFile(filepath.Join(out, npyFolderMarker))
				require.NoError(t, err)
				require.NotContains(t, string(description), `"valid"`)
				got, err := open(t, filepath.Join(out, "valid.npy"), "").Int64s(0, 6)
				require.NoError(t, err)
				require.Equal(t, []int64{1, 0, 1, 1, 0, 1}, got)
				continue
			}
			variable := append([]byte("valid\x00\x00\x00\x02\x00\x00\x00\x06\x00\x00\x00"), 1, 0, 1, 1, 0, 1, 0, 0)
			for _, name := range []string{"conv9", "imnetds", "logits"} {
				content, err := os.ReadFile(filepath.Join(out, name+".mat"))
				require.NoError(t, err)
				require.Equal(t, 1, bytes.Count(content, variable), name)
			}
			list, err := os.ReadFile(filepath.Join(out, matMarker))
			require.NoError(t, err)
			require.Equal(t, "conv9.mat\nimnetds.mat\nlogits.mat\n", string(list))
		}
	}

	layout.Streamed[3].DataType = Float32
	for _, format := range []Format{MATLAB, NPYFolder} {
		_, err := Create(filepath.Join(t.TempDir(), "x"), format, layout, Options{})
		require.ErrorIs(t, err, ErrDataType)
	}
}
