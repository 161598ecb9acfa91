package benchmark

import "golang.org/x/sys/unix"

func maxRSS() (int64, error) {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	return usage.Maxrss, nil // bytes here
}
