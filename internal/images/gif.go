package images

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"io"
	"iter"
	"slices"
	"time"
)

// Disposal methods of the graphic control extension (GIF89a, section 23).
const (
	disposeToBackground = 2
	disposeToPrevious   = 3
)

// gifFrame is what Go's decoder does not tell about a frame, or not well
// enough: it replaces the colour of the transparent index by black.
type gifFrame struct {
	rect        image.Rectangle
	transparent int // index, or -1
	disposal    int // the method in force, which frames without one inherit as in Pillow
	delay       time.Duration
}

// scanGIF walks the blocks of a GIF file up to maxFrames frames. It returns the
// frames and a copy of the file with the transparency flags cleared, so that
// the decoder keeps the palettes whole.
func scanGIF(data []byte, maxFrames int) (frames []gifFrame, patched []byte, err error) {
	patched = slices.Clone(data)
	colours := func(flags byte) int {
		if flags&0x80 == 0 {
			return 0
		}
		return 3 << (flags&7 + 1)
	}
	if len(data) < 13 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	offset := 13 + colours(data[10])
	next := gifFrame{transparent: -1}
	skipBlocks := func() bool {
		for offset < len(data) {
			size := int(data[offset])
			offset += 1 + size
			if size == 0 {
				return true
			}
		}
		return false
	}
	for len(frames) < maxFrames && offset < len(data) {
		switch data[offset] {
		case 0x3b: // trailer
			return frames, patched, nil
		case 0x21: // extension
			if offset+7 < len(data) && data[offset+1] == 0xf9 && data[offset+2] == 4 {
				flags := data[offset+3]
				next.transparent = -1
				if flags&1 != 0 {
					next.transparent = int(data[offset+6])
					patched[offset+3] &^= 1
				}
				if method := int(flags >> 2 & 7); method != 0 {
					next.disposal = method
				}
				next.delay = time.Duration(binary.LittleEndian.Uint16(data[offset+4:])) * 10 * time.Millisecond
			}
			offset += 2
			if !skipBlocks() {
				return frames, patched, nil
			}
		case 0x2c: // image
			if offset+10 > len(data) {
				return frames, patched, nil
			}
			word := func(i int) int { return int(binary.LittleEndian.Uint16(data[offset+i:])) }
			next.rect = image.Rect(word(1), word(3), word(1)+word(5), word(3)+word(7))
			frames = append(frames, next)
			next = gifFrame{transparent: -1, disposal: next.disposal}
			offset += 10 + colours(data[offset+9]) + 1
			if !skipBlocks() {
				return frames, patched, nil
			}
		default:
			return frames, patched, nil // the decoder says what is wrong with it
		}
	}
	return frames, patched, nil
}

// decodeGIF reads the first frame.
func decodeGIF(data []byte) (*Picture, error) {
	frames, patched, err := scanGIF(data, 2)
	if err != nil {
		return nil, err
	}
	if len(frames) == 0 {
		return nil, errors.New("the GIF holds no frame")
	}
	config, err := gif.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	img, err := gif.Decode(bytes.NewReader(patched))
	if err != nil {
		return nil, err
	}
	paletted, ok := img.(*image.Paletted)
	if !ok {
		return nil, fmt.Errorf("the GIF decoder returned a %T", img)
	}
	picture := firstFrame(config.Width, config.Height, paletted, frames[0])
	picture.takeGIFAlpha(paletted, frames[0])
	picture.Animated = len(frames) > 1
	return picture, nil
}

// takeGIFAlpha marks what of the first frame is transparent: its transparent index, and what it leaves open if it
// has one.
func (p *Picture) takeGIFAlpha(img *image.Paletted, frame gifFrame) {
	if frame.transparent < 0 {
		return
	}
	for i := range p.Width * p.Height {
		at := image.Pt(i%p.Width, i/p.Width)
		if !at.In(img.Rect) || int(img.Pix[img.PixOffset(at.X, at.Y)]) == frame.transparent {
			p.setAlpha(i, 0)
		}
	}
}

// firstFrame draws the first frame. What it leaves open has the transparent
// index if there is one, else index 0, as in Pillow.
func firstFrame(width, height int, img *image.Paletted, frame gifFrame) *Picture {
	picture := newPicture(width, height)
	picture.Format = GIF
	palette := opaquePalette(img.Palette)
	fill(picture, image.Rect(0, 0, width, height), palette[max(frame.transparent, 0)])
	draw(picture, img, palette, -1)
	return picture
}

func fill(picture *Picture, rect image.Rectangle, colour [3]uint8) {
	rect = rect.Intersect(image.Rect(0, 0, picture.Width, picture.Height))
	for y := rect.Min.Y; y < rect.Max.Y; y++ {
		for x := rect.Min.X; x < rect.Max.X; x++ {
			copy(picture.Pix[3*(y*picture.Width+x):], colour[:])
		}
	}
}

