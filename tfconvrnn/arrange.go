package tfconvrnn

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/tfconvrnn/go/internal/libtf"
)

// loadBatch reads the images of some stimuli and makes a run's input of them:
// every distinct image once, and the blank if it is shown.
func (x *Extraction) loadBatch(ctx context.Context, first int, stimuli []Stimulus) (loadedBatch, error) {
	b := &Batch{First: first, Stimuli: stimuli, Failed: make([]error, len(stimuli)), extraction: x,
		items: make([]int, len(stimuli))}
	distinct := map[*Image]int{}
	var frames []*Image
	for i, s := range stimuli {
		if len(s.Frames) == 0 {
			b.Failed[i] = fmt.Errorf("%w: stimulus %d (%s) has no frames", ErrImages, first+i, s.ID)
		}
		for _, frame := range s.Frames {
			if frame == nil || (frame.load == nil && len(frame.bytes) != imageValues && len(frame.floats) != imageValues) {
				b.Failed[i] = fmt.Errorf("%w: stimulus %d (%s) has an empty frame", ErrImages, first+i, s.ID)
				break
			}
			if _, ok := distinct[frame]; !ok {
				distinct[frame] = len(frames)
				frames = append(frames, frame)
			}
		}
	}
	images := make([]*Image, len(frames))
	errs := make([]error, len(frames))
	workers, _ := errgroup.WithContext(ctx)
	workers.SetLimit(runtime.GOMAXPROCS(0))
	for i, frame := range frames {
		workers.Go(func() error {
			if ctx.Err() == nil {
				images[i], errs[i] = frame.loaded()
			}
			return nil
		})
	}
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return loadedBatch{}, err
	}
	in, err := x.arrange(b, distinct, images, errs)
	return loadedBatch{batch: b, input: in}, err
}

// arrange decides which stimuli run and lays out their frames and schedule.
func (x *Extraction) arrange(b *Batch, distinct map[*Image]int, images []*Image, errs []error) (*input, error) {
	number := make([]int, len(images)) // position of a distinct image in the run
	for i := range number {
		number[i] = -1
	}
	var shown []*Image
	needsBlank := false
	var schedules [][]int
	for i, s := range b.Stimuli {
		err := b.Failed[i]
		for _, frame := range s.Frames {
			if err == nil {
				err = errs[distinct[frame]]
			}
		}
		if err != nil {
			b.items[i] = -1
			if x.options.onError == nil {
				return nil, err
			}
			if err := x.options.onError(b.First+i, s, err); err != nil {
				return nil, err
			}
			b.Failed[i] = err
			continue
		}
		b.items[i] = len(schedules)
		schedule := x.options.presentation.Schedule(len(s.Frames))
		for t, frame := range schedule {
			if frame == blankFrame {
				needsBlank = true
				continue
			}
			d := distinct[s.Frames[frame]]
			if number[d] < 0 {
				number[d] = len(shown)
				shown = append(shown, images[d])
			}
			schedule[t] = number[d]
		}
		schedules = append(schedules, schedule)
	}
	if len(schedules) == 0 {
		return nil, nil
	}
	return x.input(shown, needsBlank, schedules)
}

// input makes a run's input of the images shown, behind which the blank comes if schedules need
// it: blankFrame there stands for it.
func (x *Extraction) input(shown []*Image, needsBlank bool, schedules [][]int) (*input, error) {
	in := &input{schedule: make([][]int32, x.times)}
	count := len(shown)
	if needsBlank {
		if blank := x.options.presentation.blank; count > 0 && x.model.keepsBlank(blank) {
			in.blank = &blank
		} else {
			count++
		}
	}
	frames, err := libtf.AllocateTensor(libtf.Float, []int64{int64(count), ImageSize, ImageSize, 3})
	if err != nil {
		return nil, err
	}
	data, err := libtf.Data[float32](frames)
	if err != nil {
		return nil, err
	}
	for i, img := range shown {
		img.normalizeInto(data[i*imageValues:])
	}
	if count > len(shown) {
		if err := x.options.presentation.blank.normalizeInto(data[len(shown)*imageValues:]); err != nil {
			frames.Close()
			return nil, err
		}
	}
	in.frames = frames
	for t := range in.schedule {
		row := make([]int32, len(schedules))
		for i, schedule := range schedules {
			row[i] = int32(schedule[t])
			if schedule[t] == blankFrame {
				row[i] = int32(len(shown))
			}
		}
		in.schedule[t] = row
	}
	return in, nil
}
