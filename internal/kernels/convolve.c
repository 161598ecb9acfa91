//go:build cgo && (linux || darwin)

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "kernels.h"

extern const kernels_isa kernels_baseline;
#if defined(__x86_64__)
extern const kernels_isa kernels_avx512, kernels_avx2;
#endif

const kernels_isa *const kernels_isas[] = {
#if defined(__x86_64__)
    &kernels_avx512, &kernels_avx2,
#endif
    &kernels_baseline, NULL};

#if defined(__x86_64__)
// Says whether the processor has instructions, and the system keeps the state of their registers.
// It is not __builtin_cpu_supports, which is always false in what zig links.
static int processor_has(unsigned leaf7, unsigned state) {
  unsigned a, b, c, d, low, high, leaf1 = bit_FMA | bit_AVX | bit_OSXSAVE;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & leaf1) != leaf1) return 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & state) == state && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & leaf7) == leaf7;
}
#endif

int kernels_isa_runs(const kernels_isa *isa) {
#if defined(__x86_64__)
  const unsigned avx512 = bit_AVX512F | bit_AVX512VL | bit_AVX512BW | bit_AVX512DQ;
  if (isa == &kernels_avx512) return processor_has(bit_AVX2 | avx512, 0xe6);
  if (isa == &kernels_avx2) return processor_has(bit_AVX2, 0x6);
#endif
  return isa == &kernels_baseline;
}

static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

static int valid_shape(const kernels_shape *s) {
  if (s->kernel < 1 || s->kernel > KERNELS_KERNEL || s->sources < 1 || s->sources > KERNELS_SOURCES) return 0;
  for (int i = 0; i < s->sources; i++) {
    if (s->channels[i] < 1 || s->channels[i] > KERNELS_DIMENSION) return 0;
  }
  return s->depth >= 1 && s->depth <= KERNELS_DIMENSION;
}

// Costs in terms of a multiply or an add in a product: of reading a byte of weights, which
// mostly come from memory, of a value that is transformed or copied, and, for the frugal, of a
// byte of memory beyond what F(2×2) takes: large weights of small maps would take gigabytes.
// They fit what BenchmarkForms measures for all convolutions of the zoo.
enum { COST_BYTE = 7, COST_VALUE = 20, COST_COPY = 8, COST_MEMORY = 20 };

int kernels_has_tile(int kernel, int tile) {
  int positions = tile + kernel - 1;
  return kernel >= 2 && kernel <= 4 && tile >= 2 && tile <= 4 && positions >= 4 && positions <= 6;
}

int kernels_form(const kernels_shape *shape, int64_t batch, int64_t height, int64_t width, int frugal) {
  double channels = 0, depth = (double)shape->depth, kernel = shape->kernel * shape->kernel, best = 0;
  for (int i = 0; i < shape->sources; i++) channels += (double)shape->channels[i];
  int form = -1;
  for (int tile = 4; tile >= 0; tile--) {
    if (tile != 0 && !kernels_has_tile(shape->kernel, tile)) continue;
    double positions = tile == 0 ? kernel : (tile + shape->kernel - 1) * (tile + shape->kernel - 1),
           step = tile == 0 ? 1 : tile;
    double rows = (double)batch * (double)divide_up(height, (int64_t)step) * (double)divide_up(width, (int64_t)step);
    double values = tile == 0 ? COST_COPY * channels : COST_VALUE * (channels + depth);
    double cost =
        positions * (rows * (2 * channels * depth + values) + COST_BYTE * (double)sizeof(float) * channels * depth);
    if (frugal && positions > 16) cost += COST_MEMORY * (double)sizeof(float) * (positions - 16) * channels * depth;
    if (form < 0 || cost < best) {
      form = tile;
      best = cost;
    }
  }
  return form;
}

typedef struct {
  const kernels_weights *w;
  const float *const *filters;
} packing;

static void pack_panel(void *argument, int64_t panel) {
  const packing *p = argument;
  p->w->isa->pack(p->w, p->filters, panel);
}

