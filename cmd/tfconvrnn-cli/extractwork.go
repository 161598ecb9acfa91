package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

type extractWork struct {
	modelFlags
	plan, shard string
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
	cmd := &cobra.Command{Use: "work --plan PLAN [--shard I/N] [flags]", RunE: w.run}
	addPlan(cmd, &w.plan, whichPlan)
	flags := cmd.Flags()
	flags.StringVar(&w.shard, "shard",
		"", "the shard to compute, as `I/N`: 0/4 is the first of four; auto/4 takes the index of a Kubernetes Job or a Slurm array")
	addParsed(cmd, &w.weights, "weights", "", savedmodels.ParseWeights,
		"where the `WEIGHTS` are here, if not where the plan says; they must be the same")
	addStore(cmd, &w.store)
	flags.StringVar(&w.device, "device", "",
		"`DEVICE`: other GPUs than the plan names, gpu:<number>, or several that share the batches, gpu:0,gpu:1")
	w.gpuFlags.registerMemory(cmd)
	flags.IntVar(&w.threads, "threads", 0,
		"must be the plan's, which fixes it: the last bits of what TensorFlow computes depend on it (0: the plan's)")
	addTrust(cmd, &w.verify, &w.trust)
	addYes(cmd)
	addMessages(cmd)
	return cmd
}

func (w *extractWork) run(cmd *cobra.Command, _ []string) error {
	ctx := cmd.Context()
	c := commandConsole(cmd)
	index, count, err := extraction.ParseShard(w.shard)
	if err != nil {
		return err
	}
	plan, err := openPlan(ctx, w.plan)
	if err != nil {
		return err
	}
	defer plan.Close()
	shown := c.Stages()
	skipped := 0
	worked, err := plan.Work(ctx, index, count, extraction.WorkOptions{
		WorkerOptions: extraction.WorkerOptions{Warn: c.warnNotice, Note: c.noteNotice},
		Load:          func(context.Context) (*tfconvrnn.Model, error) { return w.load(cmd, c, plan) },
		Skipped:       func(f extraction.FailedStimulus) { warnSkipped(c, f, &skipped) },
		Progress: func(done, missing int) {
			task, _ := shown.At("extracting", unitImages, int64(missing))
			task.Set(int64(done), int64(missing))
		},
		Multiplied: func(done, of int64) {
			task, _ := shown.At("multiplying", unitMatrices, of)
			task.Set(done, of)
		},
	})
	shown.End()
	if err != nil {
		return err
	}
	seconds := worked.Elapsed.Seconds()
	report := &workReport{w.plan, w.shard, worked, seconds, float64(worked.Stimuli) / max(seconds, 1e-9)}
	return present(cmd, report, func(out io.Writer) error { return report.print(out, plan.Matrices()) })
}

// print prints the report about a plan of so many Gram matrices.
func (r *workReport) print(out io.Writer, of int) error {
	if r.Sealed {
		fmt.Fprintf(out, "%s: the store is sealed; nothing to do\n", r.Plan)
		return nil
	}
	fmt.Fprintf(out, "%s: computed %d of %s, %s, %.1f s, %.2f images/s\n", r.Plan, r.Computed, plural(r.Chunks, "chunk"),
		plural(r.Stimuli, "stimulus"), r.Seconds, r.ImagesPerSec)
	if r.Skipped > 0 {
		fmt.Fprintf(out, "%s could not be read\n", plural(r.Skipped, "stimulus"))
	}
	switch {
	case r.Awaited > 0:
		again := "\"" + program + " extract work\" again makes a shard of them, \"" + program + " extract finish\" all"
		fmt.Fprintf(out, "%s of other shards to come, then the Gram matrices: %s\n", plural(r.Awaited, "chunk"), again)
	case of > 0:
		fmt.Fprintf(out, "made %d of %s, %d missing\n", r.Worked.Matrices, matrices(of), r.MatricesMissing)
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
	return openWith(cmd, c, plan.Model, weights, options) // the plan has the error of its precision
}

func newExtractStatus() *cobra.Command {
	var name string
	var check bool
	cmd := &cobra.Command{Use: "status --plan PLAN [--check]"}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		plan, err := openPlan(cmd.Context(), name)
		if err != nil {
			return err
		}
		defer plan.Close()
		status, err := plan.Status(cmd.Context(), check)
		if err != nil {
			return err
		}
		return present(cmd, status, func(out io.Writer) error { return printStatus(out, status) })
	}
	addPlan(cmd, &name, whichPlan)
	cmd.Flags().BoolVar(&check, "check", false, "read everything and compare checksums")
	addJSON(cmd)
	return cmd
}

