// Package bundle reads and writes TensorFlow V2 checkpoints ("tensor bundles").
//
// A bundle with the prefix dir/model.ckpt is made of
//
//	dir/model.ckpt.index                  a LevelDB table (SSTable), uncompressed or Snappy
//	dir/model.ckpt.data-00000-of-00001    the tensors' bytes, in one or more shards
//
// The table's keys, in byte order:
//
//	""                BundleHeaderProto: number of shards, byte order, format version
//	name              BundleEntryProto: type, shape, and where the bytes lie: shard, offset, size, and
//	                  the masked CRC-32C of the bytes (format version 1, see [Mask])
//	"\x00" + …        BundleEntryProto of one slice of a partitioned tensor (see sliceKey). The
//	                  tensor's own entry then has no bytes but lists its slices.
//
// Tensors are stored in C order, little-endian, without padding. A tensor of strings is stored as the
// lengths (varints), the masked CRC-32C of the lengths, and the strings; its checksum runs over the
// lengths as fixed-size integers, that inner checksum, and the strings.
//
// The format is TensorFlow's tensorflow/core/util/tensor_bundle.
package bundle

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"

	"github.com/tfconvrnn/go/internal/tfpb"
)

const (
	// formatVersion is the tensor bundle version that this package reads and writes.
	formatVersion = 1

	// The limits below are far above what any model has. They bound what a hostile file can make
	// the reader allocate before a checksum has been seen.
	maxIndexSize  = 16 << 20
	maxEntries    = 1 << 16
	maxKeyLength  = 4 << 10
	maxEntrySize  = 256 << 10
	maxSlices     = 1 << 10
	maxRank       = 254 // TensorShape's own limit
	snappyMaxGain = 32  // Snappy cannot expand by more than 64/3
)

// ErrCorrupt is wrapped by every error that says that a bundle's bytes are not what a writer wrote.
// The error itself is a [*CorruptError].
var ErrCorrupt = errors.New("checkpoint is corrupt")

// ErrNotFound is wrapped by every error that says that a file of a bundle is missing. Such errors
// wrap [fs.ErrNotExist] too.
var ErrNotFound = errors.New("checkpoint not found")

// ErrNoTensor is wrapped by the error for a tensor name that a bundle does not hold.
var ErrNoTensor = errors.New("no such tensor")

// ErrUnsupported is wrapped by every error that says that a bundle is well-formed, as far as could
// be seen, but of a kind that this package does not read.
var ErrUnsupported = errors.New("unsupported checkpoint")

// CorruptError says where a bundle is corrupt. It wraps [ErrCorrupt].
type CorruptError struct {
	File   string // path of the file
	Offset int64  // byte in File: of the fault, or of the block or tensor that holds it
	Reason string
}

// Error names the file, the offset and the remedy.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is corrupt at byte %d: %s; replace the file with an intact copy", e.File, e.Offset, e.Reason)
}

// Unwrap returns [ErrCorrupt].
func (e *CorruptError) Unwrap() error { return ErrCorrupt }

func corrupt(file string, offset int64, format string, args ...any) error {
	return &CorruptError{File: file, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

func notFound(looked, detail string) error {
	return fmt.Errorf("%w: there is no file %s%s (%w)", ErrNotFound, looked, detail, fs.ErrNotExist)
}

func indexPath(prefix string) string { return prefix + ".index" }

func dataPath(prefix string, shard, shards int32) string {
	return fmt.Sprintf("%s.data-%05d-of-%05d", prefix, shard, shards)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Mask turns a CRC-32C into the form in which LevelDB tables and tensor bundles store it, so that a
// checksum over data that holds checksums stays a good one.
func Mask(crc uint32) uint32 { return (crc>>15 | crc<<17) + 0xa282ead8 }

// elementSize returns the bytes that one element of a type takes in a bundle, or 0 for types without
// a fixed size and types that are not known here.
func elementSize(t tfpb.DataType) int64 {
	switch t {
	case tfpb.DataType_DT_UINT8, tfpb.DataType_DT_INT8, tfpb.DataType_DT_BOOL:
		return 1
	case tfpb.DataType_DT_INT16, tfpb.DataType_DT_UINT16, tfpb.DataType_DT_HALF, tfpb.DataType_DT_BFLOAT16:
		return 2
	case tfpb.DataType_DT_FLOAT, tfpb.DataType_DT_INT32, 22: // 22 is DT_UINT32
		return 4
	case tfpb.DataType_DT_DOUBLE, tfpb.DataType_DT_INT64, tfpb.DataType_DT_COMPLEX64, 23: // DT_UINT64
		return 8
	case 18: // DT_COMPLEX128
		return 16
	}
	return 0
}

// elements returns the number of elements of a shape, and false if a dimension is negative, there
// are too many, or the product overflows.
func elements(shape []int64) (int64, bool) {
	if len(shape) > maxRank {
		return 0, false
	}
	n := int64(1)
	for _, d := range shape {
		if d < 0 || (d > 0 && n > math.MaxInt64/d) {
			return 0, false
		}
		n *= d
	}
	return n, true
}