int kernels_pack(const kernels_isa *isa, const kernels_shape *shape, int tile, const float *const *filters,
                 int threads, kernels_weights **packed) {
  if (!valid_shape(shape) || (tile != 0 && !kernels_has_tile(shape->kernel, tile))) return KERNELS_INVALID;
  kernels_weights *w = calloc(1, sizeof(*w));
  if (w == NULL) return KERNELS_MEMORY;
  w->isa = isa;
  w->shape = *shape;
  w->tile = tile;
  w->positions = tile == 0 ? 1 : (tile + shape->kernel - 1) * (tile + shape->kernel - 1);
  for (int i = 0; i < shape->sources; i++) w->inner += divide_up(shape->channels[i], 16) * 16;
  if (tile == 0) w->inner *= shape->kernel * shape->kernel;
  w->panels = divide_up(shape->depth, isa->panel);
  // No overflow: at most 2^20 panels and columns, 36 positions, 49·4·2^20 inner.
  size_t row = (size_t)w->panels * (size_t)w->positions * (size_t)isa->panel * sizeof(float);
  if (__builtin_mul_overflow(row, (size_t)w->inner, &w->bytes) || w->bytes > PTRDIFF_MAX / 2) {
    free(w);
    return KERNELS_MEMORY;
  }
  if ((w->values = kernels_allocate(w->bytes)) == NULL) {
    free(w);
    return KERNELS_MEMORY;
  }
  packing p = {w, filters};
  kernels_parallel(threads, w->panels, pack_panel, &p);
  *packed = w;
  return KERNELS_OK;
}

void kernels_free(kernels_weights *w) {
  if (w == NULL) return;
  free(w->values);
  free(w);
}

enum {
  LEFT_BYTES = 8 << 20,      // most of a block of the left operand, unless a few rows are more
  PRODUCT_BYTES = 320 << 10,  // most of a thread's products, unless a few rows are more
  // Where the weights are no more than this, each thread computes all of some rows, with
  // as many rows as fit into so much.
  WEIGHTS_BYTES = 3 << 20,
  ROWS_BYTES = 640 << 10,
};

// blocks says how a convolution is divided. rows are tiles, or pixels.
typedef struct {
  const kernels_convolution *c;
  int64_t first, count;  // rows of the left operand at hand
  int64_t block;         // inner blocks
  int64_t chunk;         // rows of an item of the input
  int64_t part, parts;   // rows of an item of the products, and their number
  const float *zeros;
  float *left;
  atomic_int failed;
} blocks;

static void input_item(void *argument, int64_t item) {
  const blocks *b = argument;
  int64_t from = item * b->chunk, to = from + b->chunk;
  if (to > b->count) to = b->count;
  b->c->weights->isa->input(b->c, b->first, from, to, b->count, b->zeros, b->left);
}

// multiply_rows computes the outputs of rows from … on, up to rows, of a panel.
static void multiply_rows(const blocks *b, int64_t panel, int64_t from, int64_t rows, float *products) {
  const kernels_weights *w = b->c->weights;
  const kernels_isa *isa = w->isa;
  size_t stride = (size_t)b->count * KERNELS_BLOCK;
  for (int p = 0; p < w->positions; p++) {
    const float *right =
        w->values + (((size_t)panel * (size_t)w->positions + (size_t)p) * (size_t)w->inner + (size_t)b->c->offset) *
                        (size_t)isa->panel;
    isa->product(b->left + (size_t)p * (size_t)b->block * stride + (size_t)from * KERNELS_BLOCK, stride, rows, right,
                 b->c->inner, products + (size_t)p * (size_t)rows * (size_t)isa->panel);
  }
  isa->output(b->c, b->first + from, rows, panel, products);
}

// whole makes a number of rows whole runs of a depthwise convolution, if there is one.
static int64_t whole(const kernels_convolution *c, int64_t rows) {
  return c->stencil == NULL ? rows : divide_up(rows, KERNELS_RUN) * KERNELS_RUN;
}

static size_t products_bytes(const kernels_weights *w, int64_t rows) {
  return (size_t)w->positions * (size_t)rows * (size_t)w->isa->panel * sizeof(float);
}

static void product_item(void *argument, int64_t item) {
  blocks *b = argument;
  int64_t panel = item / b->parts, from = item % b->parts * b->part;
  int64_t rows = b->count - from < b->part ? b->count - from : b->part;
  kernels_scratch *products = kernels_take(products_bytes(b->c->weights, b->part));
  if (products == NULL) {
    atomic_store(&b->failed, 1);
    return;
  }
  multiply_rows(b, panel, from, rows, products->floats);
  kernels_give(products);
}

// together computes rows in superblocks whose left operand threads share: each part of
// the weights is read once for all of them.
static int together(blocks *b, int64_t rows, int64_t most, size_t row) {
  const kernels_convolution *c = b->c;
  const kernels_weights *w = c->weights;
  int64_t super = whole(c, divide_up(rows, divide_up(rows, most)));
  kernels_scratch *left = kernels_take((size_t)super * row);
  if (left == NULL) return KERNELS_MEMORY;
  b->left = left->floats;
  int64_t part = (int64_t)(PRODUCT_BYTES / products_bytes(w, 1));
  if (part < w->isa->rows) part = w->isa->rows;
  for (b->first = 0; b->first < rows; b->first += super) {
    b->count = rows - b->first < super ? rows - b->first : super;
    b->chunk = divide_up(b->count, 4 * (int64_t)c->threads);
    if (b->chunk > 16) b->chunk = 16;
    b->chunk = whole(c, b->chunk);
    kernels_parallel(c->threads, divide_up(b->count, b->chunk), input_item, b);
    b->parts = divide_up(b->count, part);
    while (b->parts * w->panels < 2 * c->threads && divide_up(b->count, b->parts) > w->isa->rows) b->parts++;
    b->part = divide_up(b->count, b->parts);
    b->parts = divide_up(b->count, b->part);
    kernels_parallel(c->threads, b->parts * w->panels, product_item, b);
  }
  kernels_give(left);
  return KERNELS_OK;
}

