//go:build cgo && (linux || darwin)

// The operation TfconvrnnConvolution:
//
//   inputs: sources × float [batch, height, width, channels], joined by channels
//   filters: sources × float [kernel, kernel, channels, depth], which never change
//   stencil: nothing, or float [size, size, channels, 1]: a depthwise convolution before, for
//     one input and a kernel of 1×1
//   key: names the filters; operations with the same key share packed weights
//   threads: how many threads it may use
//   output: float [batch, height, width, depth]

#include "tensorflow.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

static kernels_tensorflow tf;
static const kernels_isa *isa;

const char *const kernels_functions[] = {
#define NAME(result, name, parameters) #name,
    KERNELS_TENSORFLOW(NAME)
#undef NAME
        NULL};

enum { FORMS = 5 };

// filters are the packed weights that operations share: those of a form are there once
// it was used.
typedef struct filters {
  struct filters *next;
  char *key;
  int users;
  pthread_mutex_t packing;
  kernels_weights *forms[FORMS];  // by tile
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
  for (int i = 0; i < FORMS; i++) kernels_free(f->forms[i]);
  pthread_mutex_destroy(&f->packing);
  free(f->key);
  free(f);
  if (none) kernels_trim();
}

typedef struct {
  filters *filters;
  int sources, stencils, threads;
} convolution;

enum { TENSORS = 2 * KERNELS_SOURCES + 1 };

static void *create(TF_OpKernelConstruction *context) {
  TF_Status *status = tf.TF_NewStatus();
  int64_t sources = 0, stencils = 0, threads = 0;
  int32_t list = 0, length = 0;
  convolution *c = NULL;
  char *key = NULL;
  tf.TF_OpKernelConstruction_GetAttrInt64(context, "sources", &sources, status);
  if (tf.TF_GetCode(status) == TF_OK) tf.TF_OpKernelConstruction_GetAttrInt64(context, "stencils", &stencils, status);
  if (tf.TF_GetCode(status) == TF_OK) tf.TF_OpKernelConstruction_GetAttrInt64(context, "threads", &threads, status);
  if (tf.TF_GetCode(status) == TF_OK) tf.TF_OpKernelConstruction_GetAttrSize(context, "key", &list, &length, status);
  if (tf.TF_GetCode(status) != TF_OK) goto end;
  if (sources < 1 || sources > KERNELS_SOURCES || stencils < 0 || stencils > 1 || (stencils == 1 && sources > 1) || threads < 1 || threads > 4096 || length < 1 || length > 4096) {
    tf.TF_SetStatus(status, TF_INVALID_ARGUMENT, "TfconvrnnConvolution: wrong attributes");
    goto end;
  }
  key = calloc(1, (size_t)length + 1);
  c = calloc(1, sizeof(*c));
  if (key != NULL && c != NULL) {
    tf.TF_OpKernelConstruction_GetAttrString(context, "key", key, (size_t)length, status);
    if (tf.TF_GetCode(status) != TF_OK) goto end;
    c->sources = (int)sources;
    c->stencils = (int)stencils;
    c->threads = (int)threads;
    c->filters = acquire(key);
  }
  if (c == NULL || c->filters == NULL) tf.TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "TfconvrnnConvolution: out of memory");
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
static const char *check(TF_Tensor *const *tensors, int sources, kernels_shape *shape, kernels_convolution *c) {
  *shape = (kernels_shape){.sources = sources};
  for (int i = 0; i < sources; i++) {
    const TF_Tensor *x = tensors[i], *filter = tensors[sources + i];
    if (tf.TF_TensorType(x) != TF_FLOAT || tf.TF_TensorType(filter) != TF_FLOAT) return "inputs must be float";
    if (tf.TF_NumDims(x) != 4 || tf.TF_NumDims(filter) != 4) return "inputs must have four dimensions";
    if (i == 0) {
      c->batch = tf.TF_Dim(x, 0);
      c->height = tf.TF_Dim(x, 1);
      c->width = tf.TF_Dim(x, 2);
      int64_t kernel = tf.TF_Dim(filter, 0);
      if (kernel < 1 || kernel > KERNELS_KERNEL) return "the kernel is empty or too large";
      shape->kernel = (int)kernel;
      shape->depth = tf.TF_Dim(filter, 3);
    }
    if (tf.TF_Dim(x, 0) != c->batch || tf.TF_Dim(x, 1) != c->height || tf.TF_Dim(x, 2) != c->width) return "inputs must have the same batch, height and width";
    if (tf.TF_Dim(filter, 0) != shape->kernel || tf.TF_Dim(filter, 1) != shape->kernel || tf.TF_Dim(filter, 3) != shape->depth) return "filters must be square and of the same size and depth";
    shape->channels[i] = tf.TF_Dim(x, 3);
    if (tf.TF_Dim(filter, 2) != shape->channels[i]) return "a filter must have its input's channels";
    if (shape->channels[i] < 1 || shape->channels[i] > KERNELS_DIMENSION) return "there are no channels or too many";
    c->x[i] = tf.TF_TensorData(x);
  }
  if (shape->depth < 1 || shape->depth > KERNELS_DIMENSION) return "the depth is 0 or too large";
  if (c->batch > KERNELS_DIMENSION || c->height > KERNELS_DIMENSION || c->width > KERNELS_DIMENSION) return "a dimension is too large";
  return NULL;
}

