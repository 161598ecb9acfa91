// Package parallel runs independent pieces of work on all cores.
package parallel

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// For calls work for 0 … n-1 on all cores, and returns when all is done. Cores take
// group consecutive numbers at a time: more than one where a piece of work is small.
func For(n, group int, work func(i int)) {
	groups := (n + group - 1) / group
	workers := min(groups, runtime.GOMAXPROCS(0))
	if workers < 2 {
		for i := range n {
			work(i)
		}
		return
	}
	var running sync.WaitGroup
	var next atomic.Int64
	for range workers {
		running.Go(func() {
			for at := int(next.Add(1)) - 1; at < groups; at = int(next.Add(1)) - 1 {
				for i := at * group; i < min(n, (at+1)*group); i++ {
					work(i)
				}
			}
		})
	}
	running.Wait()
}

// Both runs two pieces of work at once, and returns when both are done.
func Both(one, other func()) {
	var running sync.WaitGroup
	running.Go(other)
	one()
	running.Wait()
}

// Each calls work for 0 … n-1, several at once, which may wait for files or a network. The first
// error ends it, and the context of what is still at work. The error is that, or ctx's.
func Each(ctx context.Context, atOnce, n int, work func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	var next atomic.Int64
	for range min(atOnce, n) {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := work(ctx, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}
