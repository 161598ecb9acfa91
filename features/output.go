package features

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tfconvrnn/go/internal/disk"
)

// output is what is found, or made, at the place of an output before anything
// is written.
type output struct {
	path        string
	lock        *os.File // the .partial file or folder, locked
	journal     *journal // of the run to resume, nil if there is none
	created     bool     // the .partial is ours
	partialGone bool     // there is a journal, but no .partial
}

// openOutput refuses what must not be overwritten, takes the lock and
// discards what is not resumed.
func openOutput(path string, folder bool, marker string, options Options) (_ *output, err error) {
	parent := filepath.Dir(path)
	if info, err := os.Stat(parent); err != nil {
		return nil, fmt.Errorf("folder for the output: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s: %w: not a folder", parent, fs.ErrInvalid)
	}
	// Someone else may have put links there, for instance into a folder that was
	// downloaded: writing or emptying must not reach what they point to.
	for _, own := range []string{partialPath(path), journalPath(path), journalPath(path) + newSuffix,
		path + replacedSuffix} {
		if info, err := os.Lstat(own); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return nil, fmt.Errorf("%s: %w and is a symbolic link, which is not followed; remove it", own, ErrExists)
		}
	}
	journalThere := exists(journalPath(path))
	partialThere := exists(partialPath(path))
	resume := options.Resume && journalThere
	if journalThere && !resume && !options.Force {
		if err := CheckFree(path); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s: %w (%s)", path, ErrUnfinished, journalPath(path))
	}
	if info, err := os.Lstat(path); err == nil {
		rollForward := resume && !partialThere // its last act was the renaming
		switch {
		case !options.Force && !rollForward:
			return nil, fmt.Errorf("%s: %w", path, ErrExists)
		case !folder && info.IsDir():
			return nil, fmt.Errorf("%s: %w and is a folder, which is not replaced by a file", path, ErrExists)
		case folder && !rollForward && !replaceable(path, info, marker):
			return nil, fmt.Errorf("%s: %w and %w (no %s), so it is not replaced", path, ErrExists, ErrForeign, marker)
		}
	}

	o := &output{path: path}
	defer func() {
		if err != nil {
			if o.created {
				os.RemoveAll(partialPath(path))
			}
			o.close()
		}
	}()
	if resume && !partialThere {
		o.partialGone = true
	} else if err := o.takePartial(folder); err != nil {
		return nil, err
	}
	if resume {
		file, err := os.OpenFile(journalPath(path), os.O_RDWR|noFollow, 0)
		if err != nil {
			return nil, err
		}
		o.journal = &journal{file: file, path: journalPath(path)}
		return o, nil
	}
	if journalThere {
		if err := os.Remove(journalPath(path)); err != nil {
			return nil, err
		}
	}
	o.created = true
	if folder {
		return o, emptyFolder(partialPath(path))
	}
	return o, o.lock.Truncate(0)
}

// takePartial opens or makes the .partial and locks it.
func (o *output) takePartial(folder bool) error {
	name := partialPath(o.path)
	for range 10 {
		existed := exists(name)
		var err error
		if folder {
			if err = os.Mkdir(name, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
				return diskError(err)
			}
			o.lock, err = os.OpenFile(name, os.O_RDONLY|noFollow, 0)
		} else {
			o.lock, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|noFollow, 0o666)
		}
		if err != nil {
			return diskError(err)
		}
		if info, err := o.lock.Stat(); err != nil {
			return err
		} else if info.IsDir() != folder {
			return fmt.Errorf("%s: %w: left by another format; remove it", name, ErrExists)
		}
		o.created = !existed
		if err := lockFile(o.lock); err != nil {
			o.created = false
			return err
		}
		// Its owner may have renamed or removed it before we had the lock.
		mine, err1 := o.lock.Stat()
		there, err2 := os.Stat(name)
		if err1 == nil && err2 == nil && os.SameFile(mine, there) {
			return nil
		}
		o.lock.Close()
		o.lock = nil
	}
	return fmt.Errorf("%s: %w", o.path, ErrBusy)
}

func (o *output) close() {
	if o.journal != nil {
		o.journal.file.Close()
	}
	if o.lock != nil {
		o.lock.Close()
	}
}

