package serving

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// The inputs.
const (
	inputImages   = "images"
	inputPictures = "pictures"
	inputSchedule = "schedule"
)

const imageValues = tfconvrnn.ImageSize * tfconvrnn.ImageSize * 3

// arrange finds out what a request shows, without decoding pictures.
func (s *Service) arrange(set *settings, r *inferRequest, response *inferResponse) (*shown, error) {
	byName := map[string]*tensor{}
	for _, t := range r.inputs {
		if byName[t.name] != nil {
			return nil, requestf("input %s is there twice", t.name)
		}
		if t.name != inputImages && t.name != inputPictures && t.name != inputSchedule {
			return nil, requestf("unknown input %q; there are images, pictures and schedule", t.name)
		}
		byName[t.name] = t
	}
	arrays, pictures := byName[inputImages], byName[inputPictures]
	if (arrays == nil) == (pictures == nil) {
		return nil, requestf("a request has one of the inputs images and pictures")
	}
	var frames []*tfconvrnn.Image
	if arrays != nil {
		var err error
		if frames, err = imagesOf(arrays, set, response); err != nil {
			return nil, err
		}
	} else {
		if pictures.datatype != "BYTES" || len(pictures.shape) != 1 &&
			!(len(pictures.shape) == 2 && pictures.shape[1] == 1) || len(pictures.items) == 0 {
			return nil, requestf("input pictures: it is BYTES [N], one encoded picture each, not %s %v", pictures.datatype,
				pictures.shape)
		}
		set.wish.preprocessing = set.preprocessing.String()
		frames = make([]*tfconvrnn.Image, len(pictures.items)) // until load decodes them
	}
	if schedule := byName[inputSchedule]; schedule != nil {
		return scheduled(schedule, set, frames)
	}
	in := &shown{frames: frames, groups: []group{{presentation: set.presentation}}}
	for i := range frames {
		in.numbers = append(in.numbers, []int{i})
		in.groups[0].members = append(in.groups[0].members, i)
	}
	return in, nil
}

// imagesOf makes images of an array.
func imagesOf(t *tensor, set *settings, response *inferResponse) ([]*tfconvrnn.Image, error) {
	if len(t.shape) != 4 || t.shape[0] < 1 || t.shape[1] != tfconvrnn.ImageSize || t.shape[2] != tfconvrnn.ImageSize ||
		t.shape[3] != 3 {
		return nil, requestf("input images: it has the shape [N, %d, %d, 3], not %v", tfconvrnn.ImageSize,
			tfconvrnn.ImageSize, t.shape)
	}
	var stimuli []tfconvrnn.Stimulus
	var err error
	switch t.datatype {
	case "UINT8":
		if set.arrayRange != "" {
			return nil, requestf("the parameter array_range is for FP32; UINT8 is 0 … 255")
		}
		stimuli, err = tfconvrnn.FromUint8(t.data)
	case "FP32":
		values := t.float32s()
		var name string
		if name, err = scale(values, set.arrayRange); err != nil {
			return nil, err
		}
		response.parameters["array_range"], set.float = name, true
		stimuli, err = tfconvrnn.FromFloat32(values)
	default:
		return nil, requestf("input images: it is UINT8, or FP32, not %s", t.datatype)
	}
	if err != nil {
		return nil, err
	}
	frames := make([]*tfconvrnn.Image, len(stimuli))
	for i := range stimuli {
		frames[i] = stimuli[i].Frames[0]
	}
	return frames, nil
}

// scale makes values 0 … 1 and says what they were.
func scale(values []float32, stated string) (name string, err error) {
	const one, full, least255 = "0-1", "0-255", 8 // from least255 on, nobody can have meant 0 … 1
	var largest float32
	for i, v := range values {
		if !(v >= 0 && v <= 255) {
			return "", requestf("input images: image %d has the value %v; values are 0 … 1 or 0 … 255", i/imageValues, v)
		}
		largest = max(largest, v)
	}
	switch {
	case stated == one && largest > 1:
		return "", requestf("input images: the largest value is %v, which is not 0 … 1", largest)
	case stated == full || (stated == "" || stated == "auto") && largest >= least255:
		for i, v := range values {
			values[i] = v / 255
		}
		return full, nil
	case stated == one || (stated == "" || stated == "auto") && largest <= 1:
		return one, nil
	case stated == "" || stated == "auto":
		return "", requestf(
			"input images: the largest value is %v, which may be of 0 … 255 or beyond 0 … 1; give the parameter array_range",
			largest)
	}
	return "", requestf("the parameter array_range is 0-1, 0-255 or auto, not %q", stated)
}

