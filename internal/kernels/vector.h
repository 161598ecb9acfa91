// The code that computes, included once for each set of vector instructions, which defines
//   NAME    the suffix of its kernels_isa
//   LANES   floats of a vector
//   ROWS    rows of a block in registers; it has two vectors of columns
// and selects the instructions before.

#include <string.h>

#include "kernels.h"

#define PANEL (2 * LANES)
#define INLINE static inline __attribute__((always_inline))
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

typedef float vector __attribute__((vector_size(4 * LANES)));
// unaligned is a vector in memory anywhere.
typedef float unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE vector load(const float *p) { return *(const unaligned *)p; }
INLINE void store(float *p, vector v) { *(unaligned *)p = v; }

// load_some loads n < LANES floats, and zeros.
INLINE vector load_some(const float *p, int64_t n) {
  vector v = {0};
  memcpy(&v, p, (size_t)n * sizeof(float));
  return v;
}

INLINE void store_some(float *p, vector v, int64_t n) {
  if (n >= LANES) {
    store(p, v);
  } else if (n > 0) {
    memcpy(p, &v, (size_t)n * sizeof(float));
  }
}

// Winograd's matrices for F(m×m, r×r) with t = m+r-1 positions in a row, which are the points
// 0, 1, -1, ½, -2 and ∞: of these t-1, and ∞. Y = Aᵀ[(G g Gᵀ)·(Bᵀ d B)]A. Bᵀ depends on t alone.
static const float b6[6][6] = {
    {1, -1.5f, -2, 1.5f, 1, 0}, {0, -1, .5f, 2.5f, 1, 0},  {0, 1, -2.5f, .5f, 1, 0},
    {0, -2, -1, 2, 1, 0},       {0, .5f, -1, -.5f, 1, 0}, {0, 1, -1.5f, -2, 1.5f, 1},
};
static const float b5[5][5] = {
    {.5f, -1, -.5f, 1, 0}, {0, -.5f, .5f, 1, 0}, {0, .5f, -1.5f, 1, 0}, {0, -1, 0, 1, 0}, {0, .5f, -1, -.5f, 1},
};
static const float b4[4][4] = {{-1, 0, 1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, -1, 0, 1}};

// Aᵀ [m][t]: the powers of the points; ∞ is in the last row alone.
static const float a46[4][6] = {
    {1, 1, 1, 1, 1, 0}, {0, 1, -1, .5f, -2, 0}, {0, 1, 1, .25f, 4, 0}, {0, 1, -1, .125f, -8, 1}};
static const float a36[3][6] = {{1, 1, 1, 1, 1, 0}, {0, 1, -1, .5f, -2, 0}, {0, 1, 1, .25f, 4, 1}};
static const float a45[4][5] = {{1, 1, 1, 1, 0}, {0, 1, -1, .5f, 0}, {0, 1, 1, .25f, 0}, {0, 1, -1, .125f, 1}};
static const float a35[3][5] = {{1, 1, 1, 1, 0}, {0, 1, -1, .5f, 0}, {0, 1, 1, .25f, 1}};
static const float a25[2][5] = {{1, 1, 1, 1, 0}, {0, 1, -1, .5f, 1}};
static const float a34[3][4] = {{1, 1, 1, 0}, {0, 1, -1, 0}, {0, 1, 1, 1}};
static const float a24[2][4] = {{1, 1, 1, 0}, {0, 1, -1, 1}};

// G without the row of ∞, which is 1 in its last column, for kernels of up to 4×4.
static const float g6[5][4] = {
    {1, 0, 0, 0},
    {1 / 3.f, 1 / 3.f, 1 / 3.f, 1 / 3.f},
    {-1 / 3.f, 1 / 3.f, -1 / 3.f, 1 / 3.f},
    {-16 / 15.f, -8 / 15.f, -4 / 15.f, -2 / 15.f},
    {1 / 15.f, -2 / 15.f, 4 / 15.f, -8 / 15.f},
};
static const float g5[4][4] = {
    {2, 0, 0, 0}, {1, 1, 1, 1}, {-1 / 3.f, 1 / 3.f, -1 / 3.f, 1 / 3.f}, {-8 / 3.f, -4 / 3.f, -2 / 3.f, -1 / 3.f}};
