package main

import (
	"cmp"
	"errors"
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
// written, and that it is none of the inputs, which --force would not have meant.
func checkOutput(file string, force bool, inputs ...string) error {
	return cmp.Or(features.CheckInputs(file, inputs...), features.CheckOutput(file, force))
}

// checkFile is checkFileName and checkOutput, of a file that need not be asked for.
func checkFile(flag, name, example string, force bool, inputs ...string) error {
	if name == "" {
		return nil
	}
	return cmp.Or(checkFileName(flag, name, example), checkOutput(name, force, inputs...))
}

// checkFileName refuses a name that a flag gives a file to be written, if it can be none. Example is a file's name for
// the message.
func checkFileName(flag, name, example string) error {
	return named(flag, features.CheckFileName(name, example))
}

// named says which flag a name is of that can be none.
func named(flag string, err error) error {
	var name *features.NameError
	if !errors.As(err, &name) {
		return err
	}
	return usagef("%s %s: %s, such as %[1]s %[4]s", flag, name.Name, name.Why, name.Example)
}
