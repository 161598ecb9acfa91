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

// Costs in terms of a multiply or an add in a product: of a weight that is transformed, for each
// position, and of a value that is transformed or copied. They fit what BenchmarkForms measures
// for all convolutions of the zoo.
enum { COST_WEIGHT = 15, COST_VALUE = 20, COST_COPY = 8 };

int kernels_has_tile(int kernel, int tile) {
  int positions = tile + kernel - 1;
  return kernel >= 2 && kernel <= 4 && tile >= 2 && tile <= 4 && positions >= 4 && positions <= 6;
}

int kernels_form(const kernels_shape *shape, int64_t batch, int64_t height, int64_t width) {
  double channels = 0, depth = (double)shape->depth, kernel = shape->kernel * shape->kernel, best = 0;
  for (int i = 0; i < shape->sources; i++) channels += (double)shape->channels[i];
  int form = -1;
  for (int tile = 4; tile >= 0; tile--) {
    if (tile != 0 && !kernels_has_tile(shape->kernel, tile)) continue;
    double positions = tile == 0 ? kernel : (tile + shape->kernel - 1) * (tile + shape->kernel - 1),
           step = tile == 0 ? 1 : tile;
    double rows = (double)batch * (double)divide_up(height, (int64_t)step) * (double)divide_up(width, (int64_t)step);
    double values = tile == 0 ? COST_COPY * channels : COST_VALUE * (channels + depth),
           weights = tile == 0 ? 0 : COST_WEIGHT * channels * depth;
    double cost = positions * (rows * (2 * channels * depth + values) + weights);
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

int kernels_pack(const kernels_isa *isa, const kernels_shape *shape, const float *const *filters, int threads,
                 kernels_weights **packed) {
  if (!valid_shape(shape)) return KERNELS_INVALID;
  kernels_weights *w = calloc(1, sizeof(*w));
  if (w == NULL) return KERNELS_MEMORY;
  w->isa = isa;
  w->shape = *shape;
  for (int i = 0; i < shape->sources; i++) w->channels += divide_up(shape->channels[i], KERNELS_GROUP) * KERNELS_GROUP;
  w->panels = divide_up(shape->depth, isa->panel);
  // No overflow: at most 2^20 panels and columns, 49 pixels, 4·2^20 channels.
  size_t row = (size_t)w->panels * (size_t)isa->panel * sizeof(float),
         inner = (size_t)w->channels * (size_t)(shape->kernel * shape->kernel);
  if (__builtin_mul_overflow(row, inner, &w->bytes) || w->bytes > PTRDIFF_MAX / 2) {
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
  // Where the right operand is no more than this, each thread computes all of some rows, if
  // there are enough, with as many rows as fit into so much.
  RIGHT_BYTES = 3 << 20,
  ROWS_BYTES = 640 << 10,
  SHARED_BYTES = 800 << 10,  // products from which on such a right operand is made once for all rows
};

// blocks says how a convolution is divided. rows are tiles, or pixels.
typedef struct {
  const kernels_convolution *c;
  int64_t first, count;  // rows of the left operand at hand
  int64_t block;         // blocks of the sums of a product
  int64_t chunk;         // rows of an item of the input
  int64_t part, parts;   // rows of an item of the products, and their number
  const float *zeros;
  float *left;
  float *right;  // the whole right operand of Winograd's products, or NULL
  atomic_int failed;
} blocks;

static void input_item(void *argument, int64_t item) {
  const blocks *b = argument;
  int64_t from = item * b->chunk, to = from + b->chunk;
  if (to > b->count) to = b->count;
  b->c->weights->isa->input(b->c, b->first, from, to, b->count, b->zeros, b->left);
}

// right_floats returns the size of a block of the right operand of Winograd's products.
static size_t right_floats(const kernels_convolution *c) {
  return (size_t)c->positions * kernels_position(KERNELS_BLOCK, c->weights->isa->panel);
}

// filters_at returns the packed filters of a panel from a channel of the convolution's on.
static const float *filters_at(const kernels_convolution *c, int64_t panel, int64_t channel) {
  const kernels_weights *w = c->weights;
  size_t size = (size_t)(w->shape.kernel * w->shape.kernel) * (size_t)w->isa->panel;
  return w->values + ((size_t)panel * (size_t)w->channels + (size_t)(c->offset + channel)) * size;
}

// block_length returns how long the sums of a block are.
static int64_t block_length(const blocks *b, int64_t block) {
  int64_t rest = b->c->inner - block * KERNELS_BLOCK;
  return rest < KERNELS_BLOCK ? rest : KERNELS_BLOCK;
}

// filters_ahead returns where a block of a panel's packed filters lies, nothing if there is no such panel.
static kernels_ahead filters_ahead(const blocks *b, int64_t panel, int64_t block) {
  const kernels_weights *w = b->c->weights;
  if (panel >= w->panels) return (kernels_ahead){0};
  size_t floats = (size_t)(block_length(b, block) * w->shape.kernel * w->shape.kernel * w->isa->panel);
  return (kernels_ahead){filters_at(b->c, panel, block * KERNELS_BLOCK), floats * sizeof(float) / KERNELS_LINE};
}

// share returns one of parts of what is ahead.
static kernels_ahead share(kernels_ahead all, int part, int parts) {
  size_t lines = (all.lines + (size_t)parts - 1) / (size_t)parts, from = (size_t)part * lines;
  if (from >= all.lines) return (kernels_ahead){0};
  if (lines > all.lines - from) lines = all.lines - from;
  return (kernels_ahead){all.at + from * (KERNELS_LINE / sizeof(float)), lines};
}

// right_item computes a block of the whole right operand.
static void right_item(void *argument, int64_t item) {
  const blocks *b = argument;
  int64_t block = item % b->block;
  b->c->weights->isa->transform(b->c, filters_at(b->c, item / b->block, block * KERNELS_BLOCK), block_length(b, block),
                                b->right + (size_t)item * right_floats(b->c));
}

// multiply_rows computes the outputs of rows from … on, up to rows, of a panel, with scratch
// memory for the products and a block of the right operand. Filters are transformed block by
// block, just before they are multiplied with, which takes less time than reading the right
// operand, up to four times as large, from memory. The next block is fetched meanwhile; after
// this panel's last one it is the first of panel then.
static void multiply_rows(const blocks *b, int64_t panel, int64_t from, int64_t rows, int64_t then, float *products,
                          float *scratch) {
  const kernels_convolution *c = b->c;
  const kernels_isa *isa = c->weights->isa;
  size_t stride = (size_t)b->count * KERNELS_BLOCK;
  const float *left = b->left + (size_t)from * KERNELS_BLOCK;
  if (c->tile == 0)
    isa->product(left, stride, rows, filters_at(c, panel, 0), c->inner, 0, products, (kernels_ahead){0});
  for (int64_t block = 0; c->tile != 0 && block < b->block; block++) {
    int64_t length = block_length(b, block);
    const float *right = scratch;
    kernels_ahead ahead = {0};
    if (b->right != NULL) {
      right = b->right + (size_t)(panel * b->block + block) * right_floats(c);
    } else {
      isa->transform(c, filters_at(c, panel, block * KERNELS_BLOCK), length, scratch);
      ahead = block + 1 < b->block ? filters_ahead(b, panel, block + 1) : filters_ahead(b, then, 0);
    }
    for (int p = 0; p < c->positions; p++, left += stride) {
      isa->product(left, stride, rows, right + (size_t)p * kernels_position(length, isa->panel), length, block > 0,
                   products + (size_t)p * (size_t)rows * (size_t)isa->panel, share(ahead, p, c->positions));
    }
  }
  isa->output(c, b->first + from, rows, panel, products);
}

// whole makes a number of rows whole runs of a depthwise convolution, if there is one.
static int64_t whole(const kernels_convolution *c, int64_t rows) {
  return c->stencil == NULL ? rows : divide_up(rows, KERNELS_RUN) * KERNELS_RUN;
}

static size_t products_bytes(const kernels_convolution *c, int64_t rows) {
  return (size_t)c->positions * (size_t)rows * (size_t)c->weights->isa->panel * sizeof(float);
}

static void product_item(void *argument, int64_t item) {
  blocks *b = argument;
  int64_t panel = item / b->parts, from = item % b->parts * b->part;
  int64_t rows = b->count - from < b->part ? b->count - from : b->part;
  size_t products = products_bytes(b->c, b->part);
  kernels_scratch *memory = kernels_take(products + (b->c->tile == 0 ? 0 : right_floats(b->c) * sizeof(float)));
  if (memory == NULL) {
    atomic_store(&b->failed, 1);
    return;
  }
  // This thread will most likely compute so many items further on next.
  int64_t then = (item + b->c->threads) / b->parts;
  if (then == panel) then = b->c->weights->panels;  // its filters are at hand
  multiply_rows(b, panel, from, rows, then, memory->floats, memory->floats + products / sizeof(float));
  kernels_give(memory);
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
  int64_t part = (int64_t)(PRODUCT_BYTES / products_bytes(c, 1));
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
  blocks b = {.c = all->c,
              .zeros = all->zeros,
              .block = all->block,
              .right = all->right,
              .first = all->first + item * all->part};
  const kernels_weights *w = b.c->weights;
  b.count = all->count - item * all->part;
  if (b.count > all->part) b.count = all->part;
  size_t products = products_bytes(b.c, all->part),
         row = (size_t)b.c->positions * (size_t)b.block * KERNELS_BLOCK * sizeof(float);
  kernels_scratch *memory = kernels_take(products + (size_t)all->part * row);
  if (memory == NULL) {
    atomic_store(&all->failed, 1);
    return;
  }
  b.left = memory->floats + products / sizeof(float);
  w->isa->input(b.c, b.first, 0, b.count, b.count, b.zeros, b.left);
  for (int64_t panel = 0; panel < w->panels; panel++)
    multiply_rows(&b, panel, 0, b.count, w->panels, memory->floats, NULL);
  kernels_give(memory);
}

// apart lets each thread compute everything of some rows.
static void apart(blocks *b, int64_t rows) {
  const kernels_convolution *c = b->c;
  int64_t parts = divide_up(rows, b->part);
  if (parts < 4 * c->threads) parts = 4 * c->threads;
  b->part = divide_up(rows, parts);
  if (b->part < c->weights->isa->rows) b->part = c->weights->isa->rows;
  b->part = whole(c, b->part);
  kernels_parallel(c->threads, divide_up(rows, b->part), rows_item, b);
}

// compute divides the work. A small right operand that many rows share is made beforehand.
static int compute(blocks *b, int64_t rows) {
  const kernels_convolution *c = b->c;
  const kernels_weights *w = c->weights;
  size_t row = (size_t)c->positions * (size_t)b->block * KERNELS_BLOCK * sizeof(float);
  int64_t most = (int64_t)(LEFT_BYTES / row);
  if (most < w->isa->rows) most = w->isa->rows;
  b->part = (int64_t)(ROWS_BYTES / (row + products_bytes(c, 1)));
  size_t right_bytes =
      c->tile == 0 ? w->bytes : (size_t)w->panels * (size_t)b->block * right_floats(c) * sizeof(float);
  int small = right_bytes <= RIGHT_BYTES,
      separate = small && b->part >= w->isa->rows && rows >= 2 * c->threads * w->isa->rows;
  kernels_scratch *right = NULL;
  if (c->tile != 0 && small && (separate || rows > (int64_t)(SHARED_BYTES / products_bytes(c, 1)))) {
    if ((right = kernels_take(right_bytes)) == NULL) return KERNELS_MEMORY;
    b->right = right->floats;
    kernels_parallel(c->threads, w->panels * b->block, right_item, b);
  }
  int result = KERNELS_OK;
  if (separate) {
    apart(b, rows);
  } else {
    result = together(b, rows, most, row);
  }
  kernels_give(right);
  return result;
}

int kernels_convolve(const kernels_convolution *asked) {
  kernels_convolution copy = *asked, *c = &copy;
  const kernels_weights *w = c->weights;
  if (c->first < 0 || c->sources < 1 || c->first > w->shape.sources || c->sources > w->shape.sources - c->first)
    return KERNELS_INVALID;
  if (c->batch < 0 || c->height < 0 || c->width < 0 || c->batch > KERNELS_DIMENSION ||
      c->height > KERNELS_DIMENSION || c->width > KERNELS_DIMENSION)
    return KERNELS_INVALID;
  if (c->tile != 0 && !kernels_has_tile(w->shape.kernel, c->tile)) return KERNELS_INVALID;
  if (c->stencil != NULL && (c->stencil_size < 1 || c->stencil_size > KERNELS_KERNEL || c->tile != 0 ||
                             w->shape.kernel != 1 || w->shape.sources != 1))
    return KERNELS_INVALID;
  int64_t tile = c->tile == 0 ? 1 : c->tile, rows;
  if (__builtin_mul_overflow(c->batch, divide_up(c->height, tile) * divide_up(c->width, tile), &rows))
    return KERNELS_INVALID;
  if (rows == 0) return KERNELS_OK;
  size_t zeros = 0;
  int64_t channels = 0;
  c->offset = 0;
  for (int i = 0; i < c->first + c->sources; i++) {
    int64_t padded = divide_up(w->shape.channels[i], KERNELS_GROUP) * KERNELS_GROUP;
    if (i < c->first) {
      c->offset += padded;
      continue;
    }
    channels += padded;
    if ((size_t)padded > zeros) zeros = (size_t)padded;
  }
  int across = c->tile + w->shape.kernel - 1;
  c->positions = c->tile == 0 ? 1 : across * across;
  c->inner = c->tile == 0 ? channels * w->shape.kernel * w->shape.kernel : channels;
  kernels_scratch *nothing = kernels_take(zeros * sizeof(float));
  if (nothing == NULL) return KERNELS_MEMORY;
  memset(nothing->floats, 0, zeros * sizeof(float));
  blocks b = {.c = c, .zeros = nothing->floats, .block = divide_up(c->inner, KERNELS_BLOCK), .count = rows};
  int result = compute(&b, rows);
  kernels_give(nothing);
  return atomic_load(&b.failed) ? KERNELS_MEMORY : result;
}
