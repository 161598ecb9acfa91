package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/storage"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// planOf is where the plan of an extraction in one process lies.
func planOf(out string) string { return strings.TrimSuffix(out, "/") + ".plan" }

// request says what an extraction to Zarr plans.
func (e *extractCommand) request(cmd *cobra.Command, args []string, p *extractPlan, model *tfconvrnn.Model, c *console) (*extraction.Request, error) {
	if len(args) == 0 {
		return nil, usagef("no input; name pictures, folders of pictures, tables of them (.csv), videos, or .npy or .npz arrays of shape [N, 224, 224, 3]")
	}
	output := strings.TrimSuffix(e.out, "/")
	if !storage.IsRemote(output) {
		var err error
		if output, err = filepath.Abs(e.out); err != nil {
			return nil, err
		}
	}
	weights := e.weights
	if w, err := savedmodels.ParseWeights(weights); err != nil {
		return nil, err
	} else if !w.Seeded && weights != "" && weights != "trained" {
		if weights, err = filepath.Abs(weights); err != nil {
			return nil, err
		}
	}
	perFrame := max(e.framesPerImage, 1)
	visible, err := e.visible(cmd, p.info, p.preprocessing)
	if err != nil {
		return nil, err
	}
	r := &extraction.Request{
		Recipe: extraction.Recipe{
			Output: output, Replace: e.force, Weights: weights, Model: p.info.Name, Device: e.device, Precision: e.precision, Convolution: e.convolution, TF32: e.gpuFlags.tf32,
			Layers: p.layers, AllTimesteps: e.allTimes, Logits: e.logits, Presentation: p.presentation, Preprocessing: p.preprocessing,
			Reductions: e.reduce, DataType: e.dataType, OnError: e.onError, BatchSize: e.batch,
			MaxFrames: (p.times + perFrame - 1) / perFrame, FramesPerSecond: 1000 / float64(perFrame*tfconvrnn.MillisecondsPerTimestep),
		},
		Inputs: stimuli.Options{
			Inputs: args, Stdin: cmd.InOrStdin(), Array: e.array, FolderSequences: e.folderSequences, TableRoot: e.tableRoot,
			PathColumn: e.pathColumn, Columns: e.columns, ArrayRange: e.arrayRange, Visible: visible,
			Animate: e.animation == "frames" || e.animation == "" && e.framesPerImage > 0,
			Warn:    func(message string) { c.warn("%s", message) },
			Note:    func(message string) { c.note("%s", message) },
		},
		Orientation: e.orientation, BlankSHA256: blankHash(e.blank), Model: model, ChunkStimuli: e.chunk,
	}
	devices, err := e.gpuFlags.devices(e.device)
	if err != nil {
		return nil, err
	}
	r.Device = tfconvrnn.JoinDevices(devices)
	r.Settle = func(set *stimuli.Summary, recipe *extraction.Recipe) error {
		if err := e.settlePresentation(cmd, p, stimulusKinds{set.Timed, set.Sequences, set.Stills}, c); err != nil {
			return err
		}
		recipe.Presentation = p.presentation
		return nil
	}
	if e.chunk < 0 {
		return nil, usagef("--chunk %d: a chunk has at least 1 stimulus", e.chunk)
	}
	return r, nil
}

// create makes a plan file, and shows that it does.
func (e *extractCommand) create(ctx context.Context, c *console, name string, request *extraction.Request, replace bool) error {
	progress := c.start("planning", unitImages, 0)
	defer progress.end()
	request.Progress = func(n int) { progress.set(int64(n), 0) }
	return unreadableRemedy(extraction.Create(ctx, name, request, replace))
}