// scheduled makes stimuli of a schedule, [timesteps, stimuli] of the number of the image that
// is shown, or -1 for the blank.
func scheduled(t *tensor, set *settings, frames []*tfconvrnn.Image) (*shown, error) {
	if set.shown {
		return nil, requestf(
			"the input schedule says what is shown when; leave out the parameters of the presentation, except blank")
	}
	if len(t.shape) != 2 || t.shape[0] < 1 || t.shape[1] < 1 {
		return nil, requestf("input schedule: it has the shape [timesteps, stimuli], not %v", t.shape)
	}
	if t.datatype != "INT32" && t.datatype != "INT64" {
		return nil, requestf("input schedule: it is INT32, not %s", t.datatype)
	}
	times, stimuli := int(t.shape[0]), int(t.shape[1])
	at := func(time, stimulus int) int {
		i := time*stimuli + stimulus
		if t.datatype == "INT64" {
			return int(max(min(int64(binary.LittleEndian.Uint64(t.data[8*i:])), math.MaxInt32), math.MinInt32))
		}
		return int(int32(binary.LittleEndian.Uint32(t.data[4*i:])))
	}
	in := &shown{frames: frames}
	groups := map[string]int{}
	number := make([]int, len(frames)) // of stimuli that show it
	for n := range stimuli {
		var shownFrames []int
		pattern := make([]byte, times)
		last := -1
		for time := range times {
			frame := at(time, n)
			if frame < -1 || frame >= len(frames) {
				return nil, requestf("input schedule: timestep %d of stimulus %d shows image %d, and there are %d", time, n, frame,
					len(frames))
			}
			pattern[time] = '0'
			if frame >= 0 {
				pattern[time], last = '1', frame
				number[frame]++
			}
			if last >= 0 {
				shownFrames = append(shownFrames, last)
			}
		}
		if last < 0 {
			return nil, requestf("input schedule: stimulus %d shows no image", n)
		}
		g, ok := groups[string(pattern)]
		if !ok {
			g = len(in.groups)
			groups[string(pattern)] = g
			shown := tfconvrnn.Sequence(times, 1).WithEpisodes(episodes(pattern)...).WithBlank(set.blank)
			in.groups = append(in.groups, group{presentation: shown})
		}
		in.groups[g].members = append(in.groups[g].members, n)
		in.numbers = append(in.numbers, shownFrames)
	}
	if unseen := slices.Index(number, 0); unseen >= 0 {
		return nil, requestf("input schedule: image %d is never shown", unseen)
	}
	return in, nil
}

// episodes are the spans in which a pattern is 1.
func episodes(pattern []byte) (list []tfconvrnn.Episode) {
	for i, c := range pattern {
		switch {
		case c == '0':
		case i > 0 && pattern[i-1] == '1':
			list[len(list)-1].Off = i + 1
		default:
			list = append(list, tfconvrnn.Episode{On: i, Off: i + 1})
		}
	}
	return list
}

// load decodes pictures, if there are any, and makes the stimuli.
func (s *Service) load(ctx context.Context, set *settings, r *inferRequest, in *shown) error {
	for _, t := range r.inputs {
		if t.name == inputPictures {
			defer s.metrics.time("decode")()
			if err := s.decode(ctx, set.preprocessing, t.items, in.frames); err != nil {
				return err
			}
		}
	}
	for i, numbers := range in.numbers {
		stimulus := tfconvrnn.Stimulus{ID: fmt.Sprint(i)}
		for _, n := range numbers {
			stimulus.Frames = append(stimulus.Frames, in.frames[n])
		}
		in.stimuli = append(in.stimuli, stimulus)
	}
	return nil
}

// decode makes images of encoded pictures, as many at once in the whole service as there are
// cores.
func (s *Service) decode(ctx context.Context, p tfconvrnn.Preprocessing, pictures [][]byte,
	frames []*tfconvrnn.Image) error {
	prepare, err := images.ParsePreprocessing(p.String())
	if err != nil {
		return err
	}
	options := prepare.Options()
	options.MaxPixels = s.options.MaxPixels
	parallel, ctx := errgroup.WithContext(ctx)
	parallel.SetLimit(cap(s.decoders))
	for i, picture := range pictures {
		parallel.Go(func() (err error) {
			select {
			case s.decoders <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			defer func() { <-s.decoders }()
			defer func() {
				if cause := recover(); cause != nil {
					err = s.engine.panicked(cause)
				}
			}()
			decoded, err := images.DecodeBytes(picture, fmt.Sprintf("picture %d", i), options)
			if err != nil {
				return err
			}
			pixels, err := prepare.Apply(decoded)
			if err != nil {
				return fmt.Errorf("picture %d: %w", i, err)
			}
			stimuli, err := tfconvrnn.FromUint8(pixels)
			if err == nil {
				frames[i] = stimuli[0].Frames[0]
			}
			return err
		})
	}
	return parallel.Wait()
}
