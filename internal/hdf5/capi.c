//go:build cgo && (linux || darwin)

#ifndef _GNU_SOURCE
#define _GNU_SOURCE  // dladdr
#endif
#include "capi.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// HDF5's types since version 1.10.
typedef int64_t hid_t;
typedef int herr_t;
typedef int htri_t;
typedef uint64_t hsize_t;

typedef struct {  // H5G_info_t
  int storage_type;
  hsize_t nlinks;
  int64_t max_corder;
  bool mounted;
} group_info;

// X(result, name, parameters)
#define FUNCTIONS(X)                                                                       \
  X(herr_t, H5open, (void))                                                                \
  X(herr_t, H5get_libversion, (unsigned*, unsigned*, unsigned*))                           \
  X(herr_t, H5free_memory, (void*))                                                        \
  X(herr_t, H5Eset_auto2, (hid_t, void*, void*))                                           \
  X(herr_t, H5Ewalk2, (hid_t, int, herr_t (*)(unsigned, const void*, void*), void*))       \
  X(hid_t, H5Fopen, (const char*, unsigned, hid_t))                                        \
  X(herr_t, H5Fclose, (hid_t))                                                             \
  X(hid_t, H5Oopen, (hid_t, const char*, hid_t))                                           \
  X(herr_t, H5Oclose, (hid_t))                                                             \
  X(int, H5Iget_type, (hid_t))                                                             \
  X(long, H5Iget_name, (hid_t, char*, size_t))                                             \
  X(herr_t, H5Gget_info_by_name, (hid_t, const char*, group_info*, hid_t))                 \
  X(long, H5Lget_name_by_idx, (hid_t, const char*, int, int, hsize_t, char*, size_t, hid_t)) \
  X(hid_t, H5Dopen2, (hid_t, const char*, hid_t))                                          \
  X(herr_t, H5Dclose, (hid_t))                                                             \
  X(hid_t, H5Dget_space, (hid_t))                                                          \
  X(hid_t, H5Dget_type, (hid_t))                                                           \
  X(hid_t, H5Dget_create_plist, (hid_t))                                                   \
  X(hsize_t, H5Dget_storage_size, (hid_t))                                                 \
  X(herr_t, H5Dread, (hid_t, hid_t, hid_t, hid_t, hid_t, void*))                           \
  X(int, H5Pget_chunk, (hid_t, int, hsize_t*))                                             \
  X(int, H5Pget_layout, (hid_t))                                                           \
  X(herr_t, H5Pclose, (hid_t))                                                             \
  X(hid_t, H5Screate_simple, (int, const hsize_t*, const hsize_t*))                        \
  X(int, H5Sget_simple_extent_ndims, (hid_t))                                              \
  X(int, H5Sget_simple_extent_dims, (hid_t, hsize_t*, hsize_t*))                           \
  X(long long, H5Sget_simple_extent_npoints, (hid_t))                                      \
  X(herr_t, H5Sselect_hyperslab, (hid_t, int, const hsize_t*, const hsize_t*, const hsize_t*, const hsize_t*)) \
  X(herr_t, H5Sclose, (hid_t))                                                             \
  X(hid_t, H5Tcopy, (hid_t))                                                               \
  X(int, H5Tget_class, (hid_t))                                                            \
  X(size_t, H5Tget_size, (hid_t))                                                          \
  X(int, H5Tget_sign, (hid_t))                                                             \
  X(int, H5Tget_cset, (hid_t))                                                             \
  X(htri_t, H5Tis_variable_str, (hid_t))                                                   \
  X(hid_t, H5Tvlen_create, (hid_t))                                                        \
  X(herr_t, H5Tset_size, (hid_t, size_t))                                                  \
  X(herr_t, H5Tset_cset, (hid_t, int))                                                     \
  X(herr_t, H5Tclose, (hid_t))                                                             \
  X(hid_t, H5Rdereference2, (hid_t, hid_t, int, const void*))                              \
  X(htri_t, H5Aexists, (hid_t, const char*))                                               \
  X(hid_t, H5Aopen, (hid_t, const char*, hid_t))                                           \
  X(hid_t, H5Aget_type, (hid_t))                                                           \
  X(hid_t, H5Aget_space, (hid_t))                                                          \
  X(herr_t, H5Aread, (hid_t, hid_t, void*))                                                \
  X(herr_t, H5Aclose, (hid_t))                                                             \
  X(hid_t, H5Acreate2, (hid_t, const char*, hid_t, hid_t, hid_t, hid_t))                   \
  X(herr_t, H5Awrite, (hid_t, hid_t, const void*))                                         \
  X(hid_t, H5Dcreate2, (hid_t, const char*, hid_t, hid_t, hid_t, hid_t, hid_t))            \
  X(herr_t, H5Dwrite, (hid_t, hid_t, hid_t, hid_t, hid_t, const void*))                    \
  X(hid_t, H5Fcreate, (const char*, unsigned, hid_t, hid_t))                               \
  X(hid_t, H5Pcreate, (hid_t))                                                             \
  X(herr_t, H5Pset_alloc_time, (hid_t, int))                                               \
  X(herr_t, H5Pset_chunk, (hid_t, int, const hsize_t*))                                    \
  X(herr_t, H5Pset_fill_time, (hid_t, int))                                                \
  X(herr_t, H5Pset_libver_bounds, (hid_t, int, int))                                       \
  X(herr_t, H5Pset_link_creation_order, (hid_t, unsigned))                                 \
  X(herr_t, H5Pset_meta_block_size, (hid_t, hsize_t))                                      \
  X(herr_t, H5Pset_obj_track_times, (hid_t, bool))                                         \
  X(herr_t, H5Rcreate, (void*, hid_t, const char*, int, hid_t))                            \
  X(hid_t, H5Screate, (int))                                                               \
  X(hid_t, H5Tcreate, (int, size_t))                                                       \
  X(herr_t, H5Tinsert, (hid_t, const char*, size_t, hid_t))                                \
  X(herr_t, H5Tset_ebias, (hid_t, size_t))                                                 \
  X(herr_t, H5Tset_fields, (hid_t, size_t, size_t, size_t, size_t, size_t))

