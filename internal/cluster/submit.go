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

// ErrNoSlurm means that there is no sbatch.
var ErrNoSlurm = errors.New("sbatch is not installed here; run this where jobs are submitted")

// Submit writes the scripts to files, whose folders are made, and submits them: the second begins
// when the first has ended. It returns the jobs' ids. The error wraps ErrNoSlurm, or is sbatch's.
func (s *SlurmScripts) Submit(ctx context.Context, workPath, finishPath string) (work, finish string, err error) {
	sbatch, err := exec.LookPath("sbatch")
	if err != nil {
		return "", "", ErrNoSlurm
	}
	for path, text := range map[string]string{workPath: s.Work, finishPath: s.Finish} {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return "", "", err
		}
		if err := atomicfile.Write(path, []byte(text)); err != nil {
			return "", "", err
		}
	}
	if work, err = submit(ctx, sbatch, workPath); err != nil {
		return "", "", err
	}
	if finish, err = submit(ctx, sbatch, "--dependency=afterany:"+work, finishPath); err != nil {
		return work, "", fmt.Errorf("the workers are submitted as job %s, but the job after them is not (sbatch --dependency=afterany:%s %s): %w",
			work, work, finishPath, err)
	}
	return work, finish, nil
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
