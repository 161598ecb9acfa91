package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// extractPlan is what the command line asks for, checked as far as it can be
// without the model.
type extractPlan struct {
	recipe   extraction.Recipe
	times    int
	resuming bool
}

func (e *extractCommand) run(cmd *cobra.Command, args []string) (err error) {
	c := commandConsole(cmd)
	p, err := e.plan(cmd)
	if err != nil {
		return err
	}
	if err := checkFileName("--trace", e.trace, "trace.json"); err != nil {
		return err
	}
	if e.dryRun {
		e.trace = ""
	}
	trace, err := newTrace(c, e.trace, "extract")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trace.close()) }()
	draft, err := e.prepare(cmd, args, p, trace, c)
	if err != nil {
		return err
	}
	defer draft.Close()
	if e.dryRun {
		_, seeded := e.weights.Seed()
		r := &extractReport{Output: e.out, DryRun: true, Description: draft.Describe(), Untrained: seeded}
		return present(cmd, r, r.print)
	}
	if p.resuming && e.threads == 0 {
		e.threads = draft.Interrupted(cmd.Context()).Threads // the last bits depend on it
	}
	loaded := trace.start("load model")
	model, err := loadModel(cmd, c, &e.modelFlags, p.times)
	if err != nil {
		return err
	}
	loaded()
	defer model.Close()
	result, err := e.extract(cmd.Context(), p, draft, model, trace, c)
	if err != nil {
		return err
	}
	seconds := result.Elapsed.Seconds()
	r := &extractReport{
		Output: e.out, Description: draft.Describe(), Untrained: model.Untrained(), Resumed: result.Resumed,
		Skipped: result.Skipped, Noticed: result.Noticed, Seconds: seconds,
		ImagesPerSec: float64(result.Stimuli-result.Resumed) / seconds,
	}
	r.Bytes = result.Size
	return present(cmd, r, r.print)
}

// prepare finds the stimuli and settles the output.
func (e *extractCommand) prepare(cmd *cobra.Command, args []string, p *extractPlan, trace *extractTrace, c *console) (
	_ *extraction.Draft, err error) {
	request, err := e.request(cmd, args, p, c)
	if err != nil {
		return nil, err
	}
	hashed := trace.start("hash stimuli")
	progress := c.Start("planning", unitImages, 0)
	request.Progress = progress.Count
	draft, err := extraction.Prepare(cmd.Context(), request)
	progress.End()
	if err != nil {
		return nil, e.unreadableRemedy(err)
	}
	hashed()
	defer func() {
		if err != nil {
			draft.Close()
		}
	}()
	format := draft.Recipe().Format
	if format.OneTimeAxis() && !e.recipe.AllTimesteps {
		c.Note("%s: all timesteps from 0 are included, as its readers expect", format.Title())
	}
	noteKept(c, draft.Layers())
	if p.recipe.Format == "" && e.out != "" { // chosen by the size
		e.out += format.Suffix()
		if err := e.checkOutput(cmd.Context(), p); err != nil {
			return nil, err
		}
	}
	if !e.dryRun && !e.forceSize && !p.resuming && !e.compares && format != features.Zarr { // which looks itself
		if err := extraction.CheckSpace(e.out, draft.Size()); err != nil {
			return nil, e.remedy(p, err)
		}
	}
	return draft, nil
}

// extract computes and writes the features.
func (e *extractCommand) extract(ctx context.Context, p *extractPlan, draft *extraction.Draft, model *tfconvrnn.Model,
	trace *extractTrace, c *console) (*extraction.Result, error) {
	total := int64(draft.Recipe().Stimuli)
	to := e.out
	if e.into != nil {
		to = "in memory"
	}
	c.Note("%s: %s, %s, %s …", to, plural(int(total), "stimulus"), plural(p.times, "timestep"),
		humanize.Bytes(uint64(draft.Size())))
	shown := c.Stages()
	skipped := 0
	options := extraction.RunOptions{
		Replace: p.recipe.Replace, Resume: e.resume, ForceSize: e.forceSize, Stage: trace.start, Writer: e.into,
		Warn: c.warnNotice, Note: c.noteNotice,
		Halved:  func(to int, err error) { c.warnNotice(halvedMessage(to, err)) },
		Skipped: func(f extraction.FailedStimulus) { warnSkipped(c, f, &skipped) },
		Progress: func(n int) {
			task, begun := shown.At("extracting", unitImages, total)
			if begun {
				task.Resume(int64(n), total)
			}
			task.Set(int64(n), total)
		},
		Multiplied: func(done, of int64) {
			task, _ := shown.At("multiplying", unitMatrices, of)
			task.Set(done, of)
		},
	}
	if trace.wanted() {
		options.Trace = trace.span
	}
	result, err := draft.Run(ctx, model, options)
	shown.End()
	r := draft.Recipe()
	c.Debug("plan", "batch_size", r.BatchSize, "timesteps", p.times, "presentation", r.Presentation.String())
	var kept *extraction.KeptError
	if errors.As(err, &kept) && !(e.discards && errors.Is(err, features.ErrNoSpace)) {
		message := keptMessage(kept.Err)
		if e.compares {
			message = strings.NewReplacer("go on with --resume", "the same command goes on", ", or add --on-error skip",
				"").Replace(message)
		}
		c.Log().Error(e.out + ": " + message)
		return nil, kept.Err
	}
	return result, e.remedy(p, err)
}

