//go:build cgo && (linux || darwin)

// The operation TfconvrnnConvolution:
//
//   inputs: sources × float [batch, height, width, channels], joined by channels
//   stencil: nothing, or float [size, size, channels, 1]: a depthwise convolution before, for
//     one input and a kernel of 1×1
//   key: names the filters [kernel, kernel, channels, depth], which kernels_read gives;
//     operations with the same key share packed weights
//   channels: of each filter; first: the filter of the first input, others follow
//   threads: how many threads it may use
//   output: float [batch, height, width, depth]
//
// and TfconvrnnFilter, the filter with a key in the given shape, read whenever it runs.

#include "tensorflow.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels.h"

static kernels_tensorflow tf;
static const kernels_isa *isa;

const char *const kernels_functions[] = {
#define NAME(result, name, parameters) #name,
    KERNELS_TENSORFLOW(NAME)
#undef NAME
        NULL};

// filters are the packed weights that operations share, which are there once they were used.
typedef struct filters {
  struct filters *next;
  char *key;
  int users;
  pthread_mutex_t packing;
  kernels_weights *packed;
} filters;

static struct {
  pthread_mutex_t lock;
  filters *first;
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

static filters *acquire(const char *key) {
  pthread_mutex_lock(&known.lock);
  filters *f = known.first;
  while (f != NULL && strcmp(f->key, key) != 0) f = f->next;
  if (f == NULL && (f = calloc(1, sizeof(*f))) != NULL) {
    if ((f->key = strdup(key)) == NULL) {
      free(f);
      f = NULL;
    } else {
      pthread_mutex_init(&f->packing, NULL);
      f->next = known.first;
      known.first = f;
    }
  }
  if (f != NULL) f->users++;
  pthread_mutex_unlock(&known.lock);
  return f;
}

static void release(filters *f) {
  pthread_mutex_lock(&known.lock);
  int last = --f->users == 0, none = 0;
  if (last) {
    filters **p = &known.first;
    while (*p != f) p = &(*p)->next;
    *p = f->next;
    none = known.first == NULL;
  }
  pthread_mutex_unlock(&known.lock);
  if (!last) return;
  kernels_free(f->packed);
  pthread_mutex_destroy(&f->packing);
  free(f->key);
  free(f);
  if (none) kernels_trim();
}

typedef struct {
  filters *filters;
  kernels_shape shape;
  int first, sources, stencils, threads;
} convolution;

enum { TENSORS = KERNELS_SOURCES + 1, LONGEST_KEY = 4096 };

static int64_t integer(TF_OpKernelConstruction *context, const char *name, TF_Status *status) {
  int64_t value = 0;
  if (tf.TF_GetCode(status) == TF_OK) tf.TF_OpKernelConstruction_GetAttrInt64(context, name, &value, status);
  return value;
}

// integer_list returns how many integers an attribute has, and reads them if they are at most so many.
static int integer_list(TF_OpKernelConstruction *context, const char *name, int most, int64_t *values,
                        TF_Status *status) {
  int32_t count = 0, total = 0;
  if (tf.TF_GetCode(status) == TF_OK) tf.TF_OpKernelConstruction_GetAttrSize(context, name, &count, &total, status);
  if (tf.TF_GetCode(status) == TF_OK && count > 0 && count <= most)
    tf.TF_OpKernelConstruction_GetAttrInt64List(context, name, values, count, status);
  return count;
}

// key_of returns the attribute key, or NULL and a status.
static char *key_of(TF_OpKernelConstruction *context, TF_Status *status) {
  int32_t list = 0, length = 0;
  if (tf.TF_GetCode(status) == TF_OK) tf.TF_OpKernelConstruction_GetAttrSize(context, "key", &list, &length, status);
  if (tf.TF_GetCode(status) != TF_OK) return NULL;
  if (length < 1 || length > LONGEST_KEY) {
    tf.TF_SetStatus(status, TF_INVALID_ARGUMENT, "the key is empty or too long");
    return NULL;
  }
  char *key = calloc(1, (size_t)length + 1);
  if (key == NULL) {
    tf.TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "out of memory");
    return NULL;
  }
  tf.TF_OpKernelConstruction_GetAttrString(context, "key", key, (size_t)length, status);
  return key;
}

