package images

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"io"
	"iter"

	"golang.org/x/image/webp"
)

// riffChunk is a chunk of a WebP file (RFC 9649, section 2.3).
type riffChunk struct {
	kind string
	data []byte
}

// webpChunks yields the chunks of a WebP file, or of a frame of one.
func webpChunks(data []byte) iter.Seq[riffChunk] {
	return func(yield func(riffChunk) bool) {
		for len(data) >= 8 {
			length := int64(binary.LittleEndian.Uint32(data[4:]))
			if length > int64(len(data)-8) || !yield(riffChunk{string(data[:4]), data[8 : 8+length]}) {
				return
			}
			data = data[min(int64(len(data)), 8+length+length%2):]
		}
	}
}

// decodeWebP decodes a file of checked size, the first frame of an animated one.
func decodeWebP(data []byte) (*Picture, error) {
	if int64(binary.LittleEndian.Uint32(data[4:]))+8 > int64(len(data)) {
		return nil, io.ErrUnexpectedEOF // the decoder does not miss the last bytes
	}
	var header []byte
	var first *riffChunk
	for c := range webpChunks(data[12:]) {
		if c.kind == "VP8X" && header == nil {
			header = c.data
		}
		if c.kind != "ANMF" || header == nil {
			continue
		}
		if first != nil { // another frame
			picture, err := firstWebPFrame(header, first.data)
			if err == nil {
				picture.Animated = true
			}
			return picture, err
		}
		first = &c
	}
	if first != nil {
		return firstWebPFrame(header, first.data)
	}
	img, err := webp.Decode(bytes.NewReader(data))
	if err != nil {
		// The flags of the header do not tell what is there; the chunks do.
		if width, height, ok := webpCanvas(header); ok {
			if still, cause := stillWebP(data[12:], width, height); cause == nil {
				return still, nil
			}
		}
		return nil, err
	}
	return convertWebP(img), nil
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// webpCanvas reads the size that a VP8X chunk declares.
func webpCanvas(header []byte) (width, height int, ok bool) {
	if len(header) < 10 {
		return 0, 0, false
	}
	return uint24(header[4:]) + 1, uint24(header[7:]) + 1, true
}

var errWebP = errors.New("the WebP data is damaged")

// firstWebPFrame puts a frame on its canvas, which is transparent black.
func firstWebPFrame(header, frame []byte) (*Picture, error) {
	width, height, ok := webpCanvas(header)
	if !ok || len(frame) < 16 {
		return nil, errWebP
	}
	x, y := 2*uint24(frame), 2*uint24(frame[3:])
	w, h := uint24(frame[6:])+1, uint24(frame[9:])+1
	if x+w > width || y+h > height {
		return nil, errWebP
	}
	part, err := stillWebP(frame[16:], w, h)
	if err != nil || w == width && h == height {
		return part, err
	}
	picture := newPicture(width, height)
	picture.alpha = make([]uint8, width*height)
	for row := range h {
		to, from := (y+row)*width+x, row*w
		copy(picture.Pix[3*to:], part.Pix[3*from:3*(from+w)])
		for i := range w {
			picture.alpha[to+i] = 255
			if part.alpha != nil {
				picture.alpha[to+i] = part.alpha[from+i]
			}
		}
	}
	return picture, nil
}

// stillWebP decodes the picture in some chunks, of checked size.
func stillWebP(chunks []byte, width, height int) (*Picture, error) {
	var alpha, pixels *riffChunk
	for c := range webpChunks(chunks) {
		switch c.kind {
		case "ALPH":
			alpha = &c
		case "VP8 ", "VP8L":
			pixels = &c
		}
		if pixels != nil {
			break
		}
	}
	if pixels == nil {
		return nil, errWebP
	}
	var body []byte
	add := func(c riffChunk) {
		body = append(body, c.kind...)
		body = binary.LittleEndian.AppendUint32(body, uint32(len(c.data)))
		body = append(body, c.data...)
		if len(c.data)%2 == 1 {
			body = append(body, 0)
		}
	}
	header := make([]byte, 10)
	for i, v := range []int{width - 1, height - 1} {
		header[4+3*i], header[5+3*i], header[6+3*i] = uint8(v), uint8(v>>8), uint8(v>>16)
	}
	if alpha != nil && pixels.kind == "VP8 " {
		header[0] = 0x10
	}
	add(riffChunk{"VP8X", header})
	if header[0] != 0 {
		add(*alpha)
	}
	add(*pixels)
	file := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(4+len(body)))
	file = append(append(file, "WEBP"...), body...)
	img, err := webp.Decode(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	if size := img.Bounds().Size(); size != image.Pt(width, height) {
		return nil, errWebP
	}
	return convertWebP(img), nil
}
