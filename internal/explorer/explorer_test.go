package explorer_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image/png"
	"io"
	"math"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/explorer"
	"github.com/tfconvrnn/go/tfconvrnn"
)

const model = "timedecay_shallow"

func photograph(t testing.TB, name string) []byte {
	data, err := os.ReadFile(filepath.Join("../../testdata/pictures", name))
	require.NoError(t, err)
	return data
}

// get asks for a path, and returns the answer's body.
func get(t testing.TB, server *httptest.Server, path string, status int) []byte {
	t.Helper()
	answer, err := server.Client().Get(server.URL + path)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, status, answer.StatusCode, "%s", body)
	return body
}

func getJSON[T any](t testing.TB, server *httptest.Server, path string) (value T) {
	t.Helper()
	require.NoError(t, json.Unmarshal(get(t, server, path, 200), &value))
	return value
}

// event is a server-sent event.
type event struct {
	name string
	data json.RawMessage
}

// answered is what respond sent.
type answered struct {
	status int
	events []event
	body   string
}

func (a *answered) find(t testing.TB, name string, value any) {
	t.Helper()
	for _, e := range a.events {
		if e.name == name {
			require.NoError(t, json.Unmarshal(e.data, value))
			return
		}
	}
	require.Fail(t, "no event "+name, "%s", a.body)
}

// respondForm is what respond takes.
func respondForm(t testing.TB, picture []byte, ask string) (form *bytes.Buffer, contentType string) {
	t.Helper()
	form = &bytes.Buffer{}
	parts := multipart.NewWriter(form)
	require.NoError(t, parts.WriteField("request", ask))
	file, err := parts.CreateFormFile("picture", "picture.png")
	require.NoError(t, err)
	_, err = file.Write(picture)
	require.NoError(t, err)
	require.NoError(t, parts.Close())
	return form, parts.FormDataContentType()
}

// respond posts a picture and what is asked.
func respond(t testing.TB, server *httptest.Server, picture []byte, ask string) *answered {
	t.Helper()
	form, contentType := respondForm(t, picture, ask)
	answer, err := server.Client().Post(server.URL+"/explorer/respond", contentType, form)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	a := &answered{status: answer.StatusCode, body: string(body)}
	for block := range strings.SplitSeq(a.body, "\n\n") {
		if name, data, found := strings.Cut(block, "\ndata: "); found {
			a.events = append(a.events, event{strings.TrimPrefix(name, "event: "), json.RawMessage(data)})
		}
	}
	return a
}

// run posts a picture and returns the run's id.
func run(t testing.TB, server *httptest.Server, picture []byte, ask string) (id string, a *answered) {
	t.Helper()
	a = respond(t, server, picture, ask)
	require.Equal(t, 200, a.status, a.body)
	var done struct{ Run string }
	a.find(t, "done", &done)
	return done.Run, a
}

const neural = `{"model":"timedecay_shallow","name":"chelsea.png","presentation":{"times":26,"episodes":[[0,10]]}}`

// What is previewed are the pixels that ReadImages takes of the same file, and they pass through respond as they are.
func TestPreviewIsWhatTheModelSees(t *testing.T) {
	server := serve(t, &engine{models: []explorer.Model{{}}}, explorer.Options{})
	for _, name := range []string{"chelsea.png", "rocket.jpg"} {
		post := func(picture []byte) ([]byte, http.Header) {
			began := time.Now()
			answer, err := server.Client().Post(server.URL+"/explorer/preview?name="+name, "image/png", bytes.NewReader(picture))
			require.NoError(t, err)
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			require.Equal(t, 200, answer.StatusCode, "%s", body)
			t.Logf("%s: %v", name, time.Since(began))
			return body, answer.Header
		}
		file, header := post(photograph(t, name))
		picture, err := png.Decode(bytes.NewReader(file))
		require.NoError(t, err)
		stimuli, err := tfconvrnn.ReadImages("../../testdata/pictures/" + name)
		require.NoError(t, err)
		want, err := stimuli[0].Frames[0].Pixels()
		require.NoError(t, err)
		require.Equal(t, tfconvrnn.ImageSize, picture.Bounds().Dx())
		for i := range want {
			r, g, b, a := picture.At(i/3%tfconvrnn.ImageSize, i/3/tfconvrnn.ImageSize).RGBA()
			require.Equal(t, uint32(0xffff), a)
			require.InDelta(t, want[i], float64([]uint32{r, g, b}[i%3]>>8)/255, 1e-6)
		}
		again, _ := post(file)
		require.Equal(t, file, again)
		text, err := strconv.Unquote(header.Get("Picture-Info"))
		require.NoError(t, err)
		assert.Contains(t, text, `"width":`)
	}
}