static const float g4[3][4] = {{-1, 0, 0, 0}, {.5f, .5f, .5f, .5f}, {.5f, -.5f, .5f, -.5f}};

// multiply computes out[i·out_step] = Σ matrix[i·across+j]·in[j·in_step] for j < columns. All but
// the vectors is known when this is compiled, and products with 0 and 1 cost nothing.
INLINE void multiply(const int rows, const int columns, const int across, const float *matrix, const vector *in,
                     const int in_step, vector *out, const int out_step) {
#pragma GCC unroll 8
  for (int i = 0; i < rows; i++) {
    vector sum = {0};
    int first = 1;
#pragma GCC unroll 8
    for (int j = 0; j < columns; j++) {
      const float m = matrix[i * across + j];
      if (m == 0) continue;
      sum = first ? m * in[j * in_step] : sum + m * in[j * in_step];
      first = 0;
    }
    out[i * out_step] = sum;
  }
}

// sandwich computes M in Mᵀ for M [rows][columns].
INLINE void sandwich(const int rows, const int columns, const float *matrix, const vector *in, vector *out) {
  vector half[36];
#pragma GCC unroll 8
  for (int j = 0; j < columns; j++) multiply(rows, columns, columns, matrix, in + j, columns, half + j, columns);
#pragma GCC unroll 8
  for (int i = 0; i < rows; i++) multiply(rows, columns, columns, matrix, half + i * columns, 1, out + i * rows, 1);
}

// Packing.

static void pack(const kernels_weights *w, const float *const *filters, int64_t panel) {
  const kernels_shape *s = &w->shape;
  int64_t column = panel * PANEL, columns = s->depth - column < PANEL ? s->depth - column : PANEL;
  int64_t size = s->kernel * s->kernel;
  float *out = w->values + (size_t)panel * (size_t)w->channels * (size_t)size * PANEL;
  for (int i = 0; i < s->sources; i++) {
    for (int64_t group = 0; group < s->channels[i]; group += KERNELS_GROUP) {
      for (int64_t at = 0; at < size; at++) {
        for (int64_t c = group; c < group + KERNELS_GROUP; c++, out += PANEL) {
          int64_t count = c < s->channels[i] ? columns : 0;
          size_t in = (size_t)(at * s->channels[i] + c) * (size_t)s->depth + (size_t)column;
          for (int64_t n = 0; n < PANEL; n++) out[n] = n < count ? filters[i][in + (size_t)n] : 0;
        }
      }
    }
  }
}

// The right operand of Winograd's products.

INLINE void transform_winograd(const int t, const int r, const float *matrix, const float *filters, int64_t channels,
                               float *right) {
  const size_t position = kernels_position(channels, PANEL);
  for (int64_t c = 0; c < channels; c++, right += PANEL) {
    const float *from = filters + (size_t)(c / KERNELS_GROUP * r * r * KERNELS_GROUP + c % KERNELS_GROUP) * PANEL;
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
      vector in[16], middle[6 * 4], out[36];
#pragma GCC unroll 16
      for (int p = 0; p < r * r; p++) in[p] = load(from + p * KERNELS_GROUP * PANEL + half * LANES);
#pragma GCC unroll 4
      for (int j = 0; j < r; j++) {
        multiply(t - 1, r, 4, matrix, in + j, r, middle + j, r);
        middle[(t - 1) * r + j] = in[(r - 1) * r + j];
      }
#pragma GCC unroll 8
      for (int i = 0; i < t; i++) {
        multiply(t - 1, r, 4, matrix, middle + i * r, 1, out + i * t, 1);
        out[i * t + t - 1] = middle[i * r + r - 1];
      }
#pragma GCC unroll 36
      for (int p = 0; p < t * t; p++) store(right + (size_t)p * position + half * LANES, out[p]);
    }
  }
}

// EACH_TILE is what there is code for, m and t of F(m×m, (t-m+1)×(t-m+1)): what kernels_has_tile has.
#define EACH_TILE(X) X(2, 4) X(3, 4) X(2, 5) X(3, 5) X(4, 5) X(3, 6) X(4, 6)
#define TILE(m, t) ((m) * 100 + (t) * (t))

