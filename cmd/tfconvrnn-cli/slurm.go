package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/cluster"
)

type slurmSubmitCommand struct {
	clusterFlags
	cluster.Slurm
	folder string
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

The two batch scripts are written into a folder beside the plan, where the jobs'
output goes too; they can be read, changed and submitted with sbatch again. Chunks
that are there already are not computed again.

A worker that dies, or comes near its time limit, goes back into the queue; Slurm
does the same with those that it preempts and those whose node fails. Wrong usage,
unusable input and what is not installed are not tried again.

What comes after -- goes to "extract work".`,
		Example: `  ` + program + ` slurm submit --plan it.plan --workers 16 --partition gpu --gpus 1 --mem 16G --time 12:00:00
  ` + program + ` slurm submit --plan it.plan --workers 64 --cpus 4 --module apptainer --apptainer tfconvrnn.sif --bind /data --dry-run`,
		Args: cobra.ArbitraryArgs,
		RunE: s.run,
	}
	s.clusterFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&s.Partition, "partition", "", "Slurm's `PARTITION`")
	flags.StringVar(&s.FinishPartition, "finish-partition", "", "`PARTITION` of the last job, which needs one core and no GPU (default: --partition)")
	flags.StringVar(&s.Account, "account", "", "`ACCOUNT` that is charged")
	flags.StringVar(&s.QOS, "qos", "", "quality of service")
	flags.StringVar(&s.Constraint, "constraint", "", "`FEATURES` that nodes must have")
	flags.StringArrayVar(&s.Modules, "module", nil, "environment `MODULE` to load; repeat it for several")
	flags.StringVar(&s.Image, "apptainer", "", "Apptainer `IMAGE` to run in, for example tfconvrnn.sif or docker://…")
	flags.StringArrayVar(&s.Binds, "bind", nil, "`DIR` that is shown in the image, or SOURCE:DESTINATION, besides the plan's and the output's; repeat it for several")
	flags.StringVar(&s.Program, "program", "", "`PATH` of "+program+" on the nodes (default: this one's; in an image, where it is found)")
	flags.StringArrayVar(&s.Options, "sbatch", nil, "further `OPTION` of sbatch for all jobs, for example --sbatch=--reservation=r; repeat it for several")
	flags.StringVar(&s.folder, "folder", "", "`DIR` for the scripts and the jobs' output (default: <plan>.slurm)")
	flags.BoolVar(&s.dryRun, "dry-run", false, "only print the scripts")
	addJSON(cmd, &s.asJSON)
	_ = cmd.MarkFlagDirname("folder")
	return cmd
}

// slurmReport is what slurm submit prints.
type slurmReport struct {
	WorkScript   string `json:"work_script"`
	FinishScript string `json:"finish_script"`
	WorkJob      string `json:"work_job,omitempty"`
	FinishJob    string `json:"finish_job,omitempty"`
	Workers      int    `json:"workers"`
}

func (s *slurmSubmitCommand) run(cmd *cobra.Command, args []string) error {
	var err error
	if s.Work, err = s.work(cmd, args); err != nil {
		return err
	}
	output, err := s.readPlan(cmd)
	if err != nil {
		return err
	}
	if s.folder == "" {
		s.folder = s.Plan + ".slurm"
		if cluster.IsURL(s.Plan) {
			s.folder = s.Name + ".slurm"
		}
	}
	if s.Logs, err = filepath.Abs(s.folder); err != nil {
		return err
	}
	if s.Image != "" {
		if _, err := os.Stat(s.Image); err == nil { // a file; otherwise a reference to a registry
			if s.Image, err = filepath.Abs(s.Image); err != nil {
				return err
			}
		}
		s.Binds = append(cluster.FoldersOf(s.Plan, output), s.Binds...)
	} else if s.Binds != nil {
		return usagef("--bind is for an image; give --apptainer too")
	}
	switch {
	case s.Program != "":
	case s.Image != "":
		s.Program = program
	default:
		s.Program = ownPath()
	}
	scripts, err := s.Scripts()
	if err != nil {
		return err
	}
	r := &slurmReport{
		WorkScript: filepath.Join(s.Logs, "work.sbatch"), FinishScript: filepath.Join(s.Logs, "finish.sbatch"), Workers: s.Workers,
	}
	if s.dryRun {
		return r.printScripts(cmd.OutOrStdout(), scripts, s.asJSON)
	}
	if err := checkFolderName("--folder", s.Logs, "set.plan.slurm"); err != nil {
		return err
	}
	if r.WorkJob, r.FinishJob, err = scripts.Submit(cmd.Context(), r.WorkScript, r.FinishScript); err != nil {
		return err
	}
	if s.asJSON {
		return printJSON(cmd.OutOrStdout(), r)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "job %s: %s\njob %s: finish, after them\nscripts and output: %s\n", r.WorkJob, plural(r.Workers, "worker"), r.FinishJob, s.Logs)
	return nil
}

// readPlan settles what depends on the plan, and returns its output.
func (s *slurmSubmitCommand) readPlan(cmd *cobra.Command) (output string, err error) {
	if !cluster.IsURL(s.Plan) {
		if s.Plan, err = filepath.Abs(s.Plan); err != nil {
			return "", err
		}
	}
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
	if s.GPUs != "" && plan.Devices.String() == "cpu" {
		c.warn("the plan is for the CPU; plan with --device gpu for workers with GPUs")
	}
	return plan.Output, nil
}

// printScripts prints what would be submitted.
func (r *slurmReport) printScripts(out io.Writer, scripts *cluster.SlurmScripts, asJSON bool) error {
	if asJSON {
		return printJSON(out, struct {
			Work   string `json:"work"`
			Finish string `json:"finish"`
		}{scripts.Work, scripts.Finish})
	}
	for _, script := range []struct{ path, text string }{{r.WorkScript, scripts.Work}, {r.FinishScript, scripts.Finish}} {
		if _, err := fmt.Fprintf(out, "==> %s <==\n%s\n", script.path, script.text); err != nil {
			return err
		}
	}
	return nil
}
