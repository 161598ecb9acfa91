package extraction

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/parallel"
	"github.com/tfconvrnn/go/internal/storage"
)

// place is where a plan's store comes into being. Every plan has its own, named after
// its hash, and writes nowhere else until the store is complete: so a worker that was
// stopped and wakes up long after another plan has taken the output cannot write into
// what is no longer its own.
//
//	<output>.partial/<hash>/        the store's files
//	<output>.work/<hash>/           the records of chunks
//	<output>.work/plans/<hash>.json says that the plan has been begun: claim
//
// When all chunks are there, finish gives the files the output's name: in a file system
// by renaming the folder, in an object store by copying the objects within it, those by
// which readers know a store last.
//
// Whoever takes the output for another plan first removes the claim and moves or removes
// the folders. What an old worker writes after that fails, or, in an object store, lies
// where nobody looks.
type place struct {
	output, hash string
	remote       bool
	// chunks and work are this plan's, final is the output, partials and works hold all plans'.
	chunks, work, final, partials, works storage.Store
	// displaced are the names of the plans from which begin has taken the output.
	displaced []string
}

// sealName is the file in a store that says that it is complete.
const (
	sealName     = "sealed.json"
	manifestName = "manifest.sha256"
	maxSealBytes = 1 << 16
)

// readerNames are the objects by which readers know a store.
var readerNames = []string{".zmetadata", ".zgroup", sealName}

// Seal is what a finished store says about itself.
type Seal struct {
	// Plan is the hash of the plan, and Manifest that of the file manifest.sha256,
	// which lists the SHA-256 of every other file in the store (but this one).
	Plan     string `json:"plan"`
	Manifest string `json:"manifest_sha256"`
	Stimuli  int    `json:"stimuli"`
	Chunks   int    `json:"chunks"`
	Files    int    `json:"files"`
	// Matrices is the number of Gram matrices, of an output of them.
	Matrices int `json:"matrices,omitempty"`
}

// claim says that a plan has been begun.
type claim struct {
	Plan string `json:"plan"` // hash
	// Name is the plan file's, for messages, and Chunks their number.
	Name   string `json:"name"`
	Chunks int    `json:"chunks"`
}

const (
	claimPrefix = "plans/"
	claimSuffix = ".json"
)

func claimName(hash string) string { return claimPrefix + hash + claimSuffix }

