package main

import (
	"errors"
	"fmt"

	"github.com/tfconvrnn/go/internal/runtimeinstall"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// remedies say, in the flags of this program, what helps against errors of the packages,
// which only say what is wrong. The first that an error wraps is said after its message.
var remedies = []struct {
	cause error
	what  string
}{
	{savedmodels.ErrUnknownModel, `"` + program + ` models" lists all`},
	{savedmodels.ErrWeights, "--weights says which"},
	{savedmodels.ErrLocked, "if the new weights are the ones you want, remove these lines or use --update-lock"},
	{savedmodels.ErrNotAtSource, "check --from"},
	{tfconvrnn.ErrUntrusted, "--trust opens it"},
	{tfconvrnn.ErrNoGPUBuild, "\"" + program + " runtime install --gpu\" installs the GPU build"},
	{runtimeinstall.ErrPlatform, "install a wheel or C tarball of your own with --file, and --sha256 or --skip-checksum"},
	{runtimeinstall.ErrChecksum, "if you trust it all the same, use --skip-checksum"},
	{runtimeinstall.ErrVersion, "if you want it all the same, use --skip-checksum"},
	{runtimeinstall.ErrNoChecksum, "give it with --sha256, or use --skip-checksum"},
	{runtimeinstall.ErrPack, `"` + program + ` runtime pack" makes one`},
	{runtimeinstall.ErrPip, "--file and --url name a wheel or C tarball"},
}

// remedy returns what helps against an error, or "".
func remedy(err error) string {
	var timestep *tfconvrnn.TimestepError
	var weights *savedmodels.NoWeightsError
	var incomplete *runtimeinstall.IncompleteError
	switch {
	case errors.As(err, &incomplete):
		return `what has arrived is kept; copy the others and run "` + program + ` runtime unpack" again`
	case errors.As(err, &timestep):
		return "or round to it with --round-ms"
	case errors.As(err, &weights):
		return fmt.Sprintf(`get it with "%s download %s", or name a directory that holds %s/%s.* (--weights DIR, or %s), or try the model untrained with --weights seeded:1`,
			program, weights.Model, weights.Model, savedmodels.CheckpointName, savedmodels.CheckpointsEnv)
	}
	for _, r := range remedies {
		if errors.Is(err, r.cause) {
			return r.what
		}
	}
	return ""
}
