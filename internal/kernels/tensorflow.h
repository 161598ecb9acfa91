// TensorFlow's C API for operations and kernels (tensorflow/c/ops.h and kernels.h),
// declared by hand. The functions are found in the library that the process has loaded.
#ifndef KERNELS_TENSORFLOW_H
#define KERNELS_TENSORFLOW_H

#include <stddef.h>
#include <stdint.h>

typedef struct TF_Status TF_Status;
typedef struct TF_Tensor TF_Tensor;
typedef struct TF_OpDefinitionBuilder TF_OpDefinitionBuilder;
typedef struct TF_ShapeInferenceContext TF_ShapeInferenceContext;
typedef struct TF_KernelBuilder TF_KernelBuilder;
typedef struct TF_OpKernelConstruction TF_OpKernelConstruction;
typedef struct TF_OpKernelContext TF_OpKernelContext;

enum { TF_FLOAT = 1 };
enum { TF_OK = 0, TF_INVALID_ARGUMENT = 3, TF_RESOURCE_EXHAUSTED = 8, TF_FAILED_PRECONDITION = 9, TF_DATA_LOSS = 15 };

// X(result, name, parameters)
#define KERNELS_TENSORFLOW(X)                                                                                      \
  X(TF_Status *, TF_NewStatus, (void))                                                                             \
  X(void, TF_DeleteStatus, (TF_Status *))                                                                          \
  X(void, TF_SetStatus, (TF_Status *, int code, const char *message))                                              \
  X(int, TF_GetCode, (const TF_Status *))                                                                          \
  X(const char *, TF_Message, (const TF_Status *))                                                                 \
  X(void, TF_DeleteTensor, (TF_Tensor *))                                                                          \
  X(int, TF_NumDims, (const TF_Tensor *))                                                                          \
  X(int64_t, TF_Dim, (const TF_Tensor *, int))                                                                     \
  X(int, TF_TensorType, (const TF_Tensor *))                                                                       \
  X(size_t, TF_TensorByteSize, (const TF_Tensor *))                                                                \
  X(void *, TF_TensorData, (const TF_Tensor *))                                                                    \
  X(TF_OpDefinitionBuilder *, TF_NewOpDefinitionBuilder, (const char *))                                           \
  X(void, TF_OpDefinitionBuilderAddAttr, (TF_OpDefinitionBuilder *, const char *))                                 \
  X(void, TF_OpDefinitionBuilderAddInput, (TF_OpDefinitionBuilder *, const char *))                                \
  X(void, TF_OpDefinitionBuilderAddOutput, (TF_OpDefinitionBuilder *, const char *))                               \
  X(void, TF_OpDefinitionBuilderSetShapeInferenceFunction,                                                         \
    (TF_OpDefinitionBuilder *, void (*)(TF_ShapeInferenceContext *, TF_Status *)))                                 \
  X(void, TF_RegisterOpDefinition, (TF_OpDefinitionBuilder *, TF_Status *))                                        \
  X(TF_KernelBuilder *, TF_NewKernelBuilder,                                                                       \
    (const char *op, const char *device, void *(*create)(TF_OpKernelConstruction *),                               \
     void (*compute)(void *, TF_OpKernelContext *), void (*remove)(void *)))                                       \
  X(void, TF_RegisterKernelBuilder, (const char *, TF_KernelBuilder *, TF_Status *))                               \
  X(void, TF_OpKernelConstruction_Failure, (TF_OpKernelConstruction *, TF_Status *))                               \
  X(void, TF_OpKernelConstruction_GetAttrSize,                                                                     \
    (TF_OpKernelConstruction *, const char *, int32_t *, int32_t *, TF_Status *))                                  \
  X(void, TF_OpKernelConstruction_GetAttrString,                                                                   \
    (TF_OpKernelConstruction *, const char *, char *, size_t, TF_Status *))                                        \
  X(void, TF_OpKernelConstruction_GetAttrInt64List,                                                                \
    (TF_OpKernelConstruction *, const char *, int64_t *, int, TF_Status *))                                        \
  X(void, TF_OpKernelConstruction_GetAttrFloat, (TF_OpKernelConstruction *, const char *, float *, TF_Status *))   \
  X(void, TF_OpKernelConstruction_GetAttrFloatList,                                                                \
    (TF_OpKernelConstruction *, const char *, float *, int, TF_Status *))                                          \
  X(void, TF_ShapeInferenceContextSetUnknownShape, (TF_ShapeInferenceContext *, TF_Status *))                      \
  X(void, TF_OpKernelConstruction_GetAttrInt64, (TF_OpKernelConstruction *, const char *, int64_t *, TF_Status *)) \
  X(void, TF_OpKernelContext_Failure, (TF_OpKernelContext *, TF_Status *))                                         \
  X(int, TF_NumInputs, (TF_OpKernelContext *))                                                                     \
  X(void, TF_GetInput, (TF_OpKernelContext *, int, TF_Tensor **, TF_Status *))                                     \
  X(TF_Tensor *, TF_AllocateOutput, (TF_OpKernelContext *, int, int type, const int64_t *, int, size_t, TF_Status *))

typedef struct {
#define KERNELS_MEMBER(result, name, parameters) result(*name) parameters;
  KERNELS_TENSORFLOW(KERNELS_MEMBER)
#undef KERNELS_MEMBER
} kernels_tensorflow;

struct kernels_isa;
// Each registers an operation that runs on these instructions.
void kernels_register_elementwise(const kernels_tensorflow *tf, const struct kernels_isa *isa, TF_Status *status);
void kernels_register_normal(const kernels_tensorflow *tf, const struct kernels_isa *isa, TF_Status *status);

// kernels_register_operation registers an operation with one output of floats, and its kernel.
// Lists end with NULL. It does nothing where the status says that something went wrong.
void kernels_register_operation(const char *name, const char *const *attributes, const char *const *inputs,
                                void *(*create)(TF_OpKernelConstruction *),
                                void (*compute)(void *, TF_OpKernelContext *), void (*remove)(void *),
                                TF_Status *status);

// kernels_fail makes a status of a problem, if it is neither NULL nor empty.
void kernels_fail(const char *name, int code, const char *problem, TF_Status *status);

// kernels_functions names the members of kernels_tensorflow in order, ending with NULL.
extern const char *const kernels_functions[];

// kernels_register registers the operations with the library whose functions are given, in
// the order of kernels_functions, for use with the i-th of kernels_isas. It copies what
// went wrong to text, and nothing if all is well. It is to be called once.
void kernels_register(void *const *functions, int isa, char *text, size_t size);

#endif