static struct {
#define MEMBER(result, name, parameters) result(*name) parameters;
  FUNCTIONS(MEMBER)
#undef MEMBER
  // Since 1.10.5: without it nothing can be written.
  herr_t (*H5Dget_chunk_info_by_coord)(hid_t, const hsize_t*, unsigned*, uint64_t*, hsize_t*);
  hid_t *native_double, *native_float, *native_int, *native_int64, *native_uint8, *c_string, *object_reference;
  hid_t *float32, *float64, *int8, *uint8, *int32, *int64;  // little-endian
  hid_t *file_access, *file_create, *dataset_create;         // classes of property lists
} api;

enum { index_by_name = 0, index_by_creation = 1, increasing = 0, whole_file = 0, defaults = 0, scalar_rank = 0 };
enum { kind_group = 2, kind_dataset = 5 };  // H5I_type_t
enum { layout_chunked = 2, layout_virtual = 3, walk_downward = 1, reference_object = 0 };
#define VARIABLE ((size_t)-1)

int hdf5_open_library(const char* path, char* text, size_t size) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    const char* message = dlerror();
    snprintf(text, size, "%s", message != NULL ? message : "unknown error");
    return -1;
  }
  const struct {
    const char* name;
    void** slot;
  } symbols[] = {
#define SYMBOL(result, name, parameters) {#name, (void**)&api.name},
      FUNCTIONS(SYMBOL)
#undef SYMBOL
          {"H5T_NATIVE_DOUBLE_g", (void**)&api.native_double},
      {"H5T_NATIVE_FLOAT_g", (void**)&api.native_float},
      {"H5T_NATIVE_INT_g", (void**)&api.native_int},
      {"H5T_IEEE_F32LE_g", (void**)&api.float32},
      {"H5T_IEEE_F64LE_g", (void**)&api.float64},
      {"H5T_STD_I8LE_g", (void**)&api.int8},
      {"H5T_STD_U8LE_g", (void**)&api.uint8},
      {"H5T_STD_I32LE_g", (void**)&api.int32},
      {"H5T_STD_I64LE_g", (void**)&api.int64},
      {"H5P_CLS_FILE_ACCESS_ID_g", (void**)&api.file_access},
      {"H5P_CLS_FILE_CREATE_ID_g", (void**)&api.file_create},
      {"H5P_CLS_DATASET_CREATE_ID_g", (void**)&api.dataset_create},
      {"H5T_NATIVE_INT64_g", (void**)&api.native_int64},
      {"H5T_NATIVE_UINT8_g", (void**)&api.native_uint8},
      {"H5T_C_S1_g", (void**)&api.c_string},
      {"H5T_STD_REF_OBJ_g", (void**)&api.object_reference},
  };
  for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
    if ((*symbols[i].slot = dlsym(library, symbols[i].name)) == NULL) {
      snprintf(text, size, "it lacks %s", symbols[i].name);
      return -2;
    }
  }
  if (api.H5open() < 0) {
    snprintf(text, size, "H5open failed");
    return -3;
  }
  *(void**)&api.H5Dget_chunk_info_by_coord = dlsym(library, "H5Dget_chunk_info_by_coord");
  hdf5_quiet();
  Dl_info info;
  text[0] = 0;
  if (dladdr((void*)api.H5open, &info) != 0 && info.dli_fname != NULL) snprintf(text, size, "%s", info.dli_fname);
  return 0;
}

