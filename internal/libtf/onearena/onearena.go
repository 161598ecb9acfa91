// Package onearena, when it is imported, has all threads of the program allocate
// from one of glibc's arenas. By default there are up to eight for each processor,
// and which of TensorFlow's threads allocates what is chance: each arena comes to
// hold its own largest share in the end, and memory grows for hours. It is for
// programs, and apart from the binding because libraries leave such settings alone.
//
// The environment's MALLOC_ARENA_MAX and GLIBC_TUNABLES go first. Nothing changes
// where there is no glibc.
package onearena
