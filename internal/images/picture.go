package images

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"os"

	"golang.org/x/image/webp"
)

// Limits on what is decoded, checked before memory for pixels is allocated.
const (
	// MaxSide is the largest width or height of a picture, in pixels.
	MaxSide = 30_000
	// MaxPixels is the largest area of a picture: the size above which Pillow
	// refuses a file as a decompression bomb.
	MaxPixels = 178_956_970
	// MaxFileSize is the largest file read, in bytes.
	MaxFileSize = 1 << 30
)

// A small file may declare any size. Above trustedPixels it must hold at least
// a byte for every maxPixelsPerByte pixels; DEFLATE, the format's most
// effective, packs 8256 pixels of a bilevel picture into a byte.
const (
	trustedPixels    = 1 << 24
	maxPixelsPerByte = 10_000
)

// Formats as they are named in Picture.Format.
const (
	PNG  = "PNG"
	JPEG = "JPEG"
	GIF  = "GIF"
	WebP = "WebP"
	BMP  = "BMP"
	TIFF = "TIFF"
	PNM  = "PNM"
)

// Picture is a decoded picture.
type Picture struct {
	// Width and Height are in pixels, both at least 1.
	Width, Height int
	// Pix holds the pixels in rows from the top, three bytes each: red, green,
	// blue, without padding: Width·Height·3 bytes.
	Pix []uint8
	// Orientation is the EXIF orientation, 1 to 8, that a viewer would still
	// have to apply; 1 means none. See Options.ApplyOrientation.
	Orientation int
	// Format is the file format, such as PNG; empty for FromImage.
	Format string
	// Transparent says that the file has pixels that are not opaque, whatever
	// became of them; see Options.Background.
	Transparent bool
	// Animated says that the file holds further frames.
	Animated bool
	// Bits is the number of bits that the largest value needs where the file has
	// 16 bits a channel; 0 otherwise. Of 10 bits in 16, the high byte is nearly black.
	Bits int
	// Notice says what the conversion to 8 bits has lost or that the file holds
	// more, to be printed after the file's name; empty if there is nothing to say.
	Notice string

	alpha []uint8 // of each pixel; nil if all are opaque
}

// Options change how pictures are read. The zero value reads them as Pillow's
// Image.open does.
type Options struct {
	// ApplyOrientation turns pictures upright by their EXIF orientation, as
	// Pillow's ImageOps.exif_transpose does. Without it pixels are left as they
	// are stored and Picture.Orientation tells what is left to be done. TIFF
	// files are always turned upright, as Pillow does.
	ApplyOrientation bool
	// Background is the colour that pixels are composited with where they are not
	// opaque; nil drops the alpha channel, so that pixels have the colour that the
	// file hides there.
	Background *[3]uint8
	// MaxPixels is the largest area of a picture, if it is less than the constant of that
	// name; 0 for that.
	MaxPixels int
}

// Open reads the picture file at path. Errors are those of Decode and those of
// opening the file.
func Open(path string, options Options) (*Picture, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return DecodeBytes(data, path, options)
}

// Decode reads a picture from r up to its end. Name stands for the picture in
// error messages. The errors wrap ErrUnreadable, ErrUnsupportedFormat or
// ErrTooLarge, or are those of r.
func Decode(r io.Reader, name string, options Options) (*Picture, error) {
	data, err := readAll(r, name)
	if err != nil {
		return nil, err
	}
	return DecodeBytes(data, name, options)
}

// DecodeBytes is Decode for a picture file in memory. It neither changes nor
// keeps data.
//
// Colours are converted as by Pillow's convert("RGB"): an alpha channel is
// dropped without compositing, unless there is a Background, palettes are looked up, grey is repeated, the
// high byte of 16-bit channels is kept, CMYK is multiplied out. Of an animated
// GIF it is the first frame; see DecodeAnimation.
func DecodeBytes(data []byte, name string, options Options) (*Picture, error) {
	format, err := sniff(data, name)
	if err != nil {
		return nil, err
	}
	config, err := guarded(func() (image.Config, error) { return decodeConfig(format, data) })
	if err != nil {
		return nil, unreadable(name, explain(format, data, err))
	}
	if err := checkSize(name, config.Width, config.Height, len(data)); err != nil {
		return nil, err
	}
	if options.MaxPixels > 0 && config.Width*config.Height > options.MaxPixels {
		return nil, tooLarge(name, config.Width, config.Height, options.MaxPixels)
	}
	picture, err := guarded(func() (*Picture, error) { return decodePixels(format, data, config) })
	if err != nil {
		return nil, unreadable(name, explain(format, data, err))
	}
	picture.Format = format
	picture.composite(options.Background)
	picture.Orientation = orientation(format, data)
	if options.ApplyOrientation || format == TIFF {
		picture = picture.upright()
	}
	return picture, nil
}

