package main

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/storage"
)

// Other programs give some names of outputs a meaning: standard output, a folder to
// write into, a device. This program does not, so it refuses them, and hidden files,
// rather than write a file that nobody finds.

// checkFileName refuses a name that a flag gives a file to be written, if it can be
// none. Example is a file's name for the message.
func checkFileName(flag, name, example string) error {
	if name == "" || storage.IsRemote(name) {
		return nil
	}
	if err := checkNoStream(flag, name, example); err != nil {
		return err
	}
	info, err := os.Stat(name)
	if endsInFolder(name) || err == nil && info.IsDir() {
		return usagef("%s %s: that is a folder; name a file in it, such as %s %s", flag, name, flag,
			filepath.Join(name, example))
	}
	if base := filepath.Base(name); base == filepath.Ext(base) && base == filepath.Ext(example) {
		return usagef("%s %s: nothing comes before %s; name it, such as %s %s", flag, name, base, flag,
			filepath.Join(filepath.Dir(name), example))
	}
	return nil
}

// checkFolderName is checkFileName for a flag that names a folder, which is made if it
// is not there.
func checkFolderName(flag, name, example string) error {
	if err := checkNoStream(flag, name, example); err != nil {
		return err
	}
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		return usagef("%s %s: that is a file; name a folder, such as %s %s", flag, name, flag, example)
	}
	return nil
}

// checkNoStream refuses standard output and devices.
func checkNoStream(flag, name, example string) error {
	path := filepath.Clean(name)
	device := strings.HasPrefix(path, "/dev/") && !strings.HasPrefix(path, "/dev/shm/") ||
		strings.HasPrefix(path, "/proc/") && strings.Contains(path, "/fd/")
	if info, err := os.Stat(name); err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		device = true
	}
	switch {
	case name == "-":
		return usagef("%s -: nothing is written to standard output here; name a place on a disk, such as %s %s", flag, flag,
			example)
	case device:
		return usagef("%s %s: that is no place on a disk; name one, such as %s %s", flag, name, flag, example)
	}
	return nil
}

// endsInFolder tells whether a path, as it is written, is a folder's.
func endsInFolder(name string) bool {
	base := name[strings.LastIndexByte(name, '/')+1:]
	return base == "" || base == "." || base == ".."
}

// settleOutputName checks the name of an output of features, which may be a folder, and
// returns it without slashes at its end.
func settleOutputName(name, format string) (string, error) {
	if name == "" || storage.IsRemote(name) {
		return name, nil
	}
	trimmed := strings.TrimRight(name, "/")
	kind := features.Format(format)
	if kind == "" {
		kind, _ = features.FormatOf(trimmed)
	}
	example := "features" + cmp.Or(kind.Suffix(), features.NPZ.Suffix())
	if !kind.Folder() {
		return name, checkFileName("--out", name, example)
	}
	if err := checkNoStream("--out", name, example); err != nil {
		return "", err
	}
	if base := filepath.Base(trimmed); trimmed == "" || endsInFolder(trimmed) || base == filepath.Ext(base) &&
		base == filepath.Ext(example) {
		return "", usagef("--out %s: the output is a folder of its own; name it, such as --out %s", name,
			filepath.Join(filepath.Dir(name+"x"), example))
	}
	return trimmed, nil
}
