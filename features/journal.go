package features

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/tfconvrnn/go/internal/disk"
)

// A journal is a text file of lines "<CRC-32 of the JSON, 8 hex digits> <JSON>\n".
// The first line is a journalHeader, every other one a journalEntry, appended
// and synced after the data that it vouches for. Whatever follows the first
// line that is torn or does not fit its checksum counts as not written.

const journalVersion = 1

// maxJournalLine bounds what a damaged journal can make us read at once.
const maxJournalLine = 64 << 20

type journalHeader struct {
	Version int    `json:"version"`
	Format  Format `json:"format"`
	// Layout is the SHA-256 of everything in the output but the rows.
	Layout   string          `json:"layout"`
	Identity json.RawMessage `json:"identity"`
	// Regions are where the rows lie, where that is known beforehand. They have a line of
	// their own, the second.
	Regions []journalRegion `json:"-"`
}

type journalEntry struct {
	// Rows is how many rows of every array are on disk.
	Rows int `json:"rows"`
	// Checksums has one value per streamed array.
	Checksums []uint32 `json:"checksums,omitempty"`
	// Complete: all that is left to do is the renaming.
	Complete bool `json:"complete,omitempty"`
	// Regions are those of the header, and all that their line has.
	Regions []journalRegion `json:"regions,omitempty"`

	end int64 // offset after the entry's line
}

type journal struct {
	file *os.File
	path string
}

func journalLine(value any) ([]byte, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(text), text), nil
}

// newSuffix is that of a journal which is not complete yet.
const newSuffix = ".new"

// createJournal writes the header, synced, and only then gives the file its
// name.
func createJournal(path string, header journalHeader) (*journal, error) {
	beside := path + newSuffix
	file, err := os.OpenFile(beside, os.O_RDWR|os.O_CREATE|os.O_TRUNC|noFollow, 0o666)
	if err != nil {
		return nil, diskError(err)
	}
	j := &journal{file: file, path: path}
	err = j.append(header)
	if err == nil && len(header.Regions) > 0 {
		err = j.append(journalEntry{Regions: header.Regions})
	}
	if err == nil {
		err = os.Rename(beside, path)
	}
	if err == nil {
		err = disk.SyncFolder(filepath.Dir(path))
	}
	if err != nil {
		file.Close()
		os.Remove(beside)
		return nil, err
	}
	return j, nil
}

// append writes one line and syncs.
func (j *journal) append(value any) error {
	line, err := journalLine(value)
	if err != nil {
		return err
	}
	if _, err := j.file.Write(line); err != nil {
		return diskError(err)
	}
	return diskError(j.file.Sync())
}

// readJournal reads the header and the trustworthy entries. A journal without
// a whole header gives ErrJournal.
func readJournal(r io.Reader) (journalHeader, []journalEntry, error) {
	buffered := bufio.NewReader(r)
	var header journalHeader
	offset := int64(0)
	next := func(value any) bool {
		var line []byte
		for {
			part, err := buffered.ReadSlice('\n')
			if len(line)+len(part) > maxJournalLine {
				return false
			}
			line = append(line, part...)
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
			if err != nil {
				return false
			}
			break
		}
		sum, text, ok := bytes.Cut(line[:len(line)-1], []byte(" "))
		want, err := strconv.ParseUint(string(sum), 16, 32)
		if !ok || len(sum) != 8 || err != nil || uint32(want) != crc32.ChecksumIEEE(text) {
			return false
		}
		if json.Unmarshal(text, value) != nil {
			return false
		}
		offset += int64(len(line))
		return true
	}
	if !next(&header) {
		return header, nil, fmt.Errorf("%w: its first line is damaged", ErrJournal)
	}
	if header.Version != journalVersion {
		return header, nil, fmt.Errorf("%w: version %d, this program writes version %d", ErrJournal, header.Version,
			journalVersion)
	}
	entries := []journalEntry{{end: offset}}
	for {
		var entry journalEntry
		if !next(&entry) || entry.Rows < entries[len(entries)-1].Rows {
			return header, entries, nil
		}
		entry.end = offset
		if entry.Regions != nil {
			if header.Regions = entry.Regions; len(entries) == 1 {
				entries[0].end = offset
			}
			continue
		}
		entries = append(entries, entry)
	}
}

// compareIdentities lists the fields in which two JSON values differ, sorted
// by their path.
func compareIdentities(before, now json.RawMessage) ([]Difference, error) {
	a, b := map[string]string{}, map[string]string{}
	for _, side := range []struct {
		raw    json.RawMessage
		fields map[string]string
	}{{before, a}, {now, b}} {
		decoder := json.NewDecoder(bytes.NewReader(side.raw))
		decoder.UseNumber()
		var value any
		if err := decoder.Decode(&value); err != nil {
			return nil, fmt.Errorf("%w: identity: %v", ErrJournal, err)
		}
		flatten("", value, side.fields)
	}
	var differences []Difference
	for field, value := range a {
		if b[field] != value {
			differences = append(differences, Difference{Field: field, Before: value, Now: b[field]})
		}
	}
	for field, value := range b {
		if _, ok := a[field]; !ok {
			differences = append(differences, Difference{Field: field, Now: value})
		}
	}
	slices.SortFunc(differences, func(x, y Difference) int {
		return bytes.Compare([]byte(x.Field), []byte(y.Field))
	})
	return differences, nil
}

// flatten lists the leaves of a JSON value under dotted paths.
func flatten(prefix string, value any, fields map[string]string) {
	join := func(key string) string {
		if prefix == "" {
			return key
		}
		return prefix + "." + key
	}
	switch v := value.(type) {
	case map[string]any:
		if len(v) > 0 {
			for key, item := range v {
				flatten(join(key), item, fields)
			}
			return
		}
	case []any:
		if len(v) > 0 {
			for i, item := range v {
				flatten(join(strconv.Itoa(i)), item, fields)
			}
			return
		}
	}
	text, _ := json.Marshal(value) // came out of encoding/json
	if prefix == "" {
		prefix = "identity"
	}
	fields[prefix] = string(text)
}

// Compare lists the fields in which two JSON values differ, sorted by their path.
// The error wraps ErrJournal.
func Compare(before, now json.RawMessage) ([]Difference, error) {
	return compareIdentities(before, now)
}

// DiskError makes an error of a full disk one that wraps ErrNoSpace.
func DiskError(err error) error { return diskError(err) }
