package bundle

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
)

// Index is what the index of a bundle says, without its data.
type Index struct {
	// Entries describes the tensors, sorted by name.
	Entries []Entry
	// Shards are the data files that hold tensors, by number.
	Shards []ShardFile
}

// ShardFile is a data file of a bundle.
type ShardFile struct {
	Name string // without its directory
	// Size is where the last tensor ends: the size of the file, if nothing that
	// belongs to no tensor follows.
	Size int64
}

// ReadIndex reads the index of the bundle with the given prefix, whose data need not
// be there. Errors are those of [Open].
func ReadIndex(prefix string) (*Index, error) {
	path := indexPath(prefix)
	data, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	r := &Reader{prefix: prefix, shards: map[int32]*shard{}, tensors: map[string]*tensor{}, indexOnly: true}
	if err := r.load(path, data); err != nil {
		return nil, err
	}
	index := &Index{Entries: r.entries}
	ends := map[int32]int64{}
	for _, t := range r.stored {
		end := t.Offset + t.Size
		if end < t.Offset || end > math.MaxInt64/2 {
			return nil, corrupt(path, 0, "tensor %q has %d bytes at byte %d", t.Name, t.Size, t.Offset)
		}
		ends[int32(t.Shard)] = max(ends[int32(t.Shard)], end)
	}
	for number, end := range ends {
		s, ok := r.shards[number]
		if !ok {
			return nil, fmt.Errorf("%w: %s refers to no data file %d", ErrCorrupt, path, number)
		}
		index.Shards = append(index.Shards, ShardFile{filepath.Base(s.path), end})
	}
	slices.SortFunc(index.Shards, func(a, b ShardFile) int { return strings.Compare(a.Name, b.Name) })
	return index, nil
}
