// Package container holds the scripts that make container images, and the tests
// of those scripts and of the Dockerfile.
package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/version"
)

const root = "../.."

// instruction is one instruction of a Dockerfile, continuation lines joined.
type instruction struct {
	keyword, arguments string
}

// stage is one FROM and what follows; the first has no name and no base and holds
// what stands before the first FROM.
type stage struct {
	name, base   string
	instructions []instruction
}

func (s stage) all(keyword string) (arguments []string) {
	for _, i := range s.instructions {
		if i.keyword == keyword {
			arguments = append(arguments, i.arguments)
		}
	}
	return arguments
}

func readDockerfile(t *testing.T) []stage {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	require.NoError(t, err)
	var lines []string
	for _, line := range strings.Split(string(content), "\n") {
		if trimmed := strings.TrimSpace(line); trimmed != "" && !strings.HasPrefix(trimmed, "#") {
			lines = append(lines, trimmed)
		}
	}
	text := strings.ReplaceAll(strings.Join(lines, "\n"), "\\\n", " ")
	stages := []stage{{}}
	for _, line := range strings.Split(text, "\n") {
		keyword, arguments, _ := strings.Cut(line, " ")
		require.Equal(t, strings.ToUpper(keyword), keyword, "instructions are written in capitals")
		if keyword == "FROM" {
			words := strings.Fields(arguments)
			require.Len(t, words, 3, "FROM %s: every stage has a name", arguments)
			require.Equal(t, "AS", words[1])
			stages = append(stages, stage{name: words[2], base: words[0]})
			continue
		}
		last := &stages[len(stages)-1]
		last.instructions = append(last.instructions, instruction{keyword, strings.TrimSpace(arguments)})
	}
	return stages
}

func TestDockerfileBases(t *testing.T) {
	stages := readDockerfile(t)
	image := regexp.MustCompile(`^([A-Z]+_IMAGE)=([a-z0-9/]+):([a-z0-9.-]+)@sha256:[0-9a-f]{64}$`)
	arguments := map[string]bool{}
	for _, a := range stages[0].all("ARG") {
		match := image.FindStringSubmatch(a)
		require.NotNil(t, match, "ARG %s: a base image has a tag and a digest", a)
		assert.Regexp(t, `\d+\.\d+|\d{8}`, match[3], "ARG %s: the tag names a version", a)
		assert.NotContains(t, a, "latest")
		arguments["${"+match[1]+"}"] = true
	}
	require.Len(t, arguments, 3)
	names := map[string]bool{}
	for _, s := range stages[1:] {
		assert.True(t, arguments[s.base] || names[s.base], "FROM %s is neither a pinned image nor a stage", s.base)
		names[s.name] = true
		for _, copied := range s.all("COPY") {
			if from, ok := strings.CutPrefix(strings.Fields(copied)[0], "--from="); ok {
				assert.True(t, names[from], "COPY --from=%s is no stage", from)
			}
		}
	}
	assert.Equal(t, "cpu", stages[len(stages)-1].name, "the last stage is the default target")

	goVersion, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	wanted := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(goVersion)
	require.NotNil(t, wanted)
	assert.Contains(t, stages[0].all("ARG")[0], "GO_IMAGE=golang:"+string(wanted[1])+".")
}

func TestDockerfileRuns(t *testing.T) {
	runs := 0
	for _, s := range readDockerfile(t) {
		for _, run := range s.all("RUN") {
			runs++
			script := strings.Fields(run)[0]
			assert.Regexp(t, `^scripts/container/[a-z]+\.sh$`, script, "RUN %s: the work is in a script", run)
			assert.NotRegexp(t, `[;&|<>$]`, run, "RUN %s: one script and its arguments", run)
			info, err := os.Stat(filepath.Join(root, script))
			if assert.NoError(t, err) {
				assert.NotZero(t, info.Mode()&0o111, "%s is executable", script)
			}
		}
		assert.Empty(t, s.all("ADD"), "COPY does")
		assert.Empty(t, s.all("MAINTAINER"))
		assert.Empty(t, s.all("SHELL"))
	}
	assert.GreaterOrEqual(t, runs, 5)
}

