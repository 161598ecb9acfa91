package runtimeinstall

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// wheel is a build of TensorFlow as its project publishes it for Python.
type wheel struct {
	project  string // for pip
	platform string // the wheel's platform tag
	sha256   string
	bytes    int64 // 0 if not known, for progress only
	version  string
}

// of is the version that pip is asked for.
func (w wheel) of() string {
	if w.version != "" {
		return w.version
	}
	return Version
}

// The wheels of Version for CPython 3.12. All builds of a version hold the
// same C API; one is chosen so that its checksum can be fixed here.
var wheels = map[string]wheel{
	"linux/amd64 cpu": {"tensorflow-cpu", "manylinux_2_27_x86_64",
		"dcc8afd32930e42d5296b6ee19078b773706830af4ea97fbe503b9f5e0f820cb", 274000871, ""},
	"linux/amd64 gpu": {"tensorflow", "manylinux_2_27_x86_64",
		"b3b95643c4e70eb925839938fb35cbe142f317ec84af6844ee61513713bb13c0", 572611111, ""},
	"linux/arm64 cpu": {"tensorflow", "manylinux_2_27_aarch64",
		"b07d15737406533898e36c7ef7944b1be18e9028dc521b9229952c537bbc5552", 0, ""},
	"darwin/arm64 cpu": {"tensorflow", "macosx_12_0_arm64",
		"56ecd7d47429acbe1df2694d50b75bf9fc3995ac92cb367cd9af6c4780ead712", 0, ""},
}

func (o Options) pinned() (wheel, error) {
	if o.wheel != nil {
		return *o.wheel, nil
	}
	w, ok := wheels[o.platform+" "+o.variant()]
	if !ok {
		return wheel{}, fmt.Errorf("%w (%s, %s)", ErrPlatform, o.platform, o.variant())
	}
	return w, nil
}

// pips lists commands that may be a pip.
func (o Options) pips() [][]string {
	if o.Python != "" {
		return [][]string{{o.Python, "-m", "pip"}}
	}
	return [][]string{{"python3", "-m", "pip"}, {"python", "-m", "pip"}, {"pip3"}, {"pip"}}
}

func (o Options) pipDownload(ctx context.Context, work string) (archive, error) {
	w, err := o.pinned()
	if err != nil {
		return archive{}, err
	}
	var pip []string
	var tried []string
	for _, candidate := range o.pips() {
		if err := ctx.Err(); err != nil {
			return archive{}, err
		}
		output, err := exec.CommandContext(ctx, candidate[0], append(candidate[1:len(candidate):len(candidate)],
			"--version")...).CombinedOutput()
		if err == nil {
			pip = candidate
			break
		}
		tried = append(tried, fmt.Sprintf("%s: %v %s", strings.Join(candidate, " "), err, lastLine(output)))
	}
	if pip == nil {
		return archive{}, fmt.Errorf("%w: no pip found; install Python 3 with pip, or give the wheel or C tarball as a file "+
			"or URL; tried: %s", ErrPip, strings.Join(tried, "; "))
	}
	dest, scratch := filepath.Join(work, "wheel"), filepath.Join(work, "tmp")
	for _, dir := range []string{dest, scratch} {
		if err := os.Mkdir(dir, 0o777); err != nil {
			return archive{}, err
		}
	}
	// With all four tags given, the result does not depend on the Python that
	// runs this pip.
	command := exec.CommandContext(ctx, pip[0], append(pip[1:len(pip):len(pip)],
		"download", "--no-deps", "--only-binary=:all:", "--implementation=cp", "--python-version=3.12", "--abi=cp312",
		"--platform="+w.platform, "--dest="+dest, "--disable-pip-version-check", "--no-input", "--progress-bar=off",
		w.project+"=="+w.of())...)
	command.Env = append(os.Environ(), "TMPDIR="+scratch)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 10 * time.Second
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		return archive{}, fmt.Errorf("%w: %w", ErrPip, err)
	}
	err = watch(command.Wait, func() {
		// The tree can be larger than the wheel, because pip unpacks there too.
		o.report(StageDownload)(min(treeSize(work), w.bytes), w.bytes)
	})
	if ctx.Err() != nil {
		return archive{}, ctx.Err()
	}
	if err != nil {
		return archive{}, fmt.Errorf("%w: %s: %w: %s", ErrPip, strings.Join(command.Args, " "), err, lastLine(output.Bytes()))
	}
	files, err := filepath.Glob(filepath.Join(dest, "*.whl"))
	if err != nil || len(files) != 1 {
		return archive{}, fmt.Errorf("%w: it made %d wheels instead of one: %s", ErrPip, len(files), lastLine(output.Bytes()))
	}
	return archive{files[0], filepath.Base(files[0]), func() {}}, nil
}

// watch calls look a few times a second until wait returns.
func watch(wait func() error, look func()) error {
	done := make(chan error, 1)
	go func() { done <- wait() }()
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ticker.C:
			look()
		}
	}
}

// treeSize is how pip's progress is seen: it downloads to a file below TMPDIR.
func treeSize(root string) int64 {
	var size int64
	_ = filepath.WalkDir(root, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil // files come and go
		}
		if info, err := entry.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	return size
}

// lastLine returns the last line of a program's output that says something.
func lastLine(output []byte) string {
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	line := strings.TrimSpace(lines[len(lines)-1])
	for _, l := range lines { // pip's last line is often a hint about itself
		if strings.HasPrefix(l, "ERROR:") {
			line = l
		}
	}
	return line[:min(len(line), 500)]
}
