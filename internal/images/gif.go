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

// gifScan is what a walk through the blocks of a GIF file found.
type gifScan struct {
	// width and height are the screen's. As in Pillow, a frame that reaches beyond
	// the screen enlarges it.
	width, height int
	frames        []gifFrame
	// patched is a copy of the file that Go's decoder reads as Pillow reads the
	// original: the transparency flags are cleared, so that the palettes stay whole;
	// palettes have all 256 colours; the screen holds all frames; the trailer is there.
	patched []byte

	data  []byte
	at    int
	next  gifFrame
	found bool // a trailer or the last frame wanted
}

// scanGIF walks the blocks up to maxFrames frames. Where it finds damage it
// stops; the decoder says what is wrong.
func scanGIF(data []byte, maxFrames int) (*gifScan, error) {
	if len(data) < 13 {
		return nil, io.ErrUnexpectedEOF
	}
	word := func(at int) int { return int(binary.LittleEndian.Uint16(data[at:])) }
	s := &gifScan{width: word(6), height: word(8), data: data, next: gifFrame{transparent: -1}}
	s.patched = append(make([]byte, 0, len(data)+1024), data[:13]...)
	s.at = 13
	if !s.palette(10, true) {
		return nil, io.ErrUnexpectedEOF
	}
	for len(s.frames) < maxFrames && s.block() {
	}
	if s.at >= len(data) && len(s.frames) > 0 {
		s.found = true
	}
	s.patched = append(s.patched, data[min(s.at, len(data)):]...)
	if s.found {
		s.patched = append(s.patched, 0x3b)
	}
	binary.LittleEndian.PutUint16(s.patched[6:], uint16(min(s.width, 1<<16-1)))
	binary.LittleEndian.PutUint16(s.patched[8:], uint16(min(s.height, 1<<16-1)))
	return s, nil
}

// palette copies a palette, which follows, filled up with black. flags is where
// the copy has the flags that tell its size. Where there is none, one of grey is made
// if it is required.
func (s *gifScan) palette(flags int, required bool) bool {
	colours := 0
	if s.patched[flags]&0x80 != 0 {
		colours = 2 << (s.patched[flags] & 7)
	} else if !required {
		return true
	}
	if s.at+3*colours > len(s.data) {
		return false
	}
	s.patched = append(s.patched, s.data[s.at:s.at+3*colours]...)
	s.at += 3 * colours
	for i := colours; i < 256; i++ {
		grey := byte(i)
		if colours > 0 {
			grey = 0
		}
		s.patched = append(s.patched, grey, grey, grey)
	}
	s.patched[flags] |= 0x87
	return true
}

// subBlocks copies the sub-blocks that end a block.
func (s *gifScan) subBlocks() bool {
	for start := s.at; s.at < len(s.data); {
		size := int(s.data[s.at])
		s.at += 1 + size
		if size == 0 {
			s.patched = append(s.patched, s.data[start:s.at]...)
			return true
		}
		if s.at >= len(s.data) {
			s.at = start
			break
		}
	}
	return false
}

// block copies a block and tells whether another may follow.
func (s *gifScan) block() bool {
	if s.at >= len(s.data) {
		return false
	}
	switch rest := s.data[s.at:]; {
	case rest[0] == 0x21 && len(rest) > 7: // extension
		s.patched = append(s.patched, rest[:2]...)
		s.at += 2
		if rest[1] == 0xf9 && rest[2] == 4 {
			flags := rest[3]
			s.next.transparent = -1
			if flags&1 != 0 {
				s.next.transparent = int(rest[6])
			}
			if method := int(flags >> 2 & 7); method != 0 {
				s.next.disposal = method
			}
			s.next.delay = time.Duration(binary.LittleEndian.Uint16(rest[4:])) * 10 * time.Millisecond
			at := len(s.patched)
			if !s.subBlocks() {
				return false
			}
			s.patched[at+1] = flags &^ 1
			return true
		}
		return s.subBlocks()
	case rest[0] == 0x2c && len(rest) > 10: // image
		word := func(i int) int { return int(binary.LittleEndian.Uint16(rest[i:])) }
		s.next.rect = image.Rect(word(1), word(3), word(1)+word(5), word(3)+word(7))
		s.width, s.height = max(s.width, s.next.rect.Max.X), max(s.height, s.next.rect.Max.Y)
		s.frames = append(s.frames, s.next)
		s.next = gifFrame{transparent: -1, disposal: s.next.disposal}
		s.patched = append(s.patched, rest[:10]...)
		s.at += 10
		if !s.palette(len(s.patched)-1, false) || s.at >= len(s.data) {
			return false
		}
		s.patched = append(s.patched, s.data[s.at])
		s.at++
		return s.subBlocks()
	case rest[0] == 0x3b: // trailer
		s.at, s.found = len(s.data), true
	}
	return false
}

