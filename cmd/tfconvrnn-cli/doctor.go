package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/internal/diskspace"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/processor"
	"github.com/tfconvrnn/go/internal/runtimeinstall"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// The states of a finding.
const (
	stateOK      = "ok"
	stateInfo    = "info"
	stateWarning = "warning"
	stateError   = "error" // nothing can be extracted
)

// A finding is one thing that doctor looked at.
type finding struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

func newDoctor() *cobra.Command {
	var asJSON, verify, gpuKernels, report bool
	var store string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out what is wrong with the set-up",
		Long: `Look at everything that extraction needs: the TensorFlow runtime, the processor,
the cache directory, the store of converted models, disk space. Says what is wrong
and what to do. Exits with code 4 if nothing can be extracted.

With --report, print in Markdown what someone needs to know whom you tell of a bug:
versions, system, processor, limits, the runtime with its checksums, devices, converted
models. Environment variables are shown only if they are known to hold no secrets, and
the home directory is written ~. Read it before you paste it.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if gpuKernels {
				return runGPUKernels(cmd, asJSON)
			}
			findings := diagnose(cmd, store, verify)
			if report {
				sections := newReport(cmd, store, findings)
				var err error
				if asJSON {
					err = printJSON(cmd.OutOrStdout(), sections)
				} else {
					err = printReport(cmd.OutOrStdout(), sections)
				}
				if err != nil {
					return err
				}
			} else if asJSON {
				if err := printJSON(cmd.OutOrStdout(), findings); err != nil {
					return err
				}
			} else if err := printFindings(cmd.OutOrStdout(), findings); err != nil {
				return err
			}
			if failed(findings) {
				return silentError{exitMissing}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&store, "store", "", "`DIR` of converted models (default: in the user's cache)")
	cmd.Flags().BoolVar(&verify, "verify", false, "also read the runtime's libraries and converted models and compare their checksums")
	cmd.Flags().BoolVar(&gpuKernels, "gpu-kernels", false, "instead show that all models' graphs would run wholly on a GPU, from the kernels that TensorFlow's GPU build lists")
	cmd.Flags().BoolVar(&report, "report", false, "print a report to paste into a bug report")
	addJSON(cmd, &asJSON)
	return cmd
}

func diagnose(cmd *cobra.Command, storeDir string, verify bool) []finding {
	findings := []finding{
		{Name: program, State: stateInfo, Detail: version.Version + ", " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH},
	}
	add := func(name, state, detail, remedy string) {
		findings = append(findings, finding{name, state, detail, remedy})
	}
	if err := tfconvrnn.RuntimeError(); err != nil {
		var load *libtf.LoadError
		detail, remedy := describe(err), ""
		if errors.As(err, &load) {
			var tries []string
			for _, t := range load.Tries {
				tries = append(tries, fmt.Sprintf("%s (%s): %v", t.Path, t.Source, t.Err))
			}
			detail, remedy = strings.Join(tries, "; "), load.Remedy()
		}
		add("TensorFlow", stateError, detail, remedy)
	} else {
		loaded := libtf.Loaded()
		add("TensorFlow", stateOK, loaded.Version()+", "+loaded.Path(), "")
		if loaded.Version() != libtf.Version {
			add("version", stateWarning, "tested with TensorFlow "+libtf.Version, "if something fails, run "+program+" runtime install")
		}
		if convolution, err := tfconvrnn.AvailableConvolution(); err != nil {
			add("convolutions", stateInfo, "direct, which takes about twice as long: "+err.Error(), "")
		} else {
			add("convolutions", stateOK, convolution, "")
		}
		if verify {
			switch m, err := runtimeinstall.Verify(cmd.Context(), filepath.Dir(loaded.Path())); {
			case errors.Is(err, runtimeinstall.ErrNotInstalled):
				add("libraries", stateInfo, "not installed by "+program+", so there is nothing to compare them with", "")
			case err != nil:
				add("libraries", stateWarning, err.Error(), "run "+program+" runtime install --force")
			default:
				add("libraries", stateOK, "intact, from "+m.Source, "")
			}
		}
		if devices, err := listDevices(); err != nil {
			add("devices", stateWarning, err.Error(), "")
		} else {
			add("devices", stateOK, strings.Join(devices, ", "), "")
		}
		findings = append(findings, cudaFindings()...)
	}
	features, slow := processor.Features()
	if slow {
		add("processor", stateWarning, plural(runtime.NumCPU(), "core")+", without AVX2 and FMA", "extraction works, but will be slow on this processor")
	} else {
		add("processor", stateOK, plural(runtime.NumCPU(), "core")+", "+strings.Join(append(features, "oneDNN "+processor.OneDNN()), ", "), "")
	}
	if cache, err := cachedir.Root(); err != nil {
		add("cache", stateError, err.Error(), "")
	} else {
		findings = append(findings, checkDirectory("cache", cache))
	}
	return append(findings, checkStore(storeDir, verify)...)
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
func checkDirectory(name, dir string) finding {
	existing := dir
	for {
		if _, err := os.Stat(existing); err == nil || existing == filepath.Dir(existing) {
			break
		}
		existing = filepath.Dir(existing)
	}
	f := finding{Name: name, State: stateOK, Detail: dir}
	if existing != dir {
		f.Detail += " (not made yet)"
	}
	if err := checkFolder(existing); err != nil {
		f.State, f.Detail, f.Remedy = stateWarning, f.Detail+": "+err.Error(), "set "+cachedir.Env+" to a directory that you can write to"
		return f
	}
	if free := diskspace.Free(existing); free >= 0 {
		f.Detail += ", " + humanize.Bytes(uint64(free)) + " free"
		if free < lowSpace {
			f.State, f.Remedy = stateWarning, "make room, or set "+cachedir.Env+" to a directory on another disk"
		}
	}
	return f
}

func checkStore(dir string, verify bool) []finding {
	store, err := savedmodels.Open(dir)
	if err != nil {
		return []finding{{"store", stateError, err.Error(), ""}}
	}
	list, err := store.List()
	if err != nil {
		return []finding{{"store", stateWarning, err.Error(), ""}}
	}
	findings := []finding{{"store", stateInfo, fmt.Sprintf("%s, %s", store.Dir(), plural(len(list), "converted model")), ""}}
	for _, m := range list {
		if m.Manifest.Converter != version.Converter {
			findings = append(findings, finding{"model", stateInfo, m.Dir + " is of another version and will not be used", "remove it"})
			continue
		}
		if !verify {
			continue
		}
		if err := m.Manifest.Verify(m.Dir); err != nil {
			findings = append(findings, finding{"model", stateWarning, err.Error(), "remove " + m.Dir + " and convert again"})
		}
	}
	return findings
}

func printFindings(out io.Writer, findings []finding) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		fmt.Fprintf(table, "%s\t%s\t%s\n", f.State, f.Name, f.Detail)
		if f.Remedy != "" {
			fmt.Fprintf(table, "\t\tto mend this: %s\n", f.Remedy)
		}
	}
	return table.Flush()
}