void hdf5_quiet(void) {
  if (api.H5Eset_auto2 != NULL) api.H5Eset_auto2(0, NULL, NULL);
}

void hdf5_version(unsigned* major, unsigned* minor, unsigned* release) { api.H5get_libversion(major, minor, release); }

// What HDF5 gives for a list of variable length: hvl_t.
typedef struct {
  size_t length;
  void* values;
} variable_length;

enum { class_variable_length = 9 };

// An entry of the error stack, as far as its description: H5E_error2_t.
typedef struct {
  hid_t cls, major, minor;
  unsigned line;
  const char *function, *file, *description;
} stack_entry;

typedef struct {
  char* text;
  size_t size;
} message;

static herr_t keep_last(unsigned n, const void* entry, void* to) {
  message* m = to;
  const stack_entry* e = entry;
  if (e->description != NULL) snprintf(m->text, m->size, "%s", e->description);
  return 0;
}

int hdf5_message(char* text, size_t size) {
  message m = {text, size};
  text[0] = 0;
  return api.H5Ewalk2(defaults, walk_downward, keep_last, &m);
}

int64_t hdf5_open_file(const char* name) { return api.H5Fopen(name, 0, defaults); }
void hdf5_close_file(int64_t file) { api.H5Fclose(file); }
int64_t hdf5_open_dataset(int64_t file, const char* name) { return api.H5Dopen2(file, name, defaults); }
void hdf5_close_dataset(int64_t dataset) { api.H5Dclose(dataset); }

static int describe_type(hid_t type, hdf5_shape* shape) {
  shape->class = api.H5Tget_class(type);
  shape->size = api.H5Tget_size(type);
  shape->sign = shape->class == HDF5_INTEGER ? api.H5Tget_sign(type) : 1;
  if (shape->class == HDF5_STRING) {
    int variable = api.H5Tis_variable_str(type);
    if (variable < 0) return -1;
    shape->variable = variable;
    shape->utf8 = api.H5Tget_cset(type);
  }
  return shape->class < 0 || shape->size == 0 ? -1 : 0;
}

int hdf5_describe(int64_t dataset, hdf5_shape* shape) {
  memset(shape, 0, sizeof *shape);
  int result = -1;
  hid_t space = api.H5Dget_space(dataset), type = api.H5Dget_type(dataset), list = api.H5Dget_create_plist(dataset);
  if (space < 0 || type < 0 || list < 0) goto end;
  shape->rank = api.H5Sget_simple_extent_ndims(space);
  if (shape->rank < 0 || shape->rank > HDF5_MOST_DIMS) goto end;
  if (shape->rank > 0 && api.H5Sget_simple_extent_dims(space, shape->dims, NULL) < 0) goto end;
  if (api.H5Sget_simple_extent_npoints(space) == 0 && shape->rank == 0) {  // H5S_NULL
    shape->rank = 1;
    shape->dims[0] = 0;
  }
  if (describe_type(type, shape) < 0) goto end;
  int layout = api.H5Pget_layout(list);
  shape->is_virtual = layout == layout_virtual;
  shape->stored = api.H5Dget_storage_size(dataset);
  if (layout == layout_chunked) {
    hsize_t chunk[HDF5_MOST_DIMS];
    if (api.H5Pget_chunk(list, shape->rank, chunk) != shape->rank) goto end;
    shape->chunk = shape->size;
    for (int i = 0; i < shape->rank; i++) {
      if (__builtin_mul_overflow(shape->chunk, chunk[i], &shape->chunk)) shape->chunk = UINT64_MAX;
    }
  }
  result = 0;
end:
  if (list >= 0) api.H5Pclose(list);
  if (type >= 0) api.H5Tclose(type);
  if (space >= 0) api.H5Sclose(space);
  return result;
}

