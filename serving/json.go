package serving

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
)

// The requests of the protocol's REST form.
type jsonRequest struct {
	ID         string                     `json:"id"`
	Parameters map[string]json.RawMessage `json:"parameters"`
	Inputs     []jsonTensor               `json:"inputs"`
	Outputs    []jsonTensor               `json:"outputs"`
	ModelName  string                     `json:"model_name"` // some clients repeat it
	Version    string                     `json:"model_version"`
}

type jsonTensor struct {
	Name       string                     `json:"name"`
	Datatype   string                     `json:"datatype"`
	Shape      []int64                    `json:"shape"`
	Parameters map[string]json.RawMessage `json:"parameters"`
	Data       json.RawMessage            `json:"data"`
}

// parseJSON reads one JSON value and nothing else.
func parseJSON(text []byte, to any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(to); err != nil {
		return requestf("the JSON cannot be read: %w", err)
	}
	if name, twice := repeatedKey(text[:decoder.InputOffset()]); twice {
		return requestf("the JSON has %q twice in one object", name)
	}
	if len(bytes.TrimSpace(text[decoder.InputOffset():])) > 0 {
		return requestf("something follows the JSON; where it is binary data, the header Inference-Header-Content-Length says where it begins")
	}
	return nil
}

// repeatedKey finds a name that an object of valid JSON has twice, of which encoding/json would take the last.
func repeatedKey(text []byte) (name string, twice bool) {
	var objects []map[string]bool // nil for arrays
	key := false                  // whether a string is a name
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{':
			objects, key = append(objects, map[string]bool{}), true
		case '[':
			objects, key = append(objects, nil), false
		case '}', ']':
			objects, key = objects[:len(objects)-1], false
		case ',':
			key = objects[len(objects)-1] != nil
		case ':':
			key = false
		case '"':
			begin := i
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			if !key {
				continue
			}
			if json.Unmarshal(text[begin:i+1], &name) != nil {
				return "", false
			}
			names := objects[len(objects)-1]
			if names[name] {
				return name, true
			}
			names[name] = true
		}
	}
	return "", false
}

// jsonParameters reads values of parameters.
func jsonParameters(raw map[string]json.RawMessage) (parameters, error) {
	p := parameters{}
	for name, text := range raw {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		var value any
		if err := decoder.Decode(&value); err != nil {
			return nil, requestf("parameter %s: %w", name, err)
		}
		if _, object := value.(map[string]any); object {
			return nil, requestf("the parameter %s is an object", name)
		}
		p[name] = value
	}
	return p, nil
}

// setJSON takes the values of a tensor from JSON: as nested arrays of its shape, or one of all
// values. Those of BYTES are in base64.
func (t *tensor) setJSON(text []byte) error {
	n, err := t.elements()
	if err != nil {
		return err
	}
	size, known := datatypeSizes[t.datatype]
	if !known {
		return requestf("input %s: unknown data type %q", t.name, t.datatype)
	}
	if size > 0 && n > len(text) || n > 1<<28 { // each takes at least a digit and a comma
		return requestf("input %s: the shape %v has %d elements, but there are fewer", t.name, t.shape, n)
	}
	r := &jsonValues{tensor: t, text: text, n: n, data: make([]byte, 0, n*size)}
	nested, err := r.nested()
	if err != nil {
		return err
	}
	if nested {
		err = r.array(0)
	} else {
		err = r.flat()
	}
	if err != nil {
		return err
	}
	if r.count != n {
		return requestf("input %s: the shape %v has %d elements, but there are %d", t.name, t.shape, n, r.count)
	}
	t.data, t.items = r.data, r.items
	return nil
}

// jsonValues reads the values of text, which encoding/json has found to be JSON.
type jsonValues struct {
	tensor   *tensor
	text     []byte
	at       int
	n, count int
	data     []byte
	items    [][]byte
}

func (r *jsonValues) peek() byte {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\r', '\n', ',':
			r.at++
		default:
			return c
		}
	}
	return 0
}

// nested says whether there are arrays in the array.
func (r *jsonValues) nested() (bool, error) {
	if r.peek() != '[' {
		return false, requestf("input %s: data is no array", r.tensor.name)
	}
	r.at++
	inner := r.peek() == '['
	r.at = 0
	return inner && len(r.tensor.shape) > 1, nil
}

