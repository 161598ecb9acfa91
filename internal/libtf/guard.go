package libtf

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"
)

// The checks below read protocol buffers on the wire: they concern a few
// fields of large messages, and this package does without generated code.

// maxThreads is far more threads than helps, and few enough to be created;
// TensorFlow aborts if it cannot.
const maxThreads = 4096

var errMalformed = errors.New("not a valid protocol buffer")

// eachField calls f with every field of a message. Exactly one of value, for
// length-delimited fields, and number, for varints, is set; f sees no others.
func eachField(message []byte, f func(field protowire.Number, value []byte, number uint64) error) error {
	for len(message) > 0 {
		field, wire, n := protowire.ConsumeTag(message)
		if n < 0 {
			return errMalformed
		}
		message = message[n:]
		var (
			value  []byte
			number uint64
			err    error
		)
		switch wire {
		case protowire.BytesType:
			if value, n = protowire.ConsumeBytes(message); n >= 0 {
				if value == nil {
					value = []byte{}
				}
				err = f(field, value, 0)
			}
		case protowire.VarintType:
			if number, n = protowire.ConsumeVarint(message); n >= 0 {
				err = f(field, nil, number)
			}
		default:
			n = protowire.ConsumeFieldValue(field, wire, message)
		}
		if n < 0 {
			return errMalformed
		}
		if err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}

// checkConfig refuses a serialised ConfigProto with numbers of threads that
// make TensorFlow abort.
//
//	ConfigProto: 2 intra_op_parallelism_threads, 5 inter_op_parallelism_threads,
//	12 session_inter_op_thread_pool (ThreadPoolOptionProto: 1 num_threads)
func checkConfig(config []byte) error {
	check := func(name string, number uint64, least int32) error {
		if threads := int32(number); threads < least || threads > maxThreads {
			return invalid("configure a session", "%s is %d, must be from %d to %d", name, threads, least, maxThreads)
		}
		return nil
	}
	err := eachField(config, func(field protowire.Number, value []byte, number uint64) error {
		switch {
		case field == 2 && value == nil:
			return check("intra_op_parallelism_threads", number, 0)
		case field == 5 && value == nil:
			return check("inter_op_parallelism_threads", number, -1)
		case field == 12 && value != nil:
			return eachField(value, func(field protowire.Number, value []byte, number uint64) error {
				if field == 1 && value == nil {
					return check("session_inter_op_thread_pool.num_threads", number, 0)
				}
				return nil
			})
		}
		return nil
	})
	if errors.Is(err, errMalformed) {
		return invalid("configure a session", "the ConfigProto is %v", err)
	}
	return err
}

// checkSavedModel runs checkGraphDef on every graph of a serialised
// SavedModel.
//
//	SavedModel: 2 meta_graphs; MetaGraphDef: 2 graph_def
func checkSavedModel(message []byte) error {
	return eachField(message, func(field protowire.Number, metaGraph []byte, _ uint64) error {
		if field != 2 || metaGraph == nil {
			return nil
		}
		return eachField(metaGraph, func(field protowire.Number, graphDef []byte, _ uint64) error {
			if field != 2 || graphDef == nil {
				return nil
			}
			return checkGraphDef(graphDef)
		})
	})
}

// checkGraphDef refuses tensors and shapes in a serialised GraphDef whose
// number of elements overflows, which make TensorFlow abort.
//
//	GraphDef: 1 node, 2 library; FunctionDefLibrary: 1 function;
//	FunctionDef: 3 node_def; NodeDef: 1 name, 5 attr (map: 2 value)
func checkGraphDef(message []byte) error {
	return eachField(message, func(field protowire.Number, value []byte, _ uint64) error {
		switch {
		case field == 1 && value != nil:
			return checkNodeDef(value)
		case field == 2 && value != nil:
			return eachField(value, func(field protowire.Number, function []byte, _ uint64) error {
				if field != 1 || function == nil {
					return nil
				}
				return eachField(function, func(field protowire.Number, node []byte, _ uint64) error {
					if field != 3 || node == nil {
						return nil
					}
					return checkNodeDef(node)
				})
			})
		}
		return nil
	})
}

func checkNodeDef(message []byte) error {
	name := ""
	err := eachField(message, func(field protowire.Number, value []byte, _ uint64) error {
		switch {
		case field == 1 && value != nil:
			name = string(value)
		case field == 5 && value != nil:
			sum := newShapeSum()
			return eachField(value, func(field protowire.Number, attribute []byte, _ uint64) error {
				if field != 2 || attribute == nil {
					return nil
				}
				return sum.checkAttrValue(attribute)
			})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("node %q: %w", name, err)
	}
	return nil
}

// shapeSum sums up a shape over all occurrences of its field: readers merge them.
type shapeSum struct {
	elements uint64
	rank     int
}

func newShapeSum() *shapeSum { return &shapeSum{elements: 1} }

// AttrValue: 1 list, 7 shape, 8 tensor; ListValue: 7 shape, 8 tensor.
func (s *shapeSum) checkAttrValue(message []byte) error {
	return eachField(message, func(field protowire.Number, value []byte, _ uint64) error {
		if value == nil {
			return nil
		}
		switch field {
		case 1:
			return eachField(value, func(field protowire.Number, value []byte, _ uint64) error {
				switch {
				case field == 7 && value != nil:
					return newShapeSum().checkShape(value)
				case field == 8 && value != nil:
					return newShapeSum().checkTensorProto(value)
				}
				return nil
			})
		case 7:
			return s.checkShape(value)
		case 8:
			return s.checkTensorProto(value)
		}
		return nil
	})
}

// TensorProto: 2 tensor_shape.
func (s *shapeSum) checkTensorProto(message []byte) error {
	return eachField(message, func(field protowire.Number, shape []byte, _ uint64) error {
		if field != 2 || shape == nil {
			return nil
		}
		return s.checkShape(shape)
	})
}

// TensorShapeProto: 2 dim; Dim: 1 size.
func (s *shapeSum) checkShape(message []byte) error {
	return eachField(message, func(field protowire.Number, dimension []byte, _ uint64) error {
		if field != 2 || dimension == nil {
			return nil
		}
		if s.rank++; s.rank > maxRank {
			return fmt.Errorf("a shape has more than %d dimensions", maxRank)
		}
		return eachField(dimension, func(field protowire.Number, value []byte, number uint64) error {
			if field != 1 || value != nil || int64(number) <= 0 { // -1 is unknown
				return nil
			}
			high, low := bits.Mul64(s.elements, number)
			if high != 0 || low > math.MaxInt64/16 { // 16 bytes is the largest element
				return errors.New("the number of elements of a shape overflows")
			}
			s.elements = low
			return nil
		})
	})
}
