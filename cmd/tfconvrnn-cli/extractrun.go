package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/chrometrace"
	"github.com/tfconvrnn/go/internal/storage"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// extractPlan is what the command line asks for, checked as far as it can be
// without the model.
type extractPlan struct {
	info          savedmodels.Model
	presentation  tfconvrnn.Presentation
	times         int
	layers        []string
	format        features.Format
	preprocessing tfconvrnn.Preprocessing
	resuming      bool
}

func (e *extractCommand) run(cmd *cobra.Command, args []string) (err error) {
	c := commandConsole(cmd, e.quiet)
	p, err := e.plan(cmd)
	if err != nil {
		return err
	}
	if err := checkFileName("--trace", e.trace, "trace.json"); err != nil {
		return err
	}
	trace := &extractTrace{console: c}
	if e.trace != "" && !e.dryRun {
		if filepath.Clean(e.trace) == filepath.Clean(e.out) {
			return usagef("--trace and --out name the same file")
		}
		if trace.writer, err = chrometrace.Create(e.trace, program+" extract"); err != nil {
			return err
		}
		defer func() {
			if closeErr := trace.writer.Close(); err == nil {
				err = closeErr
			}
		}()
	}
	draft, err := e.prepare(cmd, args, p, trace, c)
	if err != nil {
		return err
	}
	defer draft.Close()
	if e.dryRun {
		return e.printPlan(cmd, p, draft)
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
	r := newExtractReport(p, draft.Recipe(), result.Layout, result.Size)
	r.Output, r.Untrained, r.Resumed, r.Noticed = e.out, model.Untrained(), result.Resumed, result.Noticed
	for _, f := range result.Skipped {
		r.Skipped = append(r.Skipped, skippedStimulus(f))
	}
	r.Seconds = result.Elapsed.Seconds()
	r.ImagesPerSec = float64(result.Stimuli-result.Resumed) / r.Seconds
	if e.asJSON {
		return printJSON(cmd.OutOrStdout(), r)
	}
	r.print(cmd.OutOrStdout())
	return nil
}

// prepare finds the stimuli and settles the output.
func (e *extractCommand) prepare(cmd *cobra.Command, args []string, p *extractPlan, trace *extractTrace, c *console) (_ *extraction.Draft, err error) {
	request, err := e.request(cmd, args, p, c)
	if err != nil {
		return nil, err
	}
	hashed := trace.start("hash stimuli")
	progress := c.start("planning", unitImages, 0)
	request.Progress = func(n int) { progress.set(int64(n), 0) }
	draft, err := extraction.Prepare(cmd.Context(), request)
	progress.end()
	if err != nil {
		return nil, unreadableRemedy(err)
	}
	hashed()
	defer func() {
		if err != nil {
			draft.Close()
		}
	}()
	format := draft.Recipe().Format
	if format.OneTimeAxis() && !e.allTimes {
		c.note("%s: all timesteps from 0 are included, as its readers expect", format.Title())
	}
	noteKept(c, draft.Layers())
	if p.format == "" && e.out != "" { // chosen by the size
		e.out += format.Suffix()
		if err := e.checkOutput(cmd.Context(), p); err != nil {
			return nil, err
		}
	}
	if !e.dryRun && !e.forceSize && !p.resuming && format != features.Zarr { // which looks itself
		if err := extraction.CheckSpace(e.out, draft.Size()); err != nil {
			return nil, e.remedy(p, err)
		}
	}
	return draft, nil
}

// extract computes and writes the features.
func (e *extractCommand) extract(ctx context.Context, p *extractPlan, draft *extraction.Draft, model *tfconvrnn.Model, trace *extractTrace, c *console) (*extraction.Result, error) {
	total := int64(draft.Recipe().Stimuli)
	to := e.out
	if e.into != nil {
		to = "in memory"
	}
	c.note("%s: %s, %s, %s …", to, plural(int(total), "stimulus"), plural(p.times, "timestep"), humanize.Bytes(uint64(draft.Size())))
	var progress *task
	skipped := 0
	options := extraction.RunOptions{
		Replace: e.force, Resume: e.resume, ForceSize: e.forceSize, Stage: trace.start, Writer: e.into,
		Warn: c.warnNotice, Note: c.noteNotice,
		Skipped: func(f extraction.FailedStimulus) { warnSkipped(c, []extraction.FailedStimulus{f}, &skipped) },
		Progress: func(n int) {
			if progress == nil {
				progress = c.start("extracting", unitImages, total)
				progress.resume(int64(n), total)
			}
			progress.set(int64(n), total)
		},
	}
	if trace.wanted() {
		options.Trace = trace.span
	}
	result, err := draft.Run(ctx, model, options)
	if progress != nil {
		progress.end()
	}
	r := draft.Recipe()
	c.debug("plan", "batch_size", r.BatchSize, "timesteps", p.times, "presentation", r.Presentation.String())
	var kept *extraction.KeptError
	if errors.As(err, &kept) {
		message := keptMessage(kept.Err)
		if e.compares {
			message = strings.NewReplacer("go on with --resume", "the same command goes on", ", or add --on-error skip", "").Replace(message)
		}
		c.Log().Error(e.out + ": " + message)
		return nil, kept.Err
	}
	return result, e.remedy(p, err)
}

// remedy adds to an error about what is in the way of an output what to do.
func (e *extractCommand) remedy(p *extractPlan, err error) error {
	var other *extraction.OtherPlanError
	switch {
	case errors.As(err, &other):
		return advise(err, "go on with it (%s extract work --plan %s), choose another --out, or discard it with --force", program, other.Plan)
	case errors.Is(err, features.ErrNoSpace):
		return advise(err, "choose another disk, fewer layers or --reduce, or --force-size")
	case errors.Is(err, extraction.ErrPlan) && p.resuming:
		return advise(err, "start anew with --force")
	case errors.Is(err, fs.ErrExist) && !errors.Is(err, features.ErrExists):
		return fmt.Errorf("%s: %w", e.out, features.ErrExists)
	}
	return resumeRemedy(err)
}

// plan checks the flags.
func (e *extractCommand) plan(cmd *cobra.Command) (*extractPlan, error) {
	p := &extractPlan{}
	var err error
	if p.info, err = e.lookup(); err != nil {
		return nil, err
	}
	layers, err := p.info.SelectLayers(splitList(e.layers), splitList(e.areas))
	if err != nil {
		return nil, err
	}
	p.layers = layers
	if p.preprocessing, err = e.preprocessing(); err != nil {
		return nil, err
	}
	if p.presentation, err = e.presentation(cmd, p.info, p.preprocessing); err != nil {
		return nil, err
	}
	p.times = p.presentation.Times(p.info)
	if e.out, err = settleOutputName(e.out, e.format); err != nil {
		return nil, err
	}
	if p.format, err = outputFormat(e.out, e.format); err != nil {
		return nil, err
	}
	if err := p.format.CheckDataType(e.dataType); p.format != "" && err != nil {
		return nil, usagef("%s has no %v; choose another format, or --dtype float32", p.format.Title(), e.dataType)
	}
	check := []tfconvrnn.ExtractOption{tfconvrnn.Layers(layers...), tfconvrnn.WithPresentation(p.presentation), tfconvrnn.BatchSize(e.batch),
		tfconvrnn.SelectUnits(e.selected...)}
	if e.logits {
		check = append(check, tfconvrnn.Logits())
	}
	if e.allTimes {
		check = append(check, tfconvrnn.AllTimesteps())
	}
	if _, _, err := tfconvrnn.Outputs(p.info, check...); err != nil {
		return nil, err
	}
	if _, err := e.loadOptions(p.times); err != nil {
		return nil, err
	}
	if e.chunk < 0 {
		return nil, usagef("--chunk %d: a chunk has at least 1 stimulus", e.chunk)
	}
	if e.out == "" && !e.dryRun {
		return nil, usagef("where to? give --out FILE, for example --out features.npz")
	}
	if p.format != "" {
		return p, e.checkOutput(cmd.Context(), p)
	}
	return p, nil
}

// checkOutput finds out whether the output can be written.
func (e *extractCommand) checkOutput(ctx context.Context, p *extractPlan) (err error) {
	if e.dryRun {
		return nil
	}
	if p.resuming, err = e.checkUnfinished(ctx); err != nil {
		return err
	}
	if storage.IsRemote(e.out) {
		return nil
	}
	if p.resuming {
		return checkFolder(filepath.Dir(filepath.Clean(e.out)))
	}
	if err = checkOutput(e.out, e.force); e.resume && errors.Is(err, features.ErrExists) {
		// Outputs get their name when they are complete.
		return fmt.Errorf("%s is complete: %w, and nothing is left to resume", e.out, features.ErrExists)
	}
	return err
}

// settlePresentation changes the presentation to what the stimuli demand.
func (e *extractCommand) settlePresentation(cmd *cobra.Command, p *extractPlan, kinds stimulusKinds, c *console) error {
	shown, changed, err := e.settle(cmd, p.info, p.preprocessing, kinds, c)
	if err == nil && changed {
		p.presentation = shown
	}
	return err
}

// request says what is extracted.
func (e *extractCommand) request(cmd *cobra.Command, args []string, p *extractPlan, c *console) (*extraction.Request, error) {
	weights := e.weights
	if checkpoints := weights.Checkpoints(); checkpoints != "" {
		absolute, err := filepath.Abs(checkpoints)
		if err != nil {
			return nil, err
		}
		weights = tfconvrnn.Weights(absolute)
	}
	visible, err := e.visible(cmd, p.info, p.preprocessing)
	if err != nil {
		return nil, err
	}
	inputs, err := e.inputFlags.options(args, stimulusOptions{
		stdin: cmd.InOrStdin(), preprocessing: p.preprocessing, times: p.times,
		timestepsPerFrame: e.framesPerImage, visible: visible, allowMissing: e.onError == extraction.Skip,
	}, c)
	if err != nil {
		return nil, err
	}
	devices, err := e.gpuFlags.devices(e.device)
	if err != nil {
		return nil, err
	}
	return &extraction.Request{
		Recipe: extraction.Recipe{
			Output: strings.TrimSuffix(e.out, "/"), Format: p.format, Replace: e.force,
			Weights: weights, Model: p.info.Name, Devices: devices, Precision: e.precision, Convolution: e.convolution, TF32: e.gpuFlags.tf32,
			Layers: p.layers, AllTimesteps: e.allTimes, Logits: e.logits, Presentation: p.presentation, Preprocessing: p.preprocessing,
			Selections: e.selected, Reductions: absoluteComponents(e.reduce), DataType: e.dataType, OnError: e.onError, BatchSize: e.batch,
			MaxFrames: inputs.MaxFrames, FramesPerSecond: inputs.FramesPerSecond,
		},
		Inputs: inputs, Orientation: e.orientation, BlankSHA256: blankHash(e.blank), ChunkStimuli: e.chunk, Sketch: e.dryRun,
		Settle: func(set *stimuli.Summary, recipe *extraction.Recipe) error {
			err := e.settlePresentation(cmd, p, stimulusKinds{set.Timed, set.Sequences, set.Stills}, c)
			recipe.Presentation = p.presentation
			return err
		},
	}, nil
}

// absoluteComponents makes the names of files in reductions such as conv5=pca(FILE) good in other folders.
func absoluteComponents(reductions []string) []string {
	var list []string
	for _, text := range reductions {
		if before, file, ok := strings.Cut(text, "pca("); ok && (before == "" || strings.HasSuffix(before, "=")) && !filepath.IsAbs(file) {
			if name, _, _ := strings.Cut(file, ","); strings.Trim(name, "0123456789)") != "" {
				if dir, err := os.Getwd(); err == nil {
					text = before + "pca(" + filepath.Join(dir, file)
				}
			}
		}
		list = append(list, text)
	}
	return list
}

// blankHash returns the SHA-256 of the file that a blank names, or "".
func blankHash(blank string) string {
	if _, color, err := tfconvrnn.ParseColorBlank(blank); color || err != nil {
		return "" // whatever files are called like that
	}
	data, err := os.ReadFile(blank)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// unreadableRemedy adds to an error about a stimulus, found before anything is computed,
// what to do.
func unreadableRemedy(err error) error {
	if stimuli.IsStimulusFault(err) && exitCode(context.Background(), err) == exitInput && remedy(err) == "" {
		return advise(err, "mend or remove it, or add --on-error skip")
	}
	return err
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

// resumeRemedy adds to the error of a resumption what to do, in the command's words.
func resumeRemedy(err error) error {
	var mismatch *features.ResumeMismatchError
	if !errors.As(err, &mismatch) {
		return err
	}
	for _, d := range mismatch.Differences {
		if d.Field == "threads" {
			return fmt.Errorf("%w: the last bits depend on the number of threads; resume with --threads %s, or start anew with --force", err, d.Before)
		}
	}
	return fmt.Errorf("%w: --resume takes other stimuli only where none is computed; give what was given before, or start anew with --force", err)
}

// skipMessages is the number of stimuli that cannot be read of which each is
// reported when it is met.
const skipMessages = 20

// warnSkipped reports stimuli that could not be read, the first of them one by one.
func warnSkipped(c *console, failed []extraction.FailedStimulus, reported *int) {
	for _, f := range failed {
		if *reported++; *reported <= skipMessages {
			c.warn("skipped %s: %s", f.Stimulus, f.Error)
		}
	}
}

// printPlan prints what would be computed.
func (e *extractCommand) printPlan(cmd *cobra.Command, p *extractPlan, draft *extraction.Draft) error {
	_, seeded := e.weights.Seed()
	r := newExtractReport(p, draft.Recipe(), draft.Layout(), draft.Size())
	r.Output, r.DryRun, r.Untrained = e.out, true, seeded
	if e.asJSON {
		return printJSON(cmd.OutOrStdout(), r)
	}
	r.print(cmd.OutOrStdout())
	return nil
}
