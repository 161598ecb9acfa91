//go:build cgo && amd64 && (linux || darwin)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")
#endif

#define NAME avx512
#define LANES 16
#define ROWS 14
#include "vector.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