func TestDockerfileTargets(t *testing.T) {
	found := 0
	for _, s := range readDockerfile(t) {
		if s.name != "cpu" && s.name != "gpu" {
			continue
		}
		found++
		t.Run(s.name, func(t *testing.T) {
			assert.Equal(t, []string{"10001:10001"}, s.all("USER"), "not root, and numeric for runAsNonRoot")
			assert.Equal(t, []string{`["tfconvrnn-cli"]`}, s.all("ENTRYPOINT"))
			// A second one at /cache/savedmodels would be lost with each container, whatever is mounted at /cache.
			assert.Equal(t, []string{`["/cache"]`}, s.all("VOLUME"))
			require.Len(t, s.all("HEALTHCHECK"), 1)
			assert.Contains(t, s.all("HEALTHCHECK")[0], `CMD ["tfconvrnn-cli", "doctor"]`)
			assert.Empty(t, s.all("RUN"), "files come ready from another stage")
			assert.Equal(t, []string{"--from=files-" + s.name + " /files/ /"}, s.all("COPY"))
			environment := strings.Join(s.all("ENV"), " ")
			assert.Contains(t, environment, "TFCONVRNN_CACHE=/cache")
			assert.Contains(t, environment, libtf.Env+"=/opt/tfconvrnn/runtime")
			labels := strings.Join(s.all("LABEL"), " ")
			for _, label := range []string{"title", "description", "source", "licenses"} {
				assert.Contains(t, labels, "org.opencontainers.image."+label+"=")
			}
			assert.Contains(t, labels, `org.opencontainers.image.version="`+version.Version+`"`)
			assert.Contains(t, labels, `tensorflow="`+libtf.Version+`"`)
		})
	}
	assert.Equal(t, 2, found)
}

func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("*.sh")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	for _, script := range scripts {
		content, err := os.ReadFile(script)
		require.NoError(t, err)
		text := string(content)
		assert.True(t, strings.HasPrefix(text, "#!/bin/sh\n"), script)
		assert.Contains(t, text, "\nset -eu\n", script)
		assert.NotRegexp(t, `curl[^\n]*\|\s*sh`, text, script)
		output, err := exec.Command("sh", "-n", script).CombinedOutput()
		assert.NoError(t, err, "%s: %s", script, output)
	}
}

// TestWheelOfCI checks that continuous integration runs the images' steps with the
// version of TensorFlow that they are for.
func TestWheelOfCI(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, ".ci/run"))
	require.NoError(t, err)
	assert.Contains(t, string(content), "tensorflow-cpu=="+libtf.Version+";")
	assert.Contains(t, string(content), "export TFCONVRNN_CPU_WHEEL")
}

func TestCompose(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "compose.yaml"))
	require.NoError(t, err)
	var file struct {
		Services map[string]struct {
			Image string
			Build struct{ Context, Target string }
			// A read-only root file system and no network: a job needs neither.
			ReadOnly    bool     `yaml:"read_only"`
			NetworkMode string   `yaml:"network_mode"`
			Command     []string `yaml:"command"`
			Volumes     []string
			Deploy      struct {
				Resources struct {
					Reservations struct {
						Devices []struct {
							Driver       string
							Capabilities []string
						}
					}
				}
			}
		}
		Volumes map[string]any
	}
	require.NoError(t, yaml.Unmarshal(content, &file))
	for name, target := range map[string]string{"extract": "cpu", "extract-gpu": "gpu"} {
		service, ok := file.Services[name]
		require.True(t, ok, name)
		assert.Equal(t, target, service.Build.Target)
		assert.Equal(t, "tfconvrnn:"+target, service.Image)
		assert.True(t, service.ReadOnly)
		assert.Equal(t, "none", service.NetworkMode)
		assert.Equal(t, "extract", service.Command[0], "the image's entrypoint is the program")
		assert.Contains(t, service.Volumes, "cache:/cache")
		assert.Contains(t, service.Volumes, "store:/cache/savedmodels")
		assert.Contains(t, service.Volumes, "./out:/work/out", "a folder of no package")
		devices := service.Deploy.Resources.Reservations.Devices
		if target == "cpu" {
			assert.Empty(t, devices)
			continue
		}
		require.Len(t, devices, 1)
		assert.Equal(t, "nvidia", devices[0].Driver)
		assert.Equal(t, []string{"gpu"}, devices[0].Capabilities)
		assert.Contains(t, service.Command, "--device=gpu")
	}
	assert.Len(t, file.Volumes, 2)
}

