package images

import (
	"image/jpeg"
	"io"
)

// huffmanTable decodes the codes of T.81, annex C.
type huffmanTable struct {
	fast    [1 << fastBits]uint16 // length<<8 | value of codes of up to fastBits bits; 0 for others
	largest [17]int32             // the largest code of a length, or -1
	offset  [17]int32             // what to add to a code to find its value
	values  [256]uint8
}

const fastBits = 9

// defineHuffman is T.81, B.2.4.2.
func (d *jpegDecoder) defineHuffman(segment []byte) error {
	for len(segment) > 0 {
		if len(segment) < 17 {
			return jpeg.FormatError("DHT has wrong length")
		}
		class, number := segment[0]>>4, segment[0]&15
		counts := segment[1:17]
		total := 0
		for _, n := range counts {
			total += int(n)
		}
		if class > 1 || number > 3 || total == 0 || total > 256 || len(segment) < 17+total {
			return jpeg.FormatError("bad Huffman table")
		}
		table := new(huffmanTable)
		copy(table.values[:], segment[17:17+total])
		code, index := int32(0), int32(0)
		for length := 1; length <= 16; length++ {
			n := int32(counts[length-1])
			table.largest[length], table.offset[length] = -1, index-code
			if code+n > 1<<length {
				return jpeg.FormatError("bad Huffman table")
			}
			for range n {
				if length <= fastBits {
					from := code << (fastBits - length)
					for i := range int32(1) << (fastBits - length) {
						table.fast[from+i] = uint16(length)<<8 | uint16(table.values[index])
					}
				}
				table.largest[length] = code
				code++
				index++
			}
			code <<= 1
		}
		d.huffman[class][number] = table
		segment = segment[17+total:]
	}
	return nil
}

// fill takes in bytes up to the next marker.
func (d *jpegDecoder) fill() {
	for d.count <= 48 && d.at < len(d.data) {
		b := d.data[d.at]
		if b == 0xff {
			if d.at+1 >= len(d.data) || d.data[d.at+1] != 0 {
				return
			}
			d.at++
		}
		d.at++
		d.bits = d.bits<<8 | uint64(b)
		d.count += 8
	}
}

// short is the error of data that ends within a scan.
func (d *jpegDecoder) short() error {
	if d.at+1 >= len(d.data) {
		return io.ErrUnexpectedEOF
	}
	return jpeg.FormatError("a marker within the data of a scan")
}

// take reads n bits, up to 16.
func (d *jpegDecoder) take(n int) (int32, error) {
	if d.count < n {
		if d.fill(); d.count < n {
			return 0, d.short()
		}
	}
	d.count -= n
	return int32(d.bits>>d.count) & (1<<n - 1), nil
}

// extended reads n bits as a signed number (T.81, F.2.2.1).
func (d *jpegDecoder) extended(n int) (int32, error) {
	v, err := d.take(n)
	if n > 0 && v < 1<<(n-1) {
		v -= 1<<n - 1
	}
	return v, err
}

// symbol reads a Huffman code.
func (d *jpegDecoder) symbol(t *huffmanTable) (int, error) {
	if d.count < 16 {
		d.fill()
	}
	next := uint32(d.bits) // the next 16 bits, zeros after the end
	if d.count >= 16 {
		next = uint32(d.bits>>(d.count-16)) & 0xffff
	} else {
		next = next & (1<<d.count - 1) << (16 - d.count)
	}
	if entry := t.fast[next>>(16-fastBits)]; entry != 0 {
		length := int(entry >> 8)
		if length > d.count {
			return 0, d.short()
		}
		d.count -= length
		return int(entry & 255), nil
	}
	for length := fastBits + 1; length <= 16; length++ {
		if code := int32(next >> (16 - length)); code <= t.largest[length] {
			if length > d.count {
				return 0, d.short()
			}
			d.count -= length
			return int(t.values[(code+t.offset[length])&255]), nil
		}
	}
	if d.count < 16 {
		return 0, d.short()
	}
	return 0, jpeg.FormatError("bad Huffman code")
}

// jpegScan is a scan header, and the state of decoding it.
type jpegScan struct {
	components []scanComponent
	start, end int  // the band of coefficients
	high, low  uint // successive approximation
	eobRun     int32
	block      func(s *jpegScan, c *scanComponent, block *[64]int16) error
}

type scanComponent struct {
	*jpegComponent
	dc, ac    *huffmanTable
	predictor int32
}