// decodeGIFConfig returns the size of the first frame's picture.
func decodeGIFConfig(data []byte) (image.Config, error) {
	config, err := gif.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return image.Config{}, err
	}
	scan, err := scanGIF(data, 1)
	if err != nil {
		return image.Config{}, err
	}
	config.Width, config.Height = scan.width, scan.height
	return config, nil
}

// decodeGIF reads the first frame.
func decodeGIF(data []byte) (*Picture, error) {
	scan, err := scanGIF(data, 1)
	if err != nil {
		return nil, err
	}
	if len(scan.frames) == 0 {
		return nil, errors.New("the GIF holds no frame")
	}
	img, err := gif.Decode(bytes.NewReader(scan.patched))
	if err != nil {
		return nil, err
	}
	paletted, ok := img.(*image.Paletted)
	if !ok {
		return nil, fmt.Errorf("the GIF decoder returned a %T", img)
	}
	picture := firstFrame(scan.width, scan.height, paletted, scan.frames[0])
	picture.takeGIFAlpha(paletted, scan.frames[0])
	two, err := scanGIF(data, 2)
	picture.Animated = err == nil && len(two.frames) > 1
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
	// Width and Height in pixels, of every frame; where a frame reaches beyond the
	// size that the file declares, of the last, and those before it are smaller.
	Width, Height int
	// Delays holds how long each frame is shown, as the file says. Many files say
	// 0 and leave the speed to the viewer.
	Delays []time.Duration
	// LoopCount is the number of times that the animation restarts: 0 means
	// forever, -1 that it is shown once.
	LoopCount int

	screen  image.Point // what the file declares
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
		size := a.screen
		for i, img := range a.decoded.Image {
			frame := a.frames[i]
			palette := opaquePalette(img.Palette)
			size = image.Pt(max(size.X, frame.rect.Max.X), max(size.Y, frame.rect.Max.Y))
			before := canvas
			if i == 0 {
				canvas = firstFrame(size.X, size.Y, img, frame)
			} else {
				rest := palette[0]
				if frame.transparent >= 0 {
					rest = [3]uint8{}
				}
				canvas = canvas.enlarged(size, rest)
				before = canvas
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

// enlarged returns a picture of at least p's size with p in its corner, p itself
// if that is its size.
func (p *Picture) enlarged(size image.Point, rest [3]uint8) *Picture {
	if p.Width == size.X && p.Height == size.Y {
		return p
	}
	larger := newPicture(size.X, size.Y)
	larger.Format = p.Format
	fill(larger, image.Rect(0, 0, size.X, size.Y), rest)
	for y := range p.Height {
		copy(larger.Pix[3*y*size.X:], p.Pix[3*y*p.Width:3*(y+1)*p.Width])
	}
	return larger
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
	scan, err := scanGIF(data, len(data))
	if err != nil {
		return nil, unreadable(name, explain(GIF, data, err))
	}
	if err := checkSize(name, scan.width, scan.height, len(data)); err != nil {
		return nil, err
	}
	frames := scan.frames
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
	decoded, err := guarded(func() (*gif.GIF, error) { return gif.DecodeAll(bytes.NewReader(scan.patched)) })
	if err != nil {
		return nil, unreadable(name, explain(GIF, data, err))
	}
	if len(decoded.Image) == 0 || len(decoded.Image) != len(frames) {
		return nil, unreadable(name, fmt.Errorf("%d frames found, %d decoded", len(frames), len(decoded.Image)))
	}
	animation := &Animation{
		Width: scan.width, Height: scan.height, screen: image.Pt(config.Width, config.Height),
		LoopCount: decoded.LoopCount, frames: frames, decoded: decoded,
	}
	for _, frame := range frames {
		animation.Delays = append(animation.Delays, frame.delay)
	}
	return animation, nil
}