// check_stencil does the same for the depthwise convolution.
static const char *check_stencil(const TF_Tensor *stencil, const kernels_shape *shape, kernels_convolution *c) {
  if (tf.TF_TensorType(stencil) != TF_FLOAT || tf.TF_NumDims(stencil) != 4) return "the stencil must be float, with four dimensions";
  int64_t size = tf.TF_Dim(stencil, 0);
  if (shape->kernel != 1 || size < 1 || size > KERNELS_KERNEL || tf.TF_Dim(stencil, 1) != size) return "the stencil must be square, and the kernel 1×1";
  if (tf.TF_Dim(stencil, 2) != shape->channels[0] || tf.TF_Dim(stencil, 3) != 1) return "the stencil must have the input's channels, one for each";
  c->stencil = tf.TF_TensorData(stencil);
  c->stencil_size = (int)size;
  return NULL;
}

// packed returns the weights in the form, and packs them if they are not yet.
static const char *packed(convolution *c, int form, const kernels_shape *shape, TF_Tensor *const *tensors, const kernels_weights **weights) {
  filters *f = c->filters;
  const char *problem = NULL;
  pthread_mutex_lock(&f->packing);
  if (f->forms[form] == NULL) {
    const float *values[KERNELS_SOURCES];
    for (int i = 0; i < shape->sources; i++) values[i] = tf.TF_TensorData(tensors[shape->sources + i]);
    if (kernels_pack(isa, shape, form, values, c->threads, &f->forms[form]) != KERNELS_OK) problem = "no memory for the packed weights";
  }
  *weights = f->forms[form];
  pthread_mutex_unlock(&f->packing);
  if (problem == NULL && memcmp(&(*weights)->shape, shape, sizeof(*shape)) != 0) problem = "other filters have the same key";
  return problem;
}

static void compute(void *kernel, TF_OpKernelContext *context) {
  convolution *c = kernel;
  TF_Tensor *tensors[TENSORS] = {0}, *y = NULL;
  TF_Status *status = tf.TF_NewStatus();
  kernels_shape shape;
  kernels_convolution k = {.threads = c->threads};
  const char *problem = tf.TF_NumInputs(context) == 2 * c->sources + c->stencils ? NULL : "wrong number of inputs";
  int code = TF_INVALID_ARGUMENT;
  for (int i = 0; problem == NULL && i < 2 * c->sources + c->stencils; i++) {
    tf.TF_GetInput(context, i, &tensors[i], status);
    if (tf.TF_GetCode(status) != TF_OK) goto end;
  }
  if (problem == NULL) problem = check(tensors, c->sources, &shape, &k);
  if (problem == NULL && c->stencils > 0) problem = check_stencil(tensors[2 * c->sources], &shape, &k);
  if (problem != NULL) goto end;
  size_t bytes;
  int64_t dims[] = {k.batch, k.height, k.width, shape.depth};
  if (__builtin_mul_overflow((size_t)(k.batch * k.height), (size_t)(k.width * shape.depth), &bytes) || bytes > PTRDIFF_MAX / sizeof(float)) {
    problem = "the output is too large";
    goto end;
  }
  y = tf.TF_AllocateOutput(context, 0, TF_FLOAT, dims, 4, bytes * sizeof(float), status);
  if (tf.TF_GetCode(status) != TF_OK || bytes == 0) goto end;
  k.y = tf.TF_TensorData(y);
  code = TF_FAILED_PRECONDITION;
  problem = packed(c, kernels_form(&shape, k.batch, k.height, k.width), &shape, tensors, &k.weights);
  if (problem != NULL) goto end;
  if (kernels_convolve(&k) != KERNELS_OK) {
    code = TF_RESOURCE_EXHAUSTED;
    problem = "out of memory";
  }
end:
  if (problem != NULL) {
    char text[256];
    snprintf(text, sizeof(text), "TfconvrnnConvolution: %s", problem);
    tf.TF_SetStatus(status, code, text);
  }
  if (tf.TF_GetCode(status) != TF_OK) tf.TF_OpKernelContext_Failure(context, status);
  for (int i = 0; i < TENSORS; i++) {
    if (tensors[i] != NULL) tf.TF_DeleteTensor(tensors[i]);
  }
  if (y != NULL) tf.TF_DeleteTensor(y);
  tf.TF_DeleteStatus(status);
}

