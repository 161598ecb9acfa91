package serving

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/internal/reduce"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Errors of a Service, for errors.Is.
var (
	// ErrRequest means a request that cannot be understood, or asks for what there is not.
	ErrRequest = errors.New("bad request")
	// ErrUnsupported means something of the protocol that this service does not do.
	ErrUnsupported = errors.New("not supported")
	// ErrTooLarge means a request that is larger than the service ever takes.
	ErrTooLarge = errors.New("request too large")
	// ErrBusy means that too much is waiting already. It is a *BusyError.
	ErrBusy = errors.New("too many requests are waiting")
	// ErrNotReady means that the model is not loaded yet.
	ErrNotReady = errors.New("not ready")
	// ErrStopping means that the service is about to end and takes no more requests.
	ErrStopping = errors.New("the service is stopping")
)

// BusyError is ErrBusy, and says when to come again.
type BusyError struct {
	// RetryAfter is when there should be room.
	RetryAfter time.Duration
}

// Error says it.
func (e *BusyError) Error() string {
	return fmt.Sprintf("%v; try again in %d s", ErrBusy, e.seconds())
}

// Unwrap returns ErrBusy.
func (e *BusyError) Unwrap() error { return ErrBusy }

func (e *BusyError) seconds() int { return max(1, int((e.RetryAfter+time.Second-1)/time.Second)) }

// panicError stands for a panic in one request.
type panicError struct {
	id    string
	cause any
}

func (e *panicError) Error() string {
	return fmt.Sprintf("internal error %s; the service's log has it under this number", e.id)
}

func requestf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRequest}, args...)...)
}

func unsupported(what string) error {
	return fmt.Errorf("%s is %w by this service", what, ErrUnsupported)
}

// The kinds of failures, for both protocols.
type failure int

const (
	failureInternal failure = iota
	failureRequest
	failureUnknown
	failureUnsupported
	failureTooLarge
	failureBusy
	failureNotReady
	failureDeadline
	failureCancelled
	failureSpace
)

// kind tells what sort of failure an error is.
func kind(err error) failure {
	is := func(causes ...error) bool {
		for _, cause := range causes {
			if errors.Is(err, cause) {
				return true
			}
		}
		return false
	}
	var panicked *panicError
	switch {
	case errors.As(err, &panicked):
		return failureInternal
	case is(ErrBusy):
		return failureBusy
	case is(ErrTooLarge, images.ErrTooLarge):
		return failureTooLarge
	case is(ErrUnsupported):
		return failureUnsupported
	case is(ErrNotReady, ErrStopping, tfconvrnn.ErrClosed):
		return failureNotReady
	case is(features.ErrNoSpace):
		return failureSpace
	case is(tfconvrnn.ErrUnknownModel):
		return failureUnknown
	case is(context.DeadlineExceeded):
		return failureDeadline
	case is(context.Canceled):
		return failureCancelled
	case is(ErrRequest, tfconvrnn.ErrUnknownLayer, tfconvrnn.ErrPresentation, tfconvrnn.ErrImages, tfconvrnn.ErrOption,
		tfconvrnn.ErrUnreadable,
		images.ErrUnsupportedFormat, images.ErrSize, images.ErrPreprocessing, reduce.ErrReduction, reduce.ErrShape):
		return failureRequest
	}
	return failureInternal
}
