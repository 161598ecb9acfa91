package explorer

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/imagenet"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// readout returns a readout whose class 7 is ahead of the others by so much at each timestep.
func readout(ahead ...float32) *tfconvrnn.LayerFeatures {
	l := &tfconvrnn.LayerFeatures{Data: make([]float32, len(ahead)*imagenet.Classes)}
	l.Shape = []int{imagenet.Classes}
	for t, v := range ahead {
		l.Timesteps, l.Driven = append(l.Timesteps, t), append(l.Driven, t >= 10)
		l.Data[t*imagenet.Classes+7] = v
	}
	return l
}

// The timestep is the one whose readout is what the graph decodes, counted from the onset.
func TestDecide(t *testing.T) {
	// Confidences: below 0.6 before timestep 13, 0.9 at 13, the greatest at 15. What is before 11 is not looked at.
	ahead := make([]float32, 17)
	copy(ahead[3:], []float32{20})
	copy(ahead[11:], []float32{6, 7, 9.2, 8, 12, 3})
	l := readout(ahead...)
	for _, test := range []struct {
		decoder  tfconvrnn.DecoderParameters
		timestep int
		reached  bool
	}{
		{tfconvrnn.DecoderParameters{Decoder: "last"}, 16, false},
		{tfconvrnn.DecoderParameters{Decoder: "max_conf", Beta: 1}, 15, false},
		{tfconvrnn.DecoderParameters{Decoder: "thresh", Beta: 1, Threshold: 0.9}, 13, true},
		{tfconvrnn.DecoderParameters{Decoder: "thresh", Beta: 1, Threshold: 0.9999}, 15, false},
		{tfconvrnn.DecoderParameters{Decoder: "thresh", Beta: 2, Threshold: 0.9}, 11, true},
	} {
		m := &Model{Decoder: test.decoder}
		d, err := decide(m, l, at(l, test.timestep))
		require.NoError(t, err)
		require.NotNil(t, d.Timestep)
		assert.Equal(t, test.timestep, *d.Timestep, "%+v", test.decoder)
		assert.Equal(t, test.reached, d.Reached, "%+v", test.decoder)
		assert.True(t, d.Driven)
		assert.Equal(t, 7, d.Classes[0].Index)
		assert.Equal(t, imagenet.At(7).Name(), d.Names[0])
	}
	short, err := decide(&Model{Decoder: tfconvrnn.DecoderParameters{Decoder: "thresh", Beta: 1, Threshold: 0.9}},
		readout(1, 2, 3), nil)
	require.NoError(t, err)
	assert.Nil(t, short.Timestep)
}

// Curves are of the classes that lead at some timestep, those that do so because of the picture first.
func TestClassesOverTime(t *testing.T) {
	ahead := make([]float32, 12)
	ahead[11] = 5
	l := readout(ahead...)
	l.Data[2*imagenet.Classes+900] = 30 // nothing has driven it
	l.Data[11*imagenet.Classes+8] = 4
	s := classesOverTime(l)
	require.Len(t, s.Top, 12)
	assert.Equal(t, 900, s.Top[2][0].Index)
	assert.Equal(t, []int{7, 8}, []int{s.Curves[0].Index, s.Curves[1].Index})
	assert.Len(t, s.Curves[0].Probabilities, 12)
	assert.InDelta(t, 148.4/(148.4+54.6+998), s.Curves[0].Probabilities[11], 1e-4)
}

func TestQuantile(t *testing.T) {
	list := make([]float32, 10_000)
	for i := range list {
		list[i] = float32(i)
	}
	assert.InDelta(t, 9990, quantile(list, 0.999), 20)
	assert.Zero(t, quantile(make([]float32, 10), 0.999))
	list[0] = 1e9 // one that would leave the others dark
	assert.InDelta(t, 9990, quantile(list, 0.999), 20)
	list = make([]float32, 300_000)
	list[299_999] = 2 // alone
	assert.Equal(t, 2.0, quantile(list, 0.999))
}
