package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

type extractWork struct {
	modelFlags
	plan, shard string
	asJSON      bool
}

// workReport is what extract work prints.
type workReport struct {
	Plan         string  `json:"plan"`
	Shard        string  `json:"shard,omitempty"`
	Chunks       int     `json:"chunks"`   // of the shard
	Computed     int     `json:"computed"` // by this process
	Stimuli      int     `json:"stimuli"`  // computed by this process
	Skipped      int     `json:"skipped,omitempty"`
	Seconds      float64 `json:"seconds"`
	ImagesPerSec float64 `json:"images_per_second"`
	Sealed       bool    `json:"sealed,omitempty"`
}

func newExtractWork() *cobra.Command {
	w := &extractWork{}
	cmd := &cobra.Command{
		Use:   "work --plan PLAN [--shard I/N] [flags]",
		Short: "Compute chunks of a plan",
		Long: `Compute those chunks of a plan that are not there yet: all of them, or those of one of
N shards (I counts from 0). Any number of workers may run at once, also on the same
shard; each may be killed and started again. What is computed is the same whoever does
it, so the flags here are only those that do not change the result.

A worker without --shard begins somewhere in the plan and takes what is missing.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: w.run,
	}
	addPlan(cmd, &w.plan)
	flags := cmd.Flags()
	flags.StringVar(&w.shard, "shard", "", "the shard to compute, as `I/N`: 0/4 is the first of four; auto/4 takes the index of a Kubernetes Job or a Slurm array")
	flags.Var(parsedFlag[tfconvrnn.Weights]{&w.weights, savedmodels.ParseWeights}, "weights", "where the `WEIGHTS` are here, if not where the plan says; they must be the same")
	addStore(cmd, &w.store)
	flags.StringVar(&w.device, "device", "", "`DEVICE`: other GPUs than the plan names, gpu:<number>, or several that share the batches, gpu:0,gpu:1")
	w.gpuFlags.registerMemory(cmd)
	flags.IntVar(&w.threads, "threads", 0, "must be the plan's, which fixes it: the last bits of what TensorFlow computes depend on it (0: the plan's)")
	addTrust(cmd, &w.verify, &w.trust)
	addYes(cmd, &w.yes)
	addQuiet(cmd, &w.quiet)
	addJSON(cmd, &w.asJSON)
	return cmd
}

func (w *extractWork) run(cmd *cobra.Command, _ []string) error {
	ctx := cmd.Context()
	c := commandConsole(cmd, w.quiet)
	index, count, err := extraction.ParseShard(w.shard)
	if err != nil {
		return err
	}
	plan, err := openPlan(ctx, w.plan)
	if err != nil {
		return err
	}
	defer plan.Close()
	first, end, err := plan.Shard(index, count)
	if err != nil {
		return err
	}
	report := &workReport{Plan: w.plan, Shard: w.shard, Chunks: end - first}
	chunks, err := w.missing(ctx, plan, first, end)
	if errors.Is(err, extraction.ErrSealed) {
		report.Sealed, err = true, nil
	}
	if err != nil {
		return err
	}
	begun := time.Now()
	if len(chunks) > 0 {
		err := w.work(cmd, c, plan, chunks, report)
		if errors.Is(err, extraction.ErrSealed) { // by somebody else, meanwhile
			report.Sealed, err = true, nil
		}
		if err != nil {
			return err
		}
	}
	report.Seconds = time.Since(begun).Seconds()
	report.ImagesPerSec = float64(report.Stimuli) / max(report.Seconds, 1e-9)
	if w.asJSON {
		return printJSON(cmd.OutOrStdout(), report)
	}
	out := cmd.OutOrStdout()
	if report.Sealed {
		fmt.Fprintf(out, "%s: the store is sealed; nothing to do\n", w.plan)
		return nil
	}
	fmt.Fprintf(out, "%s: computed %d of %s, %s, %.1f s, %.2f images/s\n", w.plan, report.Computed, plural(report.Chunks, "chunk"), plural(report.Stimuli, "stimulus"), report.Seconds, report.ImagesPerSec)
	if report.Skipped > 0 {
		fmt.Fprintf(out, "%s could not be read\n", plural(report.Skipped, "stimulus"))
	}
	return nil
}

// missing returns the chunks of a shard to compute. Those of the whole plan begin
// anywhere, so that several workers without shards meet late.
func (w *extractWork) missing(ctx context.Context, plan *extraction.Plan, first, end int) ([]int, error) {
	if err := plan.Ready(ctx); err != nil {
		return nil, err
	}
	chunks, err := plan.Missing(ctx, first, end)
	if err != nil {
		return nil, err
	}
	if n := len(chunks); w.shard == "" && n > 1 {
		start := rand.IntN(n)
		chunks = slices.Concat(chunks[start:], chunks[:start])
	}
	return chunks, nil
}

func (w *extractWork) work(cmd *cobra.Command, c *console, plan *extraction.Plan, chunks []int, report *workReport) error {
	ctx := cmd.Context()
	model, err := w.load(cmd, c, plan)
	if err != nil {
		return err
	}
	defer model.Close()
	worker, err := plan.NewWorker(ctx, model, extraction.WorkerOptions{
		Warn: c.warnNotice, Note: c.noteNotice,
	})
	if err != nil {
		return err
	}
	defer worker.Close()
	total := 0
	for _, chunk := range chunks {
		first, end := plan.Rows(chunk)
		total += end - first
	}
	progress := c.start("extracting", unitImages, int64(total))
	defer progress.end()
	done := 0
	return worker.Work(ctx, slices.Values(chunks), func(chunk int, record *extraction.ChunkRecord) {
		first, end := plan.Rows(chunk)
		done += end - first
		if record != nil {
			report.Computed, report.Stimuli = report.Computed+1, report.Stimuli+record.Stimuli
			warnSkipped(c, record.Failed, &report.Skipped)
		}
		progress.set(int64(done), int64(total))
	})
}

// load loads the plan's model.
func (w *extractWork) load(cmd *cobra.Command, c *console, plan *extraction.Plan) (*tfconvrnn.Model, error) {
	if w.threads != 0 && w.threads != plan.Threads {
		return nil, usagef("--threads %d: the plan fixes %d, since the last bits of what is computed depend on it; plan with --threads %d to compute with as many", w.threads, plan.Threads, w.threads)
	}
	options, err := plan.LoadOptions()
	if err != nil {
		return nil, err
	}
	onDevice, err := w.gpuFlags.options(cmp.Or(w.device, plan.Devices.String()))
	if err != nil {
		return nil, err
	}
	options = append(append(options, w.hereOptions()...), onDevice...)
	weights := cmp.Or(w.weights, plan.Weights)
	options = append(options, tfconvrnn.WithWeights(weights))
	return openWith(cmd, c, w.yes, plan.Model, weights, options) // the plan has the error of its precision
}