// scan is T.81, B.2.3 and the data that follows it.
func (d *jpegDecoder) scan(segment []byte) error {
	if d.scans++; d.scans > maxScans {
		return jpeg.UnsupportedError("more than 100 scans")
	}
	s, err := d.scanHeader(segment)
	if err != nil {
		return err
	}
	d.bits, d.count = 0, 0
	across, down := ceilDiv(d.frame.width, 8*d.frame.maxH), ceilDiv(d.frame.height, 8*d.frame.maxV)
	single := len(s.components) == 1
	if single {
		c := s.components[0]
		across, down = ceilDiv(c.width, 8), ceilDiv(c.height, 8)
	}
	for mcu := range across * down {
		if d.interval > 0 && mcu > 0 && mcu%d.interval == 0 {
			if err := d.restart(s, mcu/d.interval-1); err != nil {
				return err
			}
		}
		x, y := mcu%across, mcu/across
		for i := range s.components {
			c := &s.components[i]
			if single {
				if err := s.block(s, c, &c.coefficients[y*c.across+x]); err != nil {
					return err
				}
				continue
			}
			for j := range c.h * c.v {
				at := (y*c.v+j/c.h)*c.across + x*c.h + j%c.h
				if err := s.block(s, c, &c.coefficients[at]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (d *jpegDecoder) scanHeader(segment []byte) (*jpegScan, error) {
	if d.frame == nil {
		return nil, jpeg.FormatError("missing SOF marker")
	}
	if len(segment) < 1 || segment[0] < 1 || segment[0] > 4 || len(segment) != 4+2*int(segment[0]) {
		return nil, jpeg.FormatError("SOS has wrong length")
	}
	count := int(segment[0])
	parameters := segment[1+2*count:]
	s := &jpegScan{end: 63, block: d.sequentialBlock}
	if d.frame.marker == markerSOF2 {
		s.start, s.end = int(parameters[0]), int(parameters[1])
		s.high, s.low = uint(parameters[2]>>4), uint(parameters[2]&15)
		if s.end > 63 || s.start > s.end || s.start == 0 && s.end != 0 || s.start > 0 && count > 1 {
			return nil, jpeg.FormatError("bad spectral selection bounds")
		}
		if s.low > 13 || s.high != 0 && s.high != s.low+1 {
			return nil, jpeg.FormatError("bad successive approximation values")
		}
		switch {
		case s.start == 0 && s.high == 0:
			s.block = d.firstDC
		case s.start == 0:
			s.block = d.refinedDC
		case s.high == 0:
			s.block = d.firstAC
		default:
			s.block = d.refinedAC
		}
	}
	blocks := 0
	for i := range count {
		c, err := d.scanComponent(s, segment[1+2*i], segment[2+2*i])
		if err != nil {
			return nil, err
		}
		for _, other := range s.components {
			if other.jpegComponent == c.jpegComponent {
				return nil, jpeg.FormatError("repeated component selector")
			}
		}
		blocks += c.h * c.v
		s.components = append(s.components, c)
	}
	if count > 1 && blocks > 10 {
		return nil, jpeg.FormatError("total sampling factors too large")
	}
	return s, nil
}

func (d *jpegDecoder) scanComponent(s *jpegScan, id, tables byte) (scanComponent, error) {
	var c scanComponent
	for i := range d.frame.components {
		if d.frame.components[i].id == id {
			c.jpegComponent = &d.frame.components[i]
		}
	}
	if c.jpegComponent == nil {
		return c, jpeg.FormatError("unknown component selector")
	}
	if tables>>4 > 3 || tables&15 > 3 {
		return c, jpeg.FormatError("bad table selector")
	}
	c.dc, c.ac = d.huffman[0][tables>>4], d.huffman[1][tables&15]
	needsDC, needsAC := s.start == 0 && s.high == 0, s.end > 0
	if needsDC && c.dc == nil || needsAC && c.ac == nil {
		return c, jpeg.FormatError("missing Huffman table")
	}
	if c.quantization == nil {
		if c.quantization = d.quantization[c.table]; c.quantization == nil {
			return c, jpeg.FormatError("missing quantization table")
		}
	}
	if c.coefficients == nil {
		c.coefficients = make([][64]int16, c.across*c.down)
	}
	return c, nil
}

// restart reads a restart marker, the number-th of its scan.
func (d *jpegDecoder) restart(s *jpegScan, number int) error {
	d.bits, d.count, s.eobRun = 0, 0, 0
	for i := range s.components {
		s.components[i].predictor = 0
	}
	marker, err := d.marker()
	if err == nil && marker != byte(markerRST0+number%8) {
		err = jpeg.FormatError("bad RST marker")
	}
	return err
}

func (d *jpegDecoder) dcValue(c *scanComponent) (int32, error) {
	length, err := d.symbol(c.dc)
	if err != nil {
		return 0, err
	}
	if length > 16 {
		return 0, jpeg.UnsupportedError("excessive DC component")
	}
	difference, err := d.extended(length)
	c.predictor += difference
	return c.predictor, err
}

func (d *jpegDecoder) sequentialBlock(_ *jpegScan, c *scanComponent, block *[64]int16) error {
	*block = [64]int16{}
	value, err := d.dcValue(c)
	if err != nil {
		return err
	}
	block[0] = int16(value)
	for k := 1; k < 64; k++ {
		symbol, err := d.symbol(c.ac)
		if err != nil {
			return err
		}
		run, length := symbol>>4, symbol&15
		if length == 0 {
			if run != 15 {
				return nil
			}
			k += 15
			continue
		}
		value, err := d.extended(length)
		if err != nil {
			return err
		}
		if k += run; k > 63 {
			return jpeg.FormatError("too many coefficients")
		}
		block[zigzag[k]] = int16(value)
	}
	return nil
}

func (d *jpegDecoder) firstDC(s *jpegScan, c *scanComponent, block *[64]int16) error {
	value, err := d.dcValue(c)
	block[0] = int16(value << s.low)
	return err
}

func (d *jpegDecoder) refinedDC(s *jpegScan, _ *scanComponent, block *[64]int16) error {
	bit, err := d.take(1)
	block[0] |= int16(bit << s.low)
	return err
}

// endOfBand reads for how many blocks a band has ended (T.81, G.1.2.2).
func (d *jpegDecoder) endOfBand(s *jpegScan, length int) error {
	rest, err := d.take(length)
	s.eobRun = 1<<length + rest
	return err
}

func (d *jpegDecoder) firstAC(s *jpegScan, c *scanComponent, block *[64]int16) error {
	if s.eobRun > 0 {
		s.eobRun--
		return nil
	}
	for k := s.start; k <= s.end; k++ {
		symbol, err := d.symbol(c.ac)
		if err != nil {
			return err
		}
		run, length := symbol>>4, symbol&15
		if length == 0 {
			if run != 15 {
				err := d.endOfBand(s, run)
				s.eobRun--
				return err
			}
			k += 15
			continue
		}
		value, err := d.extended(length)
		if err != nil {
			return err
		}
		if k += run; k > s.end {
			return jpeg.FormatError("too many coefficients")
		}
		block[zigzag[k]] = int16(value << s.low)
	}
	return nil
}

// refinedAC is T.81, G.1.2.3.
func (d *jpegDecoder) refinedAC(s *jpegScan, c *scanComponent, block *[64]int16) error {
	k := s.start
	for s.eobRun == 0 && k <= s.end {
		symbol, err := d.symbol(c.ac)
		if err != nil {
			return err
		}
		run, length := symbol>>4, symbol&15
		if length == 0 && run != 15 {
			if err := d.endOfBand(s, run); err != nil {
				return err
			}
			break
		}
		var value int16
		if length != 0 {
			bit, err := d.take(1)
			if err != nil {
				return err
			}
			value = int16((2*bit - 1) << s.low)
		}
		if k, err = d.refine(s, block, k, run); err != nil {
			return err
		}
		if value != 0 {
			if k > s.end {
				return jpeg.FormatError("too many coefficients")
			}
			block[zigzag[k]] = value
		}
		k++
	}
	if s.eobRun > 0 {
		s.eobRun--
		_, err := d.refine(s, block, k, 64)
		return err
	}
	return nil
}

// refine reads a bit for every coefficient from k on that is not zero, up to the zero after the next zeros ones. It
// returns where that is.
func (d *jpegDecoder) refine(s *jpegScan, block *[64]int16, k, zeros int) (int, error) {
	for ; k <= s.end; k++ {
		c := &block[zigzag[k]]
		if *c == 0 {
			if zeros == 0 {
				break
			}
			zeros--
			continue
		}
		bit, err := d.take(1)
		if err != nil {
			return k, err
		}
		if bit == 1 && *c&(1<<s.low) == 0 {
			if *c > 0 {
				*c += 1 << s.low
			} else {
				*c -= 1 << s.low
			}
		}
	}
	return k, nil
}
