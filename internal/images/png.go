package images

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"iter"
	"strings"
)

const pngSignature = "\x89PNG\r\n\x1a\n"

// pngChunk is a chunk of a PNG file (PNG, section 5).
type pngChunk struct {
	kind string
	data []byte
	// sound says that the checksum is right; whole that none of the chunk is missing.
	sound, whole bool
}

// pngChunks yields the chunks of a PNG file; the last may be cut short.
func pngChunks(data []byte) iter.Seq[pngChunk] {
	return func(yield func(pngChunk) bool) {
		data = data[min(len(pngSignature), len(data)):]
		for len(data) >= 8 {
			length := int64(binary.BigEndian.Uint32(data))
			c := pngChunk{kind: string(data[4:8]), whole: length+12 <= int64(len(data))}
			if c.whole {
				c.data = data[8 : 8+length]
				c.sound = crc32.ChecksumIEEE(data[4:8+length]) == binary.BigEndian.Uint32(data[8+length:])
				data = data[12+length:]
			} else {
				c.data = data[8:min(int64(len(data)), 8+length)]
				data = nil
			}
			if !yield(c) {
				return
			}
		}
	}
}

// pngHeader returns the header chunk's content, or nil.
func pngHeader(data []byte) []byte {
	for c := range pngChunks(data) {
		if c.kind == "IHDR" && c.sound && len(c.data) == 13 {
			return c.data
		}
	}
	return nil
}

// pngConfig reads the size of a PNG file, even if the standard library stumbles over what comes after its header.
func pngConfig(data []byte) (image.Config, error) {
	config, err := png.DecodeConfig(bytes.NewReader(data))
	var unsupported png.UnsupportedError
	if header := pngHeader(data); err != nil && !errors.As(err, &unsupported) && header != nil {
		width, height := binary.BigEndian.Uint32(header), binary.BigEndian.Uint32(header[4:])
		if int32(width) > 0 && int32(height) > 0 {
			return image.Config{Width: int(width), Height: int(height)}, nil
		}
	}
	return config, err
}

// decodePNG decodes a file of checked size. A file that the standard library refuses is tried again without what
// does not concern the pixels; Picture.Notice says what that was.
func decodePNG(data []byte) (*Picture, error) {
	img, err := png.Decode(bytes.NewReader(data))
	var faults []string
	if err != nil {
		var repaired []byte
		var cause error
		if repaired, faults, cause = repairPNG(data); cause != nil {
			return nil, err
		}
		if img, cause = png.Decode(bytes.NewReader(repaired)); cause != nil {
			return nil, err
		}
	}
	picture := convert(img)
	picture.Animated = pngFrames(data) > 1
	if len(faults) > 0 {
		picture.Notice = "the file is damaged where that does not concern the pixels: " + strings.Join(faults, ", ")
	}
	return picture, nil
}

var errPNG = errors.New("the PNG data is damaged")

