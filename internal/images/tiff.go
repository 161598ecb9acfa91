package images

import (
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"slices"
)

// golang.org/x/image/tiff reads a part of what microscopes, array libraries and Photoshop write. This decoder reads the
// rest that Pillow reads too: the container, the arrangement of samples and their colours are read here, the compressed
// data by libraries.

// What TIFF calls compression, photometric interpretation and sample format.
const (
	rawTIFF         = 1
	faxRLE          = 2
	fax3            = 3
	fax4            = 4
	lzwTIFF         = 5
	jpegTIFF        = 7
	adobeDeflate    = 8
	faxRLEWords     = 32771
	packBits        = 32773
	deflateTIFF     = 32946
	zstdTIFF        = 50000
	whiteIsZero     = 0
	blackIsZero     = 1
	rgbTIFF         = 2
	paletteTIFF     = 3
	cmykTIFF        = 5
	ycbcrTIFF       = 6
	labTIFF         = 8
	unsignedSamples = 1
	signedSamples   = 2
	floatSamples    = 3
)

var compressionNames = map[int]string{
	6: "old JPEG (6)", 9: "JBIG", 10: "JBIG", 32766: "NeXT", 32809: "ThunderScan", 33003: "JPEG 2000", 33005: "JPEG 2000",
	34661: "JBIG", 34676: "SGI LogLuv", 34677: "SGI LogLuv", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG of DNG",
	34925: "LZMA", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}

var photometricNames = map[int]string{
	4: "a transparency mask", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "a camera's colour filter array",
	32844: "LogL", 32845: "LogLuv", 34892: "linear raw", 51177: "depth",
}

const (
	maxTIFFSamples = 16
	// maxTilePadding bounds what a chunk holds beyond the picture, in bytes.
	maxTilePadding = 64 << 20
)

// tiffPicture is what the first directory of a TIFF file says of its pixels.
type tiffPicture struct {
	directory
	data                        []byte
	width, height               int
	bits, format, samples       int
	compression, photometric    int
	predictor                   int
	planar, premultiplied, lsb  bool
	alpha                       int // number of the sample, 0 for none
	faxOptions                  int
	subsampleX, subsampleY      int
	tileWidth, tileHeight       int // of a chunk, which is a strip or a tile
	across, down                int // number of chunks
	offsets, counts             []uint64
	tables                      []byte // JPEG's
	palette                     [][3]uint8
	consumed                    int
	low, high                   float64 // values of samples that clipping has changed
	clipped, negative, truncate bool
}

// decodeTIFFConfig returns the size of the picture as it is stored.
func decodeTIFFConfig(data []byte) (image.Config, error) {
	d, err := readDirectory(data)
	if err != nil {
		return image.Config{}, err
	}
	width, err := d.number(tagWidth, 0)
	if err != nil {
		return image.Config{}, err
	}
	height, err := d.number(tagHeight, 0)
	return image.Config{Width: width, Height: height}, err
}

// decodeTIFF decodes the first picture of a TIFF file of checked size.
func decodeTIFF(data []byte) (*Picture, error) {
	d, err := readDirectory(data)
	if err != nil {
		return nil, err
	}
	t := &tiffPicture{directory: d, data: data, low: math.Inf(1), high: math.Inf(-1)}
	for _, step := range []func() error{t.readTags, t.readSamples, t.checkKind, t.readPalette, t.readChunks} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	picture := newPicture(t.width, t.height)
	if err := t.decode(picture); err != nil {
		return nil, err
	}
	picture.Notice = t.notice()
	return picture, nil
}

func (t *tiffPicture) readTags() error {
	for _, tag := range []struct {
		tag     uint16
		missing int
		value   *int
	}{
		{tagWidth, 0, &t.width}, {tagHeight, 0, &t.height},
		{tagCompression, rawTIFF, &t.compression}, {tagPhotometric, whiteIsZero, &t.photometric},
		{tagPredictor, 1, &t.predictor}, {tagFaxOptions, 0, &t.faxOptions},
	} {
		var err error
		if *tag.value, err = t.number(tag.tag, tag.missing); err != nil {
			return err
		}
	}
	planar, err := t.number(tagPlanar, 1)
	if err != nil {
		return err
	}
	order, err := t.number(tagFillOrder, 1)
	if err != nil {
		return err
	}
	t.planar, t.lsb = planar == 2, order == 2
	return nil
}

