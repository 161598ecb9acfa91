package features

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tfconvrnn/go/internal/disk"
)

// The engine takes care of order, journal, resumption and publication; a fixedSink of
// where every byte goes.

// target describes where a sink's output appears.
type target struct {
	format Format
	rows   int
	// rowElements has one value per streamed array.
	rowElements []int
	// folder: the output is a folder.
	folder bool
	// marker is the file by which a folder of this format is known; Force
	// replaces no other folder.
	marker string
	// files are the output and its companions where it is not a folder.
	files []string
}

type engine struct {
	target
	path    string
	sink    *fixedSink
	layout  *Layout
	options Options

	lock    *os.File // the .partial file or folder
	journal *journal // nil without an identity

	resumed       int
	received      []int      // rows per array
	pending       chan error // a checkpoint under way
	lastRows      int
	lastTime      time.Time
	bytesSince    int64
	rolledForward bool
	failed        error
	closed        bool
}

func partialPath(path string) string { return path + ".partial" }
func journalPath(path string) string { return path + ".journal" }

func newEngine(path string, t target, s *fixedSink, layout *Layout, identity json.RawMessage, options Options) (
	_ Writer, err error) {
	w := &engine{target: t, path: path, sink: s, layout: layout, options: options,
		received: make([]int, len(t.rowElements))}
	if !exists(partialPath(path)) { // before anything that takes long
		if err := checkSpace(path, s.size(), options); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	fingerprint := ""
	if identity != nil {
		if fingerprint, err = s.fingerprint(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	header := journalHeader{Version: journalVersion, Format: t.format, Layout: fingerprint, Identity: identity,
		Regions: journalRegions(s, layout)}

	out, err := openOutput(path, t.folder, t.marker, options)
	if err != nil {
		return nil, err
	}
	w.lock = out.lock
	defer func() {
		if err != nil {
			if out.created {
				w.removePartial()
			}
			w.close()
			out.close()
		}
	}()

	entries := []journalEntry{{}}
	if out.journal != nil {
		w.journal = out.journal
		if entries, err = checkJournal(path, out.journal, header); err != nil {
			return nil, err
		}
		if last := entries[len(entries)-1]; last.Complete {
			w.rolledForward = true
			w.restart(last.Rows)
			return w, nil
		}
	}
	if out.partialGone {
		return nil, fmt.Errorf("%s: %w: %s is gone", path, ErrJournal, partialPath(path))
	}
	if err = w.start(entries, header); err != nil {
		return nil, fmt.Errorf("%s: %w", path, diskError(err))
	}
	return w, nil
}

// start opens, writes what is known, and finds the row to go on from.
func (w *engine) start(entries []journalEntry, header journalHeader) error {
	if err := w.sink.open(w.lock); err != nil {
		return err
	}
	if err := checkSpace(w.path, w.sink.size()-w.sink.used(), w.options); err != nil {
		return err
	}
	if err := w.sink.begin(); err != nil {
		return err
	}
	switch {
	case w.journal != nil:
		return w.resume(entries)
	case header.Identity != nil:
		var err error
		w.journal, err = createJournal(journalPath(w.path), header)
		w.lastTime = time.Now()
		return err
	}
	return nil
}

// checkSpace makes sure that the disk of an output has the room for it.
func checkSpace(path string, need int64, options Options) error {
	if options.ForceSize {
		return nil
	}
	return disk.Check(filepath.Dir(path), need)
}

// resume reads back what the journal vouches for and stops at the first entry
// whose rows are not what they were.
func (w *engine) resume(entries []journalEntry) error {
	good := entries[0]
	sums := make([]uint32, len(w.received))
	for i := range sums {
		_, sums[i] = w.sink.state(i)
	}
	trusted := slices.Clone(sums)
	buffer := make([]byte, pieceBytes)
	for _, entry := range entries[1:] {
		intact := len(entry.Checksums) == len(sums) && entry.Rows <= w.rows
		for i := range sums {
			if !intact {
				break
			}
			sum, err := w.sink.readBack(i, good.Rows, entry.Rows, sums[i], buffer)
			if err != nil {
				return err
			}
			sums[i] = sum
			intact = sum == entry.Checksums[i]
		}
		if !intact {
			break
		}
		good = entry
		copy(trusted, sums)
	}
	w.restart(good.Rows)
	w.sink.restore(good.Rows, trusted)
	return w.journal.truncate(good.end)
}

func (w *engine) restart(rows int) {
	w.resumed, w.lastRows, w.lastTime = rows, rows, time.Now()
	for i := range w.received {
		w.received[i] = rows
	}
}

func (w *engine) Resumed() int { return w.resumed }

func (w *engine) usable() error {
	if w.closed {
		return fmt.Errorf("%s: %w", w.path, ErrClosed)
	}
	if w.failed == nil {
		w.collect(false)
	}
	return w.failed
}

func (w *engine) WriteRows(array, firstRow int, data []float32) error {
	if err := w.usable(); err != nil {
		return err
	}
	if array < 0 || array >= len(w.received) {
		return fmt.Errorf("%s: %w: array %d of %d", w.path, ErrOrder, array, len(w.received))
	}
	count := len(data) / w.rowElements[array]
	if err := checkRows(data, w.rowElements[array], firstRow, w.received[array], w.rows); err != nil {
		return fmt.Errorf("%s: array %d: %w", w.path, array, err)
	}
	if err := w.sink.write(array, firstRow, data); err != nil {
		w.failed = fmt.Errorf("%s: %w", w.path, diskError(err))
		return w.failed
	}
	w.received[array] += count
	w.bytesSince += int64(len(data)) * 4
	if w.journal != nil && (w.bytesSince >= w.options.CheckpointBytes ||
		time.Since(w.lastTime) >= w.options.CheckpointInterval) {
		w.collect(false)
		if w.pending == nil && w.failed == nil {
			w.startCheckpoint()
		}
	}
	return nil
}

// checkRows makes sure that data are whole rows of elements values from the next row on.
func checkRows(data []float32, elements, firstRow, next, rows int) error {
	if len(data)%elements != 0 {
		return fmt.Errorf("%w: %d values are not whole rows of %d", ErrOrder, len(data), elements)
	}
	if count := len(data) / elements; firstRow != next || count > rows-next {
		return fmt.Errorf("%w: rows %d to %d, but row %d of %d is next", ErrOrder, firstRow, firstRow+count, next, rows)
	}
	return nil
}

// startCheckpoint syncs and then records, beside further writing: what is
// recorded was written before the sync began. It waits for a moment when all
// arrays have the same rows.
func (w *engine) startCheckpoint() {
	entry := journalEntry{Checksums: make([]uint32, len(w.received))}
	for i := range w.received {
		rows, sum := w.sink.state(i)
		if i > 0 && rows != entry.Rows {
			return
		}
		entry.Rows, entry.Checksums[i] = rows, sum
	}
	if entry.Rows <= w.lastRows {
		return
	}
	w.lastRows, w.lastTime, w.bytesSince = entry.Rows, time.Now(), 0
	sync := w.sink.synced()
	done := make(chan error, 1)
	w.pending = done
	go func() {
		err := sync()
		if err == nil {
			err = w.journal.append(entry)
		}
		done <- err
	}()
}

// collect takes the result of a checkpoint, waiting for it if asked to.
func (w *engine) collect(wait bool) {
	if w.pending == nil {
		return
	}
	var err error
	if wait {
		err = <-w.pending
	} else {
		select {
		case err = <-w.pending:
		default:
			return
		}
	}
	w.pending = nil
	if err != nil && w.failed == nil {
		w.failed = fmt.Errorf("%s: %w", w.path, diskError(err))
	}
}

func (w *engine) Finish(ctx context.Context) error {
	if err := w.usable(); err != nil {
		return err
	}
	for i, n := range w.received {
		if n != w.rows {
			return fmt.Errorf("%s: %w: array %d has %d of %d", w.path, ErrIncomplete, i, n, w.rows)
		}
	}
	if err := w.complete(ctx); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", w.path, diskError(err)), w.Suspend())
	}
	if err := w.publish(); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", w.path, diskError(err)), w.Suspend())
	}
	w.closed = true
	w.close()
	return nil
}

func (w *engine) complete(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.rolledForward {
		return nil
	}
	if w.collect(true); w.failed != nil {
		return w.failed
	}
	if err := w.sink.complete(); err != nil {
		return err
	}
	if err := w.sink.synced()(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.journal == nil {
		return nil
	}
	if err := w.journal.append(journalEntry{Rows: w.rows, Complete: true}); err != nil {
		return err
	}
	w.rolledForward = true // whatever happens now, only the renaming is left
	return nil
}

// publish renames, the output itself last.
func (w *engine) publish() error {
	if w.folder {
		if err := replaceFolder(w.path, w.rolledForward); err != nil {
			return err
		}
	} else {
		for _, name := range slices.Backward(w.files) {
			err := os.Rename(partialPath(name), name)
			if errors.Is(err, fs.ErrNotExist) && w.rolledForward {
				err = nil // renamed before the interruption
			}
			if err != nil {
				return err
			}
		}
	}
	if err := disk.SyncFolder(filepath.Dir(w.path)); err != nil {
		return err
	}
	if w.journal != nil {
		return os.Remove(journalPath(w.path))
	}
	return nil
}

func (w *engine) Suspend() error {
	if w.closed {
		return nil
	}
	if w.journal == nil {
		return w.Abort()
	}
	w.closed = true
	w.collect(true)
	var err error
	if w.failed == nil && !w.rolledForward {
		w.startCheckpoint()
		w.collect(true)
		err = w.failed
	}
	w.close()
	return err
}

func (w *engine) Abort() error {
	if w.closed {
		return nil
	}
	w.closed = true
	w.collect(true)
	var err error
	if w.journal != nil {
		err = os.Remove(journalPath(w.path))
	}
	err = errors.Join(err, w.removePartial())
	w.close()
	return err
}

func (w *engine) removePartial() error {
	if w.folder {
		return os.RemoveAll(partialPath(w.path))
	}
	var errs []error
	for _, name := range w.files {
		if err := os.Remove(partialPath(name)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (w *engine) close() {
	w.sink.close()
	if w.journal != nil {
		w.journal.file.Close()
	}
	if w.lock != nil {
		w.lock.Close()
	}
}