// remedy adds to an error about what is in the way of an output what to do.
func (e *extractCommand) remedy(p *extractPlan, err error) error {
	switch {
	case errors.Is(err, features.ErrNoSpace) && e.compares:
		return advise(err, "choose --features-in passes, another disk by --gram-cache, fewer layers or --reduce")
	case errors.Is(err, features.ErrNoSpace):
		return advise(err, "choose another disk, fewer layers or --reduce, or --force-size")
	case errors.Is(err, extraction.ErrPlan) && p.resuming:
		return advise(err, "start anew with --force")
	case errors.Is(err, fs.ErrExist) && !errors.Is(err, features.ErrExists):
		return fmt.Errorf("%s: %w", e.out, features.ErrExists)
	}
	return err
}

// plan checks the flags.
func (e *extractCommand) plan(cmd *cobra.Command) (*extractPlan, error) {
	info, preprocessing, presentation, err := e.shown(cmd)
	if err != nil {
		return nil, err
	}
	p := &extractPlan{recipe: e.recipe}
	r := &p.recipe
	r.Model, r.Weights, r.Precision, r.Convolution = info.Name, e.weights, e.precision, e.convolution
	r.Preprocessing, r.Presentation, r.TF32, r.BatchSize = preprocessing, presentation, e.gpuFlags.tf32, e.batch
	if r.Layers, err = info.SelectLayers(e.layers, e.areas); err != nil {
		return nil, err
	}
	p.times = r.Presentation.Times(info)
	if err := e.settleGrams(cmd, r); err != nil {
		return nil, err
	}
	if e.out, err = features.SettleName(e.out, features.Format(e.format)); err != nil {
		return nil, named("--out", err)
	}
	if r.Format, err = outputFormat(e.out, e.format); err != nil {
		return nil, err
	}
	if err := r.Format.CheckDataType(r.DataType); r.Format != "" && err != nil {
		return nil, usage(err)
	}
	if _, err := e.loadOptions(p.times); err != nil {
		return nil, err
	}
	if r.Devices, err = e.gpuFlags.devices(e.device); err != nil {
		return nil, err
	}
	if err := (&extraction.Request{Recipe: *r, ChunkStimuli: e.chunk, Sketch: true}).Check(); err != nil {
		return nil, err
	}
	if e.out == "" && !e.dryRun {
		return nil, usagef("where to? give --out FILE, for example --out features.npz")
	}
	if r.Format != "" {
		err = e.checkOutput(cmd.Context(), p)
	}
	return p, err
}

// settleGrams has Gram matrices made where the output is called so.
func (e *extractCommand) settleGrams(cmd *cobra.Command, r *extraction.Recipe) error {
	if e.format != "" || !strings.HasSuffix(strings.TrimRight(e.out, "/"), extraction.GramSuffix) {
		return onlyFor("Gram matrices, --out it"+extraction.GramSuffix, func() bool { return false },
			"window", "keep-features")(cmd)
	}
	r.Grams, e.format = &extraction.Grams{Windows: e.windows, KeepFeatures: e.keepFeatures}, string(features.Zarr)
	return nil
}

// checkOutput finds out whether the output can be written.
func (e *extractCommand) checkOutput(ctx context.Context, p *extractPlan) (err error) {
	if e.dryRun {
		return nil
	}
	options := extraction.RunOptions{Replace: p.recipe.Replace, Resume: e.resume}
	p.resuming, err = extraction.CheckOutput(ctx, e.out, options)
	if e.planFile != "" && errors.Is(err, features.ErrUnfinished) { // extract plan cannot go on with it
		return advise(fmt.Errorf("%w, of \"extract\"", err),
			"go on with that by \"%s extract --resume\" and its flags, choose another --out, or discard it with --force",
			program)
	}
	return err
}

// request says what is extracted of which stimuli.
func (e *extractCommand) request(cmd *cobra.Command, args []string, p *extractPlan, c *console) (*extraction.Request,
	error) {
	inputs, err := e.inputFlags.options(cmd, args, p.recipe.Preprocessing, e.spec.TimestepsPerFrame > 0, c)
	q := &extraction.Request{Recipe: p.recipe, Inputs: inputs, Shown: &e.spec, ChunkStimuli: e.chunk, Sketch: e.dryRun}
	q.Output = strings.TrimSuffix(e.out, "/")
	return q, err
}

// stimulusFaults are those of one stimulus, which --on-error skip lets pass, unlike those of a table, list or array.
var stimulusFaults = []error{tfconvrnn.ErrUnreadable, images.ErrUnsupportedFormat, images.ErrTooLarge, images.ErrSize,
	stimuli.ErrVideo, stimuli.ErrMissing}

// unreadableRemedy adds to an error about a stimulus, found before anything is computed,
// what to do.
func (e *extractCommand) unreadableRemedy(err error) error {
	one := slices.ContainsFunc(stimulusFaults, func(fault error) bool { return errors.Is(err, fault) })
	switch {
	case !one || e.recipe.OnError == extraction.Skip || !stimuli.IsStimulusFault(err) || remedy(err) != "":
		return err
	case e.compares:
		return advise(err, "mend or remove it")
	}
	return advise(err, "mend or remove it, or add --on-error skip")
}

// keptMessage says what to do after an error that leaves something to go on with.
func keptMessage(err error) string {
	if stimuli.IsStimulusFault(err) && exitCode(context.Background(), err) == exitInput {
		return "what is finished is kept; mend or remove the stimulus, or add --on-error skip, and go on with --resume"
	}
	if errors.Is(err, features.ErrNoSpace) {
		return "what is finished is kept; make room, and go on with --resume"
	}
	return "what is finished is kept; go on with --resume"
}

// skipMessages is the number of stimuli that cannot be read of which each is
// reported when it is met.
const skipMessages = 20

// warnSkipped reports a stimulus that could not be read, one of the first.
func warnSkipped(c *console, f extraction.FailedStimulus, reported *int) {
	if *reported++; *reported <= skipMessages {
		c.Warn("skipped %s: %s", f.Stimulus, f.Error)
	}
}