func TestPreviewRefusesInWords(t *testing.T) {
	server := serve(t, &engine{models: []explorer.Model{{}}}, explorer.Options{MaxPictureBytes: 1 << 20})
	for text, status := range map[string]int{"": 422, "no picture": 422, "\x89PNG\r\n\x1a\n": 422,
		strings.Repeat("x", 2<<20): 413} {
		answer, err := server.Client().Post(server.URL+"/explorer/preview?name=a.png", "image/png", strings.NewReader(text))
		require.NoError(t, err)
		var said struct{ Error string }
		require.NoError(t, json.NewDecoder(answer.Body).Decode(&said))
		answer.Body.Close()
		assert.Equal(t, status, answer.StatusCode, "%.20q", text)
		assert.NotEmpty(t, said.Error)
	}
}

type maps struct {
	Times, Height, Width int
	Channels             []int
	Parts                []struct {
		Part    string
		Zero    int
		Steps   []float64
		Clipped float64
	}
	bytes []byte
}

func readMaps(t testing.TB, body []byte) (m maps) {
	length := binary.LittleEndian.Uint32(body)
	require.NoError(t, json.Unmarshal(body[4:4+length], &m))
	m.bytes = body[4+length:]
	require.Len(t, m.bytes, len(m.Parts)*m.Times*len(m.Channels)*m.Height*m.Width)
	return m
}

// value is what a byte of a map stands for.
func (m *maps) value(part, t, channel, place int) (value, step float64) {
	q := m.bytes[((part*m.Times+t)*len(m.Channels)+channel)*m.Height*m.Width+place]
	p := m.Parts[part]
	return float64(int(q)-p.Zero) * p.Steps[channel], p.Steps[channel]
}

