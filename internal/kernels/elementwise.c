//go:build cgo && (linux || darwin)

// The operation TfconvrnnElementwise, a program of elementwise instructions (see
// kernels_evaluate) over maps:
//
//   inputs: count × float, each [batch, height, width, parts × channels] or, the same for
//     all items, [1, height, width, parts × channels] or without the 1, or, the same for all
//     pixels, [batch, 1, 1, parts × channels] or [parts × channels]
//   part, parts: for each input, which part of its channels is read
//   operation, to, a, b, number: for each instruction
//   threads: how many threads it may use
//   output: float [batch, height, width, channels]

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "tensorflow.h"

static const kernels_tensorflow *tf;
static const kernels_isa *isa;

typedef struct {
  kernels_evaluation e;
  int64_t part[KERNELS_OPERANDS], parts[KERNELS_OPERANDS];
} program;

// integers reads an attribute of exactly so many integers from least to most.
static void integers(TF_OpKernelConstruction *context, const char *name, int count, int64_t least, int64_t most,
                     int64_t *values, TF_Status *status) {
  int32_t size = 0, total = 0;
  if (tf->TF_GetCode(status) != TF_OK) return;
  tf->TF_OpKernelConstruction_GetAttrSize(context, name, &size, &total, status);
  if (tf->TF_GetCode(status) != TF_OK) return;
  if (size != count) {
    tf->TF_SetStatus(status, TF_INVALID_ARGUMENT, "TfconvrnnElementwise: lists of different lengths");
    return;
  }
  tf->TF_OpKernelConstruction_GetAttrInt64List(context, name, values, count, status);
  for (int i = 0; tf->TF_GetCode(status) == TF_OK && i < count; i++) {
    if (values[i] < least || values[i] > most)
      tf->TF_SetStatus(status, TF_INVALID_ARGUMENT, "TfconvrnnElementwise: a number is out of range");
  }
}

static void read_program(TF_OpKernelConstruction *context, program *p, TF_Status *status) {
  kernels_evaluation *e = &p->e;
  int64_t count = 0, threads = 0, lists[4][KERNELS_LONGEST];
  float numbers[KERNELS_LONGEST];
  int32_t length = 0, size = 0, total = 0;
  tf->TF_OpKernelConstruction_GetAttrInt64(context, "count", &count, status);
  if (tf->TF_GetCode(status) == TF_OK) tf->TF_OpKernelConstruction_GetAttrInt64(context, "threads", &threads, status);
  if (tf->TF_GetCode(status) == TF_OK)
    tf->TF_OpKernelConstruction_GetAttrSize(context, "operation", &length, &total, status);
  if (tf->TF_GetCode(status) == TF_OK)
    tf->TF_OpKernelConstruction_GetAttrSize(context, "number", &size, &total, status);
  if (tf->TF_GetCode(status) != TF_OK) return;
  if (count < 1 || count > KERNELS_OPERANDS || length < 1 || length > KERNELS_LONGEST || size != length ||
      threads < 1 || threads > 4096) {
    tf->TF_SetStatus(status, TF_INVALID_ARGUMENT,
                     "TfconvrnnElementwise: too few or too many inputs, instructions or threads");
    return;
  }
  e->operands = (int)count;
  e->instructions = length;
  e->threads = (int)threads;
  integers(context, "part", (int)count, 0, KERNELS_DIMENSION, p->part, status);
  integers(context, "parts", (int)count, 1, KERNELS_DIMENSION, p->parts, status);
  static const char *const names[] = {"operation", "to", "a", "b"};
  for (int i = 0; i < 4; i++) integers(context, names[i], length, 0, KERNELS_DIMENSION, lists[i], status);
  if (tf->TF_GetCode(status) == TF_OK)
    tf->TF_OpKernelConstruction_GetAttrFloatList(context, "number", numbers, length, status);
  if (tf->TF_GetCode(status) != TF_OK) return;
  for (int i = 0; i < length; i++) {
    e->program[i] =
        (kernels_instruction){(int)lists[0][i], (int)lists[1][i], (int)lists[2][i], (int)lists[3][i], numbers[i]};
  }
  for (int i = 0; i < count; i++) {
    if (p->part[i] >= p->parts[i])
      tf->TF_SetStatus(status, TF_INVALID_ARGUMENT, "TfconvrnnElementwise: there is no such part");
  }
  if (kernels_check(e) != KERNELS_OK)
    tf->TF_SetStatus(status, TF_INVALID_ARGUMENT, "TfconvrnnElementwise: a wrong instruction");
}

static void *create(TF_OpKernelConstruction *context) {
  TF_Status *status = tf->TF_NewStatus();
  program *p = calloc(1, sizeof(*p));
  if (p == NULL) {
    tf->TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "TfconvrnnElementwise: out of memory");
  } else {
    read_program(context, p, status);
  }
  if (tf->TF_GetCode(status) != TF_OK) {
    tf->TF_OpKernelConstruction_Failure(context, status);
    free(p);
    p = NULL;
  }
  tf->TF_DeleteStatus(status);
  return p;
}