int hdf5_kind(int64_t file, const char* name) {
  hid_t object = api.H5Oopen(file, name, defaults);
  if (object < 0) return -1;
  int type = api.H5Iget_type(object);
  api.H5Oclose(object);
  return type == kind_group ? 0 : type == kind_dataset ? 1 : 2;
}

int64_t hdf5_members(int64_t file, const char* group) {
  group_info info;
  if (api.H5Gget_info_by_name(file, group, &info, defaults) < 0) return -1;
  return (int64_t)info.nlinks;
}

int64_t hdf5_member(int64_t file, const char* group, uint64_t index, char* name, size_t size) {
  // Fails where the file does not keep the order in which members were made.
  int64_t length = api.H5Lget_name_by_idx(file, group, index_by_creation, increasing, index, name, size, defaults);
  if (length >= 0) return length;
  return api.H5Lget_name_by_idx(file, group, index_by_name, increasing, index, name, size, defaults);
}

// read_as reads a part of a dataset as elements of a type in memory.
static int read_as(hid_t dataset, const uint64_t* start, const uint64_t* count, hid_t type, void* values) {
  int result = -1;
  hid_t memory = -1, space = api.H5Dget_space(dataset);
  if (space < 0) return -1;
  int rank = api.H5Sget_simple_extent_ndims(space);
  if (rank < 0 || rank > HDF5_MOST_DIMS) goto end;
  if (rank == scalar_rank) {
    result = api.H5Dread(dataset, type, whole_file, whole_file, defaults, values);
    goto end;
  }
  if (api.H5Sselect_hyperslab(space, 0, start, NULL, count, NULL) < 0) goto end;
  memory = api.H5Screate_simple(rank, count, NULL);
  if (memory < 0) goto end;
  result = api.H5Dread(dataset, type, memory, space, defaults, values);
end:
  if (memory >= 0) api.H5Sclose(memory);
  api.H5Sclose(space);
  return result;
}

int hdf5_read_doubles(int64_t dataset, const uint64_t* start, const uint64_t* count, double* values) {
  return read_as(dataset, start, count, *api.native_double, values);
}

int hdf5_read_floats(int64_t dataset, const uint64_t* start, const uint64_t* count, float* values) {
  return read_as(dataset, start, count, *api.native_float, values);
}

int hdf5_read_bytes(int64_t dataset, const uint64_t* start, const uint64_t* count, uint8_t* values) {
  return read_as(dataset, start, count, *api.native_uint8, values);
}

int hdf5_read_integers(int64_t dataset, const uint64_t* start, const uint64_t* count, int64_t* values) {
  hid_t type = api.H5Dget_type(dataset);
  if (type < 0) return -1;
  int result = -1;
  if (api.H5Tget_class(type) == HDF5_ENUM) {
    // Booleans: HDF5 converts enumerations only to others, so they are read as they are.
    size_t size = api.H5Tget_size(type);
    uint64_t n = 1;
    hid_t space = api.H5Dget_space(dataset);
    int rank = space < 0 ? -1 : api.H5Sget_simple_extent_ndims(space);
    if (space >= 0) api.H5Sclose(space);
    for (int i = 0; i < rank; i++) n *= count[i];
    if (rank >= 0 && size == 1) {
      int8_t* raw = malloc(n > 0 ? n : 1);
      if (raw != NULL && (result = read_as(dataset, start, count, type, raw)) >= 0) {
        for (uint64_t i = 0; i < n; i++) values[i] = raw[i];
      }
      free(raw);
    }
  } else {
    result = read_as(dataset, start, count, *api.native_int64, values);
  }
  api.H5Tclose(type);
  return result;
}

