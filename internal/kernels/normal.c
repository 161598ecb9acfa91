//go:build cgo && (linux || darwin)

// The operation TfconvrnnNormal, what a layer norm multiplies a map with, and adds to it:
//
//   input: float [batch, height, width, parts × channels], of which part is read
//   gamma, beta: float [channels]
//   epsilon: added to the variance
//   output: float [batch, 1, 1, 2 × channels]: gamma / sqrt(variance + epsilon), and beta less
//     the mean times that; mean and variance are those of an item

#include <math.h>
#include <stdlib.h>

#include "kernels.h"
#include "tensorflow.h"

static const kernels_tensorflow *tf;
static const kernels_isa *isa;

typedef struct {
  int64_t part, parts, threads;
  float epsilon;
} normal;

static void *create(TF_OpKernelConstruction *context) {
  TF_Status *status = tf->TF_NewStatus();
  normal n = {0}, *copy = NULL;
  tf->TF_OpKernelConstruction_GetAttrInt64(context, "part", &n.part, status);
  if (tf->TF_GetCode(status) == TF_OK) tf->TF_OpKernelConstruction_GetAttrInt64(context, "parts", &n.parts, status);
  if (tf->TF_GetCode(status) == TF_OK) tf->TF_OpKernelConstruction_GetAttrInt64(context, "threads", &n.threads, status);
  if (tf->TF_GetCode(status) == TF_OK) tf->TF_OpKernelConstruction_GetAttrFloat(context, "epsilon", &n.epsilon, status);
  if (tf->TF_GetCode(status) == TF_OK) {
    if (n.parts < 1 || n.parts > KERNELS_DIMENSION || n.part < 0 || n.part >= n.parts || n.threads < 1 ||
        n.threads > 4096) {
      tf->TF_SetStatus(status, TF_INVALID_ARGUMENT, "TfconvrnnNormal: wrong attributes");
    } else if ((copy = malloc(sizeof(*copy))) == NULL) {
      tf->TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "TfconvrnnNormal: out of memory");
    } else {
      *copy = n;
    }
  }
  if (tf->TF_GetCode(status) != TF_OK) tf->TF_OpKernelConstruction_Failure(context, status);
  tf->TF_DeleteStatus(status);
  return copy;
}

typedef struct {
  const float *x, *gamma, *beta;
  int64_t pixels, depth, channels;
  float epsilon, *y;
} items;

// item computes the factors of one item: always in the same order, whatever the threads.
static void item(void *argument, int64_t number) {
  const items *all = argument;
  double mean, variance;
  isa->moments(all->x + number * all->pixels * all->depth, all->pixels, all->depth, all->channels, &mean, &variance);
  double scale = 1 / sqrt(variance + (double)all->epsilon);
  float *y = all->y + 2 * number * all->channels;
  for (int64_t c = 0; c < all->channels; c++) {
    double factor = (double)all->gamma[c] * scale;
    y[c] = (float)factor;
    y[all->channels + c] = (float)((double)all->beta[c] - mean * factor);
  }
}

// describe fills in what the tensors say, or says what is wrong with them.
static const char *describe(TF_Tensor *const *tensors, const normal *n, items *all, int64_t *dims) {
  for (int i = 0; i < 3; i++) {
    if (tf->TF_TensorType(tensors[i]) != TF_FLOAT) return "inputs must be float";
    if (tf->TF_NumDims(tensors[i]) != (i == 0 ? 4 : 1)) return "inputs must be a map and two vectors";
  }
  for (int i = 0; i < 4; i++) {
    if (tf->TF_Dim(tensors[0], i) > KERNELS_DIMENSION) return "a dimension is too large";
  }
  all->pixels = tf->TF_Dim(tensors[0], 1) * tf->TF_Dim(tensors[0], 2);
  all->depth = tf->TF_Dim(tensors[0], 3);
  all->channels = all->depth / n->parts;
  if (all->depth % n->parts != 0) return "the channels cannot be divided";
  if (all->pixels == 0 || all->channels == 0) return "the map is empty";
  if (tf->TF_Dim(tensors[1], 0) != all->channels || tf->TF_Dim(tensors[2], 0) != all->channels)
    return "gamma and beta must have the map's channels";
  all->x = (const float *)tf->TF_TensorData(tensors[0]) + n->part * all->channels;
  all->gamma = tf->TF_TensorData(tensors[1]);
  all->beta = tf->TF_TensorData(tensors[2]);
  all->epsilon = n->epsilon;
  dims[0] = tf->TF_Dim(tensors[0], 0);
  dims[1] = dims[2] = 1;
  dims[3] = 2 * all->channels;
  return NULL;
}

static void compute(void *kernel, TF_OpKernelContext *context) {
  const normal *n = kernel;
  TF_Tensor *tensors[3] = {0}, *y = NULL;
  TF_Status *status = tf->TF_NewStatus();
  items all;
  int64_t dims[4];
  for (int i = 0; i < 3 && tf->TF_GetCode(status) == TF_OK; i++) tf->TF_GetInput(context, i, &tensors[i], status);
  if (tf->TF_GetCode(status) == TF_OK) {
    const char *problem = describe(tensors, n, &all, dims);
    kernels_fail("TfconvrnnNormal", TF_INVALID_ARGUMENT, problem, status);
  }
  if (tf->TF_GetCode(status) == TF_OK)
    y = tf->TF_AllocateOutput(context, 0, TF_FLOAT, dims, 4, (size_t)(dims[0] * dims[3]) * sizeof(float), status);
  if (tf->TF_GetCode(status) == TF_OK) {
    all.y = tf->TF_TensorData(y);
    kernels_parallel((int)n->threads, dims[0], item, &all);
  } else {
    tf->TF_OpKernelContext_Failure(context, status);
  }
  for (int i = 0; i < 3; i++) {
    if (tensors[i] != NULL) tf->TF_DeleteTensor(tensors[i]);
  }
  if (y != NULL) tf->TF_DeleteTensor(y);
  tf->TF_DeleteStatus(status);
}

void kernels_register_normal(const kernels_tensorflow *functions, const kernels_isa *instructions, TF_Status *status) {
  static const char *const attributes[] = {"part: int >= 0 = 0", "parts: int >= 1 = 1", "epsilon: float",
                                           "threads: int >= 1", NULL};
  static const char *const inputs[] = {"input: float", "gamma: float", "beta: float", NULL};
  tf = functions;
  isa = instructions;
  kernels_register_operation("TfconvrnnNormal", attributes, inputs, create, compute, free, status);
}
