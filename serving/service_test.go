package serving

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/tfconvrnn"
)

const testModel = "timedecay_shallow"

var loadOnce = sync.OnceValues(func() (*tfconvrnn.Model, error) {
	store, err := os.MkdirTemp("", "serving")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(store)
	return tfconvrnn.Load(testModel, tfconvrnn.WithWeights("seeded:1"), tfconvrnn.WithStore(store))
})

// loaded returns the model of all tests of the process.
func loaded(t testing.TB) *tfconvrnn.Model {
	if err := tfconvrnn.RuntimeError(); err != nil {
		if os.Getenv("TFCONVRNN_REQUIRE_RUNTIME") != "" {
			require.NoError(t, err)
		}
		t.Skip(err)
	}
	model, err := loadOnce()
	require.NoError(t, err)
	return model
}

// newTestService returns a service of the test's model, and its address.
func newTestService(t testing.TB, options Options) (*Service, string) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	s, err := New([]string{testModel}, options)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	require.NoError(t, s.Add(t.Context(), loaded(t)))
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL
}

// randomPixels makes n images.
func randomPixels(n int, seed uint64) []uint8 {
	random := rand.New(rand.NewPCG(seed, 1))
	pixels := make([]uint8, n*imageValues)
	for i := range pixels {
		pixels[i] = uint8(random.Uint32())
	}
	return pixels
}

// extracted is what Model.Extract gives of images in one batch.
func extracted(t testing.TB, pixels []uint8, options ...tfconvrnn.ExtractOption) *tfconvrnn.Features {
	stimuli, err := tfconvrnn.FromUint8(pixels)
	require.NoError(t, err)
	f, err := loaded(t).Extract(t.Context(), stimuli, append(options, tfconvrnn.BatchSize(len(stimuli)))...)
	require.NoError(t, err)
	return f
}

// answer is a response in JSON.
type answer struct {
	ID         string         `json:"id"`
	Error      string         `json:"error"`
	Parameters map[string]any `json:"parameters"`
	Outputs    []struct {
		Name     string          `json:"name"`
		Datatype string          `json:"datatype"`
		Shape    []int           `json:"shape"`
		Data     json.RawMessage `json:"data"`
	} `json:"outputs"`
}

// outputOf returns the values of an output.
func outputOf[T any](t testing.TB, a *answer, name string) (values []T, shape []int) {
	for _, o := range a.Outputs {
		if o.Name == name {
			require.NoError(t, json.Unmarshal(o.Data, &values))
			return values, o.Shape
		}
	}
	require.Fail(t, "no output "+name)
	return nil, nil
}

// post sends a body and returns the status and the answer.
func post(t testing.TB, url, contentType string, body []byte) (int, *answer) {
	response, err := http.Post(url, contentType, bytes.NewReader(body))
	require.NoError(t, err)
	defer response.Body.Close()
	a := &answer{}
	require.NoError(t, json.NewDecoder(response.Body).Decode(a))
	return response.StatusCode, a
}

