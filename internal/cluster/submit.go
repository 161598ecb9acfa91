package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/internal/atomicfile"
)

// The names of the scripts in the folder of the jobs' output.
const (
	WorkName   = "work.sbatch"
	FinishName = "finish.sbatch"
)

// ErrNoSlurm means that there is no sbatch.
var ErrNoSlurm = errors.New("sbatch is not installed here; run this where jobs are submitted")

// Complete fills in what is left empty, for a plan whose output is given: the jobs' name, absolute
// paths, the folder of the jobs' output, which is <plan>.slurm, or here for a plan in an object store,
// the program, which is own, or, in an image, called name, and in an image the folders of the plan
// and the output. The error wraps ErrOption.
func (s *Slurm) Complete(output, own, name string) (err error) {
	absolute := func(path *string) {
		if err == nil && !IsURL(*path) {
			*path, err = filepath.Abs(*path)
		}
	}
	if s.Name == "" {
		s.Name = JobName(s.Plan)
	}
	absolute(&s.Plan)
	if s.Logs == "" {
		s.Logs = s.Plan + ".slurm"
		if IsURL(s.Plan) {
			s.Logs = s.Name + ".slurm"
		}
	}
	absolute(&s.Logs)
	switch {
	case s.Image != "":
		if _, statErr := os.Stat(s.Image); statErr == nil { // a file; otherwise a reference to a registry
			absolute(&s.Image)
		}
		s.Binds = append(FoldersOf(s.Plan, output), s.Binds...)
		own = name
	case s.Binds != nil:
		return optionf("folders are bound in an image, and none is named")
	}
	if s.Program == "" {
		s.Program = own
	}
	return err
}

// Submitted says what was submitted.
type Submitted struct {
	WorkScript   string `json:"work_script"`
	FinishScript string `json:"finish_script"`
	WorkJob      string `json:"work_job,omitempty"`
	// SecondJob is the array again, after itself.
	SecondJob string `json:"second_job,omitempty"`
	FinishJob string `json:"finish_job,omitempty"`
	Workers   int    `json:"workers"`
}

// Submit writes the scripts into the folder of the jobs' output, which is made, and submits them: the
// second begins when the first has ended. The error wraps ErrNoSlurm, or is sbatch's.
func (s *Slurm) Submit(ctx context.Context) (*Submitted, error) {
	scripts, err := s.Scripts()
	if err != nil {
		return nil, err
	}
	sbatch, err := exec.LookPath("sbatch")
	if err != nil {
		return nil, ErrNoSlurm
	}
	if err := os.MkdirAll(s.Logs, 0o777); err != nil {
		return nil, err
	}
	r := &Submitted{WorkScript: filepath.Join(s.Logs, WorkName), FinishScript: filepath.Join(s.Logs, FinishName),
		Workers: s.Workers}
	for path, text := range map[string]string{r.WorkScript: scripts.Work, r.FinishScript: scripts.Finish} {
		if err := atomicfile.Write(path, []byte(text)); err != nil {
			return nil, err
		}
	}
	if r.WorkJob, err = submit(ctx, sbatch, r.WorkScript); err != nil {
		return nil, err
	}
	last := r.WorkJob
	follow := func(script string) (job string, err error) {
		if job, err = submit(ctx, sbatch, "--dependency=afterany:"+last, script); err != nil {
			return "", fmt.Errorf(
				"the workers are submitted as job %s, but the job after them is not (sbatch --dependency=afterany:%s %s): %w",
				r.WorkJob, last, script, err)
		}
		last = job
		return job, nil
	}
	if s.Twice {
		if r.SecondJob, err = follow(r.WorkScript); err != nil {
			return nil, err
		}
	}
	if r.FinishJob, err = follow(r.FinishScript); err != nil {
		return nil, err
	}
	return r, nil
}

// submit runs sbatch and returns the job's id.
func submit(ctx context.Context, sbatch string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, sbatch, append([]string{"--parsable"}, args...)...)
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("sbatch %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	id, _, _ := strings.Cut(strings.TrimSpace(stdout.String()), ";") // with a cluster's name behind it
	if id == "" || strings.Trim(id, "0123456789") != "" {
		return "", fmt.Errorf("sbatch %s: answered %q, which is no job id", strings.Join(args, " "), stdout.String())
	}
	return id, nil
}

// FoldersOf returns the folders in which files lie, without those in object stores.
func FoldersOf(files ...string) []string {
	var folders []string
	for _, file := range files {
		if folder := filepath.Dir(file); !IsURL(file) && !slices.Contains(folders, folder) {
			folders = append(folders, folder)
		}
	}
	return folders
}
