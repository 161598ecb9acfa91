package compare

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A folder of Gram matrices that anybody has made gives matrices or errors.
func FuzzGramFolder(f *testing.F) {
	folder := filepath.Join(f.TempDir(), "grams")
	_, err := MakeGrams(f.Context(), folder, &counted{n: 3, size: 4}, GramFolderOptions{Windows: []Bin{{50, 70}}})
	require.NoError(f, err)
	const matrix = "a-50-60.gram"
	index, err := os.ReadFile(filepath.Join(folder, GramFolderName))
	require.NoError(f, err)
	gram, err := os.ReadFile(filepath.Join(folder, matrix))
	require.NoError(f, err)
	f.Add(index, gram)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, index, gram []byte) {
		for name, content := range map[string][]byte{GramFolderName: index, matrix: gram, "a-60-70.gram": gram,
			"a-50-70.gram": gram} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
		}
		g, err := OpenGrams(dir)
		if err != nil {
			return
		}
		for i, l := range g.Layers() {
			for _, b := range append(l.Bins, Bin{50, 70}) {
				w := windowOf(l, b)
				if w.reason != "" {
					continue
				}
				m, err := g.Gram(i, []int{0}, w.weights)
				if err == nil && m.n != 1 {
					t.Fatalf("a matrix of %d stimuli, not 1", m.n)
				}
			}
		}
	})
}