static hid_t string_type(size_t size, int utf8) {
  hid_t type = api.H5Tcopy(*api.c_string);
  if (type >= 0 && (api.H5Tset_size(type, size) < 0 || api.H5Tset_cset(type, utf8) < 0)) {
    api.H5Tclose(type);
    return -1;
  }
  return type;
}

int hdf5_read_strings(int64_t dataset, const uint64_t* start, const uint64_t* count, size_t size, char* values) {
  hid_t type = api.H5Dget_type(dataset);
  if (type < 0) return -1;
  int result = api.H5Tget_size(type) == size ? read_as(dataset, start, count, type, values) : -1;
  api.H5Tclose(type);
  return result;
}

int hdf5_read_variable_strings(int64_t dataset, const uint64_t* start, const uint64_t* count, int utf8, char** values) {
  hid_t type = string_type(VARIABLE, utf8);
  if (type < 0) return -1;
  int result = read_as(dataset, start, count, type, values);
  api.H5Tclose(type);
  return result;
}

void hdf5_free(char* value) { api.H5free_memory(value); }

int64_t hdf5_read_reference(int64_t dataset, const uint64_t* start, char* name, size_t size) {
  uint64_t reference = 0, one[HDF5_MOST_DIMS];
  for (int i = 0; i < HDF5_MOST_DIMS; i++) one[i] = 1;
  if (read_as(dataset, start, one, *api.object_reference, &reference) < 0) return -1;
  hid_t object = api.H5Rdereference2(dataset, defaults, reference_object, &reference);
  if (object < 0) return -1;
  int64_t length = api.H5Iget_name(object, name, size);
  api.H5Oclose(object);
  return length;
}

int64_t hdf5_dimension(int64_t dataset, int axis, char* name, size_t size) {
  int there = api.H5Aexists(dataset, "DIMENSION_LIST");
  if (there <= 0) return there;
  hid_t attribute = api.H5Aopen(dataset, "DIMENSION_LIST", defaults);
  if (attribute < 0) return -1;
  int64_t result = -1;
  variable_length* lists = NULL;
  hid_t type = api.H5Aget_type(attribute), space = api.H5Aget_space(attribute), memory = -1;
  if (type < 0 || space < 0 || api.H5Tget_class(type) != class_variable_length) goto end;
  long long count = api.H5Sget_simple_extent_npoints(space);
  if (count <= axis || count > HDF5_MOST_DIMS) goto end;
  if ((memory = api.H5Tvlen_create(*api.object_reference)) < 0) goto end;
  if ((lists = calloc(count, sizeof *lists)) == NULL) goto end;
  if (api.H5Aread(attribute, memory, lists) < 0) goto end;
  result = 0;
  if (lists[axis].length > 0) {
    hid_t object = api.H5Rdereference2(dataset, defaults, reference_object, lists[axis].values);
    result = -1;
    if (object >= 0) {
      result = api.H5Iget_name(object, name, size);
      api.H5Oclose(object);
    }
  }
  for (long long i = 0; i < count; i++) {
    if (lists[i].values != NULL) api.H5free_memory(lists[i].values);
  }
end:
  free(lists);
  if (memory >= 0) api.H5Tclose(memory);
  if (space >= 0) api.H5Sclose(space);
  if (type >= 0) api.H5Tclose(type);
  api.H5Aclose(attribute);
  return result;
}

