// The part of TensorFlow's C API that this package calls, declared by hand:
// the declarations are facts of the API (tensorflow/c/c_api.h and the headers
// it includes), so no header of TensorFlow is needed at build time.
#ifndef LIBTF_CAPI_H
#define LIBTF_CAPI_H

#include <stddef.h>
#include <stdint.h>

typedef struct TF_Status TF_Status;
typedef struct TF_Tensor TF_Tensor;
typedef struct TF_Graph TF_Graph;
typedef struct TF_Operation TF_Operation;
typedef struct TF_Session TF_Session;
typedef struct TF_SessionOptions TF_SessionOptions;
typedef struct TF_ImportGraphDefOptions TF_ImportGraphDefOptions;
typedef struct TF_DeviceList TF_DeviceList;

typedef struct TF_Buffer {
  const void* data;
  size_t length;
  void (*data_deallocator)(void* data, size_t length);
} TF_Buffer;

typedef struct TF_Output {
  TF_Operation* oper;
  int index;
} TF_Output;

// One entry a function: X(result, keyword, name, parameters, arguments). The
// list makes the function table, the dlsym loop and the trampolines.
#define LIBTF_FUNCTIONS(X)                                                    \
  X(TF_Status*, return, TF_NewStatus, (void), ())                             \
  X(void, , TF_DeleteStatus, (TF_Status * s), (s))                            \
  X(int, return, TF_GetCode, (const TF_Status* s), (s))                       \
  X(const char*, return, TF_Message, (const TF_Status* s), (s))               \
  X(void, , TF_DeleteBuffer, (TF_Buffer * b), (b))                            \
  X(TF_Tensor*, return, TF_AllocateTensor,                                    \
    (int type, const int64_t* dims, int num_dims, size_t len),                \
    (type, dims, num_dims, len))                                              \
  X(void, , TF_DeleteTensor, (TF_Tensor * t), (t))                            \
  X(int, return, TF_TensorType, (const TF_Tensor* t), (t))                    \
  X(int, return, TF_NumDims, (const TF_Tensor* t), (t))                       \
  X(int64_t, return, TF_Dim, (const TF_Tensor* t, int i), (t, i))             \
  X(size_t, return, TF_TensorByteSize, (const TF_Tensor* t), (t))             \
  X(void*, return, TF_TensorData, (const TF_Tensor* t), (t))                  \
  X(TF_Graph*, return, TF_NewGraph, (void), ())                               \
  X(void, , TF_DeleteGraph, (TF_Graph * g), (g))                              \
  X(TF_ImportGraphDefOptions*, return, TF_NewImportGraphDefOptions, (void),   \
    ())                                                                       \
  X(void, , TF_DeleteImportGraphDefOptions, (TF_ImportGraphDefOptions * o),   \
    (o))                                                                      \
  X(void, , TF_ImportGraphDefOptionsSetPrefix,                                \
    (TF_ImportGraphDefOptions * o, const char* prefix), (o, prefix))          \
  X(void, , TF_ImportGraphDefOptionsAddInputMapping,                          \
    (TF_ImportGraphDefOptions * o, const char* name, int index,               \
     TF_Output output),                                                       \
    (o, name, index, output))                                                 \
  X(void, , TF_GraphImportGraphDef,                                           \
    (TF_Graph * g, const TF_Buffer* graph_def,                                \
     const TF_ImportGraphDefOptions* o, TF_Status* s),                        \
    (g, graph_def, o, s))                                                     \
  X(TF_Operation*, return, TF_GraphOperationByName,                           \
    (TF_Graph * g, const char* name), (g, name))                              \
  X(TF_Operation*, return, TF_GraphNextOperation,                             \
    (TF_Graph * g, size_t * position), (g, position))                         \
  X(int, return, TF_GraphGetTensorNumDims,                                    \
    (TF_Graph * g, TF_Output output, TF_Status* s), (g, output, s))           \
  X(void, , TF_GraphGetTensorShape,                                           \
    (TF_Graph * g, TF_Output output, int64_t * dims, int num_dims,            \
     TF_Status* s),                                                           \
    (g, output, dims, num_dims, s))                                           \
  X(const char*, return, TF_OperationName, (TF_Operation * o), (o))           \
  X(const char*, return, TF_OperationOpType, (TF_Operation * o), (o))         \
  X(int, return, TF_OperationNumOutputs, (TF_Operation * o), (o))             \
  X(int, return, TF_OperationOutputType, (TF_Output output), (output))        \
  X(TF_SessionOptions*, return, TF_NewSessionOptions, (void), ())             \
  X(void, , TF_DeleteSessionOptions, (TF_SessionOptions * o), (o))            \
  X(void, , TF_SetConfig,                                                     \
    (TF_SessionOptions * o, const void* proto, size_t len, TF_Status* s),     \
    (o, proto, len, s))                                                       \
  X(TF_Session*, return, TF_NewSession,                                       \
    (TF_Graph * g, const TF_SessionOptions* o, TF_Status* s), (g, o, s))      \
  X(TF_Session*, return, TF_LoadSessionFromSavedModel,                        \
    (const TF_SessionOptions* o, const TF_Buffer* run_options,                \
     const char* dir, const char* const* tags, int num_tags, TF_Graph* g,     \
     TF_Buffer* meta_graph_def, TF_Status* s),                                \
    (o, run_options, dir, tags, num_tags, g, meta_graph_def, s))              \
  X(void, , TF_CloseSession, (TF_Session * session, TF_Status* s),            \
    (session, s))                                                             \
  X(void, , TF_DeleteSession, (TF_Session * session, TF_Status* s),           \
    (session, s))                                                             \
  X(TF_DeviceList*, return, TF_SessionListDevices,                            \
    (TF_Session * session, TF_Status* s), (session, s))                       \
  X(void, , TF_DeleteDeviceList, (TF_DeviceList * l), (l))                    \
  X(int, return, TF_DeviceListCount, (const TF_DeviceList* l), (l))           \
  X(const char*, return, TF_DeviceListName,                                   \
    (const TF_DeviceList* l, int i, TF_Status* s), (l, i, s))                 \
  X(const char*, return, TF_DeviceListType,                                   \
    (const TF_DeviceList* l, int i, TF_Status* s), (l, i, s))                 \
  X(int64_t, return, TF_DeviceListMemoryBytes,                                \
    (const TF_DeviceList* l, int i, TF_Status* s), (l, i, s))                 \
  X(void, , TF_SessionRun,                                                    \
    (TF_Session * session, const TF_Buffer* run_options,                      \
     const TF_Output* inputs, TF_Tensor* const* input_values, int num_inputs, \
     const TF_Output* outputs, TF_Tensor** output_values, int num_outputs,    \
     const TF_Operation* const* targets, int num_targets,                     \
     TF_Buffer* run_metadata, TF_Status* s),                                  \
    (session, run_options, inputs, input_values, num_inputs, outputs,         \
     output_values, num_outputs, targets, num_targets, run_metadata, s))      \
  X(TF_Buffer*, return, TF_GetRegisteredKernelsForOp,                         \
    (const char* name, TF_Status* s), (name, s))

