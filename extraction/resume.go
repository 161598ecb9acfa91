package extraction

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/storage"
	"github.com/tfconvrnn/go/stimuli"
)

// settings returns the identity without what may change between an interrupted run and
// its resumption, where the rows that are computed are the same: the further stimuli, and
// what they are counted and called by. What is decided by all stimuli together stays.
func (i *Identity) settings() *Identity {
	about := *i.Provenance
	about.StimuliSHA256, about.ColumnNames, about.Inputs = "", nil, nil
	for _, input := range i.Inputs {
		if input.Range != "" {
			about.Inputs = append(about.Inputs, stimuli.Input{Kind: input.Kind, Range: input.Range})
		}
	}
	return &Identity{Provenance: &about, OnError: i.OnError}
}

// CompareSettings lists in what an interrupted run and its resumption differ besides the
// stimuli. That stimuli which cannot be read are skipped from now on is no difference, nor
// is another processor of the same instructions, for which warn is called.
func CompareSettings(before, now *Identity, warn func(message string)) ([]features.Difference, error) {
	a, b := before.settings(), now.settings()
	if a.OnError == Fail && b.OnError == Skip {
		a.OnError = b.OnError
	}
	if a.Processor != b.Processor {
		warn(fmt.Sprintf(
			"the interrupted run was on another processor (%s, this is %s): the last bits of what they compute may differ",
			a.Processor, b.Processor))
		a.Processor = b.Processor
	}
	var texts [2][]byte
	for i, identity := range []*Identity{a, b} {
		var err error
		if texts[i], err = json.Marshal(identity); err != nil {
			return nil, err
		}
	}
	return features.Compare(texts[0], texts[1])
}

// Accept finds out how many of the first rows of an interrupted run may stay in one that
// goes on with it as another: rows that are computed must be the same stimuli, computed
// together with the same others. Before is the interrupted run's identity, rows the number
// of rows that it has finished. See features.Options.
func (i *Identity) Accept(before json.RawMessage, rows int, warn func(message string)) (keep int,
	differences []features.Difference, err error) {
	then := &Identity{}
	if err := json.Unmarshal(before, then); err != nil || then.Provenance == nil {
		return 0, nil, fmt.Errorf("%w: its identity: %v", features.ErrJournal, err)
	}
	if differences, err = CompareSettings(then, i, warn); err != nil || len(differences) > 0 {
		return 0, differences, err
	}
	if then.BlockRows < 1 || then.BlockRows != i.BlockRows {
		return 0, nil, nil // a set that is large now and was not: everything is computed again
	}
	at := func(list []string, k int) string {
		if k < len(list) {
			return list[k]
		}
		return ""
	}
	const most = 12
	size, batch := i.BlockRows, max(i.BatchSize, 1)
	whole := (rows + batch - 1) / batch * batch // the batches of the finished rows
	keep = rows
	for k := 0; k*size < whole; k++ {
		if at(then.Blocks, k) == at(i.Blocks, k) {
			continue
		}
		keep = min(keep, k*size/batch*batch)
		if (k+1)*size > rows {
			break // the rest of a batch, or block, that is computed again
		}
		if len(differences) < most {
			differences = append(differences, then.blockDifference(k, i))
		}
	}
	return keep, differences, nil
}

// blockDifference says how a block of rows that is computed has changed.
func (i *Identity) blockDifference(k int, now *Identity) features.Difference {
	if i.BlockRows > 1 {
		return features.Difference{Field: fmt.Sprintf("rows %d to %d, which are computed,", k*i.BlockRows,
			(k+1)*i.BlockRows-1), Before: "other stimuli"}
	}
	find := func(i *Identity) (id, hash string) {
		for id, hash := range i.Contents {
			if k < len(i.Blocks) && blockDigest([]string{id}, []string{hash}) == i.Blocks[k] {
				return id, hash
			}
		}
		return "", ""
	}
	id, hash := find(i)
	nowID, nowHash := find(now)
	return rowDifference(k, id, hash, nowID, nowHash)
}

// rowDifference says how a row that is computed has changed.
func rowDifference(row int, id, hash, nowID, nowHash string) features.Difference {
	d := features.Difference{Field: fmt.Sprintf("row %d, which is computed,", row),
		Before: fmt.Sprintf("%s (%.12s)", id, hash)}
	if nowID != "" {
		d.Now = fmt.Sprintf("%s (%.12s)", nowID, nowHash)
	}
	return d
}

