package features

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tfconvrnn/go/internal/disk"
)

// Sentinels for errors.Is. Every error of this package that has one of these
// causes wraps it and says where the fault is and what to do about it.
var (
	// ErrFormat: the bytes are not what the format demands (damaged,
	// truncated, or another kind of file).
	ErrFormat = errors.New("malformed array file")
	// ErrDataType: the elements have another type than asked for, or the
	// output format cannot store the type.
	ErrDataType = errors.New("wrong data type")
	// ErrRank: the array has another number of dimensions than asked for.
	ErrRank = errors.New("wrong number of dimensions")
	// ErrRange: rows outside the array were asked for.
	ErrRange = errors.New("rows out of range")
	// ErrFortranOrder: a column-major array that cannot be read row by row.
	ErrFortranOrder = errors.New("array in Fortran order")
	// ErrNoArray: the file has no array of that name, or several and no name
	// was given.
	ErrNoArray = errors.New("no such array")

	// ErrLayout: the description of an output is inconsistent, or the format
	// cannot express it.
	ErrLayout = errors.New("impossible output layout")
	// ErrTooLarge: the format cannot hold an array of this size.
	ErrTooLarge = errors.New("too large for the output format")
	// ErrExists: the output exists and Options.Force is not set.
	ErrExists = errors.New("output exists")
	// ErrForeign: what is in the way is no output of the format, so that it is never replaced.
	// Errors that wrap it wrap ErrExists too.
	ErrForeign = errors.New("is not an output of this format")
	// ErrOwnInput: the output is one of the files that it is made of.
	ErrOwnInput = errors.New("that is an input, which would be replaced by what is made of it")
	// ErrUnfinished: an interrupted run with a journal is there, and neither
	// Options.Resume nor Options.Force is set.
	ErrUnfinished = errors.New("an unfinished run is there")
	// ErrBusy: another process is writing the same output.
	ErrBusy = errors.New("output is being written by another process")
	// ErrNoSpace: the disk cannot hold the output.
	ErrNoSpace = disk.ErrNoSpace
	// ErrOrder: rows did not arrive in order, or not as whole rows.
	ErrOrder = errors.New("rows out of order")
	// ErrIncomplete: Finish was called before every row was written.
	ErrIncomplete = errors.New("rows are missing")
	// ErrClosed: the writer or reader has been closed.
	ErrClosed = errors.New("closed")
	// ErrJournal: the journal of an interrupted run cannot be used.
	ErrJournal = errors.New("unusable journal")
	// ErrResumeMismatch: the interrupted run was made with other settings.
	// errors.As with *ResumeMismatchError gives the list.
	ErrResumeMismatch = errors.New("the interrupted run differs")
)

// Difference is one field in which an interrupted run and its resumption
// disagree. Field is a path into the identity ("model", "presentation.times");
// Before and Now are JSON, empty where the field is absent.
type Difference struct {
	Field, Before, Now string
}

// ResumeMismatchError lists everything that differs between an interrupted
// run and the attempt to resume it. It wraps ErrResumeMismatch.
type ResumeMismatchError struct {
	// Path is the output's path.
	Path string
	// Differences is never empty.
	Differences []Difference
}

// Error names the differing fields, up to twelve of them, with both values.
func (e *ResumeMismatchError) Error() string {
	const most = 12
	var parts []string
	for i, d := range e.Differences {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(e.Differences)-most))
			break
		}
		parts = append(parts, fmt.Sprintf("%s was %s, is now %s", d.Field, shorten(d.Before), shorten(d.Now)))
	}
	return fmt.Sprintf("%s: %v: %s",
		e.Path, ErrResumeMismatch, strings.Join(parts, "; "))
}

// Unwrap returns ErrResumeMismatch.
func (e *ResumeMismatchError) Unwrap() error { return ErrResumeMismatch }

func shorten(s string) string {
	const limit = 120
	switch {
	case s == "":
		return "absent"
	case len(s) > limit:
		return strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
