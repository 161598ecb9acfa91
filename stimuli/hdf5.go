package stimuli

import (
	"container/list"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/hdf5"
)

// pixels are an array of pictures. It is safe for concurrent use.
type pixels interface {
	Info() features.Info
	// Uint8s and Float32s read count rows from first on.
	Uint8s(first, count int) ([]uint8, error)
	Float32s(first, count int) ([]float32, error)
}

// arrayFile is a file of arrays.
type arrayFile interface {
	Names() []string
	Close() error
	pixels(name string) (pixels, error)
	// ids reads a column of texts.
	ids(name string) ([]string, error)
}

// openArrays opens NumPy's arrays, or HDF5.
func openArrays(name string) (arrayFile, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	is := hdf5.Is(file)
	file.Close()
	if is || hasSuffix(name, hdf5Suffixes) {
		return openHDF5(name)
	}
	arrays, err := features.OpenArrays(name)
	if err != nil {
		return nil, err
	}
	return numpyFile{arrays}, nil
}

// numpyFile is an .npy or .npz file.
type numpyFile struct{ *features.File }

func (f numpyFile) pixels(name string) (pixels, error) { return f.Array(name) }

func (f numpyFile) ids(name string) ([]string, error) {
	a, err := f.Array(name)
	if err != nil {
		return nil, err
	}
	if err := a.CheckRank(1); err != nil {
		return nil, err
	}
	return a.Strings(0, a.Info().Rows())
}

// hdf5File is a file of h5py's, say.
type hdf5File struct {
	file  *hdf5.File
	path  string
	names []string // of the datasets in the root group
}

func openHDF5(name string) (*hdf5File, error) {
	file, err := hdf5.Open(name)
	if err != nil {
		return nil, fileError(err)
	}
	f := &hdf5File{file: file, path: name}
	members, err := file.Members("/")
	if err != nil {
		return nil, errors.Join(fileError(err), file.Close())
	}
	for _, m := range members {
		if m.Dataset {
			f.names = append(f.names, m.Name)
		}
	}
	return f, nil
}

// fileError makes an error of HDF5's one about a file of arrays.
func fileError(err error) error {
	if errors.Is(err, hdf5.ErrFormat) {
		return fmt.Errorf("%w: %w", features.ErrFormat, err)
	}
	return err
}

// Names are those of the datasets in the root group.
func (f *hdf5File) Names() []string { return f.names }

// Close closes the file.
func (f *hdf5File) Close() error { return f.file.Close() }

func (f *hdf5File) dataset(name string) (*hdf5.Dataset, error) {
	d, err := f.file.Dataset(name)
	if err == nil || slices.Contains(f.names, name) {
		return d, fileError(err)
	}
	const most = 20
	known := slices.Sorted(slices.Values(f.names))
	more := ""
	if len(known) > most {
		known, more = known[:most], ", …"
	}
	return nil, fmt.Errorf("%s: %w: %q; the file has: %s%s; those in groups have paths, such as stimuli/images", f.path,
		features.ErrNoArray, name, strings.Join(known, ", "), more)
}

const (
	// hdf5Block is about how much is read at once, and hdf5MostBlock the most, where chunks are larger than that.
	hdf5Block, hdf5MostBlock = 4 << 20, 128 << 20
	// hdf5MostRatio is the most that values can be larger than what is stored of them: deflate's.
	hdf5MostRatio = 1032
	// hdf5MostRow bounds the bytes of a stimulus.
	hdf5MostRow = 1 << 30
	// hdf5MostIDs bounds texts that are read for ids.
	hdf5MostIDs = 1 << 30
)

func (f *hdf5File) pixels(name string) (pixels, error) {
	if name == "" {
		return nil, fmt.Errorf("%s: %w: name the dataset; the file has: %s", f.path, features.ErrNoArray,
			strings.Join(f.names, ", "))
	}
	d, err := f.dataset(name)
	if err != nil {
		return nil, err
	}
	p := &hdf5Pixels{data: d, blocks: map[int]*list.Element{}, order: list.New()}
	p.info = features.Info{Name: name, Shape: d.Shape, ElementSize: d.Bytes, DataType: pixelType(d), Descr: string(d.Type)}
	all := int64(d.Bytes)
	for _, n := range d.Shape { // which fits: hdf5 has checked it
		all *= int64(n)
	}
	switch {
	case d.Elsewhere:
		err = fmt.Errorf("%w: its values lie in other datasets (a virtual dataset), and what is missing of them would be black",
			features.ErrFormat)
	case all > 0 && d.Stored == 0 || all/hdf5MostRatio > d.Stored:
		err = fmt.Errorf("%w: shape %v needs %d bytes, and %d are stored", features.ErrFormat, d.Shape, all, d.Stored)
	case len(d.Shape) > 0 && d.Shape[0] > 0 && all/int64(d.Shape[0]) > hdf5MostRow:
		err = fmt.Errorf("%w: a stimulus of %d bytes", features.ErrFormat, all/int64(d.Shape[0]))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %s: %w", f.path, name, err), d.Close())
	}
	row := max(p.info.RowElements()*d.Bytes, 1)
	p.rows = int(min(max(hdf5Block, d.Chunk), hdf5MostBlock))/row + 1
	if chunk := int(d.Chunk) / row; chunk > 0 && chunk < p.rows { // blocks of whole chunks, where these are of whole rows
		p.rows = p.rows / chunk * chunk
	}
	return p, nil
}