// TF_Version stands apart so that a test can define it alone.
#define LIBTF_ALL(X)                                      \
  X(const char*, return, TF_Version, (void), ())          \
  LIBTF_FUNCTIONS(X)

// Trampolines have a prefix of their own: under the API's names the library
// could bind its calls to them instead of to itself.
#define LIBTF_DECLARE(result, keyword, name, parameters, arguments) \
  result libtf_##name parameters;
LIBTF_ALL(LIBTF_DECLARE)
#undef LIBTF_DECLARE

enum {
  LIBTF_OPENED = 0,
  LIBTF_NOT_OPENED = 1,      // text: dlerror
  LIBTF_SYMBOLS_MISSING = 2  // text: their names
};

// libtf_open opens the library, never to close it, fills the function table,
// and copies what went wrong to text, in one call because dlerror belongs to
// the thread. On success text is the file that was opened.
int libtf_open(const char* path, char* text, size_t size);

// libtf_tensor_float_32 allows (1) or forbids (0) that GPUs compute float32
// products in TensorFloat-32, or only asks (-1), and returns what holds now, -1 if
// the library cannot tell.
int libtf_tensor_float_32(int allowed);

// libtf_symbol returns the address of a symbol of the library, or NULL.
void* libtf_symbol(const char* name);

// libtf_unmap_file_pages has the process let go of the pages of the library's code
// and constants, which are the file's. Those that are used come back from the page cache.
void libtf_unmap_file_pages(void);

// libtf_trim returns memory that is free to the system, where the C library can.
void libtf_trim(void);

// The rest bundles the calls that make one step, so that Go crosses into C
// once a step and no buffer struct with a Go pointer in it is passed.

// dims must have room for 254 entries, TensorFlow's largest rank.
int libtf_describe(const TF_Tensor* t, int* type, size_t* bytes, void** data,
                   int64_t* dims);

TF_Graph* libtf_new_graph(void);

// What nodes take from output 0 of names, they take from outputs of the graph.
void libtf_import(TF_Graph* g, const void* graph_def, size_t len,
                  const char* prefix, const char* const* names,
                  const TF_Output* outputs, int num_outputs, TF_Status* s);

TF_Session* libtf_new_session(TF_Graph* g, const void* config, size_t len,
                              TF_Status* s);

TF_Session* libtf_load_saved_model(TF_Graph* g, const char* dir,
                                   const char* const* tags, int num_tags,
                                   const void* config, size_t len,
                                   TF_Status* s);

void libtf_run(TF_Session* session, const TF_Output* inputs,
               TF_Tensor* const* input_values, int num_inputs,
               const TF_Output* outputs, TF_Tensor** output_values,
               int num_outputs, const TF_Operation* const* targets,
               int num_targets, TF_Status* s);

/* libtf_trace is libtf_run with RunOptions.trace_level FULL_TRACE. metadata gets a
   serialized RunMetadata, which the caller frees with libtf_free_buffer. */
void libtf_trace(TF_Session* session, const TF_Output* inputs,
                 TF_Tensor* const* input_values, int num_inputs,
                 const TF_Output* outputs, TF_Tensor** output_values,
                 int num_outputs, const TF_Operation* const* targets,
                 int num_targets, TF_Buffer* metadata, TF_Status* s);

void libtf_free_buffer(TF_Buffer* buffer);

#endif
