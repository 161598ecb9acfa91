package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/chrometrace"
	"github.com/tfconvrnn/go/internal/reduce"
	"github.com/tfconvrnn/go/internal/storage"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

type extractCommand struct {
	modelFlags
	presentationFlags
	inputFlags
	layers, areas            []string
	allTimes, logits         bool
	reduce                   []string
	dataType                 string
	out, format              string
	force, forceSize, dryRun bool
	resume                   bool
	chunk                    int
	planFile                 string // of extract plan
	onError                  string
	trace                    string
	asJSON                   bool
}

func newExtract() *cobra.Command {
	e := &extractCommand{}
	cmd := &cobra.Command{
		Use:   "extract --model MODEL --out FILE [flags] INPUT…",
		Short: "Write features of images to a file",
		Long: `Write features of images to a file.

` + inputHelp + `

An .npz output holds
  <layer>             float32 [N, timesteps, height, width, channels]; imnetds [N, timesteps, 1000]
  <layer>/timesteps   the timesteps, of 10 ms each
  <layer>/ms          their starts in milliseconds
  <layer>/driven      whether an image can have reached the layer by then
  logits              [N, 1000], with --include-logits
  valid               [N], with --on-error skip: whether the stimulus could be read; a variable of
                      each .mat file, and with .npy a column of stimuli.csv
  stimuli             the names of the N images, and the columns of tables
  provenance          how the features were made, as JSON
The other formats hold the same:
` + features.FormatHelp() + `An --out without a suffix gets .npz, or .zarr above 4 GB.

convN is reported from timestep N on, imnetds from the number of layers, unless
--include-all-times asks for everything from timestep 0. With --presentation
default or neural, --times and --image-off change only what they name.

--reduce makes layers smaller: gap (mean over space), pool(k) (k×k means, each over
its part of the map) or sparse(d,seed) (random projection to d dimensions), for all
layers or, as in conv5=gap, for one. A layer that a reduction for all does not fit,
such as the readout, which has no space, stays as it is; that is said.

An interrupted run goes on with --resume and then ends in the same bytes. It must
be the same command: model, weights, threads, presentation, preprocessing, and the
stimuli that are computed. Those that are not may have been mended, added or
removed since, and --on-error skip may be given.

On several machines: "extract plan" with the same flags, then "extract work" on any
number of them, then "extract finish". The Zarr store is the same, byte for byte.

Coming from run_model.py: its flags work too: --model_name, --out_layers,
--image_pres, --image_off, --times, --ckpt_dir, --gpu (numbers of GPUs),
--include_all_times True, --include_logits True. As there, the default layer is
imnetds.`,
		Example: `  ` + program + ` extract --model ugrnn_intermediate --weights seeded:1 --layers conv9,conv10 --out features.npz pictures/
  ` + program + ` extract --model rgc_intermediate --areas V4,IT --presentation neural --out features.npz images.npy
  ` + program + ` extract --model ugrnn_intermediate --areas IT --on-ms 0 --off-ms 100 --total-ms 260 --blank gray --out it.nc stimuli.csv`,
		Args: cobra.ArbitraryArgs,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: e.run,
	}
	e.register(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&e.out, "out", "o", "", "`FILE` to write: "+features.FormatSuffixes()+", or a Zarr store s3://bucket/name")
	flags.StringVar(&e.format, "format", "", "its `FORMAT`, if the name does not tell it: "+features.FormatNames())
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(strings.Split(features.FormatNames(), ", "), cobra.ShellCompDirectiveNoFileComp))
	flags.BoolVar(&e.resume, "resume", false, "go on with an interrupted run, if there is one")
	flags.BoolVar(&e.dryRun, "dry-run", false, "only print what would be computed and how large the output would be")
	flags.StringVar(&e.trace, "trace", "", "write when each batch was decoded, queued, run and written to `FILE` (JSON), for ui.perfetto.dev or chrome://tracing")
	cmd.AddCommand(newExtractPlan(), newExtractWork(), newExtractStatus(), newExtractFinish())
	return cmd
}