// runZarr is the three steps of an extraction in one process.
func (e *extractCommand) runZarr(cmd *cobra.Command, args []string, p *extractPlan, trace *extractTrace, c *console) (err error) {
	ctx := cmd.Context()
	if p.resuming && e.threads == 0 {
		// The last bits depend on it, and this machine may be another.
		if before, err := extraction.Open(ctx, planOf(e.out)); err == nil {
			e.threads = before.Threads
			before.Close()
		}
	}
	loaded := trace.start("load model")
	model, err := loadModel(cmd, c, &e.modelFlags, p.times)
	if err != nil {
		return err
	}
	loaded()
	defer model.Close()
	planned := trace.start("plan and hash stimuli")
	plan, err := e.planZarr(cmd, args, p, model, c)
	if err != nil {
		return err
	}
	planned()
	defer plan.Close()
	noteKept(c, plan.Layers())
	begun := time.Now()
	run := &zarrRun{command: e, plan: plan, console: c, trace: trace}
	finished, err := run.do(ctx, model)
	if errors.Is(err, extraction.ErrNoneReadable) {
		return errors.Join(err, plan.Discard(context.WithoutCancel(ctx)))
	}
	if err != nil {
		run.keep(context.WithoutCancel(ctx), err)
		return err
	}
	if err := plan.Remove(ctx); err != nil {
		return err
	}
	r := layoutReport(p, plan.Layout(), plan.Provenance.Reductions, plan.Size())
	r.Output, r.Untrained, r.Resumed, r.Presentation = e.out, model.Untrained(), run.resumed, plan.Presentation.String()
	for _, f := range finished.Skipped {
		r.Skipped = append(r.Skipped, skippedStimulus(f))
	}
	r.Seconds = time.Since(begun).Seconds()
	r.ImagesPerSec = float64(plan.Stimuli-run.resumed) / r.Seconds
	if e.asJSON {
		return printJSON(cmd.OutOrStdout(), r)
	}
	r.print(cmd.OutOrStdout())
	return nil
}

// planZarr returns the plan of an extraction in one process: a new one, or that of the
// interrupted run, after making sure that it is the same.
func (e *extractCommand) planZarr(cmd *cobra.Command, args []string, p *extractPlan, model *tfconvrnn.Model, c *console) (*extraction.Plan, error) {
	ctx := cmd.Context()
	name := planOf(e.out)
	request, err := e.request(cmd, args, p, model, c)
	if err != nil {
		return nil, err
	}
	if p.resuming {
		return e.resumeZarr(ctx, c, name, request)
	}
	if err := e.create(ctx, c, name, request, e.force); err != nil {
		return nil, err
	}
	plan, err := extraction.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if err = e.begin(ctx, plan, c); err != nil {
		plan.Close()
		return nil, err
	}
	return plan, nil
}

// begin makes what a new plan's workers write into, or removes the plan. Chunks of the
// same plan that are there already stay, those of another only go with --force.
func (e *extractCommand) begin(ctx context.Context, plan *extraction.Plan, c *console) error {
	err := plan.Begin(ctx, e.force)
	var other *extraction.OtherPlanError
	switch {
	case errors.As(err, &other):
		err = fmt.Errorf("%w; go on with it (%s extract work --plan %s), choose another --out, or discard it with --force", err, program, other.Plan)
	case errors.Is(err, fs.ErrExist):
		err = fmt.Errorf("%s: %w; choose another name, or replace it with --force", e.out, features.ErrExists)
	}
	if err != nil {
		return errors.Join(err, plan.Remove(context.WithoutCancel(ctx)))
	}
	for _, name := range plan.Displaced() {
		c.warn("%s was planned as %s before, the workers of which are refused from now on", e.out, name)
	}
	status, err := plan.Status(ctx, false)
	if err == nil && status.Done == 0 && !e.forceSize && !storage.IsRemote(plan.Output) {
		if err = checkSpace(e.out, plan.Size()); err != nil {
			err = errors.Join(err, plan.Discard(context.WithoutCancel(ctx)))
		}
	}
	if err == nil && status.Done > 0 {
		c.note("%s: %d of %s are there already, of a plan of the same content", e.out, status.Done, plural(status.Chunks, "chunk"))
	}
	return err
}

