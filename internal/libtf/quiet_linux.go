package libtf

import (
	"bytes"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// quietly calls open while standard error is a file in memory, and then writes what is
// in it but the greetings.
func quietly(open func()) {
	const stderr = 2
	file, err := unix.MemfdCreate("stderr", unix.MFD_CLOEXEC)
	if err != nil {
		open()
		return
	}
	defer unix.Close(file)
	before, err := unix.FcntlInt(stderr, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		open()
		return
	}
	defer unix.Close(before)
	if unix.Dup3(file, stderr, 0) != nil {
		open()
		return
	}
	func() {
		defer unix.Dup3(before, stderr, 0)
		open()
	}()
	var said [64 << 10]byte
	n, _ := unix.Pread(file, said[:], 0)
	for line := range bytes.Lines(said[:max(n, 0)]) {
		if !slices.ContainsFunc(greetings, func(greeting string) bool { return strings.Contains(string(line), greeting) }) {
			os.Stderr.Write(line)
		}
	}
}
