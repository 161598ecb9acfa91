package gpukernels

import (
	"strings"

	"github.com/tfconvrnn/go/internal/tfpb"
	"github.com/tfconvrnn/go/internal/unroll"
)

// Hot returns the graph of a network, without what only loading needs, and the
// tensors that runs fetch from it: every layer at every timestep in both of its
// forms, the logits, and what is fed to later runs.
func Hot(n *unroll.Network) (def *tfpb.GraphDef, fetches []string) {
	for i := range n.Features {
		for _, f := range n.Features[i] {
			fetches = append(fetches, f.Compact.Name(), f.Full.Name())
		}
	}
	for _, t := range n.Logits {
		if t.Exists() {
			fetches = append(fetches, t.Name())
		}
	}
	for _, b := range n.Boundaries {
		fetches = append(fetches, b.Tensor.Name())
	}
	for _, k := range n.KnownFrames {
		fetches = append(fetches, k.Source.Name(), k.Tensor.Name())
	}
	return n.Graph.Proto(), append(fetches, n.DefaultLogits.Name())
}

// InPrecision returns the operations of def, of their attributes only the types,
// with floats in another type: what it comes down to if every operation computes
// in that precision. It is for Audit, not to be run. def is not changed.
func InPrecision(def *tfpb.GraphDef, precision tfpb.DataType) *tfpb.GraphDef {
	converted := &tfpb.GraphDef{}
	for _, n := range def.Node {
		c := &tfpb.NodeDef{Name: n.Name, Op: n.Op, Input: n.Input, Attr: map[string]*tfpb.AttrValue{}}
		for name, value := range n.Attr {
			t, ok := value.Value.(*tfpb.AttrValue_Type)
			if !ok {
				continue
			}
			if t.Type == tfpb.DataType_DT_FLOAT {
				value = &tfpb.AttrValue{Value: &tfpb.AttrValue_Type{Type: precision}}
			}
			c.Attr[name] = value
		}
		converted.Node = append(converted.Node, c)
	}
	return converted
}

// ExpectedStall says why a copy from the GPU in mid-graph does no harm, or "".
func ExpectedStall(c Copy) string {
	if c.Type == "int32" && strings.HasPrefix(c.To, "PlaceholderWithDefault ") {
		return "the schedule of the signature serving_default, a few hundred bytes at the start of a run; other runs feed theirs"
	}
	return ""
}