// repairPNG makes a faultless file of the chunks that the pixels are in, as long as these are whole: extra data, a
// missing end, and wrong checksums of other chunks are passed over. Pixels are held to be right by the checksum of
// the compressed data, if that is there, whatever those of its chunks say.
func repairPNG(data []byte) (repaired []byte, faults []string, err error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	kept := map[string][]byte{}
	var compressed []byte
	ended, inData, split := false, false, false
	for c := range pngChunks(data) {
		if !c.whole {
			fault("the file ends within its chunk %q", c.kind)
		} else if !c.sound {
			fault("wrong checksum of its chunk %q", c.kind)
		}
		if inData && c.kind != "IDAT" {
			ended = c.kind == "IEND"
			if !ended && c.whole && c.sound {
				split = true // if more follows
				continue
			}
			break
		}
		switch c.kind {
		case "IHDR", "PLTE", "tRNS":
			if !c.sound {
				return nil, nil, errPNG
			}
			if kept[c.kind] == nil {
				kept[c.kind] = c.data
			} else {
				fault("a second chunk %q", c.kind)
			}
		case "IDAT":
			if inData = true; split {
				fault("other chunks among its pixels")
				split = false
			}
			compressed = append(compressed, c.data...)
		}
	}
	if !ended && len(faults) == 0 {
		fault("its end (IEND) is missing")
	}
	header := kept["IHDR"]
	if len(header) != 13 {
		return nil, nil, errPNG
	}
	if extra := len(kept["PLTE"]) % 3; extra != 0 {
		fault("%d byte(s) too many in its palette", extra)
		kept["PLTE"] = kept["PLTE"][:len(kept["PLTE"])-extra]
	}
	pixels, fault1, err := recompress(compressed, pngDataSize(header))
	if err != nil {
		return nil, nil, err
	}
	if fault1 != "" {
		fault("%s", fault1)
	}
	repaired = append(repaired, pngSignature...)
	for _, c := range []pngChunk{{kind: "IHDR", data: header}, {kind: "PLTE", data: kept["PLTE"]},
		{kind: "tRNS", data: kept["tRNS"]},
		{kind: "IDAT", data: pixels}, {kind: "IEND"}} {
		if len(c.data) == 0 && (c.kind == "PLTE" || c.kind == "tRNS") {
			continue
		}
		start := len(repaired) + 4
		repaired = binary.BigEndian.AppendUint32(repaired, uint32(len(c.data)))
		repaired = append(append(repaired, c.kind...), c.data...)
		repaired = binary.BigEndian.AppendUint32(repaired, crc32.ChecksumIEEE(repaired[start:]))
	}
	return repaired, faults, nil
}

// recompress returns the first size bytes of a zlib stream as one of its own, and what is wrong with the rest.
func recompress(compressed []byte, size int64) (_ []byte, fault string, err error) {
	r, err := zlib.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, "", err
	}
	defer r.Close()
	var out bytes.Buffer
	w, err := zlib.NewWriterLevel(&out, zlib.BestSpeed)
	if err != nil {
		return nil, "", err
	}
	if _, err := io.CopyN(w, r, size); err != nil {
		return nil, "", err
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	switch n, err := r.Read(make([]byte, 1)); {
	case n > 0:
		fault = "more pixels than its header says"
	case errors.Is(err, io.ErrUnexpectedEOF):
		fault = "the checksum of its pixels is missing"
	case err != nil && err != io.EOF:
		return nil, "", err
	}
	return out.Bytes(), fault, nil
}

// pngFrames is the number of frames of an animated PNG (PNG, third edition, section 11.3.6), with its still picture
// if that is none of them, or 1.
func pngFrames(data []byte) int64 {
	frames, still := int64(1), int64(0)
	for c := range pngChunks(data) {
		switch {
		case c.kind == "acTL" && len(c.data) == 8:
			frames, still = int64(binary.BigEndian.Uint32(c.data)), 1
		case c.kind == "fcTL":
			still = 0
		case c.kind == "IDAT":
			return frames + still
		}
	}
	return frames
}

// pngDataSize is the number of bytes that the pixels have before compression (PNG, sections 7.2 and 8.1).
func pngDataSize(header []byte) int64 {
	width, height := int64(binary.BigEndian.Uint32(header)), int64(binary.BigEndian.Uint32(header[4:]))
	channels := [8]int64{1, 0, 3, 1, 2, 0, 4, 0}[header[9]&7]
	bits := channels * int64(header[8])
	size := func(width, height int64) int64 {
		if width == 0 {
			return 0
		}
		return height * (1 + (width*bits+7)/8)
	}
	if header[12] == 0 {
		return size(width, height)
	}
	total := int64(0)
	for _, p := range [7][4]int64{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2},
		{0, 1, 1, 2}} {
		total += size(max(0, (width-p[0]+p[2]-1)/p[2]), max(0, (height-p[1]+p[3]-1)/p[3]))
	}
	return total
}