func newPlace(ctx context.Context, output, hash string) (_ *place, err error) {
	p := &place{output: output, hash: hash, remote: storage.IsRemote(output)}
	partial, work := output+".partial", output+".work"
	if !p.remote {
		own := filepath.Join(work, hash)
		p.partials, p.works = storage.NewFolder(partial, work), storage.NewFolder(work, work)
		p.chunks, p.work = storage.NewFolder(filepath.Join(partial, hash), own), storage.NewFolder(own, own)
		p.final = storage.NewFolder(output, work)
		return p, nil
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	for _, s := range []struct {
		store *storage.Store
		url   string
	}{
		{&p.final, output}, {&p.partials, partial}, {&p.works, work},
		{&p.chunks, storage.Join(partial, hash)}, {&p.work, storage.Join(work, hash)},
	} {
		if *s.store, err = storage.Open(ctx, s.url); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *place) close() error {
	var err error
	for _, s := range []storage.Store{p.chunks, p.work, p.final, p.partials, p.works} {
		if s != nil {
			err = errors.Join(err, s.Close())
		}
	}
	return err
}

// seal returns the seal of the finished store, or an error that wraps fs.ErrNotExist
// where there is none, or where this plan is making it anew.
func (p *place) seal(ctx context.Context) (*Seal, error) {
	if begun, err := p.begun(ctx); err != nil {
		return nil, err
	} else if begun {
		return nil, fmt.Errorf("%s: unfinished: %w", p.output, fs.ErrNotExist)
	}
	return readSeal(ctx, p.final)
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

// begun tells whether the plan has been begun, and nobody has taken the output since.
func (p *place) begun(ctx context.Context) (bool, error) {
	if !p.remote { // what finish renames last
		if _, err := os.Lstat(p.chunks.String()); errors.Is(err, fs.ErrNotExist) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	_, err := p.works.Stat(ctx, claimName(p.hash))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// claims returns the plans that have been begun.
func (p *place) claims(ctx context.Context) ([]claim, error) {
	var list []claim
	err := p.works.List(ctx, claimPrefix, func(o object) error {
		hash, ok := strings.CutSuffix(strings.TrimPrefix(o.Name, claimPrefix), claimSuffix)
		if !ok || strings.Contains(hash, "/") {
			return nil
		}
		c := claim{Plan: hash}
		text, err := p.works.Get(ctx, o.Name, maxSealBytes)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed since it was listed
		}
		if err == nil {
			_ = json.Unmarshal(text, &c) // else it is known by its hash alone
			c.Plan = hash
			list = append(list, c)
		}
		return err
	})
	return list, err
}

// written is the number of a plan's records.
func (p *place) written(ctx context.Context, hash string) (count int, err error) {
	prefix := hash + "/" + recordPrefix
	return count, p.works.List(ctx, prefix, func(object) error { count++; return nil })
}

// begin makes the place for a plan, of which it keeps what there is already. Other plans
// lose theirs; if chunks of one are written, it is an error that wraps ErrOtherPlan,
// unless mayDiscard says that it may go. Fresh discards this plan's chunks too, and, in
// an object store, an earlier output.
func (p *place) begin(ctx context.Context, own claim, fresh bool, mayDiscard func(claim) bool) error {
	claims, err := p.claims(ctx)
	if err != nil {
		return err
	}
	there := false
	for _, c := range claims {
		if c.Plan == p.hash {
			there = true
			continue
		}
		count, err := p.written(ctx, c.Plan)
		if err != nil {
			return err
		}
		if count > 0 && !mayDiscard(c) {
			return &OtherPlanError{Output: p.output, Plan: c.Name, Hash: c.Plan, Chunks: c.Chunks, Written: count}
		}
	}
	if p.remote && !fresh && !there {
		for _, name := range []string{sealName, ".zgroup"} {
			if _, err := p.final.Stat(ctx, name); err == nil {
				return fmt.Errorf("%s: %w", p.output, fs.ErrExist)
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	p.displaced = nil
	for _, c := range claims {
		if c.Plan != p.hash {
			p.displaced = append(p.displaced, c.Name)
		}
		if c.Plan != p.hash || fresh {
			if err := p.forget(ctx, c.Plan); err != nil {
				return err
			}
		}
	}
	if err := p.clear(ctx, there && !fresh, fresh); err != nil {
		return err
	}
	if !p.remote {
		for _, name := range []string{p.works.String(), p.partials.String(), p.work.String(), p.chunks.String()} {
			if err := os.Mkdir(name, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
	}
	text, err := json.Marshal(own)
	if err != nil {
		return err
	}
	return p.works.Put(ctx, claimName(p.hash), text)
}

// forget takes the output from a plan: from the first step on its workers are refused.
func (p *place) forget(ctx context.Context, hash string) error {
	if err := p.works.Remove(ctx, claimName(hash)); err != nil {
		return err
	}
	for _, parent := range []storage.Store{p.works, p.partials} {
		if err := p.removeBelow(ctx, parent, hash); err != nil {
			return err
		}
	}
	return nil
}

// withdraw removes what a worker has written of a chunk.
func (p *place) withdraw(ctx context.Context, record *ChunkRecord) error {
	err := p.work.Remove(ctx, recordName(record.Chunk))
	for _, f := range record.Files {
		err = errors.Join(err, p.chunks.Remove(ctx, f.Name))
	}
	return err
}

// removeBelow removes a folder. In a file system it is moved away first, so that nobody
// writes into it meanwhile.
func (p *place) removeBelow(ctx context.Context, parent storage.Store, name string) error {
	if p.remote {
		below, err := storage.Open(ctx, storage.Join(parent.String(), name))
		if err != nil {
			return err
		}
		defer below.Close()
		return below.RemoveAll(ctx)
	}
	folder := filepath.Join(parent.String(), name)
	gone, err := os.MkdirTemp(parent.String(), "discarded-*")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.Rename(folder, filepath.Join(gone, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(gone)
}

// clear removes what no plan claims: leftovers of plans that lost the output, and of
// processes that died while they discarded something. Own says that this plan's are to
// stay, and output that an earlier output in an object store goes too.
func (p *place) clear(ctx context.Context, own, output bool) error {
	if !p.remote {
		for _, parent := range []storage.Store{p.works, p.partials} {
			entries, err := os.ReadDir(parent.String())
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			for _, entry := range entries {
				if name := entry.Name(); own && (name == p.hash || name+"/" == claimPrefix) {
					continue
				}
				if err := os.RemoveAll(filepath.Join(parent.String(), entry.Name())); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if own {
		return nil
	}
	err := errors.Join(p.partials.RemoveAll(ctx), p.works.RemoveAll(ctx))
	if err != nil || !output {
		return err
	}
	for i := len(readerNames) - 1; i >= 0; i-- { // what is half removed is no store
		if err := p.final.Remove(ctx, readerNames[i]); err != nil {
			return err
		}
	}
	return p.final.RemoveAll(ctx)
}

// publish gives the finished store its name.
func (p *place) publish(ctx context.Context, replace bool) error {
	if p.remote {
		return p.copyOut(ctx)
	}
	partial, old := p.chunks.String(), p.output+".replaced"
	if _, err := os.Lstat(partial); err != nil {
		return err // another process has finished, or another plan has taken the output
	}
	moved := false
	if _, err := os.Lstat(p.output); err == nil {
		if !replace {
			return fmt.Errorf("%s: %w", p.output, fs.ErrExist)
		}
		if err := os.RemoveAll(old); err != nil {
			return err
		}
		if err := os.Rename(p.output, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		moved = true
	}
	err := disk.SyncFolder(partial)
	if err == nil {
		err = os.Rename(partial, p.output)
	}
	if err != nil {
		if moved { // what was put there is another's, and stays
			err = errors.Join(err, os.Rename(old, p.output))
		}
		return err
	}
	return errors.Join(disk.SyncFolder(filepath.Dir(p.output)), os.RemoveAll(old))
}

// copyOut copies the store's objects to the output's name. A process that was stopped
// here and goes on when the output belongs to another plan finds nothing to copy: nothing
// else writes there.
func (p *place) copyOut(ctx context.Context) error {
	// From here on nothing is added to what is copied.
	if begun, err := p.begun(ctx); err != nil {
		return err
	} else if !begun {
		return fmt.Errorf("%s: %w", p.chunks, fs.ErrNotExist)
	}
	const window, atOnce = 1024, 64
	var names []string
	flush := func() error {
		err := parallel.Each(ctx, atOnce, len(names), func(ctx context.Context, i int) error {
			return storage.Copy(ctx, p.chunks, p.final, names[i])
		})
		names = names[:0]
		return err
	}
	err := p.chunks.List(ctx, "", func(o object) error {
		for _, name := range readerNames {
			if o.Name == name {
				return nil
			}
		}
		if names = append(names, o.Name); len(names) == window {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	for _, name := range readerNames {
		if err == nil {
			err = storage.Copy(ctx, p.chunks, p.final, name)
		}
	}
	return err
}

// tidy removes what only workers need.
func (p *place) tidy(ctx context.Context) error {
	err := p.discard(ctx)
	if !p.remote {
		err = errors.Join(err, os.RemoveAll(p.output+".replaced"))
	}
	return err
}

// discard removes this plan's place, and everything unfinished if no other plan has been
// begun.
func (p *place) discard(ctx context.Context) error {
	if err := p.forget(ctx, p.hash); err != nil {
		return err
	}
	claims, err := p.claims(ctx)
	if err != nil || len(claims) > 0 {
		return err
	}
	return errors.Join(p.partials.RemoveAll(ctx), p.works.RemoveAll(ctx))
}
