package images

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"math/bits"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/image/tiff/lzw"
)

// chunk returns the uncompressed rows of a strip or tile, of which rows are wanted.
func (t *tiffPicture) chunk(i, rows int) (io.Reader, error) {
	data := tail(t.data, t.offsets[i])
	if t.compression == rawTIFF { // rows and their size are known from the directory
		if t.lsb {
			data = reverseBits(data[:min(len(data), t.chunkSize(rows))])
		}
		return bytes.NewReader(data), nil
	}
	if i < len(t.counts) && t.counts[i] > 0 {
		if t.counts[i] > uint64(len(data)) {
			return nil, io.ErrUnexpectedEOF
		}
		data = data[:t.counts[i]]
	} else if len(t.offsets) > 1 {
		return nil, errors.New("the TIFF does not say how long its strips or tiles are")
	}
	// Strips that share their bytes would let a small file cost much time.
	if t.consumed += len(data); t.consumed > 2*len(t.data) {
		return nil, errors.New("the TIFF's strips or tiles overlap")
	}
	if t.lsb && t.compression != jpegTIFF {
		data = reverseBits(data)
	}
	switch t.compression {
	case lzwTIFF:
		return lzw.NewReader(bytes.NewReader(data), lzw.MSB, 8), nil
	case adobeDeflate, deflateTIFF:
		return inflate(data, t.chunkSize(rows), min(t.chunkSize(t.tileHeight), t.chunkSize(rows)+maxTilePadding))
	case packBits:
		return &packBitsReader{data: data}, nil
	case zstdTIFF:
		return decodeZstd(data, min(t.chunkSize(t.tileHeight), t.chunkSize(rows)+maxTilePadding))
	case jpegTIFF:
		return t.decodeJPEG(data, rows)
	}
	return t.decodeFax(data, rows)
}

// inflate unpacks a chunk, of which so many bytes are needed and that has at most so many.
// It reads on to the checksum, since damaged data may have the right length.
func inflate(data []byte, needed, most int) (io.Reader, error) {
	unpacker, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	unpacked, err := io.ReadAll(io.LimitReader(unpacker, int64(most)+1))
	if err != nil && (len(unpacked) < needed || errors.Is(err, zlib.ErrChecksum)) {
		return nil, err
	}
	return bytes.NewReader(unpacked), nil
}

// chunkSize is the size of so many rows of a chunk, uncompressed.
func (t *tiffPicture) chunkSize(rows int) int {
	if t.subsampleX*t.subsampleY > 1 {
		return t.subsampledRowSize() * ((rows + t.subsampleY - 1) / t.subsampleY)
	}
	return t.rowSize() * rows
}

func reverseBits(data []byte) []byte {
	reversed := make([]byte, len(data))
	for i, b := range data {
		reversed[i] = bits.Reverse8(b)
	}
	return reversed
}

// packBitsReader is TIFF 6.0, section 9.
type packBitsReader struct {
	data   []byte
	run    int // bytes that are left of the run or the literal
	repeat bool
}

func (r *packBitsReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(r.data) == 0 {
			return n, io.EOF
		}
		switch {
		case r.run == 0:
			switch head := int(int8(r.data[0])); {
			case head >= 0:
				r.run, r.repeat = head+1, false
			case head > -128:
				r.run, r.repeat = 1-head, true
			}
			r.data = r.data[1:]
		case r.repeat:
			p[n] = r.data[0]
			n++
			if r.run--; r.run == 0 {
				r.data = r.data[1:]
			}
		default:
			count := copy(p[n:], r.data[:min(r.run, len(r.data))])
			n += count
			r.run -= count
			r.data = r.data[count:]
		}
	}
	return n, nil
}

// decodeZstd decompresses a chunk at once: a stream would need memory for the
// window that the data declares, whatever its size.
func decodeZstd(data []byte, size int) (io.Reader, error) {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	defer decoder.Close()
	decoded, err := decoder.DecodeAll(data, make([]byte, 0, size))
	return bytes.NewReader(decoded), err
}