int hdf5_attribute(int64_t dataset, const char* name, char* text, size_t size, double* number) {
  int there = api.H5Aexists(dataset, name);
  if (there <= 0) return there;
  hid_t attribute = api.H5Aopen(dataset, name, defaults);
  if (attribute < 0) return -1;
  int result = -1;
  hid_t type = api.H5Aget_type(attribute), space = api.H5Aget_space(attribute), memory = -1;
  hdf5_shape shape = {0};
  if (type < 0 || space < 0 || describe_type(type, &shape) < 0) goto end;
  if (api.H5Sget_simple_extent_npoints(space) != 1) {
    result = 0;
    goto end;
  }
  text[0] = 0;
  if (shape.class == HDF5_STRING && shape.variable) {
    char* value = NULL;
    memory = string_type(VARIABLE, shape.utf8);
    if (memory < 0 || api.H5Aread(attribute, memory, &value) < 0) goto end;
    result = 1;
    if (value != NULL) {
      if ((size_t)snprintf(text, size, "%s", value) >= size) result = -1;
      api.H5free_memory(value);
    }
  } else if (shape.class == HDF5_STRING) {
    if (shape.size >= size) goto end;
    if (api.H5Aread(attribute, type, text) < 0) goto end;
    text[shape.size] = 0;
    result = 1;
  } else if (shape.class == HDF5_INTEGER || shape.class == HDF5_FLOAT) {
    if (api.H5Aread(attribute, *api.native_double, number) < 0) goto end;
    result = 2;
  } else {
    result = 0;
  }
end:
  if (memory >= 0) api.H5Tclose(memory);
  if (space >= 0) api.H5Sclose(space);
  if (type >= 0) api.H5Tclose(type);
  api.H5Aclose(attribute);
  return result;
}

int64_t hdf5_open_object(int64_t file, const char* name) { return api.H5Oopen(file, name, defaults); }
void hdf5_close_object(int64_t object) { api.H5Oclose(object); }

enum { truncate_file = 2, version_earliest = 0, version_18 = 1, by_creation = 3 };
enum { space_scalar = 0, allocate_early = 1, never_fill = 1, class_compound = 6 };

int64_t hdf5_create_file(const char* name, uint64_t meta) {
  hid_t file = -1, access = api.H5Pcreate(*api.file_access), create = api.H5Pcreate(*api.file_create);
  if (access >= 0 && create >= 0 && api.H5Pset_meta_block_size(access, meta) >= 0 &&
      api.H5Pset_libver_bounds(access, version_earliest, version_18) >= 0 &&
      api.H5Pset_link_creation_order(create, by_creation) >= 0 && api.H5Pset_obj_track_times(create, false) >= 0) {
    file = api.H5Fcreate(name, truncate_file, create, access);
  }
  if (create >= 0) api.H5Pclose(create);
  if (access >= 0) api.H5Pclose(access);
  return file;
}

// stored returns a type that the caller closes.
static hid_t stored(int element) {
  switch (element) {
    case HDF5_F32: return api.H5Tcopy(*api.float32);
    case HDF5_F64: return api.H5Tcopy(*api.float64);
    case HDF5_I8: return api.H5Tcopy(*api.int8);
    case HDF5_U8: return api.H5Tcopy(*api.uint8);
    case HDF5_I32: return api.H5Tcopy(*api.int32);
    case HDF5_I64: return api.H5Tcopy(*api.int64);
    case HDF5_TEXT: return string_type(VARIABLE, 1);
  }
  hid_t half = api.H5Tcopy(*api.float32);  // IEEE 754's binary16
  if (half >= 0 && (api.H5Tset_fields(half, 15, 10, 5, 0, 10) < 0 ||
                    api.H5Tset_size(half, 2) < 0 || api.H5Tset_ebias(half, 15) < 0)) {
    api.H5Tclose(half);
    return -1;
  }
  return half;
}

int64_t hdf5_create_dataset(int64_t file, const char* name, int element, int rank, const uint64_t* dims,
                            const uint64_t* chunk) {
  hid_t dataset = -1, type = stored(element), list = api.H5Pcreate(*api.dataset_create);
  hid_t space = rank == 0 ? api.H5Screate(space_scalar) : api.H5Screate_simple(rank, dims, NULL);
  if (type < 0 || list < 0 || space < 0 || api.H5Pset_obj_track_times(list, false) < 0) goto end;
  if (chunk != NULL && (api.H5Pset_chunk(list, rank, chunk) < 0 || api.H5Pset_alloc_time(list, allocate_early) < 0 ||
                        api.H5Pset_fill_time(list, never_fill) < 0)) {
    goto end;
  }
  dataset = api.H5Dcreate2(file, name, type, space, defaults, list, defaults);
end:
  if (space >= 0) api.H5Sclose(space);
  if (list >= 0) api.H5Pclose(list);
  if (type >= 0) api.H5Tclose(type);
  return dataset;
}