func printStatus(out io.Writer, s *extraction.Status) error {
	fmt.Fprintf(out, "%s → %s\n", s.Plan, s.Output)
	if s.Sealed != nil {
		fmt.Fprintf(out, "sealed: %s in %s, manifest %s\n", plural(s.Sealed.Stimuli, "stimulus"), partsOf(s.Sealed),
			s.Sealed.Manifest)
		return nil
	}
	corrupt := ""
	if s.Checked {
		corrupt = fmt.Sprintf(", %d corrupt", s.Corrupt)
	}
	fmt.Fprintf(out, "%s: %d done, %d missing%s\n", plural(s.Chunks, "chunk"), s.Done, s.Missing, corrupt)
	fmt.Fprintf(out, "%s: %d done", plural(s.Stimuli, "stimulus"), s.StimuliDone)
	if s.StimuliPerSecond > 0 {
		left := time.Duration(s.SecondsLeft * float64(time.Second)).Round(time.Second)
		fmt.Fprintf(out, ", %.2f/s, %s left at that rate", s.StimuliPerSecond, left)
	}
	fmt.Fprintln(out)
	if s.Matrices > 0 {
		fmt.Fprintf(out, "Gram matrices: %d of %d made\n", s.MatricesDone, s.Matrices)
	}
	if s.Corrupt > 0 {
		fmt.Fprintf(out, "extract finish will discard the corrupt chunks; then run extract work again\n")
	}
	return nil
}

// partsOf says what a sealed output is made of.
func partsOf(s *extraction.Seal) string {
	if s.Matrices > 0 {
		return matrices(s.Matrices)
	}
	return plural(s.Chunks, "chunk")
}

// finishReport is what extract finish prints.
type finishReport struct {
	Plan   string `json:"plan"`
	Output string `json:"output"`
	extraction.Seal
	Already bool                        `json:"already_sealed,omitempty"`
	Skipped []extraction.FailedStimulus `json:"skipped,omitempty"`
}

func newExtractFinish() *cobra.Command {
	var name string
	var wait bool
	cmd := &cobra.Command{Use: "finish --plan PLAN"}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := commandConsole(cmd)
		plan, err := openPlan(cmd.Context(), name)
		if err != nil {
			return err
		}
		defer plan.Close()
		if wait {
			waiting := c.Start("waiting for", unitChunks, int64(plan.Chunks()))
			err := plan.Wait(cmd.Context(), waiting.Count)
			waiting.End()
			if err != nil {
				return err
			}
		}
		progress := c.Start("verifying", unitChunks, int64(plan.Chunks()+plan.Matrices()))
		finished, err := plan.Finish(cmd.Context(), progress.Count)
		progress.End()
		if err != nil {
			return err
		}
		r := &finishReport{Plan: name, Output: plan.Output, Seal: finished.Seal, Already: finished.Already,
			Skipped: finished.Skipped}
		return present(cmd, r, func(out io.Writer) error {
			word := "sealed"
			if r.Already {
				word = "sealed before"
			}
			fmt.Fprintf(out, "%s: %s: %s in %s, %s, manifest %s\n", r.Output, word, plural(r.Stimuli, "stimulus"),
				partsOf(&r.Seal), plural(r.Files, "file"), r.Manifest)
			if finished.SkippedCount > 0 {
				fmt.Fprintf(out, "%s could not be read; see the mask \"valid\"\n", plural(finished.SkippedCount, "stimulus"))
			}
			return nil
		})
	}
	addPlan(cmd, &name, whichPlan)
	cmd.Flags().BoolVar(&wait, "wait", false, "first wait until all chunks are there")
	addMessages(cmd)
	return cmd
}
