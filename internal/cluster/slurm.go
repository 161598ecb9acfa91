package cluster

import (
	"bytes"
	_ "embed"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
	"time"
	"unicode"

	"mvdan.cc/sh/v3/syntax"
)

// Slurm is an extraction as Slurm's sbatch runs it: an array of workers, and a job that
// depends on it.
type Slurm struct {
	Work
	// Partition, Account, QOS and Constraint are sbatch's options; "" for its defaults.
	Partition, Account, QOS, Constraint string
	// FinishPartition is that of the last job, which needs neither GPU nor much memory;
	// "" for Partition.
	FinishPartition string
	Modules         []string // environment modules to load
	// Image is an Apptainer image that holds the program; "" to run Program itself.
	Image string
	// Binds are directories, source or source:destination, that Apptainer shows inside.
	Binds []string
	// Program is tfconvrnn-cli's path, or its name where it is found.
	Program string
	// Twice submits the array a second time, after itself, as a plan of Gram matrices wants: they come after all features.
	Twice bool
	// Logs is the absolute path of the directory for the jobs' output.
	Logs string
	// Options are further ones of sbatch for all jobs, such as --reservation=x.
	Options []string
}

// SlurmScripts are the texts of two batch scripts.
type SlurmScripts struct {
	Work   string `json:"work"`   // an array job
	Finish string `json:"finish"` // to be submitted with a dependency on the other
}

// warning is how long before the time limit Slurm tells a worker.
const warning = 2 * time.Minute

var (
	//go:embed work.sbatch.tmpl
	workTemplate string
	//go:embed finish.sbatch.tmpl
	finishTemplate string

	slurmTemplates = func() *template.Template {
		t := template.New("work").Funcs(template.FuncMap{"sh": shellQuote, "comment": commentText})
		template.Must(t.Parse(workTemplate))
		template.Must(t.New("finish").Parse(finishTemplate))
		return t
	}()

	slurmName  = regexp.MustCompile(`^[A-Za-z0-9_.,+@:&|!*()\[\]-]*$`)
	moduleName = regexp.MustCompile(`^[A-Za-z0-9_.+][A-Za-z0-9_.+/=@-]*$`)
)

