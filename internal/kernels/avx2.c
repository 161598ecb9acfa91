//go:build cgo && amd64 && (linux || darwin)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define NAME avx2
#define LANES 8
#define ROWS 6
#include "vector.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