// describe fills in what the tensors say, or says what is wrong with them.
static const char *describe(TF_Tensor *const *tensors, const program *p, kernels_evaluation *e, int64_t *dims) {
  int maps = 0;
  dims[0] = 1;
  for (int i = 0; i < e->operands; i++) {
    const TF_Tensor *x = tensors[i];
    int rank = tf->TF_NumDims(x);
    if (tf->TF_TensorType(x) != TF_FLOAT) return "inputs must be float";
    if (rank != 1 && rank != 3 && rank != 4) return "inputs must have one, three or four dimensions";
    int64_t depth = tf->TF_Dim(x, rank - 1), channels = depth / p->parts[i];
    if (depth % p->parts[i] != 0) return "the channels cannot be divided";
    if (depth > KERNELS_DIMENSION) return "there are too many channels";
    if (i == 0) dims[3] = channels;
    if (channels != dims[3]) return "inputs must have the same channels";
    if (rank == 1) continue;
    int64_t batch = rank == 4 ? tf->TF_Dim(x, 0) : 1;
    int64_t height = tf->TF_Dim(x, rank - 3), width = tf->TF_Dim(x, rank - 2);
    if (maps++ == 0 || (dims[1] == 1 && dims[2] == 1)) {
      dims[1] = height;
      dims[2] = width;
    }
    if ((height != 1 || width != 1) && (height != dims[1] || width != dims[2]))
      return "inputs must have the same height and width, or 1";
    if (batch != 1) {
      if (dims[0] != 1 && dims[0] != batch) return "inputs must have the same batch, or 1";
      dims[0] = batch;
    }
  }
  if (maps == 0) return "one input must be a map";
  for (int k = 0; k < 3; k++) {
    if (dims[k] > KERNELS_DIMENSION) return "a dimension is too large";
  }
  e->batch = dims[0];
  e->pixels = dims[1] * dims[2];
  e->channels = dims[3];
  for (int i = 0; i < e->operands; i++) {
    int rank = tf->TF_NumDims(tensors[i]), items = rank == 4 && tf->TF_Dim(tensors[i], 0) != 1;
    int64_t depth = e->channels * p->parts[i],
            pixels = rank == 1 ? 1 : tf->TF_Dim(tensors[i], rank - 3) * tf->TF_Dim(tensors[i], rank - 2);
    e->operand[i].values = tf->TF_TensorData(tensors[i]);
    if (e->channels > 0 && e->pixels > 0 && e->batch > 0) e->operand[i].values += p->part[i] * e->channels;
    e->operand[i].pixel = pixels != 1 ? depth : 0;
    e->operand[i].item = items ? pixels * depth : 0;
  }
  return NULL;
}

static void compute(void *kernel, TF_OpKernelContext *context) {
  const program *p = kernel;
  kernels_evaluation e = p->e;
  TF_Tensor *tensors[KERNELS_OPERANDS] = {0}, *y = NULL;
  TF_Status *status = tf->TF_NewStatus();
  int64_t dims[4];
  int code = TF_INVALID_ARGUMENT;
  const char *problem = tf->TF_NumInputs(context) == e.operands ? NULL : "wrong number of inputs";
  for (int i = 0; problem == NULL && i < e.operands; i++) {
    tf->TF_GetInput(context, i, &tensors[i], status);
    if (tf->TF_GetCode(status) != TF_OK) goto end;
  }
  if (problem == NULL) problem = describe(tensors, p, &e, dims);
  if (problem != NULL) goto end;
  size_t count;
  if (__builtin_mul_overflow((size_t)(e.batch * e.channels), (size_t)e.pixels, &count) ||
      count > PTRDIFF_MAX / sizeof(float)) {
    problem = "the output is too large";
    goto end;
  }
  y = tf->TF_AllocateOutput(context, 0, TF_FLOAT, dims, 4, count * sizeof(float), status);
  if (tf->TF_GetCode(status) != TF_OK || count == 0) goto end;
  e.y = tf->TF_TensorData(y);
  if (kernels_evaluate(isa, &e) != KERNELS_OK) {
    code = TF_RESOURCE_EXHAUSTED;
    problem = "out of memory";
  }
end:
  kernels_fail("TfconvrnnElementwise", code, problem, status);
  if (tf->TF_GetCode(status) != TF_OK) tf->TF_OpKernelContext_Failure(context, status);
  for (int i = 0; i < KERNELS_OPERANDS; i++) {
    if (tensors[i] != NULL) tf->TF_DeleteTensor(tensors[i]);
  }
  if (y != NULL) tf->TF_DeleteTensor(y);
  tf->TF_DeleteStatus(status);
}

void kernels_register_elementwise(const kernels_tensorflow *functions, const kernels_isa *instructions,
                                  TF_Status *status) {
  static const char *const attributes[] = {
      "count: int >= 1", "part: list(int)", "parts: list(int)",    "operation: list(int)", "to: list(int)",
      "a: list(int)",    "b: list(int)",    "number: list(float)", "threads: int >= 1",    NULL};
  static const char *const inputs[] = {"inputs: count * float", NULL};
  tf = functions;
  isa = instructions;
  kernels_register_operation("TfconvrnnElementwise", attributes, inputs, create, compute, free, status);
}