// rows_item computes everything of some rows.
static void rows_item(void *argument, int64_t item) {
  blocks *all = argument;
  blocks b = {.c = all->c, .zeros = all->zeros, .block = all->block, .first = all->first + item * all->part};
  const kernels_weights *w = b.c->weights;
  b.count = all->count - item * all->part;
  if (b.count > all->part) b.count = all->part;
  size_t products = products_bytes(w, all->part),
         row = (size_t)w->positions * (size_t)b.block * KERNELS_BLOCK * sizeof(float);
  kernels_scratch *memory = kernels_take(products + (size_t)all->part * row);
  if (memory == NULL) {
    atomic_store(&all->failed, 1);
    return;
  }
  b.left = memory->floats + products / sizeof(float);
  w->isa->input(b.c, b.first, 0, b.count, b.count, b.zeros, b.left);
  for (int64_t panel = 0; panel < w->panels; panel++) multiply_rows(&b, panel, 0, b.count, memory->floats);
  kernels_give(memory);
}

int kernels_convolve(const kernels_convolution *asked) {
  kernels_convolution copy = *asked, *c = &copy;
  const kernels_weights *w = c->weights;
  if (c->first < 0 || c->sources < 1 || c->first > w->shape.sources || c->sources > w->shape.sources - c->first)
    return KERNELS_INVALID;
  if (c->batch < 0 || c->height < 0 || c->width < 0 || c->batch > KERNELS_DIMENSION ||
      c->height > KERNELS_DIMENSION || c->width > KERNELS_DIMENSION)
    return KERNELS_INVALID;
  if (c->stencil != NULL && (c->stencil_size < 1 || c->stencil_size > KERNELS_KERNEL || w->tile != 0 ||
                             w->shape.kernel != 1 || w->shape.sources != 1))
    return KERNELS_INVALID;
  int64_t tile = w->tile == 0 ? 1 : w->tile, rows;
  if (__builtin_mul_overflow(c->batch, divide_up(c->height, tile) * divide_up(c->width, tile), &rows))
    return KERNELS_INVALID;
  if (rows == 0) return KERNELS_OK;
  size_t zeros = 0;
  c->inner = c->offset = 0;
  for (int i = 0; i < c->first + c->sources; i++) {
    int64_t channels = divide_up(w->shape.channels[i], 16) * 16,
            length = w->tile == 0 ? channels * w->shape.kernel * w->shape.kernel : channels;
    if (i < c->first) {
      c->offset += length;
      continue;
    }
    c->inner += length;
    if ((size_t)channels > zeros) zeros = (size_t)channels;
  }
  kernels_scratch *nothing = kernels_take(zeros * sizeof(float));
  if (nothing == NULL) return KERNELS_MEMORY;
  memset(nothing->floats, 0, zeros * sizeof(float));
  blocks b = {.c = c, .zeros = nothing->floats, .block = divide_up(c->inner, KERNELS_BLOCK), .count = rows};
  size_t row = (size_t)w->positions * (size_t)b.block * KERNELS_BLOCK * sizeof(float);
  int64_t most = (int64_t)(LEFT_BYTES / row);
  if (most < w->isa->rows) most = w->isa->rows;
  b.part = (int64_t)(ROWS_BYTES / (row + products_bytes(w, 1)));
  int result = KERNELS_OK;
  if (w->bytes <= WEIGHTS_BYTES && b.part >= w->isa->rows && rows >= 2 * c->threads * w->isa->rows) {
    b.parts = divide_up(rows, b.part);
    if (b.parts < 4 * c->threads) b.parts = 4 * c->threads;
    b.part = divide_up(rows, b.parts);
    if (b.part < w->isa->rows) b.part = w->isa->rows;
    b.part = whole(c, b.part);
    kernels_parallel(c->threads, divide_up(rows, b.part), rows_item, &b);
  } else {
    result = together(&b, rows, most, row);
  }
  kernels_give(nothing);
  return atomic_load(&b.failed) ? KERNELS_MEMORY : result;
}
