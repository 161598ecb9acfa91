package features

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// NameError says that a name is none for an output. Other programs give some names a meaning: standard output, a folder
// to write into, a device. Here they and hidden files are refused, rather than files written that nobody finds.
type NameError struct {
	Name string
	// Why says what is wrong, and what to name instead; Example is such a name.
	Why, Example string
}

// Error says what is wrong.
func (e *NameError) Error() string {
	return fmt.Sprintf("%s: %s, such as %s", e.Name, e.Why, e.Example)
}

// CheckFileName refuses, as a *NameError, a name that a file cannot be written to. Example is a file's name for the
// message. Names in object stores are not looked at, nor is "".
func CheckFileName(name, example string) error {
	if name == "" || isRemote(name) {
		return nil
	}
	if err := checkNoStream(name, example); err != nil {
		return err
	}
	info, err := os.Stat(name)
	if endsInFolder(name) || err == nil && info.IsDir() {
		return &NameError{name, "that is a folder; name a file in it", filepath.Join(name, example)}
	}
	if base := filepath.Base(name); base == filepath.Ext(base) && base == filepath.Ext(example) {
		return &NameError{name, "nothing comes before " + base + "; name it", filepath.Join(filepath.Dir(name), example)}
	}
	return nil
}

// CheckFolderName is CheckFileName for a folder to write into, which is made if it is not there.
func CheckFolderName(name, example string) error {
	if err := checkNoStream(name, example); err != nil {
		return err
	}
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		return &NameError{name, "that is a file; name a folder", example}
	}
	return nil
}

// CheckNewFolderName is CheckFolderName for a folder that is made anew: it does not lie where name does, but is called
// that.
func CheckNewFolderName(name, example string) error {
	if err := CheckFolderName(name, example); err != nil {
		return err
	}
	if endsInFolder(strings.TrimRight(name, "/")) {
		return &NameError{name, "the folder is made anew; name one in it", filepath.Join(name, example)}
	}
	return nil
}

// SettleName checks the name of an output of features in a format, or in that of the name if it is "". It returns the
// name without slashes at its end, which those of folders may have. The error is a *NameError.
func SettleName(name string, format Format) (string, error) {
	if name == "" || isRemote(name) {
		return name, nil
	}
	trimmed := strings.TrimRight(name, "/")
	if format == "" {
		format, _ = FormatOf(trimmed)
	}
	example := "features" + cmp.Or(format.Suffix(), NPZ.Suffix())
	if !format.Folder() {
		return name, CheckFileName(name, example)
	}
	if err := checkNoStream(name, example); err != nil {
		return "", err
	}
	if base := filepath.Base(trimmed); trimmed == "" || endsInFolder(trimmed) || base == filepath.Ext(base) &&
		base == filepath.Ext(example) {
		return "", &NameError{name, "the output is a folder of its own; name it",
			filepath.Join(filepath.Dir(name+"x"), example)}
	}
	return trimmed, nil
}

// isRemote tells whether a name is in an object store; internal/storage, which has the same, brings clients for them.
func isRemote(name string) bool { return strings.Contains(name, "://") }

// checkNoStream refuses standard output and devices.
func checkNoStream(name, example string) error {
	path := filepath.Clean(name)
	device := strings.HasPrefix(path, "/dev/") && !strings.HasPrefix(path, "/dev/shm/") ||
		strings.HasPrefix(path, "/proc/") && strings.Contains(path, "/fd/")
	if info, err := os.Stat(name); err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		device = true
	}
	switch {
	case name == "-":
		return &NameError{name, "nothing is written to standard output here; name a place on a disk", example}
	case device:
		return &NameError{name, "that is no place on a disk; name one", example}
	}
	return nil
}

// endsInFolder tells whether a path, as it is written, is a folder's.
func endsInFolder(name string) bool {
	base := name[strings.LastIndexByte(name, '/')+1:]
	return base == "" || base == "." || base == ".."
}
