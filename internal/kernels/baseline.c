//go:build cgo && (linux || darwin)

// What every processor of its kind has: SSE2, NEON, or what the compiler makes of vectors.
#define NAME baseline
#define LANES 4
#if defined(__aarch64__)
#define ROWS 14  // 32 registers
#else
#define ROWS 6
#endif
#include "vector.h"
