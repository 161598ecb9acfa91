package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/storage"
)

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
		return fmt.Errorf("%s: %w", file, features.ErrExists)
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
	planned, err := extraction.Exists(ctx, extraction.PlanOf(e.out))
	if err != nil || !journal && !planned {
		return false, err
	}
	switch {
	case e.resume || e.force:
		return e.resume, nil
	case e.planFile != "": // extract plan cannot go on with it
		return false, advise(fmt.Errorf("%s: %w, of \"extract\"", e.out, features.ErrUnfinished),
			"go on with that by \"%s extract --resume\" and its flags, choose another --out, or discard it with --force", program)
	}
	return false, fmt.Errorf("%s: %w", e.out, features.ErrUnfinished)
}

// checkFolder finds out whether files can be made in a folder.
func checkFolder(folder string) error { return disk.CheckFolder(folder) }