// Everything that the page gets is what Extract computes of the same file.
func TestRunEqualsExtract(t *testing.T) {
	e := newEngine(t, model)
	server := serve(t, e, explorer.Options{})
	id, a := run(t, server, photograph(t, "chelsea.png"), neural)
	images, err := tfconvrnn.ReadImages("../../testdata/pictures/chelsea.png")
	require.NoError(t, err)
	want, err := e.loaded[model].Extract(t.Context(), images, tfconvrnn.AllTimesteps(), tfconvrnn.BatchSize(1),
		tfconvrnn.WithPresentation(tfconvrnn.Neural()), tfconvrnn.Logits())
	require.NoError(t, err)

	assert.Equal(t, "run", a.events[0].name)
	assert.Equal(t, []string{"decision", "done"}, []string{a.events[len(a.events)-2].name, a.events[len(a.events)-1].name})
	var plan struct {
		Untrained bool
		Schedule  []int
		Layers    []struct {
			Name       string
			DrivenFrom int `json:"driven_from"`
		}
	}
	a.find(t, "run", &plan)
	assert.True(t, plan.Untrained)
	assert.Equal(t, 5, plan.Layers[5].DrivenFrom)
	assert.Equal(t, []int{0, -1}, plan.Schedule[9:11])
	had := map[string]int{}
	for _, e := range a.events {
		if e.name != "layer" {
			continue
		}
		var got struct {
			Layer string
			Mean  []float64
		}
		require.NoError(t, json.Unmarshal(e.data, &got))
		l, err := want.Layer(got.Layer)
		require.NoError(t, err)
		require.Greater(t, len(got.Mean), had[got.Layer], "every event has something new")
		had[got.Layer] = len(got.Mean)
		for ts := range got.Mean {
			var sum float64
			for _, v := range l.At(0, ts) {
				sum += float64(v)
			}
			require.InDelta(t, sum/float64(l.Size()), got.Mean[ts], 1e-9)
		}
	}
	assert.Equal(t, map[string]int{"conv1": 26, "conv2": 26, "conv3": 26, "conv4": 26, "conv5": 26, "imnetds": 26}, had)
	var decision struct {
		Timestep int
		Classes  []struct{ Index int }
	}
	a.find(t, "decision", &decision)
	assert.Equal(t, 25, decision.Timestep)
	best := 0
	for i, v := range want.Logits {
		if v > want.Logits[best] {
			best = i
		}
	}
	assert.Equal(t, best, decision.Classes[0].Index)

	t.Run("maps", func(t *testing.T) { checkMaps(t, server, id, want) })
	t.Run("a unit", func(t *testing.T) {
		got := getJSON[struct{ Values []float32 }](t, server, "/explorer/runs/"+id+
			"/unit?layer=conv3&channel=7&row=2&column=11")
		l, err := want.Layer("conv3")
		require.NoError(t, err)
		for ts, v := range got.Values {
			require.Equal(t, l.At(0, ts)[(2*14+11)*l.Shape[2]+7], v) // to the last bit
		}
		get(t, server, "/explorer/runs/"+id+"/unit?layer=conv3&channel=7&row=14&column=11", 422)
		get(t, server, "/explorer/runs/"+id+"/unit?layer=conv99&channel=7&row=14&column=11", 404)
	})
	t.Run("npz", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "got.npz")
		require.NoError(t, os.WriteFile(path, get(t, server, "/explorer/runs/"+id+"/features.npz?layer=conv5&layer=imnetds",
			200), 0o666))
		file, err := features.OpenArrays(path)
		require.NoError(t, err)
		defer file.Close()
		assert.NotContains(t, file.Names(), "conv4")
		for name, values := range map[string][]float32{"conv5": want.Layers[4].Data, "imnetds": want.Layers[5].Data,
			"logits": want.Logits} {
			array, err := file.Array(name)
			require.NoError(t, err)
			got, err := array.Float32s(0, 1)
			require.NoError(t, err)
			require.Equal(t, values, got, name)
		}
		for _, name := range []string{"conv5/timesteps", "conv5/ms", "conv5/driven", "stimuli", "provenance"} {
			assert.Contains(t, file.Names(), name)
		}
	})
}

func checkMaps(t *testing.T, server *httptest.Server, id string, want *tfconvrnn.Features) {
	l, err := want.Layer("conv2")
	require.NoError(t, err)
	for _, scale := range []string{"layer", "channel"} {
		m := readMaps(t, get(t, server, "/explorer/runs/"+id+"/maps?layer=conv2&count=5&scale="+scale, 200))
		require.Len(t, m.Channels, 5)
		clipped := 0
		for ts := range m.Times {
			for i, c := range m.Channels {
				for place := range m.Height * m.Width {
					got, step := m.value(0, ts, i, place)
					exact := float64(l.At(0, ts)[place*l.Shape[2]+c])
					if math.Abs(exact) > 127*step*(1+1e-12) {
						clipped++
						require.InDelta(t, math.Copysign(127*step, exact), got, 1e-9)
						continue
					}
					require.InDelta(t, exact, got, step*0.5001)
				}
			}
		}
		assert.Less(t, float64(clipped)/float64(len(m.bytes)), 0.002)
		assert.InDelta(t, float64(clipped)/float64(len(m.bytes)), m.Parts[0].Clipped, 1e-9)
	}
	all := readMaps(t, get(t, server, "/explorer/runs/"+id+"/maps?layer=conv5&count=0&order=number", 200))
	require.Len(t, all.Channels, 512)
	assert.Equal(t, []int{0, 1, 2}, all.Channels[:3])
	get(t, server, "/explorer/runs/"+id+"/maps?layer=imnetds", 422)
	get(t, server, "/explorer/runs/"+id+"/maps?layer=conv2&order=different", 400)
	get(t, server, "/explorer/runs/"+id+"/maps?layer=conv2&count=-1", 400)
}

