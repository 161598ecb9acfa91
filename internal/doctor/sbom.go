package doctor

import (
	"errors"
	"io"
	"path/filepath"
	"runtime/debug"

	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/runtimeinstall"
	"github.com/tfconvrnn/go/internal/thirdparty"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// WriteSBOM writes what the running program consists of, as CycloneDX. The runtime is the one that
// is loaded, or else the one that would be installed.
func WriteSBOM(out io.Writer) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("this program was built without information about its modules; build it with go build")
	}
	tensorflow := thirdparty.TensorFlow{Version: runtimeinstall.Version}
	if tfconvrnn.RuntimeError() == nil {
		tensorflow.Version = libtf.Loaded().Version()
		if m, err := runtimeinstall.ReadManifest(filepath.Dir(libtf.Loaded().Path())); err == nil {
			tensorflow.GPU = m.Variant == cachedir.GPU
			for _, f := range m.Files {
				tensorflow.Libraries = append(tensorflow.Libraries, thirdparty.Library{Name: f.Name, SHA256: f.SHA256})
			}
		}
	}
	return thirdparty.WriteSBOM(out, info, tensorflow)
}
