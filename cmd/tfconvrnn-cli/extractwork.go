package main

import (
	"cmp"
	"context"
	"fmt"

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
	Plan  string `json:"plan"`
	Shard string `json:"shard,omitempty"`
	*extraction.Worked
	Seconds      float64 `json:"seconds"`
	ImagesPerSec float64 `json:"images_per_second"`
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

A worker without --shard begins somewhere in the plan and takes what is missing.

Of a plan of Gram matrices the worker that finds all features there seals them, and makes the
matrices of its shard; run the workers again for the others.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: w.run,
	}
	addPlan(cmd, &w.plan)
	flags := cmd.Flags()
	flags.StringVar(&w.shard, "shard",
		"", "the shard to compute, as `I/N`: 0/4 is the first of four; auto/4 takes the index of a Kubernetes Job or a Slurm array")
	flags.Var(parsedFlag[tfconvrnn.Weights]{&w.weights, savedmodels.ParseWeights}, "weights",
		"where the `WEIGHTS` are here, if not where the plan says; they must be the same")
	addStore(cmd, &w.store)
	flags.StringVar(&w.device, "device", "",
		"`DEVICE`: other GPUs than the plan names, gpu:<number>, or several that share the batches, gpu:0,gpu:1")
	w.gpuFlags.registerMemory(cmd)
	flags.IntVar(&w.threads, "threads", 0,
		"must be the plan's, which fixes it: the last bits of what TensorFlow computes depend on it (0: the plan's)")
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
	var progress, multiplying *task
	skipped := 0
	worked, err := plan.Work(ctx, index, count, extraction.WorkOptions{
		WorkerOptions: extraction.WorkerOptions{Warn: c.warnNotice, Note: c.noteNotice},
		Load:          func(context.Context) (*tfconvrnn.Model, error) { return w.load(cmd, c, plan) },
		Skipped:       func(f extraction.FailedStimulus) { warnSkipped(c, f, &skipped) },
		Progress: func(done, missing int) {
			if progress == nil {
				progress = c.start("extracting", unitImages, int64(missing))
			}
			progress.set(int64(done), int64(missing))
		},
		Multiplied: func(done, of int64) {
			if multiplying == nil {
				multiplying = c.start("multiplying", unitMatrices, of)
			}
			multiplying.set(done, of)
		},
	})
	for _, t := range []*task{progress, multiplying} {
		if t != nil {
			t.end()
		}
	}
	if err != nil {
		return err
	}
	seconds := worked.Elapsed.Seconds()
	report := &workReport{w.plan, w.shard, worked, seconds, float64(worked.Stimuli) / max(seconds, 1e-9)}
	if w.asJSON {
		return printJSON(cmd.OutOrStdout(), report)
	}
	out := cmd.OutOrStdout()
	if report.Sealed {
		fmt.Fprintf(out, "%s: the store is sealed; nothing to do\n", w.plan)
		return nil
	}
	fmt.Fprintf(out, "%s: computed %d of %s, %s, %.1f s, %.2f images/s\n", w.plan, report.Computed,
		plural(report.Chunks, "chunk"), plural(report.Stimuli, "stimulus"), report.Seconds, report.ImagesPerSec)
	if report.Skipped > 0 {
		fmt.Fprintf(out, "%s could not be read\n", plural(report.Skipped, "stimulus"))
	}
	again := "\"" + program + " extract work\" again makes a shard of them, \"" + program + " extract finish\" all"
	switch {
	case report.Awaited > 0:
		fmt.Fprintf(out, "%s of other shards to come, then the Gram matrices: %s\n", plural(report.Awaited, "chunk"), again)
	case plan.Matrices() > 0:
		fmt.Fprintf(out, "made %d of %s, %d missing\n", report.Worked.Matrices, matrices(plan.Matrices()),
			report.MatricesMissing)
	}
	return nil
}

// load loads the plan's model.
func (w *extractWork) load(cmd *cobra.Command, c *console, plan *extraction.Plan) (*tfconvrnn.Model, error) {
	if w.threads != 0 && w.threads != plan.Threads {
		return nil, usagef("--threads %d: the plan fixes %d, since the last bits of what is computed depend on it; plan with --threads %d to compute with as many",
			w.threads, plan.Threads, w.threads)
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
