package tfconvrnn

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/savedmodels"
)

// Units says which units of a layer are wanted. The zero value is all of them.
type Units struct {
	// Center takes the position in the middle: row height/2 and column width/2, rounded down.
	Center bool
	// Position is a row and a column, counted from 0; nil for all positions. It excludes Center.
	Position *[2]int
	// Channels are those wanted, counted from 0, in that order, each once; nil for all. Of
	// the readout they are its classes.
	Channels []int
}

// Selection is the units of a layer that an extraction puts out.
type Selection struct {
	// Map is the shape of the whole layer: [height, width, channels] or [classes].
	Map []int `json:"map"`
	// Row and Column are the position taken, nil where all are.
	Row    *int `json:"row,omitempty"`
	Column *int `json:"column,omitempty"`
	// Channels are those taken, nil where all are.
	Channels []int `json:"channels,omitempty"`
}

var (
	unitPosition = regexp.MustCompile(`^\(([0-9]{1,9}),([0-9]{1,9})\)$`)
	unitChannels = regexp.MustCompile(`^channels\(([0-9,-]+)\)$`)
)

// maxUnitChannels bounds what a list of channels may hold before the layer is known.
const maxUnitChannels = 1 << 16

// ParseUnits reads units as people write them: "center", "(row,column)" or
// "channels(0,3,8-15)", or a position and channels joined by "+". The error wraps ErrOption.
func ParseUnits(text string) (Units, error) {
	var u Units
	for part := range strings.SplitSeq(strings.Join(strings.Fields(text), ""), "+") {
		switch {
		case part == "center" && !u.placed():
			u.Center = true
		case unitPosition.MatchString(part) && !u.placed():
			match := unitPosition.FindStringSubmatch(part)
			row, _ := strconv.Atoi(match[1]) // nine digits
			column, _ := strconv.Atoi(match[2])
			u.Position = &[2]int{row, column}
		case unitChannels.MatchString(part) && u.Channels == nil:
			channels, err := parseChannels(unitChannels.FindStringSubmatch(part)[1])
			if err != nil {
				return Units{}, err
			}
			u.Channels = channels
		default:
			return Units{},
				fmt.Errorf(`%w: units %q; there are center, (row,column) and channels(0,3,8-15), and a position with channels such as center+channels(7)`,
					ErrOption, text)
		}
	}
	return u, nil
}

func (u Units) placed() bool { return u.Center || u.Position != nil }

func parseChannels(text string) ([]int, error) {
	var channels []int
	for part := range strings.SplitSeq(text, ",") {
		from, to, several := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		last := first
		if err == nil && several {
			last, err = strconv.Atoi(to)
		}
		if err != nil || last < first || last-first >= maxUnitChannels || len(channels)+last-first >= maxUnitChannels {
			return nil, fmt.Errorf("%w: channels(%s): %q is neither a channel nor a range such as 8-15", ErrOption, text, part)
		}
		for c := first; c <= last; c++ {
			channels = append(channels, c)
		}
	}
	return channels, nil
}

// String returns what ParseUnits reads, "" for all units.
func (u Units) String() string {
	var parts []string
	switch {
	case u.Center:
		parts = append(parts, "center")
	case u.Position != nil:
		parts = append(parts, fmt.Sprintf("(%d,%d)", u.Position[0], u.Position[1]))
	}
	if u.Channels != nil {
		var list []string
		for i := 0; i < len(u.Channels); i++ {
			first := u.Channels[i]
			for i+1 < len(u.Channels) && u.Channels[i+1] == u.Channels[i]+1 {
				i++
			}
			if last := u.Channels[i]; last > first {
				list = append(list, fmt.Sprintf("%d-%d", first, last))
			} else {
				list = append(list, strconv.Itoa(first))
			}
		}
		parts = append(parts, "channels("+strings.Join(list, ",")+")")
	}
	return strings.Join(parts, "+")
}

// String returns what ParseUnits reads, "" for all units.
func (s *Selection) String() string {
	if s == nil {
		return ""
	}
	u := Units{Channels: s.Channels}
	if s.Row != nil {
		u.Position = &[2]int{*s.Row, *s.Column}
	}
	return u.String()
}

// Select takes only some units of a layer, which must be among those extracted. What is
// not wanted is never copied out of what TensorFlow computed. The shape of the layer's
// output is [channels] at one position, [height, width, channels] for channels everywhere,
// and [classes] of the readout. Plan's error wraps ErrOption if there are no such units.
func Select(layer string, units Units) ExtractOption {
	return func(o *extractOptions) { o.selected = append(o.selected, layerUnits{layer, units}) }
}

