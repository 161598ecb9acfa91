// Package manifest describes a converted model: what its SavedModel holds, where
// the weights come from, and how a runtime feeds and fetches it.
package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/tfconvrnn/go/internal/disk"
)

// Name is the manifest's file name in a SavedModel's directory.
const Name = "manifest.json"

// Format is the version of the manifest's own form.
const Format = 1

// maxBytes bounds what is read of a manifest. Those of 30 timesteps are below
// 200 KB, those of MaxTimes below 7 MB.
const maxBytes = 16 << 20

// ErrInvalid is wrapped by errors about a manifest that cannot be understood.
var ErrInvalid = errors.New("invalid manifest")

// ErrModified is wrapped by errors about a SavedModel that is not the one its
// manifest describes.
var ErrModified = errors.New("SavedModel differs from its manifest")

// Weights says what the variables hold.
type Weights struct {
	// SHA256 identifies the values of all variables, whatever they were read from.
	SHA256 string `json:"sha256"`
	// Kind is "checkpoint" or "seeded".
	Kind string  `json:"kind"`
	Seed *uint64 `json:"seed,omitempty"`
	// Untrained marks weights that no training produced.
	Untrained bool `json:"untrained"`
}

// String says which weights these are in a few words.
func (w Weights) String() string {
	switch {
	case w.Seed != nil:
		return fmt.Sprintf("seeded:%d (untrained)", *w.Seed)
	case w.Untrained:
		return w.Kind + " (untrained)"
	}
	return w.Kind + " " + w.SHA256[:min(12, len(w.SHA256))]
}

// Timestep says where a layer's output at a timestep is found.
type Timestep struct {
	// Tensor is fetched; its first dimension is 1 for "constant", the number of
	// frames for "frame" and the number of stimuli for "stimulus".
	Tensor string `json:"tensor"`
	Kind   string `json:"kind"`
	// Shown is, for "frame", the timestep whose frame counts.
	Shown int `json:"shown,omitempty"`
	// Needs lists the boundaries that the tensor depends on, Known the known
	// frames.
	Needs []int `json:"needs,omitempty"`
	Known []int `json:"known,omitempty"`
}

// Layer is a layer's outputs.
type Layer struct {
	Name      string     `json:"name"`
	Shape     []int      `json:"shape"`
	Timesteps []Timestep `json:"timesteps"`
}

// Boundary is a constant that a run may feed with what an earlier run computed.
type Boundary struct {
	Tensor string `json:"tensor"`
	Shape  []int  `json:"shape"`
}

// Logits are the logits decoded from a presentation of so many timesteps.
type Logits struct {
	Times  int    `json:"times"`
	Tensor string `json:"tensor"`
	Needs  []int  `json:"needs,omitempty"`
	Known  []int  `json:"known,omitempty"`
}

// KnownFrames is a place to feed values of frames that an earlier run computed:
// items of Source. They are numbered in the schedule behind the frames that are fed.
type KnownFrames struct {
	Tensor string `json:"tensor"`
	Source string `json:"source"`
	Shape  []int  `json:"shape"`
}

// Manifest describes a converted model.
type Manifest struct {
	Format    int     `json:"format"`
	Model     string  `json:"model"`
	Times     int     `json:"times"`
	Variant   string  `json:"plan"`
	Weights   Weights `json:"weights"`
	Converter string  `json:"converter"`
	// Files holds the SHA-256 of every other file of the SavedModel, by its path
	// with slashes.
	Files      map[string]string `json:"files"`
	Frames     string            `json:"frames"`
	Schedule   string            `json:"schedule"`
	Layers     []Layer           `json:"layers"`
	Logits     []Logits          `json:"logits"`
	Boundaries []Boundary        `json:"boundaries"`
	Known      []KnownFrames     `json:"known_frames"`
}

