package tfconvrnn

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/savedmodels"
)

func lookup(t *testing.T, name string) savedmodels.Model {
	model, err := savedmodels.Lookup(name)
	require.NoError(t, err)
	return model
}

func TestPresentationSpecs(t *testing.T) {
	model := lookup(t, "ugrnn_shallow") // the image is shown for 12 of 16 timesteps
	number, ms := func(n int) *int { return &n }, func(v float64) *float64 { return &v }
	for want, spec := range map[string]PresentationSpec{
		"default(times=16,on=0,off=12),blank=published": {},
		"custom(times=20,on=0,off=12),blank=published":  {Name: "default", Times: number(20)},
		"custom(times=8,on=0,off=8),blank=published":    {Times: number(8)},
		"custom(times=16,on=0,off=3),blank=published":   {ImageOff: number(3)},
		"neural(times=26,on=0,off=10),blank=published":  {Name: "neural"},
		"custom(times=30,on=0,off=10),blank=published":  {Name: "neural", TotalMS: ms(300)},
		"constant(times=7,on=0,off=7),blank=published":  {Name: "constant", Times: number(7)},
		"custom(times=7,on=0,off=2),blank=published": {Name: "custom", Times: number(7),
			ImageOff: number(2)},
		"episodes(times=40,on=0,off=10,on=20,off=30),blank=published": {OnMS: []float64{0, 200},
			OffMS: []float64{100, 300}, TotalMS: ms(400)},
		"episodes(times=16,on=2,off=16),blank=published":                       {Name: "custom", OnMS: []float64{20}},
		"episodes(times=16,on=0,off=5),blank=published":                        {OffMS: []float64{50}},
		"sequence(times=16,on=0,off=16,timesteps_per_frame=2),blank=published": {TimestepsPerFrame: 2},
		"neural(times=26,on=0,off=10,timesteps_per_frame=2),blank=published":   {Name: "neural", TimestepsPerFrame: 2},
		"default(times=16,on=0,off=12),blank=rgb(0.5,0.5,0.5)":                 {Blank: blank(t, "gray")},
		"episodes(times=26,on=0,off=12),blank=published": {OnMS: []float64{4.9},
			OffMS: []float64{116.67}, TotalMS: ms(255), Round: true},
		"sequence(times=10,on=0,off=10,timesteps_per_frame=3),blank=rgb(0,0.2,0.4)": {TotalMS: ms(100), TimestepsPerFrame: 3,
			Blank: blank(t, "0,51,102")},
	} {
		shown, rounded, err := spec.Presentation(model)
		require.NoError(t, err, want)
		assert.Equal(t, want, shown.String())
		if spec.Round {
			assert.ElementsMatch(t, []RoundedTime{{"total", 255, 260}, {"on", 4.9, 0}, {"off", 116.67, 120}}, rounded)
		} else {
			assert.Empty(t, rounded)
		}
	}
	for want, spec := range map[string]PresentationSpec{
		"unknown presentation \"blink\"":         {Name: "blink"},
		"constant needs times":                   {Name: "constant"},
		"never goes off":                         {Name: "constant", Times: number(3), ImageOff: number(1)},
		"custom needs times and image-off":       {Name: "custom", Times: number(3)},
		"both in timesteps and in milliseconds":  {Times: number(3), TotalMS: ms(30)},
		"a presentation of their own":            {Name: "neural", OnMS: []float64{0}},
		"comes on 2 times and goes off 3 times":  {OnMS: []float64{0, 20}, OffMS: []float64{10, 30, 40}},
		"off at NaN ms: no presentation":         {OffMS: []float64{math.NaN()}, Round: true},
		"total at 1e+300 ms: no presentation":    {TotalMS: ms(1e300)},
		"each frame is shown for -1 timesteps":   {TimestepsPerFrame: -1},
		"-3 timesteps; at least 1 is needed":     {TotalMS: ms(-30)},
		"at timestep 20 of a presentation of 16": {ImageOff: number(20)},
		"off at 116.67 ms: a timestep is 10 ms":  {OffMS: []float64{116.67}},
		"must be a multiple of that; write 260":  {TotalMS: ms(255)},
		"on from timestep 2 to 1; episodes must": {OnMS: []float64{20}, OffMS: []float64{10}},
	} {
		_, _, err := spec.Presentation(model)
		require.ErrorIs(t, err, ErrPresentation, want)
		assert.ErrorContains(t, err, want)
	}
	_, _, err := PresentationSpec{OnMS: []float64{15}}.Presentation(model)
	var timestep *TimestepError
	require.ErrorAs(t, err, &timestep)
	assert.Equal(t, TimestepError{"on", 15, 20}, *timestep)
}

func blank(t *testing.T, text string) Blank {
	b, err := ParseBlank(text, Preprocessing{})
	require.NoError(t, err)
	return b
}

