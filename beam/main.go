// Command beam extracts the features of a plan on Apache Beam: by itself, with the
// runner Prism in this process, and with flags on any portable runner.
//
//	tfconvrnn-cli extract plan --plan it.plan --out it.zarr --model ugrnn_intermediate stimuli.csv
//	(cd beam && go build -o ../tfconvrnn-beam .)
//	tfconvrnn-beam --plan it.plan --failures failures.jsonl
//	tfconvrnn-beam --plan s3://lab/it.plan --runner flink --endpoint host:8099 --environment_type DOCKER --environment_config IMAGE
//
// It ends with 0 if the store is complete and sealed, with 3 if some chunks could not be
// computed, which the failures tell, and with 1 if the pipeline failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/metrics"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/s3"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"

	"github.com/tfconvrnn/go/beam/internal/pipeline"
)

// The exit codes.
const (
	exitFailure    = 1
	exitUsage      = 2
	exitIncomplete = 3
)

var options pipeline.Options

func init() {
	flag.StringVar(&options.Plan, "plan", "",
		"`PLAN` that \"tfconvrnn-cli extract plan\" has written, where every worker sees it")
	flag.StringVar(&options.Failures, "failures", "", "`FILE` for the stimuli that cannot be read, one JSON object a line")
	flag.IntVar(&options.Attempts, "attempts", 3, "how often a chunk is tried within a bundle")
	flag.StringVar(&options.Store, "store", "", "`DIR` of converted models on the workers (default: in the user's cache)")
	flag.StringVar(&options.Weights, "weights", "", "where workers find the `WEIGHTS`, if not where the plan says")
	flag.StringVar(&options.Device, "device", "",
		"`DEVICE` of the workers: cpu, gpu or gpu:<number> (default: the plan's)")
	flag.IntVar(&options.Concurrency, "chunks_at_once", 1, "chunks that a worker process computes at once")
}

func main() {
	flag.Parse()
	beam.Init() // on a worker this is all that happens
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, stdout, stderr io.Writer) (code int) {
	if options.Plan == "" || flag.NArg() > 0 {
		fmt.Fprintln(stderr, "usage: tfconvrnn-beam --plan PLAN [flags]; --help lists them")
		return exitUsage
	}
	if !strings.Contains(options.Plan, "://") { // loopback workers have this directory; others need the path anyway
		path, err := filepath.Abs(options.Plan)
		if err != nil {
			return fail(stderr, err)
		}
		options.Plan = path
	}
	p, s := beam.NewPipelineWithRoot()
	pipeline.Build(s, options)
	result, err := beamx.RunWithMetrics(ctx, p)
	// In loopback mode the models are in this process.
	if err = errors.Join(err, pipeline.Close()); err != nil {
		return fail(stderr, err)
	}
	if *jobopts.Async {
		fmt.Fprintln(stdout, "submitted")
		return 0
	}
	counts := map[string]int64{}
	metricResults := result.Metrics()
	for _, c := range metricResults.AllMetrics().Counters() {
		if c.Key.Namespace == pipeline.Namespace {
			counts[c.Key.Name] += count(c)
		}
	}
	for _, name := range []string{pipeline.CountChunks, pipeline.CountStimuli, pipeline.CountFailures,
		pipeline.CountRetries} {
		fmt.Fprintf(stdout, "%-9s %d\n", name, counts[name])
	}
	if counts[pipeline.CountSealed] == 0 {
		fmt.Fprintln(
			stderr, "tfconvrnn-beam: the store is not complete, and not sealed; --failures tells why. Run this again when that is mended.")
		return exitIncomplete
	}
	fmt.Fprintln(stdout, "sealed")
	return 0
}

// count returns a counter's value; runners that commit nothing have attempts only.
func count(c metrics.CounterResult) int64 { return max(c.Committed, c.Attempted) }

func fail(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, "tfconvrnn-beam:", err)
	return exitFailure
}