// readSamples reads the arrangement of samples, as leniently as Pillow.
func (t *tiffPicture) readSamples() error {
	bits, err := t.numbers(tagBitsPerSample)
	if err != nil {
		return err
	}
	formats, err := t.numbers(tagSampleFormat)
	if err != nil {
		return err
	}
	extra, err := t.numbers(tagExtraSamples)
	if err != nil {
		return err
	}
	if t.samples, err = t.number(tagSamplesPerPixel, max(1, len(bits))); err != nil {
		return err
	}
	if t.samples < 1 || t.samples > maxTIFFSamples {
		return unsupportedError(fmt.Sprintf("TIFF with %d samples for each pixel (1 to %d are read)", t.samples,
			maxTIFFSamples))
	}
	if bits, err = uniform("bits", bits, t.samples, 1); err != nil {
		return err
	}
	if formats, err = uniform("formats", formats, t.samples, unsignedSamples); err != nil {
		return err
	}
	t.bits, t.format = int(min(bits[0], 1<<16)), int(min(formats[0], 1<<16))
	if t.format == 4 { // undefined
		t.format = unsignedSamples
	}
	if channels := t.channels(); t.photometric != cmykTIFF && t.samples > channels {
		switch {
		case len(extra) > 0 && extra[0] == 1:
			t.alpha, t.premultiplied = channels, true
		case len(extra) > 0 && (extra[0] == 2 || extra[0] == 999), // the latter by Corel Draw
			len(extra) == 0 && t.photometric == rgbTIFF && t.samples == 4:
			t.alpha = channels
		}
	}
	return nil
}

// uniform requires that all samples have the same value.
func uniform(what string, values []uint64, samples int, missing uint64) ([]uint64, error) {
	if len(values) == 0 {
		return []uint64{missing}, nil
	}
	values = values[:min(samples, len(values))]
	if slices.Min(values) != slices.Max(values) {
		return nil, unsupportedError(fmt.Sprintf("TIFF whose samples have different %s (%d)", what, values))
	}
	return values, nil
}

// channels is the number of samples that are colours.
func (t *tiffPicture) channels() int {
	switch t.photometric {
	case rgbTIFF, labTIFF:
		return 3
	case ycbcrTIFF:
		if t.samples == 1 {
			return 1
		}
		return 3
	case cmykTIFF:
		return 4
	}
	return 1
}

// checkKind refuses what Pillow refuses too, unless it is plain what it means.
func (t *tiffPicture) checkKind() error {
	if name := photometricNames[t.photometric]; name != "" {
		return unsupportedError("TIFF whose colours are " + name)
	}
	switch t.photometric {
	case whiteIsZero, blackIsZero, rgbTIFF, paletteTIFF, cmykTIFF, ycbcrTIFF, labTIFF:
	default:
		return unsupportedError(fmt.Sprintf("TIFF with photometric interpretation %d", t.photometric))
	}
	switch t.compression {
	case rawTIFF, lzwTIFF, jpegTIFF, adobeDeflate, packBits, deflateTIFF, zstdTIFF:
	case faxRLE, fax3, fax4, faxRLEWords:
		if t.bits != 1 || t.samples != 1 {
			return unsupportedError(fmt.Sprintf("TIFF of %d × %d bits compressed as fax", t.samples, t.bits))
		}
	default:
		name := compressionNames[t.compression]
		if name == "" {
			name = fmt.Sprintf("method %d", t.compression)
		}
		return unsupportedError("TIFF compressed with " + name)
	}
	if channels := t.channels(); t.samples < channels {
		return fmt.Errorf("the TIFF has %d samples for each pixel where its colours need %d", t.samples, channels)
	}
	grey := t.photometric == whiteIsZero || t.photometric == blackIsZero
	known := false
	switch t.format {
	case unsignedSamples:
		known = t.bits >= 1 && t.bits <= 16 || t.bits == 32 && grey && t.samples == 1
		if t.photometric == ycbcrTIFF || t.photometric == labTIFF {
			known = t.bits == 8
		}
	case signedSamples:
		known = t.photometric == blackIsZero && t.samples == 1 && (t.bits == 8 || t.bits == 16 || t.bits == 32)
	case floatSamples:
		known = grey && t.samples == 1 && t.bits == 32
	}
	if t.compression == jpegTIFF {
		known = known && t.format == unsignedSamples && t.bits == 8
	}
	if !known {
		return unsupportedError("TIFF of " + t.kind())
	}
	return t.checkPredictor()
}

