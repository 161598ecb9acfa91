// Package hdf5 reads and lays out HDF5 files through the HDF Group's own library, which is loaded
// when it is needed: that of a Python environment with h5py, or the system's. No other
// reader is as complete, and Go has none.
//
// The library is not made for several threads, so calls wait for each other.
package hdf5

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
)

var (
	// ErrNoLibrary means that the HDF5 library was not found; the message says where it was
	// looked for.
	ErrNoLibrary = errors.New("the HDF5 library was not found")
	// ErrFormat means a file that is not HDF5, is damaged, or holds what is not read.
	ErrFormat = errors.New("unusable HDF5 file")
)

// Limits on what a file may ask for.
const (
	// mostBytes is the most that is read of a dataset at once.
	mostBytes = 8 << 30
	// mostChunkBytes is the most that HDF5 decompresses at once.
	mostChunkBytes = 1 << 30
	mostMembers    = 1 << 20
	mostName       = 1 << 16
	mostAttribute  = 1 << 24
)

// library is held by whoever calls into the library. HDF5 keeps its last error for each thread, and
// prints it unless that thread has asked it not to.
var library threadMutex

type threadMutex struct{ mutex sync.Mutex }

func (m *threadMutex) Lock() {
	m.mutex.Lock()
	runtime.LockOSThread()
	quiet()
}

func (m *threadMutex) Unlock() {
	runtime.UnlockOSThread()
	m.mutex.Unlock()
}

// File is an open file. It is safe for concurrent use. The caller closes it.
type File struct {
	name   string
	handle int64
	closed bool
	open   map[*Dataset]bool // a file stays open in the library as long as they do
}

// signature is at the beginning of a file, or after a user block of 512 bytes, or twice, four times … that.
const signature = "\x89HDF\r\n\x1a\n"

// Is tells whether the file is HDF5, by its signature.
func Is(file io.ReaderAt) bool {
	for at := int64(0); at <= 1<<24; at = max(512, 2*at) {
		head := make([]byte, len(signature))
		if n, _ := file.ReadAt(head, at); n < len(head) {
			return false
		}
		if string(head) == signature {
			return true
		}
	}
	return false
}

// Open opens a file for reading. Errors wrap ErrNoLibrary, ErrFormat or the file
// system's.
func Open(name string) (*File, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	is := Is(file)
	file.Close()
	if !is {
		return nil, fmt.Errorf("%s: %w: it has no HDF5 signature", name, ErrFormat)
	}
	if err := Load(""); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	library.Lock()
	defer library.Unlock()
	handle := openFile(name)
	if handle < 0 {
		return nil, fmt.Errorf("%s: %w: %s", name, ErrFormat, message())
	}
	return &File{name: name, handle: handle, open: map[*Dataset]bool{}}, nil
}

// Close closes the file and its datasets. It is idempotent.
func (f *File) Close() error {
	library.Lock()
	defer library.Unlock()
	if !f.closed {
		for d := range f.open {
			closeDataset(d.handle)
		}
		closeFile(f.handle)
		f.closed = true
	}
	return nil
}

func (f *File) bad(path string, format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w: %s", f.name, path, ErrFormat, fmt.Sprintf(format, args...))
}

// Member is something in a group.
type Member struct {
	Name    string
	Group   bool
	Dataset bool
}

// Members lists what a group holds, in the order in which it was made where the file
// keeps that, as netCDF files do, and else by name. The error wraps ErrFormat.
func (f *File) Members(group string) ([]Member, error) {
	library.Lock()
	defer library.Unlock()
	if f.closed {
		return nil, f.bad(group, "the file is closed")
	}
	n := members(f.handle, group)
	if n < 0 || n > mostMembers {
		return nil, f.bad(group, "%s", orMany(n, message()))
	}
	var list []Member
	for i := range n {
		name, ok := member(f.handle, group, uint64(i))
		if !ok {
			return nil, f.bad(group, "%s", message())
		}
		kind := kindOf(f.handle, strings.TrimSuffix(group, "/")+"/"+name) // a broken link is neither
		list = append(list, Member{Name: name, Group: kind == 0, Dataset: kind == 1})
	}
	return list, nil
}

func orMany(n int64, message string) string {
	if n > mostMembers {
		return fmt.Sprintf("%d members are more than the %d that are read", n, mostMembers)
	}
	return message
}

// Type is that of a dataset's elements.
type Type string

// The types that are read.
const (
	Integer   Type = "integer"
	Boolean   Type = "boolean"
	Float     Type = "float"
	Text      Type = "text"
	Reference Type = "reference"
	Other     Type = "other"
)