func draw(picture *Picture, img *image.Paletted, palette *[256][3]uint8, transparent int) {
	rect := img.Rect.Intersect(image.Rect(0, 0, picture.Width, picture.Height))
	for y := rect.Min.Y; y < rect.Max.Y; y++ {
		for x := rect.Min.X; x < rect.Max.X; x++ {
			if index := img.Pix[img.PixOffset(x, y)]; int(index) != transparent {
				copy(picture.Pix[3*(y*picture.Width+x):], palette[index][:])
			}
		}
	}
}

// Animation is an animated GIF. It is immutable and safe for concurrent use.
type Animation struct {
	// Width and Height of every frame, in pixels.
	Width, Height int
	// Delays holds how long each frame is shown, as the file says. Many files say
	// 0 and leave the speed to the viewer.
	Delays []time.Duration
	// LoopCount is the number of times that the animation restarts: 0 means
	// forever, -1 that it is shown once.
	LoopCount int

	frames  []gifFrame
	decoded *gif.GIF
}

// Len is the number of frames, at least 1.
func (a *Animation) Len() int { return len(a.frames) }

// Frames yields the number of each frame, from 0, and the whole picture seen
// while it is shown: frames composited with their transparency and disposal.
// The caller owns the pictures. One is made at a time, so that long animations
// need no memory for all.
func (a *Animation) Frames() iter.Seq2[int, *Picture] {
	return func(yield func(int, *Picture) bool) {
		var canvas *Picture
		for i, img := range a.decoded.Image {
			frame := a.frames[i]
			palette := opaquePalette(img.Palette)
			before := canvas
			if i == 0 {
				canvas = firstFrame(a.Width, a.Height, img, frame)
			} else {
				if frame.disposal == disposeToPrevious {
					before = canvas.clone()
				}
				draw(canvas, img, palette, frame.transparent)
			}
			if !yield(i, canvas.clone()) {
				return
			}
			switch frame.disposal {
			case disposeToBackground:
				index := int(a.decoded.BackgroundIndex)
				if frame.transparent >= 0 {
					index = frame.transparent
				}
				fill(canvas, frame.rect, palette[index])
			case disposeToPrevious:
				switch {
				case before != nil:
					canvas = before
				case frame.transparent >= 0:
					fill(canvas, frame.rect, palette[frame.transparent])
				}
			}
		}
	}
}

func (p *Picture) clone() *Picture {
	clone := *p
	clone.Pix = slices.Clone(p.Pix)
	return &clone
}

// OpenAnimation reads the GIF file at path. Errors are those of DecodeAnimation
// and those of opening the file.
func OpenAnimation(path string) (*Animation, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return DecodeAnimationBytes(data, path)
}

// DecodeAnimation reads all frames of a GIF from r; a still GIF is one of one
// frame. Name stands for it in error messages. The errors are those of Decode;
// files in other formats are ErrUnsupportedFormat. The areas of all frames
// together may be up to MaxPixels.
func DecodeAnimation(r io.Reader, name string) (*Animation, error) {
	data, err := readAll(r, name)
	if err != nil {
		return nil, err
	}
	return DecodeAnimationBytes(data, name)
}

// DecodeAnimationBytes is DecodeAnimation for a file in memory. It neither changes
// nor keeps data.
func DecodeAnimationBytes(data []byte, name string) (*Animation, error) {
	format, err := sniff(data, name)
	if err != nil {
		return nil, err
	}
	if format != GIF {
		return nil, fmt.Errorf("%s: %w: an animation has to be a GIF, this is %s", name, ErrUnsupportedFormat, format)
	}
	config, err := gif.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, unreadable(name, explain(GIF, data, err))
	}
	if err := checkSize(name, config.Width, config.Height, len(data)); err != nil {
		return nil, err
	}
	frames, patched, err := scanGIF(data, len(data))
	if err != nil {
		return nil, unreadable(name, explain(GIF, data, err))
	}
	area := 0
	for _, frame := range frames {
		area += frame.rect.Dx() * frame.rect.Dy()
		if area > MaxPixels {
			return nil, fmt.Errorf("%s: %w: its frames together have more than %d pixels", name, ErrTooLarge, MaxPixels)
		}
	}
	if area > trustedPixels && area/maxPixelsPerByte > len(data) {
		return nil, unreadable(name, fmt.Errorf("%d bytes cannot hold frames of %d pixels", len(data), area))
	}
	decoded, err := guarded(func() (*gif.GIF, error) { return gif.DecodeAll(bytes.NewReader(patched)) })
	if err != nil {
		return nil, unreadable(name, explain(GIF, data, err))
	}
	if len(decoded.Image) == 0 || len(decoded.Image) != len(frames) {
		return nil, unreadable(name, fmt.Errorf("%d frames found, %d decoded", len(frames), len(decoded.Image)))
	}
	animation := &Animation{
		Width: config.Width, Height: config.Height,
		LoopCount: decoded.LoopCount, frames: frames, decoded: decoded,
	}
	for _, frame := range frames {
		animation.Delays = append(animation.Delays, frame.delay)
	}
	return animation, nil
}