static void *create(TF_OpKernelConstruction *context) {
  TF_Status *status = tf.TF_NewStatus();
  convolution *c = NULL;
  kernels_shape shape = {0};
  int64_t sources = integer(context, "sources", status), stencils = integer(context, "stencils", status),
          threads = integer(context, "threads", status);
  int64_t first = integer(context, "first", status), kernel = integer(context, "kernel", status);
  shape.depth = integer(context, "depth", status);
  shape.sources = integer_list(context, "channels", KERNELS_SOURCES, shape.channels, status);
  char *key = key_of(context, status);
  if (tf.TF_GetCode(status) != TF_OK) goto end;
  int wrong = kernel < 1 || kernel > KERNELS_KERNEL || shape.depth < 1 || shape.depth > KERNELS_DIMENSION ||
              shape.sources < 1 || shape.sources > KERNELS_SOURCES || first < 0 || first >= shape.sources ||
              sources < 1 || sources > shape.sources - first || threads < 1 || threads > 4096 || stencils < 0 ||
              stencils > 1 || (stencils == 1 && (shape.sources > 1 || kernel > 1));
  for (int i = 0; !wrong && i < shape.sources; i++)
    wrong = shape.channels[i] < 1 || shape.channels[i] > KERNELS_DIMENSION;
  if (wrong) {
    tf.TF_SetStatus(status, TF_INVALID_ARGUMENT, "TfconvrnnConvolution: wrong attributes");
    goto end;
  }
  shape.kernel = (int)kernel;
  c = calloc(1, sizeof(*c));
  if (c != NULL)
    *c = (convolution){.shape = shape,
                       .first = (int)first,
                       .sources = (int)sources,
                       .stencils = (int)stencils,
                       .threads = (int)threads,
                       .filters = acquire(key)};
  if (c == NULL || c->filters == NULL)
    tf.TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "TfconvrnnConvolution: out of memory");
end:
  free(key);
  if (tf.TF_GetCode(status) != TF_OK) {
    tf.TF_OpKernelConstruction_Failure(context, status);
    free(c);
    c = NULL;
  }
  tf.TF_DeleteStatus(status);
  return c;
}

static void remove_convolution(void *kernel) {
  convolution *c = kernel;
  if (c == NULL) return;
  release(c->filters);
  free(c);
}

// check fills in what the tensors say, or says what is wrong with them.
static const char *check(TF_Tensor *const *tensors, const convolution *op, kernels_convolution *c) {
  for (int i = 0; i < op->sources; i++) {
    const TF_Tensor *x = tensors[i];
    if (tf.TF_TensorType(x) != TF_FLOAT) return "inputs must be float";
    if (tf.TF_NumDims(x) != 4) return "inputs must have four dimensions";
    if (i == 0) {
      c->batch = tf.TF_Dim(x, 0);
      c->height = tf.TF_Dim(x, 1);
      c->width = tf.TF_Dim(x, 2);
    }
    if (tf.TF_Dim(x, 0) != c->batch || tf.TF_Dim(x, 1) != c->height || tf.TF_Dim(x, 2) != c->width)
      return "inputs must have the same batch, height and width";
    if (tf.TF_Dim(x, 3) != op->shape.channels[op->first + i]) return "an input must have its filter's channels";
    c->x[i] = tf.TF_TensorData(x);
  }
  if (c->batch > KERNELS_DIMENSION || c->height > KERNELS_DIMENSION || c->width > KERNELS_DIMENSION)
    return "a dimension is too large";
  return NULL;
}

