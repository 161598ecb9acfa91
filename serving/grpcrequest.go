package serving

import (
	"encoding/binary"
	"math"

	"github.com/tfconvrnn/go/internal/inferencepb"
)

// parseGRPC reads a message. Size is about what it takes.
func parseGRPC(m *inferencepb.ModelInferRequest) (_ *inferRequest, size int64, err error) {
	r := &inferRequest{id: m.Id}
	if r.parameters, err = grpcParameters(m.Parameters); err != nil {
		return nil, 0, err
	}
	raw := len(m.RawInputContents) > 0
	if raw && len(m.RawInputContents) != len(m.Inputs) {
		return nil, 0, requestf("there are %d inputs, and %d raw_input_contents", len(m.Inputs), len(m.RawInputContents))
	}
	for i, in := range m.Inputs {
		t := &tensor{name: in.GetName(), datatype: in.GetDatatype(), shape: in.GetShape()}
		p, err := grpcParameters(in.GetParameters())
		if err != nil {
			return nil, 0, err
		}
		// KServe's client says it here too, where every value has its length.
		if _, _, err := p.number("binary_data_size"); err != nil {
			return nil, 0, err
		}
		if err := p.none("input " + t.name); err != nil {
			return nil, 0, err
		}
		switch {
		case raw && in.GetContents() != nil:
			return nil, 0, requestf("input %s has contents and raw_input_contents", t.name)
		case raw:
			err = t.setRaw(m.RawInputContents[i])
		default:
			err = t.setContents(in.GetContents())
		}
		if err != nil {
			return nil, 0, err
		}
		size += int64(len(t.data))
		for _, item := range t.items {
			size += int64(len(item))
		}
		r.inputs = append(r.inputs, t)
	}
	for _, o := range m.Outputs {
		p, err := grpcParameters(o.GetParameters())
		if err != nil {
			return nil, 0, err
		}
		if _, err := p.boolean("binary_data"); err != nil { // all are
			return nil, 0, err
		}
		if err := p.none("output " + o.GetName()); err != nil {
			return nil, 0, err
		}
		r.outputs = append(r.outputs, o.GetName())
	}
	return r, size, nil
}

// setContents takes the values of a tensor from the field of its type.
func (t *tensor) setContents(c *inferencepb.InferTensorContents) error {
	n, err := t.elements()
	if err != nil {
		return err
	}
	count := 0
	switch t.datatype {
	case "UINT8":
		count = len(c.GetUintContents())
		t.data = make([]byte, count)
		for i, v := range c.GetUintContents() {
			if v > math.MaxUint8 {
				return requestf("input %s: %d is no UINT8", t.name, v)
			}
			t.data[i] = byte(v)
		}
	case "INT32":
		count = len(c.GetIntContents())
		for _, v := range c.GetIntContents() {
			t.data = binary.LittleEndian.AppendUint32(t.data, uint32(v))
		}
	case "INT64":
		count = len(c.GetInt64Contents())
		for _, v := range c.GetInt64Contents() {
			t.data = binary.LittleEndian.AppendUint64(t.data, uint64(v))
		}
	case "FP32":
		count = len(c.GetFp32Contents())
		for _, v := range c.GetFp32Contents() {
			t.data = binary.LittleEndian.AppendUint32(t.data, math.Float32bits(v))
		}
	case "BYTES":
		count = len(c.GetBytesContents())
		t.items = c.GetBytesContents()
	default:
		return requestf("input %s: no input is %s", t.name, t.datatype)
	}
	if count != n {
		return requestf("input %s: the shape %v has %d elements, but the contents of %s are %d", t.name, t.shape, n,
			t.datatype, count)
	}
	return nil
}
