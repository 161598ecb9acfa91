package tfconvrnn

import (
	"fmt"
	"image"
	"math"
	"path/filepath"
	"strings"

	"github.com/tfconvrnn/go/internal/dimensions"
	"github.com/tfconvrnn/go/internal/images"
)

// ImageSize is the height and width of the images that all models read, in pixels.
const ImageSize = dimensions.ImageSize

const imageValues = ImageSize * ImageSize * 3

// DefaultPreprocessing resizes the shorter side to 256 pixels (bilinear) and
// crops the centre, but takes pictures that are 224×224 already as they are.
// "resize256-crop224:bilinear", the published one, resizes and crops these too.
const DefaultPreprocessing = "resize256-crop224:bilinear+keep224"

// Image is a frame that can be shown to a model: 224×224 RGB. It may be backed by
// a file that is read when it is needed and not kept. Images are immutable.
type Image struct {
	bytes  []uint8   // 0 … 255
	floats []float32 // 0 … 1
	load   func() ([]uint8, error)
}

// A Stimulus is what is shown in one presentation: usually one image, or the
// frames of a sequence.
type Stimulus struct {
	// ID identifies the stimulus in outputs.
	ID string
	// Frames are the images shown, at least one.
	Frames []*Image
}

// Preprocessing says how pictures become 224×224. The zero value is
// DefaultPreprocessing with pixels as they are stored, without alpha.
type Preprocessing struct {
	// Name is a name such as "resize256-crop224:bilinear", "warp224", "crop224",
	// "none" or "degrees(8,10)+resize256-crop224"; what String returns is one too.
	Name string
	// ApplyOrientation turns pictures upright by their EXIF orientation.
	ApplyOrientation bool
	// Alpha says what becomes of pixels that are not opaque: "drop", or the empty
	// string, takes the colours that the file holds there, as Pillow's
	// convert("RGB") does; "composite:COLOUR" puts them on a background, which is
	// black, white, grey or #rrggbb.
	Alpha string `json:",omitempty"`
}

func (p Preprocessing) parse() (images.Preprocessing, error) {
	parsed, err := images.ParsePreprocessing(p.Name)
	if err != nil {
		return parsed, fmt.Errorf("%w: %w", ErrOption, err)
	}
	parsed.Upright = parsed.Upright || p.ApplyOrientation
	before := parsed.Background
	colour, composite := strings.CutPrefix(p.Alpha, "composite:")
	switch {
	case p.Alpha == "":
		return parsed, nil
	case composite:
		if parsed.Background, err = images.ParseColour(colour); err != nil {
			return parsed, fmt.Errorf("%w: alpha %q: %w", ErrOption, p.Alpha, err)
		}
	case p.Alpha == "drop":
		parsed.Background = nil
	default:
		return parsed, fmt.Errorf("%w: alpha %q; use drop or composite:COLOUR", ErrOption, p.Alpha)
	}
	if before != nil && (parsed.Background == nil || *before != *parsed.Background) {
		return parsed, fmt.Errorf("%w: alpha is %q, but the preprocessing is %q", ErrOption, p.Alpha, p.Name)
	}
	return parsed, nil
}

// Canonical returns p with every parameter of its name written out, and what has a
// field of its own moved there from the name. The error wraps ErrOption.
func (p Preprocessing) Canonical() (Preprocessing, error) {
	parsed, err := p.parse()
	if err != nil {
		return p, err
	}
	c := Preprocessing{ApplyOrientation: parsed.Upright}
	if b := parsed.Background; b != nil {
		c.Alpha = fmt.Sprintf("composite:#%02x%02x%02x", b[0], b[1], b[2])
	}
	parsed.Upright, parsed.Background = false, nil
	c.Name = parsed.String()
	return c, nil
}

// String returns the canonical name, with "+upright" where orientations are applied
// and "+composite(#rrggbb)" where pixels are put on a background. Preprocessing{Name:
// p.String()} equals p.
func (p Preprocessing) String() string {
	parsed, err := p.parse()
	if err != nil {
		return p.Name
	}
	return parsed.String()
}