// Dataset is an array of a file. It is safe for concurrent use, until its file is
// closed. The caller closes it.
type Dataset struct {
	// Path is the dataset's.
	Path string
	// Shape is in C order; empty for a single value.
	Shape []int
	// Type is that of the elements, which have Bytes bytes each.
	Type  Type
	Bytes int
	// Signed tells whether integers are.
	Signed bool
	// Chunk is the bytes of a chunk once decompressed, 0 for values in one piece; Stored those that all values take in the
	// file. Elsewhere tells that they are those of other datasets: what is not found is 0 then.
	Chunk, Stored int64
	Elsewhere     bool

	file     *File
	handle   int64
	variable bool // text of variable length
	utf8     bool
	closed   bool
}

// Dataset opens a dataset by its path. The error wraps ErrFormat, also where there is
// none.
func (f *File) Dataset(path string) (*Dataset, error) {
	library.Lock()
	defer library.Unlock()
	if f.closed {
		return nil, f.bad(path, "the file is closed")
	}
	handle := openDataset(f.handle, path)
	if handle < 0 {
		return nil, f.bad(path, "no such dataset: %s", message())
	}
	d := &Dataset{Path: path, file: f, handle: handle}
	shape, ok := describe(handle)
	if !ok {
		closeDataset(handle)
		return nil, f.bad(path, "%s", message())
	}
	d.Type, d.Bytes, d.variable, d.utf8 = shape.elements, shape.size, shape.variable, shape.utf8
	d.Signed, d.Elsewhere = shape.signed, shape.elsewhere
	d.Chunk, d.Stored = int64(min(shape.chunk, math.MaxInt64)), int64(min(shape.stored, math.MaxInt64))
	size := uint64(d.Bytes)
	for _, n := range shape.dims {
		if n > math.MaxInt32*64 || n > 0 && size > math.MaxInt64/n {
			closeDataset(handle)
			return nil, f.bad(path, "an impossible shape %v", shape.dims)
		}
		size *= n
		d.Shape = append(d.Shape, int(n))
	}
	if shape.chunk > mostChunkBytes {
		closeDataset(handle)
		return nil, f.bad(path, "chunks of %d bytes are more than the %d that are read", shape.chunk, int64(mostChunkBytes))
	}
	f.open[d] = true
	return d, nil
}

// Close closes the dataset. It is idempotent.
func (d *Dataset) Close() error {
	library.Lock()
	defer library.Unlock()
	if !d.closed && !d.file.closed {
		closeDataset(d.handle)
		delete(d.file.open, d)
	}
	d.closed = true
	return nil
}

// part checks a part of a dataset, and returns the number of its elements.
func (d *Dataset) part(start, count []int, bytes int) (from, size []uint64, n int, err error) {
	if start == nil && count == nil {
		start, count = make([]int, len(d.Shape)), d.Shape
	}
	if len(start) != len(d.Shape) || len(count) != len(d.Shape) {
		return nil, nil, 0, d.file.bad(d.Path, "a part %v of %v", count, d.Shape)
	}
	n = 1
	for i := range start {
		if start[i] < 0 || count[i] < 0 || start[i] > d.Shape[i]-count[i] {
			return nil, nil, 0, d.file.bad(d.Path, "the part from %v of size %v is not within %v", start, count, d.Shape)
		}
		from, size = append(from, uint64(start[i])), append(size, uint64(count[i]))
		if count[i] > 0 && n > mostBytes/bytes/count[i] {
			return nil, nil, 0, d.file.bad(d.Path, "%v elements are more than are read at once", count)
		}
		n *= count[i]
	}
	if d.closed || d.file.closed {
		return nil, nil, 0, d.file.bad(d.Path, "the dataset is closed")
	}
	return from, size, n, nil
}

// Float64s reads a part of a dataset of numbers, in C order: count elements from start
// in each dimension, or all for nil. The error wraps ErrFormat.
func (d *Dataset) Float64s(start, count []int) ([]float64, error) {
	return readPart(d, start, count, 8, d.numbers(), readDoubles)
}

// Float32s reads a part of a dataset of numbers, rounded, as Float64s does.
func (d *Dataset) Float32s(start, count []int) ([]float32, error) {
	return readPart(d, start, count, 4, d.numbers(), readFloats)
}

// Uint8s reads a part of a dataset of unsigned integers of one byte, as Float64s does.
func (d *Dataset) Uint8s(start, count []int) ([]uint8, error) {
	var refused error
	if d.Type != Integer || d.Bytes != 1 || d.Signed {
		refused = d.file.bad(d.Path, "unsigned bytes are needed, and it holds %s of %d", d.Type, d.Bytes)
	}
	return readPart(d, start, count, 1, refused, readBytes)
}

// Int64s reads a part of a dataset of integers or booleans, as Float64s does.
func (d *Dataset) Int64s(start, count []int) ([]int64, error) {
	var refused error
	if d.Type != Integer && d.Type != Boolean {
		refused = d.file.bad(d.Path, "integers are needed, and it holds %s", d.Type)
	}
	return readPart(d, start, count, 8, refused, readIntegers)
}

