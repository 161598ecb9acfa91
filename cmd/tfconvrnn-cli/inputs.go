package main

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/arrayfiles"
	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// inputFlags say how inputs become stimuli.
type inputFlags struct {
	preprocess, orientation, array string
}

func (f *inputFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.preprocess, "preprocess", "", "how pictures become 224×224 (also --resize), as a `NAME`: resize256-crop224 (the default), torchvision256-crop224, warp224, crop224, none; "+
		"\":bicubic\" and the like choose a filter; \"degrees(8,10)+…\" places 8° stimuli on a field of 10°")
	flags.StringVar(&f.orientation, "exif-orientation", "stored", "apply turns photographs upright by their EXIF orientation, stored leaves the pixels as they are")
	flags.StringVar(&f.array, "array", "", "`NAME` of the array in .npz inputs that hold several")
	_ = cmd.RegisterFlagCompletionFunc("preprocess", cobra.FixedCompletions(
		[]string{"resize256-crop224", "torchvision256-crop224", "warp224", "crop224", "none"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("exif-orientation", cobra.FixedCompletions([]string{"apply", "stored"}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *inputFlags) preprocessing() (tfconvrnn.Preprocessing, error) {
	if f.orientation != "apply" && f.orientation != "stored" {
		return tfconvrnn.Preprocessing{}, usagef("--exif-orientation is apply or stored, not %q", f.orientation)
	}
	return tfconvrnn.Preprocessing{Name: f.preprocess, ApplyOrientation: f.orientation == "apply"}.Canonical()
}

// pictureSuffixes are those of the files taken from folders.
var pictureSuffixes = []string{".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"}

// inputSummary describes an input in provenance: without its directory, which
// says nothing to others.
type inputSummary struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"` // "picture", "folder" or the array's type
	Stimuli int    `json:"stimuli"`
}

// stimulusSet is the stimuli of all inputs. Nothing but names and headers is
// read until they are shown. The caller closes it.
type stimulusSet struct {
	inputs   []inputSummary
	ids      []string
	pictures bool // whether any input is a picture
	parts    []stimulusPart
	closers  []func() error
}

// stimulusPart yields the stimuli of some inputs; ids are those in the set.
type stimulusPart struct {
	count int
	read  func(i int, id string) tfconvrnn.Stimulus
}

// count is the number of stimuli.
func (s *stimulusSet) count() int { return len(s.ids) }

// name names the set.
func (s *stimulusSet) name() string {
	if len(s.inputs) == 1 {
		return s.inputs[0].Name
	}
	return fmt.Sprintf("%s and %d more", s.inputs[0].Name, len(s.inputs)-1)
}

// all yields the stimuli in order.
func (s *stimulusSet) all() iter.Seq[tfconvrnn.Stimulus] {
	return func(yield func(tfconvrnn.Stimulus) bool) {
		n := 0
		for _, part := range s.parts {
			for i := range part.count {
				if !yield(part.read(i, s.ids[n])) {
					return
				}
				n++
			}
		}
	}
}

// Close closes the arrays' files.
func (s *stimulusSet) Close() error {
	var err error
	for _, closeFile := range s.closers {
		err = errors.Join(err, closeFile())
	}
	s.closers = nil
	return err
}

// openStimuli finds the stimuli of the inputs that a command line names.
func openStimuli(args []string, f *inputFlags, p tfconvrnn.Preprocessing, c *console) (_ *stimulusSet, err error) {
	if len(args) == 0 {
		return nil, usagef("no input; name pictures, folders of pictures, or .npy or .npz arrays of shape [N, 224, 224, 3]")
	}
	s := &stimulusSet{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	preprocessing, err := images.ParsePreprocessing(p.Name)
	if err != nil {
		return nil, err
	}
	reader := &pictureReader{preprocessing: preprocessing, apply: p.ApplyOrientation, console: c}
	var origins []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, inputError{err}
		}
		suffix := strings.ToLower(filepath.Ext(arg))
		switch {
		case info.IsDir():
			paths, err := findPictures(arg)
			if err != nil {
				return nil, inputError{err}
			}
			if len(paths) == 0 {
				return nil, inputf("%s: no pictures in this folder (%s)", arg, strings.Join(pictureSuffixes, " "))
			}
			s.inputs = append(s.inputs, inputSummary{baseName(arg), "folder", len(paths)})
			for _, file := range paths {
				s.ids = append(s.ids, file)
				origins = append(origins, filepath.Join(arg, file))
			}
			s.pictures = true
			s.parts = append(s.parts, stimulusPart{len(paths), func(i int, id string) tfconvrnn.Stimulus {
				return reader.stimulus(id, filepath.Join(arg, filepath.FromSlash(paths[i])))
			}})
		case suffix == ".npy" || suffix == ".npz":
			part, kind, err := s.openArray(arg, f.array)
			if err != nil {
				return nil, inputError{err}
			}
			s.inputs = append(s.inputs, inputSummary{baseName(arg), kind, part.count})
			for i := range part.count {
				s.ids = append(s.ids, fmt.Sprintf("%s[%d]", baseName(arg), i))
				origins = append(origins, fmt.Sprintf("%s[%d]", arg, i))
			}
			s.parts = append(s.parts, part)
		default:
			s.inputs = append(s.inputs, inputSummary{baseName(arg), "picture", 1})
			s.ids = append(s.ids, baseName(arg))
			origins = append(origins, arg)
			s.pictures = true
			s.parts = append(s.parts, stimulusPart{1, func(_ int, id string) tfconvrnn.Stimulus { return reader.stimulus(id, arg) }})
		}
	}
	distinguish(s.ids, origins)
	return s, nil
}

func baseName(name string) string {
	if absolute, err := filepath.Abs(name); err == nil {
		name = absolute
	}
	return filepath.Base(name)
}

// findPictures returns the pictures in a folder and those below it, sorted, as
// relative paths with slashes. Hidden files are left out.
func findPictures(folder string) ([]string, error) {
	var found []string
	// A folder may be a link to one, which WalkDir would not follow.
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w", folder, err)
		}
		if name != "." && strings.HasPrefix(entry.Name(), ".") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.IsDir() && slices.Contains(pictureSuffixes, strings.ToLower(path.Ext(name))) {
			found = append(found, name)
		}
		return nil
	})
	slices.Sort(found)
	return found, err
}

