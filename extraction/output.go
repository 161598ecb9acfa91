package extraction

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/storage"
)

// CheckOutput finds out, before anything is computed, whether Run can write an output, and whether
// it would go on with an interrupted run that is there. Errors wrap features.ErrUnfinished if
// there is one and neither Resume nor Replace is set, features.ErrBusy if another process is
// writing it, features.ErrExists if the output is there, or say why nothing can be written to the folder.
func CheckOutput(ctx context.Context, output string, options RunOptions) (resuming bool, err error) {
	interrupted, err := Exists(ctx, PlanOf(output))
	if err != nil {
		return false, err
	}
	if !storage.IsRemote(output) {
		if err := features.CheckFree(output); err != nil {
			return false, err
		}
		interrupted = interrupted || features.Interrupted(output)
	}
	if interrupted && !options.Resume && !options.Replace {
		return false, fmt.Errorf("%s: %w", output, features.ErrUnfinished)
	}
	resuming = interrupted && options.Resume
	switch {
	case storage.IsRemote(output):
	case resuming:
		err = disk.CheckFolder(filepath.Dir(filepath.Clean(output)))
	default:
		err = features.CheckOutput(output, options.Replace)
	}
	if options.Resume && errors.Is(err, features.ErrExists) {
		// Outputs get their name when they are complete.
		err = fmt.Errorf("%s is complete: %w, and nothing is left to resume", output, features.ErrExists)
	}
	return resuming, err
}
