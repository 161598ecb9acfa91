// Package respond answers one program that asks a loaded model again and again, over a pipe:
// the closed loops in which images depend on the responses to others.
//
// Both sides send frames: the length of a header (uint32) and of a payload (uint64), both
// little-endian, a header in JSON, and the payload. The model's side begins with a [Hello]. Then
// every [Request] gets a [Response], in order. docs/closed-loops.md describes the protocol.
package respond

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tfconvrnn/go/internal/reduce"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Protocol is the version of the protocol.
const Protocol = 1

// The most images and bytes of responses in one request.
const (
	maxImages   = 4096
	maxResponse = 2 << 30
)

// ErrRequest means a request that makes no sense.
var ErrRequest = errors.New("impossible request")

// Hello is the first frame.
type Hello struct {
	Protocol int    `json:"protocol"`
	Version  string `json:"version"`
	// Model describes the model.
	Model savedmodels.Model `json:"model"`
	// Untrained says whether the weights come from a seed.
	Untrained bool `json:"untrained"`
	Threads   int  `json:"threads"`
	// Presentation is how images are shown, and Times its number of timesteps of 10 ms.
	Presentation string `json:"presentation"`
	Times        int    `json:"times"`
	// ImageSize is the height and the width of images.
	ImageSize int `json:"image_size"`
}

// Request asks for the responses to images. Its payload is the images, [images, height, width, 3] in
// C order, unless Paths names files.
type Request struct {
	// ID comes back in the response.
	ID int64 `json:"id"`
	// Images is their number.
	Images int `json:"images"`
	// DataType is uint8, or float32 (little-endian) of values 0 … 1.
	DataType string `json:"dtype,omitempty"`
	// Shared says that the images are at the beginning of the shared memory, and there is no payload.
	Shared bool `json:"shared,omitempty"`
	// Paths are pictures to read instead of a payload, prepared as the program's flags say.
	Paths   []string `json:"paths,omitempty"`
	Outputs []Output `json:"outputs"`
	// Window is the time of which responses are wanted, in milliseconds, multiples of 10: from the
	// first to before the second. Without it all timesteps are reported.
	Window []int `json:"window_ms,omitempty"`
	// Average asks for the mean over the timesteps.
	Average bool `json:"average,omitempty"`
}

// Output is what is wanted of a layer.
type Output struct {
	Layer string `json:"layer"`
	// Units are those of tfconvrnn.ParseUnits, "" for all.
	Units string `json:"units,omitempty"`
	// Mean asks for the mean over all positions.
	Mean bool `json:"mean,omitempty"`
}

// Response answers a request. Its payload is the values of all outputs, one after the other,
// float32 in C order, little-endian. Where Error is set there is nothing else.
type Response struct {
	ID      int64      `json:"id"`
	Error   *Failure   `json:"error,omitempty"`
	Outputs []Answered `json:"outputs,omitempty"`
	// Seconds is how long the library took.
	Seconds float64 `json:"seconds"`
}

// Failure says why a request failed. The next may do better.
type Failure struct {
	Message string `json:"message"`
	// Code is the exit code that a command would end with.
	Code int `json:"exit_code"`
}

// Answered describes the values of an output.
type Answered struct {
	Layer string `json:"layer"`
	// Shape is [images, timesteps, …], without the timesteps where their mean was asked for.
	Shape     []int                `json:"shape"`
	Timesteps []int                `json:"timesteps"`
	Driven    []bool               `json:"driven"`
	Selection *tfconvrnn.Selection `json:"selection,omitempty"`
}

// Server answers requests about one model.
type Server struct {
	Model         *tfconvrnn.Model
	Presentation  tfconvrnn.Presentation
	Preprocessing tfconvrnn.Preprocessing
	BatchSize     int
	// OnHalved is told when a chosen batch finds no memory and is halved; see tfconvrnn.OnHalved.
	OnHalved func(from, to int, err error)
	Version  string
	// Shared is the other side's memory, nil for none.
	Shared *SharedMemory
	// Fail describes an error for the other side.
	Fail func(error) Failure
}

type received struct {
	header, payload []byte
}

// Serve answers requests until in ends, which it may do in the midst of a computation: then Serve
// returns at once, and the process should end. It returns nil where in ends between two requests,
// and an error that wraps ErrFrame after what is no frame.
func (s *Server) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	info := s.Model.Info()
	if err := writeFrame(out, Hello{
		Protocol: Protocol, Version: s.Version, Model: info, Untrained: s.Model.Untrained(), Threads: s.Model.Threads(),
		Presentation: s.Presentation.String(), Times: s.Presentation.Times(info), ImageSize: tfconvrnn.ImageSize,
	}, nil); err != nil {
		return err
	}
	// The next frame is awaited while one is answered, so that the end of the other side is seen.
	frames, ended := make(chan received), make(chan error, 1)
	free := make(chan []byte, 2)
	free <- nil
	free <- nil
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for {
			buffer := <-free
			header, payload, err := readFrame(in, buffer)
			if err != nil {
				ended <- err
				return
			}
			select {
			case frames <- received{header, payload}:
			case <-ctx.Done():
				return
			}
		}
	}()
	var finished chan error // of the answer in progress, nil for none
	for {
		waiting := frames
		if finished != nil {
			waiting = nil
		}
		select {
		case frame := <-waiting:
			finished = make(chan error, 1)
			go func(finished chan<- error) {
				err := s.answer(ctx, frame, out)
				free <- frame.payload
				finished <- err
			}(finished)
		case err := <-finished:
			if finished = nil; err != nil {
				return err
			}
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return errors.Join(err, writeFrame(out, Response{Error: s.failure(err)}, nil))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *Server) failure(err error) *Failure {
	f := s.Fail(err)
	return &f
}

// answer answers a request. The error is about writing.
func (s *Server) answer(ctx context.Context, frame received, out io.Writer) error {
	var request Request
	decoder := json.NewDecoder(bytes.NewReader(frame.header))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		return writeFrame(out, Response{ID: request.ID, Error: s.failure(fmt.Errorf("%w: its header: %w", ErrRequest, err))},
			nil)
	}
	begun := time.Now()
	response, payload, err := s.respond(ctx, &request, frame.payload)
	if err != nil {
		return writeFrame(out, Response{ID: request.ID, Error: s.failure(err)}, nil)
	}
	response.ID, response.Seconds = request.ID, time.Since(begun).Seconds()
	return writeFrame(out, response, payload)
}