// ReadImages reads picture files, prepared by DefaultPreprocessing:
// one stimulus per file, whose ID is the file's base name.
func ReadImages(paths ...string) ([]Stimulus, error) {
	return ReadImagesAs(Preprocessing{}, paths...)
}

// ReadImagesAs is ReadImages with another preprocessing.
func ReadImagesAs(p Preprocessing, paths ...string) ([]Stimulus, error) {
	stimuli := make([]Stimulus, len(paths))
	for i, path := range paths {
		file, err := FileImage(path, p)
		if err != nil {
			return nil, err
		}
		pixels, err := file.load()
		if err != nil {
			return nil, err
		}
		stimuli[i] = Stimulus{ID: filepath.Base(path), Frames: []*Image{{bytes: pixels}}}
	}
	return stimuli, nil
}

// FileImage returns an image that is read from a picture file each time it is
// shown, so that large sets need no memory. Errors about the file come up then;
// the error here wraps ErrOption.
func FileImage(path string, p Preprocessing) (*Image, error) {
	parsed, err := p.parse()
	if err != nil {
		return nil, err
	}
	return &Image{load: func() ([]uint8, error) {
		picture, err := images.Open(path, parsed.Options())
		if err != nil {
			return nil, err
		}
		pixels, err := parsed.Apply(picture)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return pixels, nil
	}}, nil
}

// LazyImage returns an image whose [224, 224, 3] bytes load returns each time it
// is shown. load may be called from several goroutines.
func LazyImage(load func() ([]uint8, error)) *Image { return &Image{load: load} }

// NewImage converts an image, resized and cropped by p. Errors wrap ErrOption or
// ErrImages.
func NewImage(img image.Image, p Preprocessing) (*Image, error) {
	parsed, err := p.parse()
	if err != nil {
		return nil, err
	}
	if img == nil {
		return nil, fmt.Errorf("%w: the image is nil", ErrImages)
	}
	picture, err := images.FromImage(img, parsed.Options())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrImages, err)
	}
	pixels, err := parsed.Apply(picture)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrImages, err)
	}
	return &Image{bytes: pixels}, nil
}

// FromUint8 makes stimuli of an array [n, 224, 224, 3] of RGB values 0 … 255 in C
// order, which is used as it is and must not change. The error wraps ErrImages.
func FromUint8(pixels []uint8) ([]Stimulus, error) {
	if len(pixels) == 0 || len(pixels)%imageValues != 0 {
		return nil, fmt.Errorf("%w: %d values are not [n, %d, %d, 3]", ErrImages, len(pixels), ImageSize, ImageSize)
	}
	stimuli := make([]Stimulus, len(pixels)/imageValues)
	for i := range stimuli {
		stimuli[i] = Stimulus{ID: fmt.Sprint(i), Frames: []*Image{{bytes: pixels[i*imageValues : (i+1)*imageValues]}}}
	}
	return stimuli, nil
}

// FromFloat32 makes stimuli of an array [n, 224, 224, 3] of RGB values in C order,
// which is copied where it must be scaled and otherwise must not change. Values
// are in [0, 1]; if any is above 1, they are taken to be 0 … 255 and divided by
// 255, as the published code does. Values below 0, above 255 or NaN are errors that
// wrap ErrImages.
func FromFloat32(pixels []float32) ([]Stimulus, error) {
	if len(pixels) == 0 || len(pixels)%imageValues != 0 {
		return nil, fmt.Errorf("%w: %d values are not [n, %d, %d, 3]", ErrImages, len(pixels), ImageSize, ImageSize)
	}
	largest, err := checkRange(pixels)
	if err != nil {
		return nil, err
	}
	if largest > 1 {
		pixels = scaled(pixels)
	}
	stimuli := make([]Stimulus, len(pixels)/imageValues)
	for i := range stimuli {
		stimuli[i] = Stimulus{ID: fmt.Sprint(i), Frames: []*Image{{floats: pixels[i*imageValues : (i+1)*imageValues]}}}
	}
	return stimuli, nil
}

