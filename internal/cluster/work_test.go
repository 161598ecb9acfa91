package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]int64{
		"16G": 16 << 30, "16Gi": 16 << 30, "16GiB": 16 << 30, "500M": 500 << 20, "500": 500 << 20, "1K": 1 << 20,
		"2T": 2 << 40,
	} {
		got, err := ParseMemory(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "G", "-1G", "0", "1.5G", "1P", "5i", "999999999T", "16g", "1G\n"} {
		_, err := ParseMemory(text)
		assert.ErrorIs(t, err, ErrOption, text)
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90": 90 * time.Minute, "90:30": 90*time.Minute + 30*time.Second, "12:00:00": 12 * time.Hour,
		"2-12": 60 * time.Hour, "2-12:30": 60*time.Hour + 30*time.Minute,
		"2-12:30:15": 60*time.Hour + 30*time.Minute + 15*time.Second,
		"12h":        12 * time.Hour, "1h30m": 90 * time.Minute,
	} {
		got, err := ParseTime(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
		again, err := ParseTime(slurmDuration(want))
		require.NoError(t, err, text)
		assert.Equal(t, want, again, text)
	}
	for _, text := range []string{"", "0", "x", "-5", "1:2:3:4", "1500ms", "1-2-3", "12:00:00\n"} {
		_, err := ParseTime(text)
		assert.ErrorIs(t, err, ErrOption, text)
	}
}

func TestJobName(t *testing.T) {
	for file, want := range map[string]string{
		"/a/it.plan": "it", "V4 & IT.plan": "v4-it", "éè.plan": "extract", ".plan": "extract", "--x--.plan": "x",
		"a-very-long-name-indeed-of-a-plan-that-goes-on-and-on.plan": "a-very-long-name-indeed-of-a-plan-that-g",
	} {
		assert.Equal(t, want, JobName(file), file)
		assert.Regexp(t, jobName(), JobName(file))
	}
}

// work returns options that are all right.
func work() Work {
	return Work{Name: "it", Plan: "/data/it.plan", Workers: 8, Restarts: 10}
}

func TestUnusableOptions(t *testing.T) {
	for name, spoil := range map[string]func(w *Work){
		"name":      func(w *Work) { w.Name = "a\n#SBATCH --wrap=x" },
		"long name": func(w *Work) { w.Name = "a234567890123456789012345678901234567890123456789012345" },
		"plan":      func(w *Work) { w.Plan = "it.plan" },
		"NUL":       func(w *Work) { w.Plan = "/a\x00" },
		"workers":   func(w *Work) { w.Workers = 0 },
		"many":      func(w *Work) { w.Workers = 1 << 20 },
		"at once":   func(w *Work) { w.AtOnce = -1 },
		"cores":     func(w *Work) { w.CPUs = -1 },
		"memory":    func(w *Work) { w.Memory = 1000 },
		"GPUs":      func(w *Work) { w.GPUs = "1\n" },
		"time":      func(w *Work) { w.Time = -time.Hour },
		"restarts":  func(w *Work) { w.Restarts = -1 },
		"argument":  func(w *Work) { w.Arguments = []string{"\x00"} },
	} {
		w := work()
		spoil(&w)
		_, err := (&Slurm{Work: w, Program: "tfconvrnn-cli", Logs: "/logs"}).Scripts()
		assert.ErrorIs(t, err, ErrOption, name)
		_, err = (&Kubernetes{Work: w, Image: "image"}).Manifest()
		assert.ErrorIs(t, err, ErrOption, name)
	}
}