// check_stencil does the same for the depthwise convolution.
static const char *check_stencil(const TF_Tensor *stencil, const convolution *op, kernels_convolution *c) {
  if (tf.TF_TensorType(stencil) != TF_FLOAT || tf.TF_NumDims(stencil) != 4)
    return "the stencil must be float, with four dimensions";
  int64_t size = tf.TF_Dim(stencil, 0);
  if (size < 1 || size > KERNELS_KERNEL || tf.TF_Dim(stencil, 1) != size)
    return "the stencil must be square and not too large";
  if (tf.TF_Dim(stencil, 2) != op->shape.channels[0] || tf.TF_Dim(stencil, 3) != 1)
    return "the stencil must have the input's channels, one for each";
  c->stencil = tf.TF_TensorData(stencil);
  c->stencil_size = (int)size;
  return NULL;
}

// read_filter reads the filter of a key's source, or says what is wrong.
static int read_filter(const char *key, int source, float *to, size_t count, char *problem, size_t size) {
  problem[0] = 0;
  // Go lets its signals through to a thread that calls it, for as long as that lives. They
  // are not for TensorFlow's threads.
  sigset_t before;
  pthread_sigmask(SIG_SETMASK, NULL, &before);
  int result = kernels_read((char *)key, source, to, (int64_t)count, problem, (int)size);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return result;
}

