package stimuli

import (
	"errors"
	"fmt"
)

// Every error of this package about an input wraps ErrInput and names the file,
// and the row of a table. Some wrap one of the others too, or an error of the
// file system.
var (
	// ErrInput means that an input cannot be used.
	ErrInput = errors.New("unusable input")
	// ErrTable means that a table is malformed, or lacks a column.
	ErrTable = errors.New("unusable stimulus table")
	// ErrDuplicate means that a table gives two stimuli the same id.
	ErrDuplicate = errors.New("stimulus id is not unique")
	// ErrNoFFmpeg means that a video cannot be read because ffmpeg is not
	// installed.
	ErrNoFFmpeg = errors.New("ffmpeg is not installed")
	// ErrVideo means that ffmpeg could not read a video.
	ErrVideo = errors.New("unreadable video")
	// ErrChanged means that a file is not what it was when its content was hashed.
	ErrChanged = errors.New("file has changed since the run began")
)

// OptionError is an error that another value of an option would mend. It is around the error
// that says what is wrong.
type OptionError struct {
	// Option is the field of Options, Value one that may be meant, or "".
	Option, Value string
	Err           error
}

// Error is that of Err.
func (e *OptionError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *OptionError) Unwrap() error { return e.Err }

// mend returns an error that says that an option would mend it.
func mend(option, value, format string, args ...any) error {
	return &OptionError{Option: option, Value: value, Err: fmt.Errorf(format, args...)}
}

// inputError is an error about an input; its text needs no prefix.
type inputError struct{ error }

func (e inputError) Unwrap() error { return e.error }

func (e inputError) Is(target error) bool { return target == ErrInput }

func inputf(format string, args ...any) error { return inputError{fmt.Errorf(format, args...)} }
