package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tfconvrnn/go/internal/libtf"
)

// Tests of the program as a whole: killed, starved of disk, bereft of its input.
// scripts/prove_extract.sh runs them at full length and prints the figures.

// proofSize returns a number from the environment, or a small one.
func proofSize(name string, small int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return small
}

// prover runs the program as processes of their own.
type prover struct {
	program, store, library string
}

func newProver(t *testing.T) *prover {
	t.Helper()
	library, err := runtimePath()
	if err != nil {
		require.NotEqual(t, "1", os.Getenv(requireEnv), "%v", err)
		t.Skip("needs libtensorflow:", err)
	}
	self, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	p := &prover{program: filepath.Join(dir, program), store: filepath.Join(dir, "store"), library: library}
	require.NoError(t, os.Symlink(self, p.program)) // TestMain runs main under this name
	return p
}

func (p *prover) command(args ...string) *exec.Cmd {
	cmd := exec.Command(p.program, append([]string{"extract", "--model", "timedecay_shallow", "--weights", "seeded:1",
		"--store", p.store}, args...)...)
	cmd.Env = append(os.Environ(), libtf.Env+"="+p.library, "TFCONVRNN_CACHE="+p.store, "CI=")
	return cmd
}

func (p *prover) succeed(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := p.command(args...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return cmd
}

// fail demands an exit code, and words of the message.
func (p *prover) fail(t *testing.T, code int, says string, args ...string) {
	t.Helper()
	cmd := p.command(args...)
	out, err := cmd.CombinedOutput()
	require.Error(t, err, "%s", out)
	assert.Equal(t, code, cmd.ProcessState.ExitCode(), "%s", out)
	assert.Contains(t, string(out), says)
	assert.NotContains(t, string(out), "goroutine ")
}

// contentOf hashes a file, or all files of a folder.
func contentOf(t testing.TB, path string) map[string]string {
	t.Helper()
	content := map[string]string{}
	require.NoError(t, filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		relative, _ := filepath.Rel(path, name)
		content[relative] = fmt.Sprintf("%x", sha256.Sum256(data))
		return err
	}))
	require.NotEmpty(t, content)
	return content
}

// longestLife keeps the killed runs short: they still get through their start, a few
// batches and a checkpoint or two.
const longestLife = 10 * time.Second

// Runs killed at random moments, resumed and killed again, end in the bytes of a
// run that nobody killed.
func TestKilledRunsResume(t *testing.T) {
	p := newProver(t)
	kills, images := proofSize("TFCONVRNN_PROVE_KILLS", 2), proofSize("TFCONVRNN_PROVE_IMAGES", 24)
	dir := t.TempDir()
	pictures := filepath.Join(dir, "pictures")
	makePictures(t, pictures, images)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for _, suffix := range []string{"npz", "zarr", "nc"} {
		t.Run(suffix, func(t *testing.T) {
			options := []string{"--layers", "conv5,imnetds", "--include-logits", "--batch", "4", "--quiet"}
			whole, out := filepath.Join(dir, "whole."+suffix), filepath.Join(dir, "killed."+suffix)
			begun := time.Now()
			p.succeed(t, append(options, "--out", whole, pictures)...)
			uninterrupted := time.Since(begun)
			want := contentOf(t, whole)

			killed, resumptions, completions := 0, 0, 0
			check := func() {
				assert.Equal(t, want, contentOf(t, out))
				completions++
				require.NoError(t, os.RemoveAll(out))
			}
			for killed < kills {
				cmd := p.command(append(options, "--resume", "--out", out, pictures)...)
				cmd.Args = slices.DeleteFunc(cmd.Args, func(a string) bool { return a == "--quiet" })
				var messages bytes.Buffer
				cmd.Stderr = &messages
				require.NoError(t, cmd.Start())
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait() }()
				select {
				case <-time.After(time.Duration(random.Int64N(int64(min(uninterrupted, longestLife))))):
					require.NoError(t, cmd.Process.Kill())
					complete := true
					if err := <-ended; err != nil {
						killed++
						// It was complete already, if nothing is left to resume.
						leftovers, err := filepath.Glob(out + ".*")
						require.NoError(t, err)
						complete = len(leftovers) == 0 && exists(out)
					}
					if complete {
						check()
					}
				case err := <-ended:
					require.NoError(t, err, "%s", &messages)
					check()
				}
				if strings.Contains(messages.String(), "going on after") {
					resumptions++
				}
			}
			left, err := filepath.Glob(out + ".*")
			require.NoError(t, err)
			if len(left) > 0 || !exists(out) { // a kill can come between the output's completion and tidying up
				p.succeed(t, append(options, "--resume", "--out", out, pictures)...)
			}
			check()
			left, err = filepath.Glob(out + "*")
			require.NoError(t, err)
			assert.Empty(t, left)
			t.Logf("%s: %d images, %d kills, %d resumptions with finished rows, %d completed outputs, all byte-identical",
				suffix, images, killed, resumptions, completions)
		})
	}
}

