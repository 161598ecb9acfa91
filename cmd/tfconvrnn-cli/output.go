package main

import (
	"path/filepath"

	"github.com/tfconvrnn/go/features"
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
		return "", usagef("--out %s: the name does not tell the format; end it in %s, or say --format (%s)", file,
			features.FormatSuffixes(), features.FormatNames())
	}
	return format, nil
}

// checkOutput finds out, before anything is computed, whether an output can be
// written.
func checkOutput(file string, force bool) error { return features.CheckOutput(file, force) }
