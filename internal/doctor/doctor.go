// Package doctor finds out what is wrong with the set-up of a machine, and gathers what someone
// needs to know who is told of a bug.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"

	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/hdf5"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/processor"
	"github.com/tfconvrnn/go/internal/runtimeinstall"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// The states of a finding.
const (
	OK      = "ok"
	Info    = "info"
	Warning = "warning"
	Failure = "error" // nothing can be extracted
)

// A Finding is one thing that doctor looked at.
type Finding struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// Options say what to look at.
type Options struct {
	Program string // the name of this program, for remedies
	Store   string // the directory of converted models; "" for the user's
	Verify  bool   // also compare checksums
}

// Findings are what doctor found, in the order in which it looked.
type Findings []Finding

// Failed says whether nothing can be extracted.
func (f Findings) Failed() bool {
	return slices.ContainsFunc(f, func(f Finding) bool { return f.State == Failure })
}

// Diagnose looks at everything that extraction needs.
func Diagnose(ctx context.Context, o Options) Findings {
	findings := Findings{
		{Name: o.Program, State: Info, Detail: version.Version + ", " + runtime.Version() + " " + runtime.GOOS + "/" +
			runtime.GOARCH},
	}
	add := func(name, state, detail, remedy string) {
		findings = append(findings, Finding{name, state, detail, remedy})
	}
	findings = append(findings, checkRuntime(ctx, o)...)
	features, slow := processor.Features()
	if slow {
		add("processor", Warning, console.Plural(runtime.NumCPU(), "core")+", without AVX2 and FMA",
			"extraction works, but will be slow on this processor")
	} else {
		add("processor", OK, console.Plural(runtime.NumCPU(), "core")+", "+
			strings.Join(append(features, "oneDNN "+processor.OneDNN()), ", "), "")
	}
	if err := hdf5.Load(""); err != nil {
		add("HDF5", Info, "not found, which compare needs for netCDF-4, HDF5, NWB and MATLAB 7.3 files", "run "+o.Program+
			" runtime install --hdf5")
	} else {
		path, version := hdf5.Loaded()
		add("HDF5", OK, version+", "+path, "")
	}
	if cache, err := cachedir.Root(); err != nil {
		add("cache", Failure, err.Error(), "")
	} else {
		findings = append(findings, checkDirectory("cache", cache))
	}
	return append(findings, checkStore(o.Store, o.Verify)...)
}

// checkRuntime looks at TensorFlow and what it computes on.
func checkRuntime(ctx context.Context, o Options) (findings Findings) {
	add := func(name, state, detail, remedy string) {
		findings = append(findings, Finding{name, state, detail, remedy})
	}
	if err := tfconvrnn.RuntimeError(); err != nil {
		var load *libtf.LoadError
		detail, remedy := message(err), ""
		if errors.As(err, &load) {
			var tries []string
			for _, t := range load.Tries {
				tries = append(tries, fmt.Sprintf("%s (%s): %v", t.Path, t.Source, t.Err))
			}
			detail, remedy = strings.Join(tries, "; "), load.Remedy()
		}
		add("TensorFlow", Failure, detail, remedy)
		return findings
	}
	loaded := libtf.Loaded()
	add("TensorFlow", OK, loaded.Version()+", "+loaded.Path(), "")
	if loaded.Version() != libtf.Version {
		add("version", Warning, "tested with TensorFlow "+libtf.Version, "if something fails, run "+o.Program+
			" runtime install")
	}
	if convolution, err := tfconvrnn.AvailableConvolution(); err != nil {
		add("convolutions", Info, "direct, which takes about twice as long: "+err.Error(), "")
	} else {
		add("convolutions", OK, convolution.String(), "")
	}
	if o.Verify {
		switch m, err := runtimeinstall.Verify(ctx, filepath.Dir(loaded.Path())); {
		case errors.Is(err, runtimeinstall.ErrNotInstalled):
			add("libraries", Info, "not installed by "+o.Program+", so there is nothing to compare them with", "")
		case err != nil:
			add("libraries", Warning, err.Error(), "run "+o.Program+" runtime install --force")
		default:
			add("libraries", OK, "intact, from "+m.Source, "")
		}
	}
	if devices, err := listDevices(); err != nil {
		add("devices", Warning, err.Error(), "")
	} else {
		add("devices", OK, strings.Join(devices, ", "), "")
	}
	return append(findings, cudaFindings(o.Program)...)
}

// listDevices names what TensorFlow can compute on.
func listDevices() ([]string, error) {
	graph, err := libtf.NewGraph()
	if err != nil {
		return nil, err
	}
	defer graph.Close()
	session, err := libtf.NewSession(graph, nil)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	devices, err := session.ListDevices()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range devices {
		name := d.Name[strings.LastIndex(d.Name, "/")+1:]
		names = append(names, strings.TrimPrefix(name, "device:"))
	}
	return names, nil
}

// lowSpace is the free disk space below which doctor warns: a large model takes
// 0.4 GB, the runtime 0.9 GB.
const lowSpace = 2 << 30

// checkDirectory looks whether a directory can be written, or made, and how much
// room there is.
func checkDirectory(name, dir string) Finding {
	existing := dir
	for {
		if _, err := os.Stat(existing); err == nil || existing == filepath.Dir(existing) {
			break
		}
		existing = filepath.Dir(existing)
	}
	f := Finding{Name: name, State: OK, Detail: dir}
	if existing != dir {
		f.Detail += " (not made yet)"
	}
	if err := disk.CheckFolder(existing); err != nil {
		f.State, f.Detail, f.Remedy = Warning, f.Detail+": "+err.Error(), "set "+cachedir.Env+
			" to a directory that you can write to"
		return f
	}
	if free := disk.Free(existing); free >= 0 {
		f.Detail += ", " + humanize.Bytes(uint64(free)) + " free"
		if free < lowSpace {
			f.State, f.Remedy = Warning, "make room, or set "+cachedir.Env+" to a directory on another disk"
		}
	}
	return f
}

func checkStore(dir string, verify bool) Findings {
	store, err := savedmodels.Open(dir)
	if err != nil {
		return Findings{{"store", Failure, err.Error(), ""}}
	}
	list, err := store.List()
	if err != nil {
		return Findings{{"store", Warning, err.Error(), ""}}
	}
	findings := Findings{{"store", Info, fmt.Sprintf("%s, %s", store.Dir(), console.Plural(len(list), "converted model")),
		""}}
	for _, m := range list {
		if m.Manifest.Converter != version.Converter {
			findings = append(findings, Finding{"model", Info, m.Dir + " is of another version and will not be used",
				"remove it"})
			continue
		}
		if !verify {
			continue
		}
		if err := m.Manifest.Verify(m.Dir); err != nil {
			findings = append(findings, Finding{"model", Warning, err.Error(), "remove " + m.Dir + " and convert again"})
		}
	}
	return findings
}

// Print writes the findings as a table, with remedies.
func (f Findings) Print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range f {
		fmt.Fprintf(table, "%s\t%s\t%s\n", f.State, f.Name, f.Detail)
		if f.Remedy != "" {
			fmt.Fprintf(table, "\t\tto mend this: %s\n", f.Remedy)
		}
	}
	return table.Flush()
}

// message returns an error's message without the name of a package.
func message(err error) string { return strings.TrimPrefix(err.Error(), "libtf: ") }