func TestSimilarity(t *testing.T) {
	server := serve(t, newEngine(t, model, "simplernn_shallow"), explorer.Options{})
	a, _ := run(t, server, photograph(t, "chelsea.png"), neural)
	b, _ := run(t, server, photograph(t, "coffee.png"),
		`{"model":"timedecay_shallow","presentation":{"times":20,"episodes":[[0,10]]}}`)
	other, _ := run(t, server, photograph(t, "chelsea.png"), strings.Replace(neural, model, "simplernn_shallow", 1))
	type similarity struct {
		Times  int
		Layers []struct {
			Layer, Of               string
			Correlation, Difference []*float64
		}
	}
	same := getJSON[similarity](t, server, "/explorer/runs/"+a+"/similarity?other="+a)
	assert.Equal(t, 26, same.Times)
	for _, l := range same.Layers {
		assert.Equal(t, "units", l.Of)
		require.NotNil(t, l.Correlation[12])
		assert.InDelta(t, 1, *l.Correlation[12], 1e-9)
		assert.InDelta(t, 0, *l.Difference[12], 1e-9)
	}
	different := getJSON[similarity](t, server, "/explorer/runs/"+a+"/similarity?other="+b)
	assert.Equal(t, 20, different.Times)
	assert.Less(t, *different.Layers[0].Correlation[5], 0.99)
	// What no picture has reached yet is equal.
	assert.InDelta(t, 0, *different.Layers[4].Difference[3], 1e-6)
	models := getJSON[similarity](t, server, "/explorer/runs/"+a+"/similarity?other="+other)
	assert.Equal(t, "maps", models.Layers[0].Of)
	assert.Equal(t, "units", models.Layers[5].Of)
	assert.Len(t, models.Layers[3].Correlation, 26)

	m := readMaps(t, get(t, server, "/explorer/runs/"+a+"/maps?layer=conv4&count=4&other="+b, 200))
	require.Len(t, m.Parts, 3)
	assert.Equal(t, m.Parts[0].Steps, m.Parts[1].Steps) // the two share their colours
	// In conv3 the two models differ in their number of channels.
	get(t, server, "/explorer/runs/"+a+"/maps?layer=conv3&other="+other, 409)
	for place := range m.Height * m.Width {
		va, step := m.value(0, 15, 0, place)
		vb, _ := m.value(1, 15, 0, place)
		d, stepD := m.value(2, 15, 0, place)
		if math.Abs(va) < 126*step && math.Abs(vb) < 126*step && math.Abs(d) < 126*stepD {
			assert.InDelta(t, va-vb, d, step+stepD)
		}
	}
}

func TestRespondRefusesInWords(t *testing.T) {
	server := serve(t, newEngine(t, model), explorer.Options{})
	picture := photograph(t, "chelsea.png")
	for ask, status := range map[string]int{
		`{"model":"nobody","presentation":{"times":16}}`:                                                    404,
		`{"model":"timedecay_shallow","presentation":{"times":0}}`:                                          422,
		`{"model":"timedecay_shallow","presentation":{"times":31}}`:                                         422,
		`{"model":"timedecay_shallow","presentation":{"times":16,"episodes":[[4,2]]}}`:                      422,
		`{"model":"timedecay_shallow","presentation":{"times":16,"episodes":[[0,8],[4,12]]}}`:               422,
		`{"model":"timedecay_shallow","presentation":{"times":16,"episodes":[[0,17]]}}`:                     422,
		`{"model":"timedecay_shallow","presentation":{"times":16,"episodes":[[-1,3]]}}`:                     422,
		`{"model":"timedecay_shallow","presentation":{"times":16,"blank":"../../testdata/pictures/a.png"}}`: 422,
		`{"model":"timedecay_shallow","presentation":{"times":16,"blank":"#12345g"}}`:                       422,
		`{"model":"timedecay_shallow","presentation":{"times":16},"layers":["conv1"]}`:                      400,
		`{"model":`: 400,
	} {
		a := respond(t, server, picture, ask)
		assert.Equal(t, status, a.status, "%s: %s", ask, a.body)
		assert.Contains(t, a.body, `"error":`)
	}
	assert.Equal(t, 422, respond(t, server, []byte("no picture"), neural).status)
}

