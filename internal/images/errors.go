package images

import (
	"errors"
	"fmt"
)

var (
	// ErrUnreadable says that the data of a picture is damaged, cut short, or
	// uses a variant of its format that is not supported. The cause is wrapped too.
	ErrUnreadable = errors.New("picture cannot be read")
	// ErrUnsupportedFormat says that the data is in none of the supported formats.
	ErrUnsupportedFormat = errors.New("unsupported picture format")
	// ErrNotFetched says that a file holds what Git LFS or git-annex put in the
	// place of its content. It wraps ErrUnreadable.
	ErrNotFetched = fmt.Errorf("%w: its content is not here", ErrUnreadable)
	// ErrTooLarge says that a side or the area of a picture is above MaxSide or
	// MaxPixels, or a file above MaxFileSize.
	ErrTooLarge = errors.New("picture too large")
	// ErrSize says that the size of a picture does not fit the preprocessing.
	ErrSize = errors.New("picture size does not fit the preprocessing")
	// ErrPreprocessing says that a preprocessing is unknown or impossible.
	ErrPreprocessing = errors.New("invalid preprocessing")
)

const supportedFormats = "PNG, JPEG, GIF, WebP, BMP, TIFF, PNM"

// unsupportedError names a variant of a format that is not read.
type unsupportedError string

func (e unsupportedError) Error() string { return string(e) + " is not supported" }

func unreadable(name string, cause error) error {
	return fmt.Errorf("%s: %w: %w", name, ErrUnreadable, cause)
}

func tooLarge(name string, width, height, maxPixels int) error {
	return fmt.Errorf("%s: %w: %d×%d pixels; sides may be up to %d and the area up to %d pixels: scale it down first",
		name, ErrTooLarge, width, height, MaxSide, maxPixels)
}
