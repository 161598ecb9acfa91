//go:build cgo && (linux || darwin)

#ifndef _GNU_SOURCE
#define _GNU_SOURCE  // dladdr
#endif
#include "capi.h"

#include <dlfcn.h>
#ifdef __linux__
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>
#endif
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static struct {
#define MEMBER(result, keyword, name, parameters, arguments) \
  result(*name) parameters;
  LIBTF_ALL(MEMBER)
#undef MEMBER
} table;

#define TRAMPOLINE(result, keyword, name, parameters, arguments) \
  result libtf_##name parameters { keyword table.name arguments; }
LIBTF_ALL(TRAMPOLINE)
#undef TRAMPOLINE

static const struct {
  const char* name;
  void** slot;
} symbols[] = {
#define SYMBOL(result, keyword, name, parameters, arguments) \
  {#name, (void**)&table.name},
    LIBTF_ALL(SYMBOL)
#undef SYMBOL
};

static void* library;

// Of C++, and so not of the stable API: absent from some builds.
static void (*set_tensor_float_32)(bool allowed);
static bool (*get_tensor_float_32)(void);

// Threads that the library makes inherit the mask of the thread that makes them.
// They must take no signal: some of oneDNN's generated code uses the stack pointer
// for other things, and only Go's own threads have a stack for signals, so that a
// handler on one of the library's overwrites the heap. Signals that mean an error
// of the thread itself stay.
static void block_signals(sigset_t* before) {
  sigset_t all;
  sigfillset(&all);
  const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
  for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
    sigdelset(&all, own[i]);
  }
  pthread_sigmask(SIG_BLOCK, &all, before);
}

static void restore_signals(const sigset_t* before) {
  pthread_sigmask(SIG_SETMASK, before, NULL);
}

int libtf_open(const char* path, char* text, size_t size) {
  text[0] = 0;
  sigset_t before;
  block_signals(&before);
  library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  restore_signals(&before);
  if (library == NULL) {
    const char* message = dlerror();
    snprintf(text, size, "%s", message != NULL ? message : "unknown error");
    return LIBTF_NOT_OPENED;
  }
  size_t used = 0;
  for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
    void* address = dlsym(library, symbols[i].name);
    if (address != NULL) {
      *symbols[i].slot = address;
    } else if (used < size) {
      used += (size_t)snprintf(text + used, size - used, "%s%s",
                               used > 0 ? " " : "", symbols[i].name);
    }
  }
  if (used > 0) return LIBTF_SYMBOLS_MISSING;
  *(void**)&set_tensor_float_32 =
      dlsym(library, "_ZN3tsl32enable_tensor_float_32_executionEb");
  *(void**)&get_tensor_float_32 =
      dlsym(library, "_ZN3tsl33tensor_float_32_execution_enabledEv");
  Dl_info info;
  if (dladdr((void*)table.TF_Version, &info) != 0 && info.dli_fname != NULL) {
    snprintf(text, size, "%s", info.dli_fname);
  }
  return LIBTF_OPENED;
}

int libtf_tensor_float_32(int allowed) {
  if (set_tensor_float_32 == NULL || get_tensor_float_32 == NULL) return -1;
  if (allowed >= 0) set_tensor_float_32(allowed != 0);
  return get_tensor_float_32();
}

void* libtf_symbol(const char* name) { return dlsym(library, name); }

void libtf_trim(void) {
  // Of glibc alone, so it is looked up.
  int (*trim)(size_t) = NULL;
  *(void**)&trim = dlsym(RTLD_DEFAULT, "malloc_trim");
  if (trim != NULL) trim(0);
}

#ifdef __linux__
// Whether the loader wrote into segments that are not writable any more.
static bool has_text_relocations(const struct dl_phdr_info* object) {
  for (int i = 0; i < object->dlpi_phnum; i++) {
    if (object->dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
    const ElfW(Dyn)* entry = (const void*)(object->dlpi_addr +
                                           object->dlpi_phdr[i].p_vaddr);
    for (; entry->d_tag != DT_NULL; entry++) {
      if (entry->d_tag == DT_TEXTREL) return true;
      if (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_TEXTREL) != 0) {
        return true;
      }
    }
  }
  return false;
}

static int unmap_file_pages(struct dl_phdr_info* object, size_t size,
                            void* data) {
  (void)size, (void)data;
  if (object->dlpi_name == NULL ||
      strstr(object->dlpi_name, "libtensorflow") == NULL ||
      has_text_relocations(object)) {
    return 0;
  }
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr)* segment = &object->dlpi_phdr[i];
    if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) != 0) continue;
    const uintptr_t begin = object->dlpi_addr + segment->p_vaddr;
    const uintptr_t first = (begin + page - 1) / page * page;
    const uintptr_t last = (begin + segment->p_filesz) / page * page;
    if (first < last) madvise((void*)first, last - first, MADV_DONTNEED);
  }
  return 0;
}
#endif