type layerUnits struct {
	layer string
	units Units
}

// SelectUnits is Select for selections as people write them, such as "conv8=center" and
// "conv5,conv6=channels(0-9)"; see ParseUnits. Plan's error wraps ErrOption.
func SelectUnits(selections ...string) ExtractOption {
	return func(o *extractOptions) { o.selections = append(o.selections, selections...) }
}

// parseSelections turns selections that are texts into those of Select.
func (o *extractOptions) parseSelections() error {
	for _, text := range o.selections {
		layers, units, named := strings.Cut(text, "=")
		if !named {
			return fmt.Errorf("%w: the selection %q names no layer, as conv8=center does", ErrOption, text)
		}
		u, err := ParseUnits(units)
		if err != nil {
			return err
		}
		for layer := range strings.SplitSeq(layers, ",") {
			o.selected = append(o.selected, layerUnits{strings.TrimSpace(layer), u})
		}
	}
	o.selections = nil
	return nil
}

// selection returns the units of a layer that are wanted, and nil for all of them.
func (o *extractOptions) selection(layer savedmodels.Layer) (*Selection, error) {
	var found *Selection
	for _, s := range o.selected {
		if s.layer != layer.Name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%w: units of layer %s are selected twice", ErrOption, layer.Name)
		}
		var err error
		if found, err = s.units.of(layer); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// settleSelections reads the selections and makes sure that their layers are extracted.
func (o *extractOptions) settleSelections() error {
	if err := o.parseSelections(); err != nil {
		return err
	}
	for _, s := range o.selected {
		if !slices.Contains(o.layers, s.layer) {
			return fmt.Errorf("%w: units of layer %s are selected, which is not extracted", ErrOption, s.layer)
		}
	}
	return nil
}

func (u Units) of(layer savedmodels.Layer) (*Selection, error) {
	shape := layer.Shape
	s := &Selection{Map: shape, Channels: u.Channels}
	if u.Center || u.Position != nil {
		if u.Center && u.Position != nil {
			return nil, fmt.Errorf("%w: layer %s: units are at the center or at a position, not both", ErrOption, layer.Name)
		}
		if len(shape) != 3 {
			return nil, fmt.Errorf("%w: layer %s has no positions to select; its classes are channels(…)", ErrOption, layer.Name)
		}
		row, column := shape[0]/2, shape[1]/2
		if p := u.Position; p != nil {
			row, column = p[0], p[1]
		}
		if row < 0 || row >= shape[0] || column < 0 || column >= shape[1] {
			return nil, fmt.Errorf("%w: layer %s has %d×%d positions, none at (%d,%d); they are counted from 0", ErrOption,
				layer.Name, shape[0], shape[1], row, column)
		}
		s.Row, s.Column = &row, &column
	}
	seen := map[int]bool{}
	for _, c := range u.Channels {
		last := shape[len(shape)-1]
		if c < 0 || c >= last {
			return nil, fmt.Errorf("%w: layer %s has %d channels, and no %d; they are counted from 0", ErrOption, layer.Name,
				last, c)
		}
		if seen[c] {
			return nil, fmt.Errorf("%w: channel %d of layer %s is selected twice", ErrOption, c, layer.Name)
		}
		seen[c] = true
	}
	if u.Channels != nil && len(u.Channels) == 0 {
		return nil, fmt.Errorf("%w: no channel of layer %s is selected", ErrOption, layer.Name)
	}
	if s.Row == nil && s.Channels == nil {
		return nil, nil
	}
	return s, nil
}

// shape is that of the units at one timestep.
func (s *Selection) shape() []int {
	channels := s.Map[len(s.Map)-1]
	if s.Channels != nil {
		channels = len(s.Channels)
	}
	if len(s.Map) == 3 && s.Row == nil {
		return []int{s.Map[0], s.Map[1], channels}
	}
	return []int{channels}
}

// of returns the units of a whole layer's values at one timestep. It is a part of these
// where all channels are taken.
func (s *Selection) of(values []float32) []float32 {
	channels := s.Map[len(s.Map)-1]
	if s.Row != nil {
		values = values[(*s.Row*s.Map[1]+*s.Column)*channels:][:channels]
	}
	if s.Channels == nil {
		return values
	}
	taken := make([]float32, 0, len(values)/channels*len(s.Channels))
	for ; len(values) > 0; values = values[channels:] {
		for _, c := range s.Channels {
			taken = append(taken, values[c])
		}
	}
	return taken
}
