package bundle

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/tfconvrnn/go/internal/tfpb"
)

// VerifyAll verifies the checksum of every tensor of the bundle, whatever its type. progress, which
// may be nil, is called with the bytes verified so far and those there are. It stops at the first
// fault, and when ctx is done.
func (r *Reader) VerifyAll(ctx context.Context, progress func(done, total int64)) error {
	var done, total int64
	for _, t := range r.stored {
		total += t.Size
	}
	report := func(n int) {
		done += int64(n)
		if progress != nil {
			progress(done, total)
		}
	}
	for _, t := range r.stored {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		switch t.DataType {
		case tfpb.DataType_DT_STRING:
			if err = r.verifyStrings(ctx, t); err == nil {
				report(int(t.Size))
			}
		case tfpb.DataType_DT_VARIANT:
			err = fmt.Errorf("%w: the tensor %q in %s is of type %v, whose checksum cannot be verified",
				ErrUnsupported, t.Name, r.prefix, t.DataType)
		default:
			err = r.stream(ctx, t, func(b []byte) error { report(len(b)); return nil })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Verify verifies the checksum of a tensor that [Reader.ReadFloat32] can read.
func (r *Reader) Verify(name string) error {
	t, _, err := r.readable(name)
	if err != nil {
		return err
	}
	parts := []*tensor{t}
	if len(t.slices) > 0 {
		parts = nil
		for _, s := range t.slices {
			parts = append(parts, s.data)
		}
	}
	for _, part := range parts {
		if err := r.stream(context.Background(), part, func([]byte) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// verifyStrings verifies a tensor of strings: varint lengths, their masked checksum, the strings.
func (r *Reader) verifyStrings(ctx context.Context, t *tensor) error {
	s := r.shards[int32(t.Shard)]
	bad := func(offset int64, reason string) error {
		return corrupt(s.path, t.Offset+offset, "tensor %q: %s", t.Name, reason)
	}
	buffer := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(buffer)

	in := &stringReader{r: r, t: t, buffer: buffer[:]}
	crc := uint32(0)
	var body uint64
	n := t.Elements()
	if n > t.Size {
		return bad(0, "more strings than bytes")
	}
	for range n {
		length, err := binary.ReadUvarint(in)
		if in.err != nil {
			return in.err
		}
		if err != nil || length > uint64(t.Size) || body+length > uint64(t.Size) {
			return bad(in.offset, "impossible length of a string")
		}
		body += length
		// The checksum sees the length as an integer of the smaller size that holds it.
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], length)
		width := 4
		if length > 1<<32-1 {
			width = 8
		}
		crc = crc32.Update(crc, castagnoli, b[:width])
	}
	var lengths [4]byte
	for i := range lengths {
		b, err := in.ReadByte()
		if err != nil {
			return cmp.Or(in.err, bad(in.offset, "the strings' lengths are cut short"))
		}
		lengths[i] = b
	}
	if binary.LittleEndian.Uint32(lengths[:]) != Mask(crc) {
		return bad(0, "the checksum of the strings' lengths does not match")
	}
	crc = crc32.Update(crc, castagnoli, lengths[:])
	if uint64(t.Size-in.offset) != body {
		return bad(in.offset, "the strings do not fill the tensor")
	}
	for at := in.offset; at < t.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buffer[:min(chunkSize, t.Size-at)]
		if err := r.readAt(t, b, at); err != nil {
			return err
		}
		crc = crc32.Update(crc, castagnoli, b)
		at += int64(len(b))
	}
	return r.compare(t, crc)
}

// stringReader reads the bytes of a tensor one by one.
type stringReader struct {
	r           *Reader
	t           *tensor
	buffer      []byte
	offset      int64 // of the next byte in the tensor
	from, until int64 // what of the tensor the buffer holds
	err         error // what reading the file failed with
}

func (s *stringReader) ReadByte() (byte, error) {
	if s.offset >= s.t.Size {
		return 0, io.EOF
	}
	if s.offset >= s.until {
		n := min(int64(len(s.buffer)), s.t.Size-s.offset)
		if s.err = s.r.readAt(s.t, s.buffer[:n], s.offset); s.err != nil {
			return 0, s.err
		}
		s.from, s.until = s.offset, s.offset+n
	}
	b := s.buffer[s.offset-s.from]
	s.offset++
	return b, nil
}