// checkJournal reads the journal and compares it with what would be written
// now. At least one entry, of zero rows, is returned.
func checkJournal(path string, j *journal, now journalHeader) ([]journalEntry, error) {
	if _, err := j.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	before, entries, err := readJournal(j.file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", j.path, err)
	}
	differences, err := compareIdentities(before.Identity, now.Identity)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", j.path, err)
	}
	quote := func(s string) string {
		text, _ := json.Marshal(s)
		return string(text)
	}
	if before.Format != now.Format {
		differences = append(differences, Difference{Field: "format", Before: quote(string(before.Format)),
			Now: quote(string(now.Format))})
	}
	if before.Layout != now.Layout {
		differences = append(differences, Difference{Field: "layout", Before: quote(before.Layout), Now: quote(now.Layout)})
	}
	if len(differences) > 0 {
		return nil, &ResumeMismatchError{Path: path, Differences: differences}
	}
	return entries, nil
}

// truncate cuts off what does not count and appends from there.
func (j *journal) truncate(end int64) error {
	if err := j.file.Truncate(end); err != nil {
		return err
	}
	_, err := j.file.Seek(end, io.SeekStart)
	return err
}

// ReadIdentity returns the identity (JSON) of the interrupted run whose output
// would have been path, so that a caller can take over what need not be the
// same by itself, such as the time at which the run began. fs.ErrNotExist
// where there is no interrupted run.
func ReadIdentity(path string) (json.RawMessage, error) {
	file, err := os.Open(journalPath(path))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	header, _, err := readJournal(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", journalPath(path), err)
	}
	return header.Identity, nil
}

// Interrupted tells whether an interrupted run of an output is there, which Options.Resume goes on
// with.
func Interrupted(path string) bool { return exists(journalPath(path)) }

// CheckFree finds out whether another process is writing an output at a path, which is not interrupted then: the error
// wraps ErrBusy. Workers of a plan do not count, for any number of them may write.
func CheckFree(path string) error {
	name := partialPath(filepath.Clean(path))
	if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() && !info.IsDir() {
		return nil // there is none, or none of ours
	}
	file, err := os.OpenFile(name, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return nil // whoever writes says why it cannot
	}
	defer file.Close()
	if lockFile(file) != nil {
		return fmt.Errorf("%s: %w", path, ErrBusy)
	}
	return nil
}

// Discard removes what an interrupted run of an output left, if anything. Nobody may be writing it.
func Discard(path string) error {
	if err := os.Remove(journalPath(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(partialPath(path))
}

// CheckOutput finds out whether a file or folder can be put at a path: the error wraps ErrExists
// if something is there and replace is not set, or says why nothing can be written to the
// folder it lies in.
func CheckOutput(path string, replace bool) error {
	if _, err := os.Lstat(path); err == nil && !replace {
		return fmt.Errorf("%s: %w", path, ErrExists)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return disk.CheckFolder(filepath.Dir(filepath.Clean(path)))
}

// CheckInputs finds out whether an output is none of the files or folders that it is made of, under whatever name. The
// error wraps ErrOwnInput.
func CheckInputs(output string, inputs ...string) error {
	replaced, err := os.Stat(output)
	if err != nil { // there is none, or none that can be looked at
		return nil
	}
	for _, input := range inputs {
		if info, err := os.Stat(input); err == nil && os.SameFile(replaced, info) {
			return fmt.Errorf("%s: %w", output, ErrOwnInput)
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// replaceable tells whether a folder is an earlier output, or empty.
func replaceable(path string, info fs.FileInfo, marker string) bool {
	if !info.IsDir() {
		return false
	}
	if exists(filepath.Join(path, marker)) {
		return true
	}
	entries, err := os.ReadDir(path)
	return err == nil && len(entries) == 0
}

// replacedSuffix is that of a folder which an output is about to take the place of.
const replacedSuffix = ".replaced"

func emptyFolder(path string) error {
	entries, err := os.ReadDir(path)
	for _, entry := range entries {
		if err == nil {
			err = os.RemoveAll(filepath.Join(path, entry.Name()))
		}
	}
	return err
}

// replaceFolder puts the .partial folder in the place of the output, whose
// earlier version goes last.
func replaceFolder(path string, again bool) error {
	partial, old := partialPath(path), path+replacedSuffix
	if again && !exists(partial) { // renamed before the interruption
		return os.RemoveAll(old)
	}
	if exists(path) {
		if err := os.RemoveAll(old); err != nil {
			return err
		}
		if err := os.Rename(path, old); err != nil {
			return err
		}
	}
	if err := os.Rename(partial, path); err != nil {
		return err
	}
	return os.RemoveAll(old)
}
