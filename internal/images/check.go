package images

import (
	"bytes"
	"encoding/binary"
	"image"
	"io"
)

// checkedBytes is what Plausible reads of a file's beginning, and of its end.
const (
	checkedBytes = 16 << 10
	checkedEnd   = 1 << 10
)

// Plausible tells from a picture file's header, and from whether it has an end, if it
// can be a picture. It reads little and decodes nothing: a file that has another
// format, is empty, too large or cut short is not plausible. Such a file may be
// readable all the same; only decoding tells.
func Plausible(r io.ReaderAt, size int64, name string) bool {
	head := make([]byte, min(size, checkedBytes))
	if n, _ := r.ReadAt(head, 0); n < len(head) {
		return false
	}
	format, err := sniff(head, name)
	if err != nil {
		return false
	}
	config, err := guarded(func() (image.Config, error) { return decodeConfig(format, head) })
	if err != nil || checkSize(name, config.Width, config.Height, int(size)) != nil {
		return false
	}
	tail := make([]byte, min(size, checkedEnd))
	if n, _ := r.ReadAt(tail, size-int64(len(tail))); n < len(tail) {
		return false
	}
	return ends(format, head, tail, size)
}

// ends tells whether a file of a format has the end that its kind has. A format whose
// end is not known counts as having one.
func ends(format string, head, tail []byte, size int64) bool {
	switch format {
	case PNG:
		return bytes.Contains(tail, []byte("IEND"))
	case JPEG:
		return bytes.Contains(tail, []byte("\xff\xd9"))
	case GIF:
		return bytes.IndexByte(tail, 0x3b) >= 0
	case WebP:
		return int64(binary.LittleEndian.Uint32(head[4:]))+8 <= size
	}
	return true
}
