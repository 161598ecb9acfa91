package bundle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"sort"

	"github.com/golang/snappy"
	ldberrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/table"
)

// The layout of a LevelDB table (leveldb/doc/table_format.md):
//
//	[data block]… [metaindex block] [index block] [footer]
//	footer   metaindex handle, index handle (each: varint offset, varint size), zeros, magic; 48 bytes
//	block    contents, compression type (1 byte), masked CRC-32C of both (4 bytes)
//	contents entry…, restart offsets (uint32 each), number of restarts (uint32)
//	entry    varint shared, varint unshared, varint value length, key[shared:], value
//
// An entry of the index block holds a key not below its data block's last, and that block's handle.
const (
	tableFooterSize  = 48
	tableTrailerSize = 5
	tableMagic       = "\x57\xfb\x80\x8b\x24\x75\x47\xdb"
)

// indexTable is the checked content of a bundle's index file.
type indexTable struct {
	path   string
	blocks []dataBlock
}

type dataBlock struct {
	limit  string // a key that is not below any key of the block
	offset int64
}

// offsetOf returns the offset of the data block that holds key.
func (t *indexTable) offsetOf(key string) int64 {
	i := sort.Search(len(t.blocks), func(i int) bool { return t.blocks[i].limit >= key })
	if i == len(t.blocks) {
		return 0
	}
	return t.blocks[i].offset
}

// readTable calls visit for the entries of the table in data, in the order of their keys. path names
// the file in errors. value is valid during the call only.
func readTable(path string, data []byte, visit func(t *indexTable, key string, value []byte) error) (err error) {
	// goleveldb allocates what a block handle or a Snappy header declares, before it looks at what
	// the file holds; so these are checked first.
	t, err := checkTable(path, data)
	if err != nil {
		return err
	}

	// A table that passes its checksums may still be malformed by intent, which goleveldb does not
	// defend against everywhere.
	defer func() {
		if r := recover(); r != nil {
			err = corrupt(path, 0, "the table is malformed: %v", r)
		}
	}()
	// GetStrict looks at each flag by itself, so StrictAll is what switches them on.
	reader, err := table.NewReader(bytes.NewReader(data), int64(len(data)), storage.FileDesc{}, nil, nil,
		&opt.Options{Strict: opt.StrictAll})
	if err != nil {
		return corrupt(path, 0, "%v", err)
	}
	defer reader.Release()
	entries := reader.NewIterator(nil, nil)
	defer entries.Release()

	var last []byte
	for n := 0; entries.Next(); n++ {
		key := entries.Key()
		switch {
		case n >= maxEntries:
			return corrupt(path, t.offsetOf(string(last)), "more than %d entries", maxEntries)
		case len(key) > maxKeyLength:
			return corrupt(path, t.offsetOf(string(last)), "a key of %d bytes", len(key))
		case n > 0 && bytes.Equal(key, last):
			return corrupt(path, t.offsetOf(string(key)), "the key %q occurs twice", key)
		case n > 0 && bytes.Compare(key, last) < 0:
			return corrupt(path, t.offsetOf(string(key)), "the key %q is out of order", key)
		}
		last = append(last[:0], key...)
		if err := visit(t, string(key), entries.Value()); err != nil {
			return err
		}
	}
	if err := entries.Error(); err != nil {
		var position int64
		var outer *ldberrors.ErrCorrupted
		var inner *table.ErrCorrupted
		if errors.As(err, &outer) && errors.As(outer.Err, &inner) {
			position = inner.Pos
		}
		return corrupt(path, position, "%v", err)
	}
	return nil
}

