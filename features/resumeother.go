package features

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/tfconvrnn/go/internal/disk"
)

// An interrupted run can be gone on with as another one, of which the first rows are the
// same: stimuli that were not computed yet may have changed, been added or removed. Then
// every byte may lie elsewhere. The journal says where the rows lie, so they are copied
// into the unfinished output of the new run, beside the old one, which it then replaces.

// journalRegion is where the rows of a streamed array lie.
type journalRegion struct {
	Array  string `json:"array"`
	File   string `json:"file"` // in the output's folder, or the number of the file
	Offset int64  `json:"offset"`
	Stride int64  `json:"stride"`
	Bytes  int64  `json:"bytes"` // of a row
	Coding string `json:"coding"`
	Seed   uint32 `json:"seed"` // of the checksum
}

// coding is how a row becomes bytes.
func (r *region) coding() string { return fmt.Sprintf("%v %v %d", r.dataType, r.order, r.transpose) }

// journalRegions describes where a sink writes rows.
func journalRegions(f *fixedSink, layout *Layout) []journalRegion {
	var list []journalRegion
	for i := range f.plan.regions {
		r := &f.plan.regions[i]
		name := f.plan.files[r.file].name
		if !f.plan.folder {
			name = strconv.Itoa(r.file)
		}
		list = append(list, journalRegion{layout.Streamed[i].Name, name, r.offset, r.stride, r.rowBytes, r.coding(), r.seed})
	}
	return list
}

// open opens the unfinished file of a region.
func (r *journalRegion) open(path string, t *target) (*os.File, error) {
	if !t.folder {
		i, err := strconv.Atoi(r.File)
		if err != nil || i < 0 || i >= len(t.files) {
			return nil, fmt.Errorf("%w: file %q", ErrJournal, r.File)
		}
		return os.OpenFile(partialPath(t.files[i]), os.O_RDONLY|noFollow, 0)
	}
	root, err := os.OpenRoot(partialPath(path))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Open(filepath.FromSlash(r.File))
}

// otherSuffix ends the name under which the output of the new run is begun.
const otherSuffix = ".resumed"

// resumeAsOther makes the unfinished output of an interrupted run that of another run, if
// it is one and Options.Accept takes its rows over. Where it returns nil without having
// done anything the usual resumption follows, and says what is wrong.
func resumeAsOther(path string, format Format, layout *Layout, identity json.RawMessage, options Options) error {
	t, s, err := newSink(path, format, layout)
	if err != nil {
		return err
	}
	old, err := openOutput(path, t.folder, t.marker, options)
	if err != nil {
		return err
	}
	defer old.close()
	if old.journal == nil || old.partialGone {
		return nil
	}
	before, entries, err := readJournal(old.journal.file)
	if err != nil || before.Format != format || len(before.Regions) == 0 || entries[len(entries)-1].Complete {
		return nil
	}
	fingerprint, err := s.fingerprint()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	differences, err := compareIdentities(before.Identity, identity)
	if err != nil || len(differences) == 0 && before.Layout == fingerprint {
		return nil
	}
	rows, err := goodRows(path, &t, before.Regions, entries)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	keep, differences, err := options.Accept(before.Identity, rows)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(differences) > 0 {
		return &ResumeMismatchError{Path: path, Differences: differences}
	}
	return move(path, t, before.Regions, min(keep, rows, layout.Rows), func() (target, *engine, error) {
		other := path + otherSuffix
		t, s, err := newSink(other, format, layout)
		if err != nil {
			return t, nil, err
		}
		options := options
		options.Resume, options.Force, options.Accept = false, true, nil
		w, err := newEngine(other, t, s, layout, identity, options)
		if err != nil {
			return t, nil, err
		}
		return t, w.(*engine), nil
	})
}

// goodRows returns how many rows of all regions are what the journal vouches for.
func goodRows(path string, t *target, regions []journalRegion, entries []journalEntry) (int, error) {
	files := make([]*os.File, len(regions))
	sums := make([]uint32, len(regions))
	for i := range regions {
		file, err := regions[i].open(path, t)
		if err != nil {
			return 0, err
		}
		defer file.Close()
		files[i], sums[i] = file, regions[i].Seed
	}
	good := 0
	buffer := make([]byte, pieceBytes)
	for _, entry := range entries[1:] {
		if len(entry.Checksums) != len(regions) || entry.Rows < good {
			break
		}
		for i := range regions {
			r := region{offset: regions[i].Offset, stride: regions[i].Stride, rowBytes: regions[i].Bytes}
			var err error
			if sums[i], err = r.sum(files[i], good, entry.Rows, sums[i], buffer); err != nil {
				return 0, err
			}
		}
		if !slices.Equal(sums, entry.Checksums) {
			break
		}
		good = entry.Rows
	}
	return good, nil
}

// move begins the other run's output, copies rows into it, and puts it and its journal in
// the place of the interrupted run's. A crash between the two renamings costs the rows.
func move(path string, t target, regions []journalRegion, rows int, begin func() (target, *engine, error)) (err error) {
	other, w, err := begin()
	if err != nil {
		return err
	}
	defer w.Abort() // no effect after Suspend
	f := w.sink
	layout := w.layout
	for i := range f.plan.regions {
		k := slices.IndexFunc(regions, func(r journalRegion) bool { return r.Array == layout.Streamed[i].Name })
		if k >= 0 {
			err = f.copyRows(i, path, &t, &regions[k], rows)
		} else if value, ok := w.options.Fill[layout.Streamed[i].Name]; ok {
			err = f.write(i, 0, slices.Repeat([]float32{value}, rows*f.plan.regions[i].rowElements))
		} else {
			err = fmt.Errorf("%w: %s has no array %s", ErrJournal, journalPath(path), layout.Streamed[i].Name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, diskError(err))
		}
		w.received[i] = rows
	}
	if err := w.Suspend(); err != nil {
		return err
	}
	if t.folder {
		if err := os.RemoveAll(partialPath(path)); err != nil {
			return err
		}
		err = os.Rename(partialPath(w.path), partialPath(path))
	} else {
		for i := range t.files {
			if err == nil {
				err = os.Rename(partialPath(other.files[i]), partialPath(t.files[i]))
			}
		}
	}
	if err == nil {
		err = os.Rename(journalPath(w.path), journalPath(path))
	}
	if err != nil {
		return err
	}
	return disk.SyncFolder(filepath.Dir(path))
}

// copyRows copies the first rows of an array as they are.
func (f *fixedSink) copyRows(array int, path string, t *target, from *journalRegion, rows int) error {
	r := &f.plan.regions[array]
	if from.Coding != r.coding() || from.Bytes != r.rowBytes {
		return fmt.Errorf("%w: rows of %s are coded differently", ErrJournal, from.Array)
	}
	source, err := from.open(path, t)
	if err != nil {
		return err
	}
	defer source.Close()
	group := int64(1) // rows that are copied at once
	if from.Stride == from.Bytes && r.stride == r.rowBytes {
		group = max(1, pieceBytes/r.rowBytes)
	}
	buffer := make([]byte, min(group, int64(rows))*r.rowBytes)
	for row := int64(0); row < int64(rows); row += group {
		piece := buffer[:min(group, int64(rows)-row)*r.rowBytes]
		if _, err := source.ReadAt(piece, from.Offset+row*from.Stride); err != nil && err != io.EOF {
			return err
		}
		f.sums[array] = crc32.Update(f.sums[array], crc32.IEEETable, piece)
		if _, err := f.files[r.file].WriteAt(piece, r.offset+row*r.stride); err != nil {
			return err
		}
	}
	f.rows[array] = rows
	return nil
}
