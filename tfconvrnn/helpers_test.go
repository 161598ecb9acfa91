package tfconvrnn

import (
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/libtf"
)

// sharedStore is a store that lasts as long as the process.
var sharedStore = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("TFCONVRNN_TEST_STORE"); dir != "" {
		return dir, nil
	}
	return os.MkdirTemp("", "tfconvrnn-test-store")
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := sharedStore(); err == nil && os.Getenv("TFCONVRNN_TEST_STORE") == "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// loadTest loads a model with seeded weights, from a store that all tests share. It
// is closed when the test ends.
func loadTest(t testing.TB, name string, options ...Option) *Model {
	t.Helper()
	requireRuntime(t)
	m, err := Load(name, append([]Option{WithWeights("seeded:1"), WithStore(testModels(t))}, options...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// testModels is the store that all tests share.
func testModels(t testing.TB) string {
	t.Helper()
	dir, err := sharedStore()
	require.NoError(t, err)
	return dir
}

// testStimuli returns different stimuli of coloured noise.
func testStimuli(t testing.TB, n int) []Stimulus {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(n), 7))
	pixels := make([]uint8, n*imageValues)
	for i := range n {
		tint := [3]int{random.IntN(200), random.IntN(200), random.IntN(200)}
		for j := range imageValues {
			pixels[i*imageValues+j] = uint8(tint[j%3] + random.IntN(56))
		}
	}
	stimuli, err := FromUint8(pixels)
	require.NoError(t, err)
	return stimuli
}

// requireNoObjects requires that no C object is alive, when the collector had its
// chance to free those of models that other tests left open.
func requireNoObjects(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool {
		runtime.GC()
		return libtf.LiveObjects() == libtf.ObjectCounts{}
	}, 5*time.Second, 10*time.Millisecond, "C objects are alive")
}