// distinguish makes equal IDs different: by more of the path that they come from,
// and where one thing is shown several times by a number.
func distinguish(ids, origins []string) {
	paths := make([]string, len(origins))
	for i, origin := range origins {
		if absolute, err := filepath.Abs(origin); err == nil {
			origin = absolute
		}
		paths[i] = filepath.ToSlash(filepath.Clean(origin))
	}
	for longer := true; longer; {
		longer = false
		for _, group := range groupEqual(ids) {
			if !slices.ContainsFunc(group, func(i int) bool { return paths[i] != paths[group[0]] }) {
				continue
			}
			for _, i := range group {
				components := strings.Split(strings.TrimPrefix(paths[i], "/"), "/")
				if used := strings.Count(ids[i], "/") + 1; used < len(components) {
					ids[i] = strings.Join(components[len(components)-used-1:], "/")
					longer = true
				}
			}
		}
	}
	for id, group := range groupEqual(ids) {
		for n, i := range group[1:] {
			ids[i] = fmt.Sprintf("%s#%d", id, n+2)
		}
	}
}

// groupEqual returns the positions of each string.
func groupEqual(list []string) map[string][]int {
	groups := map[string][]int{}
	for i, s := range list {
		groups[s] = append(groups[s], i)
	}
	return groups
}

// pictureReader reads picture files and warns, once, of orientations that are not
// applied.
type pictureReader struct {
	preprocessing images.Preprocessing
	apply         bool
	console       *console
	warned        sync.Once
}

func (r *pictureReader) stimulus(id, file string) tfconvrnn.Stimulus {
	return tfconvrnn.Stimulus{ID: id, Frames: []*tfconvrnn.Image{tfconvrnn.LazyImage(func() ([]uint8, error) {
		picture, err := images.Open(file, images.Options{ApplyOrientation: r.apply})
		if err != nil {
			return nil, inputError{err}
		}
		if picture.Orientation > 1 {
			r.warned.Do(func() {
				r.console.warn("%s has an EXIF orientation (%d) that is not applied, and perhaps others have; --exif-orientation apply turns them upright", file, picture.Orientation)
			})
		}
		pixels, err := r.preprocessing.Apply(picture)
		if err != nil {
			return nil, inputf("%s: %w", file, err)
		}
		return pixels, nil
	})}}
}

