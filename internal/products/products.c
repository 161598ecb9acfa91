// Products of float64 matrices, C += A Bᵀ, both factors stored by rows: the shape of
// a Gram matrix. Rows are packed into panels, so that a block of 8 × 24 sums stays in
// registers (AVX-512; what fits where vectors are shorter is the compiler's choice).
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "products.h"

typedef double vector __attribute__((vector_size(64), aligned(8)));

enum { lanes = 8, rows_in_block = 8, vectors_in_block = 3, columns_in_block = lanes * vectors_in_block };

#if defined(__x86_64__) && defined(__gnu_linux__)
#define each_processor __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define each_processor
#endif

// block adds a panel of 8 rows times a panel of 24 rows, over depth, to sums [8][24].
each_processor static void block(const double *restrict a, const double *restrict b, long depth,
		double *restrict sums) {
	vector s[rows_in_block][vectors_in_block];
	memset(s, 0, sizeof s);
	for (long k = 0; k < depth; k++) {
		vector v[vectors_in_block];
		for (int j = 0; j < vectors_in_block; j++) v[j] = *(const vector *)(b + k * columns_in_block + j * lanes);
		for (int i = 0; i < rows_in_block; i++) {
			double x = a[k * rows_in_block + i];
			for (int j = 0; j < vectors_in_block; j++) s[i][j] += x * v[j];
		}
	}
	memcpy(sums, s, sizeof s);
}

// define_pack defines a function that puts some rows of numbers, which begin `stride` apart, side by side: column
// after column of them, with zeros for those of `width` that are not there.
#define define_pack(name, number) \
	each_processor void name(double *restrict packed, const number *restrict from, long rows, long stride, long width, \
			long depth) { \
		for (long i = 0; i < width; i += lanes) { \
			if (rows - i >= lanes) { \
				const number *row = from + i * stride; \
				for (long k = 0; k < depth; k++) \
					for (int j = 0; j < lanes; j++) packed[k * width + i + j] = row[j * stride + k]; \
				continue; \
			} \
			for (long k = 0; k < depth; k++) \
				for (long j = i; j < i + lanes; j++) packed[k * width + j] = j < rows ? from[j * stride + k] : 0; \
		} \
	}

define_pack(tfconvrnn_products_pack, double)
define_pack(tfconvrnn_products_pack_floats, float)

// tfconvrnn_products_rows adds the products of panels of a, which begin `step` numbers apart, with one panel of b, over
// depth, to c, whose rows are `stride` apart. Of the panel of b only `columns` count, of the last panel
// of a only what makes `rows` rows in all.
void tfconvrnn_products_rows(const double *a, long rows, long step, const double *b, long columns, long depth,
		double *c, long stride) {
	double sums[rows_in_block * columns_in_block] __attribute__((aligned(64)));
	for (long first = 0; first < rows; first += rows_in_block, a += step) {
		long n = rows - first < rows_in_block ? rows - first : rows_in_block;
		// What is added to comes from memory meanwhile.
		for (long i = 0; i < n; i++)
			for (long j = 0; j < columns; j += lanes) __builtin_prefetch(c + (first + i) * stride + j, 1);
		block(a, b, depth, sums);
		for (long i = 0; i < n; i++)
			for (long j = 0; j < columns; j++) c[(first + i) * stride + j] += sums[i * columns_in_block + j];
	}
}
