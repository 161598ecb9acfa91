package images

import (
	"fmt"
	"image"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/internal/dimensions"
)

// Size is the width and height of the models' input, in pixels.
const Size = dimensions.ImageSize

// Gray is the channel value of the field around a stimulus that is placed by
// visual degrees: Pillow's colour "gray", which Brain-Score uses.
const Gray = 128

// maxShorter bounds resizing: more than a model could see of any picture.
const maxShorter = MaxSide

// Fit says how a picture becomes 224×224.
type Fit int

const (
	// ResizeCrop resizes the shorter side and crops the centre. The longer side
	// is rounded to the nearest pixel.
	ResizeCrop Fit = iota
	// ResizeCropTruncated is ResizeCrop as torchvision's Resize does it: the
	// longer side is rounded down, so that it may be a pixel shorter.
	ResizeCropTruncated
	// Warp resizes both sides to 224, whatever the aspect ratio.
	Warp
	// Crop crops the centre of the picture as it is.
	Crop
	// AsIs takes only pictures that are 224×224 already.
	AsIs
)

// Preprocessing says how a picture becomes a model's input. The zero value
// equals DefaultPreprocessing.
type Preprocessing struct {
	// StimulusDegrees and FieldDegrees, if not 0, are the visual angles that the
	// picture spans and that the model's input is to span. The picture is first
	// put into the middle of a grey field, or cropped, by their ratio.
	StimulusDegrees, FieldDegrees float64
	// Fit is what comes after.
	Fit Fit
	// Shorter is the length in pixels that the shorter side is resized to;
	// 0 stands for 256. It is for ResizeCrop and ResizeCropTruncated.
	Shorter int
	// Filter is used where Fit resizes.
	Filter Filter
	// Always says that ResizeCrop and ResizeCropTruncated also resize and crop
	// pictures that are 224×224 already; otherwise these are taken as they are.
	Always bool
	// Upright turns pictures by their EXIF orientation, and Background, if not nil,
	// is composited with what is not opaque; see Options. They concern reading, not
	// Apply, and are here so that the name says all that decides the pixels.
	Upright    bool
	Background *[3]uint8
}

// Options returns how pictures are read before p is applied.
func (p Preprocessing) Options() Options {
	return Options{ApplyOrientation: p.Upright, Background: p.Background}
}

// DefaultPreprocessing resizes the shorter side to 256 (bilinear) and crops the centre,
// except of pictures that are 224×224 already: its name is
// "resize256-crop224:bilinear+keep224".
func DefaultPreprocessing() Preprocessing { return Preprocessing{Shorter: 256} }

var (
	resizePattern  = regexp.MustCompile(`^(resize|torchvision)([0-9]{1,6})-crop224$`)
	degreesPattern = regexp.MustCompile(`^degrees\(([^,()]+),([^,()]+)\)$`)
)

// ParsePreprocessing reads a name such as
//
//	resize256-crop224                  shorter side to 256, centre crop; bilinear
//	torchvision256-crop224             the same, longer side rounded down
//	resize256-crop224:bicubic          with another filter
//	resize256-crop224+keep224          pictures of 224×224 are taken as they are
//	warp224                            both sides to 224
//	crop224                            centre crop only
//	none                               pictures are 224×224 already
//	degrees(8,10)+resize256-crop224    a stimulus of 8° on a field of 10° first
//	warp224+upright                    turned by the EXIF orientation first
//	warp224+composite(#ffffff)         what is not opaque on a background first
//
// The empty name is the default. Filters are nearest, box, bilinear, hamming,
// bicubic and lanczos. The error wraps ErrPreprocessing.
func ParsePreprocessing(name string) (Preprocessing, error) {
	p := DefaultPreprocessing()
	rest := strings.Join(strings.Fields(name), "")
	if rest == "" {
		return p, nil
	}
	p.Always = true
	parts := strings.Split(rest, "+")
	if strings.HasPrefix(parts[0], "degrees") {
		if err := p.parseDegrees(name, parts[0]); err != nil {
			return p, err
		}
		parts = parts[1:]
	}
	if len(parts) > 0 && !isModifier(parts[0]) {
		if err := p.parseFit(name, parts[0]); err != nil {
			return p, err
		}
		parts = parts[1:]
	}
	seen := map[string]bool{}
	for _, part := range parts {
		kind, _, _ := strings.Cut(part, "(")
		if seen[kind] {
			return p, fmt.Errorf("%w %q: %s twice", ErrPreprocessing, name, kind)
		}
		seen[kind] = true
		if err := p.parseModifier(name, part); err != nil {
			return p, err
		}
	}
	return p, p.Validate()
}

