package stimuli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/images"
)

func TestVideoWithoutFFmpeg(t *testing.T) {
	t.Chdir(t.TempDir())
	writeText(t, "v.mp4", "no video")
	t.Setenv("PATH", "")
	set := open(t, Options{Inputs: []string{"v.mp4"}})
	for s := range set.From(0) {
		_, err := s.Frames[0].Pixels()
		assert.ErrorIs(t, err, ErrNoFFmpeg)
		assert.ErrorIs(t, err, ErrInput)
		assert.ErrorContains(t, err, "install")
	}
}

// A stand-in for ffmpeg that does what its first line says.
func fakeFFmpeg(t *testing.T, script string) string {
	if runtime.GOOS == "windows" {
		t.Skip("the stand-in for ffmpeg is a shell script")
	}
	path := filepath.Join(t.TempDir(), "ffmpeg")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o777))
	return path
}

func TestVideoStreams(t *testing.T) {
	t.Chdir(t.TempDir())
	writeText(t, "-v.mp4", "anything")
	frame := `printf 'P6\n224 224\n255\n'; head -c 150528 /dev/zero | tr '\000' '\%03o'` + "\n"
	for name, c := range map[string]struct {
		script string
		want   []int
		is     error
		says   string
	}{
		"three frames":    {fmt.Sprintf(frame, 7) + fmt.Sprintf(frame, 8) + fmt.Sprintf(frame, 8), []int{7, 8, 8}, nil, ""},
		"more than asked": {strings.Repeat(fmt.Sprintf(frame, 9), 6), []int{9, 9, 9, 9}, nil, ""},
		"endless":         {"while :; do " + fmt.Sprintf(frame, 9) + "done\n", []int{9, 9, 9, 9}, nil, ""},
		"fails":           {"echo 'moov atom not found' >&2; exit 1\n", nil, ErrVideo, "moov atom"},
		"fails midway":    {fmt.Sprintf(frame, 7) + "exit 3\n", nil, ErrVideo, "exit status 3"},
		"truncated":       {"printf 'P6 224 224 255\\nabc'\n", nil, ErrVideo, "frame 0"},
		"garbage":         {"echo this is not a picture at all\n", nil, ErrVideo, "PPM"},
		"no frame":        {"exit 0\n", nil, ErrVideo, "no frame"},
		"huge":            {"printf 'P6 29999 29999 255\\n'\n", nil, images.ErrTooLarge, "29999"},
		"long header":     {"head -c 100000 /dev/zero\n", nil, ErrVideo, "PPM"},
	} {
		set := open(t, Options{Inputs: []string{"-v.mp4"}, FFmpeg: fakeFFmpeg(t, c.script), MaxFrames: 4})
		for s := range set.From(0) {
			if c.is == nil {
				assert.Equal(t, c.want, greys(t, s), name)
				continue
			}
			_, err := s.Frames[0].Pixels()
			require.ErrorIs(t, err, c.is, name)
			assert.ErrorContains(t, err, c.says, name)
			assert.ErrorContains(t, err, "-v.mp4", name)
		}
	}
}

func TestVideoArguments(t *testing.T) {
	t.Chdir(t.TempDir())
	writeText(t, "v.mp4", "anything")
	program := fakeFFmpeg(t, "printf '%s\\n' \"$@\" > arguments\n")
	set := open(t, Options{Inputs: []string{"v.mp4"}, FFmpeg: program, MaxFrames: 13, FramesPerSecond: 50})
	for range set.From(0) {
	}
	text, err := os.ReadFile("arguments")
	require.NoError(t, err)
	assert.Contains(t, string(text), "fps=50\n")
	assert.Contains(t, string(text), "-frames:v\n14\n")
	assert.Contains(t, string(text), "/v.mp4\n")
}

// The real ffmpeg: what it encodes without loss is what is read, at the rate
// asked for.
func TestVideoThroughFFmpeg(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skipf("ffmpeg is not installed: %v", err)
	}
	t.Chdir(t.TempDir())
	for i := range 5 {
		writePicture(t, fmt.Sprintf("f%d.png", i), uint8(50*i))
	}
	for file, codec := range map[string][]string{
		"v.mkv": {"-c:v", "ffv1"}, "v.avi": {"-c:v", "rawvideo", "-pix_fmt", "bgr24"}, "v.mov": {"-c:v", "png"},
		"v.mp4": {"-c:v", "mpeg4", "-qscale:v", "1"},
	} {
		arguments := append([]string{"-loglevel", "error", "-framerate", "25", "-i", "f%d.png"}, codec...)
		out, err := exec.Command("ffmpeg", append(arguments, file)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		set := open(t, Options{Inputs: []string{file}, FramesPerSecond: 25})
		near(t, [][]int{{0, 50, 100, 150, 200}}, collect(t, set), file)
		set = open(t, Options{Inputs: []string{file}, FramesPerSecond: 50, MaxFrames: 7})
		near(t, [][]int{{0, 0, 50, 50, 100, 100, 150}}, collect(t, set), file)
	}
}

func near(t *testing.T, want, got [][]int, what string) {
	t.Helper()
	require.Len(t, got, len(want), what)
	for i := range want {
		require.Len(t, got[i], len(want[i]), "%s %v", what, got)
		for j := range want[i] {
			assert.InDelta(t, want[i][j], got[i][j], 2, "%s %v", what, got)
		}
	}
}