// Read reads the manifest of the SavedModel in dir. Errors wrap fs.ErrNotExist
// or ErrInvalid.
func Read(dir string) (*Manifest, error) {
	path := filepath.Join(dir, Name)
	data, err := disk.ReadFile(path, maxBytes)
	if errors.Is(err, disk.ErrTooLarge) || errors.Is(err, disk.ErrNotRegular) {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err != nil {
		return nil, err
	}
	m, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// neededFiles are those without which a SavedModel cannot be read.
var neededFiles = []string{"saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"}

// Parse parses and checks a manifest. Errors wrap ErrInvalid.
func Parse(data []byte) (*Manifest, error) {
	m := &Manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if m.Format != Format {
		return nil, fmt.Errorf("%w: its format is %d and this version reads %d; convert the model again", ErrInvalid,
			m.Format, Format)
	}
	return m, m.check()
}

func (m *Manifest) check() error {
	needs := func(where string, boundaries, known []int) error {
		for _, i := range boundaries {
			if i < 0 || i >= len(m.Boundaries) {
				return fmt.Errorf("%w: %s needs boundary %d of %d", ErrInvalid, where, i, len(m.Boundaries))
			}
		}
		for _, i := range known {
			if i < 0 || i >= len(m.Known) {
				return fmt.Errorf("%w: %s needs known frames %d of %d", ErrInvalid, where, i, len(m.Known))
			}
		}
		return nil
	}
	shape := func(where string, dimensions []int) error {
		elements := 1
		for _, d := range dimensions {
			if d < 1 || d > 1<<20 || elements > 1<<28/d {
				return fmt.Errorf("%w: %s has the shape %v", ErrInvalid, where, dimensions)
			}
			elements *= d
		}
		return nil
	}
	if m.Times < 1 || m.Times > MaxTimes {
		return fmt.Errorf("%w: %d timesteps", ErrInvalid, m.Times)
	}
	// Without these Verify would prove nothing; with others it would read elsewhere.
	for _, name := range neededFiles {
		if m.Files[name] == "" {
			return fmt.Errorf("%w: it lacks the hash of %s", ErrInvalid, name)
		}
	}
	for name := range m.Files {
		if !fs.ValidPath(name) || !filepath.IsLocal(filepath.FromSlash(name)) {
			return fmt.Errorf("%w: the file %q is outside the SavedModel", ErrInvalid, name)
		}
	}
	for _, l := range m.Layers {
		if err := shape(l.Name, l.Shape); err != nil {
			return err
		}
		if len(l.Timesteps) != m.Times {
			return fmt.Errorf("%w: layer %s has %d timesteps of %d", ErrInvalid, l.Name, len(l.Timesteps), m.Times)
		}
		for t, step := range l.Timesteps {
			where := fmt.Sprintf("layer %s at timestep %d", l.Name, t)
			switch step.Kind {
			case "constant", "frame", "stimulus":
			default:
				return fmt.Errorf("%w: %s is of kind %q", ErrInvalid, where, step.Kind)
			}
			if step.Shown < 0 || step.Shown > t {
				return fmt.Errorf("%w: %s is of the frame shown at timestep %d", ErrInvalid, where, step.Shown)
			}
			if err := needs(where, step.Needs, step.Known); err != nil {
				return err
			}
		}
	}
	for _, l := range m.Logits {
		if l.Times < 1 || l.Times > m.Times {
			return fmt.Errorf("%w: logits of %d timesteps", ErrInvalid, l.Times)
		}
		if err := needs("logits", l.Needs, l.Known); err != nil {
			return err
		}
	}
	for i, k := range m.Known {
		if err := shape(fmt.Sprintf("known frames %d", i), k.Shape); err != nil {
			return err
		}
	}
	for i, b := range m.Boundaries {
		if err := shape(fmt.Sprintf("boundary %d", i), b.Shape); err != nil {
			return err
		}
	}
	return nil
}

// MaxTimes bounds the number of timesteps a graph is unrolled for.
const MaxTimes = 1000

// Bytes returns the manifest as it is written.
func (m *Manifest) Bytes() ([]byte, error) {
	data, err := json.MarshalIndent(m, "", " ")
	return append(data, '\n'), err
}

// Verify checks that the files of the SavedModel in dir are those that were
// written. The error wraps ErrModified or comes from reading.
func (m *Manifest) Verify(dir string) error {
	for name, want := range m.Files {
		got, err := disk.SHA256(context.Background(), filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return fmt.Errorf("%w: %w; convert the model again", ErrModified, err)
		}
		if got != want {
			return fmt.Errorf("%w: %s has SHA-256 %s, not %s; convert the model again", ErrModified, filepath.Join(dir, name),
				got, want)
		}
	}
	return nil
}

// VerifyBytes checks that data is the content of one of the SavedModel's files. The
// error wraps ErrModified.
func (m *Manifest) VerifyBytes(name string, data []byte) error {
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != m.Files[name] {
		return fmt.Errorf("%w: %s has SHA-256 %s, not %q; convert the model again", ErrModified, name, got, m.Files[name])
	}
	return nil
}