const (
	keepModifier      = "keep224"
	uprightModifier   = "upright"
	compositeModifier = "composite("
)

func isModifier(part string) bool {
	return part == keepModifier || part == uprightModifier || strings.HasPrefix(part, compositeModifier)
}

// parseModifier reads what stands after the fit.
func (p *Preprocessing) parseModifier(name, part string) error {
	colour, composite := strings.CutPrefix(part, compositeModifier)
	colour, closed := strings.CutSuffix(colour, ")")
	switch {
	case part == keepModifier:
		p.Always = false
	case part == uprightModifier:
		p.Upright = true
	case composite && closed:
		background, err := ParseColour(colour)
		if err != nil {
			return fmt.Errorf("%w %q: %w", ErrPreprocessing, name, err)
		}
		p.Background = background
	case strings.HasPrefix(part, "degrees"):
		return fmt.Errorf("%w %q: degrees(STIMULUS,FIELD) comes first", ErrPreprocessing, name)
	default:
		return fmt.Errorf("%w %q: %q after the first part should be keep224, upright or composite(COLOUR)", ErrPreprocessing,
			name, part)
	}
	return nil
}

// ParseColour reads black, white, gray, grey or #rrggbb.
func ParseColour(name string) (*[3]uint8, error) {
	switch strings.ToLower(name) {
	case "black":
		return &[3]uint8{}, nil
	case "white":
		return &[3]uint8{255, 255, 255}, nil
	case "gray", "grey":
		return &[3]uint8{Gray, Gray, Gray}, nil
	}
	if digits, found := strings.CutPrefix(name, "#"); found && len(digits) == 6 {
		if v, err := strconv.ParseUint(digits, 16, 24); err == nil {
			return &[3]uint8{uint8(v >> 16), uint8(v >> 8), uint8(v)}, nil
		}
	}
	return nil, fmt.Errorf("%q is no colour; use black, white, grey or #rrggbb", name)
}

func (p *Preprocessing) parseDegrees(name, placement string) error {
	match := degreesPattern.FindStringSubmatch(placement)
	if match == nil {
		return fmt.Errorf("%w %q: %q should be degrees(STIMULUS,FIELD), such as degrees(8,10)", ErrPreprocessing, name,
			placement)
	}
	var err1, err2 error
	p.StimulusDegrees, err1 = strconv.ParseFloat(match[1], 64)
	p.FieldDegrees, err2 = strconv.ParseFloat(match[2], 64)
	if err1 != nil || err2 != nil {
		return fmt.Errorf("%w %q: degrees have to be numbers", ErrPreprocessing, name)
	}
	return p.validateDegrees()
}

func (p *Preprocessing) parseFit(name, part string) (err error) {
	fit, filter, found := strings.Cut(part, ":")
	if found {
		if p.Filter, err = ParseFilter(filter); err != nil {
			return err
		}
	}
	resize := resizePattern.FindStringSubmatch(fit)
	if resize == nil {
		p.Shorter, p.Always = 0, false
	}
	switch {
	case resize != nil:
		if resize[1] == "torchvision" {
			p.Fit = ResizeCropTruncated
		}
		p.Shorter, _ = strconv.Atoi(resize[2])
		if p.Shorter == 0 {
			p.Shorter = -1 // not the default, but an error
		}
	case fit == "warp224":
		p.Fit = Warp
	case (fit == "crop224" || fit == "none") && found:
		return fmt.Errorf("%w %q: %s does not resize, so it takes no filter", ErrPreprocessing, name, fit)
	case fit == "crop224":
		p.Fit = Crop
	case fit == "none":
		p.Fit = AsIs
	default:
		return fmt.Errorf("%w %q; use resize256-crop224, torchvision256-crop224, warp224, crop224 or none, "+
			"with a filter as in warp224:bicubic and a placement as in degrees(8,10)+warp224", ErrPreprocessing, name)
	}
	return nil
}

