package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/cluster"
	"github.com/tfconvrnn/go/internal/evaluation"
	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/respond"
	"github.com/tfconvrnn/go/internal/runtimeinstall"
	"github.com/tfconvrnn/go/recordings"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// The exit codes.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitInput       = 3
	exitMissing     = 4
	exitInterrupted = 130
)

func newExitCodes() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "Exit codes and what they mean",
		Long: `Exit codes:

  0    done
  1    failed, for a reason that has no code of its own: the disk, the network, …
  2    wrong usage: unknown command, flag, model, layer or area, an impossible
       presentation or option, or an output that exists already, without --force
  3    an input cannot be used: a picture, array, checkpoint or plan that is missing,
       damaged or of a wrong kind, or a plan whose output has become another plan's,
       or whose model is not the one that is here
  4    something has to be installed first: the TensorFlow runtime, a model's
       weights, or a device or precision that this machine lacks
  130  interrupted (Ctrl-C or SIGTERM); nothing half-written has an output's name,
       and "extract --resume" goes on from what was finished`,
	}
}

// A usageError is a fault of the command line itself.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(err error) error { return usageError{err} }

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

// An inputError is about an input that the command line names.
type inputError struct{ error }

func (e inputError) Unwrap() error { return e.error }

func inputf(format string, args ...any) error { return inputError{fmt.Errorf(format, args...)} }

// A silentError sets the exit code when what is wrong has been printed already.
type silentError struct{ code int }

func (e silentError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

var (
	usageCauses = []error{
		respond.ErrRequest,
		savedmodels.ErrUnknownModel, savedmodels.ErrUnknownLayer, savedmodels.ErrDownloadOptions, savedmodels.ErrWeights,
		tfconvrnn.ErrPresentation, tfconvrnn.ErrOption, cluster.ErrOption, images.ErrPreprocessing, extraction.ErrReduction,
		extraction.ErrReductionShape, extraction.ErrComponents, convert.ErrUnknownModel, convert.ErrTimes,
		convert.ErrVariant, stimuli.ErrTimed, stimuli.ErrStills, features.ErrExists, extraction.ErrExists, fs.ErrExist,
		runtimeinstall.ErrComponent,
	}
	inputCauses = []error{
		respond.ErrFrame,
		tfconvrnn.ErrUnreadable, runtimeinstall.ErrPack, tfconvrnn.ErrImages, images.ErrUnsupportedFormat, images.ErrTooLarge,
		images.ErrSize,
		stimuli.ErrInput, features.ErrFormat, features.ErrDataType, features.ErrRank, features.ErrFortranOrder,
		features.ErrNoArray,
		convert.ErrCorrupt, convert.ErrMismatch, convert.ErrNotFound, tfconvrnn.ErrUntrusted, extraction.ErrPlan,
		extraction.ErrModel, extraction.ErrOtherPlan, extraction.ErrNotBegun, extraction.ErrNoneReadable,
		extraction.ErrManyRows, evaluation.ErrSet, evaluation.ErrOrder, evaluation.ErrClasses, evaluation.ErrRecords,
	}
	missingCauses = []error{recordings.ErrNoLibrary, stimuli.ErrNoFFmpeg, cluster.ErrNoSlurm, savedmodels.ErrNoWeights,
		tfconvrnn.ErrDevice, tfconvrnn.ErrPrecision}
)

func exitCode(ctx context.Context, err error) int {
	is := func(causes []error) bool {
		for _, cause := range causes {
			if errors.Is(err, cause) {
				return true
			}
		}
		return false
	}
	var silent silentError
	var load *libtf.LoadError
	var used usageError
	var incomplete *runtimeinstall.IncompleteError
	var input inputError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &silent):
		return silent.code
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &load) || is(missingCauses):
		return exitMissing
	case errors.As(err, &used) || is(usageCauses):
		return exitUsage
	case errors.As(err, &input) || errors.As(err, &incomplete) || is(inputCauses):
		return exitInput
	}
	return exitFailure
}

// report prints err, if any, and returns the exit code.
func report(ctx context.Context, cmd *cobra.Command, err error, stderr io.Writer) int {
	code := exitCode(ctx, err)
	var silent silentError
	switch {
	case err == nil || errors.As(err, &silent):
	case code == exitInterrupted:
		logFlagsOf(cmd).logger(cmd, stderr, false).Error("interrupted", "exit_code", code)
	default:
		reportError(cmd, err, code, stderr)
	}
	return code
}

// isBug says whether an error may be a fault of the program: what TensorFlow refuses
// should have been refused before.
func isBug(err error) bool {
	var fromTensorFlow *libtf.Error
	return errors.As(err, &fromTensorFlow) && !errors.Is(err, libtf.ErrResourceExhausted)
}

// describe returns an error's message: one line, and where a library has been
// looked for in several places a line for each and the remedy.
func describe(err error) string {
	var load *libtf.LoadError
	if errors.As(err, &load) {
		return strings.TrimPrefix(load.Error(), "libtf: ")
	}
	text := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; ")
	if what := remedy(err); what != "" {
		text += "; " + what
	}
	return text
}
