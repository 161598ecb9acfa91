package console

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestProgressLines(t *testing.T) {
	var out bytes.Buffer
	c := New("program", &out, false)
	task := c.Start("extracting", UnitImages, 100)
	task.Set(1, 100)
	assert.Empty(t, out.String(), "not before the interval is over")
	task.begun, task.lastLine = task.begun.Add(-20*time.Second), task.lastLine.Add(-20*time.Second)
	task.Set(50, 100)
	assert.Regexp(t, `^extracting: 50 of 100 images, 2\.\d+ images/s, 20s left\n$`, out.String())
	task.End()
	task.End()

	out.Reset()
	quiet := New("program", &out, true)
	quiet.Note("hidden")
	quiet.Warn("shown")
	assert.Equal(t, "program: warning: shown\n", out.String())
}

// A program that draws a bar of its own is told of the beginning, the end, and what comes between now and then.
func TestProgressForPrograms(t *testing.T) {
	var out bytes.Buffer
	c := New("program", &out, false)
	c.Every(time.Hour)
	task := c.Start("extracting", UnitChunks, 4)
	task.Set(0, 4)
	task.Set(1, 4)
	task.lastLine = task.lastLine.Add(-time.Hour)
	task.Set(2, 4)
	task.Set(3, 4)
	task.Set(4, 4)
	var said []string
	for line := range strings.Lines(out.String()) {
		said = append(said, strings.Fields(line)[1])
	}
	assert.Equal(t, []string{"0", "2", "4"}, said, out.String())
}

func TestShortCount(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 999: "999", 1000: "1.0 k", 23_956_840: "24.0 M", 23_949_999: "23.9 M", 999_949: "999.9 k", 999_950: "1.0 M",
		999_999_999: "1.0 G",
	} {
		assert.Equal(t, want, ShortCount(n), n)
	}
}

// What an interrupted run did counts for no rate.
func TestRateAfterResuming(t *testing.T) {
	current := New("program", &bytes.Buffer{}, true).Start("extracting", UnitImages, 2000)
	current.Resume(1000, 2000)
	assert.InDelta(t, 1, current.rate(1010, 10*time.Second), 1e-9)
	left, ok := current.left(1010, 2000, 10*time.Second)
	assert.True(t, ok)
	assert.Equal(t, 990*time.Second, left)
	_, ok = current.left(1000, 2000, 10*time.Second)
	assert.False(t, ok, "nothing is known yet")
}
