//go:build linux || darwin

package doctor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// addKernel adds what uname prints, but for the machine's name.
func addKernel(s *Section) {
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		s.addf("kernel", "%s %s %s", unix.ByteSliceToString(name.Sysname[:]), unix.ByteSliceToString(name.Release[:]),
			unix.ByteSliceToString(name.Machine[:]))
	}
}

// addLimits adds the limits of the process.
func addLimits(s *Section) {
	for _, l := range []struct {
		name     string
		resource int
	}{{"open files", unix.RLIMIT_NOFILE}, {"address space", unix.RLIMIT_AS}, {"file size", unix.RLIMIT_FSIZE},
		{"stack", unix.RLIMIT_STACK}} {
		var limit unix.Rlimit
		if unix.Getrlimit(l.resource, &limit) == nil {
			s.addf("limit of "+l.name, "%s (hard %s)", limitText(limit.Cur), limitText(limit.Max))
		}
	}
}

func limitText(n uint64) string {
	if n >= 1<<62 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}
