// Package stimuli finds stimuli wherever experimenters keep them and hands them
// over one by one, so that a set of any size needs little memory.
//
//	options := stimuli.Options{Inputs: []string{"pictures/", "more.csv"}}
//	records, summary, err := stimuli.Find(ctx, options)
//	...
//	reader, err := stimuli.NewReader(ctx, options, summary.Arrays)
//	defer reader.Close()
//	err = model.Stream(ctx, reader.Stimuli(slices.Values(records)), sink)
//
// A Record says where a stimulus comes from, in a form that can be written down and read on
// another machine. A Scanner passes records on as it finds them, and hashes their contents; a
// Reader makes stimuli of them, and refuses content that has another hash.
//
// An input is
//
//   - a picture, or an animated GIF;
//   - a video, read through ffmpeg;
//   - a folder, with all pictures and videos below it in the order of their
//     paths: the folder that a picture lies in becomes the column "class";
//   - a pattern such as "pictures/*/*.png", or "pictures/**/*.{png,jpg}" for any
//     depth: the column "class" holds the folder below the pattern's fixed part;
//   - a table, .csv or .tsv, with a column "path" or "stimulus_path" (relative to
//     the table) and optionally "stimulus_id"; its other columns are carried
//     along. It may be as Excel writes it: UTF-16, Windows-1252, semicolons. With a column "timestep" rows of equal stimulus_id are the frames of
//     one sequence, each shown from its timestep to that of the next;
//   - a list, .txt, of paths of pictures, one a line, relative to the list;
//   - an array, .npy, .npz or .h5, of shape [N, height, width, 3], or [N, T, height,
//     width, 3] for N sequences of T frames: uint8, or, of 224×224 only, floating
//     point 0 … 1 or 0 … 255;
//   - "-", a list of such inputs on standard input, one a line.
//
// Every stimulus has an id. Ids that a table gives must differ. Others are made
// of the file's name (its path within a folder, "name[i]" for arrays); where two
// are equal they are made different by more of their paths, and by "#2" and so
// on where one file is named twice.
package stimuli
