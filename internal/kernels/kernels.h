// Convolutions of stride 1 under SAME padding, over float32 maps [batch, height,
// width, channels], with weights that are packed once: by Winograd's F(m×m, r×r), or
// as a matrix product over patches. Nothing here knows TensorFlow.
//
// Every sum is added in an order that depends on the weights' form alone. So the
// number of threads, the batch and the blocks do not change a bit.
#ifndef KERNELS_H
#define KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum {
  KERNELS_SOURCES = 4,      // at most so many inputs are joined by channels
  KERNELS_KERNEL = 7,       // the largest kernel
  KERNELS_DIMENSION = 1 << 20,  // the largest dimension of a tensor
  KERNELS_BLOCK = 64,       // inner dimension of a block of the left operand
  KERNELS_GROUP = 16,       // channels that lie together in packed weights; sources are padded to so many
  KERNELS_LINE = 64,        // bytes of a line of the cache
  // Pixels of a row that a depthwise convolution computes at once: what divides the zoo's maps.
  KERNELS_RUN = 7,
};

// What functions return; 0 is success.
enum { KERNELS_OK = 0, KERNELS_INVALID = 1, KERNELS_MEMORY = 2, KERNELS_DATA = 3 };

// kernels_shape is what does not depend on the size of the maps.
typedef struct {
  int kernel;  // height and width of the kernel
  int sources;
  int64_t channels[KERNELS_SOURCES];  // of each source
  int64_t depth;                      // channels put out
} kernels_shape;

// kernels_weights are packed filters, for all forms. values is
// [panels][groups of 16 channels][kernel, kernel][16][panel columns], padded with zeros; the
// channels are those of all sources, each padded to whole groups.
typedef struct {
  const struct kernels_isa *isa;
  kernels_shape shape;
  int64_t channels;  // padded, of all sources
  int64_t panels;
  size_t bytes;  // of values
  float *values;
} kernels_weights;

typedef struct {
  const kernels_weights *weights;
  int tile;  // m of F(m×m, r×r) for kernels of r×r; 0 is the product over patches
  int64_t batch, height, width;
  // Of the weights' sources, sources from first on are there; the others are left out, as if
  // they were zero.
  int first, sources;
  const float *x[KERNELS_SOURCES];
  // stencil, if it is not NULL, is [stencil_size, stencil_size, channels]: a depthwise
  // convolution of the only source before the kernel, which is then of 1×1.
  const float *stencil;
  int stencil_size;
  float *y;
  int threads;
  // What kernels_convolve sets: products, (m+r-1)² or 1; padded channels of the sources
  // before these; length of the sums of a product.
  int positions;
  int64_t offset, inner;
} kernels_convolution;

// The instructions of kernels_evaluate.
enum {
  KERNELS_ADD, KERNELS_SUBTRACT, KERNELS_MULTIPLY,  // of two operands
  KERNELS_ADD_NUMBER, KERNELS_MULTIPLY_NUMBER, KERNELS_FROM_NUMBER,  // x + n, x·n, n - x
  KERNELS_SIGMOID, KERNELS_TANH, KERNELS_ELU, KERNELS_RELU,
  KERNELS_INSTRUCTIONS
};

enum {
  KERNELS_REGISTERS = 16,
  KERNELS_OPERANDS = 16,  // at most so many are read
  KERNELS_LONGEST = 64    // instructions of a program
};

// kernels_instruction computes register to from a and b: registers, or KERNELS_REGISTERS + i
// for operand i. The last instruction of a program writes the output instead.
typedef struct {
  int operation, to, a, b;
  float number;
} kernels_instruction;

// kernels_operand is a tensor, or a part of its channels, that is read: the distances, in
// floats, between pixels and between items; 0 repeats.
typedef struct {
  const float *values;
  int64_t pixel, item;
} kernels_operand;

typedef struct {
  int instructions, operands;
  kernels_instruction program[KERNELS_LONGEST];
  kernels_operand operand[KERNELS_OPERANDS];
  int64_t batch, pixels, channels;  // of y
  float *y;
  int threads;
} kernels_evaluation;

// kernels_position returns how many floats one position of a right operand of Winograd's products
// takes. A line between them keeps positions out of the same few places of the cache.
static inline size_t kernels_position(int64_t channels, int panel) {
  return (size_t)channels * (size_t)panel + KERNELS_LINE / sizeof(float);
}