func (e *extractCommand) resumeZarr(ctx context.Context, c *console, name string, request *extraction.Request) (_ *extraction.Plan, err error) {
	before, err := extraction.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("%w; start anew with --force", err)
	}
	defer func() {
		if err != nil {
			before.Close()
		}
	}()
	// The sizes that the command line leaves open are those of the interrupted run, because
	// its chunks cannot be taken over in other batches or chunks.
	if request.BatchSize == 0 {
		request.BatchSize = before.BatchSize
	}
	if request.ChunkStimuli == 0 {
		request.ChunkStimuli = before.ZarrChunkRows
	}
	again := filepath.Join(os.TempDir(), fmt.Sprintf("tfconvrnn-%d-%d.plan", os.Getpid(), rand.Uint64()))
	if err := e.create(ctx, c, again, request, false); err != nil {
		return nil, err
	}
	defer os.Remove(again)
	now, err := extraction.Open(ctx, again)
	if err != nil {
		return nil, err
	}
	defer now.Close()
	if now.Hash() == before.Hash() {
		return before, before.Resume(ctx)
	}
	return e.goOnAs(ctx, c, before, now)
}

// goOnAs goes on with an interrupted run as another plan, of which what is computed is
// the same, and returns that plan. It closes the interrupted one.
func (e *extractCommand) goOnAs(ctx context.Context, c *console, before, now *extraction.Plan) (*extraction.Plan, error) {
	status, err := before.Status(ctx, false)
	if err != nil {
		return nil, err
	}
	chunks, err := now.Adopt(ctx, before, func(message string) { c.warn("%s", message) })
	if err != nil {
		return nil, resumeRemedy(err)
	}
	name := before.Name()
	if err := extraction.CopyPlan(ctx, now.Name(), name); err != nil {
		return nil, err
	}
	plan, err := extraction.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := plan.Resume(ctx); err != nil {
		plan.Close()
		return nil, err
	}
	c.note("%s: the stimuli or --on-error have changed since the interruption; %d of %s that were finished are the same and stay", e.out, chunks, plural(status.Done, "chunk"))
	before.Close()
	return plan, nil
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

// zarrRun works through a plan in one process.
type zarrRun struct {
	command *extractCommand
	plan    *extraction.Plan
	console *console
	trace   *extractTrace

	resumed, done, skipped int
}

// attempts is how often chunks that turn out to be damaged are computed again.
const attempts = 3

func (r *zarrRun) do(ctx context.Context, model *tfconvrnn.Model) (finished *extraction.Finished, err error) {
	p, c := r.plan, r.console
	options := extraction.WorkerOptions{
		Warn: func(message string) { c.warn("%s", message) }, Note: func(message string) { c.note("%s", message) },
	}
	if r.trace.wanted() {
		options.Trace = r.trace.span
	}
	worker, err := p.NewWorker(ctx, model, options)
	if err != nil {
		return nil, err
	}
	defer worker.Close()
	c.debug("plan", "batch_size", p.BatchSize, "chunk_stimuli", p.ChunkStimuli, "chunks", p.Chunks(), "presentation", p.Presentation.String())
	status, err := p.Status(ctx, false)
	if err != nil {
		return nil, err
	}
	r.trace.offset = status.StimuliDone
	r.resumed, r.done = status.StimuliDone, status.StimuliDone
	if r.resumed > 0 {
		c.note("going on after %s", plural(r.resumed, "stimulus"))
	}
	c.note("%s: %s, %s, %s …", r.command.out, plural(p.Stimuli, "stimulus"), plural(len(p.Presentation.Schedule(1)), "timestep"), humanize.Bytes(uint64(p.Size())))
	for attempt := 1; ; attempt++ {
		if err := r.work(ctx, worker); err != nil && !errors.Is(err, extraction.ErrSealed) {
			return nil, err
		}
		finishing := r.trace.start("finish")
		finished, err = p.Finish(ctx, nil, worker)
		finishing()
		var incomplete *extraction.IncompleteError
		if attempt == attempts || !errors.As(err, &incomplete) {
			return finished, err
		}
		c.warn("%s: %s of the store had other bytes than were written; computing them again", r.command.out, plural(len(incomplete.Corrupt), "chunk"))
	}
}

func (r *zarrRun) work(ctx context.Context, worker *extraction.Worker) error {
	missing, err := r.plan.Missing(ctx, 0, r.plan.Chunks())
	if err != nil {
		return err
	}
	progress := r.console.start("extracting", unitImages, int64(r.plan.Stimuli))
	defer progress.end()
	progress.resume(int64(r.done), int64(r.plan.Stimuli))
	return worker.Work(ctx, slices.Values(missing), func(chunk int, record *extraction.ChunkRecord) {
		if record == nil {
			return
		}
		r.done += record.Stimuli
		warnSkipped(r.console, record.Failed, &r.skipped)
		progress.set(int64(r.done), int64(r.plan.Stimuli))
	})
}

// warnSkipped reports stimuli that could not be read, the first of them one by one.
func warnSkipped(c *console, failed []extraction.FailedStimulus, reported *int) {
	for _, f := range failed {
		if *reported++; *reported <= skipMessages {
			c.warn("skipped %s: %s", f.Stimulus, f.Error)
		}
	}
}

// keep leaves what is finished for a resumption, or nothing if nothing is.
func (r *zarrRun) keep(ctx context.Context, why error) {
	status, err := r.plan.Status(ctx, false)
	switch {
	case err == nil && status.Done == 0 && status.Sealed == nil:
		_ = r.plan.Discard(ctx)
	case err == nil:
		r.console.Log().Error(r.command.out + ": " + keptMessage(why))
	}
}

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
		Use:   "plan --plan PLAN --out STORE.zarr --model MODEL [flags] INPUT…",
		Short: "Plan an extraction that several machines compute",
		Long: `Plan an extraction that any number of processes on any number of machines compute:
the plan fixes the stimuli with the hashes of their contents, the model with the hash
of its weights, presentation, preprocessing, reductions, and which stimuli are computed
together. It is computed by "extract work" and sealed by "extract finish"; "extract
status" says how far it is.

The flags are those of "extract". Inputs, the output and weights must be found under the
same absolute paths or URLs on all machines. Both the output and the plan may be in an
object store (s3://bucket/name).`,
		Example: `  ` + program + ` extract plan --plan set.plan --out set.zarr --model ugrnn_intermediate --areas IT stimuli.csv
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
	cmd.Flags().StringVarP(&e.out, "out", "o", "", "Zarr `STORE` to write: a folder, or s3://bucket/name")
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
		return usagef("--out %s: plans are of Zarr stores; call it %s", e.out, strings.TrimSuffix(e.out, filepath.Ext(e.out))+features.Zarr.Suffix())
	}
	e.format = string(features.Zarr)
	p, err := e.plan(cmd)
	if err != nil {
		return err
	}
	if exists, err := extraction.Exists(ctx, e.planFile); err != nil {
		return err
	} else if exists && !e.force {
		return fmt.Errorf("%s: %w; go on with extract work, choose another name, or replace it and what was computed of it with --force", e.planFile, extraction.ErrExists)
	}
	if !storage.IsRemote(e.planFile) {
		if err := checkFolder(filepath.Dir(filepath.Clean(e.planFile))); err != nil {
			return err
		}
	}
	model, err := loadModel(cmd, c, &e.modelFlags, p.times, tfconvrnn.WithoutSession())
	if err != nil {
		return err
	}
	defer model.Close()
	request, err := e.request(cmd, args, p, model, c)
	if err != nil {
		return err
	}
	if err := e.create(ctx, c, e.planFile, request, e.force); err != nil {
		return err
	}
	plan, err := extraction.Open(ctx, e.planFile)
	if err != nil {
		return err
	}
	defer plan.Close()
	if err := e.begin(ctx, plan, c); err != nil {
		return err
	}
	noteKept(c, plan.Layers())
	r := &planReport{
		Plan: e.planFile, Hash: plan.Hash(), Chunks: plan.Chunks(), ChunkStimuli: plan.ChunkStimuli, BatchSize: plan.BatchSize, Threads: plan.Threads,
		extractReport: layoutReport(p, plan.Layout(), plan.Provenance.Reductions, plan.Size()),
	}
	r.Output, r.Untrained, r.DryRun = e.out, model.Untrained(), true
	if e.asJSON {
		return printJSON(cmd.OutOrStdout(), r)
	}
	r.print(cmd.OutOrStdout())
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s of %s, in batches of %d, with %s each\n", e.planFile, plural(r.Chunks, "chunk"), plural(r.ChunkStimuli, "stimulus"), r.BatchSize, plural(r.Threads, "thread"))
	return nil
}

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
	flags.StringVar(&w.weights, "weights", "", "where the `WEIGHTS` are here, if not where the plan says; they must be the same")
	flags.StringVar(&w.store, "store", "", "`DIR` of converted models (default: in the user's cache)")
	flags.StringVar(&w.device, "device", "", "`DEVICE`: other GPUs than the plan names, gpu:<number>, or several that share the batches, gpu:0,gpu:1")
	flags.StringVar(&w.gpuFlags.memory, "gpu-memory", "", "most GPU memory to take, as a `SIZE` such as 8GiB, or \"all\" to reserve all at once (default: as needed)")
	flags.IntVar(&w.threads, "threads", 0, "must be the plan's, which fixes it: the last bits of what TensorFlow computes depend on it (0: the plan's)")
	flags.BoolVar(&w.verify, "verify", false, "check the converted model's checksums before loading it")
	flags.BoolVar(&w.trust, "trust", false, "open a converted model even if this program cannot have made it: its graph may then do what any program may")
	addYes(cmd, &w.yes)
	addQuiet(cmd, &w.quiet)
	addJSON(cmd, &w.asJSON)
	return cmd
}

// indexVariables hold a worker's number, from 0, where a cluster starts many of them.
var indexVariables = []string{"JOB_COMPLETION_INDEX", "SLURM_ARRAY_TASK_ID"}

// parseShard reads I/N. The index may be "auto": that which a cluster gives.
func parseShard(s string) (index, count int, err error) {
	if s == "" {
		return 0, 1, nil
	}
	i, n, ok := strings.Cut(s, "/")
	if i == "auto" && ok {
		given := false
		for _, name := range indexVariables {
			if i, given = os.LookupEnv(name); given {
				break
			}
		}
		if !given {
			return 0, 0, usagef("--shard %s: neither %s is set; a Kubernetes Job with completionMode Indexed or a Slurm array does that", s, strings.Join(indexVariables, " nor "))
		}
		s = i + "/" + n
	}
	index, err1 := strconv.Atoi(i)
	count, err2 := strconv.Atoi(n)
	if !ok || err1 != nil || err2 != nil {
		return 0, 0, usagef("--shard %s: it must be like 0/4, the first of four, or auto/4", s)
	}
	return index, count, nil
}

func (w *extractWork) run(cmd *cobra.Command, _ []string) error {
	ctx := cmd.Context()
	c := commandConsole(cmd, w.quiet)
	index, count, err := parseShard(w.shard)
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
		Warn: func(message string) { c.warn("%s", message) }, Note: func(message string) { c.note("%s", message) },
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
	info, err := savedmodels.Lookup(plan.Model)
	if err != nil {
		return nil, err
	}
	if w.threads != 0 && w.threads != plan.Threads {
		return nil, usagef("--threads %d: the plan fixes %d, since the last bits of what is computed depend on it; plan with --threads %d to compute with as many", w.threads, plan.Threads, w.threads)
	}
	w.model, w.precision, w.convolution, w.gpuFlags.tf32, w.threads = plan.Model, plan.Precision, plan.Convolution, plan.TF32, plan.Threads
	if w.weights == "" {
		w.weights = plan.Weights
	}
	if w.device == "" {
		w.device = plan.Device
	}
	return openModel(cmd, c, &w.modelFlags, plan.Presentation.Times(info)) // the plan has the error of its precision
}

func newExtractStatus() *cobra.Command {
	var name string
	var asJSON, check bool
	cmd := &cobra.Command{
		Use:   "status --plan PLAN [--check]",
		Short: "Say how far a plan is",
		Long: `Say how many chunks of a plan are done and missing, how fast the last 200 were, and how
long the others will take at that rate. The rate is that of the time in which at least one
worker computed one of them: pauses do not count. --check reads all that is there and compares checksums.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan, err := openPlan(cmd.Context(), name)
			if err != nil {
				return err
			}
			defer plan.Close()
			status, err := plan.Status(cmd.Context(), check)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), status)
			}
			printStatus(cmd, status)
			return nil
		},
	}
	addPlan(cmd, &name)
	cmd.Flags().BoolVar(&check, "check", false, "read everything and compare checksums")
	addJSON(cmd, &asJSON)
	return cmd
}