func TestParseBlank(t *testing.T) {
	for text, want := range map[string]string{
		"": "published", "published": "published", "gray": "rgb(0.5,0.5,0.5)", "grey": "rgb(0.5,0.5,0.5)",
		"black": "rgb(0,0,0)", "white": "rgb(1,1,1)",
		"#ff0000": "rgb(1,0,0)", "255, 0,51": "rgb(1,0,0.2)",
	} {
		assert.Equal(t, want, blank(t, text).String(), text)
	}
	picture := filepath.Join("..", "testdata", "pictures", "chelsea.png")
	assert.Equal(t, "image("+filepath.Base(picture)+")", blank(t, picture).String())
	for _, text := range []string{"1,2,300", "-1,0,0", "a,b,c", "NaN,0,0"} {
		_, err := ParseBlank(text, Preprocessing{})
		assert.ErrorIs(t, err, ErrPresentation, text)
	}
	for _, text := range []string{"nothing.png", "#12", "1,2"} {
		_, err := ParseBlank(text, Preprocessing{})
		assert.ErrorIs(t, err, os.ErrNotExist, text)
		assert.ErrorContains(t, err, "is neither published")
	}
}

func TestParseDevices(t *testing.T) {
	for text, want := range map[string]Devices{
		"cpu": {CPU}, "gpu": {"gpu"}, "gpu:1": {GPU(1)}, "gpu:0,gpu:1": {GPU(0), GPU(1)}, " gpu:0, gpu:2 ,": {GPU(0), GPU(2)},
	} {
		devices, err := ParseDevices(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, devices)
		_, err = Load("nonesuch", WithDevices(devices...))
		assert.ErrorIs(t, err, ErrUnknownModel)
	}
	assert.Equal(t, "gpu:0,gpu:1", Devices{GPU(0), GPU(1)}.String())
	for _, text := range []string{"", ",", "tpu", "gpu:x", "gpu:-1", "gpu:256", "gpu:", "cpu:1", "gpu:0,cpu", "cpu,cpu",
		"gpu:0,1", "gpu,gpu:0"} {
		_, err := ParseDevices(text)
		assert.ErrorIs(t, err, ErrOption, text)
	}
}

// What plan files say of devices is read again as it was.
func TestDevicesAsText(t *testing.T) {
	for text, want := range map[string]Devices{"": nil, "cpu": {CPU}, "gpu:0,gpu:1": {GPU(0), GPU(1)}} {
		written, err := json.Marshal(struct{ Device Devices }{want})
		require.NoError(t, err)
		assert.Equal(t, `{"Device":"`+text+`"}`, string(written))
		var read struct{ Device Devices }
		require.NoError(t, json.Unmarshal(written, &read))
		assert.Equal(t, want, read.Device)
	}
	assert.ErrorIs(t, new(Devices).UnmarshalText([]byte("tpu")), ErrOption)
}

func TestParseChoices(t *testing.T) {
	for text, want := range map[string]Precision{"": Float32, "float32": Float32, "bfloat16": BFloat16} {
		p, err := ParsePrecision(text)
		require.NoError(t, err)
		assert.Equal(t, want, p)
	}
	for text, want := range map[string]Convolution{"": ConvolutionAuto, "auto": ConvolutionAuto,
		"direct": ConvolutionDirect} {
		c, err := ParseConvolution(text)
		require.NoError(t, err)
		assert.Equal(t, want, c)
	}
	_, err := ParsePrecision("Float32")
	assert.ErrorIs(t, err, ErrOption)
	_, err = ParseConvolution("winograd avx2") // what a model says, not what can be asked for
	assert.ErrorIs(t, err, ErrOption)
}

// Only a blank that is a picture has the hash of a file, whatever files there are.
func TestFileOfBlank(t *testing.T) {
	picture, err := os.ReadFile("../testdata/pictures/coffee.png")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	for _, name := range []string{"published", "gray", "#804020", "1,2,3", "blank.png"} {
		require.NoError(t, os.WriteFile(name, picture, 0o666))
	}
	for _, name := range []string{"", "published", "gray", "#804020", "1,2,3"} {
		blank, err := ParseBlank(name, Preprocessing{})
		require.NoError(t, err)
		assert.Empty(t, blank.FileSHA256(), name)
	}
	for _, name := range []string{"blank.png", "./published"} {
		blank, err := ParseBlank(name, Preprocessing{})
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("%x", sha256.Sum256(picture)), blank.FileSHA256(), name)
	}
	_, err = ParseBlank("none.png", Preprocessing{})
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

// The names that people write are those of the standard presentations, and no others.
func TestParsePresentationName(t *testing.T) {
	for _, name := range []PresentationName{DefaultPresentation, ConstantPresentation, NeuralPresentation,
		CustomPresentation} {
		parsed, err := ParsePresentationName(name.String())
		require.NoError(t, err)
		assert.Equal(t, name, parsed)
	}
	for _, text := range []string{"", "Neural", "blink"} {
		_, err := ParsePresentationName(text)
		assert.ErrorIs(t, err, ErrPresentation, text)
	}
}