// kernels_ahead is memory that is read soon, in lines of the cache.
typedef struct {
  const float *at;
  size_t lines;
} kernels_ahead;

// kernels_isa is the code for one set of vector instructions.
typedef struct kernels_isa {
  const char *name;
  int panel;  // columns of a panel
  int rows;   // most rows of a block in registers
  // pack fills panel p of w from filters [kernel, kernel, channels, depth].
  void (*pack)(const kernels_weights *w, const float *const *filters, int64_t p);
  // input writes rows from … to-1 of the left operand, of which the block holds
  // count and the first is that of tile or pixel first. zeros has as many zeros as
  // the source with the most channels needs.
  void (*input)(const kernels_convolution *c, int64_t first, int64_t from, int64_t to, int64_t count,
                const float *zeros, float *left);
  // transform writes packed filters of some channels, whole groups, as the right operand of
  // Winograd's products: [positions][channels][panel], positions kernels_position floats apart.
  void (*transform)(const kernels_convolution *c, const float *filters, int64_t channels, float *right);
  // product multiplies rows rows of a left operand, whose blocks are stride floats apart,
  // with a right one, into out [rows][panel]; it adds to what is there if add is not 0. What is
  // ahead, and the left operand's block after the last, are fetched into the cache meanwhile.
  void (*product)(const float *left, size_t stride, int64_t rows, const float *right, int64_t inner, int add,
                  float *out, kernels_ahead ahead);
  // output turns products [positions][rows][panel] into outputs of panel p.
  void (*output)(const kernels_convolution *c, int64_t first, int64_t rows, int64_t p, const float *products);
  // moments computes mean and variance of the first channels of pixels that are stride
  // floats apart.
  void (*moments)(const float *x, int64_t pixels, int64_t stride, int64_t channels, double *mean, double *variance);
  // evaluate computes pixels from … to-1 of an item. A register has room for room floats.
  void (*evaluate)(const kernels_evaluation *e, int64_t item, int64_t from, int64_t to, float *registers, int64_t room);
} kernels_isa;

// The instructions there is code for on this kind of processor, best first, ending
// with NULL, and whether this processor has them.
extern const kernels_isa *const kernels_isas[];
int kernels_isa_runs(const kernels_isa *isa);

// kernels_pack packs filters, one [kernel, kernel, channels, depth] for each source. The caller frees the result.
int kernels_pack(const kernels_isa *isa, const kernels_shape *shape, const float *const *filters, int threads,
                 kernels_weights **packed);
void kernels_free(kernels_weights *w);

// kernels_has_tile says whether there is code for F(tile×tile, kernel×kernel).
int kernels_has_tile(int kernel, int tile);

// kernels_form returns the tile with which a convolution is fastest, 0 for the product.
int kernels_form(const kernels_shape *shape, int64_t batch, int64_t height, int64_t width);

// kernels_convolve computes c->y [batch, height, width, depth]. Any number of threads may
// call it at once.
int kernels_convolve(const kernels_convolution *c);

// kernels_check says whether a program's instructions are within bounds, and write no
// register that the kernel does not have.
int kernels_check(const kernels_evaluation *e);

// kernels_evaluate computes e->y [batch, pixels, channels] by a program, one instruction
// after the other on as much as stays in the nearest cache.
int kernels_evaluate(const kernels_isa *isa, const kernels_evaluation *e);

// kernels_parallel calls body for every item from 0 to items-1, on up to threads threads:
// the caller's, and helpers that are free. Calls from several threads run at once.
void kernels_parallel(int threads, int64_t items, void (*body)(void *argument, int64_t item), void *argument);

// kernels_read reads a source of the filters with a key, count values, and says what is wrong
// with them in problem. It is written in Go.
extern int kernels_read(char *key, int source, float *to, int64_t count, char *problem, int size);

// kernels_allocate returns memory for so many bytes, which free frees, aligned to 64, or NULL. From 2 MiB on it
// lies on pages of that size, which fewer entries of the processor's table of pages cover.
void *kernels_allocate(size_t bytes);

// kernels_take returns memory for at least so many bytes, aligned to 64, or NULL; what
// kernels_give gives back is kept for the next until kernels_trim.
typedef struct kernels_scratch {
  struct kernels_scratch *next;
  size_t bytes;
  float *floats;
} kernels_scratch;
kernels_scratch *kernels_take(size_t bytes);
void kernels_give(kernels_scratch *s);
void kernels_trim(void);

#endif