// pack reads the filters and packs them. What is read lies on pages of its own:
// freed by malloc, as much would stay in the process, or make it keep more of what others free.
static int pack(const convolution *c, kernels_weights **packed, char *problem, size_t size) {
  const kernels_shape *shape = &c->shape;
  size_t counts[KERNELS_SOURCES], total = 0;
  for (int i = 0; i < shape->sources; i++) {
    size_t plane = (size_t)(shape->kernel * shape->kernel) * (size_t)shape->channels[i];
    if (__builtin_mul_overflow(plane, (size_t)shape->depth, &counts[i]) ||
        __builtin_add_overflow(total, counts[i], &total))
      return KERNELS_MEMORY;
  }
  if (total > PTRDIFF_MAX / sizeof(float)) return KERNELS_MEMORY;
  float *memory = mmap(NULL, total * sizeof(float), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return KERNELS_MEMORY;
  const float *values[KERNELS_SOURCES];
  int result = KERNELS_OK;
  float *to = memory;
  for (int i = 0; result == KERNELS_OK && i < shape->sources; to += counts[i++]) {
    values[i] = to;
    result = read_filter(c->filters->key, i, to, counts[i], problem, size);
  }
  if (result == KERNELS_OK) result = kernels_pack(isa, shape, values, c->threads, packed);
  munmap(memory, total * sizeof(float));
  return result;
}

// packed returns the weights, and packs them if they are not yet.
static int packed(convolution *c, const kernels_weights **weights, char *problem, size_t size) {
  filters *f = c->filters;
  int result = KERNELS_OK;
  pthread_mutex_lock(&f->packing);
  if (f->packed == NULL) result = pack(c, &f->packed, problem, size);
  *weights = f->packed;
  pthread_mutex_unlock(&f->packing);
  if (result == KERNELS_OK && memcmp(&(*weights)->shape, &c->shape, sizeof(c->shape)) != 0) {
    snprintf(problem, size, "other filters have the same key");
    result = KERNELS_INVALID;
  }
  return result;
}

// output_bytes returns the size of an output, or 0 if it is too large; empty ones have none.
static int output_bytes(const int64_t *dims, int rank, size_t *bytes) {
  size_t count = 1;
  for (int i = 0; i < rank; i++) {
    if (dims[i] < 0 || __builtin_mul_overflow(count, (size_t)dims[i], &count)) return 0;
  }
  if (count > PTRDIFF_MAX / sizeof(float)) return 0;
  *bytes = count * sizeof(float);
  return 1;
}

enum { PROBLEM = 512 };

void kernels_fail(const char *name, int code, const char *problem, TF_Status *status) {
  if (problem == NULL || problem[0] == 0) return;
  char text[PROBLEM + 64];
  snprintf(text, sizeof(text), "%s: %s", name, problem);
  tf.TF_SetStatus(status, code, text);
}

static void compute(void *kernel, TF_OpKernelContext *context) {
  convolution *c = kernel;
  TF_Tensor *tensors[TENSORS] = {0}, *y = NULL;
  TF_Status *status = tf.TF_NewStatus();
  kernels_convolution k = {.threads = c->threads, .first = c->first, .sources = c->sources};
  char text[PROBLEM] = "";
  const char *problem = tf.TF_NumInputs(context) == c->sources + c->stencils ? NULL : "wrong number of inputs";
  int code = TF_INVALID_ARGUMENT;
  for (int i = 0; problem == NULL && i < c->sources + c->stencils; i++) {
    tf.TF_GetInput(context, i, &tensors[i], status);
    if (tf.TF_GetCode(status) != TF_OK) goto end;
  }
  if (problem == NULL) problem = check(tensors, c, &k);
  if (problem == NULL && c->stencils > 0) problem = check_stencil(tensors[c->sources], c, &k);
  size_t bytes = 0;
  int64_t dims[] = {k.batch, k.height, k.width, c->shape.depth};
  if (problem == NULL && !output_bytes(dims, 4, &bytes)) problem = "the output is too large";
  if (problem != NULL) goto end;
  y = tf.TF_AllocateOutput(context, 0, TF_FLOAT, dims, 4, bytes, status);
  if (tf.TF_GetCode(status) != TF_OK || bytes == 0) goto end;
  k.y = tf.TF_TensorData(y);
  k.tile = kernels_form(&c->shape, k.batch, k.height, k.width);
  int result = packed(c, &k.weights, text, sizeof(text));
  code = result == KERNELS_MEMORY ? TF_RESOURCE_EXHAUSTED
         : result == KERNELS_DATA ? TF_DATA_LOSS
                                  : TF_FAILED_PRECONDITION;
  if (result == KERNELS_MEMORY) problem = "no memory for the packed weights";
  if (result != KERNELS_OK) goto end;
  if (kernels_convolve(&k) != KERNELS_OK) {
    code = TF_RESOURCE_EXHAUSTED;
    problem = "out of memory";
  }
end:
  kernels_fail("TfconvrnnConvolution", code, problem != NULL ? problem : text, status);
  if (tf.TF_GetCode(status) != TF_OK) tf.TF_OpKernelContext_Failure(context, status);
  for (int i = 0; i < TENSORS; i++) {
    if (tensors[i] != NULL) tf.TF_DeleteTensor(tensors[i]);
  }
  if (y != NULL) tf.TF_DeleteTensor(y);
  tf.TF_DeleteStatus(status);
}

enum { MOST_DIMENSIONS = 8 };

typedef struct {
  char *key;
  int64_t dims[MOST_DIMENSIONS];
  int rank;
  size_t bytes;
} weights;

static void remove_weights(void *kernel) {
  weights *w = kernel;
  if (w == NULL) return;
  free(w->key);
  free(w);
}

static void *create_weights(TF_OpKernelConstruction *context) {
  TF_Status *status = tf.TF_NewStatus();
  weights *w = calloc(1, sizeof(*w));
  if (w == NULL) {
    tf.TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "TfconvrnnFilter: out of memory");
  } else {
    w->rank = integer_list(context, "shape", MOST_DIMENSIONS, w->dims, status);
    w->key = key_of(context, status);
    if (tf.TF_GetCode(status) == TF_OK && (w->rank > MOST_DIMENSIONS || !output_bytes(w->dims, w->rank, &w->bytes))) {
      tf.TF_SetStatus(status, TF_INVALID_ARGUMENT, "TfconvrnnFilter: wrong attributes");
    }
  }
  if (tf.TF_GetCode(status) != TF_OK) {
    tf.TF_OpKernelConstruction_Failure(context, status);
    remove_weights(w);
    w = NULL;
  }
  tf.TF_DeleteStatus(status);
  return w;
}

