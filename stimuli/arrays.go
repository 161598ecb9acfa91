package stimuli

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/tfconvrnn"
)

const imageValues = tfconvrnn.ImageSize * tfconvrnn.ImageSize * 3

// arraySource is the array that rows come from.
type arraySource struct {
	file  string
	name  string // in an .npz
	array pixels
	bytes bool
	// scale: the values are 0 … 255 and not integers.
	scale bool
	sums  []string // hashes of the rows of floating-point arrays
}

// size returns the height and width of the array's pictures.
func (a *arraySource) size() (height, width int) {
	shape := a.array.Info().Shape
	return shape[len(shape)-3], shape[len(shape)-2]
}

// pictures says whether the pictures have to be made 224×224 first.
func (a *arraySource) pictures() bool {
	height, width := a.size()
	return height != tfconvrnn.ImageSize || width != tfconvrnn.ImageSize
}

// arrayRow is one stimulus of an array.
type arrayRow struct {
	*arraySource
	row int
	// expected is the hash that the row must have, "" for any.
	expected string
}

// array adds the stimuli of an array, whose rows are read when they are shown.
func (f *finder) array(ctx context.Context, name string) (input Input, err error) {
	s := f.session
	if err := checkFetched(name); err != nil {
		return input, err
	}
	file, err := openArrays(name)
	if err != nil {
		return input, err
	}
	s.closers = append(s.closers, file.Close)
	wanted := s.options.Array
	if wanted == "" || !hasSuffix(name, hdf5Suffixes) {
		if names := file.Names(); !slices.Contains(names, wanted) && len(names) == 1 {
			wanted = names[0]
		}
	}
	array, err := file.pixels(wanted)
	if err != nil {
		if wanted == "" {
			err = &OptionError{Option: "Array", Err: err}
		}
		return input, err
	}
	info := array.Info()
	rank := len(info.Shape)
	if remedy := shapeRemedy(info.Shape); remedy != "" {
		return input, fmt.Errorf("%s: %w: the array has shape %v; it must be [N, height, width, 3], "+
			"or [N, T, height, width, 3] for sequences of T frames; %s",
			name, features.ErrRank, info.Shape, pythonRemedy(name, wanted, remedy))
	}
	if info.Shape[0] == 0 || info.RowElements() == 0 {
		return input, fmt.Errorf("%s: %w: the array holds no images", name, tfconvrnn.ErrImages)
	}
	source := &arraySource{file: name, name: wanted, array: array}
	input.Kind = info.DataType.String() + " array"
	if err := source.checkType(info); err != nil {
		return input, err
	}
	if source.pictures() {
		if height, width := source.size(); height > images.MaxSide || width > images.MaxSide ||
			height*width > images.MaxPixels {
			return input, fmt.Errorf("%s: %w: pictures of %d×%d pixels", name, images.ErrTooLarge, width, height)
		}
		s.pictures = true
	}
	if !source.bytes {
		if input.Range, input.Clamped, err = source.scan(ctx, s); err != nil {
			return input, err
		}
	}
	s.sequences = s.sequences || rank == 5
	ids, err := s.arrayIDs(file, name, info.Shape[0])
	if err != nil {
		return input, err
	}
	for i := range info.Shape[0] {
		place := fmt.Sprintf("%s[%d]", public(name), i)
		stimulus := found{id: fmt.Sprintf("%s[%d]", baseName(name), i), shown: place, where: name,
			source: &arrayRow{arraySource: source, row: i}}
		if ids != nil {
			stimulus.id, stimulus.fixed, stimulus.where = ids[i], true, place
		}
		if err := f.add(stimulus); err != nil {
			return input, err
		}
	}
	return input, nil
}

// arrayIDs reads the ids of an array's stimuli, nil where none are asked for.
func (s *session) arrayIDs(file arrayFile, name string, rows int) ([]string, error) {
	if s.options.ArrayIDs == "" {
		return nil, nil
	}
	ids, err := file.ids(s.options.ArrayIDs)
	if err != nil {
		return nil, err
	}
	if len(ids) != rows {
		return nil, fmt.Errorf("%s: %w: %d ids in %s for %d stimuli", name, features.ErrRank, len(ids), s.options.ArrayIDs,
			rows)
	}
	for i, id := range ids {
		if id == "" {
			return nil, inputf("%s[%d]: the id in %s is empty", name, i, s.options.ArrayIDs)
		}
	}
	return ids, nil
}

func hashValues(values []float32) string {
	hash := sha256.New()
	_ = binary.Write(hash, binary.LittleEndian, values)
	return hex.EncodeToString(hash.Sum(nil))
}

// stimulus reads the row at once, not when it is shown, since rows are read
// fastest in order.
func (a *arrayRow) stimulus(s *session) (tfconvrnn.Stimulus, error) {
	stimulus, err := a.frames(s)
	if err != nil {
		err = inputf("%s, image %d: %w", a.file, a.row, err)
	}
	return stimulus, err
}

func (a *arrayRow) frames(s *session) (stimulus tfconvrnn.Stimulus, err error) {
	var list []tfconvrnn.Stimulus
	if a.bytes {
		pixels, err := a.array.Uint8s(a.row, 1)
		if err != nil {
			return stimulus, err
		}
		if sum := sha256.Sum256(pixels); a.expected != "" && hex.EncodeToString(sum[:]) != a.expected {
			return stimulus, ErrChanged
		}
		if a.pictures() {
			return a.prepared(s, pixels)
		}
		list, err = tfconvrnn.FromUint8(pixels[:min(len(pixels), s.options.MaxFrames*imageValues)])
		if err != nil {
			return stimulus, err
		}
	} else {
		values, err := a.array.Float32s(a.row, 1)
		if err != nil {
			return stimulus, err
		}
		if a.expected != "" && hashValues(values) != a.expected {
			return stimulus, ErrChanged
		}
		values = values[:min(len(values), s.options.MaxFrames*imageValues)]
		if a.scale {
			for i := range values {
				values[i] /= 255
			}
		}
		for i, v := range values { // the scan has counted what is beyond
			values[i] = min(max(v, 0), 1)
		}
		if list, err = tfconvrnn.FromFloat32(values); err != nil {
			return stimulus, err
		}
	}
	for _, frame := range list {
		stimulus.Frames = append(stimulus.Frames, frame.Frames...)
	}
	return stimulus, nil
}

// prepared makes images of pictures of another size, as of those in files.
func (a *arrayRow) prepared(s *session, pixels []uint8) (stimulus tfconvrnn.Stimulus, err error) {
	height, width := a.size()
	values := 3 * height * width
	var f frames
	var before []uint8
	for i := 0; i < min(len(pixels)/values, s.options.MaxFrames); i++ {
		picture := &images.Picture{Width: width, Height: height, Pix: pixels[i*values : (i+1)*values], Orientation: 1}
		prepared, err := s.prepare(a.origin(), picture)
		if err != nil {
			return stimulus, err
		}
		f.add(prepared, before)
		before = prepared
	}
	return tfconvrnn.Stimulus{Frames: f.images}, nil
}

func (a *arrayRow) origin() string { return fmt.Sprintf("%s[%d]", a.file, a.row) }

func (a *arrayRow) hash(ctx context.Context, _ *session) (string, error) {
	if a.sums != nil {
		return a.sums[a.row], nil
	}
	if err := context.Cause(ctx); err != nil {
		return "", err
	}
	pixels, err := a.array.Uint8s(a.row, 1)
	if err != nil {
		return "", inputf("%s, image %d: %w", a.file, a.row, err)
	}
	sum := sha256.Sum256(pixels)
	return hex.EncodeToString(sum[:]), nil
}