func (t *tiffPicture) checkPredictor() error {
	switch t.compression {
	case lzwTIFF, adobeDeflate, deflateTIFF, zstdTIFF:
	default:
		t.predictor = 1
		return nil
	}
	switch {
	case t.predictor <= 1:
	case t.predictor == 2 && (t.bits == 8 || t.bits == 16 || t.bits == 32):
	case t.predictor == 3 && t.format == floatSamples:
	default:
		return unsupportedError(fmt.Sprintf("TIFF of %s with predictor %d", t.kind(), t.predictor))
	}
	return nil
}

// kind describes the samples, as in "3 × 32-bit float samples (RGB)".
func (t *tiffPicture) kind() string {
	colours := map[int]string{
		whiteIsZero: "grey", blackIsZero: "grey", rgbTIFF: "RGB", paletteTIFF: "palette", cmykTIFF: "CMYK",
		ycbcrTIFF: "YCbCr",
		labTIFF:   "L*a*b*",
	}[t.photometric]
	format := map[int]string{unsignedSamples: "unsigned", signedSamples: "signed", floatSamples: "float", 5: "complex",
		6: "complex"}[t.format]
	if format == "" {
		format = fmt.Sprintf("(sample format %d)", t.format)
	}
	return fmt.Sprintf("%d × %d-bit %s samples (%s)", t.samples, t.bits, format, colours)
}

func (t *tiffPicture) readPalette() error {
	if t.photometric != paletteTIFF {
		return nil
	}
	colours, err := t.numbers(tagColourMap)
	if err != nil {
		return err
	}
	if len(colours) < 3 {
		return errors.New("the TIFF has no colour map")
	}
	third := len(colours) / 3
	t.palette = make([][3]uint8, 1<<t.bits) // what the file leaves out is black
	for i := range min(third, len(t.palette)) {
		for channel := range 3 {
			t.palette[i][channel] = uint8(colours[channel*third+i] >> 8)
		}
	}
	return nil
}

// readChunks reads where the strips or tiles are.
func (t *tiffPicture) readChunks() error {
	offsets, counts := uint16(tagStripOffsets), uint16(tagStripByteCounts)
	if _, tiled := t.fields[tagTileOffsets]; tiled && t.fields[tagStripOffsets].value == nil {
		offsets, counts = tagTileOffsets, tagTileByteCounts
	}
	var err error
	if t.offsets, err = t.numbers(offsets); err != nil {
		return err
	}
	if len(t.offsets) == 0 {
		return errors.New("the TIFF does not say where its pixels are")
	}
	if t.counts, err = t.numbers(counts); err != nil {
		return err
	}
	if offsets == tagTileOffsets {
		if t.tileWidth, err = t.number(tagTileWidth, 0); err != nil {
			return err
		}
		if t.tileHeight, err = t.number(tagTileHeight, 0); err != nil {
			return err
		}
	} else {
		t.tileWidth = t.width
		if t.tileHeight, err = t.number(tagRowsPerStrip, t.height); err != nil {
			return err
		}
		t.tileHeight = min(t.tileHeight, t.height)
	}
	if t.tileWidth < 1 || t.tileHeight < 1 || t.tileWidth > 1<<16 || t.tileHeight > 1<<16 {
		return fmt.Errorf("the TIFF declares strips or tiles of %d×%d pixels", t.tileWidth, t.tileHeight)
	}
	t.across = (t.width + t.tileWidth - 1) / t.tileWidth
	t.down = (t.height + t.tileHeight - 1) / t.tileHeight
	if planes := t.planes(); len(t.offsets) < t.across*t.down*planes {
		return fmt.Errorf("the TIFF has %d strips or tiles where its size needs %d", len(t.offsets), t.across*t.down*planes)
	}
	size := t.width * t.height * t.samples * ((t.bits + 7) / 8)
	if t.rowSize()*min(t.tileHeight, t.height) > maxTilePadding+size {
		return fmt.Errorf("the TIFF's tiles of %d×%d pixels are much larger than the picture", t.tileWidth, t.tileHeight)
	}
	return t.readJPEG()
}