// decodeJPEG returns the samples of a JPEG stream in chunky order; of YCbCr in
// one plane they are RGB.
func (t *tiffPicture) decodeJPEG(data []byte, rows int) (io.Reader, error) {
	if len(t.tables) > 4 && len(data) > 2 {
		tables := bytes.TrimSuffix(t.tables, []byte("\xff\xd9"))
		data = bytes.Join([][]byte{tables, data[2:]}, nil)
	}
	samples := t.samples / t.planes()
	if samples == 4 {
		data = withAdobeSegment(data)
	}
	config, err := jpegConfig(data)
	if err != nil {
		return nil, err
	}
	if config.Width != t.tileWidth || config.Height < rows || config.Height > t.tileHeight {
		return nil, fmt.Errorf("a strip or tile of %d×%d pixels holds a JPEG of %d×%d", t.tileWidth, rows, config.Width,
			config.Height)
	}
	size := t.rowSize() * config.Height
	if t.photometric == ycbcrTIFF && samples == 3 {
		picture, err := decodeJPEG(data, config)
		if err != nil {
			return nil, err
		}
		if len(picture.Pix) != size {
			return nil, fmt.Errorf("a strip or tile of %d bytes holds a JPEG of %d", size, len(picture.Pix))
		}
		return bytes.NewReader(picture.Pix), nil
	}
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var pix []uint8
	switch img := img.(type) {
	case *image.Gray:
		if samples == 1 {
			pix = packRows(img.Pix, img.Stride, config.Width, config.Height)
		}
	case *image.YCbCr:
		if samples == 3 && img.SubsampleRatio == image.YCbCrSubsampleRatio444 { // the channels as they are
			pix = make([]uint8, 0, size)
			for y := range config.Height {
				for x := range config.Width {
					i := img.COffset(x, y)
					pix = append(pix, img.Y[img.YOffset(x, y)], img.Cb[i], img.Cr[i])
				}
			}
		}
	case *image.RGBA:
		if samples == 3 {
			pix = convert(img).Pix
		}
	case *image.CMYK:
		if samples == 4 {
			pix = packRows(img.Pix, img.Stride, 4*config.Width, config.Height)
			for i, v := range pix {
				pix[i] = ^v // Go's decoder inverts it
			}
		}
	}
	if len(pix) != size {
		return nil, unsupportedError(fmt.Sprintf("TIFF of %s whose JPEG data has other channels (%T)", t.kind(), img))
	}
	return bytes.NewReader(pix), nil
}

// packRows removes what lies between rows.
func packRows(pix []uint8, stride, width, height int) []uint8 {
	packed := make([]uint8, 0, width*height)
	for y := range height {
		packed = append(packed, pix[y*stride:y*stride+width]...)
	}
	return packed
}

// unpredict undoes the differences of TIFF 6.0, section 14, and of TIFF
// Technical Note 3 for floats.
func (t *tiffPicture) unpredict(row []byte) {
	stride := t.samples / t.planes()
	if t.predictor == 3 {
		for i := stride; i < len(row); i++ {
			row[i] += row[i-stride]
		}
		return
	}
	if t.predictor != 2 {
		return
	}
	switch t.bits {
	case 8:
		for i := stride; i < len(row); i++ {
			row[i] += row[i-stride]
		}
	case 16:
		for i := 2 * stride; i+2 <= len(row); i += 2 {
			t.order.PutUint16(row[i:], t.order.Uint16(row[i:])+t.order.Uint16(row[i-2*stride:]))
		}
	case 32:
		for i := 4 * stride; i+4 <= len(row); i += 4 {
			t.order.PutUint32(row[i:], t.order.Uint32(row[i:])+t.order.Uint32(row[i-4*stride:]))
		}
	}
}

// unpack spreads a row of a chunk or of one of its planes over samples, as they
// are stored: signed ones and floats by their bits.
func (t *tiffPicture) unpack(samples []uint32, row []byte) {
	count, step := t.tileWidth*t.samples/t.planes(), t.planes()
	switch {
	case t.predictor == 3: // bytes of equal weight side by side, the highest first
		for i := range count {
			samples[i*step] = uint32(row[i])<<24 | uint32(row[count+i])<<16 | uint32(row[2*count+i])<<8 | uint32(row[3*count+i])
		}
	case t.bits == 8:
		for i := range count {
			samples[i*step] = uint32(row[i])
		}
	case t.bits == 16:
		for i := range count {
			samples[i*step] = uint32(t.order.Uint16(row[2*i:]))
		}
	case t.bits == 32:
		for i := range count {
			samples[i*step] = t.order.Uint32(row[4*i:])
		}
	default:
		var buffer uint32
		filled := 0
		for i := range count {
			for filled < t.bits {
				buffer = buffer<<8 | uint32(row[0])
				row = row[1:]
				filled += 8
			}
			filled -= t.bits
			samples[i*step] = buffer >> filled & (1<<t.bits - 1)
		}
	}
}
