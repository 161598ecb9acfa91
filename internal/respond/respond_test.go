package respond

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// pixels makes n different images.
func pixels(n int) []byte {
	data := make([]byte, n*imageValues)
	for i := range data {
		data[i] = byte(i * 7 / 3 * (1 + i/imageValues))
	}
	return data
}

func testServer(t *testing.T) *Server {
	t.Helper()
	if err := tfconvrnn.RuntimeError(); err != nil {
		require.NotEqual(t, "1", os.Getenv("TFCONVRNN_REQUIRE_RUNTIME"), "%v", err)
		t.Skip("needs libtensorflow:", err)
	}
	model, err := tfconvrnn.Load("timedecay_shallow", tfconvrnn.WithWeights("seeded:1"), tfconvrnn.WithStore(t.TempDir()))
	require.NoError(t, err)
	t.Cleanup(func() { model.Close() })
	presentation, err := tfconvrnn.Default().Resolve(model.Info())
	require.NoError(t, err)
	return &Server{Model: model, Presentation: presentation, Version: "test", Fail: fail}
}

func fail(err error) Failure {
	if errors.Is(err, ErrRequest) || errors.Is(err, tfconvrnn.ErrOption) {
		return Failure{err.Error(), 2}
	}
	return Failure{err.Error(), 1}
}

// client is the other side.
type client struct {
	t    *testing.T
	to   io.WriteCloser
	from io.Reader
	done chan error
}

func serve(t *testing.T, s *Server) *client {
	theirs, to, err := os.Pipe()
	require.NoError(t, err)
	from, ours, err := os.Pipe()
	require.NoError(t, err)
	c := &client{t, to, from, make(chan error, 1)}
	go func() {
		c.done <- s.Serve(context.Background(), theirs, ours)
		ours.Close()
	}()
	t.Cleanup(func() { to.Close() })
	var hello Hello
	header, _, err := readFrame(from, nil)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(header, &hello))
	assert.Equal(t, Protocol, hello.Protocol)
	assert.Equal(t, "timedecay_shallow", hello.Model.Name)
	assert.Equal(t, 16, hello.Times)
	assert.True(t, hello.Untrained)
	return c
}

func (c *client) receive() (Response, []float32) {
	c.t.Helper()
	header, payload, err := readFrame(c.from, nil)
	require.NoError(c.t, err)
	var r Response
	require.NoError(c.t, json.Unmarshal(header, &r))
	return r, floatsOf(payload)
}

func (c *client) ask(header string, payload []byte) (Response, []float32) {
	c.t.Helper()
	go func() {
		frame := binary.LittleEndian.AppendUint32(nil, uint32(len(header)))
		frame = binary.LittleEndian.AppendUint64(frame, uint64(len(payload)))
		c.to.Write(append(append(frame, header...), payload...)) // an error shows in receive
	}()
	return c.receive()
}

func (c *client) ended() error {
	c.t.Helper()
	select {
	case err := <-c.done:
		return err
	case <-time.After(20 * time.Second):
		c.t.Fatal("the server goes on")
		return nil
	}
}

func TestResponsesAreTheLibrarys(t *testing.T) {
	s := testServer(t)
	c := serve(t, s)
	images := pixels(3)
	stimuli, err := tfconvrnn.FromUint8(images)
	require.NoError(t, err)
	whole, err := s.Model.Extract(t.Context(), stimuli, tfconvrnn.Layers("conv5"), tfconvrnn.AllTimesteps(),
		tfconvrnn.WithPresentation(s.Presentation))
	require.NoError(t, err)
	conv5 := &whole.Layers[0]

	r, values := c.ask(
		`{"id":7,"images":3,"dtype":"uint8","outputs":[{"layer":"conv5","units":"center+channels(7,3)"},{"layer":"conv5x"}]}`,
		images)
	assert.EqualValues(t, 7, r.ID)
	require.NotNil(t, r.Error, "the next request is answered")
	assert.Empty(t, values)

	r, values = c.ask(
		`{"id":8,"images":3,"dtype":"uint8","outputs":[{"layer":"conv5","units":"center+channels(7,3)"}],"window_ms":[100,150]}`,
		images)
	require.Nil(t, r.Error)
	assert.Equal(t, []int{3, 5, 2}, r.Outputs[0].Shape)
	assert.Equal(t, []int{10, 11, 12, 13, 14}, r.Outputs[0].Timesteps)
	assert.Positive(t, r.Seconds)
	center := (2*4 + 2) * 512
	for i := range 3 {
		for k := range 5 {
			at := conv5.At(i, 10+k)
			assert.InDelta(t, at[center+7], values[(i*5+k)*2], 1e-5)
			assert.InDelta(t, at[center+3], values[(i*5+k)*2+1], 1e-5)
		}
	}

	r, means := c.ask(
		`{"id":9,"images":3,"dtype":"uint8","outputs":[{"layer":"conv5","mean":true}],"window_ms":[100,150],"average":true}`,
		images)
	require.Nil(t, r.Error)
	assert.Equal(t, []int{3, 512}, r.Outputs[0].Shape)
	var sum float64
	for k := range 5 {
		for position := range 16 {
			sum += float64(conv5.At(2, 10+k)[position*512+100])
		}
	}
	assert.InDelta(t, sum/80, means[2*512+100], 1e-5)

	floats := make([]float32, len(images))
	for i, v := range images {
		floats[i] = float32(v) / 255
	}
	r, again := c.ask(
		`{"id":10,"images":3,"dtype":"float32","outputs":[{"layer":"conv5","units":"center+channels(7,3)"}],"window_ms":[100,150]}`,
		bytesOf(floats))
	require.Nil(t, r.Error)
	assert.InDeltaSlice(t, values, again, 1e-5)
	floats[5] = 1.5
	r, _ = c.ask(`{"images":3,"dtype":"float32","outputs":[{"layer":"conv5"}]}`, bytesOf(floats))
	require.NotNil(t, r.Error, "no scale is guessed")
	assert.Contains(t, r.Error.Message, "image 0 has the value 1.5")

	r, values = c.ask(
		`{"images":1,"paths":["../../testdata/pictures/chelsea.png"],"outputs":[{"layer":"imnetds"}],"window_ms":[150,160]}`,
		nil)
	require.Nil(t, r.Error)
	assert.Len(t, values, 1000)

	c.to.Close()
	assert.NoError(t, c.ended())
}