func checkRange(pixels []float32) (largest float32, err error) {
	for i, v := range pixels {
		if !(v >= 0 && v <= 255) {
			image, rest := i/imageValues, i%imageValues
			return 0, fmt.Errorf(
				"%w: image %d has the value %g at row %d, column %d, channel %d; values must be 0 … 1 or 0 … 255",
				ErrImages, image, v, rest/3/ImageSize, rest/3%ImageSize, rest%3)
		}
		largest = max(largest, v)
	}
	return largest, nil
}

func scaled(pixels []float32) []float32 {
	result := make([]float32, len(pixels))
	for i, v := range pixels {
		result[i] = v / 255
	}
	return result
}

// The normalization of the published code, in its float32 arithmetic.
var (
	channelMean      = [3]float32{0.485, 0.456, 0.406}
	channelDeviation = [3]float32{0.229, 0.224, 0.225}
	normalizedByte   = func() (table [3][256]float32) {
		for channel := range table {
			for v := range table[channel] {
				table[channel][v] = normalize(float32(v)/255, channel)
			}
		}
		return table
	}()
)

func normalize(v float32, channel int) float32 {
	return (v - channelMean[channel]) / channelDeviation[channel]
}

// loaded returns the image with its pixels in memory.
func (m *Image) loaded() (*Image, error) {
	if m.load == nil {
		return m, nil
	}
	pixels, err := m.load()
	if err != nil {
		return nil, err
	}
	if len(pixels) != imageValues {
		return nil, fmt.Errorf("%w: %d values are not [%d, %d, 3]", ErrImages, len(pixels), ImageSize, ImageSize)
	}
	return &Image{bytes: pixels}, nil
}

// normalizeInto writes the normalized pixels of a loaded image.
func (m *Image) normalizeInto(dst []float32) {
	dst = dst[:imageValues]
	if m.bytes != nil {
		pixels := m.bytes[:imageValues]
		for i := 0; i < imageValues; i += 3 {
			dst[i] = normalizedByte[0][pixels[i]]
			dst[i+1] = normalizedByte[1][pixels[i+1]]
			dst[i+2] = normalizedByte[2][pixels[i+2]]
		}
		return
	}
	for i, v := range m.floats[:imageValues] {
		dst[i] = normalize(v, i%3)
	}
}

// Blank is what is shown while no image is. The zero value is the published one:
// the constant 0.5 in normalized space, which the models were trained with.
type Blank struct {
	name  string
	rgb   [3]float64
	image *Image
	file  string // hash of the file that ParseBlank read
}

// PublishedBlank is the constant 0.5 in normalized space.
func PublishedBlank() Blank { return Blank{} }

// ColorBlank is a uniform field of an RGB colour with components in [0, 1]. The
// error wraps ErrPresentation.
func ColorBlank(red, green, blue float64) (Blank, error) {
	rgb := [3]float64{red, green, blue}
	for _, v := range rgb {
		if math.IsNaN(v) || v < 0 || v > 1 {
			return Blank{}, fmt.Errorf("%w: the blank's colour %v has components outside 0 … 1", ErrPresentation, rgb)
		}
	}
	return Blank{name: fmt.Sprintf("rgb(%g,%g,%g)", red, green, blue), rgb: rgb}, nil
}

// ImageBlank shows an image; name stands for it in provenance.
func ImageBlank(name string, img *Image) Blank { return Blank{name: name, image: img} }

// String names the blank.
func (b Blank) String() string {
	if b.name == "" {
		return "published"
	}
	return b.name
}

// FileSHA256 is the SHA-256 of the picture's file where ParseBlank read one, or "".
func (b Blank) FileSHA256() string { return b.file }

// normalizeInto writes the normalized blank.
func (b Blank) normalizeInto(dst []float32) error {
	switch {
	case b.image != nil:
		img, err := b.image.loaded()
		if err != nil {
			return fmt.Errorf("blank %s: %w", b.name, err)
		}
		img.normalizeInto(dst)
	case b.name == "":
		for i := range dst[:imageValues] {
			dst[i] = 0.5
		}
	default:
		for i := range dst[:imageValues] {
			dst[i] = normalize(float32(b.rgb[i%3]), i%3)
		}
	}
	return nil
}