static void transform(const kernels_convolution *c, const float *filters, int64_t channels, float *right) {
  switch (c->tile * 100 + c->positions) {
#define TRANSFORM(m, t) \
  case TILE(m, t): transform_winograd(t, t - m + 1, &g##t[0][0], filters, channels, right); break;
    EACH_TILE(TRANSFORM)
  }
}

// The left operand. It is [positions][inner / 64][rows][64], so that the rows of a block in
// registers are a fixed distance apart.

// pixels fills t×t pointers to the channels of a source's pixels from (top, left) on of an
// image [height, width, channels]; those outside the map point to zeros.
INLINE void pixels(const int t, const float *image, int64_t height, int64_t width, int64_t channels, int64_t top,
                   int64_t left, const float *zeros, const float **at) {
  for (int y = 0; y < t; y++) {
    for (int x = 0; x < t; x++) {
      int64_t row = top + y, column = left + x;
      int inside = row >= 0 && row < height && column >= 0 && column < width;
      at[y * t + x] = inside ? image + (size_t)(row * width + column) * (size_t)channels : zeros;
    }
  }
}

INLINE void input_winograd(const int t, const float *matrix, const kernels_convolution *c, int64_t first,
                           int64_t from, int64_t to, int64_t count, const float *zeros, float *left) {
  enum { MOST = 36 };
  const kernels_shape *s = &c->weights->shape;
  const int64_t m = c->tile, before = (s->kernel - 1) / 2;
  int64_t across = (c->width + m - 1) / m, tiles = (c->height + m - 1) / m * across;
  size_t position = (size_t)count * KERNELS_BLOCK, block = (size_t)c->positions * position;
  for (int64_t row = from; row < to; row++) {
    int64_t image = (first + row) / tiles, tile = (first + row) % tiles;
    int64_t top = tile / across * m - before, side = tile % across * m - before;
    int64_t k = 0;
    for (int i = 0; i < c->sources; i++) {
      int64_t channels = s->channels[c->first + i];
      const float *at[MOST];
      pixels(t, c->x[i] + (size_t)image * (size_t)(c->height * c->width) * (size_t)channels, c->height, c->width,
             channels, top, side, zeros, at);
      int64_t padded = (channels + 15) / 16 * 16;
      for (int64_t from_channel = 0; from_channel < padded; from_channel += LANES, k += LANES) {
        vector in[MOST], out[MOST];
        if (from_channel + LANES <= channels) {
#pragma GCC unroll 36
          for (int p = 0; p < t * t; p++) in[p] = load(at[p] + from_channel);
        } else {
          int64_t some = channels > from_channel ? channels - from_channel : 0;
          for (int p = 0; p < t * t; p++) in[p] = load_some(at[p] + (some > 0 ? from_channel : 0), some);
        }
        sandwich(t, t, matrix, in, out);
        float *result =
            left + (size_t)(k / KERNELS_BLOCK) * block + (size_t)row * KERNELS_BLOCK + (size_t)(k % KERNELS_BLOCK);
#pragma GCC unroll 36
        for (int p = 0; p < t * t; p++) store(result + (size_t)p * position, out[p]);
      }
    }
  }
}

static void input_patches(const kernels_convolution *c, int64_t first, int64_t from, int64_t to, int64_t count,
                          const float *zeros, float *left) {
  const kernels_shape *s = &c->weights->shape;
  int64_t size = c->height * c->width, before = (s->kernel - 1) / 2;
  size_t block = (size_t)count * KERNELS_BLOCK;
  for (int64_t row = from; row < to; row++) {
    int64_t image = (first + row) / size, pixel = (first + row) % size;
    int64_t y = pixel / c->width, x = pixel % c->width;
    int64_t k = 0;
    for (int i = 0; i < c->sources; i++) {
      int64_t channels = s->channels[c->first + i];
      const float *image_of = c->x[i] + (size_t)(image * size) * (size_t)channels, *at[KERNELS_KERNEL * KERNELS_KERNEL];
      pixels(s->kernel, image_of, c->height, c->width, channels, y - before, x - before, zeros, at);
      for (int64_t group = 0; group < channels; group += KERNELS_GROUP) {
        for (int p = 0; p < s->kernel * s->kernel; p++) {
          for (int64_t channel = group; channel < group + KERNELS_GROUP; channel += LANES, k += LANES) {
            float *out =
                left + (size_t)(k / KERNELS_BLOCK) * block + (size_t)row * KERNELS_BLOCK + (size_t)(k % KERNELS_BLOCK);
            int64_t some = channels - channel;
            if (some >= LANES) {
              store(out, load(at[p] + channel));
            } else {
              store(out, load_some(at[p] + (some > 0 ? channel : 0), some > 0 ? some : 0));
            }
          }
        }
      }
    }
  }
}

enum { RUN = KERNELS_RUN };

// stencil_run computes channels of RUN pixels that follow each other in a row of the map. Row
// dy of the stencil, of those from top to bottom-1, reads the pixels at[dy]. Of the results count
// are wanted. RUN sums at once are as many as the processor needs to be busy.
INLINE void stencil_run(const int size, const float *const (*at)[KERNELS_KERNEL + RUN - 1], int top, int bottom,
                        const float *weights, int64_t channels, int64_t count, size_t block, float *left) {
  for (int64_t k = 0; k < (channels + 15) / 16 * 16; k += LANES) {
    int64_t some = channels - k;
    vector sums[RUN] = {{0}};
    if (some >= LANES) {
      for (int dy = top; dy < bottom; dy++) {
        const float *w = weights + dy * size * channels + k;
        vector x[KERNELS_KERNEL + RUN - 1];
#pragma GCC unroll 7
        for (int j = 0; j < RUN - 1; j++) x[j] = load(at[dy][j] + k);
#pragma GCC unroll 7
        for (int dx = 0; dx < size; dx++) {
          x[dx + RUN - 1] = load(at[dy][dx + RUN - 1] + k);
          vector weight = load(w + dx * channels);
#pragma GCC unroll 7
          for (int p = 0; p < RUN; p++) sums[p] += x[p + dx] * weight;
        }
      }
    } else if (some > 0) {
      for (int dy = top; dy < bottom; dy++) {
        for (int dx = 0; dx < size; dx++) {
          vector weight = load_some(weights + (dy * size + dx) * channels + k, some);
#pragma GCC unroll 7
          for (int p = 0; p < RUN; p++) sums[p] += load_some(at[dy][p + dx] + k, some) * weight;
        }
      }
    }
    float *out = left + (size_t)(k / KERNELS_BLOCK) * block + (size_t)(k % KERNELS_BLOCK);
#pragma GCC unroll 7
    for (int p = 0; p < RUN; p++) {
      if (p < count) store(out + p * KERNELS_BLOCK, sums[p]);
    }
  }
}

static void input_stencil(const kernels_convolution *c, int64_t first, int64_t from, int64_t to, int64_t count,
                          const float *zeros, float *left) {
  int64_t size = c->stencil_size, before = (size - 1) / 2, channels = c->weights->shape.channels[0];
  size_t block = (size_t)count * KERNELS_BLOCK;
  for (int64_t row = from, run; row < to; row += run) {
    int64_t image = (first + row) / (c->height * c->width), pixel = (first + row) % (c->height * c->width);
    int64_t y = pixel / c->width, x = pixel % c->width;
    run = c->width - x < RUN ? c->width - x : RUN;
    if (run > to - row) run = to - row;
    const float *at[KERNELS_KERNEL][KERNELS_KERNEL + RUN - 1];
    int top = (int)size, bottom = 0;  // of what is inside the map
    for (int dy = 0; dy < size; dy++) {
      int64_t py = y + dy - before;
      if (py < 0 || py >= c->height) continue;
      if (dy < top) top = dy;
      bottom = dy + 1;
      const float *line = c->x[0] + (size_t)((image * c->height + py) * c->width) * (size_t)channels;
      for (int j = 0; j < size + RUN - 1; j++) {
        int64_t px = x + j - before;
        at[dy][j] = px >= 0 && px < c->width ? line + px * channels : zeros;
      }
    }
    float *out = left + (size_t)row * KERNELS_BLOCK;
    switch (size) {
      case 3: stencil_run(3, at, top, bottom, c->stencil, channels, run, block, out); break;
      case 5: stencil_run(5, at, top, bottom, c->stencil, channels, run, block, out); break;
      case 7: stencil_run(7, at, top, bottom, c->stencil, channels, run, block, out); break;
      default: stencil_run((int)size, at, top, bottom, c->stencil, channels, run, block, out);
    }
  }
}

static void input(const kernels_convolution *c, int64_t first, int64_t from, int64_t to, int64_t count,
                  const float *zeros, float *left) {
  switch (c->positions) {
    case 16: input_winograd(4, &b4[0][0], c, first, from, to, count, zeros, left); break;
    case 25: input_winograd(5, &b5[0][0], c, first, from, to, count, zeros, left); break;
    case 36: input_winograd(6, &b6[0][0], c, first, from, to, count, zeros, left); break;
    default:
      if (c->stencil != NULL) {
        input_stencil(c, first, from, to, count, zeros, left);
      } else {
        input_patches(c, first, from, to, count, zeros, left);
      }
  }
}

// Products.

// INNER is how much of a sum is added up by itself before it is added to the rest: as much
// of a panel stays in a near cache for all rows, and less is lost to rounding.
#define INNER (8 * KERNELS_BLOCK)

// fetch has the cache fetch a few of so many lines, so that after KERNELS_BLOCK times all are.
INLINE void fetch(uintptr_t from, size_t lines, int64_t time) {
  __builtin_prefetch((const void *)(from + (size_t)time * lines / KERNELS_BLOCK * KERNELS_LINE));
}

// block_product computes out [rows][PANEL] (+)= left · right, with all sums in registers.
INLINE void block_product(const int rows, const float *left, size_t stride, const float *right, int64_t inner,
                          int add, float *out, kernels_ahead ahead) {
  vector sums[ROWS][2];
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++) {
    sums[r][0] = (vector){0};
    sums[r][1] = (vector){0};
  }
  for (; inner > 0; inner -= KERNELS_BLOCK, left += stride) {
    int64_t n = inner < KERNELS_BLOCK ? inner : KERNELS_BLOCK;
    for (int64_t k = 0; k < n; k++, right += PANEL) {
      vector b0 = load(right), b1 = load(right + LANES);
      // A few lines now and then: many at once hold up the products.
      fetch((uintptr_t)ahead.at, ahead.lines, k);
      fetch((uintptr_t)left + stride * sizeof(float), rows * KERNELS_BLOCK * sizeof(float) / KERNELS_LINE, k);
#pragma GCC unroll 16
      for (int r = 0; r < rows; r++) {
        float a = left[r * KERNELS_BLOCK + k];
        sums[r][0] += a * b0;
        sums[r][1] += a * b1;
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++) {
    store(out + r * PANEL, add ? load(out + r * PANEL) + sums[r][0] : sums[r][0]);
    store(out + r * PANEL + LANES, add ? load(out + r * PANEL + LANES) + sums[r][1] : sums[r][1]);
  }
}

#define BLOCK(n)                                                                                                  \
  static void block_##n(const float *left, size_t stride, const float *right, int64_t inner, int add, float *out, \
                        kernels_ahead ahead) {                                                                    \
    block_product(n, left, stride, right, inner, add, out, ahead);                                                \
  }
BLOCK(1) BLOCK(2) BLOCK(3) BLOCK(4) BLOCK(5) BLOCK(6)
#if ROWS == 14
BLOCK(7) BLOCK(8) BLOCK(9) BLOCK(10) BLOCK(11) BLOCK(12) BLOCK(13) BLOCK(14)
#elif ROWS != 6
#error "blocks are of 6 or 14 rows"
#endif

static void (*const block_of[])(const float *, size_t, const float *, int64_t, int, float *, kernels_ahead) = {
    0, block_1, block_2, block_3, block_4, block_5, block_6,
#if ROWS == 14
    block_7, block_8, block_9, block_10, block_11, block_12, block_13, block_14,
#endif
};

static void product(const float *left, size_t stride, int64_t rows, const float *right, int64_t inner, int add,
                    float *out, kernels_ahead ahead) {
  int64_t parts = (rows + ROWS - 1) / ROWS;
  if (ahead.lines == 0) ahead.at = right;
  ahead.lines = (ahead.lines + (size_t)parts - 1) / (size_t)parts;
  for (int64_t from = 0; from < inner; from += INNER) {
    int64_t length = inner - from < INNER ? inner - from : INNER;
    int64_t row = 0;
    for (int64_t part = 0; part < parts; part++) {
      int64_t n = (rows - row) / (parts - part);  // as equal as can be
      block_of[n](left + (size_t)row * KERNELS_BLOCK, stride, right, length, add || from > 0, out + row * PANEL,
                  ahead);
      ahead.at += ahead.lines * (KERNELS_LINE / sizeof(float));
      row += n;
    }
    left += stride * (size_t)(INNER / KERNELS_BLOCK);
    right += (size_t)length * PANEL;
  }
}

// Outputs.

INLINE void output_winograd(const int m, const int t, const float *matrix, const kernels_convolution *c,
                            int64_t first, int64_t rows, int64_t panel, const float *products) {
  enum { MOST = 36 };
  int64_t depth = c->weights->shape.depth, column = panel * PANEL;
  int64_t across = (c->width + m - 1) / m, tiles = (c->height + m - 1) / m * across;
  for (int64_t row = 0; row < rows; row++) {
    int64_t image = (first + row) / tiles, tile = (first + row) % tiles;
    int64_t top = tile / across * m, side = tile % across * m;
    for (int half = 0; half < 2; half++) {
      int64_t columns = depth - column - half * LANES;
      if (columns <= 0) break;
      vector in[MOST], middle[MOST], out[16];
      const float *from = products + row * PANEL + half * LANES;
#pragma GCC unroll 36
      for (int p = 0; p < t * t; p++) in[p] = load(from + (size_t)p * (size_t)rows * PANEL);
#pragma GCC unroll 8
      for (int j = 0; j < t; j++) multiply(m, t, t, matrix, in + j, t, middle + j, t);
#pragma GCC unroll 8
      for (int i = 0; i < m; i++) multiply(m, t, t, matrix, middle + i * t, 1, out + i * m, 1);
      float *y = c->y + (size_t)((image * c->height + top) * c->width + side) * (size_t)depth + (size_t)column +
                 (size_t)(half * LANES);
      if (columns >= LANES && top + m <= c->height && side + m <= c->width) {
#pragma GCC unroll 4
        for (int i = 0; i < m; i++) {
#pragma GCC unroll 4
          for (int j = 0; j < m; j++) store(y + (size_t)(i * c->width + j) * (size_t)depth, out[i * m + j]);
        }
        continue;
      }
      for (int i = 0; i < m && top + i < c->height; i++) {
        for (int j = 0; j < m && side + j < c->width; j++)
          store_some(y + (size_t)(i * c->width + j) * (size_t)depth, out[i * m + j], columns);
      }
    }
  }
}

static void output_patches(const kernels_convolution *c, int64_t first, int64_t rows, int64_t panel,
                           const float *products) {
  int64_t depth = c->weights->shape.depth, column = panel * PANEL;
  for (int64_t row = 0; row < rows; row++, products += PANEL) {
    float *y = c->y + (size_t)(first + row) * (size_t)depth + column;
    store_some(y, load(products), depth - column);
    store_some(y + LANES, load(products + LANES), depth - column - LANES);
  }
}

static void output(const kernels_convolution *c, int64_t first, int64_t rows, int64_t panel, const float *products) {
  switch (c->tile * 100 + c->positions) {
#define OUTPUT(m, t) case TILE(m, t): output_winograd(m, t, &a##m##t[0][0], c, first, rows, panel, products); break;
    EACH_TILE(OUTPUT)
    default: output_patches(c, first, rows, panel, products);
  }
}

#include "program.h"

const kernels_isa JOIN(kernels_, NAME) = {
    .name = TEXT(NAME),
    .panel = PANEL,
    .rows = ROWS,
    .pack = pack,
    .input = input,
    .transform = transform,
    .product = product,
    .output = output,
    .moments = moments,
    .evaluate = evaluate,
};
