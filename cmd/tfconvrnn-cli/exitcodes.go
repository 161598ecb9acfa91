package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/cluster"
	"github.com/tfconvrnn/go/internal/evaluation"
	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/plotting"
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
		convert.ErrVariant, stimuli.ErrTimed, stimuli.ErrStills, features.ErrExists,
		features.ErrOwnInput, extraction.ErrExists, fs.ErrExist, runtimeinstall.ErrComponent,
		recordings.ErrSelection, recordings.ErrNoLabels, compare.ErrSplits, compare.ErrNoLayer,
		compare.ErrOptions, plotting.ErrOption, plotting.ErrNoLayer, plotting.ErrNoStimulus, plotting.ErrNoTimestep,
	}
	inputCauses = []error{
		respond.ErrFrame,
		tfconvrnn.ErrUnreadable, runtimeinstall.ErrPack, runtimeinstall.ErrNoCUDA, tfconvrnn.ErrImages,
		images.ErrUnsupportedFormat, images.ErrTooLarge, images.ErrSize,
		stimuli.ErrInput, features.ErrFormat, features.ErrDataType, features.ErrRank, features.ErrFortranOrder,
		features.ErrNoArray,
		convert.ErrCorrupt, convert.ErrMismatch, convert.ErrNotFound, tfconvrnn.ErrUntrusted, extraction.ErrPlan,
		extraction.ErrModel, extraction.ErrOtherPlan, extraction.ErrNotBegun, extraction.ErrNoneReadable,
		extraction.ErrManyRows, evaluation.ErrSet, evaluation.ErrOrder, evaluation.ErrClasses, evaluation.ErrRecords,
		recordings.ErrMissing, recordings.ErrDuplicate, recordings.ErrLayout, recordings.ErrFormat, compare.ErrData,
		compare.ErrOtherGrams, compare.ErrGramsMissing, plotting.ErrImpossible, plotting.ErrUnsupported,
	}
	missingCauses = []error{recordings.ErrNoLibrary, stimuli.ErrNoFFmpeg, cluster.ErrNoSlurm, savedmodels.ErrNoWeights,
		tfconvrnn.ErrDevice, tfconvrnn.ErrPrecision}
)

func exitCode(ctx context.Context, err error) int {
	is := func(causes []error) bool {
		return slices.ContainsFunc(causes, func(cause error) bool { return errors.Is(err, cause) })
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
