#include <stddef.h>
#include <stdint.h>

// The classes of HDF5's types that are read.
enum { HDF5_INTEGER = 0, HDF5_FLOAT = 1, HDF5_STRING = 3, HDF5_REFERENCE = 7, HDF5_ENUM = 8 };

enum { HDF5_MOST_DIMS = 32 };

typedef struct {
  int rank, class, sign, variable, utf8;  // variable: strings of variable length
  size_t size;                            // bytes of an element
  uint64_t dims[HDF5_MOST_DIMS];
  uint64_t chunk;  // bytes of a chunk once decompressed, 0 for contiguous data
  uint64_t stored; // bytes that the values take in the file
  int is_virtual;  // the values are those of other datasets
} hdf5_shape;

// Functions return a negative number where HDF5 failed; hdf5_message says why.
int hdf5_open_library(const char* path, char* text, size_t size);
// Errors of this thread are not printed: HDF5 keeps that for each.
void hdf5_quiet(void);
void hdf5_version(unsigned* major, unsigned* minor, unsigned* release);
int hdf5_message(char* text, size_t size);

int64_t hdf5_open_file(const char* name);
void hdf5_close_file(int64_t file);
// An object, such as a group, as far as attributes go.
int64_t hdf5_open_object(int64_t file, const char* name);
void hdf5_close_object(int64_t object);
int64_t hdf5_open_dataset(int64_t file, const char* name);
void hdf5_close_dataset(int64_t dataset);
int hdf5_describe(int64_t dataset, hdf5_shape* shape);
// Kinds of objects: 0 a group, 1 a dataset, 2 something else.
int hdf5_kind(int64_t file, const char* name);
int64_t hdf5_members(int64_t file, const char* group);
int64_t hdf5_member(int64_t file, const char* group, uint64_t index, char* name, size_t size);

int hdf5_read_doubles(int64_t dataset, const uint64_t* start, const uint64_t* count, double* values);
int hdf5_read_floats(int64_t dataset, const uint64_t* start, const uint64_t* count, float* values);
int hdf5_read_bytes(int64_t dataset, const uint64_t* start, const uint64_t* count, uint8_t* values);
int hdf5_read_integers(int64_t dataset, const uint64_t* start, const uint64_t* count, int64_t* values);
int hdf5_read_strings(int64_t dataset, const uint64_t* start, const uint64_t* count, size_t size, char* values);
// Each value is the library's own, to be given back with hdf5_free.
int hdf5_read_variable_strings(int64_t dataset, const uint64_t* start, const uint64_t* count, int utf8, char** values);
void hdf5_free(char* value);
// The name of what a reference at one place points to.
int64_t hdf5_read_reference(int64_t dataset, const uint64_t* start, char* name, size_t size);

// The name of the scale of a dimension, of length 0 if there is none.
int64_t hdf5_dimension(int64_t dataset, int axis, char* name, size_t size);

// 0: there is none. 1: text of the given length; 2: a number.
int hdf5_attribute(int64_t dataset, const char* name, char* text, size_t size, double* number);

// How elements are stored. Of text values are char*, and of the others as in memory.
enum { HDF5_F32, HDF5_F64, HDF5_F16, HDF5_I8, HDF5_U8, HDF5_I32, HDF5_I64, HDF5_TEXT };

// A new file, readable by HDF5 1.8 and later. The metadata of datasets are kept together in blocks of meta bytes.
int64_t hdf5_create_file(const char* name, uint64_t meta);
// A dataset; with chunk its room is taken at once, and nothing written.
int64_t hdf5_create_dataset(int64_t file, const char* name, int element, int rank, const uint64_t* dims,
                            const uint64_t* chunk);
int hdf5_write(int64_t dataset, int element, const void* values);
// Whether hdf5_chunk_place can be asked.
int hdf5_knows_places(void);
// Where the chunk that begins at a place lies in the file.
int hdf5_chunk_place(int64_t dataset, const uint64_t* start, uint64_t* offset, uint64_t* size);
int hdf5_write_text_attribute(int64_t object, const char* name, const char* value);
int hdf5_write_integer_attribute(int64_t object, const char* name, uint64_t count, const int64_t* values);
// A dataset becomes a dimension scale.
int hdf5_make_scale(int64_t dataset, const char* name);
// The scales of a dataset's dimensions, by their paths.
int hdf5_write_dimensions(int64_t file, int64_t dataset, int rank, const char* const* scales);
// The other direction: the datasets that a scale is of, and which of their dimensions.
int hdf5_write_scale_users(int64_t file, int64_t scale, uint64_t count, const char* const* datasets, const int* axes);