// Memory does not grow with the number of stimuli.
func TestMemoryStaysFlat(t *testing.T) {
	p := newProver(t)
	few, many := proofSize("TFCONVRNN_PROVE_FEW", 64), proofSize("TFCONVRNN_PROVE_MANY", 192)
	suffixes, most := []string{"zarr", "npz", "nc"}, 0.10
	if many < 1000 {
		suffixes, most = suffixes[:1], 0.15 // fewer batches, and so more chance in their maximum
	}
	dir := t.TempDir()
	makePictures(t, filepath.Join(dir, "few"), few)
	makePictures(t, filepath.Join(dir, "many"), many)
	p.succeed(t, "--out", filepath.Join(dir, "warm.npz"), "--quiet", filepath.Join(dir, "few", "00000.jpg"))
	for _, suffix := range suffixes {
		peak := func(set string) int64 {
			out := filepath.Join(dir, set+"."+suffix)
			cmd := p.succeed(t, "--layers", "conv4,conv5,imnetds", "--out", out, "--quiet", filepath.Join(dir, set))
			require.NoError(t, os.RemoveAll(out))
			return cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
		}
		a, b := peak("few"), peak("many")
		growth := float64(b)/float64(a) - 1
		t.Logf("%s: peak RSS %d MB for %d images, %d MB for %d: %+.1f %%", suffix, a>>10, few, b>>10, many, 100*growth)
		assert.Less(t, growth, most)
	}
}

// smallDisk mounts a file system of a few megabytes.
func smallDisk(t *testing.T, megabytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes)); err != nil {
		t.Skipf("a small tmpfs cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// A disk that fills up: refused before the start, and, where something else fills
// it meanwhile, an error after which the run goes on once there is room.
func TestExtractToFullDisk(t *testing.T) {
	p := newProver(t)
	pictures := filepath.Join(t.TempDir(), "pictures")
	makePictures(t, pictures, 12)
	for _, suffix := range []string{"npz", "zarr", "nc"} {
		t.Run(suffix, func(t *testing.T) {
			whole := filepath.Join(t.TempDir(), "whole."+suffix)
			options := []string{"--layers", "conv5", "--batch", "2"}
			p.succeed(t, append(options, "--out", whole, pictures)...)
			want := contentOf(t, whole)

			disk := smallDisk(t, 16)
			ballast := filepath.Join(disk, "ballast")
			require.NoError(t, os.WriteFile(ballast, make([]byte, 14<<20), 0o666))
			out := filepath.Join(disk, "out."+suffix)
			options = append(options, "--out", out, pictures)
			p.fail(t, exitFailure, "not enough disk space", options...)
			left, err := os.ReadDir(disk)
			require.NoError(t, err)
			assert.Len(t, left, 1)
			p.fail(t, exitFailure, "not enough disk space", append(options, "--force-size")...)
			assert.NoFileExists(t, out)
			require.NoError(t, os.Remove(ballast))
			p.succeed(t, append(options, "--resume")...)
			assert.Equal(t, want, contentOf(t, out))
		})
	}
}

func TestExtractToReadOnlyFolder(t *testing.T) {
	p := newProver(t)
	disk := smallDisk(t, 1)
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Skipf("it cannot be remounted read-only: %v", err)
	}
	for _, suffix := range []string{"npz", "zarr", "nc", "mat", "npy"} {
		p.fail(t, exitFailure, "cannot write to the folder "+disk+": read-only file system",
			"--out", filepath.Join(disk, "out."+suffix), "../../testdata/pictures")
	}
}

// An input that goes away during the run: an error that names it. What is finished is not
// computed again, whether the rest is without it or it is back.
func TestInputRemovedMeanwhile(t *testing.T) {
	p := newProver(t)
	dir := t.TempDir()
	pictures := filepath.Join(dir, "pictures")
	makePictures(t, pictures, 40)
	whole, out := filepath.Join(dir, "whole.npz"), filepath.Join(dir, "out.npz")
	options := []string{"--layers", "conv4", "--batch", "1"}
	p.succeed(t, append(options, "--out", whole, pictures)...)

	last := filepath.Join(pictures, "00039.jpg")
	cmd := p.command(append(options, "--out", out, pictures)...)
	var messages bytes.Buffer
	cmd.Stderr = &messages
	require.NoError(t, cmd.Start())
	for range 2000 {
		if data, err := os.ReadFile(out + ".partial"); err == nil && len(data)-bytes.Count(data, []byte{0}) > 1<<20 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.NoError(t, os.Rename(last, last+".away"))
	require.Error(t, cmd.Wait())
	assert.Equal(t, exitInput, cmd.ProcessState.ExitCode())
	assert.Contains(t, messages.String(), "00039.jpg: no such file")
	assert.NoFileExists(t, out)
	without := filepath.Join(dir, "without.npz")
	for _, suffix := range []string{".partial", ".journal"} { // for a second resumption
		data, err := os.ReadFile(out + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(without+suffix, data, 0o600))
	}
	p.succeed(t, append(options, "--resume", "--out", without, pictures)...)
	fewer := filepath.Join(dir, "fewer.npz")
	p.succeed(t, append(options, "--out", fewer, pictures)...)
	assert.Equal(t, contentOf(t, fewer), contentOf(t, without))

	require.NoError(t, os.Rename(last+".away", last))
	resumed := p.succeed(t, append(options, "--resume", "--json", "--out", out, pictures)...)
	require.NotNil(t, resumed)
	assert.Equal(t, contentOf(t, whole), contentOf(t, out))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
