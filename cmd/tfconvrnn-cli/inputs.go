package main

import (
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// inputFlags say how inputs become stimuli.
type inputFlags struct {
	preprocess, orientation string
	array, arrayIDs         string
	alpha                   string
	arrayRange              string
	animation               string
	folderSequences         bool
	tableRoot, pathColumn   string
	columns                 []string // nil for all
}

func (f *inputFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.registerPictures(cmd)
	flags.StringVar(&f.array, "array",
		"", "`NAME` of the array in .npz inputs that hold several, or path of the dataset in .h5")
	flags.StringVar(&f.arrayIDs, "array-ids",
		"", "`NAME` of the array in .npz and .h5 inputs that holds the stimuli's ids")
	addChoice(cmd, &f.arrayRange, "array-range", stimuli.RangeAuto,
		"what floating-point arrays hold: 0-1, 0-255 or auto, which decides by the largest value",
		stimuli.Range1, stimuli.Range255, stimuli.RangeAuto)
	addChoice(cmd, &f.animation, "animation",
		"", "what an animated GIF is: first (its first frame) or frames (a sequence); frames if --frames-per-image is given, else first",
		"first", "frames")
	flags.BoolVar(&f.folderSequences, "folder-sequences", false,
		"each folder of pictures is one stimulus, the sequence of its pictures")
	flags.StringVar(&f.tableRoot, "table-root", "",
		"`DIR` that tables may name files in, besides the folder they lie in; / for any")
	flags.StringVar(&f.pathColumn, "path-column", "",
		"`NAME` of the column of tables that holds paths (default: stimulus_path, path, or, beside stimulus_id, filename)")
}

// registerColumns is for commands whose outputs hold the columns of tables.
func (f *inputFlags) registerColumns(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.columns, "columns", nil,
		"comma-separated `COLUMNS` of tables that come along into the output, \"\" for none (default: all)")
}

// registerPictures adds the flags that say how pictures are read and prepared.
func (f *inputFlags) registerPictures(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.preprocess, "preprocess",
		"", "how pictures become 224×224 (also --resize), as a `NAME`: resize256-crop224, torchvision256-crop224, warp224, crop224, none; "+
			"\":bicubic\" and the like choose a filter; \"degrees(8,10)+…\" places 8° stimuli on a field of 10°; "+
			"\"…+keep224\" takes pictures of 224×224 as they are (default \"resize256-crop224+keep224\")")
	addChoice(cmd, &f.orientation, "exif-orientation", "stored",
		"apply turns photographs upright by their EXIF orientation, stored leaves the pixels as they are", "apply", "stored")
	flags.StringVar(&f.alpha, "alpha",
		"drop", "what becomes of pixels that are not opaque: drop takes the colours that the file holds there, composite:`COLOUR` puts them on black, white, grey or #rrggbb")
	complete(cmd, "preprocess", "resize256-crop224+keep224", "resize256-crop224", "torchvision256-crop224", "warp224",
		"crop224", "none")
	complete(cmd, "alpha", "drop", "composite:black", "composite:white", "composite:grey")
}

func (f *inputFlags) preprocessing() (tfconvrnn.Preprocessing, error) {
	return tfconvrnn.Preprocessing{Name: f.preprocess, ApplyOrientation: f.orientation == "apply",
		Alpha: f.alpha}.Canonical()
}

// options returns what the inputs that a command line names are. Sequences says that animations
// are taken for such if no flag says what they are.
func (f *inputFlags) options(cmd *cobra.Command, args []string, p tfconvrnn.Preprocessing, sequences bool, c *console) (
	stimuli.Options, error) {
	if len(args) == 0 {
		return stimuli.Options{},
			usagef("no input; name pictures, folders of pictures, tables of them (.csv), videos, or .npy, .npz or .h5 arrays of shape [N, 224, 224, 3]")
	}
	return stimuli.Options{
		Inputs: args, Stdin: cmd.InOrStdin(), Preprocessing: p, Array: f.array, ArrayIDs: f.arrayIDs,
		ArrayRange: f.arrayRange,
		Animate:    f.animation == "frames" || f.animation == "" && sequences, FolderSequences: f.folderSequences,
		TableRoot: f.tableRoot, PathColumn: f.pathColumn, Columns: f.columns,
		Warn: c.warnNotice, Note: c.noteNotice,
	}, nil
}