int hdf5_write(int64_t dataset, int element, const void* values) {
  hid_t type = stored(element);
  if (type < 0) return -1;
  int result = api.H5Dwrite(dataset, type, whole_file, whole_file, defaults, values);
  api.H5Tclose(type);
  return result;
}

int hdf5_knows_places(void) { return api.H5Dget_chunk_info_by_coord != NULL; }

int hdf5_chunk_place(int64_t dataset, const uint64_t* start, uint64_t* offset, uint64_t* size) {
  unsigned mask = 0;
  return api.H5Dget_chunk_info_by_coord(dataset, start, &mask, offset, size);
}

// write_attribute closes the type and the space, which may have failed.
static int write_attribute(hid_t object, const char* name, hid_t type, hid_t space, const void* values) {
  int result = -1;
  if (type >= 0 && space >= 0) {
    hid_t attribute = api.H5Acreate2(object, name, type, space, defaults, defaults);
    if (attribute >= 0) {
      result = api.H5Awrite(attribute, type, values);
      api.H5Aclose(attribute);
    }
  }
  if (space >= 0) api.H5Sclose(space);
  if (type >= 0) api.H5Tclose(type);
  return result;
}

int hdf5_write_text_attribute(int64_t object, const char* name, const char* value) {
  return write_attribute(object, name, string_type(VARIABLE, 1), api.H5Screate(space_scalar), &value);
}

int hdf5_write_integer_attribute(int64_t object, const char* name, uint64_t count, const int64_t* values) {
  return write_attribute(object, name, api.H5Tcopy(*api.int64), api.H5Screate_simple(1, &count, NULL), values);
}

// fixed_text writes an attribute as HDF5's specification of dimension scales has it.
static int fixed_text(hid_t object, const char* name, const char* value) {
  return write_attribute(object, name, string_type(strlen(value) + 1, 0), api.H5Screate(space_scalar), value);
}

int hdf5_make_scale(int64_t dataset, const char* name) {
  return fixed_text(dataset, "CLASS", "DIMENSION_SCALE") < 0 ? -1 : fixed_text(dataset, "NAME", name);
}

int hdf5_write_dimensions(int64_t file, int64_t dataset, int rank, const char* const* scales) {
  uint64_t references[HDF5_MOST_DIMS], dims[1] = {rank};
  variable_length lists[HDF5_MOST_DIMS];
  if (rank < 1 || rank > HDF5_MOST_DIMS) return -1;
  for (int i = 0; i < rank; i++) {
    if (api.H5Rcreate(&references[i], file, scales[i], reference_object, -1) < 0) return -1;
    lists[i] = (variable_length){1, &references[i]};
  }
  return write_attribute(dataset, "DIMENSION_LIST", api.H5Tvlen_create(*api.object_reference),
                         api.H5Screate_simple(1, dims, NULL), lists);
}

int hdf5_write_scale_users(int64_t file, int64_t scale, uint64_t count, const char* const* datasets, const int* axes) {
  typedef struct {
    uint64_t dataset;
    int32_t axis, unused;
  } user;
  user* users = calloc(count > 0 ? count : 1, sizeof *users);
  hid_t type = api.H5Tcreate(class_compound, sizeof(user));
  int result = -1;
  if (users == NULL || type < 0 || api.H5Tinsert(type, "dataset", offsetof(user, dataset), *api.object_reference) < 0 ||
      api.H5Tinsert(type, "dimension", offsetof(user, axis), *api.int32) < 0) {
    goto end;
  }
  for (uint64_t i = 0; i < count; i++) {
    if (api.H5Rcreate(&users[i].dataset, file, datasets[i], reference_object, -1) < 0) goto end;
    users[i].axis = axes[i];
  }
  result = write_attribute(scale, "REFERENCE_LIST", type, api.H5Screate_simple(1, &count, NULL), users);
  type = -1;  // closed
end:
  if (type >= 0) api.H5Tclose(type);
  free(users);
  return result;
}