// array reads an array of the tensor's dimension and those within.
func (r *jsonValues) array(dimension int) error {
	if r.peek() != '[' {
		return requestf("input %s: the nesting of data is not that of the shape %v", r.tensor.name, r.tensor.shape)
	}
	r.at++
	for range r.tensor.shape[dimension] {
		var err error
		if dimension+1 < len(r.tensor.shape) {
			err = r.array(dimension + 1)
		} else {
			err = r.value()
		}
		if err != nil {
			return err
		}
	}
	if r.peek() != ']' {
		return requestf("input %s: dimension %d of data has more than the %d elements of the shape %v", r.tensor.name,
			dimension, r.tensor.shape[dimension], r.tensor.shape)
	}
	r.at++
	return nil
}

// flat reads an array of values.
func (r *jsonValues) flat() error {
	r.peek()
	r.at++
	for r.peek() != ']' {
		if err := r.value(); err != nil {
			return err
		}
	}
	return nil
}

// value reads one value.
func (r *jsonValues) value() error {
	c := r.peek()
	start := r.at
	if c == '"' {
		for r.at++; r.at < len(r.text) && r.text[r.at] != '"'; r.at++ {
			if r.text[r.at] == '\\' {
				r.at++
			}
		}
		r.at++
	} else {
		for r.at < len(r.text) && bytes.IndexByte([]byte(" \t\r\n,]["), r.text[r.at]) < 0 {
			r.at++
		}
	}
	token := r.text[start:min(r.at, len(r.text))]
	if len(token) == 0 || r.count >= r.n {
		return requestf("input %s: data is not nested as the shape %v, or has another number of elements", r.tensor.name,
			r.tensor.shape)
	}
	r.count++
	return r.add(token)
}

// add appends a value in the binary form.
func (r *jsonValues) add(token []byte) error {
	t := r.tensor
	bad := func() error {
		if len(token) > 40 {
			token = append(token[:40:40], "…"...)
		}
		return requestf("input %s: %s is no %s", t.name, token, t.datatype)
	}
	switch t.datatype {
	case "BYTES":
		var text string
		if json.Unmarshal(token, &text) != nil {
			return bad()
		}
		item, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return requestf("input %s: element %d is not in base64 (%w); the binary form takes bytes as they are", t.name,
				r.count-1, err)
		}
		r.items = append(r.items, item)
	case "UINT8":
		v, err := strconv.ParseUint(string(token), 10, 8)
		if err != nil {
			return bad()
		}
		r.data = append(r.data, byte(v))
	case "INT32":
		v, err := strconv.ParseInt(string(token), 10, 32)
		if err != nil {
			return bad()
		}
		r.data = binary.LittleEndian.AppendUint32(r.data, uint32(v))
	case "INT64":
		v, err := strconv.ParseInt(string(token), 10, 64)
		if err != nil {
			return bad()
		}
		r.data = binary.LittleEndian.AppendUint64(r.data, uint64(v))
	case "FP32":
		v, err := strconv.ParseFloat(string(token), 32)
		if err != nil {
			return bad()
		}
		r.data = binary.LittleEndian.AppendUint32(r.data, math.Float32bits(float32(v)))
	default:
		return requestf("input %s: no input is %s", t.name, t.datatype)
	}
	return nil
}

// appendJSON appends the values as a flat array.
func (o *output) appendJSON(dst []byte) []byte {
	dst = append(dst, '[')
	comma := func() {
		if dst[len(dst)-1] != '[' {
			dst = append(dst, ',')
		}
	}
	for _, part := range o.floats {
		for _, v := range part {
			comma()
			dst = strconv.AppendFloat(dst, float64(v), 'g', -1, 32)
		}
	}
	for _, v := range o.ints {
		comma()
		dst = strconv.AppendInt(dst, int64(v), 10)
	}
	for _, v := range o.bools {
		comma()
		dst = strconv.AppendBool(dst, v)
	}
	for _, text := range o.texts {
		comma()
		quoted, err := json.Marshal(text)
		if err != nil {
			quoted = []byte(`""`) // a string can always be marshalled
		}
		dst = append(dst, quoted...)
	}
	return append(dst, ']')
}