// A presentation without the picture, and one that is too short for some layers, are shown like any other.
func TestUnusualPresentations(t *testing.T) {
	server := serve(t, newEngine(t, model), explorer.Options{})
	var plan struct {
		Layers []struct {
			DrivenFrom *int `json:"driven_from"`
		}
	}
	_, a := run(t, server, photograph(t, "chelsea.png"),
		`{"model":"timedecay_shallow","presentation":{"times":12,"episodes":[]}}`)
	a.find(t, "run", &plan)
	assert.Nil(t, plan.Layers[0].DrivenFrom)
	_, a = run(t, server, photograph(t, "chelsea.png"),
		`{"model":"timedecay_shallow","presentation":{"times":3,"episodes":[[0,1],[2,3]],"blank":"black"}}`)
	a.find(t, "run", &plan)
	assert.Nil(t, plan.Layers[5].DrivenFrom)
	assert.Equal(t, 2, *plan.Layers[2].DrivenFrom)
}

// Runs are forgotten when others need the memory, when nobody uses them, and never before they must.
func TestRunsAreBounded(t *testing.T) {
	e := newEngine(t, model)
	picture := photograph(t, "chelsea.png")
	short := func(times int) string {
		return fmt.Sprintf(`{"model":"timedecay_shallow","presentation":{"times":%d,"episodes":[[0,1]]}}`, times)
	}
	const timestep = 4 * (56*56*64 + 28*28*128 + 14*14*256 + 7*7*256 + 4*4*512 + 1000)
	server := serve(t, e, explorer.Options{Memory: 5 * timestep})
	a, _ := run(t, server, picture, short(2))
	b, _ := run(t, server, picture, short(3))
	get(t, server, "/explorer/runs/"+a+"/recipe", 200)
	get(t, server, "/explorer/runs/"+b+"/recipe", 200)
	c, _ := run(t, server, picture, short(2))
	get(t, server, "/explorer/runs/"+a+"/recipe", 410) // the one that was not used for longest
	get(t, server, "/explorer/runs/"+b+"/recipe", 200)
	get(t, server, "/explorer/runs/"+c+"/recipe", 200)
	refused := respond(t, server, picture, short(6))
	assert.Equal(t, 422, refused.status, refused.body)

	// What is being computed has its memory already, and gives it back when it fails.
	entered, leave := make(chan struct{}), make(chan error)
	e.before = func(ctx context.Context, r explorer.Request) error {
		entered <- struct{}{}
		return <-leave
	}
	failed := make(chan *answered)
	go func() { failed <- respond(t, server, picture, short(4)) }()
	<-entered
	refused = respond(t, server, picture, short(2))
	assert.Equal(t, 503, refused.status, refused.body)
	leave <- fmt.Errorf("/secret/path is broken")
	wrong := <-failed
	assert.NotContains(t, wrong.body, "secret")
	var said struct{ Status int }
	wrong.find(t, "error", &said)
	assert.Equal(t, 500, said.Status)
	e.before = nil
	run(t, server, picture, short(5))

	old := serve(t, e, explorer.Options{Expiry: 50 * time.Millisecond})
	id, _ := run(t, old, picture, short(1))
	time.Sleep(80 * time.Millisecond)
	get(t, old, "/explorer/runs/"+id+"/recipe", 410)
}

// A client that is gone ends its request before the next stage, and frees its memory.
func TestGoneClientFreesItsMemory(t *testing.T) {
	e := newEngine(t, model)
	server := serve(t, e, explorer.Options{Memory: 20 << 20})
	cancelled := make(chan error, 1)
	e.before = func(ctx context.Context, r explorer.Request) error {
		<-ctx.Done()
		cancelled <- ctx.Err()
		return ctx.Err()
	}
	form, contentType := respondForm(t, photograph(t, "chelsea.png"),
		`{"model":"timedecay_shallow","presentation":{"times":10,"episodes":[[0,1]]}}`)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/explorer/respond", form)
	require.NoError(t, err)
	request.Header.Set("Content-Type", contentType)
	answer, err := server.Client().Do(request)
	if err == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
	require.Error(t, err)
	require.ErrorIs(t, <-cancelled, context.Canceled)
	e.before = nil
	require.Eventually(t, func() bool {
		return respond(t, server, photograph(t, "chelsea.png"),
			`{"model":"timedecay_shallow","presentation":{"times":10,"episodes":[[0,1]]}}`).status == 200
	}, 10*time.Second, 50*time.Millisecond)
}
