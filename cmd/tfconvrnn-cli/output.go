package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/storage"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// largeOutput is the size from which on an output whose format nobody names is Zarr.
const largeOutput = 4 << 30

// outputFormat returns the format asked for, or that of the file's name, or "" if
// neither names one.
func outputFormat(file, name string) (features.Format, error) {
	if name != "" && !storage.IsRemote(file) {
		format, err := features.ParseFormat(name)
		if err != nil {
			return "", usage(err)
		}
		return format, nil
	}
	if storage.IsRemote(file) {
		if name != "" && name != string(features.Zarr) {
			return "", usagef("--out %s: only Zarr is written to an object store", file)
		}
		return features.Zarr, nil
	}
	if filepath.Ext(file) == "" {
		return "", nil
	}
	format, err := features.FormatOf(file)
	if err != nil {
		return "", usagef("--out %s: the name does not tell the format; end it in %s, or say --format (%s)", file, features.FormatSuffixes(), features.FormatNames())
	}
	return format, nil
}

// checkOutput finds out, before anything is computed, whether an output can be
// written.
func checkOutput(file string, force bool) error {
	if _, err := os.Lstat(file); err == nil && !force {
		return fmt.Errorf("%s: %w; choose another name, or replace it with --force", file, features.ErrExists)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return checkFolder(filepath.Dir(filepath.Clean(file)))
}

// checkUnfinished refuses to discard what an interrupted run left, and says whether
// it is to be resumed.
func (e *extractCommand) checkUnfinished(ctx context.Context) (resuming bool, err error) {
	journal := false
	if !storage.IsRemote(e.out) {
		_, err := os.Lstat(e.out + ".journal")
		journal = err == nil
	}
	planned, err := extraction.Exists(ctx, planOf(e.out))
	if err != nil || !journal && !planned {
		return false, err
	}
	switch {
	case e.resume || e.force:
		return e.resume, nil
	case e.planFile != "": // extract plan cannot go on with it
		return false, fmt.Errorf("%s: %w, of \"extract\": go on with that by \"%s extract --resume\" and its flags, choose another --out, or discard it with --force",
			e.out, features.ErrUnfinished, program)
	}
	return false, fmt.Errorf("%s: %w; go on with --resume, or start anew with --force", e.out, features.ErrUnfinished)
}

// checkSpace finds out whether a disk has the room for an output.
func checkSpace(file string, size int64) error {
	free := disk.Free(filepath.Dir(filepath.Clean(file)))
	if free < 0 || free >= size {
		return nil
	}
	return fmt.Errorf("%s: %w: %s are needed, %s are free; choose another disk, fewer layers or --reduce, or --force-size",
		file, features.ErrNoSpace, humanize.Bytes(uint64(size)), humanize.Bytes(uint64(free)))
}

// checkFolder finds out whether files can be made in a folder.
func checkFolder(folder string) error { return disk.CheckFolder(folder) }

// newContent describes an output of a set's stimuli, whose hashes are given.
func newContent(model savedmodels.Model, set *stimuli.Set, hashes []string) *extraction.Content {
	return &extraction.Content{
		Model: model, Rows: set.Len(), Name: set.Name(), Columns: set.Columns(), Hashes: hashes,
		About: &extraction.Provenance{Inputs: set.Inputs()},
	}
}

// contentSize is the bytes that an output will have.
func contentSize(content *extraction.Content, format features.Format) (int64, error) {
	layout, err := content.Layout(format)
	if err != nil {
		return 0, err
	}
	return layout.Size(format)
}

// featureWriter writes batches to an output, reduced.
type featureWriter struct {
	writer features.Writer
	offset int // of the stream's first stimulus
	rows   *extraction.RowWriter
}

func newFeatureWriter(w features.Writer, content *extraction.Content, offset int) (*featureWriter, error) {
	rows, err := extraction.NewRowWriter(content)
	return &featureWriter{w, offset, rows}, err
}

// write is a sink of Extraction.Stream.
func (f *featureWriter) write(b *tfconvrnn.Batch) error {
	for i := range b.Stimuli {
		row := f.offset + b.First + i
		if row < f.writer.Resumed() {
			continue
		}
		err := f.rows.Write(b, i, func(array int, values []float32) error { return f.writer.WriteRows(array, row, values) })
		if err != nil {
			return err
		}
	}
	return nil
}