void libtf_unmap_file_pages(void) {
#ifdef __linux__
  dl_iterate_phdr(unmap_file_pages, NULL);
#endif
}

int libtf_describe(const TF_Tensor* t, int* type, size_t* bytes, void** data,
                   int64_t* dims) {
  int rank = table.TF_NumDims(t);
  for (int i = 0; i < rank && i < 254; i++) dims[i] = table.TF_Dim(t, i);
  *type = table.TF_TensorType(t);
  *bytes = table.TF_TensorByteSize(t);
  *data = table.TF_TensorData(t);
  return rank;
}

TF_Graph* libtf_new_graph(void) {
  sigset_t before;
  block_signals(&before);
  TF_Graph* g = table.TF_NewGraph();
  restore_signals(&before);
  return g;
}

void libtf_import(TF_Graph* g, const void* graph_def, size_t len,
                  const char* prefix, const char* const* names,
                  const TF_Output* outputs, int num_outputs, TF_Status* s) {
  sigset_t before;
  block_signals(&before);
  TF_Buffer buffer = {graph_def, len, NULL};
  TF_ImportGraphDefOptions* options = table.TF_NewImportGraphDefOptions();
  table.TF_ImportGraphDefOptionsSetPrefix(options, prefix);
  for (int i = 0; i < num_outputs; i++) {
    table.TF_ImportGraphDefOptionsAddInputMapping(options, names[i], 0,
                                                  outputs[i]);
  }
  table.TF_GraphImportGraphDef(g, &buffer, options, s);
  table.TF_DeleteImportGraphDefOptions(options);
  restore_signals(&before);
}

static TF_SessionOptions* session_options(const void* config, size_t len,
                                          TF_Status* s) {
  TF_SessionOptions* options = table.TF_NewSessionOptions();
  if (len > 0) table.TF_SetConfig(options, config, len, s);
  return options;
}

TF_Session* libtf_new_session(TF_Graph* g, const void* config, size_t len,
                              TF_Status* s) {
  TF_Session* session = NULL;
  sigset_t before;
  block_signals(&before);
  TF_SessionOptions* options = session_options(config, len, s);
  if (table.TF_GetCode(s) == 0) session = table.TF_NewSession(g, options, s);
  table.TF_DeleteSessionOptions(options);
  restore_signals(&before);
  return session;
}

TF_Session* libtf_load_saved_model(TF_Graph* g, const char* dir,
                                   const char* const* tags, int num_tags,
                                   const void* config, size_t len,
                                   TF_Status* s) {
  TF_Session* session = NULL;
  sigset_t before;
  block_signals(&before);
  TF_SessionOptions* options = session_options(config, len, s);
  if (table.TF_GetCode(s) == 0) {
    session = table.TF_LoadSessionFromSavedModel(options, NULL, dir, tags,
                                                 num_tags, g, NULL, s);
  }
  table.TF_DeleteSessionOptions(options);
  restore_signals(&before);
  return session;
}

static void run(TF_Session* session, const TF_Buffer* options,
                const TF_Output* inputs, TF_Tensor* const* input_values,
                int num_inputs, const TF_Output* outputs,
                TF_Tensor** output_values, int num_outputs,
                const TF_Operation* const* targets, int num_targets,
                TF_Buffer* metadata, TF_Status* s) {
  sigset_t before;
  block_signals(&before);  // optimizers of graphs make threads in first runs
  table.TF_SessionRun(session, options, inputs, input_values, num_inputs,
                      outputs, output_values, num_outputs, targets, num_targets,
                      metadata, s);
  restore_signals(&before);
}

void libtf_run(TF_Session* session, const TF_Output* inputs,
               TF_Tensor* const* input_values, int num_inputs,
               const TF_Output* outputs, TF_Tensor** output_values,
               int num_outputs, const TF_Operation* const* targets,
               int num_targets, TF_Status* s) {
  run(session, NULL, inputs, input_values, num_inputs, outputs, output_values,
      num_outputs, targets, num_targets, NULL, s);
}

void libtf_trace(TF_Session* session, const TF_Output* inputs,
                 TF_Tensor* const* input_values, int num_inputs,
                 const TF_Output* outputs, TF_Tensor** output_values,
                 int num_outputs, const TF_Operation* const* targets,
                 int num_targets, TF_Buffer* metadata, TF_Status* s) {
  static const char full_trace[] = {0x08, 3};  // RunOptions.trace_level
  const TF_Buffer options = {full_trace, sizeof full_trace, NULL};
  run(session, &options, inputs, input_values, num_inputs, outputs,
      output_values, num_outputs, targets, num_targets, metadata, s);
}

void libtf_free_buffer(TF_Buffer* buffer) {
  if (buffer->data != NULL && buffer->data_deallocator != NULL) {
    buffer->data_deallocator((void*)buffer->data, buffer->length);
  }
  buffer->data = NULL;
}