// Adopt takes over, into the place of a plan that is to go on with an interrupted one, the
// chunks that are written and of which every stimulus is the same. Rows that are not
// computed may have changed, been added or removed, and stimuli that cannot be read may be
// skipped from now on; any other difference, or a changed row of a chunk that is written,
// is an *features.ResumeMismatchError. It returns the number of chunks. The caller then
// gives the plan file the name of the interrupted one's, opens it and calls Resume.
func (p *Plan) Adopt(ctx context.Context, before *Plan, warn func(message string)) (int, error) {
	differences, err := CompareSettings(before.settings(), p.settings(), warn)
	if err != nil {
		return 0, err
	}
	done, _, err := before.done(ctx)
	if err != nil {
		return 0, err
	}
	var same []int
	if len(differences) == 0 {
		if same, differences, err = p.sameChunks(ctx, before, done); err != nil {
			return 0, err
		}
	}
	if len(differences) > 0 {
		return 0, &features.ResumeMismatchError{Path: p.Output, Differences: differences}
	}
	if !p.place.remote {
		for _, folder := range []string{p.place.works.String(), p.place.partials.String(), p.place.work.String(),
			p.place.chunks.String()} {
			if err := os.Mkdir(folder, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
				return 0, err
			}
		}
	}
	taken := 0
	for _, chunk := range same {
		record, err := before.completeRecord(ctx, chunk)
		if errors.Is(err, errCorrupt) {
			continue
		}
		if err == nil {
			err = p.take(ctx, before, record)
		}
		if err != nil {
			return 0, err
		}
		taken++
	}
	own := p.claim()
	own.Name = before.claim().Name
	text, err := json.Marshal(own)
	if err != nil {
		return 0, err
	}
	return taken, p.place.works.Put(ctx, claimName(p.hash), text)
}

func (p *Plan) settings() *Identity {
	return &Identity{Provenance: p.Provenance, OnError: p.OnError}
}

// sameChunks returns the chunks of done of which all stimuli are the same in both plans,
// and how rows of the others have changed, up to a dozen.
func (p *Plan) sameChunks(ctx context.Context, before *Plan, done []bool) (same []int, changed []features.Difference,
	err error) {
	const most = 12
	then, now := before.records(), p.records()
	for chunk, there := range done {
		if !there {
			continue
		}
		first, end := before.Rows(chunk)
		row, differs := first, len(changed)
		err := then.each(ctx, first, end, func(r *stimuli.Record) error {
			var id, hash string
			if row < p.Stimuli {
				if err := now.each(ctx, row, row+1, func(r *stimuli.Record) error {
					id, hash = r.ID, r.SHA256
					return nil
				}); err != nil {
					return err
				}
			}
			if (id != r.ID || hash != r.SHA256) && len(changed) < most {
				changed = append(changed, rowDifference(row, r.ID, r.SHA256, id, hash))
			}
			row++
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
		// The last chunk may have become longer: it is computed again, whole.
		if nowFirst, nowEnd := p.Rows(chunk); len(changed) == differs && first == nowFirst && end == nowEnd &&
			p.ZarrChunkRows == before.ZarrChunkRows {
			same = append(same, chunk)
		}
	}
	return same, changed, nil
}

// take puts the files of another plan's chunk into this plan's place, and writes its record.
func (p *Plan) take(ctx context.Context, before *Plan, record *ChunkRecord) error {
	files := map[string]FileRecord{}
	for _, f := range record.Files {
		files[f.Name] = f
	}
	mine := *record
	mine.Plan, mine.Files = p.hash, nil
	first, end := p.Rows(record.Chunk)
	for array := range p.layout.Streamed {
		for row := first; row < end; row += p.store.ChunkRows() {
			name := p.store.ChunkName(array, row/p.store.ChunkRows())
			f, ok := files[name]
			var err error
			if ok {
				err = p.place.link(ctx, before.place, name)
			} else if p.layout.Streamed[array].Name == "valid" { // a run that did not skip had no faults
				f, err = p.writeValid(ctx, array, name, min(end, row+p.store.ChunkRows())-row)
			} else {
				err = fmt.Errorf("chunk %d has no %s: %w", record.Chunk, name, errCorrupt)
			}
			if err != nil {
				return err
			}
			mine.Files = append(mine.Files, f)
		}
	}
	text, err := json.Marshal(&mine)
	if err != nil {
		return err
	}
	return p.place.work.Put(ctx, recordName(record.Chunk), text)
}

// writeValid writes a chunk of the mask of stimuli that could be read: all could.
func (p *Plan) writeValid(ctx context.Context, array int, name string, rows int) (FileRecord, error) {
	chunk := p.store.NewChunk(array)
	for range rows {
		if err := chunk.Append([]float32{1}); err != nil {
			return FileRecord{}, err
		}
	}
	content, err := chunk.Encode(nil)
	if err != nil {
		return FileRecord{}, err
	}
	return newFileRecord(name, content), p.place.chunks.Put(ctx, name, content)
}

// link gives this plan a file of another's. In a file system both share the bytes, which
// nothing changes, so it costs no space.
func (p *place) link(ctx context.Context, from *place, name string) error {
	if !p.remote {
		to := filepath.Join(p.chunks.String(), filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return err
		}
		err := os.Link(filepath.Join(from.chunks.String(), filepath.FromSlash(name)), to)
		if err == nil || errors.Is(err, fs.ErrExist) { // of a resumption that was interrupted too
			return nil
		}
	}
	return storage.Copy(ctx, from.chunks, p.chunks, name)
}
