//go:build cgo && linux

package onearena

// #cgo CFLAGS: -std=gnu11 -O2 -Wall
// int onearena_limited(void);
import "C"

// Limited says whether the limit was set: not where the environment sets one, or
// where there is no glibc.
func Limited() bool { return C.onearena_limited() != 0 }
