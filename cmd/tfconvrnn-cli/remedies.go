package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/internal/cluster"
	"github.com/tfconvrnn/go/internal/evaluation"
	"github.com/tfconvrnn/go/internal/runtimeinstall"
	"github.com/tfconvrnn/go/recordings"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// remedies say, in the flags of this program, what helps against errors of the packages,
// which only say what is wrong. The first that an error wraps is said after its message.
var remedies = []struct {
	cause error
	what  string
}{
	{features.ErrForeign, "choose another name"},
	{features.ErrExists, "choose another name, or replace it with --force"},
	{features.ErrUnfinished, "go on with --resume, or start anew with --force"},
	{features.ErrBusy, "choose another name, or wait for it"},
	{features.ErrJournal, "start anew with --force"},
	{stimuli.ErrTimed, "leave out --frames-per-image"},
	{stimuli.ErrStills, "give --frames-per-image if that is meant, or run them by themselves"},
	{extraction.ErrExists,
		"go on with extract work, choose another name, or replace it and what was computed of it with --force"},
	{extraction.ErrManyRows, "choose fewer by --time, or --average-time"},
	{extraction.ErrNotBegun, "plan anew with --force"},
	{recordings.ErrNoLabels, "give --labels FILE, and --label COLUMN"},
	{recordings.ErrDuplicate, "--where chooses, --ignore COORDINATE ignores"},
	{recordings.ErrLayout, "--data-array, --data-axes, --data-coordinate and --data-bins say what is what"},
	{compare.ErrStrata, "--stratify COORDINATE takes others, none takes stimuli by chance"},
	{compare.ErrRoom, "choose --features-in file, more --features-memory, or --select or --reduce"},
	{compare.ErrOtherGrams, "choose another --out"},
	{compare.ErrGramsMissing, "the same compare gram makes them"},
	{compare.ErrMissing, "choose --missing drop-stimuli, or another of its policies"},
	{evaluation.ErrClasses, "--classes is all, present or a file of WordNet ids"},
	{evaluation.ErrMissing, "give their folder with --images, or evaluate the others with --skip-unreadable"},
	{cluster.ErrNoSlurm, "or look at the scripts with --dry-run"},
	{savedmodels.ErrUnknownModel, `"` + program + ` models" lists all`},
	{savedmodels.ErrWeights, "--weights says which"},
	{savedmodels.ErrLocked, "if the new weights are the ones you want, remove these lines or use --update-lock"},
	{savedmodels.ErrNotAtSource, "check --from"},
	{features.ErrNoHDF5, "install it with \"" + program +
		" runtime install --hdf5\", or the system's (on Debian apt-get install libhdf5-103-1)"},
	{tfconvrnn.ErrMemory, "compute fewer at once with --batch, fetch fewer layers, or raise --gpu-memory"},
	{tfconvrnn.ErrUntrusted, "--trust opens it"},
	{tfconvrnn.ErrNoGPUBuild, "\"" + program + " runtime install --gpu\" installs the GPU build"},
	{runtimeinstall.ErrPlatform, "install a wheel or C tarball of your own with --file, and --sha256 or --skip-checksum"},
	{runtimeinstall.ErrChecksum, "if you trust it all the same, use --skip-checksum"},
	{runtimeinstall.ErrVersion, "if you want it all the same, use --skip-checksum"},
	{runtimeinstall.ErrNoChecksum, "give it with --sha256, or use --skip-checksum"},
	{runtimeinstall.ErrPack, `"` + program + ` runtime pack" makes one`},
	{runtimeinstall.ErrNoCUDA, `"` + program + ` runtime install --gpu --with-cuda" fetches them`},
	{runtimeinstall.ErrPip, "--file and --url name a wheel or C tarball"},
}

// optionRemedies are those of stimuli.OptionError, by the option. %s is a value that may be meant.
var optionRemedies = map[string]struct{ what, otherwise string }{
	"PathColumn": {"--path-column %q takes it", "name the one that holds paths with --path-column"},
	"Columns":    {otherwise: "leave the column out by choosing the others with --columns"},
	"Array":      {otherwise: "choose one with --array"},
	"ArrayRange": {otherwise: "say --array-range 0-1, which clamps what is beyond, or 0-255"},
	"TableRoot": {"name one that it may be in with --table-root, such as %s (/ for any)",
		"name a folder that it may be in with --table-root (/ for any)"},
}