// Validate returns an error that wraps ErrPreprocessing if p makes no sense.
func (p Preprocessing) Validate() error {
	if p.Filter < 0 || int(p.Filter) >= len(filterNames) {
		return fmt.Errorf("%w: unknown filter %d", ErrPreprocessing, int(p.Filter))
	}
	if p.Fit < ResizeCrop || p.Fit > AsIs {
		return fmt.Errorf("%w: unknown fit %d", ErrPreprocessing, int(p.Fit))
	}
	if s := p.shorter(); p.resizes() && (s < Size || s > maxShorter) {
		return fmt.Errorf("%w: resizing the shorter side to %d; a crop of %d needs %d to %d", ErrPreprocessing, max(s, 0),
			Size, Size, maxShorter)
	}
	if p.StimulusDegrees == 0 && p.FieldDegrees == 0 {
		return nil
	}
	return p.validateDegrees()
}

func (p Preprocessing) validateDegrees() error {
	for _, degrees := range []float64{p.StimulusDegrees, p.FieldDegrees} {
		if !(degrees > 0 && degrees <= 360) {
			return fmt.Errorf("%w: %v visual degrees; they are above 0 and up to 360", ErrPreprocessing, degrees)
		}
	}
	return nil
}

func (p Preprocessing) resizes() bool { return p.Fit == ResizeCrop || p.Fit == ResizeCropTruncated }

func (p Preprocessing) shorter() int {
	if p.Shorter == 0 {
		return 256
	}
	return p.Shorter
}

// Exempts tells whether a picture has 224×224 pixels and goes through a fit that takes
// such pictures as they are unless Always is set. Users should be told of it either
// way.
func (p Preprocessing) Exempts(width, height int) (exempt, resized bool) {
	fits := p.resizes() && width == Size && height == Size && p.StimulusDegrees == p.FieldDegrees
	return fits && !p.Always, fits && p.Always
}

// String is the canonical name, with every parameter written out. Equal names
// mean equal pixels. ParsePreprocessing reads it back.
func (p Preprocessing) String() string {
	var b strings.Builder
	if p.StimulusDegrees != 0 || p.FieldDegrees != 0 {
		fmt.Fprintf(&b, "degrees(%s,%s)+",
			strconv.FormatFloat(p.StimulusDegrees, 'g', -1, 64), strconv.FormatFloat(p.FieldDegrees, 'g', -1, 64))
	}
	switch p.Fit {
	case ResizeCropTruncated:
		fmt.Fprintf(&b, "torchvision%d-crop%d:%v", p.shorter(), Size, p.Filter)
	case ResizeCrop:
		fmt.Fprintf(&b, "resize%d-crop%d:%v", p.shorter(), Size, p.Filter)
	case Warp:
		fmt.Fprintf(&b, "warp%d:%v", Size, p.Filter)
	case Crop:
		fmt.Fprintf(&b, "crop%d", Size)
	case AsIs:
		b.WriteString("none")
	default:
		fmt.Fprintf(&b, "Fit(%d)", int(p.Fit))
	}
	if p.resizes() && !p.Always {
		b.WriteString("+" + keepModifier)
	}
	if p.Upright {
		b.WriteString("+" + uprightModifier)
	}
	if c := p.Background; c != nil {
		fmt.Fprintf(&b, "+%s#%02x%02x%02x)", compositeModifier, c[0], c[1], c[2])
	}
	return b.String()
}

// MarshalText is String, for provenance records.
func (p Preprocessing) MarshalText() ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return []byte(p.String()), nil
}

// UnmarshalText is ParsePreprocessing.
func (p *Preprocessing) UnmarshalText(text []byte) error {
	parsed, err := ParsePreprocessing(string(text))
	if err == nil {
		*p = parsed
	}
	return err
}

