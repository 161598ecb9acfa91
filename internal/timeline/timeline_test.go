package timeline

import (
	"bytes"
	"image/png"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

func TestTimeline(t *testing.T) {
	model, err := savedmodels.Lookup("timedecay_shallow")
	require.NoError(t, err)
	for _, c := range []struct {
		spec   tfconvrnn.PresentationSpec
		frames int
		row    string
		conv3  string
	}{
		{tfconvrnn.PresentationSpec{OnMS: []float64{20, 60}, OffMS: []float64{40, 80}, Times: new(10)}, 0, "..##..##..",
			"....======"},
		{tfconvrnn.PresentationSpec{OnMS: []float64{10}, Times: new(10), TimestepsPerFrame: 2}, 3, ".112233...",
			"...======="},
		{tfconvrnn.PresentationSpec{OnMS: []float64{90}, Times: new(10)}, 0, ".........#", ".........."},
	} {
		shown, _, err := c.spec.Presentation(model)
		require.NoError(t, err)
		line := New(model, shown, c.frames)
		var out strings.Builder
		require.NoError(t, line.Print(&out))
		assert.Regexp(t, `(?m)^stimulus +\Q`+c.row+`\E$`, out.String())
		assert.Regexp(t, `(?m)^conv3 +\Q`+c.conv3+`\E  `, out.String())
		data, err := line.PNG()
		require.NoError(t, err)
		_, err = png.Decode(bytes.NewReader(data))
		require.NoError(t, err)
	}
}
