package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/cluster"
)

// clusterFlags say what the workers of an extraction get, on whatever cluster, besides what
// cluster.Work holds.
type clusterFlags struct {
	device, store string
}

func (f *clusterFlags) register(cmd *cobra.Command, w *cluster.Work) {
	flags := cmd.Flags()
	flags.StringVar(&w.Plan, "plan", "", "`PLAN` that \"extract plan\" has written, where every machine sees it")
	flags.StringVar(&w.Name, "name", "", "`NAME` of the jobs (default: the plan's)")
	flags.IntVarP(&w.Workers, "workers", "n", 0, "number of workers, between which the chunks are divided")
	flags.IntVar(&w.AtOnce, "at-once", 0, "how many of them may run at once (default: as the cluster likes)")
	flags.IntVar(&w.CPUs, "cpus", 0, "processor cores of each worker: --threads of the plan")
	flags.Func("mem", "`MEMORY` of each worker, for example 8G", func(text string) (err error) {
		w.Memory, err = cluster.ParseMemory(text)
		return err
	})
	flags.StringVar(&w.GPUs, "gpus", "", "GPUs of each worker: a `NUMBER`")
	flags.Func("time", "longest `TIME` that a worker runs: 12:00:00, 2-00:00:00 (days) or 12h",
		func(text string) (err error) {
			w.Time, err = cluster.ParseTime(text)
			return err
		})
	flags.IntVar(&w.Restarts, "restarts", 10, "how often a worker that fails is started again")
	flags.StringVar(&f.device, "device", "", "`DEVICE` of the workers, if not the plan's: gpu:<number>")
	flags.StringVar(&f.store, "store", "", "`DIR` of converted models, as the workers see it")
}

// check checks the flags; the arguments are further ones of "extract work".
func (f *clusterFlags) check(cmd *cobra.Command, args []string, w *cluster.Work) error {
	switch {
	case len(args) > 0 && cmd.ArgsLenAtDash() != 0:
		return usagef("%q is no option; those of \"extract work\" come after --", args[0])
	case w.Plan == "":
		return usagef("which plan? give --plan, a file that \"%s extract plan\" has written", program)
	case w.Workers == 0:
		return usagef("how many workers? give --workers")
	}
	for _, option := range [][2]string{{"--device", f.device}, {"--store", f.store}} {
		if option[1] != "" {
			w.Arguments = append(w.Arguments, option[:]...)
		}
	}
	w.Arguments = append(w.Arguments, args...)
	return nil
}

// ownPath returns where this program is, for other machines to run.
func ownPath() string {
	path, err := os.Executable()
	if err != nil || strings.Contains(path, string(filepath.Separator)+"go-build") { // go run removes it
		return program
	}
	return path
}
