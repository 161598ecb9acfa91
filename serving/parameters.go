package serving

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tfconvrnn/go/internal/imagenet"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// parameters are a request's, by their names. Values are string, bool, json.Number, or lists of
// these. Those that are read are taken out, so that what is left is unknown.
type parameters map[string]any

// parameterHelp has the parameters that a request can have, and what they say.
var parameterHelp = [][2]string{
	{"layers", "layers to put out, separated by commas, or all; the readout without it"},
	{"areas", "brain areas whose best-matching layers to put out: V4, pIT, cIT, aIT, IT"},
	{"presentation", "how images are shown: default, constant, neural or custom"},
	{"times", "number of timesteps of 10 ms"},
	{"image_off", "timestep at which the image goes off"},
	{"on_ms", "milliseconds at which the image comes on; several for several episodes"},
	{"off_ms", "milliseconds at which the image goes off, for each of on_ms; the last may be left out"},
	{"total_ms", "length of the presentation in milliseconds"},
	{"round_ms", "whether to round milliseconds to the nearest timestep"},
	{"blank", "what is shown else: published, gray, black, white, R,G,B or #rrggbb"},
	{"include_all_times", "whether to report all layers from timestep 0"},
	{"include_logits", "whether to put out the decoded logits"},
	{
		"select", "units of layers to put out, as LAYER=UNITS: center, (row,column) or channels(0,3,8-15), or a position and channels joined by +"},
	{"reduce", "reductions of the features: gap, pool(k) or sparse(d,seed), for all layers or as LAYER=REDUCTION"},
	{"top", "number of likeliest classes to put out"},
	{"preprocess", "how pictures become 224×224, as extract's --preprocess"},
	{"exif_orientation", "apply, or stored"},
	{"alpha", "drop, or composite:COLOUR"},
	{"array_range", "what values of FP32 are: 0-1, 0-255, or auto"},
	{"timeout", "microseconds after which the answer is of no use"},
}

// refusedParameters are those of other servers, by which a client would be misled.
var refusedParameters = map[string]string{
	"sequence_id": "a sequence of requests (sequence_id)", "sequence_start": "a sequence of requests (sequence_start)",
	"sequence_end": "a sequence of requests (sequence_end)", "priority": "a priority",
	"shared_memory_region":    "shared memory (shared_memory_region)",
	"shared_memory_offset":    "shared memory (shared_memory_offset)",
	"shared_memory_byte_size": "shared memory (shared_memory_byte_size)",
	"classification":          "the parameter classification (ask for top)",
}

func (p parameters) take(name string) (any, bool) {
	value, ok := p[name]
	delete(p, name)
	return value, ok && value != nil
}

func (p parameters) text(name string) (string, bool, error) {
	switch value, ok := p.take(name); value := value.(type) {
	case nil:
		return "", false, nil
	case string:
		return value, ok, nil
	default:
		return "", false, requestf("the parameter %s is a string, not %v", name, describe(value))
	}
}

func (p parameters) boolean(name string) (bool, error) {
	switch value, _ := p.take(name); value := value.(type) {
	case nil:
		return false, nil
	case bool:
		return value, nil
	case string: // of a form
		if b, err := strconv.ParseBool(value); err == nil {
			return b, nil
		}
	}
	return false, requestf("the parameter %s is true or false", name)
}

// numbers reads a number, or several in a list or separated by commas.
func (p parameters) numbers(name string) ([]float64, error) {
	value, ok := p.take(name)
	if !ok {
		return nil, nil
	}
	items, list := value.([]any)
	if text, ok := value.(string); ok {
		for _, item := range strings.Split(text, ",") {
			items = append(items, strings.TrimSpace(item))
		}
	} else if !list {
		items = []any{value}
	}
	var numbers []float64
	for _, item := range items {
		text, ok := item.(string)
		if number, is := item.(json.Number); is {
			text, ok = string(number), true
		}
		v, err := strconv.ParseFloat(text, 64)
		if !ok || err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
			return nil, requestf("the parameter %s is a number, not %s", name, describe(item))
		}
		numbers = append(numbers, v)
	}
	return numbers, nil
}