// register adds the flags that say what is computed.
func (e *extractCommand) register(cmd *cobra.Command) {
	e.modelFlags.register(cmd)
	e.presentationFlags.register(cmd)
	e.inputFlags.register(cmd)
	e.inputFlags.registerColumns(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&e.layers, "layers", nil, "comma-separated `LAYERS`, or all (default imnetds)")
	flags.StringArrayVar(&e.areas, "areas", nil, "brain `AREAS` whose best-matching layers to take: V4, pIT, cIT, aIT, IT")
	flags.BoolVar(&e.allTimes, "include-all-times", false, "report all layers from timestep 0")
	flags.BoolVar(&e.logits, "include-logits", false, "add the decoded logits")
	flags.StringArrayVar(&e.reduce, "reduce", nil, "`REDUCTION` of the features: gap, pool(k) or sparse(d,seed), for all layers or as LAYER=REDUCTION; repeat it for several layers")
	flags.StringVar(&e.dataType, "dtype", "float32", "`TYPE` of the features in the output: float32 or float16")
	flags.BoolVar(&e.force, "force", false, "replace an existing output")
	flags.BoolVar(&e.forceSize, "force-size", false, "write even if the disk does not seem to have the room")
	flags.StringVar(&e.onError, "on-error", "fail", "what to do with a stimulus that cannot be read: fail, or skip (its features are NaN, and the output holds a mask; if none can be read, there is no output)")
	flags.IntVar(&e.chunk, "chunk", 0, "`STIMULI` in a chunk of a Zarr output, which is computed and written whole; rounded to whole batches (default: chunks of about 8 MiB)")
	addJSON(cmd, &e.asJSON)
	_ = cmd.RegisterFlagCompletionFunc("layers", e.completeLayers)
	_ = cmd.RegisterFlagCompletionFunc("dtype", cobra.FixedCompletions([]string{"float32", "float16"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("on-error", cobra.FixedCompletions([]string{"fail", "skip"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("areas", cobra.FixedCompletions([]string{"V4", "pIT", "cIT", "aIT", "IT"}, cobra.ShellCompDirectiveNoFileComp))
}

func (e *extractCommand) completeLayers(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names := []string{"all"}
	if model, err := savedmodels.Lookup(e.model); err == nil {
		for _, l := range model.Layers {
			names = append(names, l.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// extractReport is what extract prints.
type extractReport struct {
	Output       string            `json:"output,omitempty"`
	Format       string            `json:"format"`
	Bytes        int64             `json:"bytes"`
	DryRun       bool              `json:"dry_run,omitempty"`
	Model        string            `json:"model"`
	Untrained    bool              `json:"untrained"`
	Presentation string            `json:"presentation"`
	Times        int               `json:"times"`
	Stimuli      int               `json:"stimuli"`
	Arrays       []arrayReport     `json:"arrays"`
	Resumed      int               `json:"resumed,omitempty"` // stimuli of an interrupted run
	Skipped      []skippedStimulus `json:"skipped,omitempty"`
	Noticed      map[string]int    `json:"noticed,omitempty"` // pictures of each kind that may surprise
	Seconds      float64           `json:"seconds,omitempty"`
	ImagesPerSec float64           `json:"images_per_second,omitempty"`
}

type arrayReport struct {
	Name      string `json:"name"`
	DataType  string `json:"data_type"`
	Shape     []int  `json:"shape"`
	Timesteps []int  `json:"timesteps,omitempty"`
	Reduction string `json:"reduction,omitempty"`
}

// skippedStimulus is one that could not be read.
type skippedStimulus struct {
	Row      int    `json:"row"`
	Stimulus string `json:"stimulus"`
	Error    string `json:"error"`
}

// extractPlan is what the command line asks for, checked as far as it can be
// without the model.
type extractPlan struct {
	info          savedmodels.Model
	presentation  tfconvrnn.Presentation
	times         int
	options       []tfconvrnn.ExtractOption
	specification *reduce.Specification
	layers        []string
	dataType      features.DataType
	format        features.Format
	preprocessing tfconvrnn.Preprocessing
	resuming      bool
}

func (e *extractCommand) run(cmd *cobra.Command, args []string) (err error) {
	c := commandConsole(cmd, e.quiet)
	plan, err := e.plan(cmd)
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
	if plan.format == features.Zarr && !e.dryRun {
		return e.runZarr(cmd, args, plan, trace, c)
	}
	stdin, err := e.keepStdin(cmd, args, plan)
	if err != nil {
		return err
	}
	set, err := e.openSet(cmd, args, plan, c)
	if err != nil {
		return err
	}
	defer set.Close()
	if e.onError != "skip" {
		if err := set.CheckHeaders(cmd.Context()); err != nil {
			return unreadableRemedy(err)
		}
	}
	if err := e.extractOptions(cmd, plan, set, c); err != nil {
		return err
	}
	_, outputs, err := tfconvrnn.Outputs(plan.info, plan.options...)
	if err != nil {
		return err
	}
	content := newContent(plan.info, set, slices.Repeat([]string{strings.Repeat("0", 2*sha256.Size)}, set.Len())) // as long as those to come
	content.Logits, content.Mask, content.DataType, content.About.DataType = e.logits, e.onError == "skip", plan.dataType, plan.dataType.String()
	if content.Layers, err = extraction.ReduceLayers(outputs, plan.specification); err != nil {
		return err
	}
	content.About.Reductions = extraction.ReductionNames(content.Layers)
	noteKept(c, content.Layers)
	size, err := e.settleOutput(cmd.Context(), plan, content)
	if err != nil {
		return err
	}
	if e.dryRun {
		return e.printPlan(cmd.OutOrStdout(), plan, content, size)
	}
	if plan.format == features.Zarr { // it turned out to be large
		set.Close()
		if stdin != nil {
			cmd.SetIn(bytes.NewReader(stdin))
		}
		if plan, err = e.plan(cmd); err != nil {
			return err
		}
		return e.runZarr(cmd, args, plan, trace, c)
	}
	hashed := trace.start("hash stimuli")
	hashes, err := set.Hashes(cmd.Context())
	if err != nil {
		return err
	}
	content.Hashes = hashes
	if content.About.StimuliSHA256, err = set.Fingerprint(cmd.Context()); err != nil {
		return err
	}
	hashed()
	if set.Pictures() {
		content.About.ExifOrientation = e.orientation
	}
	content.About.BlankSHA256 = blankHash(e.blank)

	if plan.resuming && e.threads == 0 {
		e.threads = interrupted(e.out).Threads // the last bits depend on it
	}
	loaded := trace.start("load model")
	model, err := loadModel(cmd, c, &e.modelFlags, plan.times)
	if err != nil {
		return err
	}
	loaded()
	defer model.Close()
	c.note("%s: %s, %s, %s …", e.out, plural(set.Len(), "stimulus"), plural(plan.times, "timestep"), humanize.Bytes(uint64(size)))
	begun := time.Now()
	run := &extractRun{command: e, plan: plan, content: content, set: set, hashes: hashes, console: c, trace: trace}
	if err := run.do(cmd.Context(), model); err != nil {
		return err
	}
	r, err := newExtractReport(plan, content, size)
	if err != nil {
		return err
	}
	r.Output, r.Untrained, r.Resumed, r.Skipped, r.Noticed = e.out, model.Untrained(), run.resumed, run.skipped, run.set.Noticed()
	r.Seconds = time.Since(begun).Seconds()
	r.ImagesPerSec = float64(set.Len()-run.resumed) / r.Seconds
	if e.asJSON {
		return printJSON(cmd.OutOrStdout(), r)
	}
	r.print(cmd.OutOrStdout())
	return nil
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
	if p.specification, err = reduce.ParseSpecification(e.reduce); err != nil {
		return nil, err
	}
	switch e.dataType {
	case "float32":
		p.dataType = features.Float32
	case "float16":
		p.dataType = features.Float16
	default:
		return nil, usagef("--dtype is float32 or float16, not %q", e.dataType)
	}
	if e.onError != "fail" && e.onError != "skip" {
		return nil, usagef("--on-error is fail or skip, not %q", e.onError)
	}
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
	if err := p.format.CheckDataType(p.dataType); p.format != "" && err != nil {
		return nil, usagef("%s has no %v; choose another format, or --dtype float32", p.format.Title(), p.dataType)
	}
	p.options = []tfconvrnn.ExtractOption{tfconvrnn.Layers(layers...), tfconvrnn.WithPresentation(p.presentation), tfconvrnn.BatchSize(e.batch)}
	if e.logits {
		p.options = append(p.options, tfconvrnn.Logits())
	}
	check := p.options
	if e.allTimes {
		check = append(slices.Clone(check), tfconvrnn.AllTimesteps())
	}
	if _, _, err := tfconvrnn.Outputs(p.info, check...); err != nil {
		return nil, err
	}
	if _, err := e.loadOptions(p.times); err != nil {
		return nil, err
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
		return fmt.Errorf("%s is complete: %w, and nothing is left to resume; choose another name, or replace it with --force", e.out, features.ErrExists)
	}
	return err
}

// keepStdin reads the list on standard input where it may be needed twice: if it
// turns out that the output is Zarr, the planner goes through the stimuli itself.
func (e *extractCommand) keepStdin(cmd *cobra.Command, args []string, p *extractPlan) ([]byte, error) {
	if p.format != "" || !slices.Contains(args, "-") {
		return nil, nil
	}
	text, err := io.ReadAll(cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	cmd.SetIn(bytes.NewReader(text))
	return text, nil
}

// openSet opens the stimuli.
func (e *extractCommand) openSet(cmd *cobra.Command, args []string, p *extractPlan, c *console) (*stimuli.Set, error) {
	visible, err := e.visible(cmd, p.info, p.preprocessing)
	if err != nil {
		return nil, err
	}
	return openStimuli(cmd.Context(), args, &e.inputFlags, stimulusOptions{
		stdin: cmd.InOrStdin(), preprocessing: p.preprocessing, times: p.times,
		timestepsPerFrame: e.framesPerImage, visible: visible, allowMissing: e.onError == "skip",
	}, c)
}

// extractOptions completes the options by what the stimuli and the format demand.
func (e *extractCommand) extractOptions(cmd *cobra.Command, p *extractPlan, set *stimuli.Set, c *console) (err error) {
	if err := e.settlePresentation(cmd, p, stimulusKinds{set.Timed(), set.Sequences(), set.Stills()}, c); err != nil {
		return err
	}
	if p.format.OneTimeAxis() && !e.allTimes {
		e.allTimes = true
		c.note("%s: all timesteps from 0 are included, as its readers expect", p.format.Title())
	}
	if e.allTimes {
		p.options = append(p.options, tfconvrnn.AllTimesteps())
	}
	if set.Pictures() {
		p.options = append(p.options, tfconvrnn.NotePreprocessing(p.preprocessing))
	}
	return nil
}

// settlePresentation changes the presentation to what the stimuli demand.
func (e *extractCommand) settlePresentation(cmd *cobra.Command, p *extractPlan, kinds stimulusKinds, c *console) error {
	shown, changed, err := e.settle(cmd, p.info, p.preprocessing, kinds, c)
	if err == nil && changed {
		p.presentation = shown
		p.options = append(p.options, tfconvrnn.WithPresentation(shown))
	}
	return err
}

// settleOutput chooses the format if nobody has, and returns the size that the
// output will have, for which it makes sure that there is room.
func (e *extractCommand) settleOutput(ctx context.Context, p *extractPlan, content *extraction.Content) (int64, error) {
	chosen := p.format == ""
	if chosen {
		p.format = features.NPZ
	}
	size, err := contentSize(content, p.format)
	if err != nil {
		return 0, err
	}
	if chosen && size > largeOutput {
		p.format = features.Zarr
		if size, err = contentSize(content, p.format); err != nil {
			return 0, err
		}
	}
	if chosen && e.out != "" {
		e.out += "." + string(p.format)
		if err := e.checkOutput(ctx, p); err != nil {
			return 0, err
		}
	}
	if e.dryRun || e.forceSize || p.resuming {
		return size, nil
	}
	return size, checkSpace(e.out, size)
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

// extractRun computes and writes the features.
type extractRun struct {
	command *extractCommand
	plan    *extractPlan
	content *extraction.Content
	set     *stimuli.Set
	hashes  []string
	console *console
	trace   *extractTrace

	resumed int
	skipped []skippedStimulus
}

// checkpointInterval is how much of the computing a crash costs at most.
const checkpointInterval = 3 * time.Second

// skipMessages is the number of stimuli that cannot be read of which each is
// reported when it is met.
const skipMessages = 20

// do computes and writes the features. After an error what is finished can be
// resumed; if nothing is, nothing is left.
func (r *extractRun) do(ctx context.Context, model *tfconvrnn.Model) error {
	e := r.command
	options := r.plan.options
	if e.batch == 0 && r.plan.resuming {
		options = append(options, tfconvrnn.BatchSize(interrupted(e.out).BatchSize))
	}
	if e.onError == "skip" {
		options = append(options, tfconvrnn.OnError(r.skip))
	}
	if r.trace.wanted() {
		options = append(options, tfconvrnn.Trace(r.trace.span))
	}
	x, err := model.Plan(options...)
	if err != nil {
		return err
	}
	r.console.debug("plan", "batch_size", x.BatchSize(), "timesteps", x.Times(), "presentation", x.Presentation().String())
	r.content.About.Provenance = x.Provenance()
	layout, err := r.content.Layout(r.plan.format)
	if err != nil {
		return err
	}
	identity := extraction.NewIdentity(r.content.About, e.onError, r.set.IDs(), r.hashes)
	writer, err := features.Create(e.out, r.plan.format, layout, features.Options{
		Force: e.force, ForceSize: e.forceSize, Resume: e.resume, CheckpointInterval: checkpointInterval, Identity: identity,
		Accept: func(before json.RawMessage, rows int) (int, []features.Difference, error) {
			return identity.Accept(before, rows, func(message string) { r.console.warn("%s", message) })
		},
		Fill: map[string]float32{"valid": 1}, // a run that did not skip had no faults
	})
	if err != nil {
		return resumeRemedy(err)
	}
	defer writer.Abort() // no effect after Finish and Suspend
	r.resumed = writer.Resumed()
	if r.resumed > 0 {
		r.console.note("going on after %s", plural(r.resumed, "stimulus"))
	}
	written, err := r.stream(ctx, x, writer)
	if len(r.skipped) > 0 && len(r.skipped) == written { // not even worth keeping
		if err == nil {
			err = fmt.Errorf("%s: %w of %d", e.out, extraction.ErrNoneReadable, written)
		}
		written = 0
	}
	if err == nil {
		finished := r.trace.start("finish")
		err = writer.Finish(ctx)
		finished()
	}
	if err != nil && written > 0 {
		if suspendErr := writer.Suspend(); suspendErr == nil {
			r.console.Log().Error(e.out + ": " + keptMessage(err))
		}
	}
	return err
}

// stream runs the extraction from the batch on in which the first stimulus lies
// that is not written: the same batches give the same bits.
func (r *extractRun) stream(ctx context.Context, x *tfconvrnn.Extraction, writer features.Writer) (written int, err error) {
	count := r.set.Len()
	if written = r.resumed; written == count {
		return written, nil
	}
	first := r.resumed / x.BatchSize() * x.BatchSize()
	r.trace.offset = first
	sink, err := newFeatureWriter(writer, r.content, first)
	if err != nil {
		return written, err
	}
	progress := r.console.start("extracting", unitImages, int64(count))
	defer progress.end()
	progress.resume(int64(first), int64(count))
	err = x.Stream(ctx, r.set.From(first), func(b *tfconvrnn.Batch) error {
		r.note(b, first)
		if err := sink.write(b); err != nil {
			return err
		}
		written = max(written, first+b.First+len(b.Stimuli))
		progress.set(int64(written), int64(count))
		return nil
	})
	return written, err
}

// skip lets a stimulus pass that cannot be read.
func (r *extractRun) skip(_ int, _ tfconvrnn.Stimulus, err error) error {
	if errors.Is(err, stimuli.ErrNoFFmpeg) || errors.Is(err, stimuli.ErrChanged) || errors.Is(err, context.Canceled) {
		return err // not a fault of the stimulus
	}
	return nil
}

// note reports the stimuli of a batch that were skipped.
func (r *extractRun) note(b *tfconvrnn.Batch, first int) {
	for i, err := range b.Failed {
		row := first + b.First + i
		if err == nil || row < r.resumed {
			continue
		}
		r.skipped = append(r.skipped, skippedStimulus{row, b.Stimuli[i].ID, describe(err)})
		if len(r.skipped) <= skipMessages {
			r.console.warn("skipped %s: %s", b.Stimuli[i].ID, describe(err))
		}
	}
}

// interrupted returns the batch size and the number of threads of an interrupted run, or
// zeros.
func interrupted(out string) (before struct {
	BatchSize int `json:"batch_size"`
	Threads   int `json:"threads"`
}) {
	if text, err := features.ReadIdentity(out); err == nil {
		_ = json.Unmarshal(text, &before) // what is wrong with it comes up when it is compared
	}
	before.BatchSize, before.Threads = max(before.BatchSize, 0), max(before.Threads, 0)
	return before
}

// unreadableRemedy adds to an error about a stimulus, found before anything is computed,
// what to do.
func unreadableRemedy(err error) error {
	if stimuli.IsStimulusFault(err) && exitCode(context.Background(), err) == exitInput {
		return fmt.Errorf("%w; mend or remove it, or add --on-error skip", err)
	}
	return err
}

// keptMessage says what to do after an error that leaves something to go on with.
func keptMessage(err error) string {
	if stimuli.IsStimulusFault(err) && exitCode(context.Background(), err) == exitInput {
		return "what is finished is kept; mend or remove the stimulus, or add --on-error skip, and go on with --resume"
	}
	return "what is finished is kept; go on with --resume"
}

func (e *extractCommand) printPlan(out io.Writer, plan *extractPlan, content *extraction.Content, size int64) error {
	weights, err := savedmodels.ParseWeights(e.weights)
	if err != nil {
		return err
	}
	r, err := newExtractReport(plan, content, size)
	if err != nil {
		return err
	}
	r.Output, r.DryRun, r.Untrained = e.out, true, weights.Seeded
	if e.asJSON {
		return printJSON(out, r)
	}
	r.print(out)
	return nil
}

// noteKept says which layers a reduction for all leaves as they are.
func noteKept(c *console, layers []extraction.LayerReduction) {
	for _, l := range layers {
		if l.Kept != nil {
			c.note("%s is not reduced: %v", l.Name, l.Kept)
		}
	}
}

func newExtractReport(plan *extractPlan, content *extraction.Content, size int64) (*extractReport, error) {
	layout, err := content.Layout(plan.format)
	if err != nil {
		return nil, err
	}
	return layoutReport(plan, layout, content.About.Reductions, size), nil
}

func layoutReport(plan *extractPlan, layout *features.Layout, reductions map[string]string, size int64) *extractReport {
	r := &extractReport{
		Format: string(plan.format), Bytes: size, Model: plan.info.Name, Presentation: plan.presentation.String(), Times: plan.times, Stimuli: layout.Rows,
	}
	for _, s := range layout.Streamed {
		a := arrayReport{Name: s.Name, DataType: s.DataType.String(), Shape: append([]int{layout.Rows}, s.RowShape...), Reduction: reductions[s.Name]}
		if s.Layer != nil {
			a.Timesteps = s.Layer.Timesteps
		}
		r.Arrays = append(r.Arrays, a)
	}
	return r
}

func (r *extractReport) print(out io.Writer) {
	name, about := r.Output, ""
	if name == "" {
		name = "output"
	}
	if r.DryRun {
		about = "about "
	}
	fmt.Fprintf(out, "%s: %s of %s, %s%s (%s)\n", name, plural(r.Stimuli, "stimulus"), r.Model, about, humanize.Bytes(uint64(r.Bytes)), r.Format)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, a := range r.Arrays {
		notes := ""
		if len(a.Timesteps) > 0 {
			notes = fmt.Sprintf("timesteps %d…%d", a.Timesteps[0], a.Timesteps[len(a.Timesteps)-1])
		}
		for _, note := range []string{a.Reduction, strings.Replace(a.DataType, "float32", "", 1)} {
			if note != "" {
				notes = strings.TrimPrefix(notes+", "+note, ", ")
			}
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", a.Name, shapeText(a.Shape), notes)
	}
	table.Flush()
	fmt.Fprintf(out, "presentation %s\n", r.Presentation)
	if r.Untrained {
		fmt.Fprintln(out, "untrained weights")
	}
	if len(r.Skipped) > 0 {
		fmt.Fprintf(out, "%s could not be read; see the mask \"valid\"\n", plural(len(r.Skipped), "stimulus"))
	}
	if r.Resumed > 0 {
		fmt.Fprintf(out, "%s from before the interruption\n", plural(r.Resumed, "stimulus"))
	}
	if !r.DryRun {
		fmt.Fprintf(out, "%.1f s, %.2f images/s\n", r.Seconds, r.ImagesPerSec)
	}
}
