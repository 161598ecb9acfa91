package stimuli

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Ranges of the values of floating-point arrays.
const (
	RangeAuto = "auto" // decide by the largest value
	Range1    = "0-1"
	Range255  = "0-255"
)

const (
	// overshoot is how far values may lie beyond a range that nobody has stated, as a part
	// of it: what float16 and interpolation add.
	overshoot = 0.01
	// overshoot255 is the same for 0 … 255: about half a level.
	overshoot255 = 0.002
	// least255 is the largest value from which on nobody can have meant 0 … 1.
	least255 = 8
)

// checkType finds out whether pixels of an array's type can be used.
func (a *arraySource) checkType(info features.Info) error {
	remedy := "a[…]"
	held, condition := info.DataType.String(), ""
	switch info.DataType {
	case features.Uint8:
		a.bytes = true
		return nil
	case features.Float16, features.Float32, features.Float64:
		if !a.pictures() {
			return nil
		}
		return fmt.Errorf("%s: %w: pictures that are not %d×%d are resized, which is done in uint8, and the array holds %s; if it is 0 … 1, %s",
			a.file, features.ErrDataType, tfconvrnn.ImageSize, tfconvrnn.ImageSize, held,
			pythonRemedy(a.file, a.name, `(a * 255).round().astype("uint8")`))
	case features.Bool:
		remedy = `a.astype("uint8") * 255`
	case features.Uint16:
		remedy = `(a / 65535).astype("float32")`
	case features.Int8, features.Int16, features.Int32, features.Int64, features.Uint32, features.Uint64:
		remedy = `a.astype("uint8")`
		condition = "if it is 0 … 255, "
	case features.InvalidType:
		held = info.Descr
	}
	return fmt.Errorf("%s: %w: the array holds %s; images are uint8 (0 … 255) or floating-point (0 … 1 or 0 … 255); %s%s",
		a.file, features.ErrDataType, held, condition, pythonRemedy(a.file, a.name, remedy))
}

// shapeRemedy says how an array of this shape becomes one of pictures; "" if it is.
func shapeRemedy(shape []int) string {
	rank := len(shape)
	at := func(i int) int { return shape[(i+rank)%rank] }
	switch {
	case (rank == 4 || rank == 5) && at(-1) == 3:
		return ""
	case rank == 3 && at(-1) == 3:
		return "a[None]"
	case rank == 3:
		return "np.repeat(a[..., None], 3, axis=-1)"
	case (rank == 4 || rank == 5) && at(-1) == 4:
		return "a[..., :3]"
	case (rank == 4 || rank == 5) && at(-1) == 1:
		return "np.repeat(a, 3, axis=-1)"
	case (rank == 4 || rank == 5) && at(-3) == 3:
		return "np.moveaxis(a, -3, -1)"
	case rank == 5 && at(1) == 3:
		return "np.moveaxis(a, 1, -1)"
	case (rank == 4 || rank == 5) && at(-3) == 1:
		return "np.repeat(np.moveaxis(a, -3, -1), 3, axis=-1)"
	case rank == 2 && at(-1) == imageValues:
		return fmt.Sprintf("a.reshape(-1, %d, %d, 3)", tfconvrnn.ImageSize, tfconvrnn.ImageSize)
	}
	return "a[…]"
}

// pythonRemedy is a command that saves a changed array.
func pythonRemedy(file, name, expression string) string {
	file = filepath.Base(file)
	if strings.Contains(expression, "…") || strings.ContainsAny(file+name, "\"'\\") {
		return "convert it with NumPy"
	}
	load, modules := fmt.Sprintf("np.load(%q)", file), "numpy as np"
	if name != "" {
		load += fmt.Sprintf("[%q]", name)
	}
	if hasSuffix(file, hdf5Suffixes) {
		load, modules = fmt.Sprintf("h5py.File(%q)[%q][:]", file, name), "h5py, numpy as np"
	}
	return fmt.Sprintf("python3 -c 'import %s; a = %s; np.save(%q, %s)'", modules, load,
		strings.TrimSuffix(file, filepath.Ext(file))+"-images.npy", expression)
}

// extreme is the smallest or largest value, and where it is.
type extreme struct {
	value      float32
	row, index int
}

func (e extreme) String() string {
	pixel := e.index % imageValues
	return fmt.Sprintf("image %d has the value %g at row %d, column %d, channel %d",
		e.row, e.value, pixel/3/tfconvrnn.ImageSize, pixel/3%tfconvrnn.ImageSize, pixel%3)
}

// scan decides whether the values are 0 … 1 or 0 … 255, for the whole array as the
// published code does, so all of it is read before the first image is shown; the rows'
// hashes come with it. It says what was decided and how many values lie beyond, which
// are clamped.
func (a *arraySource) scan(ctx context.Context, s *session) (name string, clamped int, err error) {
	least, most := extreme{value: math.MaxFloat32}, extreme{value: -math.MaxFloat32}
	below, above1, above255 := 0, 0, 0
	for row := range a.array.Info().Shape[0] {
		if err := context.Cause(ctx); err != nil {
			return "", 0, err
		}
		values, err := a.array.Float32s(row, 1)
		if err != nil {
			return "", 0, err
		}
		for i, v := range values {
			if v != v || math.IsInf(float64(v), 0) {
				return "", 0, fmt.Errorf("%s: %w: %v; images have none", a.file, tfconvrnn.ErrImages, extreme{v, row, i})
			}
			if v < least.value {
				least = extreme{v, row, i}
			}
			if v > most.value {
				most = extreme{v, row, i}
			}
			if v < 0 {
				below++
			} else if v > 1 {
				above1++
				if v > 255 {
					above255++
				}
			}
		}
		a.sums = append(a.sums, hashValues(values))
	}
	if a.scale, err = a.decide(s.options.ArrayRange, least, most); err != nil {
		return "", 0, fmt.Errorf("%s: %w: %w", a.file, tfconvrnn.ErrImages, err)
	}
	name, clamped = Range1, below+above1
	if a.scale {
		name, clamped = Range255, below+above255
	}
	if s.options.ArrayRange != name {
		s.note("%s: the values, %g … %g, are taken as %s", a.file, least.value, most.value, name)
	}
	if clamped > 0 {
		s.warn("%s: %d values, of %g … %g, lie outside of %s and are clamped", a.file, clamped, least.value, most.value, name)
	}
	return name, clamped, nil
}

// decide says whether values are 0 … 255, by what was stated or by themselves.
func (a *arraySource) decide(stated string, least, most extreme) (scale bool, err error) {
	const what = "values must be 0 … 1 or 0 … 255"
	allowed := float32(overshoot)
	switch {
	case stated == Range1 || stated == Range255:
		scale, allowed = stated == Range255, 1
	case least.value < -overshoot && most.value < least255:
		return false, fmt.Errorf("%v; %s; if they are normalized already, undo that (a * std + mean), since the models do it",
			least, what)
	case most.value > 1+overshoot && most.value < least255:
		return false, mend("ArrayRange", "", "%v, the largest; %s, and this may be either", most, what)
	default:
		if scale = most.value >= least255; scale {
			allowed = overshoot255
		}
	}
	full := float32(1)
	if scale {
		full = 255
	}
	switch {
	case least.value < -allowed*full:
		return scale, fmt.Errorf("%v; %s", least, what)
	case most.value > full+allowed*full:
		return scale, fmt.Errorf("%v; %s", most, what)
	}
	return scale, nil
}
