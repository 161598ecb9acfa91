package tfconvrnn

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
)

// presentationJSON is the JSON form of a presentation, so that it can be handed from
// one machine to another.
type presentationJSON struct {
	Name              string    `json:"name"`
	Times             int       `json:"times"`
	Episodes          []Episode `json:"episodes"`
	TimestepsPerFrame int       `json:"timesteps_per_frame,omitempty"`
	Blank             blankJSON `json:"blank"`
}

// blankJSON has pixels only where the blank is an image: [224, 224, 3], bytes or
// little-endian float32.
type blankJSON struct {
	Name   string     `json:"name,omitempty"`
	RGB    [3]float64 `json:"rgb"`
	Bytes  []byte     `json:"bytes,omitempty"`
	Floats []byte     `json:"floats,omitempty"`
}

// MarshalJSON returns a presentation whole, with the pixels of a blank that is an
// image, which it reads.
func (p Presentation) MarshalJSON() ([]byte, error) {
	j := presentationJSON{Name: p.name, Times: p.times, Episodes: p.episodes, TimestepsPerFrame: p.timestepsPerFrame,
		Blank: blankJSON{Name: p.blank.name, RGB: p.blank.rgb}}
	if p.blank.image != nil {
		img, err := p.blank.image.loaded()
		if err != nil {
			return nil, fmt.Errorf("blank %s: %w", p.blank.name, err)
		}
		j.Blank.Bytes = img.bytes
		for _, v := range img.floats {
			j.Blank.Floats = binary.LittleEndian.AppendUint32(j.Blank.Floats, math.Float32bits(v))
		}
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote. Errors wrap ErrPresentation; episodes
// and times are checked by Resolve.
func (p *Presentation) UnmarshalJSON(text []byte) error {
	var j presentationJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return fmt.Errorf("%w: %w", ErrPresentation, err)
	}
	blank := Blank{name: j.Blank.Name, rgb: j.Blank.RGB}
	for _, v := range blank.rgb {
		if !(v >= 0 && v <= 1) {
			return fmt.Errorf("%w: the blank's colour %v has components outside 0 … 1", ErrPresentation, blank.rgb)
		}
	}
	switch {
	case len(j.Blank.Bytes) == imageValues && len(j.Blank.Floats) == 0:
		blank.image = &Image{bytes: j.Blank.Bytes}
	case len(j.Blank.Floats) == 4*imageValues && len(j.Blank.Bytes) == 0:
		floats := make([]float32, imageValues)
		for i := range floats {
			floats[i] = math.Float32frombits(binary.LittleEndian.Uint32(j.Blank.Floats[4*i:]))
		}
		if _, err := checkRange(floats); err != nil {
			return fmt.Errorf("%w: blank: %w", ErrPresentation, err)
		}
		blank.image = &Image{floats: floats}
	case len(j.Blank.Bytes)+len(j.Blank.Floats) > 0:
		return fmt.Errorf("%w: the blank's image has a wrong size", ErrPresentation)
	}
	*p = Presentation{name: j.Name, times: j.Times, episodes: j.Episodes, timestepsPerFrame: j.TimestepsPerFrame,
		blank: blank}
	return nil
}
