//go:build !cgo || !(linux || darwin)

package kernels

import (
	"fmt"

	"github.com/tfconvrnn/go/internal/libtf"
)

// Instructions lists none: this build has no C code.
func Instructions() []string { return nil }

// Register returns ErrUnavailable.
func Register(*libtf.Runtime, string) error {
	return fmt.Errorf("%w: this program was built without cgo", ErrUnavailable)
}
