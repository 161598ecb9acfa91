package respond

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"unsafe"

	"github.com/tfconvrnn/go/internal/parallel"
	"github.com/tfconvrnn/go/tfconvrnn"
)

const imageValues = tfconvrnn.ImageSize * tfconvrnn.ImageSize * 3

// images returns the images of a request. They use the payload.
func (s *Server) images(q *Request, payload []byte) ([]tfconvrnn.Stimulus, error) {
	if q.Images < 1 || q.Images > maxImages {
		return nil, fmt.Errorf("%w: %d images; 1 to %d are possible at once", ErrRequest, q.Images, maxImages)
	}
	if len(q.Paths) > 0 {
		return s.pictures(q, payload)
	}
	size := map[string]int{"uint8": 1, "float32": 4}[q.DataType]
	if size == 0 {
		return nil, fmt.Errorf("%w: images of type %q; there are uint8 and float32", ErrRequest, q.DataType)
	}
	want := q.Images * imageValues * size
	if q.Shared {
		if len(payload) > 0 || s.Shared == nil {
			return nil, fmt.Errorf("%w: images in shared memory, but there is none, or a payload too", ErrRequest)
		}
		var err error
		if payload, err = s.Shared.bytes(want); err != nil {
			return nil, err
		}
	}
	if len(payload) != want {
		return nil, fmt.Errorf("%w: %d bytes are not %d images of %d×%d×3 in %s, which have %d", ErrRequest, len(payload),
			q.Images, tfconvrnn.ImageSize, tfconvrnn.ImageSize, q.DataType, want)
	}
	if size == 1 {
		return tfconvrnn.FromUint8(payload)
	}
	pixels := floatsOf(payload)
	if err := checkRange(pixels); err != nil {
		return nil, err
	}
	return tfconvrnn.FromFloat32(pixels)
}

func (s *Server) pictures(q *Request, payload []byte) ([]tfconvrnn.Stimulus, error) {
	if len(q.Paths) != q.Images || len(payload) > 0 || q.DataType != "" || q.Shared {
		return nil, fmt.Errorf("%w: %d images, but %d paths; and there is no payload or dtype beside paths", ErrRequest,
			q.Images, len(q.Paths))
	}
	images := make([]tfconvrnn.Stimulus, q.Images)
	for i, path := range q.Paths {
		image, err := tfconvrnn.FileImage(path, s.Preprocessing)
		if err != nil {
			return nil, err
		}
		images[i] = tfconvrnn.Stimulus{ID: filepath.Base(path), Frames: []*tfconvrnn.Image{image}}
	}
	return images, nil
}

// checkRange makes sure that no scale has to be guessed: FromFloat32 takes values above 1 to mean
// that all are 0 … 255.
func checkRange(pixels []float32) error {
	var bad atomic.Int64 // the number of a value, and 1
	parallel.For(len(pixels)/imageValues, 1, func(i int) {
		for k, v := range pixels[i*imageValues : (i+1)*imageValues] {
			if !(v >= 0 && v <= 1) {
				bad.CompareAndSwap(0, int64(i*imageValues+k+1))
				return
			}
		}
	})
	if at := int(bad.Load()) - 1; at >= 0 {
		return fmt.Errorf("%w: image %d has the value %g; floating-point images are 0 … 1 here", tfconvrnn.ErrImages,
			at/imageValues, pixels[at])
	}
	return nil
}

// floatsOf views bytes as numbers; the processors that there are libraries for are little-endian.
func floatsOf(data []byte) []float32 {
	if len(data) < 4 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(data))), len(data)/4)
}

// bytesOf views numbers as bytes.
func bytesOf(values []float32) []byte {
	if len(values) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values))
}
