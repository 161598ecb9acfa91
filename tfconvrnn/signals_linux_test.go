package tfconvrnn

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestNoSignalOnThreadsOfTensorFlow: a signal handler that runs on a thread in the middle
// of oneDNN's generated code overwrites the heap. Profiling sends many.
func TestNoSignalOnThreadsOfTensorFlow(t *testing.T) {
	// A thread that Go makes while a thread of TensorFlow calls it has that one's name, and takes signals as all of
	// Go's do. Enough that are idle leave it none to make.
	var ready, idle sync.WaitGroup
	ready.Add(32)
	for range 32 {
		idle.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ready.Done()
			ready.Wait()
		})
	}
	idle.Wait()
	m := loadTest(t, "timedecay_shallow")
	stimuli := testStimuli(t, 4)
	require.NoError(t, pprof.StartCPUProfile(io.Discard))
	defer pprof.StopCPUProfile()
	for range 3 {
		_, err := m.Extract(t.Context(), stimuli, early...)
		require.NoError(t, err)
	}
	tasks, err := filepath.Glob("/proc/self/task/*")
	require.NoError(t, err)
	found := 0
	for _, task := range tasks {
		name, err := os.ReadFile(task + "/comm")
		if err != nil || !strings.HasPrefix(string(name), "tf_") {
			continue
		}
		status, err := os.ReadFile(task + "/status")
		if err != nil {
			continue // it has ended
		}
		_, after, ok := strings.Cut(string(status), "SigBlk:\t")
		require.True(t, ok)
		blocked, err := strconv.ParseUint(after[:16], 16, 64)
		require.NoError(t, err)
		found++
		for _, signal := range []unix.Signal{unix.SIGPROF, unix.SIGINT, unix.SIGTERM, unix.SIGCHLD, unix.SIGURG, unix.SIGALRM,
			unix.SIGWINCH} {
			assert.NotZero(t, blocked&(1<<(signal-1)), "%s takes %s", strings.TrimSpace(string(name)), unix.SignalName(signal))
		}
		assert.Zero(t, blocked&(1<<(unix.SIGSEGV-1)), "a fault would be lost")
	}
	assert.NotZero(t, found, "of %d threads", len(tasks))
}
