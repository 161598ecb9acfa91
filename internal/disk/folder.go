package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// CheckFolder finds out whether files can be made in a folder, by making one and removing
// it. The error says why not.
func CheckFolder(folder string) error {
	probe, err := os.CreateTemp(folder, ".tfconvrnn-*.tmp")
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return fmt.Errorf("cannot write to the folder %s: %w", folder, err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
