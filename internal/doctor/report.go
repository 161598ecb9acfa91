package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/processor"
	"github.com/tfconvrnn/go/internal/runtimeinstall"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// A Report is what accompanies a bug.
type Report []Section

// A Section is a part of the report that accompanies a bug.
type Section struct {
	Name  string `json:"name"`
	Facts []Fact `json:"facts"`
}

// A Fact is a line of a section.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// add adds a fact unless its value is empty.
func (s *Section) add(name, value string) {
	if value = strings.TrimSpace(value); value != "" {
		s.Facts = append(s.Facts, Fact{name, value})
	}
}

func (s *Section) addf(name, format string, args ...any) {
	s.add(name, fmt.Sprintf(format, args...))
}

// shownVariables are the environment variables that change what the program does, and
// that hold nothing secret.
var shownVariables = []string{
	cachedir.Env, libtf.Env, savedmodels.CheckpointsEnv, "CI", "CUDA_VISIBLE_DEVICES", "GODEBUG", "GOGC", "GOMAXPROCS",
	"GOMEMLIMIT",
	"LANG", "LC_ALL", "LD_LIBRARY_PATH", "LD_PRELOAD", "MALLOC_ARENA_MAX", "OMP_NUM_THREADS", "TF_CPP_MAX_VLOG_LEVEL",
	"TF_CPP_MIN_LOG_LEVEL",
	"ONEDNN_DEFAULT_FPMATH_MODE", "ONEDNN_MAX_CPU_ISA",
	"TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS", "TMPDIR", "XDG_CACHE_HOME",
}

// hiddenVariables are reported as set, but without their values, which may hold
// passwords.
var hiddenVariables = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"PIP_INDEX_URL", "SSL_CERT_FILE"}

// NewReport gathers what someone needs to know who is told of a bug. It takes a few
// seconds, for the checksums of the runtime.
func NewReport(ctx context.Context, o Options, findings Findings) Report {
	sections := Report{
		softwareReport(), systemReport(), runtimeReport(ctx, o.Program), storeReport(o.Store), environmentReport(),
	}
	seen := Section{Name: "doctor"}
	for _, f := range findings {
		seen.addf(f.Name, "%s: %s", f.State, f.Detail)
	}
	sections = append(sections, seen)
	home, err := os.UserHomeDir()
	for i := range sections {
		for k := range sections[i].Facts {
			fact := &sections[i].Facts[k]
			if fact.Value = strings.Join(strings.Fields(fact.Value), " "); err == nil {
				fact.Value = withoutHome(fact.Value, home)
			}
		}
	}
	return sections
}

// withoutHome writes ~ for the home directory, whose name is often a person's.
func withoutHome(text, home string) string {
	home = filepath.Clean(home)
	if home == "/" || home == "." {
		return text
	}
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, home)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		// Not in the middle of another directory's name.
		if after == "" || strings.ContainsRune("/:;,'\") ", rune(after[0])) {
			out.WriteString("~")
		} else {
			out.WriteString(home)
		}
		text = after
	}
}

func softwareReport() Section {
	s := Section{Name: "versions"}
	s.addf("tfconvrnn", "%s, converter %s", version.Version, version.Converter)
	s.addf("Go", "%s %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return s
	}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision", "vcs.time", "vcs.modified", "CGO_ENABLED", "GOAMD64", "GOARM64", "GOEXPERIMENT", "-tags",
			"-race", "-asan":
			s.add(setting.Key, setting.Value)
		}
	}
	return s
}