func TestHostileFrames(t *testing.T) {
	s := testServer(t)
	c := serve(t, s)
	one := pixels(1)
	for header, payload := range map[string][]byte{
		`{"images":1,"dtype":"uint8","outputs":[{"layer":"conv5"}]`:              one,
		`{"images":1,"dtype":"uint8","outputs":[{"layer":"conv5"}],"further":1}`: one,
		`{"images":"1","dtype":"uint8","outputs":[{"layer":"conv5"}]}`:           one,
		`null`: nil,
		`[]`:   one,
		``:     nil,
		`{"images":0,"dtype":"uint8","outputs":[{"layer":"conv5"}]}`:                                               nil,
		`{"images":-1,"dtype":"uint8","outputs":[{"layer":"conv5"}]}`:                                              one,
		`{"images":4097,"dtype":"uint8","outputs":[{"layer":"conv5"}]}`:                                            one,
		`{"images":9223372036854775807,"dtype":"uint8","outputs":[{"layer":"conv5"}]}`:                             one,
		`{"images":2,"dtype":"uint8","outputs":[{"layer":"conv5"}]}`:                                               one,
		`{"images":1,"dtype":"float64","outputs":[{"layer":"conv5"}]}`:                                             one,
		`{"images":1,"dtype":"uint8","outputs":[]}`:                                                                one,
		`{"images":1,"dtype":"uint8","outputs":[{"layer":"conv5"},{"layer":"conv5"}]}`:                             one,
		`{"images":1,"dtype":"uint8","outputs":[{"layer":"imnetds","mean":true}]}`:                                 one,
		`{"images":1,"dtype":"uint8","outputs":[{"layer":"conv5","units":"(4,4)"}]}`:                               one,
		`{"images":1,"dtype":"uint8","outputs":[{"layer":"conv5"}],"window_ms":[100]}`:                             one,
		`{"images":1,"dtype":"uint8","outputs":[{"layer":"conv5"}],"window_ms":[100,100]}`:                         one,
		`{"images":1,"dtype":"uint8","outputs":[{"layer":"conv5"}],"window_ms":[-9223372036854775808,10]}`:         one,
		`{"images":1,"dtype":"uint8","shared":true,"outputs":[{"layer":"conv5"}]}`:                                 nil,
		`{"images":1,"paths":["/nonexistent.png"],"outputs":[{"layer":"conv5"}]}`:                                  nil,
		`{"images":2,"paths":["../../testdata/pictures/chelsea.png"],"outputs":[{"layer":"conv5"}]}`:               nil,
		`{"images":1,"paths":["../../testdata/pictures/chelsea.png"],"shared":true,"outputs":[{"layer":"conv5"}]}`: nil,
	} {
		r, values := c.ask(header, payload)
		assert.NotNil(t, r.Error, header)
		assert.Empty(t, values, header)
	}
	r, values := c.ask(`{"id":1,"images":1,"dtype":"uint8","outputs":[{"layer":"conv5","units":"center"}],"average":true}`,
		one)
	require.Nil(t, r.Error, "and it still answers")
	assert.Len(t, values, 512)

	// What is no frame ends the server, with a last word.
	c.to.Write(bytes.Repeat([]byte{0xff}, prefixBytes))
	r, _ = c.receive()
	require.NotNil(t, r.Error)
	assert.ErrorIs(t, c.ended(), ErrFrame)
}

func TestEndsWithItsPeer(t *testing.T) {
	s := testServer(t)
	c := serve(t, s)
	c.to.Write([]byte{1, 0, 0})
	c.to.Close()
	assert.ErrorIs(t, c.ended(), ErrFrame, "in the midst of a frame")

	c = serve(t, s)
	header := `{"images":64,"dtype":"uint8","outputs":[{"layer":"conv5"}]}`
	frame := binary.LittleEndian.AppendUint32(nil, uint32(len(header)))
	frame = binary.LittleEndian.AppendUint64(frame, 64*imageValues)
	c.to.Write(append(append(frame, header...), pixels(64)...))
	begun := time.Now()
	c.to.Close() // in the midst of a computation
	assert.NoError(t, c.ended())
	assert.Less(t, time.Since(begun), 5*time.Second)
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, '{', '}', 7})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		header, payload, err := readFrame(bytes.NewReader(data), nil)
		if err == nil {
			assert.LessOrEqual(t, prefixBytes+len(header)+len(payload), len(data))
		}
	})
}
