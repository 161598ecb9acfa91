package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/features"
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
	obey(cmd, needed("plan", "which plan? give --plan, a file that \""+program+" extract plan\" has written"),
		needed("workers", "how many workers? give --workers"))
}

// check checks the flags; the arguments are further ones of "extract work".
func (f *clusterFlags) check(cmd *cobra.Command, args []string, w *cluster.Work) error {
	if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
		return usagef("%q is no option; those of \"extract work\" come after --", args[0])
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

type slurmSubmitCommand struct {
	clusterFlags
	cluster.Slurm
	dryRun bool
}

func newSlurmSubmit() *cobra.Command {
	s := &slurmSubmitCommand{}
	cmd := &cobra.Command{Use: "submit --plan PLAN --workers N [flags] [-- WORK-FLAGS]",
		Args: cobra.ArbitraryArgs, RunE: s.run}
	s.clusterFlags.register(cmd, &s.Work)
	flags := cmd.Flags()
	flags.StringVar(&s.Partition, "partition", "", "Slurm's `PARTITION`")
	flags.StringVar(&s.FinishPartition, "finish-partition", "",
		"`PARTITION` of the last job, which needs one core and no GPU (default: --partition)")
	flags.StringVar(&s.Account, "account", "", "`ACCOUNT` that is charged")
	flags.StringVar(&s.QOS, "qos", "", "quality of service")
	flags.StringVar(&s.Constraint, "constraint", "", "`FEATURES` that nodes must have")
	flags.StringArrayVar(&s.Modules, "module", nil, "environment `MODULE` to load; repeat it for several")
	flags.StringVar(&s.Image, "apptainer", "", "Apptainer `IMAGE` to run in, for example tfconvrnn.sif or docker://…")
	flags.StringArrayVar(&s.Binds, "bind",
		nil, "`DIR` that is shown in the image, or SOURCE:DESTINATION, besides the plan's and the output's; repeat it for several")
	flags.StringVar(&s.Program, "program", "", "`PATH` of "+program+
		" on the nodes (default: this one's; in an image, where it is found)")
	flags.StringArrayVar(&s.Options, "sbatch", nil,
		"further `OPTION` of sbatch for all jobs, for example --sbatch=--reservation=r; repeat it for several")
	flags.StringVar(&s.Logs, "folder", "", "`DIR` for the scripts and the jobs' output (default: <plan>.slurm)")
	flags.BoolVar(&s.dryRun, "dry-run", false, "only print the scripts")
	addJSON(cmd)
	_ = cmd.MarkFlagDirname("folder")
	obey(cmd, goesWith("apptainer", "bind"))
	return cmd
}

func (s *slurmSubmitCommand) run(cmd *cobra.Command, args []string) error {
	if err := s.check(cmd, args, &s.Work); err != nil {
		return err
	}
	output, err := s.readPlan(cmd)
	if err != nil {
		return err
	}
	if err := s.Complete(output, ownPath(), program); err != nil {
		return err
	}
	scripts, err := s.Scripts()
	if err != nil {
		return err
	}
	if s.dryRun {
		return presentf(cmd, scripts, "==> %s <==\n%s\n==> %s <==\n%s\n", filepath.Join(s.Logs, cluster.WorkName),
			scripts.Work, filepath.Join(s.Logs, cluster.FinishName), scripts.Finish)
	}
	if err := named("--folder", features.CheckFolderName(s.Logs, "set.plan.slurm")); err != nil {
		return err
	}
	r, err := s.Submit(cmd.Context())
	if err != nil {
		return err
	}
	second := ""
	if r.SecondJob != "" {
		second = fmt.Sprintf("job %s: the same for the Gram matrices, after them\n", r.SecondJob)
	}
	return presentf(cmd, r, "job %s: %s\n%sjob %s: finish, after them\nscripts and output: %s\n", r.WorkJob,
		plural(r.Workers, "worker"), second, r.FinishJob, s.Logs)
}

// readPlan settles what depends on the plan, and returns its output.
func (s *slurmSubmitCommand) readPlan(cmd *cobra.Command) (output string, err error) {
	plan, err := openPlan(cmd.Context(), s.Plan)
	if err != nil {
		return "", err
	}
	defer plan.Close()
	c := commandConsole(cmd)
	if chunks := plan.Chunks(); s.Workers > chunks {
		c.Note("%s for %s: one each", plural(chunks, "worker"), plural(chunks, "chunk"))
		s.Workers = chunks
	}
	s.Twice = plan.Matrices() > 0
	if s.GPUs != "" && plan.Devices.String() == "cpu" {
		c.Warn("the plan is for the CPU; plan with --device gpu for workers with GPUs")
	}
	return plan.Output, nil
}

type kubernetesManifestCommand struct {
	clusterFlags
	cluster.Kubernetes
}

func newKubernetesManifest() *cobra.Command {
	k := &kubernetesManifestCommand{}
	cmd := &cobra.Command{Use: "manifest --plan PLAN --workers N --image IMAGE [flags] [-- WORK-FLAGS]",
		Args: cobra.ArbitraryArgs, RunE: k.run}
	k.clusterFlags.register(cmd, &k.Work)
	flags := cmd.Flags()
	flags.StringVar(&k.Image, "image", "", "container `IMAGE`")
	flags.StringVar(&k.Namespace, "namespace", "", "`NAMESPACE` of the Jobs")
	flags.Func(
		"volume", "persistent volume claim and where it is mounted, as `CLAIM:/PATH`, or CLAIM:/PATH:ro to only read from it; repeat it for several",
		func(text string) error {
			v, err := cluster.ParseVolume(text)
			k.Volumes = append(k.Volumes, v)
			return err
		})
	flags.StringArrayVar(&k.SecretEnvironment, "env-from-secret", nil,
		"`SECRET` whose keys become environment variables, such as an object store's credentials; repeat it for several")
	flags.StringVar(&k.ServiceAccount, "service-account", "", "`ACCOUNT` of the pods")
	flags.StringToStringVar(&k.NodeSelector, "node-selector", nil, "`LABEL=VALUE` that nodes of workers must have")
	flags.Int64Var(&k.User, "user", 0, "user `ID` of the pods (default: the image's, which must be a number other than 0)")
	flags.Int64Var(&k.Group, "group", 0, "group `ID` of the pods and their volumes")
	obey(cmd, needed("image", "which image? give --image, one of those that the Dockerfile makes"))
	return cmd
}

func (k *kubernetesManifestCommand) run(cmd *cobra.Command, args []string) error {
	if err := k.check(cmd, args, &k.Work); err != nil {
		return err
	}
	text, err := k.Manifest()
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(cmd.OutOrStdout(), text)
	return err
}
