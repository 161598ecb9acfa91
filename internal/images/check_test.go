package images

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is decoded may be suspicious, but what is cut short or no picture is.
func TestPlausible(t *testing.T) {
	plausible := func(data []byte) bool { return Plausible(bytes.NewReader(data), int64(len(data)), "picture") }
	for _, name := range []string{"astronaut.png", "chelsea.png", "rocket.jpg"} {
		data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "pictures", name))
		require.NoError(t, err)
		assert.True(t, plausible(data), name)
		for _, n := range []int{0, 8, 30, 400, len(data) / 2, len(data) - 2*checkedEnd} {
			assert.False(t, plausible(data[:n]), "%s, %d bytes", name, n)
		}
	}
	for _, text := range []string{"Not a picture.", "\x89PNG\r\n\x1a\n", "\xff\xd8\xff\xe0garbage", "GIF89a"} {
		assert.False(t, plausible([]byte(text)), text)
	}
}

// 100,000 headers take seconds.
func BenchmarkPlausible(b *testing.B) {
	name := filepath.Join("..", "..", "testdata", "pictures", "rocket.jpg")
	for b.Loop() {
		file, err := os.Open(name)
		require.NoError(b, err)
		info, err := file.Stat()
		require.NoError(b, err)
		require.True(b, Plausible(file, info.Size(), name))
		require.NoError(b, file.Close())
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)*1e5, "s/100,000")
}
