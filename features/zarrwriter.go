package features

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tfconvrnn/go/internal/disk"
)

// zarrWriter writes a store in one process through the ZarrStore that distributed
// extractions write through too: chunk by chunk, each synced. What was interrupted is not
// gone on with: that is what plans of extractions are for.
type zarrWriter struct {
	store    *ZarrStore
	path     string
	out      *output
	rows     int
	received []int // per array
	chunks   []*ZarrChunk
	file     []byte
	failed   error
	closed   bool
}

func (z *zarrWriter) Resumed() int { return 0 }

func (z *zarrWriter) usable() error {
	if z.closed {
		return fmt.Errorf("%s: %w", z.path, ErrClosed)
	}
	return z.failed
}

func (z *zarrWriter) WriteRows(array, firstRow int, data []float32) error {
	if err := z.usable(); err != nil {
		return err
	}
	if array < 0 || array >= len(z.received) {
		return fmt.Errorf("%s: %w: array %d of %d", z.path, ErrOrder, array, len(z.received))
	}
	elements := z.store.arrays[array].region.rowElements
	if err := checkRows(data, elements, firstRow, z.received[array], z.rows); err != nil {
		return fmt.Errorf("%s: array %d: %w", z.path, array, err)
	}
	chunk := z.chunks[array]
	for len(data) > 0 && z.failed == nil {
		n := min(len(data), (z.store.chunkRows-chunk.Rows())*elements)
		z.failed = chunk.Append(data[:n])
		data = data[n:]
		z.received[array] += n / elements
		// The last chunk may have fewer rows.
		if z.failed == nil && (chunk.Rows() == z.store.chunkRows || z.received[array] == z.rows) {
			z.failed = z.writeChunk(array, (z.received[array]-1)/z.store.chunkRows)
		}
	}
	return z.failed
}

func (z *zarrWriter) writeChunk(array, index int) (err error) {
	if z.file, err = z.chunks[array].Encode(z.file[:0]); err != nil {
		return err
	}
	return z.put(z.store.ChunkName(array, index), z.file)
}

// put writes and syncs one file; nobody looks at it before the whole folder is renamed.
// Links in a folder that someone else left lead nowhere.
func (z *zarrWriter) put(name string, content []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", z.path, diskError(err))
		}
	}()
	root, err := os.OpenRoot(partialPath(z.path))
	if err != nil {
		return err
	}
	defer root.Close()
	name = filepath.FromSlash(name)
	if err := root.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	file, err := root.Create(name)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Sync(), file.Close())
}

func (z *zarrWriter) Finish(ctx context.Context) error {
	if err := z.usable(); err != nil {
		return err
	}
	for i, n := range z.received {
		if n != z.rows {
			return fmt.Errorf("%s: %w: array %d has %d of %d", z.path, ErrIncomplete, i, n, z.rows)
		}
	}
	if err := z.publish(ctx); err != nil {
		return errors.Join(err, z.Abort())
	}
	z.closed = true
	z.out.close()
	return nil
}

func (z *zarrWriter) publish(ctx context.Context) error {
	if err := z.store.Files(func(name string, content []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return z.put(name, content)
	}); err != nil {
		return err
	}
	err := filepath.WalkDir(partialPath(z.path), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return disk.SyncFolder(name)
	})
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = replaceFolder(z.path, false)
	}
	if err == nil {
		err = disk.SyncFolder(filepath.Dir(z.path))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", z.path, diskError(err))
	}
	return nil
}

func (z *zarrWriter) Suspend() error { return z.Abort() }

func (z *zarrWriter) Abort() error {
	if z.closed {
		return nil
	}
	z.closed = true
	err := os.RemoveAll(partialPath(z.path))
	z.out.close()
	return err
}