const moreTime = "a longer presentation (--total-ms), other episodes, or a smaller --frames-per-image shows more"

// noticeRemedies say what changes that of which the packages only give notice, by words of theirs.
var noticeRemedies = []struct{ notice, what string }{
	{"have images that the presentation never shows", moreTime},
	{"of which the presentation shows", moreTime},
	{"that the presentation has time for", moreTime},
	{"is shown for 1 timestep of 10 ms", "--frames-per-image changes that"},
	{"that is not applied, and perhaps others have", "--exif-orientation apply turns them upright"},
	{"their alpha is dropped", "--alpha composite:white puts them on white"},
	{"is animated; its first frame is taken", "of GIFs, --animation frames shows all"},
	{"is 224×224 already and is taken as it is", "--resize resize256-crop224 resizes and crops such pictures too"},
	{"there is no matrix of ", "extract --include-all-times has features of all layers from 0 ms on"},
	{", are taken as ", "--array-range states another range"},
}

// notice returns what the packages give notice of, with the remedy.
func notice(message string) string {
	for _, r := range noticeRemedies {
		if strings.Contains(message, r.notice) {
			return message + "; " + r.what
		}
	}
	return message
}

// advised is an error with what helps in the command that met it.
type advised struct {
	error
	what string
}

func (e advised) Unwrap() error { return e.error }

// advise returns an error with what helps against it in this command, whatever its causes.
func advise(err error, format string, args ...any) error {
	return advised{err, fmt.Sprintf(format, args...)}
}

// remedy returns what helps against an error, or "".
func remedy(err error) string {
	var here advised
	var option *stimuli.OptionError
	var missing *extraction.IncompleteError
	var timestep *tfconvrnn.TimestepError
	var weights *savedmodels.NoWeightsError
	var mismatch *features.ResumeMismatchError
	var incomplete *runtimeinstall.IncompleteError
	var other *extraction.OtherPlanError
	var featureless *compare.MissingFeaturesError
	switch {
	case errors.As(err, &here):
		return here.what
	case errors.As(err, &incomplete):
		return `what has arrived is kept; copy the others and run "` + program + ` runtime unpack" again`
	case errors.As(err, &featureless):
		return "--shared-stimuli leaves them out"
	case errors.As(err, &other):
		return fmt.Sprintf("go on with it (%s extract work --plan %s), choose another --out, or discard it with --force",
			program, other.Plan)
	case errors.As(err, &option):
		r := optionRemedies[option.Option]
		if option.Value == "" || r.what == "" {
			return r.otherwise
		}
		return fmt.Sprintf(r.what, option.Value)
	case errors.As(err, &missing):
		return fmt.Sprintf("run %s extract work --plan %s, then finish again", program, missing.Plan)
	case errors.As(err, &mismatch):
		for _, d := range mismatch.Differences {
			if d.Field == "threads" {
				return fmt.Sprintf(
					"the last bits depend on the number of threads; resume with --threads %s, or start anew with --force", d.Before)
			}
		}
		return "--resume takes other stimuli only where none is computed; give what was given before, or start anew with --force"
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
	return folderRemedy(err)
}

// folderRemedy returns what helps where a file of the program's own cannot be written: a temporary one, or one that
// it keeps.
func folderRemedy(err error) string {
	var failed *fs.PathError
	if !errors.As(err, &failed) {
		return ""
	}
	below := func(folder, path string) (string, bool) {
		rest, err := filepath.Rel(folder, path)
		return rest, err == nil && filepath.IsLocal(rest)
	}
	rest, temporary := below(os.TempDir(), failed.Path)
	own := strings.HasPrefix(rest, "tfconvrnn-") || strings.HasPrefix(rest, ".tfconvrnn.plan")
	if temporary && (own || rest == ".") {
		return "TMPDIR names the folder of temporary files"
	}
	root, err := cachedir.Root()
	if err != nil {
		return ""
	}
	_, kept := below(root, failed.Path)
	_, above := below(failed.Path, root)
	if kept && (errors.Is(failed, fs.ErrPermission) || errors.Is(failed, syscall.EROFS)) ||
		(kept || above) && failed.Op == "mkdir" {
		return cachedir.Env + " names the folder in which models and libraries are kept"
	}
	return ""
}