// numbers refuses a dataset that does not hold any.
func (d *Dataset) numbers() error {
	if d.Type != Integer && d.Type != Float {
		return d.file.bad(d.Path, "numbers are needed, and it holds %s", d.Type)
	}
	return nil
}

// readPart reads elements that take so many bytes each. refused says why the dataset's type does not do, nil if it
// does; a part that is not there comes before that.
func readPart[T any](d *Dataset, start, count []int, bytes int, refused error,
	read func(dataset int64, start, count []uint64, values []T) bool) ([]T, error) {
	library.Lock()
	defer library.Unlock()
	from, size, n, err := d.part(start, count, bytes)
	if err == nil {
		err = refused
	}
	if err != nil {
		return nil, err
	}
	values := make([]T, n)
	if n > 0 && !read(d.handle, from, size, values) {
		return nil, d.file.bad(d.Path, "%s", message())
	}
	return values, nil
}

// Strings reads a part of a dataset of text, as Float64s does.
func (d *Dataset) Strings(start, count []int) ([]string, error) {
	library.Lock()
	defer library.Unlock()
	from, size, n, err := d.part(start, count, max(d.Bytes, 8))
	if err != nil {
		return nil, err
	}
	if d.Type != Text {
		return nil, d.file.bad(d.Path, "text is needed, and it holds %s", d.Type)
	}
	if n == 0 {
		return []string{}, nil
	}
	if d.variable {
		values, ok := readVariableStrings(d.handle, from, size, d.utf8, n)
		if !ok {
			return nil, d.file.bad(d.Path, "%s", message())
		}
		return values, nil
	}
	raw := make([]byte, n*d.Bytes)
	if !readStrings(d.handle, from, size, d.Bytes, raw) {
		return nil, d.file.bad(d.Path, "%s", message())
	}
	values := make([]string, n)
	for i := range values {
		values[i] = strings.TrimRight(strings.TrimRight(string(raw[i*d.Bytes:][:d.Bytes]), "\x00"), " ")
	}
	return values, nil
}

// Pointed returns the paths that the references of a dataset point to. The error wraps
// ErrFormat.
func (d *Dataset) Pointed() ([]string, error) {
	library.Lock()
	defer library.Unlock()
	_, _, n, err := d.part(nil, nil, 8)
	if err != nil {
		return nil, err
	}
	if d.Type != Reference {
		return nil, d.file.bad(d.Path, "references are needed, and it holds %s", d.Type)
	}
	paths := make([]string, n)
	at := make([]uint64, len(d.Shape))
	for i := range paths {
		rest := i
		for k := len(at) - 1; k >= 0; k-- {
			at[k], rest = uint64(rest%d.Shape[k]), rest/d.Shape[k]
		}
		name, ok := readReference(d.handle, at)
		if !ok {
			return nil, d.file.bad(d.Path, "reference %d: %s", i, message())
		}
		paths[i] = name
	}
	return paths, nil
}

// Attribute returns an attribute that is one value: a string, a float64, or nil if there
// is none of these types. The error wraps ErrFormat.
func (d *Dataset) Attribute(name string) (any, error) {
	library.Lock()
	defer library.Unlock()
	if d.closed || d.file.closed {
		return nil, d.file.bad(d.Path, "the dataset is closed")
	}
	value, ok := attribute(d.handle, name)
	if !ok {
		return nil, d.file.bad(d.Path, "attribute %s: %s", name, message())
	}
	return value, nil
}

// Attribute is Dataset.Attribute of a group.
func (f *File) Attribute(group, name string) (any, error) {
	library.Lock()
	defer library.Unlock()
	if f.closed {
		return nil, f.bad(group, "the file is closed")
	}
	object := openObject(f.handle, group)
	if object < 0 {
		return nil, f.bad(group, "%s", message())
	}
	defer closeObject(object)
	value, ok := attribute(object, name)
	if !ok {
		return nil, f.bad(group, "attribute %s: %s", name, message())
	}
	return value, nil
}

// Dimensions returns the paths of the dimension scales of a dataset, as netCDF files have
// them; "" for a dimension without one. The error wraps ErrFormat.
func (d *Dataset) Dimensions() ([]string, error) {
	library.Lock()
	defer library.Unlock()
	if d.closed || d.file.closed {
		return nil, d.file.bad(d.Path, "the dataset is closed")
	}
	names := make([]string, len(d.Shape))
	for i := range names {
		name, ok := dimension(d.handle, i)
		if !ok {
			return nil, d.file.bad(d.Path, "dimension %d: %s", i, message())
		}
		names[i] = name
	}
	return names, nil
}
