package parallel_test

import (
	"context"
	"errors"
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

func TestEachEndsWithTheFirstError(t *testing.T) {
	counts := make([]atomic.Int64, 100)
	assert.NoError(t, parallel.Each(t.Context(), 7, len(counts), func(_ context.Context, i int) error {
		counts[i].Add(1)
		return nil
	}))
	for i := range counts {
		assert.Equal(t, int64(1), counts[i].Load(), "%d", i)
	}
	failed := errors.New("failed")
	var begun atomic.Int64
	err := parallel.Each(t.Context(), 2, 1000, func(ctx context.Context, i int) error {
		begun.Add(1)
		if i == 3 {
			return failed
		}
		if i > 3 {
			<-ctx.Done() // would wait for ever if the error did not end it
		}
		return nil
	})
	assert.ErrorIs(t, err, failed)
	assert.LessOrEqual(t, begun.Load(), int64(5))
	assert.NoError(t, parallel.Each(t.Context(), 2, 0, nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, parallel.Each(ctx, 2, 10, func(context.Context, int) error {
		panic("it is too late")
	}), context.Canceled)
}