func pixelType(d *hdf5.Dataset) features.DataType {
	types := map[int]features.DataType{}
	switch {
	case d.Type == hdf5.Boolean:
		return features.Bool
	case d.Type == hdf5.Float:
		types = map[int]features.DataType{2: features.Float16, 4: features.Float32, 8: features.Float64}
	case d.Type == hdf5.Integer && d.Signed:
		types = map[int]features.DataType{1: features.Int8, 2: features.Int16, 4: features.Int32, 8: features.Int64}
	case d.Type == hdf5.Integer:
		types = map[int]features.DataType{1: features.Uint8, 2: features.Uint16, 4: features.Uint32, 8: features.Uint64}
	}
	return types[d.Bytes] // InvalidType for others
}

func (f *hdf5File) ids(name string) ([]string, error) {
	d, err := f.dataset(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if d.Type != hdf5.Text || len(d.Shape) != 1 || d.Shape[0] > hdf5MostIDs/max(d.Bytes, 1) {
		return nil, fmt.Errorf("%s: %s: %w: ids are texts in one dimension, and these are %s of shape %v", f.path, name,
			features.ErrDataType, d.Type, d.Shape)
	}
	values, err := d.Strings(nil, nil)
	return values, fileError(err)
}

// hdf5Pixels reads rows of a dataset in blocks, of which it keeps the last, since what is compressed is decompressed in
// chunks, and several stimuli are read at once, each in its place.
type hdf5Pixels struct {
	info features.Info
	data *hdf5.Dataset
	rows int // of a block

	mu     sync.Mutex
	blocks map[int]*list.Element // of hdf5Rows, the one used last in front
	order  *list.List
}

// hdf5Rows are the rows of a block.
type hdf5Rows struct {
	number int
	bytes  []uint8
	floats []float32
}

// Info describes the dataset.
func (p *hdf5Pixels) Info() features.Info {
	info := p.info
	info.Shape = slices.Clone(info.Shape)
	return info
}

// block returns a block, which is not changed.
func (p *hdf5Pixels) block(number int) (*hdf5Rows, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.blocks[number]; e != nil {
		p.order.MoveToFront(e)
		return e.Value.(*hdf5Rows), nil
	}
	start, count := make([]int, len(p.info.Shape)), slices.Clone(p.info.Shape)
	start[0] = number * p.rows
	count[0] = min(p.rows, p.info.Shape[0]-start[0])
	b, err := &hdf5Rows{number: number}, error(nil)
	if p.info.DataType == features.Uint8 {
		b.bytes, err = p.data.Uint8s(start, count)
	} else {
		b.floats, err = p.data.Float32s(start, count)
	}
	if err != nil {
		return nil, fileError(err)
	}
	p.blocks[number] = p.order.PushFront(b)
	size := int64(p.rows) * int64(p.info.RowElements()) * 4
	for most := max(2, min(2*runtime.GOMAXPROCS(0), int(hdf5MostBlock/max(size, 1)))); p.order.Len() > most; {
		last := p.order.Back()
		p.order.Remove(last)
		delete(p.blocks, last.Value.(*hdf5Rows).number)
	}
	return b, nil
}

// read copies rows out of blocks.
func readHDF5[T any](p *hdf5Pixels, first, count int, of func(*hdf5Rows) []T) ([]T, error) {
	if rows := p.info.Shape[0]; first < 0 || count < 0 || first > rows-count {
		return nil, fmt.Errorf("%s: %w: rows %d to %d of %d", p.info.Name, features.ErrRange, first, first+count, rows)
	}
	row := p.info.RowElements()
	values := make([]T, 0, count*row)
	for i := first; i < first+count; i++ {
		b, err := p.block(i / p.rows)
		if err != nil {
			return nil, err
		}
		values = append(values, of(b)[i%p.rows*row:][:row]...)
	}
	return values, nil
}

// Uint8s reads rows of a dataset of them.
func (p *hdf5Pixels) Uint8s(first, count int) ([]uint8, error) {
	return readHDF5(p, first, count, func(b *hdf5Rows) []uint8 { return b.bytes })
}

// Float32s reads rows of floating-point numbers.
func (p *hdf5Pixels) Float32s(first, count int) ([]float32, error) {
	return readHDF5(p, first, count, func(b *hdf5Rows) []float32 { return b.floats })
}
