package parallel_test

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tfconvrnn/go/internal/parallel"
)

func TestEveryNumberOnce(t *testing.T) {
	for _, cores := range []int{1, 4} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
		for _, n := range []int{0, 1, 7, 100} {
			for _, group := range []int{1, 3, 200} {
				counts := make([]atomic.Int64, n)
				parallel.For(n, group, func(i int) { counts[i].Add(1) })
				for i := range counts {
					assert.Equal(t, int64(1), counts[i].Load(), "%d of %d in groups of %d", i, n, group)
				}
			}
		}
	}
}