// Apply returns the picture as [224, 224, 3] bytes, RGB. Picture is not
// changed. The error wraps ErrPreprocessing, or ErrSize or ErrTooLarge if the
// picture's size does not allow it.
func (p Preprocessing) Apply(picture *Picture) ([]uint8, error) {
	pixels := make([]uint8, Size*Size*3)
	if err := p.ApplyTo(pixels, picture); err != nil {
		return nil, err
	}
	return pixels, nil
}

// ApplyTo is Apply into dst, which must have 224·224·3 elements: a slice of a
// batch, for example.
//
// Crops start at round((size-224)/2), ties to even, as torchvision's CenterCrop
// does. Degrees are placed as in Brain-Score's place_on_screen.
func (p Preprocessing) ApplyTo(dst []uint8, picture *Picture) error {
	if err := p.Validate(); err != nil {
		return err
	}
	if len(dst) != Size*Size*3 {
		return fmt.Errorf("%w: destination of %d bytes, not %d", ErrPreprocessing, len(dst), Size*Size*3)
	}
	if picture == nil || picture.Width <= 0 || picture.Height <= 0 || len(picture.Pix) != 3*picture.Width*picture.Height {
		return fmt.Errorf("%w: the picture is empty or its pixels do not match its size", ErrSize)
	}
	picture, err := p.place(picture)
	if err != nil {
		return err
	}
	size := image.Pt(picture.Width, picture.Height)
	switch p.Fit {
	case AsIs:
		if size.X != Size || size.Y != Size {
			return fmt.Errorf(
				"%w: it is %d×%d pixels, but %v takes %d×%d only; let it be resized, with resize256-crop224 for instance",
				ErrSize, size.X, size.Y, p, Size, Size)
		}
	case Crop:
		if size.X < Size || size.Y < Size {
			return fmt.Errorf("%w: it is %d×%d pixels, too small for %v, which needs %d×%d; let it be resized, with resize256-crop224 for instance",
				ErrSize, size.X, size.Y, p, Size, Size)
		}
	case Warp:
		size = image.Pt(Size, Size)
	default:
		if size == image.Pt(Size, Size) && !p.Always {
			break
		}
		if size.X <= size.Y {
			size = image.Pt(p.shorter(), p.longer(size.Y, size.X))
		} else {
			size = image.Pt(p.longer(size.X, size.Y), p.shorter())
		}
	}
	start := image.Pt(halfToEven(size.X-Size), halfToEven(size.Y-Size))
	window := image.Rectangle{Min: start, Max: start.Add(image.Pt(Size, Size))}
	picture.resample(dst, size, window, p.Filter)
	return nil
}

// longer is the length that the longer side is resized to.
func (p Preprocessing) longer(longer, shorter int) int {
	if p.Fit == ResizeCropTruncated {
		return p.shorter() * longer / shorter
	}
	return int(math.RoundToEven(float64(p.shorter()*longer) / float64(shorter)))
}

// halfToEven is n/2 rounded, ties to even.
func halfToEven(n int) int { return int(math.RoundToEven(float64(n) / 2)) }

// place puts the picture on a grey field, or crops it.
func (p Preprocessing) place(picture *Picture) (*Picture, error) {
	if p.StimulusDegrees == p.FieldDegrees {
		return picture, nil
	}
	ratio := p.FieldDegrees / p.StimulusDegrees
	side := func(length int) int { return int(math.RoundToEven(min(ratio*float64(length), 1<<30))) }
	width, height := side(picture.Width), side(picture.Height)
	if width == 0 || height == 0 {
		return nil, fmt.Errorf("%w: %v leaves nothing of its %d×%d pixels", ErrSize, p, picture.Width, picture.Height)
	}
	if err := checkSides("field of "+p.String(), width, height); err != nil {
		return nil, err
	}
	placed := newPicture(width, height)
	if ratio > 1 {
		for i := range placed.Pix {
			placed.Pix[i] = Gray
		}
	}
	left, top := halfToEven(width-picture.Width), halfToEven(height-picture.Height)
	for y := max(0, -top); y < picture.Height && y+top < height; y++ {
		from, to := max(0, -left), max(0, left)
		count := min(picture.Width-from, width-to)
		copy(placed.Pix[3*((y+top)*width+to):], picture.Pix[3*(y*picture.Width+from):3*(y*picture.Width+from+count)])
	}
	return placed, nil
}