// respond computes the responses to the images of a request.
func (s *Server) respond(ctx context.Context, q *Request, payload []byte) (*Response, []byte, error) {
	images, err := s.images(q, payload)
	if err != nil {
		return nil, nil, err
	}
	x, err := s.plan(q)
	if err != nil {
		return nil, nil, err
	}
	c, err := newCollector(q, x)
	if err != nil {
		return nil, nil, err
	}
	if err := x.Stream(ctx, slices.Values(images), c.add); err != nil {
		return nil, nil, err
	}
	return &Response{Outputs: c.answered}, bytesOf(c.values), nil
}

func (s *Server) plan(q *Request) (*tfconvrnn.Extraction, error) {
	if len(q.Outputs) == 0 {
		return nil, fmt.Errorf("%w: it names no layer", ErrRequest)
	}
	options := []tfconvrnn.ExtractOption{tfconvrnn.WithPresentation(s.Presentation), tfconvrnn.BatchSize(s.BatchSize),
		tfconvrnn.AllTimesteps(),
		tfconvrnn.OnHalved(s.OnHalved)}
	for _, o := range q.Outputs {
		options = append(options, tfconvrnn.Layers(o.Layer))
		if o.Units != "" {
			units, err := tfconvrnn.ParseUnits(o.Units)
			if err != nil {
				return nil, err
			}
			options = append(options, tfconvrnn.Select(o.Layer, units))
		}
	}
	if q.Window != nil {
		if len(q.Window) != 2 {
			return nil, fmt.Errorf("%w: a window has a beginning and an end, not %d numbers", ErrRequest, len(q.Window))
		}
		options = append(options, tfconvrnn.Window(q.Window[0], q.Window[1]))
	}
	return s.Model.Plan(options...)
}

// collector gathers the values of a response.
type collector struct {
	request  *Request
	answered []Answered
	reducers []*reduce.Reducer // nil for none
	starts   []int             // of each output's values
	sizes    []int             // of an image, of each output
	values   []float32

	whole, reduced []float32 // of one image
}

func newCollector(q *Request, x *tfconvrnn.Extraction) (*collector, error) {
	c := &collector{request: q}
	total := 0
	for i, l := range x.Layers() {
		var r *reduce.Reducer
		shape := l.Shape
		if q.Outputs[i].Mean {
			gap, err := reduce.Parse("gap")
			if err != nil {
				return nil, err
			}
			if r, err = reduce.New(gap, l.Shape); err != nil {
				return nil, fmt.Errorf("layer %s: %w", l.Name, err)
			}
			shape = []int{r.OutputSize()}
		}
		size := 1
		for _, d := range shape {
			size *= d
		}
		if q.Average {
			shape = append([]int{q.Images}, shape...)
		} else {
			size *= len(l.Timesteps)
			shape = append([]int{q.Images, len(l.Timesteps)}, shape...)
		}
		if size > (maxResponse/4-total)/q.Images {
			return nil, fmt.Errorf("%w: the responses to %d images have more than %d bytes; ask for fewer images at once",
				ErrRequest, q.Images, maxResponse)
		}
		c.answered = append(c.answered, Answered{Layer: l.Name, Shape: shape, Timesteps: l.Timesteps, Driven: l.Driven,
			Selection: l.Selection})
		c.reducers, c.starts, c.sizes = append(c.reducers, r), append(c.starts, total), append(c.sizes, size)
		total += size * q.Images
	}
	c.values = make([]float32, total)
	return c, nil
}

func (c *collector) add(b *tfconvrnn.Batch) error {
	for i := range b.Stimuli {
		for layer, size := range c.sizes {
			var err error
			if c.whole, err = b.AppendFeatures(c.whole[:0], layer, i); err != nil {
				return err
			}
			values, times := c.whole, len(c.answered[layer].Timesteps)
			if r := c.reducers[layer]; r != nil {
				c.reduced = slices.Grow(c.reduced[:0], r.OutputSize()*times)[:r.OutputSize()*times]
				r.ApplyAll(c.reduced, c.whole)
				values = c.reduced
			}
			to := c.values[c.starts[layer]+(b.First+i)*size:][:size]
			if !c.request.Average {
				copy(to, values)
				continue
			}
			for k := range to {
				var sum float64
				for t := range times {
					sum += float64(values[t*size+k])
				}
				to[k] = float32(sum / float64(times))
			}
		}
	}
	return nil
}
