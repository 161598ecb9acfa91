package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/cluster"
)

type slurmSubmitCommand struct {
	clusterFlags
	cluster.Slurm
	dryRun bool
	asJSON bool
}

func newSlurm() *cobra.Command {
	return group("slurm", "Extract features on a Slurm cluster", newSlurmSubmit())
}

func newSlurmSubmit() *cobra.Command {
	s := &slurmSubmitCommand{}
	cmd := &cobra.Command{
		Use:   "submit --plan PLAN --workers N [flags] [-- WORK-FLAGS]",
		Short: "Submit an extraction to Slurm",
		Long: `Submit an extraction to Slurm: an array job whose tasks are the workers of a plan,
and a job that verifies and seals the store when they have ended.

For a plan of Gram matrices the array is submitted twice: they come after all features.

The two batch scripts are written into a folder beside the plan, where the jobs'
output goes too; they can be read, changed and submitted with sbatch again. Chunks
that are there already are not computed again.

A worker that dies, or comes near its time limit, goes back into the queue; Slurm
does the same with those that it preempts and those whose node fails. Wrong usage,
unusable input and what is not installed are not tried again.

What comes after -- goes to "extract work".`,
		Example: `  ` + program +
			` slurm submit --plan it.plan --workers 16 --partition gpu --gpus 1 --mem 16G --time 12:00:00
  ` + program + ` slurm submit --plan it.plan --workers 64 --cpus 4 --module apptainer --apptainer tfconvrnn.sif --bind /data --dry-run`,
		Args: cobra.ArbitraryArgs,
		RunE: s.run,
	}
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
	addJSON(cmd, &s.asJSON)
	_ = cmd.MarkFlagDirname("folder")
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
	if s.Image == "" && s.Binds != nil {
		return usagef("--bind is for an image; give --apptainer too")
	}
	if err := s.Complete(output, ownPath(), program); err != nil {
		return err
	}
	scripts, err := s.Scripts()
	if err != nil {
		return err
	}
	if s.dryRun {
		return present(cmd, s.asJSON, scripts, func(out io.Writer) error {
			_, err := fmt.Fprintf(out, "==> %s <==\n%s\n==> %s <==\n%s\n", filepath.Join(s.Logs, cluster.WorkName), scripts.Work,
				filepath.Join(s.Logs, cluster.FinishName), scripts.Finish)
			return err
		})
	}
	if err := named("--folder", features.CheckFolderName(s.Logs, "set.plan.slurm")); err != nil {
		return err
	}
	r, err := s.Submit(cmd.Context())
	if err != nil {
		return err
	}
	return present(cmd, s.asJSON, r, func(out io.Writer) error {
		second := ""
		if r.SecondJob != "" {
			second = fmt.Sprintf("job %s: the same for the Gram matrices, after them\n", r.SecondJob)
		}
		_, err := fmt.Fprintf(out, "job %s: %s\n%sjob %s: finish, after them\nscripts and output: %s\n", r.WorkJob,
			plural(r.Workers, "worker"), second, r.FinishJob, s.Logs)
		return err
	})
}

// readPlan settles what depends on the plan, and returns its output.
func (s *slurmSubmitCommand) readPlan(cmd *cobra.Command) (output string, err error) {
	plan, err := openPlan(cmd.Context(), s.Plan)
	if err != nil {
		return "", err
	}
	defer plan.Close()
	c := commandConsole(cmd, false)
	if chunks := plan.Chunks(); s.Workers > chunks {
		c.note("%s for %s: one each", plural(chunks, "worker"), plural(chunks, "chunk"))
		s.Workers = chunks
	}
	s.Twice = plan.Matrices() > 0
	if s.GPUs != "" && plan.Devices.String() == "cpu" {
		c.warn("the plan is for the CPU; plan with --device gpu for workers with GPUs")
	}
	return plan.Output, nil
}
