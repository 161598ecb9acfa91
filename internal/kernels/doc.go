// Package kernels computes convolutions of stride 1 on the processor faster than
// TensorFlow does: weights are packed once, and kernels of 2×2 to 4×4 are convolved by
// Winograd's F(m×m, r×r) with fewer multiplications. The code is C with vectors, one source for
// AVX-512, AVX2, the baseline of x86-64, and arm64, chosen when it runs.
package kernels