func printStatus(cmd *cobra.Command, s *extraction.Status) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s → %s\n", s.Plan, s.Output)
	if s.Sealed != nil {
		fmt.Fprintf(out, "sealed: %s in %s, manifest %s\n", plural(s.Sealed.Stimuli, "stimulus"), plural(s.Sealed.Chunks, "chunk"), s.Sealed.Manifest)
		return
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
	if s.Corrupt > 0 {
		fmt.Fprintf(out, "extract finish will discard the corrupt chunks; then run extract work again\n")
	}
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
	var asJSON, quiet, wait bool
	cmd := &cobra.Command{
		Use:   "finish --plan PLAN",
		Short: "Verify what was computed of a plan, and seal the store",
		Long: `Read and verify every chunk of a plan, write the stimuli's columns and all metadata, and
seal the store: manifest.sha256 lists the SHA-256 of every file (sha256sum -c reads it),
sealed.json holds that of the list. Only then the store has its name.

Where chunks are missing or damaged nothing is sealed, and the message says what to do.
Finishing twice is harmless.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := commandConsole(cmd, quiet)
			plan, err := openPlan(cmd.Context(), name)
			if err != nil {
				return err
			}
			defer plan.Close()
			if wait {
				if err := waitForChunks(cmd.Context(), c, plan); err != nil {
					return err
				}
			}
			progress := c.start("verifying", unitChunks, int64(plan.Chunks()))
			finished, err := plan.Finish(cmd.Context(), func(n int) { progress.set(int64(n), int64(plan.Chunks())) })
			progress.end()
			if err != nil {
				return err
			}
			r := &finishReport{Plan: name, Output: plan.Output, Seal: finished.Seal, Already: finished.Already, Skipped: finished.Skipped}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), r)
			}
			out := cmd.OutOrStdout()
			word := "sealed"
			if r.Already {
				word = "sealed before"
			}
			fmt.Fprintf(out, "%s: %s: %s in %s, %s, manifest %s\n", r.Output, word, plural(r.Stimuli, "stimulus"), plural(r.Chunks, "chunk"), plural(r.Files, "file"), r.Manifest)
			if finished.SkippedCount > 0 {
				fmt.Fprintf(out, "%s could not be read; see the mask \"valid\"\n", plural(finished.SkippedCount, "stimulus"))
			}
			return nil
		},
	}
	addPlan(cmd, &name)
	cmd.Flags().BoolVar(&wait, "wait", false, "first wait until all chunks are there")
	addQuiet(cmd, &quiet)
	addJSON(cmd, &asJSON)
	return cmd
}

// pollInterval is how often finish --wait looks.
const pollInterval = 10 * time.Second

// waitForChunks returns when workers have written all chunks, or the store is sealed.
func waitForChunks(ctx context.Context, c *console, plan *extraction.Plan) error {
	progress := c.start("waiting for", unitChunks, int64(plan.Chunks()))
	defer progress.end()
	for {
		if _, err := plan.Sealed(ctx); err == nil {
			return nil
		}
		if err := plan.Ready(ctx); err != nil {
			return err
		}
		missing, err := plan.Missing(ctx, 0, plan.Chunks())
		if err != nil || len(missing) == 0 {
			return err
		}
		progress.set(int64(plan.Chunks()-len(missing)), int64(plan.Chunks()))
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
