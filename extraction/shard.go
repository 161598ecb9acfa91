package extraction

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// indexVariables hold a worker's number, from 0, where a cluster starts many of them.
var indexVariables = []string{"JOB_COMPLETION_INDEX", "SLURM_ARRAY_TASK_ID"}

// ParseShard reads a shard as people write it: I/N, of which the first of four is 0/4, auto/N,
// which takes the index of a Kubernetes Job or a Slurm array from the environment, or "" for the
// only one of 1. See Plan.Shard. The error wraps tfconvrnn.ErrOption.
func ParseShard(text string) (index, count int, err error) {
	if text == "" {
		return 0, 1, nil
	}
	i, n, ok := strings.Cut(text, "/")
	if i == "auto" && ok {
		given := false
		for _, name := range indexVariables {
			if i, given = os.LookupEnv(name); given {
				break
			}
		}
		if !given {
			return 0, 0, fmt.Errorf(
				"%w: shard %s: neither %s is set; a Kubernetes Job with completionMode Indexed or a Slurm array does that",
				tfconvrnn.ErrOption, text, strings.Join(indexVariables, " nor "))
		}
	}
	index, err1 := strconv.Atoi(i)
	count, err2 := strconv.Atoi(n)
	if !ok || err1 != nil || err2 != nil {
		return 0, 0, fmt.Errorf("%w: a shard is like 0/4, the first of four, or auto/4, not %q", tfconvrnn.ErrOption, text)
	}
	return index, count, nil
}

// Shard returns the chunks of shard index of count: from the first to before end.
func (p *Plan) Shard(index, count int) (first, end int, err error) {
	if count < 1 || index < 0 || index >= count {
		return 0, 0, fmt.Errorf("%w: shard %d/%d; the first of %d is 0/%d", tfconvrnn.ErrOption, index, count, max(count, 1),
			max(count, 1))
	}
	chunks := int64(p.Chunks())
	return int(chunks * int64(index) / int64(count)), int(chunks * int64(index+1) / int64(count)), nil
}

// pollInterval is how often Wait looks.
const pollInterval = 10 * time.Second

// Wait returns when workers have written all chunks, or the store is sealed. It reports how many
// are there. Errors are those of Ready and Missing, and ctx's.
func (p *Plan) Wait(ctx context.Context, report func(chunks int)) error {
	for {
		if _, err := p.Sealed(ctx); err == nil {
			return nil
		}
		if err := p.Ready(ctx); errors.Is(err, ErrSealed) {
			return nil
		} else if err != nil {
			return err
		}
		missing, err := p.Missing(ctx, 0, p.Chunks())
		if err != nil || len(missing) == 0 {
			return err
		}
		report(p.Chunks() - len(missing))
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
