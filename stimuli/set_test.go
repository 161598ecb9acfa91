package stimuli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// Set is all stimuli of the inputs in memory, through a Scanner and a Reader.
type Set struct {
	scanner *Scanner
	found   []Found
	summary *Summary
	reader  *Reader
}

func Open(ctx context.Context, options Options) (s *Set, err error) {
	s = &Set{}
	if s.scanner, err = NewScanner(ctx, options); err != nil {
		return nil, err
	}
	if s.found, s.summary, err = s.scanner.find(ctx); err != nil {
		s.scanner.Close()
		return nil, err
	}
	s.reader, err = NewReader(ctx, options, s.summary.Arrays)
	return s, err
}

func (s *Set) Close() error {
	err := s.scanner.Close()
	if closeErr := s.reader.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (s *Set) Len() int        { return len(s.found) }
func (s *Set) Name() string    { return s.summary.Name }
func (s *Set) Inputs() []Input { return s.summary.Inputs }
func (s *Set) Pictures() bool  { return s.summary.Pictures }
func (s *Set) Sequences() bool { return s.summary.Sequences }
func (s *Set) Timed() bool     { return s.summary.Timed }
func (s *Set) Stills() int     { return s.summary.Stills }

func (s *Set) IDs() (ids []string) {
	for i := range s.found {
		ids = append(ids, s.found[i].ID)
	}
	return ids
}

// Columns are stimulus_id, stimulus_path and those of the summary, with typed values.
func (s *Set) Columns() []Column {
	var paths []string
	for i := range s.found {
		paths = append(paths, s.found[i].Path)
	}
	columns := []Column{{"stimulus_id", s.IDs()}, {"stimulus_path", paths}}
	for c, name := range s.summary.Columns {
		cells := make([]string, len(s.found))
		for i := range s.found {
			if c < len(s.found[i].Cells) {
				cells[i] = s.found[i].Cells[c]
			}
		}
		columns = append(columns, Column{name, typed(cells, s.summary.Kinds[c])})
	}
	return columns
}

// Hashes hashes all stimuli, with which the Reader compares them from then on.
func (s *Set) Hashes(ctx context.Context) (hashes []string, err error) {
	for i := range s.found {
		f := &s.found[i]
		if f.SHA256 == "" {
			if f.SHA256, err = s.scanner.Hash(ctx, f); err != nil {
				return nil, err
			}
		}
		hashes = append(hashes, f.SHA256)
	}
	return hashes, nil
}

// Fingerprint is that of provenance, stimuli_sha256.
func (s *Set) Fingerprint(ctx context.Context) (string, error) {
	hashes, err := s.Hashes(ctx)
	hash := sha256.New()
	for i, id := range s.IDs() {
		fmt.Fprintf(hash, "%q %s\n", id, hashes[i])
	}
	return hex.EncodeToString(hash.Sum(nil)), err
}

func (s *Set) From(first int) iter.Seq[tfconvrnn.Stimulus] {
	return s.reader.Stimuli(func(yield func(*Record) bool) {
		for i := first; i < len(s.found) && yield(&s.found[i].Record); i++ {
		}
	})
}