// TestIgnored checks that every file that the image's program is compiled of, and every script that
// a RUN calls, is in the context, and that what the build does not need is not.
func TestIgnored(t *testing.T) {
	file, err := os.Open(filepath.Join(root, ".dockerignore"))
	require.NoError(t, err)
	defer file.Close()
	patterns, err := ignorefile.ReadAll(file)
	require.NoError(t, err)
	matcher, err := patternmatcher.New(patterns)
	require.NoError(t, err)
	ignored := func(name string) bool {
		ignored, err := matcher.MatchesOrParentMatches(name)
		require.NoError(t, err)
		return ignored
	}
	const fields = "Dir,Module,GoFiles,CgoFiles,CFiles,HFiles,SFiles,EmbedFiles"
	list := exec.Command("go", "list", "-deps", "-json="+fields, "./cmd/tfconvrnn-cli")
	list.Dir = root
	output, err := list.Output()
	require.NoError(t, err)
	top, err := filepath.Abs(root)
	require.NoError(t, err)
	needed := []string{"go.mod", "go.sum"}
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p struct {
			Dir                                                   string
			Module                                                *struct{ Main bool }
			GoFiles, CgoFiles, CFiles, HFiles, SFiles, EmbedFiles []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		if p.Module == nil || !p.Module.Main {
			continue
		}
		folder, err := filepath.Rel(top, p.Dir)
		require.NoError(t, err)
		for _, name := range slices.Concat(p.GoFiles, p.CgoFiles, p.CFiles, p.HFiles, p.SFiles, p.EmbedFiles) {
			needed = append(needed, filepath.Join(folder, name))
		}
	}
	require.Greater(t, len(needed), 500)
	for _, s := range readDockerfile(t) {
		for _, run := range s.all("RUN") {
			needed = append(needed, strings.Fields(run)[0])
		}
	}
	needed = append(needed, "scripts/container/strip_runtime.py", "scripts/container/wheels/tensorflow_cpu-2.21.0.whl")
	for _, name := range needed {
		assert.False(t, ignored(name), "the build needs %s", name)
	}
	for _, name := range []string{
		".git/HEAD", "testdata/pictures/chelsea.png", "cmd/tfconvrnn-cli/main_test.go", "docs/gpu.md", "out/features.npz",
		"pictures/a.png", "weights/rgc_shallow/model.ckpt.index",
	} {
		assert.True(t, ignored(name), "%s is not needed", name)
	}
}

// TestFiles runs the step that makes an image's files, with the CPU build's wheel
// that TFCONVRNN_CPU_WHEEL names.
func TestFiles(t *testing.T) {
	wheel := os.Getenv("TFCONVRNN_CPU_WHEEL")
	if wheel == "" {
		t.Skip("TFCONVRNN_CPU_WHEEL does not name TensorFlow's wheel (270 MB), which this step takes the runtime from")
	}
	for _, tool := range []string{"python3", "strip", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the step needs %s: %v", tool, err)
		}
	}
	dir := t.TempDir()
	scripts := filepath.Join(dir, "scripts")
	require.NoError(t, os.MkdirAll(filepath.Join(scripts, "wheels"), 0o755))
	for _, name := range []string{"build.sh", "files.sh", "strip_runtime.py"} {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(scripts, name), content, 0o755))
	}
	absolute, err := filepath.Abs(wheel)
	require.NoError(t, err)
	require.NoError(t, os.Symlink(absolute, filepath.Join(scripts, "wheels", filepath.Base(wheel))))
	run := func(script string, arguments ...string) string {
		command := exec.Command(filepath.Join(scripts, script), arguments...)
		command.Dir = root
		output, err := command.CombinedOutput()
		require.NoError(t, err, "%s: %s", script, output)
		return string(output)
	}
	files := filepath.Join(dir, "files")
	run("build.sh", dir)
	run("files.sh", "cpu", filepath.Join(dir, "tfconvrnn-cli"), files)

	for _, name := range []string{"cache", "cache/savedmodels", "work"} {
		info, err := os.Stat(filepath.Join(files, name))
		require.NoError(t, err)
		assert.Equal(t, os.ModeSticky|0o777, info.Mode()&(os.ModeSticky|0o777), name)
	}
	entries, err := os.ReadDir(files)
	require.NoError(t, err)
	for _, entry := range entries {
		assert.False(t, strings.HasPrefix(entry.Name(), "."), "%s is left over", entry.Name())
	}
	doctor := exec.Command(filepath.Join(files, "usr/local/bin/tfconvrnn-cli"), "doctor", "--verify")
	doctor.Env = append(os.Environ(), libtf.Env+"="+filepath.Join(files, "opt/tfconvrnn/runtime"), "TFCONVRNN_CACHE="+
		filepath.Join(files, "cache"))
	output, err := doctor.CombinedOutput()
	require.NoError(t, err, "%s", output)
	assert.Regexp(t, `ok +TensorFlow +`+regexp.QuoteMeta(libtf.Version), string(output))
	assert.Regexp(t, `ok +libraries +intact`, string(output))
}