// imageShape is the shape of an array's rows.
var imageShape = []int{tfconvrnn.ImageSize, tfconvrnn.ImageSize, 3}

// openArray opens an array of images, whose rows are read when they are shown.
func (s *stimulusSet) openArray(file, name string) (stimulusPart, string, error) {
	f, err := arrayfiles.Open(file)
	if err != nil {
		return stimulusPart{}, "", err
	}
	s.closers = append(s.closers, f.Close)
	if !slices.Contains(f.Names(), name) && len(f.Names()) == 1 {
		name = f.Names()[0]
	}
	array, err := f.Array(name)
	if err != nil {
		if name == "" {
			err = fmt.Errorf("%w; choose one with --array", err)
		}
		return stimulusPart{}, "", err
	}
	info := array.Info()
	if len(info.Shape) != 4 || !slices.Equal(info.Shape[1:], imageShape) {
		return stimulusPart{}, "", fmt.Errorf("%s: %w: the array has shape %v; it must be [N, %d, %d, 3]",
			file, arrayfiles.ErrRank, info.Shape, tfconvrnn.ImageSize, tfconvrnn.ImageSize)
	}
	if info.Shape[0] == 0 {
		return stimulusPart{}, "", fmt.Errorf("%s: %w: the array holds no images", file, tfconvrnn.ErrImages)
	}
	switch info.DataType {
	case arrayfiles.Uint8:
		return stimulusPart{info.Shape[0], func(i int, id string) tfconvrnn.Stimulus {
			// Read here, not when it is shown, since rows are read fastest in order.
			pixels, err := array.Uint8s(i, 1)
			if err != nil {
				err = inputf("%s, image %d: %w", file, i, err)
			}
			return tfconvrnn.Stimulus{ID: id, Frames: []*tfconvrnn.Image{tfconvrnn.LazyImage(func() ([]uint8, error) { return pixels, err })}}
		}}, "uint8 array", nil
	case arrayfiles.Float16, arrayfiles.Float32, arrayfiles.Float64:
		largest, err := checkValues(array, file)
		if err != nil {
			return stimulusPart{}, "", err
		}
		return stimulusPart{info.Shape[0], func(i int, id string) tfconvrnn.Stimulus {
			stimulus, err := floatStimulus(array, i, largest > 1)
			if err != nil {
				err = inputf("%s, image %d: %w", file, i, err)
				return tfconvrnn.Stimulus{ID: id, Frames: []*tfconvrnn.Image{tfconvrnn.LazyImage(func() ([]uint8, error) { return nil, err })}}
			}
			stimulus.ID = id
			return stimulus
		}}, info.DataType.String() + " array", nil
	}
	return stimulusPart{}, "", fmt.Errorf("%s: %w: the array holds %s; images are uint8 (0 … 255) or float32 (0 … 1 or 0 … 255)",
		file, arrayfiles.ErrDataType, typeName(info))
}

func typeName(info arrayfiles.Info) string {
	if info.DataType == arrayfiles.InvalidType {
		return info.Descr
	}
	return info.DataType.String()
}

// checkValues returns the largest value of an array. Whether values are 0 … 1 or
// 0 … 255 is decided for the whole array, as the published code does, so all of it
// is read before the first image is shown.
func checkValues(array *arrayfiles.Array, file string) (float32, error) {
	var largest float32
	for i := range array.Info().Shape[0] {
		values, err := array.Float32s(i, 1)
		if err != nil {
			return 0, err
		}
		for j, v := range values {
			if !(v >= 0 && v <= 255) {
				return 0, fmt.Errorf("%s: %w: image %d has the value %g at row %d, column %d, channel %d; values must be 0 … 1 or 0 … 255",
					file, tfconvrnn.ErrImages, i, v, j/3/tfconvrnn.ImageSize, j/3%tfconvrnn.ImageSize, j%3)
			}
			largest = max(largest, v)
		}
	}
	return largest, nil
}

func floatStimulus(array *arrayfiles.Array, i int, scale bool) (tfconvrnn.Stimulus, error) {
	values, err := array.Float32s(i, 1)
	if err != nil {
		return tfconvrnn.Stimulus{}, err
	}
	if scale {
		for j := range values {
			values[j] /= 255
		}
	}
	stimuli, err := tfconvrnn.FromFloat32(values)
	if err != nil {
		return tfconvrnn.Stimulus{}, err
	}
	return stimuli[0], nil
}
