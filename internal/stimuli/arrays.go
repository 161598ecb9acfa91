package stimuli

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"runtime"
	"slices"

	"github.com/tfconvrnn/go/internal/arrayfiles"
	"github.com/tfconvrnn/go/tfconvrnn"
)

func parallel() int { return runtime.GOMAXPROCS(0) }

const imageValues = tfconvrnn.ImageSize * tfconvrnn.ImageSize * 3

// arraySource is the array that rows come from.
type arraySource struct {
	file  string
	name  string // in an .npz
	array *arrayfiles.Array
	bytes bool
	// scale: the values are 0 … 255 and not integers.
	scale bool
	sums  []string // hashes of the rows of floating-point arrays
}

// arrayRow is one stimulus of an array.
type arrayRow struct {
	*arraySource
	row int
	// expected is the hash that the row must have, "" for any.
	expected string
}

// array adds the stimuli of an array, whose rows are read when they are shown.
func (f *finder) array(ctx context.Context, name string) (kind string, err error) {
	s := f.set
	file, err := arrayfiles.Open(name)
	if err != nil {
		return "", err
	}
	s.closers = append(s.closers, file.Close)
	wanted := s.options.Array
	if !slices.Contains(file.Names(), wanted) && len(file.Names()) == 1 {
		wanted = file.Names()[0]
	}
	array, err := file.Array(wanted)
	if err != nil {
		if wanted == "" {
			err = fmt.Errorf("%w; choose one with --array", err)
		}
		return "", err
	}
	info := array.Info()
	rank := len(info.Shape)
	if rank != 4 && rank != 5 || !slices.Equal(info.Shape[rank-3:], imageShape) {
		return "", fmt.Errorf("%s: %w: the array has shape %v; it must be [N, %d, %d, 3], or [N, T, %d, %d, 3] for sequences of T frames",
			name, arrayfiles.ErrRank, info.Shape, tfconvrnn.ImageSize, tfconvrnn.ImageSize, tfconvrnn.ImageSize, tfconvrnn.ImageSize)
	}
	if info.Shape[0] == 0 || info.RowElements() == 0 {
		return "", fmt.Errorf("%s: %w: the array holds no images", name, tfconvrnn.ErrImages)
	}
	source := &arraySource{file: name, name: wanted, array: array}
	switch info.DataType {
	case arrayfiles.Uint8:
		source.bytes = true
	case arrayfiles.Float16, arrayfiles.Float32, arrayfiles.Float64:
		if err := source.scan(ctx); err != nil {
			return "", err
		}
	default:
		held := info.DataType.String()
		if info.DataType == arrayfiles.InvalidType {
			held = info.Descr
		}
		return "", fmt.Errorf("%s: %w: the array holds %s; images are uint8 (0 … 255) or floating-point (0 … 1 or 0 … 255)",
			name, arrayfiles.ErrDataType, held)
	}
	s.sequences = s.sequences || rank == 5
	for i := range info.Shape[0] {
		err := f.add(found{
			id: fmt.Sprintf("%s[%d]", baseName(name), i), shown: fmt.Sprintf("%s[%d]", public(name), i), where: name, source: &arrayRow{arraySource: source, row: i},
		})
		if err != nil {
			return "", err
		}
	}
	return info.DataType.String() + " array", nil
}

// scan checks the range of all values. Whether they are 0 … 1 or 0 … 255 is
// decided for the whole array, as the published code does, so all of it is read
// before the first image is shown; the rows' hashes come with it.
func (a *arraySource) scan(ctx context.Context) error {
	for row := range a.array.Info().Shape[0] {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		values, err := a.array.Float32s(row, 1)
		if err != nil {
			return err
		}
		for i, v := range values {
			if !(v >= 0 && v <= 255) {
				pixel := i % imageValues
				return fmt.Errorf("%s: %w: image %d has the value %g at row %d, column %d, channel %d; values must be 0 … 1 or 0 … 255",
					a.file, tfconvrnn.ErrImages, row, v, pixel/3/tfconvrnn.ImageSize, pixel/3%tfconvrnn.ImageSize, pixel%3)
			}
			a.scale = a.scale || v > 1
		}
		a.sums = append(a.sums, hashValues(values))
	}
	return nil
}

func hashValues(values []float32) string {
	hash := sha256.New()
	_ = binary.Write(hash, binary.LittleEndian, values)
	return hex.EncodeToString(hash.Sum(nil))
}

// stimulus reads the row at once, not when it is shown, since rows are read
// fastest in order.
func (a *arrayRow) stimulus(s *Set) (tfconvrnn.Stimulus, error) {
	stimulus, err := a.frames(s)
	if err != nil {
		err = inputf("%s, image %d: %w", a.file, a.row, err)
	}
	return stimulus, err
}

func (a *arrayRow) frames(s *Set) (stimulus tfconvrnn.Stimulus, err error) {
	var list []tfconvrnn.Stimulus
	if a.bytes {
		pixels, err := a.array.Uint8s(a.row, 1)
		if err != nil {
			return stimulus, err
		}
		if sum := sha256.Sum256(pixels); a.expected != "" && hex.EncodeToString(sum[:]) != a.expected {
			return stimulus, ErrChanged
		}
		list, err = tfconvrnn.FromUint8(a.visible(s, pixels))
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
		if list, err = tfconvrnn.FromFloat32(values); err != nil {
			return stimulus, err
		}
	}
	for _, frame := range list {
		stimulus.Frames = append(stimulus.Frames, frame.Frames...)
	}
	return stimulus, nil
}

// visible cuts off the frames that no presentation shows.
func (a *arrayRow) visible(s *Set, pixels []uint8) []uint8 {
	return pixels[:min(len(pixels), s.options.MaxFrames*imageValues)]
}

func (a *arrayRow) origin() string { return fmt.Sprintf("%s[%d]", a.file, a.row) }

func (a *arrayRow) hash(ctx context.Context, _ *Set) (string, error) {
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