// firstValue returns what follows the separator in the first line that begins with a
// key, of a file of the system; "" if there is none.
func firstValue(file, key, separator string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if name, value, found := strings.Cut(line, separator); found && strings.TrimSpace(name) == key {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}

func systemReport() Section {
	s := Section{Name: "system"}
	addKernel(&s)
	s.add("distribution", firstValue("/etc/os-release", "PRETTY_NAME", "="))
	if _, err := os.Stat("/.dockerenv"); err == nil {
		s.add("container", "Docker")
	} else if _, err := os.Stat("/run/.containerenv"); err == nil {
		s.add("container", "Podman")
	}
	s.add("processor", processor.Kind())
	features, _ := processor.Features()
	s.addf("cores", "%d, GOMAXPROCS %d", runtime.NumCPU(), runtime.GOMAXPROCS(0))
	s.add("instructions", strings.Join(features, ", "))
	s.add("oneDNN", processor.OneDNN())
	s.add("memory", firstValue("/proc/meminfo", "MemTotal", ":"))
	s.add("memory available", firstValue("/proc/meminfo", "MemAvailable", ":"))
	for _, file := range []string{"memory.max", "cpu.max", "pids.max"} {
		if limit, err := os.ReadFile("/sys/fs/cgroup/" + file); err == nil {
			s.add("cgroup "+file, string(limit))
		}
	}
	addLimits(&s)
	if free := disk.Free(os.TempDir()); free >= 0 {
		s.addf("temporary directory", "%s, %s free", os.TempDir(), humanize.Bytes(uint64(free)))
	}
	return s
}

func runtimeReport(ctx context.Context, program string) Section {
	s := Section{Name: "TensorFlow"}
	if err := tfconvrnn.RuntimeError(); err != nil {
		s.add("error", message(err))
		s.add("error types", console.ErrorTypes(err))
		return s
	}
	loaded := libtf.Loaded()
	s.addf("version", "%s (tested with %s)", loaded.Version(), libtf.Version)
	s.add("path", loaded.Path())
	dir := filepath.Dir(loaded.Path())
	if path, err := filepath.EvalSymlinks(loaded.Path()); err == nil && path != loaded.Path() {
		s.add("is a link to", path)
		dir = filepath.Dir(path)
	}
	switch m, err := runtimeinstall.Verify(ctx, dir); {
	case errors.Is(err, runtimeinstall.ErrNotInstalled):
		s.add("installed by", "something else")
	case err != nil:
		s.addf("installed by", "%s, but: %v", program, err)
	default:
		s.addf("installed by", "%s, from %s, intact", program, m.Source)
		for _, f := range m.Files {
			s.addf(f.Name, "SHA-256 %s, %d bytes", f.SHA256, f.Size)
		}
	}
	if devices, err := listDevices(); err != nil {
		s.add("devices", err.Error())
	} else {
		s.add("devices", strings.Join(devices, ", "))
	}
	return s
}

func storeReport(dir string) Section {
	s := Section{Name: "store"}
	store, err := savedmodels.Open(dir)
	if err != nil {
		s.add("error", err.Error())
		return s
	}
	s.add("directory", store.Dir())
	list, err := store.List()
	if err != nil {
		s.add("error", err.Error())
	}
	for _, m := range list {
		var bytes int64
		for name := range m.Manifest.Files {
			if info, err := os.Stat(filepath.Join(m.Dir, filepath.FromSlash(name))); err == nil {
				bytes += info.Size()
			}
		}
		weights := m.Manifest.Weights.SHA256
		s.addf(m.Manifest.Model, "%s, weights %s, converter %s, variant %s, %d timesteps, %s",
			filepath.Base(m.Dir), weights[:min(12, len(weights))], m.Manifest.Converter, m.Manifest.Variant, m.Manifest.Times,
			humanize.Bytes(uint64(bytes)))
	}
	return s
}

func environmentReport() Section {
	s := Section{Name: "environment"}
	for _, name := range shownVariables {
		value, ok := os.LookupEnv(name)
		switch {
		case !ok:
		case strings.ContainsAny(value, "@?") ||
			strings.Contains(value, "://"): // looks like an address or a password, which none of these variables holds
			s.add(name, "(withheld)")
		default:
			s.addf(name, "%q", value)
		}
	}
	for _, name := range hiddenVariables {
		if _, ok := os.LookupEnv(name); ok {
			s.add(name, "(set)")
		}
	}
	return s
}

// Print writes a report as Markdown.
func (r Report) Print(out io.Writer) error {
	var text strings.Builder
	fmt.Fprintf(&text, "### %s doctor --report\n", "tfconvrnn-cli")
	for _, s := range r {
		fmt.Fprintf(&text, "\n**%s**\n\n| | |\n|---|---|\n", s.Name)
		if len(s.Facts) == 0 {
			text.WriteString("| (nothing) | |\n")
		}
		for _, f := range s.Facts {
			fmt.Fprintf(&text, "| %s | %s |\n", markdownCell(f.Name), markdownCell(f.Value))
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func markdownCell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ").Replace(text)
}