// output_shape is [batch, height, width] of the first input and the last dimension of the first filter.
static void output_shape(TF_ShapeInferenceContext *context, TF_Status *status) {
  TF_ShapeHandle *x = tf.TF_NewShapeHandle(), *filter = tf.TF_NewShapeHandle(), *result = tf.TF_NewShapeHandle();
  int inputs = (int)tf.TF_ShapeInferenceContextNumInputs(context);
#define STEP(call)                                        \
  do {                                                    \
    call;                                                 \
    if (tf.TF_GetCode(status) != TF_OK) goto end;         \
  } while (0)
  STEP(tf.TF_ShapeInferenceContextGetInput(context, 0, x, status));
  STEP(tf.TF_ShapeInferenceContextGetInput(context, inputs / 2, filter, status));
  STEP(tf.TF_ShapeInferenceContextWithRank(context, x, 4, x, status));
  STEP(tf.TF_ShapeInferenceContextWithRank(context, filter, 4, filter, status));
  STEP(tf.TF_ShapeInferenceContextSubshape(context, x, 0, 3, x, status));
  STEP(tf.TF_ShapeInferenceContextSubshape(context, filter, 3, 4, filter, status));
  STEP(tf.TF_ShapeInferenceContextConcatenateShapes(context, x, filter, result, status));
  STEP(tf.TF_ShapeInferenceContextSetOutput(context, 0, result, status));
end:
  tf.TF_DeleteShapeHandle(x);
  tf.TF_DeleteShapeHandle(filter);
  tf.TF_DeleteShapeHandle(result);
}

static const char *register_convolution(TF_Status *status) {
  const char *name = "TfconvrnnConvolution";
  TF_OpDefinitionBuilder *op = tf.TF_NewOpDefinitionBuilder(name);
  tf.TF_OpDefinitionBuilderAddAttr(op, "sources: int >= 1");
  tf.TF_OpDefinitionBuilderAddAttr(op, "stencils: int >= 0 = 0");
  tf.TF_OpDefinitionBuilderAddAttr(op, "key: string");
  tf.TF_OpDefinitionBuilderAddAttr(op, "threads: int >= 1");
  tf.TF_OpDefinitionBuilderAddInput(op, "inputs: sources * float");
  tf.TF_OpDefinitionBuilderAddInput(op, "filters: sources * float");
  tf.TF_OpDefinitionBuilderAddInput(op, "stencil: stencils * float");
  tf.TF_OpDefinitionBuilderAddOutput(op, "output: float");
  tf.TF_OpDefinitionBuilderSetShapeInferenceFunction(op, output_shape);
  tf.TF_RegisterOpDefinition(op, status);
  return name;
}

void kernels_register(void *const *functions, int instructions, char *text, size_t size) {
  memcpy(&tf, functions, sizeof(tf));
  isa = kernels_isas[instructions];
  kernels_elementwise_init(&tf, isa);
  text[0] = 0;
  TF_Status *status = tf.TF_NewStatus();
  const char *name = register_convolution(status);
  if (tf.TF_GetCode(status) == TF_OK) {
    tf.TF_RegisterKernelBuilder(name, tf.TF_NewKernelBuilder(name, "CPU", create, compute, remove_convolution), status);
  }
  if (tf.TF_GetCode(status) == TF_OK) kernels_register_elementwise(status);
  if (tf.TF_GetCode(status) != TF_OK) snprintf(text, size, "%s", tf.TF_Message(status));
  tf.TF_DeleteStatus(status);
}