func (p parameters) number(name string) (float64, bool, error) {
	numbers, err := p.numbers(name)
	if err != nil || numbers == nil {
		return 0, false, err
	}
	if len(numbers) != 1 {
		return 0, false, requestf("the parameter %s is one number", name)
	}
	return numbers[0], true, nil
}

func (p parameters) integer(name string, least, most int) (int, bool, error) {
	v, ok, err := p.number(name)
	if err != nil || !ok {
		return 0, false, err
	}
	if v != math.Trunc(v) || v < float64(least) || v > float64(most) {
		return 0, false, requestf("the parameter %s is a whole number, %d … %d, not %v", name, least, most, v)
	}
	return int(v), true, nil
}

// texts reads strings, in a list or separated by commas outside of parentheses.
func (p parameters) texts(name string) ([]string, error) {
	value, ok := p.take(name)
	if !ok {
		return nil, nil
	}
	items, list := value.([]any)
	if !list {
		items = []any{value}
	}
	var texts []string
	for _, item := range items {
		text, ok := item.(string)
		if !ok {
			return nil, requestf("the parameter %s is a string, not %s", name, describe(item))
		}
		texts = append(texts, splitOutside(text)...)
	}
	return texts, nil
}

// selections reads units of layers: several in a list, or one after the other: conv5,conv6=center,conv8=channels(0-9)
// are two. The names of layers before a selection belong to it.
func (p parameters) selections() (list []string, err error) {
	texts, err := p.texts("select")
	if err != nil {
		return nil, err
	}
	layers := ""
	for _, text := range texts {
		if layers += text; !strings.Contains(text, "=") {
			layers += ","
			continue
		}
		list, layers = append(list, layers), ""
	}
	if layers != "" {
		return nil, requestf("the parameter select ends in %s, whose units are not named, as in conv8=center",
			strings.TrimSuffix(layers, ","))
	}
	return list, nil
}

// splitOutside splits at the commas that are in no parentheses, without empty items.
func splitOutside(text string) (items []string) {
	depth, start := 0, 0
	add := func(end int) {
		if item := strings.TrimSpace(text[start:end]); item != "" {
			items = append(items, item)
		}
		start = end + 1
	}
	for i, c := range text {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth <= 0:
			add(i)
		}
	}
	add(len(text))
	return items
}

// finish refuses what was not read.
func (p parameters) finish() error {
	if len(p) == 0 {
		return nil
	}
	var known []string
	for _, k := range parameterHelp {
		known = append(known, k[0])
	}
	err := p.none("the request")
	if errors.Is(err, ErrUnsupported) {
		return err
	}
	return fmt.Errorf("%w; there are %s", err, strings.Join(known, ", "))
}

func describe(value any) string {
	text, err := json.Marshal(value)
	if err != nil || len(text) > 60 {
		return "something else"
	}
	return string(text)
}

// settings are what a request's parameters say.
type settings struct {
	wish
	preprocessing tfconvrnn.Preprocessing
	arrayRange    string
	top           int
	timeout       time.Duration
	// layersGiven says that layers or areas were named.
	layersGiven bool
	blank       tfconvrnn.Blank
	rounded     []tfconvrnn.RoundedTime
	// float says that images are kept as float32.
	float bool
	// shown says that a parameter describes the presentation.
	shown bool
}

// settings reads parameters; those of the request's protocol must have been taken.
func (p parameters) settings(model savedmodels.Model, otherwise tfconvrnn.Preprocessing) (*settings, error) {
	s := &settings{}
	for _, read := range []func(*settings, savedmodels.Model) error{
		p.outputs, p.show, func(s *settings, _ savedmodels.Model) error { return p.pictures(s, otherwise) }} {
		if err := read(s, model); err != nil {
			return nil, err
		}
	}
	return s, p.finish()
}

