package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/savedmodels"
)

type extractCommand struct {
	modelFlags
	presentationFlags
	inputFlags
	layers, areas            []string
	allTimes, logits         bool
	reduce, selected         []string
	dataType                 features.DataType
	out, format              string
	force, forceSize, dryRun bool
	resume                   bool
	chunk                    int
	planFile                 string // of extract plan
	windows                  []string
	keepFeatures             bool
	onError                  extraction.OnError
	trace                    string
	compares                 bool            // for a comparison, which has no --resume
	discards                 bool            // and goes on without a file where the disk is full
	into                     features.Writer // instead of a file
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
` + features.FormatHelp() + `  .grams a folder of the features' Gram matrices, for "compare", which needs no more
An --out without a suffix gets .npz, or .zarr above 4 GB.

convN is reported from timestep N on, imnetds from the number of layers, unless
--include-all-times asks for everything from timestep 0. With --presentation
default or neural, --times and --image-off change only what they name.

--reduce makes layers smaller: gap (mean over space), pool(k) (k×k means, each over
its part of the map), sparse(d,seed) (random projection to d dimensions) or pca(FILE)
(principal components, which the command pca fits; pca(FILE,100) takes the first 100),
for all layers or, as in conv5=gap, for one. A layer that a reduction for all does not fit,
such as the readout, which has no space, stays as it is; that is said.

--select takes only some units of a layer: conv8=center (row height/2, column width/2,
rounded down), conv8=(3,4), conv8=channels(0,7,16-31), or conv8=center+channels(7); rows,
columns and channels count from 0, and channels of the readout are its classes. Nothing
else is copied or written, and what is taken equals, to the last bit, that of the whole
layer. The output says which units they are. --reduce then reduces these.

An interrupted run goes on with --resume and then ends in the same bytes. It must
be the same command: model, weights, threads, presentation, preprocessing, and the
stimuli that are computed. Those that are not may have been mended, added or
removed since, and --on-error skip may be given.

On several machines: "extract plan" with the same flags, then "extract work" on any
number of them, then "extract finish". The Zarr store, or the folder of Gram matrices, is
the same, byte for byte.

Coming from run_model.py: its flags work too: --model_name, --out_layers,
--image_pres, --image_off, --times, --ckpt_dir, --gpu (numbers of GPUs),
--include_all_times True, --include_logits True. As there, the default layer is
imnetds.`,
		Example: `  ` + program +
			` extract --model ugrnn_intermediate --weights seeded:1 --layers conv9,conv10 --out features.npz pictures/
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
	flags.StringVarP(&e.out, "out", "o", "", "`FILE` to write: "+features.FormatSuffixes()+
		", a folder "+extraction.GramSuffix+", or a Zarr store s3://bucket/name")
	flags.StringVar(&e.format, "format", "", "its `FORMAT`, if the name does not tell it: "+features.FormatNames())
	complete(cmd, "format", strings.Split(features.FormatNames(), ", ")...)
	flags.BoolVar(&e.resume, "resume", false, "go on with an interrupted run, if there is one")
	flags.BoolVar(&e.dryRun, "dry-run", false, "only print what would be computed and how large the output would be")
	flags.StringVar(&e.trace, "trace",
		"", "write when each batch was decoded, queued, run and written to `FILE` (JSON), for ui.perfetto.dev or chrome://tracing")
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
	flags.StringArrayVar(&e.selected, "select",
		nil, "`UNITS` of a layer to take, as LAYER=UNITS: center, (row,column) or channels(0,3,8-15), or a position and channels joined by +; repeat it for several layers")
	flags.StringArrayVar(&e.reduce, "reduce",
		nil, "`REDUCTION` of the features: gap, pool(k) or sparse(d,seed), for all layers or as LAYER=REDUCTION; repeat it for several layers")
	addParsed(cmd, &e.dataType, "dtype", features.Float32, extraction.ParseDataType,
		"`TYPE` of the features in the output: float32 or float16", "float32", "float16")
	flags.BoolVar(&e.force, "force", false, "replace an existing output")
	flags.BoolVar(&e.forceSize, "force-size", false, "write even if the disk does not seem to have the room")
	addParsed(cmd, &e.onError, "on-error", extraction.Fail, extraction.ParseOnError,
		"what to do with a stimulus that cannot be read: fail, or skip (its features are NaN, and the output holds a mask; if none can be read, there is no output)",
		"fail", "skip")
	flags.IntVar(&e.chunk, "chunk",
		0, "`STIMULI` in a chunk of a Zarr output, which is computed and written whole; rounded to whole batches (default: chunks of about 8 MiB)")
	addWindows(cmd, &e.windows)
	flags.Lookup("window").Usage = "of Gram matrices: " + flags.Lookup("window").Usage
	flags.BoolVar(&e.keepFeatures, "keep-features", false,
		"of Gram matrices: leave the Zarr store of the features beside them, under their name with .zarr")
	addJSON(cmd, &e.asJSON)
	_ = cmd.RegisterFlagCompletionFunc("layers", e.completeLayers)
	complete(cmd, "areas", "V4", "pIT", "cIT", "aIT", "IT")
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
