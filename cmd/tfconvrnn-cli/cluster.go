package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/cluster"
)

// clusterFlags say what the workers of an extraction get, on whatever cluster.
type clusterFlags struct {
	plan, name      string
	workers, atOnce int
	cpus, restarts  int
	gpus, memory    string
	time            string
	device, store   string
}

func (f *clusterFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.plan, "plan", "", "`PLAN` that \"extract plan\" has written, where every machine sees it")
	flags.StringVar(&f.name, "name", "", "`NAME` of the jobs (default: the plan's)")
	flags.IntVarP(&f.workers, "workers", "n", 0, "number of workers, between which the chunks are divided")
	flags.IntVar(&f.atOnce, "at-once", 0, "how many of them may run at once (default: as the cluster likes)")
	flags.IntVar(&f.cpus, "cpus", 0, "processor cores of each worker: --threads of the plan")
	flags.StringVar(&f.memory, "mem", "", "`MEMORY` of each worker, for example 8G")
	flags.StringVar(&f.gpus, "gpus", "", "GPUs of each worker: a `NUMBER`")
	flags.StringVar(&f.time, "time", "", "longest `TIME` that a worker runs: 12:00:00, 2-00:00:00 (days) or 12h")
	flags.IntVar(&f.restarts, "restarts", 10, "how often a worker that fails is started again")
	flags.StringVar(&f.device, "device", "", "`DEVICE` of the workers, if not the plan's: gpu:<number>")
	flags.StringVar(&f.store, "store", "", "`DIR` of converted models, as the workers see it")
}

// work checks the flags; the arguments are further ones of "extract work".
func (f *clusterFlags) work(cmd *cobra.Command, args []string) (cluster.Work, error) {
	w := cluster.Work{
		Name: f.name, Plan: f.plan, Workers: f.workers, AtOnce: f.atOnce,
		CPUs: f.cpus, GPUs: f.gpus, Restarts: f.restarts,
	}
	if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
		return w, usagef("%q is no option; those of \"extract work\" come after --", args[0])
	}
	if f.plan == "" {
		return w, usagef("which plan? give --plan, a file that \"%s extract plan\" has written", program)
	}
	if f.workers == 0 {
		return w, usagef("how many workers? give --workers")
	}
	if w.Name == "" {
		w.Name = cluster.JobName(f.plan)
	}
	var err error
	if f.memory != "" {
		if w.Memory, err = cluster.ParseMemory(f.memory); err != nil {
			return w, err
		}
	}
	if f.time != "" {
		if w.Time, err = cluster.ParseTime(f.time); err != nil {
			return w, err
		}
	}
	add := func(name, value string) {
		if value != "" {
			w.Arguments = append(w.Arguments, "--"+name, value)
		}
	}
	add("device", f.device)
	add("store", f.store)
	w.Arguments = append(w.Arguments, args...)
	return w, nil
}

// ownPath returns where this program is, for other machines to run.
func ownPath() string {
	path, err := os.Executable()
	if err != nil || strings.Contains(path, string(filepath.Separator)+"go-build") { // go run removes it
		return program
	}
	return path
}