// outputs reads what is put out.
func (p parameters) outputs(s *settings, model savedmodels.Model) (err error) {
	layers, err := p.texts("layers")
	if err != nil {
		return err
	}
	areas, err := p.texts("areas")
	if err != nil {
		return err
	}
	s.layersGiven = len(layers)+len(areas) > 0
	if s.layers, err = model.SelectLayers(layers, areas); err != nil {
		return err
	}
	if s.allTimesteps, err = p.boolean("include_all_times"); err != nil {
		return err
	}
	if s.logits, err = p.boolean("include_logits"); err != nil {
		return err
	}
	if s.selections, err = p.selections(); err != nil {
		return err
	}
	if s.reductions, err = p.texts("reduce"); err != nil {
		return err
	}
	if s.top, _, err = p.integer("top", 1, imagenet.Classes); err != nil {
		return err
	}
	microseconds, given, err := p.number("timeout")
	if err == nil && given && (microseconds < 1 || microseconds > 1e12) {
		return requestf("the parameter timeout is microseconds, at least 1")
	}
	s.timeout = time.Duration(microseconds) * time.Microsecond
	return err
}

// show reads the presentation.
func (p parameters) show(s *settings, model savedmodels.Model) (err error) {
	before := len(p)
	var spec tfconvrnn.PresentationSpec
	name, _, err := p.text("presentation")
	if err != nil {
		return err
	}
	spec.Name = tfconvrnn.PresentationName(name)
	const most = 1 << 20 // more than any model has
	for _, n := range []struct {
		name string
		to   **int
	}{{"times", &spec.Times}, {"image_off", &spec.ImageOff}} {
		v, given, err := p.integer(n.name, 0, most)
		if err != nil {
			return err
		}
		if given {
			*n.to = &v
		}
	}
	if spec.OnMS, err = p.numbers("on_ms"); err != nil {
		return err
	}
	if spec.OffMS, err = p.numbers("off_ms"); err != nil {
		return err
	}
	total, given, err := p.number("total_ms")
	if err != nil {
		return err
	}
	if given {
		spec.TotalMS = &total
	}
	if spec.Round, err = p.boolean("round_ms"); err != nil {
		return err
	}
	s.shown = len(p) < before
	blank, _, err := p.text("blank")
	if err != nil {
		return err
	}
	// A request names no file of the server.
	colour, ok, err := tfconvrnn.ParseColorBlank(blank)
	if err != nil {
		return err
	}
	if !ok {
		return requestf("the parameter blank is published, gray, black, white, R,G,B or #rrggbb, not %q; the input schedule can show any image",
			blank)
	}
	spec.Blank, s.blank = colour, colour
	s.presentation, s.rounded, err = spec.Presentation(model)
	return err
}

// pictures reads how pictures become images.
func (p parameters) pictures(s *settings, otherwise tfconvrnn.Preprocessing) error {
	s.preprocessing = otherwise
	name, given, err := p.text("preprocess")
	if err != nil {
		return err
	}
	if given {
		s.preprocessing = tfconvrnn.Preprocessing{Name: name}
	}
	orientation, given, err := p.text("exif_orientation")
	if err != nil {
		return err
	}
	if given {
		if orientation != "apply" && orientation != "stored" {
			return requestf("the parameter exif_orientation is apply or stored, not %q", orientation)
		}
		s.preprocessing.ApplyOrientation = orientation == "apply"
	}
	alpha, given, err := p.text("alpha")
	if err != nil {
		return err
	}
	if given {
		s.preprocessing.Alpha = alpha
	}
	if s.preprocessing, err = s.preprocessing.Canonical(); err != nil {
		return err
	}
	s.arrayRange, _, err = p.text("array_range")
	return err
}