// imagesJSON is an input of images as JSON.
func imagesJSON(pixels []uint8) string {
	numbers := make([]int, len(pixels)) // bytes would become base64
	for i, v := range pixels {
		numbers[i] = int(v)
	}
	data, err := json.Marshal(numbers)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"name":"images","datatype":"UINT8","shape":[%d,224,224,3],"data":%s}`,
		len(pixels)/imageValues, data)
}

const inferPath = "/v2/models/" + testModel + "/infer"

// What the service puts out is what Extract gives, to the last bit.
func TestInferEqualsExtract(t *testing.T) {
	_, url := newTestService(t, Options{})
	pixels := randomPixels(3, 1)
	want := extracted(t, pixels, tfconvrnn.Layers("conv5", "imnetds"), tfconvrnn.WithPresentation(tfconvrnn.Neural()),
		tfconvrnn.Logits())
	status, a := post(t, url+inferPath, "application/json",
		[]byte(`{"id":"seven","parameters":{"layers":"conv5,imnetds","presentation":"neural","include_logits":true,"top":2},"inputs":[`+
			imagesJSON(pixels)+`]}`))
	require.Equal(t, http.StatusOK, status, a.Error)
	assert.Equal(t, "seven", a.ID)
	assert.Equal(t, map[string]any{"batch_size": 3.0, "untrained": true}, a.Parameters)
	for i, layer := range []string{"conv5", "imnetds"} {
		values, shape := outputOf[float32](t, a, layer)
		l := want.Layers[i]
		assert.Equal(t, append([]int{3, len(l.Timesteps)}, l.Shape...), shape)
		assert.Equal(t, l.Data, values, layer)
		timesteps, _ := outputOf[int](t, a, layer+"/timesteps")
		assert.Equal(t, l.Timesteps, timesteps)
		ms, _ := outputOf[int](t, a, layer+"/ms")
		assert.Equal(t, l.Milliseconds, ms)
		driven, _ := outputOf[bool](t, a, layer+"/driven")
		assert.Equal(t, l.Driven, driven)
	}
	logits, shape := outputOf[float32](t, a, "logits")
	assert.Equal(t, []int{3, 1000}, shape)
	assert.Equal(t, want.Logits, logits)
	classes, shape := outputOf[int](t, a, "classes")
	assert.Equal(t, []int{3, 2}, shape)
	for i := range 3 {
		best := 0
		for k, v := range logits[1000*i : 1000*(i+1)] {
			if v > logits[1000*i+best] {
				best = k
			}
		}
		assert.Equal(t, best, classes[2*i])
	}
}

// Units of layers are selected with the words of extract's --select; requests that select others may wait together.
func TestSelect(t *testing.T) {
	s, url := newTestService(t, Options{})
	pixels := randomPixels(2, 1)
	ask := func(selected string) (int, *answer) {
		return post(t, url+inferPath, "application/json", []byte(`{"parameters":{"layers":"conv4,conv5,imnetds","select":`+
			selected+`},"inputs":[`+imagesJSON(pixels)+`]}`))
	}
	want := extracted(t, pixels, tfconvrnn.Layers("conv4", "conv5", "imnetds"),
		tfconvrnn.SelectUnits("conv4,conv5=center+channels(3,0-1)", "imnetds=channels(7)"))
	for _, selected := range []string{`"conv4,conv5=center+channels(3,0-1),imnetds=channels(7)"`,
		`["conv4,conv5=center+channels(3,0-1)","imnetds=channels(7)"]`} {
		status, a := ask(selected)
		require.Equal(t, http.StatusOK, status, a.Error)
		for _, l := range want.Layers {
			values, shape := outputOf[float32](t, a, l.Name)
			assert.Equal(t, append([]int{2, len(l.Timesteps)}, l.Shape...), shape)
			assert.Equal(t, l.Data, values, l.Name)
		}
	}
	assert.Equal(t, []int{3}, want.Layers[0].Shape)
	for selected, says := range map[string]string{
		`"conv4"`: "ends in conv4", `"conv3=center"`: "conv3 are selected, which is not extracted",
		`"conv4=(99,0)"`:              "positions",
		`"conv4=center,conv4=center"`: "twice", `"conv4=middle"`: "middle", `7`: "string",
	} {
		status, a := ask(selected)
		assert.Equal(t, http.StatusBadRequest, status, selected)
		assert.Contains(t, a.Error, says, selected)
	}
	status, a := post(t, url+inferPath, "application/json",
		[]byte(`{"parameters":{"select":"conv4=center"},"outputs":[{"name":"logits"}],"inputs":[`+imagesJSON(pixels)+`]}`))
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, a.Error, "not extracted")

	// In one queue, or beyond the combinations that are kept, each gets its own.
	model, err := s.model(testModel, "")
	require.NoError(t, err)
	center := wish{layers: []string{"conv5"}, selections: []string{"conv5=center"}}
	other := wish{layers: []string{"conv5"}, selections: []string{"conv5=(0,0)"}}
	for i := range maxCombinations {
		model.combinations[fmt.Sprint(i)] = true
	}
	free := held(s)
	var results []func() (*result, error)
	for _, w := range []wish{center, other} {
		p, err := model.plan(w, 32)
		require.NoError(t, err)
		results = append(results, computing(t.Context(), t, s, p, pixels))
	}
	eventuallyWaiting(t, s, 4)
	free()
	for i, w := range []wish{center, other} {
		r, err := results[i]()
		require.NoError(t, err)
		assert.Equal(t, extracted(t, pixels, tfconvrnn.Layers("conv5"),
			tfconvrnn.SelectUnits(w.selections...)).Layers[0].Data, r.layers[0])
	}
}

// A file of selected units says which they are, as extract's do.
func TestSelectNPZ(t *testing.T) {
	_, url := newTestService(t, Options{})
	form, contentType := formBody(t,
		map[string]string{"layers": "conv4,conv5", "select": "conv4=center,conv5=channels(2,5)", "reduce": "conv5=gap",
			"format": "npz"},
		map[string][]byte{"a.png": pngOf(t, randomPixels(1, 1))})
	response, err := http.Post(url+"/v1/extract", contentType, bytes.NewReader(form))
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	name := filepath.Join(t.TempDir(), "a.npz")
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, content, 0o600))
	file, err := features.OpenArrays(name)
	require.NoError(t, err)
	defer file.Close()
	assert.Subset(t, file.Names(), []string{"conv4/row", "conv4/column", "conv5/channels"})
	array, err := file.Array("conv5")
	require.NoError(t, err)
	assert.Equal(t, 2, array.Info().Shape[len(array.Info().Shape)-1])
}

// pngOf encodes the first image.
func pngOf(t testing.TB, pixels []uint8) []byte {
	picture := image.NewNRGBA(image.Rect(0, 0, tfconvrnn.ImageSize, tfconvrnn.ImageSize))
	for i := range tfconvrnn.ImageSize * tfconvrnn.ImageSize {
		copy(picture.Pix[4*i:], []uint8{pixels[3*i], pixels[3*i+1], pixels[3*i+2], 255})
	}
	var buffer bytes.Buffer
	require.NoError(t, png.Encode(&buffer, picture))
	return buffer.Bytes()
}