// TestContainerFeatures compares the features in the directory that
// TFCONVRNN_CONTAINER_FEATURES names, extracted in an image, with the golden
// outputs of the same names. prove.sh runs it.
func TestContainerFeatures(t *testing.T) {
	dir := os.Getenv("TFCONVRNN_CONTAINER_FEATURES")
	if dir == "" {
		t.Skip("TFCONVRNN_CONTAINER_FEATURES names no directory; scripts/container/prove.sh makes one in an image")
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.npz"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { compare(t, path) })
	}
}

type arrays struct {
	t    *testing.T
	file *features.File
}

func open(t *testing.T, path string) arrays {
	file, err := features.OpenArrays(path)
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	return arrays{t, file}
}

func (a arrays) read(name string) ([]float64, []int) {
	array, err := a.file.Array(name)
	require.NoError(a.t, err)
	info := array.Info()
	values, err := array.Float64s(0, info.Rows())
	require.NoError(a.t, err)
	return values, info.Shape
}

// tolerance is that of the golden tests: max |difference| / RMS of a layer.
const tolerance = 1e-4

func compare(t *testing.T, path string) {
	golden := open(t, filepath.Join(root, "testdata/golden", filepath.Base(path)))
	features := open(t, path)
	layers, worst := 0, 0.0
	for _, name := range features.file.Names() {
		layer, ok := strings.CutSuffix(name, "/timesteps")
		if !ok {
			continue
		}
		layers++
		array, err := features.file.Array(name)
		require.NoError(t, err)
		timesteps, err := array.Int64s(0, array.Info().Rows())
		require.NoError(t, err)
		values, shape := features.read(layer)
		samples, sampleShape := golden.read(layer + "/sample")
		rmss, _ := golden.read(layer + "/rms")
		require.Equal(t, []int{2, len(timesteps)}, shape[:2], layer)
		size := len(values) / (2 * len(timesteps))
		stride, times, count := max(1, size/499), sampleShape[1], sampleShape[2]
		for stimulus := range 2 {
			for i, timestep := range timesteps {
				features := values[(stimulus*len(timesteps)+i)*size:][:size]
				row := stimulus*times + int(timestep)
				for k := range count {
					worst = max(worst, math.Abs(features[k*stride]-samples[row*count+k])/rmss[row])
				}
			}
		}
	}
	require.NotZero(t, layers)
	got, _ := features.read("logits")
	want, _ := golden.read("logits")
	require.Len(t, got, len(want))
	var squares, largest float64
	for i := range want {
		squares += want[i] * want[i]
		largest = max(largest, math.Abs(got[i]-want[i]))
	}
	logits := largest / math.Sqrt(squares/float64(len(want)))
	t.Logf("%d layers: max |difference| / RMS %.1e, logits %.1e", layers, worst, logits)
	require.LessOrEqual(t, worst, tolerance)
	require.LessOrEqual(t, logits, tolerance)
}
