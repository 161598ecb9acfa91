// Package parallel runs independent pieces of work on all cores.
package parallel

import (
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