// readJPEG reads what only JPEG and YCbCr need.
func (t *tiffPicture) readJPEG() error {
	t.tables = t.fields[tagJPEGTables].value
	t.subsampleX, t.subsampleY = 1, 1
	if t.photometric != ycbcrTIFF || t.samples < 3 || t.compression == jpegTIFF {
		return nil
	}
	ratio, err := t.numbers(tagYCbCrSubsampling)
	if err != nil {
		return err
	}
	t.subsampleX, t.subsampleY = 2, 2
	if len(ratio) >= 2 {
		t.subsampleX, t.subsampleY = int(min(ratio[0], 8)), int(min(ratio[1], 8))
	} else if t.compression == rawTIFF {
		t.subsampleX, t.subsampleY = 1, 1 // as Pillow assumes
	}
	if t.subsampleX == 1 && t.subsampleY == 1 {
		return nil
	}
	for _, n := range []int{t.subsampleX, t.subsampleY} {
		if n != 1 && n != 2 && n != 4 {
			return fmt.Errorf("the TIFF declares a YCbCr subsampling of %d×%d", t.subsampleX, t.subsampleY)
		}
	}
	if t.planar || t.samples != 3 || t.predictor > 1 {
		return unsupportedError("TIFF of subsampled YCbCr that is planar, has extra samples or a predictor")
	}
	return nil
}

// planes is the number of planes that are stored apart.
func (t *tiffPicture) planes() int {
	if t.planar {
		return t.samples
	}
	return 1
}

// rowSize is the size of a row of a chunk, in bytes.
func (t *tiffPicture) rowSize() int {
	return (t.tileWidth*t.bits*(t.samples/t.planes()) + 7) / 8
}

// decode goes through the chunks, row by row.
func (t *tiffPicture) decode(picture *Picture) error {
	convert := t.converter()
	samples := make([]uint32, t.tileWidth*t.samples)
	pixels := make([]uint8, 3*t.tileWidth)
	row := make([]byte, t.rowSize())
	largest := uint32(0)
	for chunk := range t.across * t.down {
		x0, y0 := chunk%t.across*t.tileWidth, chunk/t.across*t.tileHeight
		width, rows := min(t.tileWidth, t.width-x0), min(t.tileHeight, t.height-y0)
		planes := make([]io.Reader, t.planes())
		for plane := range planes {
			var err error
			if planes[plane], err = t.chunk(plane*t.across*t.down+chunk, rows); err != nil {
				return err
			}
		}
		if t.subsampleX*t.subsampleY > 1 {
			if err := t.decodeSubsampled(picture, planes[0], x0, y0, width, rows); err != nil {
				return err
			}
			continue
		}
		for y := range rows {
			for plane, r := range planes {
				if _, err := io.ReadFull(r, row); err != nil {
					return cutShort(err)
				}
				t.unpredict(row)
				t.unpack(samples[plane:], row)
			}
			convert(pixels, samples)
			start := 3 * ((y0+y)*t.width + x0)
			copy(picture.Pix[start:start+3*width], pixels)
			for x := 0; t.alpha > 0 && x < width; x++ {
				if a := t.eightBits(samples[x*t.samples+t.alpha]); a != 255 {
					picture.setAlpha(start/3+x, a)
				}
			}
			largest = t.largest(largest, samples[:width*t.samples])
		}
	}
	if t.bits == 16 && t.format == unsignedSamples {
		picture.noteDepth(uint16(largest))
	}
	return nil
}

// largest is the largest of 16-bit samples that are colours.
func (t *tiffPicture) largest(largest uint32, samples []uint32) uint32 {
	if t.bits != 16 {
		return 0
	}
	for ; len(samples) > 0; samples = samples[t.samples:] {
		for _, v := range samples[:t.channels()] {
			largest = max(largest, v)
		}
	}
	return largest
}

// cutShort is for data that ends too early: at a boundary that a reader takes for the end, too.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// notice says what the conversion to 8 bits lost.
func (t *tiffPicture) notice() string {
	switch {
	case t.negative:
		return "it holds negative 8-bit values, which are taken as 128 … 255, as Pillow does"
	case t.format == floatSamples && (t.clipped || t.truncate):
		return fmt.Sprintf("its float values from %g to %g are cut to whole levels 0 … 255, as Pillow does; "+
			"scale them to 0 … 255 and save them as 8-bit PNG if they mean something else", t.low, t.high)
	case t.clipped:
		return fmt.Sprintf("its %d-bit values from %.0f to %.0f are clipped to 0 … 255, as Pillow does; "+
			"scale them and save them as 8-bit PNG if they mean something else", t.bits, t.low, t.high)
	case t.morePages():
		return "it has several pages, of which the first is read"
	}
	return ""
}

// morePages tells whether another directory holds more than a smaller version
// of the first.
func (t *tiffPicture) morePages() bool {
	if t.next == 0 {
		return false
	}
	next := directory{order: t.order, big: t.big}
	if err := next.read(t.data, t.next); err != nil {
		return false
	}
	kind, err := next.number(tagSubfileType, 0)
	return err == nil && kind&5 == 0 && next.fields[tagWidth].value != nil
}
