// Package cluster writes what starts the workers of an extraction on a cluster: batch
// scripts for Slurm and manifests for Kubernetes. It starts nothing itself and reads no
// plan: package extraction settles how workers share one.
package cluster

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// ErrOption is wrapped by the errors about options that no script or manifest can
// express, or that a cluster would refuse.
var ErrOption = errors.New("cluster option")

func optionf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrOption}, args...)...)
}

// maxWorkers is far above what schedulers take (Slurm's default is 1001, Kubernetes'
// limit 100,000).
const maxWorkers = 100_000

// Work is what a cluster runs: workers that each compute a shard of a plan's chunks,
// and then one process that verifies and seals the store.
type Work struct {
	Name    string // of the jobs
	Plan    string // absolute path or URL of the plan, the same on every machine
	Workers int    // number of workers, at least 1
	AtOnce  int    // how many of them may run at once; 0: all
	CPUs    int    // processor cores of each; 0: the cluster's default
	Memory  int64  // bytes of memory of each, in whole MiB; 0: the cluster's default
	// GPUs of each, as "1" or, with a type, "a100:1"; "" for none.
	GPUs string
	// Time is how long a worker may run; 0: the cluster's default.
	Time time.Duration
	// Arguments are further ones of "extract work", such as --device gpu.
	Arguments []string
	// Restarts is how often a worker that fails is started again.
	Restarts int
}

// lazily compiles an expression when it is first needed: counted repetitions take a millisecond and half a megabyte,
// and most commands need none.
func lazily(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

var (
	jobName = lazily(`^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$`)
	gpus    = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9_.-]*:)?[0-9]{1,4}$`)
)

func (w *Work) check() error {
	switch {
	case !jobName().MatchString(w.Name):
		return optionf("job name %q: up to 53 small letters, digits and hyphens between them", w.Name)
	case !filepath.IsAbs(w.Plan) && !IsURL(w.Plan) || strings.ContainsRune(w.Plan, 0):
		return optionf("plan %q: the workers need its absolute path", w.Plan)
	case w.Workers < 1 || w.Workers > maxWorkers:
		return optionf("%d workers: 1 … %d are possible", w.Workers, maxWorkers)
	case w.AtOnce < 0:
		return optionf("%d workers at once", w.AtOnce)
	case w.CPUs < 0:
		return optionf("%d processor cores", w.CPUs)
	case w.Memory < 0 || w.Memory%mebibyte != 0:
		return optionf("%d bytes of memory: whole MiB are possible", w.Memory)
	case w.GPUs != "" && !gpus.MatchString(w.GPUs):
		return optionf("GPUs %q: a number, or a type and a number such as a100:1", w.GPUs)
	case w.Time < 0 || w.Time%time.Second != 0:
		return optionf("time %v: whole seconds are possible", w.Time)
	case w.Restarts < 0:
		return optionf("%d restarts", w.Restarts)
	}
	for _, argument := range w.Arguments {
		if strings.ContainsRune(argument, 0) {
			return optionf("argument %q holds a NUL", argument)
		}
	}
	return nil
}

// IsURL says whether a plan is in an object store.
func IsURL(plan string) bool { return strings.Contains(plan, "://") }

// gpu returns the type and the number of GPUs.
func (w *Work) gpu() (kind string, count int) {
	kind, number, typed := strings.Cut(w.GPUs, ":")
	if !typed {
		kind, number = "", w.GPUs
	}
	count, _ = strconv.Atoi(number) // "" is none; check has seen the others
	return kind, count
}

// JobName makes a job's name of a file's: small letters, digits and hyphens.
func JobName(file string) string {
	base := filepath.Base(file)
	base = strings.TrimSuffix(base, filepath.Ext(base))
	var name strings.Builder
	for _, r := range strings.ToLower(base) {
		if r < unicode.MaxASCII && (unicode.IsLower(r) || unicode.IsDigit(r)) {
			name.WriteRune(r)
		} else if !strings.HasSuffix(name.String(), "-") {
			name.WriteByte('-')
		}
	}
	trimmed := strings.Trim(name.String(), "-")
	trimmed = strings.Trim(trimmed[:min(len(trimmed), 40)], "-")
	if trimmed == "" {
		return "extract"
	}
	return trimmed
}

const mebibyte = 1 << 20

var memory = regexp.MustCompile(`^([0-9]{1,9})([KMGT]?)(i?B?)$`)

// ParseMemory reads an amount of memory as Slurm and Kubernetes write it, for both in
// powers of 1024: "16G", "16Gi", "16GiB", and, as Slurm does, MiB without a unit. It
// is rounded up to whole MiB.
func ParseMemory(s string) (int64, error) {
	match := memory.FindStringSubmatch(s)
	if match == nil || match[2] == "" && match[3] != "" {
		return 0, optionf("memory %q: a number and K, M, G or T, as in 16G", s)
	}
	n, err := strconv.ParseInt(match[1], 10, 64)
	if err != nil {
		return 0, optionf("memory %q: %v", s, err)
	}
	shift := map[string]int{"K": 10, "": 20, "M": 20, "G": 30, "T": 40}[match[2]]
	if n <= 0 || n > (1<<50)>>shift {
		return 0, optionf("memory %q: more than 0 and at most 1024T", s)
	}
	return (n<<shift + mebibyte - 1) / mebibyte * mebibyte, nil
}

var slurmTime = regexp.MustCompile(`^(?:([0-9]{1,4})-)?([0-9]{1,6})(?::([0-9]{1,2}))?(?::([0-9]{1,2}))?$`)

// ParseTime reads a length of time as Slurm writes it (minutes, minutes:seconds,
// hours:minutes:seconds, days-hours, days-hours:minutes, days-hours:minutes:seconds),
// or as Go does (36h, 1h30m).
func ParseTime(s string) (time.Duration, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= time.Second && d%time.Second == 0 {
		return d, nil
	}
	match := slurmTime.FindStringSubmatch(s)
	if match == nil {
		return 0, optionf("time %q: write 2-12:00:00 (days-hours:minutes:seconds), 12:00:00 or 12h", s)
	}
	var n [4]time.Duration
	for i, text := range match[1:] {
		value, _ := strconv.Atoi("0" + text) // "" is 0; digits only, few of them
		n[i] = time.Duration(value)
	}
	var d time.Duration
	switch {
	case match[1] != "":
		d = n[0]*24*time.Hour + n[1]*time.Hour + n[2]*time.Minute + n[3]*time.Second
	case match[4] != "":
		d = n[1]*time.Hour + n[2]*time.Minute + n[3]*time.Second
	default:
		d = n[1]*time.Minute + n[2]*time.Second
	}
	if d <= 0 {
		return 0, optionf("time %q is none", s)
	}
	return d, nil
}
