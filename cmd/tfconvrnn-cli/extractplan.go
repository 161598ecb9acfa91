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

func addPlan(cmd *cobra.Command, plan *string, question string) {
	cmd.Flags().StringVar(plan, "plan", "", "the plan `FILE`, also s3://bucket/name")
	_ = cmd.MarkFlagFilename("plan", "plan")
	obey(cmd, needed("plan", question))
}

// whichPlan asks those for a plan who need one that is there.
const whichPlan = "which plan? give --plan FILE; " + program + " extract plan makes one"

func openPlan(ctx context.Context, name string) (*extraction.Plan, error) {
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
		Use:  "plan --plan PLAN --out STORE.zarr|FOLDER.grams --model MODEL [flags] INPUT…",
		Args: cobra.ArbitraryArgs, ValidArgsFunction: completeFiles, RunE: e.runPlan,
	}
	addPlan(cmd, &e.planFile, "where to? give --plan FILE, for example --plan set.plan")
	e.register(cmd)
	cmd.Flags().StringVarP(&e.out, "out", "o", "",
		"Zarr `STORE` to write: a folder, or s3://bucket/name; or a folder of Gram matrices, called .grams")
	cmd.Flags().Lookup("force").Usage = "replace an existing plan, what was computed of it, and an existing output"
	return cmd
}

func (e *extractCommand) runPlan(cmd *cobra.Command, args []string) error {
	ctx := cmd.Context()
	c := commandConsole(cmd)
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
	if err := extraction.CheckPlan(ctx, e.planFile, e.recipe.Replace); err != nil {
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
	progress := c.Start("planning", unitImages, 0)
	request.Progress = progress.Count
	plan, err := extraction.NewPlan(ctx, e.planFile, request, extraction.RunOptions{
		Replace: p.recipe.Replace, ForceSize: e.forceSize, Warn: c.warnNotice, Note: c.noteNotice,
	})
	progress.End()
	if err != nil {
		return e.remedy(p, e.unreadableRemedy(err))
	}
	defer plan.Close()
	noteKept(c, plan.Layers())
	r := &planReport{
		Plan: e.planFile, Hash: plan.Hash(), Chunks: plan.Chunks(), ChunkStimuli: plan.ChunkStimuli,
		BatchSize: plan.BatchSize, Threads: plan.Threads,
		extractReport: &extractReport{Output: e.out, DryRun: true, Description: plan.Describe(),
			Untrained: model.Untrained()},
	}
	return present(cmd, r, func(out io.Writer) error {
		err := r.print(out)
		fmt.Fprintf(out, "%s: %s of %s, in batches of %d, with %s each\n", e.planFile, plural(r.Chunks, "chunk"),
			plural(min(r.ChunkStimuli, plan.Stimuli), "stimulus"), r.BatchSize, plural(r.Threads, "thread"))
		return err
	})
}
