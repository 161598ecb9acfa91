package extraction

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/storage"
)

// place is where a plan's store comes into being.
//
// In a file system chunks are written to <output>.partial, which finish renames, and
// what is known about them to <output>.work. In an object store, which cannot rename,
// chunks are written under the output's own name, and the files by which readers know
// a store come last.
type place struct {
	output string
	remote bool
	chunks storage.Store
	work   storage.Store
}

// sealName is the file in a store that says that it is complete.
const (
	sealName     = "sealed.json"
	manifestName = "manifest.sha256"
	maxSealBytes = 1 << 16
)

// Seal is what a finished store says about itself.
type Seal struct {
	// Plan is the hash of the plan, and Manifest that of the file manifest.sha256,
	// which lists the SHA-256 of every other file in the store (but this one).
	Plan     string `json:"plan"`
	Manifest string `json:"manifest_sha256"`
	Stimuli  int    `json:"stimuli"`
	Chunks   int    `json:"chunks"`
	Files    int    `json:"files"`
}

func newPlace(ctx context.Context, output string) (*place, error) {
	p := &place{output: output, remote: storage.IsRemote(output)}
	if !p.remote {
		work := output + ".work"
		p.chunks, p.work = storage.NewFolder(output+".partial", work), storage.NewFolder(work, work)
		return p, nil
	}
	var err error
	if p.chunks, err = storage.Open(ctx, output); err != nil {
		return nil, err
	}
	if p.work, err = storage.Open(ctx, output+".work"); err != nil {
		p.chunks.Close()
		return nil, err
	}
	return p, nil
}

func (p *place) close() error { return errors.Join(p.chunks.Close(), p.work.Close()) }

// seal returns the seal of the finished store, or an error that wraps fs.ErrNotExist
// where there is none, or where it is being made anew.
func (p *place) seal(ctx context.Context) (*Seal, error) {
	store := p.chunks
	if !p.remote {
		if _, err := os.Lstat(p.chunks.String()); err == nil {
			return nil, fmt.Errorf("%s: unfinished: %w", p.output, fs.ErrNotExist)
		}
		store = storage.NewFolder(p.output, p.work.String())
	}
	return readSeal(ctx, store)
}

func readSeal(ctx context.Context, store storage.Store) (*Seal, error) {
	text, err := store.Get(ctx, sealName, maxSealBytes)
	if err != nil {
		return nil, err
	}
	s := &Seal{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%s: %w", storage.Join(store.String(), sealName), err)
	}
	return s, nil
}

// begin makes the folders. replace discards what is there.
func (p *place) begin(ctx context.Context, replace bool) error {
	if p.remote {
		if !replace {
			return nil
		}
		// The seal first: what is half removed is no store.
		for _, name := range []string{sealName, ".zmetadata", ".zgroup"} {
			if err := p.chunks.Remove(ctx, name); err != nil {
				return err
			}
		}
		return errors.Join(p.chunks.RemoveAll(ctx), p.work.RemoveAll(ctx))
	}
	for _, store := range []storage.Store{p.work, p.chunks} {
		if replace {
			if err := store.RemoveAll(ctx); err != nil {
				return err
			}
		}
		if err := os.Mkdir(store.String(), 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// begun tells whether there are the folders.
func (p *place) begun() bool {
	if p.remote {
		return true
	}
	for _, store := range []storage.Store{p.work, p.chunks} {
		if _, err := os.Lstat(store.String()); err != nil {
			return false
		}
	}
	return true
}

// publish gives the finished store its name.
func (p *place) publish(ctx context.Context, replace bool) error {
	if p.remote {
		return nil
	}
	partial, old := p.chunks.String(), p.output+".replaced"
	if _, err := os.Lstat(p.output); err == nil {
		if !replace {
			return fmt.Errorf("%s: %w; move it away, or plan with --force", p.output, fs.ErrExist)
		}
		if err := os.RemoveAll(old); err != nil {
			return err
		}
		if err := os.Rename(p.output, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	err := atomicfile.SyncDirectory(partial)
	if err == nil {
		err = os.Rename(partial, p.output)
	}
	if err != nil {
		return err
	}
	return errors.Join(atomicfile.SyncDirectory(filepath.Dir(p.output)), os.RemoveAll(old))
}

// tidy removes what only workers need.
func (p *place) tidy(ctx context.Context) error {
	err := p.work.RemoveAll(ctx)
	if !p.remote {
		err = errors.Join(err, os.RemoveAll(p.output+".replaced"))
	}
	return err
}

// discard removes everything unfinished.
func (p *place) discard(ctx context.Context) error {
	return errors.Join(p.chunks.RemoveAll(ctx), p.work.RemoveAll(ctx))
}