// FromImage converts an image to a Picture, with the colour conversions of
// DecodeBytes. The image is copied; of options only Background counts. It returns an error that wraps ErrTooLarge,
// or ErrUnreadable for an empty image.
func FromImage(img image.Image, options Options) (*Picture, error) {
	bounds := img.Bounds()
	if err := checkSides("image", bounds.Dx(), bounds.Dy()); err != nil {
		return nil, err
	}
	picture := convert(img)
	picture.composite(options.Background)
	return picture, nil
}

func newPicture(width, height int) *Picture {
	return &Picture{Width: width, Height: height, Pix: make([]uint8, 3*width*height), Orientation: 1}
}

func readFile(path string) ([]byte, error) {
	// Opening a pipe would wait for someone to write to it.
	if info, err := os.Stat(path); err != nil {
		return nil, ExplainMissing(path, err)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: not a regular file", path, ErrUnreadable)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAll(file, path)
}

func readAll(r io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("%s: reading picture: %w", name, err)
	}
	if len(data) > MaxFileSize {
		return nil, fmt.Errorf("%s: %w: files may hold up to %d bytes", name, ErrTooLarge, MaxFileSize)
	}
	return data, nil
}

// guarded turns a panic of a decoder into an error: a damaged picture must not
// end an overnight run.
func guarded[T any](decode func() (T, error)) (result T, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("the decoder failed: %v", reason)
		}
	}()
	return decode()
}

// explain adds to a decoder's error what it does not say.
func explain(format string, data []byte, err error) error {
	var (
		unsupportedJPEG jpeg.UnsupportedError
		unsupportedPNG  png.UnsupportedError
		unsupported     unsupportedError
	)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the %s data is cut short: %w", format, err)
	case errors.As(err, &unsupportedJPEG), errors.As(err, &unsupportedPNG), errors.As(err, &unsupported):
		return fmt.Errorf("%w: save it as an RGB PNG", err)
	}
	return err
}

func decodeConfig(format string, data []byte) (image.Config, error) {
	r := bytes.NewReader(data)
	switch format {
	case PNG:
		return pngConfig(data)
	case JPEG:
		return jpegConfig(data)
	case GIF:
		return decodeGIFConfig(data)
	case WebP:
		return webp.DecodeConfig(r)
	case BMP:
		return decodeBMPConfig(data)
	case PNM:
		return pnmConfig(data)
	default:
		return decodeTIFFConfig(data)
	}
}

func checkSides(name string, width, height int) error {
	if width <= 0 || height <= 0 {
		return unreadable(name, fmt.Errorf("it is %d×%d pixels, so it is empty", width, height))
	}
	if width > MaxSide || height > MaxSide || int64(width)*int64(height) > MaxPixels {
		return tooLarge(name, width, height, MaxPixels)
	}
	return nil
}

func checkSize(name string, width, height, size int) error {
	if err := checkSides(name, width, height); err != nil {
		return err
	}
	if pixels := width * height; pixels > trustedPixels && pixels/maxPixelsPerByte > size {
		return unreadable(name, fmt.Errorf("%d bytes cannot hold the declared %d×%d pixels", size, width, height))
	}
	return nil
}

func decodePixels(format string, data []byte, config image.Config) (*Picture, error) {
	switch format {
	case GIF:
		return decodeGIF(data)
	case BMP:
		return decodeBMP(data)
	case TIFF:
		return decodeTIFF(data)
	case WebP:
		return decodeWebP(data)
	case JPEG:
		return decodeJPEG(data, config)
	case PNG:
		return decodePNG(data)
	default:
		return decodePNM(data)
	}
}
