package extraction

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/tfconvrnn/go/internal/parallel"
)

// Status says how far a plan is.
type Status struct {
	Plan        string `json:"plan"`
	Output      string `json:"output"`
	Chunks      int    `json:"chunks"`
	Done        int    `json:"done"`
	Missing     int    `json:"missing"`
	Corrupt     int    `json:"corrupt"`
	Checked     bool   `json:"checked"` // whether all files were read
	Stimuli     int    `json:"stimuli"`
	StimuliDone int    `json:"stimuli_done"`
	// Matrices is the number of Gram matrices, of a plan of them, and MatricesDone that of those that are there.
	Matrices     int `json:"matrices,omitempty"`
	MatricesDone int `json:"matrices_done,omitempty"`
	// StimuliPerSecond is that of the last chunks in the time in which at least one worker
	// computed one of them, by the clock of the file system or object store; 0 if that
	// cannot be told.
	StimuliPerSecond float64 `json:"stimuli_per_second,omitempty"`
	SecondsLeft      float64 `json:"seconds_left,omitempty"`
	Sealed           *Seal   `json:"sealed,omitempty"`
	MissingChunks    []int   `json:"-"`
	CorruptChunks    []int   `json:"-"`
}

// rateChunks is the number of latest chunks that the rate is taken of.
const rateChunks = 200

// Status looks which chunks are written. With check it reads all their files and
// compares the checksums. It changes nothing.
func (p *Plan) Status(ctx context.Context, check bool) (*Status, error) {
	s := &Status{Plan: p.name, Output: p.Output, Chunks: p.Chunks(), Stimuli: p.Stimuli, Checked: check}
	seal, err := p.Sealed(ctx)
	if err == nil {
		s.Sealed, s.Done, s.StimuliDone = seal, s.Chunks, s.Stimuli
		s.Matrices, s.MatricesDone = p.matrices, p.matrices
		if check {
			return s, p.verifySealed(ctx)
		}
		return s, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if p.grams != nil {
		if err := p.gramStatus(ctx, s); err != nil {
			return nil, err
		}
		if _, err := p.sealedAt(ctx, p.place); err == nil { // the features are complete
			s.Done, s.StimuliDone = s.Chunks, s.Stimuli
			if check {
				return s, VerifyStore(ctx, p.FeaturesOutput())
			}
			return s, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	done, times, err := p.done(ctx)
	if err != nil {
		return nil, err
	}
	if check {
		if s.CorruptChunks, err = p.verify(ctx, done, nil, nil, nil); err != nil {
			return nil, err
		}
		for _, chunk := range s.CorruptChunks {
			done[chunk] = false
		}
	}
	for chunk, there := range done {
		first, end := p.Rows(chunk)
		if there {
			s.Done, s.StimuliDone = s.Done+1, s.StimuliDone+end-first
		} else if !slices.Contains(s.CorruptChunks, chunk) {
			s.MissingChunks = append(s.MissingChunks, chunk)
		}
	}
	s.Missing, s.Corrupt = len(s.MissingChunks), len(s.CorruptChunks)
	if s.StimuliPerSecond, err = p.rate(ctx, times); err != nil {
		return nil, err
	}
	if s.StimuliPerSecond > 0 {
		s.SecondsLeft = float64(s.Stimuli-s.StimuliDone) / s.StimuliPerSecond
	}
	return s, nil
}

// writing is when a record was written.
type writing struct {
	chunk int
	at    time.Time
}

// rate is the stimuli per second of the last chunks. Every record says how long its chunk
// took; the time that counts is that which these spans cover together, so neither pauses
// nor workers beside each other make it wrong.
func (p *Plan) rate(ctx context.Context, times []writing) (float64, error) {
	slices.SortFunc(times, func(a, b writing) int { return b.at.Compare(a.at) })
	times = times[:min(len(times), rateChunks)]
	spans := make([]time.Duration, len(times))
	counts := make([]int, len(times))
	err := parallel.Each(ctx, p.parallel, len(times), func(ctx context.Context, i int) error {
		record, err := p.Record(ctx, times[i].chunk)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errCorrupt) {
			return nil
		}
		if err == nil && record.Seconds > 0 {
			counts[i], spans[i] = record.Stimuli, time.Duration(record.Seconds*float64(time.Second))
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	stimuli := 0
	var active time.Duration
	var from time.Time // up to which, backwards, time has been counted
	for i, w := range times {
		if counts[i] == 0 {
			continue
		}
		end, begin := w.at, w.at.Add(-spans[i])
		if stimuli > 0 && from.Before(end) {
			end = from
		}
		if begin.Before(end) {
			active += end.Sub(begin)
			from = begin
		}
		stimuli += counts[i]
	}
	if active <= 0 {
		return 0, nil
	}
	return float64(stimuli) / active.Seconds(), nil
}

// done returns which chunks have a record, and when the store says they were written.
func (p *Plan) done(ctx context.Context) ([]bool, []writing, error) {
	done := make([]bool, p.Chunks())
	var times []writing
	err := p.place.work.List(ctx, recordPrefix, func(o object) error {
		if chunk, ok := recordChunk(o.Name); ok && chunk < len(done) && o.Size > 0 {
			done[chunk] = true
			times = append(times, writing{chunk, o.Modified})
		}
		return nil
	})
	return done, times, err
}
