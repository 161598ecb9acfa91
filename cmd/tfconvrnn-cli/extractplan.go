package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/tfconvrnn"
)

func addPlan(cmd *cobra.Command, plan *string) {
	cmd.Flags().StringVar(plan, "plan", "", "the plan `FILE`, also s3://bucket/name")
	_ = cmd.MarkFlagFilename("plan", "plan")
}

func openPlan(ctx context.Context, name string) (*extraction.Plan, error) {
	if name == "" {
		return nil, usagef("which plan? give --plan FILE; %s extract plan makes one", program)
	}
	plan, err := extraction.Open(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, inputf("--plan %s: no such file; \"%s extract plan\" writes it", name, program)
	}
	return plan, err
}

// planReport is what extract plan prints.
type planReport struct {
	Plan string `json:"plan"`
	Hash string `json:"hash"`
	*extractReport
	Chunks       int `json:"chunks"`
	ChunkStimuli int `json:"chunk_stimuli"`
	BatchSize    int `json:"batch_size"`
	Threads      int `json:"threads"`
}

func newExtractPlan() *cobra.Command {
	e := &extractCommand{}
	cmd := &cobra.Command{
		Use:   "plan --plan PLAN --out STORE.zarr|FOLDER.grams --model MODEL [flags] INPUT…",
		Short: "Plan an extraction that several machines compute",
		Long: `Plan an extraction that any number of processes on any number of machines compute:
the plan fixes the stimuli with the hashes of their contents, the model with the hash
of its weights, presentation, preprocessing, reductions, and which stimuli are computed
together. It is computed by "extract work" and sealed by "extract finish"; "extract
status" says how far it is.

The output is a Zarr store of features, or, called .grams, a folder of their Gram matrices,
which "compare" needs instead of them. The features then go to a store beside it, which
is removed in the end. When all features are there, "extract work", called again, makes the
matrices of its shard, and "extract finish" those that are left.

The flags are those of "extract". Inputs, the output and weights must be found under the
same absolute paths or URLs on all machines. Both the output and the plan may be in an
object store (s3://bucket/name).`,
		Example: `  ` + program +
			` extract plan --plan set.plan --out set.zarr --model ugrnn_intermediate --areas IT stimuli.csv
  ` + program + ` extract work --plan set.plan --shard 0/2
  ` + program + ` extract work --plan set.plan --shard 1/2
  ` + program + ` extract finish --plan set.plan`,
		Args: cobra.ArbitraryArgs,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: e.runPlan,
	}
	addPlan(cmd, &e.planFile)
	e.register(cmd)
	cmd.Flags().StringVarP(&e.out, "out", "o", "",
		"Zarr `STORE` to write: a folder, or s3://bucket/name; or a folder of Gram matrices, called .grams")
	cmd.Flags().Lookup("force").Usage = "replace an existing plan, what was computed of it, and an existing output"
	return cmd
}

func (e *extractCommand) runPlan(cmd *cobra.Command, args []string) error {
	ctx := cmd.Context()
	c := commandConsole(cmd, e.quiet)
	if e.planFile == "" {
		return usagef("where to? give --plan FILE, for example --plan set.plan")
	}
	if err := checkFileName("--plan", e.planFile, "set.plan"); err != nil {
		return err
	}
	if format, err := features.FormatOf(e.out); err == nil && format != features.Zarr {
		name := strings.TrimSuffix(e.out, filepath.Ext(e.out))
		return usagef("--out %s: plans are of Zarr stores, or of Gram matrices; call it %s or %s", e.out,
			name+features.Zarr.Suffix(), name+extraction.GramSuffix)
	}
	if !strings.HasSuffix(strings.TrimRight(e.out, "/"), extraction.GramSuffix) {
		e.format = string(features.Zarr)
	}
	p, err := e.plan(cmd)
	if err != nil {
		return err
	}
	if err := extraction.CheckPlan(ctx, e.planFile, e.force); err != nil {
		return err
	}
	model, err := loadModel(cmd, c, &e.modelFlags, p.times, tfconvrnn.WithoutSession())
	if err != nil {
		return err
	}
	defer model.Close()
	request, err := e.request(cmd, args, p, c)
	if err != nil {
		return err
	}
	request.Loaded = model
	progress := c.start("planning", unitImages, 0)
	request.Progress = func(n int) { progress.set(int64(n), 0) }
	plan, err := extraction.NewPlan(ctx, e.planFile, request, extraction.RunOptions{
		Replace: e.force, ForceSize: e.forceSize, Warn: c.warnNotice, Note: c.noteNotice,
	})
	progress.end()
	if err != nil {
		return e.remedy(p, unreadableRemedy(err))
	}
	defer plan.Close()
	noteKept(c, plan.Layers())
	r := &planReport{
		Plan: e.planFile, Hash: plan.Hash(), Chunks: plan.Chunks(), ChunkStimuli: plan.ChunkStimuli,
		BatchSize: plan.BatchSize, Threads: plan.Threads,
		extractReport: &extractReport{Output: e.out, DryRun: true, Description: plan.Describe(),
			Untrained: model.Untrained()},
	}
	return present(cmd, e.asJSON, r, func(out io.Writer) error {
		err := r.print(out)
		fmt.Fprintf(out, "%s: %s of %s, in batches of %d, with %s each\n", e.planFile, plural(r.Chunks, "chunk"),
			plural(min(r.ChunkStimuli, plan.Stimuli), "stimulus"), r.BatchSize, plural(r.Threads, "thread"))
		return err
	})
}