// checkTable checks the footer, that all blocks lie inside the file, one after the other, and each
// block's checksum, declared sizes and restart array.
func checkTable(path string, data []byte) (*indexTable, error) {
	size := int64(len(data))
	if size < tableFooterSize {
		return nil, corrupt(path, size, "the file ends after %d bytes, a table has at least %d", size, tableFooterSize)
	}
	footerAt := size - tableFooterSize
	footer := data[footerAt:]
	if string(footer[tableFooterSize-len(tableMagic):]) != tableMagic {
		return nil, corrupt(path, size-int64(len(tableMagic)),
			"the table's magic number is not at the end: truncated, or not a checkpoint index")
	}
	footer = footer[:tableFooterSize-len(tableMagic)]
	metaAt, metaSize, n := handle(footer)
	if n == 0 {
		return nil, corrupt(path, footerAt, "bad block handle in the footer")
	}
	indexAt, indexSize, m := handle(footer[n:])
	if m == 0 {
		return nil, corrupt(path, footerAt, "bad block handle in the footer")
	}
	for _, b := range footer[n+m:] {
		if b != 0 {
			return nil, corrupt(path, footerAt, "the footer's padding is not zero")
		}
	}

	index, err := block(path, data, indexAt, indexSize)
	if err != nil {
		return nil, err
	}
	if _, err := block(path, data, metaAt, metaSize); err != nil {
		return nil, err
	}

	t := &indexTable{path: path}
	var key []byte
	next := uint64(0)
	for len(index) > 0 {
		shared, n0 := binary.Uvarint(index)
		unshared, n1 := binary.Uvarint(index[max(n0, 0):])
		length, n2 := binary.Uvarint(index[max(n0, 0)+max(n1, 0):])
		if n0 <= 0 || n1 <= 0 || n2 <= 0 {
			return nil, corrupt(path, int64(indexAt), "bad entry in the table's index block")
		}
		index = index[n0+n1+n2:]
		left := uint64(len(index))
		if shared > uint64(len(key)) || unshared > left || length > left-unshared || shared+unshared > maxKeyLength {
			return nil, corrupt(path, int64(indexAt), "bad entry in the table's index block")
		}
		key = append(key[:shared], index[:unshared]...)
		offset, blockSize, n := handle(index[unshared : unshared+length])
		if n == 0 || uint64(n) != length {
			return nil, corrupt(path, int64(indexAt), "bad block handle in the table's index block")
		}
		index = index[unshared+length:]
		if offset < next {
			return nil, corrupt(path, int64(indexAt), "data blocks overlap or are out of order at byte %d", offset)
		}
		if _, err := block(path, data, offset, blockSize); err != nil {
			return nil, err
		}
		next = offset + blockSize + tableTrailerSize
		t.blocks = append(t.blocks, dataBlock{limit: string(key), offset: int64(offset)})
	}
	return t, nil
}

// handle decodes a block handle and the bytes it takes, 0 if it is malformed.
func handle(b []byte) (offset, size uint64, n int) {
	offset, n0 := binary.Uvarint(b)
	if n0 <= 0 {
		return 0, 0, 0
	}
	size, n1 := binary.Uvarint(b[n0:])
	if n1 <= 0 {
		return 0, 0, 0
	}
	return offset, size, n0 + n1
}

// block returns the entries of a block, without its restart array.
func block(path string, data []byte, offset, size uint64) ([]byte, error) {
	end := uint64(len(data) - tableFooterSize)
	if offset > end || size > end-offset || end-offset-size < tableTrailerSize {
		return nil, corrupt(path, int64(len(data)), "a block of %d bytes at byte %d is declared, the file has %d bytes", size,
			offset, len(data))
	}
	stored := data[offset : offset+size+1]
	want, got := binary.LittleEndian.Uint32(data[offset+size+1:]), Mask(crc32.Checksum(stored, castagnoli))
	if want != got {
		return nil, corrupt(path, int64(offset), "block checksum is %08x, should be %08x", got, want)
	}
	content := stored[:size]
	switch kind := stored[size]; kind {
	case 0:
	case 1:
		n, err := snappy.DecodedLen(content)
		if err != nil || n > snappyMaxGain*len(content) {
			return nil, corrupt(path, int64(offset), "bad Snappy header")
		}
		if content, err = snappy.Decode(nil, content); err != nil {
			return nil, corrupt(path, int64(offset), "%v", err)
		}
	default:
		return nil, corrupt(path, int64(offset), "unknown block compression %d", kind)
	}
	if len(content) < 4 {
		return nil, corrupt(path, int64(offset), "a block of %d bytes", len(content))
	}
	restarts := uint64(binary.LittleEndian.Uint32(content[len(content)-4:]))
	entries := uint64(len(content)) - 4
	if restarts == 0 || restarts > entries/4 {
		return nil, corrupt(path, int64(offset), "bad restart array")
	}
	entries -= 4 * restarts
	for i := range restarts {
		if at := binary.LittleEndian.Uint32(content[entries+4*i:]); uint64(at) > entries {
			return nil, corrupt(path, int64(offset), "bad restart array")
		}
	}
	return content[:entries], nil
}
