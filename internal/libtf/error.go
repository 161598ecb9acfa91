package libtf

import (
	"errors"
	"fmt"
)

// ErrClosed is returned by calls on a Tensor, Graph or Session that was
// closed.
var ErrClosed = errors.New("libtf: already closed")

// ErrNotLoaded is returned by calls that need the runtime before [Load] has
// succeeded.
var ErrNotLoaded = errors.New("libtf: the TensorFlow runtime is not loaded; call Load first")

// Code is a TensorFlow status code. A Code is an error too, so that
// errors.Is(err, libtf.ErrInvalidArgument) tests for it.
type Code int

const codeOK Code = 0

// The status codes, with TensorFlow's numbers.
const (
	ErrCancelled          Code = 1
	ErrUnknown            Code = 2
	ErrInvalidArgument    Code = 3
	ErrDeadlineExceeded   Code = 4
	ErrMissing            Code = 5 // NOT_FOUND; ErrNotFound is about the library
	ErrAlreadyExists      Code = 6
	ErrPermissionDenied   Code = 7
	ErrResourceExhausted  Code = 8
	ErrFailedPrecondition Code = 9
	ErrAborted            Code = 10
	ErrOutOfRange         Code = 11
	ErrUnimplemented      Code = 12
	ErrInternal           Code = 13
	ErrUnavailable        Code = 14
	ErrDataLoss           Code = 15
	ErrUnauthenticated    Code = 16
)

var codeNames = map[Code]string{
	ErrCancelled: "cancelled", ErrUnknown: "unknown error", ErrInvalidArgument: "invalid argument",
	ErrDeadlineExceeded: "deadline exceeded", ErrMissing: "not found", ErrAlreadyExists: "already exists",
	ErrPermissionDenied: "permission denied", ErrResourceExhausted: "resource exhausted",
	ErrFailedPrecondition: "failed precondition", ErrAborted: "aborted", ErrOutOfRange: "out of range",
	ErrUnimplemented: "unimplemented", ErrInternal: "internal error", ErrUnavailable: "unavailable",
	ErrDataLoss: "data loss", ErrUnauthenticated: "unauthenticated",
}

// Error returns the name of the code.
func (c Code) Error() string {
	if name, ok := codeNames[c]; ok {
		return name
	}
	return fmt.Sprintf("status code %d", int(c))
}

// Error is a failure that TensorFlow reported, or that this package found
// before calling TensorFlow. It matches its Code with errors.Is.
type Error struct {
	Operation string // what was attempted, for example "run a session"
	Code      Code
	Message   string
}

// Error returns operation, code and message.
func (e *Error) Error() string {
	return fmt.Sprintf("libtf: %s: %v: %s", e.Operation, e.Code, e.Message)
}

// Is reports whether target is the code of e.
func (e *Error) Is(target error) bool {
	return target == e.Code
}

func invalid(operation, format string, arguments ...any) error {
	return &Error{Operation: operation, Code: ErrInvalidArgument, Message: fmt.Sprintf(format, arguments...)}
}
