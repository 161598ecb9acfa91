package recordings

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tfconvrnn/go/internal/hdf5"
)

// Layout says what is what in a file that does not say so itself.
type Layout struct {
	// Array is the variable, the dataset's path or the array's name; "" for netCDF's data, and
	// where there is only one.
	Array string
	// Axes are the names of its axes, in the order in which the format's own tools show them.
	Axes []string
}

// Open opens a file by what its first bytes say.
func Open(name string, layout Layout) (*Assembly, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	isHDF5 := hdf5.Is(file)
	file.Close()
	switch extension := strings.ToLower(filepath.Ext(name)); {
	case isHDF5 && len(layout.Axes) == 0:
		return openNetCDF(name, layout.Array)
	default:
		return nil, fmt.Errorf("%s: %w: files called %s are not read", name, ErrFormat, extension)
	}
}