static void compute_weights(void *kernel, TF_OpKernelContext *context) {
  const weights *w = kernel;
  TF_Status *status = tf.TF_NewStatus();
  TF_Tensor *y = tf.TF_AllocateOutput(context, 0, TF_FLOAT, w->dims, w->rank, w->bytes, status);
  if (tf.TF_GetCode(status) == TF_OK && w->bytes > 0) {
    char text[PROBLEM];
    int result = read_filter(w->key, 0, tf.TF_TensorData(y), w->bytes / sizeof(float), text, sizeof(text));
    kernels_fail("TfconvrnnFilter", result == KERNELS_DATA ? TF_DATA_LOSS : TF_FAILED_PRECONDITION, text, status);
  }
  if (tf.TF_GetCode(status) != TF_OK) tf.TF_OpKernelContext_Failure(context, status);
  if (y != NULL) tf.TF_DeleteTensor(y);
  tf.TF_DeleteStatus(status);
}

static void unknown_shape(TF_ShapeInferenceContext *context, TF_Status *status) {
  tf.TF_ShapeInferenceContextSetUnknownShape(context, status);
}

void kernels_register_operation(const char *name, const char *const *attributes, const char *const *inputs,
                                void *(*create)(TF_OpKernelConstruction *),
                                void (*compute)(void *, TF_OpKernelContext *), void (*remove)(void *),
                                TF_Status *status) {
  if (tf.TF_GetCode(status) != TF_OK) return;
  TF_OpDefinitionBuilder *op = tf.TF_NewOpDefinitionBuilder(name);
  for (; *attributes != NULL; attributes++) tf.TF_OpDefinitionBuilderAddAttr(op, *attributes);
  for (; *inputs != NULL; inputs++) tf.TF_OpDefinitionBuilderAddInput(op, *inputs);
  tf.TF_OpDefinitionBuilderAddOutput(op, "output: float");
  tf.TF_OpDefinitionBuilderSetShapeInferenceFunction(op, unknown_shape);
  tf.TF_RegisterOpDefinition(op, status);
  if (tf.TF_GetCode(status) != TF_OK) return;
  tf.TF_RegisterKernelBuilder(name, tf.TF_NewKernelBuilder(name, "CPU", create, compute, remove), status);
}

static const char *const convolution_attributes[] = {
    "sources: int >= 1",   "stencils: int >= 0 = 0", "key: string",       "first: int >= 0 = 0",  "kernel: int >= 1",
    "channels: list(int)", "depth: int >= 1",        "threads: int >= 1", NULL};
static const char *const convolution_inputs[] = {"inputs: sources * float", "stencil: stencils * float", NULL};
static const char *const weights_attributes[] = {"key: string", "shape: list(int)", NULL};
static const char *const no_inputs[] = {NULL};

void kernels_register(void *const *functions, int instructions, char *text, size_t size) {
  memcpy(&tf, functions, sizeof(tf));
  isa = kernels_isas[instructions];
  text[0] = 0;
  TF_Status *status = tf.TF_NewStatus();
  kernels_register_operation("TfconvrnnConvolution", convolution_attributes, convolution_inputs, create, compute,
                             remove_convolution, status);
  kernels_register_operation("TfconvrnnFilter", weights_attributes, no_inputs, create_weights, compute_weights,
                             remove_weights, status);
  kernels_register_elementwise(&tf, isa, status);
  kernels_register_normal(&tf, isa, status);
  if (tf.TF_GetCode(status) != TF_OK) snprintf(text, size, "%s", tf.TF_Message(status));
  tf.TF_DeleteStatus(status);
}
