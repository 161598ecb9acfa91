package stimuli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Images that the presentation never shows are told of, wherever a sequence comes from.
func TestHiddenImages(t *testing.T) {
	t.Chdir(t.TempDir())
	for i := range 6 {
		writePicture(t, fmt.Sprintf("walk/%d.png", i), uint8(i))
	}
	writePicture(t, "short/0.png", 1)
	writeNPY(t, "movie.npy", []int{1, 6, 224, 224, 3}, func(i int) uint8 { return uint8(i) })
	writeGIF(t, "wave.gif", 0, 255, 0, 255, 0, 255)
	writeText(t, "v.mp4", "anything")
	writeText(t, "timed.csv",
		"stimulus_id,timestep,path\na,0,walk/0.png\na,2,walk/1.png\na,3,walk/2.png\na,7,walk/3.png\n")
	video := fakeFFmpeg(t, strings.Repeat(`printf 'P6\n224 224\n255\n'; head -c 150528 /dev/zero`+"\n", 6))
	info, err := savedmodels.Lookup("timedecay_shallow")
	require.NoError(t, err)
	visible := func(p tfconvrnn.Presentation, times int) []bool {
		p, err := p.Resolve(info)
		require.NoError(t, err)
		return VisibleFrames(p, times)
	}
	all := visible(tfconvrnn.Sequence(4, 1), 4)
	assert.Equal(t, []bool{true, true, true, true}, all)
	gaps := visible(tfconvrnn.Episodes(8, tfconvrnn.Episode{On: 1, Off: 3},
		tfconvrnn.Episode{On: 4, Off: 8}).WithTimestepsPerFrame(1), 8)
	assert.Equal(t, []bool{true, true, false, true, true, true, true, false}, gaps)
	for _, c := range []struct {
		input   string
		frames  int
		visible []bool
		told    string
	}{
		{"walk", 4, all, "1 of the sequences have images that the presentation never shows, first walk: 4 of 6 are shown"},
		{"walk", 6, nil, ""},
		{"walk", 8, gaps, "5 of 6 are shown"},
		{"short", 4, all, ""},
		{"movie.npy", 4, all, "first movie.npy[0]: 4 of 6 are shown"},
		{"timed.csv", 4, all, "first a: 3 of 4 are shown"},
		{"timed.csv", 8, gaps, "first a: 2 of 4 are shown"}, // hidden are timesteps 2 and 7
		{"wave.gif", 4, all, "wave.gif has 6 frames, of which the presentation shows 4"},
		{"wave.gif", 6, nil, ""},
		{"v.mp4", 4, all, "v.mp4 goes on after the 4 frames"},
		{"v.mp4", 6, nil, ""},
	} {
		var told []string
		set := open(t, Options{Inputs: []string{c.input}, Animate: true, FolderSequences: true, MaxFrames: c.frames,
			Visible: c.visible, FFmpeg: video, Warn: warnings(&told)})
		collect(t, set)
		if c.told == "" {
			assert.Empty(t, told, c.input)
			continue
		}
		require.Len(t, told, 1, c.input)
		assert.Contains(t, told[0], c.told)
	}
	set := open(t, Options{Inputs: []string{"walk/0.png", "wave.gif", "movie.npy"}, Animate: true})
	assert.Equal(t, 1, set.Stills())
	_, summary := scanned(t, Options{Inputs: []string{"walk/0.png", "wave.gif"}})
	assert.Equal(t, 2, summary.Stills)
}

// How stimuli are shown depends on what they are: a sequence is shown image by image.
func TestPresentationOfKinds(t *testing.T) {
	info, err := savedmodels.Lookup("timedecay_shallow")
	require.NoError(t, err)
	for _, c := range []struct {
		set              Summary
		asked, timesteps int
		err              error
		said             string
	}{
		{Summary{Stills: 2}, 0, 0, nil, ""},
		{Summary{Stills: 2}, 3, 3, nil, ""},
		{Summary{Sequences: true}, 0, 1, nil, "note: each image of a sequence is shown for 1 timestep of 10 ms"},
		{Summary{Sequences: true}, 4, 4, nil, ""},
		{Summary{Sequences: true, Timed: true}, 0, 1, nil, "note: timesteps of the table count from the first onset"},
		{Summary{Sequences: true, Timed: true}, 1, 1, nil, ""},
		{Summary{Sequences: true, Timed: true}, 4, 0, ErrTimed, ""},
		{Summary{Sequences: true, Stills: 1}, 0, 0, ErrStills, ""},
		{Summary{Sequences: true, Stills: 2}, 4, 4, nil,
			"warn: 2 still pictures among sequences are shown for 4 timesteps only"},
	} {
		said := ""
		say := func(how string) func(string) { return func(message string) { said += how + ": " + message } }
		shown, err := c.set.Presentation(tfconvrnn.PresentationSpec{TimestepsPerFrame: c.asked}, info, say("warn"),
			say("note"))
		if c.err != nil {
			assert.ErrorIs(t, err, c.err)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, c.timesteps, shown.TimestepsPerFrame(), "%+v", c)
		assert.True(t, strings.HasPrefix(said, c.said) && (said == "") == (c.said == ""), "%q", said)
	}
}

// What is read of sequences is what the presentation can show of them.
func TestShowAs(t *testing.T) {
	info, err := savedmodels.Lookup("timedecay_shallow")
	require.NoError(t, err)
	total := 100.
	o := Options{}
	require.NoError(t, o.ShowAs(tfconvrnn.PresentationSpec{TotalMS: &total, TimestepsPerFrame: 4}, info))
	assert.Equal(t, 3, o.MaxFrames)
	assert.Equal(t, 25., o.FramesPerSecond)
	assert.Equal(t, []bool{true, true, true}, o.Visible)
	require.NoError(t,
		o.ShowAs(tfconvrnn.PresentationSpec{TotalMS: &total, OnMS: []float64{0}, OffMS: []float64{20}}, info))
	assert.Equal(t, 10, o.MaxFrames)
	assert.Equal(t, []bool{true, true, false, false, false, false, false, false, false, false}, o.Visible)
	total = 15
	assert.ErrorIs(t, o.ShowAs(tfconvrnn.PresentationSpec{TotalMS: &total}, info), tfconvrnn.ErrPresentation)
}