func (s *Slurm) check() error {
	if err := s.Work.check(); err != nil {
		return err
	}
	for _, option := range []struct{ name, value string }{
		{"partition", s.Partition}, {"account", s.Account}, {"quality of service", s.QOS},
		{"constraint", s.Constraint}, {"partition", s.FinishPartition},
	} {
		if !slurmName.MatchString(option.value) {
			return optionf("%s %q holds characters that Slurm's names do not have", option.name, option.value)
		}
	}
	for _, module := range s.Modules {
		if !moduleName.MatchString(module) {
			return optionf("module %q: letters, digits and . _ + / = @ - are possible", module)
		}
	}
	for _, bind := range s.Binds {
		source, destination, _ := strings.Cut(bind, ":")
		if source == "" || strings.ContainsAny(source+destination, ":,\x00") {
			return optionf(
				"bind %q: a directory, or two with a colon between them; commas and further colons have a meaning for Apptainer",
				bind)
		}
	}
	if s.Program == "" || strings.ContainsRune(s.Program, 0) || strings.ContainsRune(s.Image, 0) {
		return optionf("program %q, image %q", s.Program, s.Image)
	}
	if !filepath.IsAbs(s.Logs) {
		return optionf("folder of logs %q: Slurm needs its absolute path", s.Logs)
	}
	for _, text := range append([]string{s.Logs}, s.Options...) {
		if !oneLine(text) || strings.Contains(text, `\`) {
			return optionf("%q: sbatch's options can hold neither backslashes nor control characters", text)
		}
	}
	for _, option := range s.Options {
		if !strings.HasPrefix(option, "-") {
			return optionf("%q: options of sbatch begin with a hyphen", option)
		}
	}
	return nil
}

// slurmJob is what the templates see.
type slurmJob struct {
	*Slurm
	Directives []string // of sbatch, quoted
	Shards     int
	Command    []string // quoted for the shell, without what identifies the shard
	Warned     bool     // whether Slurm tells of the time limit
}

// Scripts writes the batch scripts. Errors wrap ErrOption.
func (s *Slurm) Scripts() (*SlurmScripts, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	scripts := &SlurmScripts{}
	var err error
	work, finish := []string{"extract", "work", "--plan", s.Plan}, []string{"extract", "finish", "--plan", s.Plan}
	if scripts.Work, err = s.script("work", s.workDirectives(), work); err != nil {
		return nil, err
	}
	if scripts.Finish, err = s.script("finish", s.finishDirectives(), finish); err != nil {
		return nil, err
	}
	return scripts, nil
}

func (s *Slurm) script(name string, directives, arguments []string) (string, error) {
	_, gpus := s.gpu()
	job := slurmJob{Slurm: s, Shards: s.Workers, Warned: s.Time > 2*warning}
	for _, d := range directives {
		job.Directives = append(job.Directives, directive(d))
	}
	words := []string{s.Program}
	if s.Image != "" {
		words = []string{"apptainer", "exec"}
		if gpus > 0 && name == "work" {
			words = append(words, "--nv")
		}
		for _, bind := range s.Binds {
			words = append(words, "--bind", bind)
		}
		words = append(words, s.Image, s.Program)
	}
	words = append(words, arguments...)
	for _, word := range words {
		quoted, err := shellQuote(word)
		if err != nil {
			return "", err
		}
		job.Command = append(job.Command, quoted)
	}
	var text bytes.Buffer
	if err := slurmTemplates.ExecuteTemplate(&text, name, job); err != nil {
		return "", err
	}
	return text.String(), nil
}

func (s *Slurm) workDirectives() []string {
	array := fmt.Sprintf("--array=0-%d", s.Workers-1)
	if s.AtOnce > 0 {
		array += fmt.Sprintf("%%%d", s.AtOnce)
	}
	directives := []string{
		"--job-name=" + s.Name,
		array,
		"--output=" + slurmPath(s.Logs) + "/%x-%A_%a.log",
		"--open-mode=append", // a task that runs again goes on in the same file
		"--requeue",
		"--nodes=1",
		"--ntasks=1",
	}
	if s.CPUs > 0 {
		directives = append(directives, fmt.Sprintf("--cpus-per-task=%d", s.CPUs))
	}
	if s.GPUs != "" {
		directives = append(directives, "--gres=gpu:"+s.GPUs)
	}
	if s.Memory > 0 {
		directives = append(directives, fmt.Sprintf("--mem=%dM", s.Memory/mebibyte))
	}
	if s.Time > 0 {
		directives = append(directives, "--time="+slurmDuration(s.Time))
	}
	if s.Time > 2*warning {
		directives = append(directives, fmt.Sprintf("--signal=B:USR1@%d", int(warning.Seconds())))
	}
	return append(directives, s.commonDirectives(s.Partition)...)
}

func (s *Slurm) finishDirectives() []string {
	directives := []string{
		"--job-name=" + s.Name + "-finish",
		"--output=" + slurmPath(s.Logs) + "/%x-%j.log",
		"--open-mode=append",
		"--requeue",
		"--nodes=1",
		"--ntasks=1",
	}
	if s.Time > 0 {
		directives = append(directives, "--time="+slurmDuration(s.Time))
	}
	partition := s.FinishPartition
	if partition == "" {
		partition = s.Partition
	}
	return append(directives, s.commonDirectives(partition)...)
}

func (s *Slurm) commonDirectives(partition string) []string {
	var directives []string
	for _, option := range []struct{ name, value string }{
		{"partition", partition}, {"account", s.Account}, {"qos", s.QOS}, {"constraint", s.Constraint},
	} {
		if option.value != "" {
			directives = append(directives, "--"+option.name+"="+option.value)
		}
	}
	return append(directives, s.Options...)
}

// slurmDuration writes a time as days-hours:minutes:seconds.
func slurmDuration(d time.Duration) string {
	seconds := int64(d / time.Second)
	return fmt.Sprintf("%d-%02d:%02d:%02d", seconds/86400, seconds/3600%24, seconds/60%60, seconds%60)
}

// slurmPath keeps a path's percent signs from being taken for patterns of file names.
func slurmPath(path string) string { return strings.ReplaceAll(path, "%", "%%") }

// directive quotes one option as sbatch reads it after #SBATCH: blanks and # end a
// word, both quotes and the backslash are as in a shell, and nothing is expanded.
func directive(option string) string {
	if !strings.ContainsAny(option, " \t#\"'") {
		return option
	}
	name, value, assigned := strings.Cut(option, "=")
	if !assigned {
		name, value = "", option
	} else {
		name += "="
	}
	return name + `"` + strings.ReplaceAll(value, `"`, `\"`) + `"`
}

// shellQuote makes text one word of bash.
func shellQuote(text string) (string, error) {
	quoted, err := syntax.Quote(text, syntax.LangBash)
	if err != nil {
		return "", optionf("%q cannot be written in a script: %v", text, err)
	}
	return quoted, nil
}

// commentText makes text one line.
func commentText(text string) string {
	if oneLine(text) {
		return text
	}
	return fmt.Sprintf("%+q", text)
}

func oneLine(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == unicode.ReplacementChar
	})
}
