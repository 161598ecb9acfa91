// Package trust checks SavedModels before TensorFlow sees them.
//
// A graph is a program: there are ops that read and write files, load libraries or
// run Python. What this project's converter writes has none of them. Check accepts
// only what the converter could have written: a graph of the ops and attributes
// that it uses, without functions, assets or devices, that restores its variables
// from its own directory.
package trust

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/bundle"
)

// ErrUntrusted is wrapped by errors about SavedModels that the converter cannot
// have written, or that are not the ones their manifests describe.
var ErrUntrusted = errors.New("SavedModel is not trusted")

// Ops are the ops of converted graphs. A test holds the list to what the converter
// writes.
var Ops = setOf(
	"AddV2", "AssignVariableOp", "BiasAdd", "ConcatV2", "Const", "Conv2D", "DepthwiseConv2dNative", "Elu", "Fill",
	"GatherV2", "Greater", "GreaterEqual", "Identity", "LogicalOr", "MatMul", "Max", "MaxPool", "Maximum", "Mean",
	"Mul", "NoOp", "Pad", "Placeholder", "PlaceholderWithDefault", "Range", "ReadVariableOp", "RealDiv", "Relu",
	"Reshape", "ResizeBilinear", "RestoreV2", "Rsqrt", "SelectV2", "Shape", "Sigmoid", "Softmax", "Split",
	"SquaredDifference", "StridedSlice", "Sub", "Tanh", "Tile", "VarHandleOp",
)

// Attributes are the attributes of the nodes of converted graphs, under the same test.
var Attributes = setOf(
	"Index", "N", "T", "Taxis", "Tidx", "Tindices", "Tmultiples", "Tpaddings", "Tparams", "Tshape",
	"_tfconvrnn_macs", "_tfconvrnn_per", "align_corners", "batch_dims", "begin_mask", "container", "data_format",
	"dilations", "dtype", "dtypes", "ellipsis_mask", "end_mask", "explicit_paddings", "half_pixel_centers",
	"index_type", "keep_dims", "ksize", "new_axis_mask", "num_split", "out_type", "padding", "shape", "shared_name",
	"shrink_axis_mask", "strides", "transpose_a", "transpose_b", "use_cudnn_on_gpu", "validate_shape", "value",
)

func setOf(names ...string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// Limits of what is read. The largest graphs, of 1000 timesteps, take some 60 MB,
// and their largest constant is a layer's initial state.
const (
	maxGraphBytes       = 256 << 20
	maxConstantElements = 1 << 22
	maxNodes            = 4 << 20
)

func untrusted(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUntrusted, fmt.Errorf(format, args...))
}

// Check checks the SavedModel in dir, whose manifest is m: the graph's bytes and the
// index of its variables against the manifest, and both for what they may hold. The
// values of the variables are left to Manifest.Verify and to the checksums that
// TensorFlow verifies. Errors wrap ErrUntrusted, and manifest.ErrModified where a
// file is not the manifest's.
func Check(dir string, m *manifest.Manifest) error {
	// TensorFlow prefers, or takes instead, other forms of saved_model.pb.
	for _, pattern := range []string{"saved_model.*", "assets*"} {
		found, err := filepath.Glob(filepath.Join(escaped(dir), pattern))
		if err != nil {
			return err
		}
		for _, path := range found {
			if filepath.Base(path) != graphName {
				return untrusted("%s is nothing that the converter writes", path)
			}
		}
	}
	path := filepath.Join(dir, graphName)
	data, err := readRegular(path, maxGraphBytes)
	if err != nil {
		return err
	}
	if err := m.VerifyBytes(graphName, data); err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if err := CheckGraph(data); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	prefix := filepath.Join(dir, "variables", "variables")
	data, err = readRegular(prefix+".index", maxGraphBytes)
	if err != nil {
		return err
	}
	if err := m.VerifyBytes("variables/variables.index", data); err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	// It checks the index, and that the data is as long as it says.
	reader, err := bundle.Open(prefix)
	if err != nil {
		return fmt.Errorf("%w: %w: %w", ErrUntrusted, manifest.ErrModified, err)
	}
	return reader.Close()
}

const graphName = "saved_model.pb"

// escaped makes a path match itself only.
func escaped(path string) string {
	var b []byte
	for _, c := range []byte(path) {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	return string(b)
}

// readRegular reads a file, but no pipe or device, and not more than limit bytes.
func readRegular(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w: %w", ErrUntrusted, manifest.ErrModified, err)
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, untrusted("%s is no regular file of at most %d bytes", path, limit)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	b.Grow(int(info.Size()) + bytes.MinRead)
	if _, err := b.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) > limit {
		return nil, untrusted("%s grew beyond %d bytes", path, limit)
	}
	return b.Bytes(), nil
}

// CheckGraph checks a serialized SavedModel. It reads the wire format itself, which
// is fast, and sees every occurrence of a field, whichever of them TensorFlow would
// take. The error wraps ErrUntrusted.
//
//	SavedModel:   1 saved_model_schema_version, 2 meta_graphs
//	MetaGraphDef: 1 meta_info_def, 2 graph_def, 3 saver_def, 5 signature_def
//	MetaInfoDef:  4 tags
//	GraphDef:     1 node, 4 versions
//	SaverDef:     1 filename_tensor_name, 2 save_tensor_name, 3 restore_op_name, 7 version
func CheckGraph(message []byte) error {
	c := &graphCheck{}
	graphs := 0
	err := fields(message, func(number protowire.Number, value []byte) error {
		switch number {
		case 1:
			return nil
		case 2:
			graphs++
			return c.metaGraph(value)
		}
		return untrusted("it has the field %d", number)
	})
	if err != nil {
		return err
	}
	if graphs != 1 {
		return untrusted("it has %d graphs, not 1", graphs)
	}
	if c.restores != 1 || !c.ownFile {
		return untrusted("it does not restore its variables in the converter's way")
	}
	return nil
}

type graphCheck struct {
	nodes, restores int
	ownFile         bool
}

func (c *graphCheck) metaGraph(message []byte) error {
	return fields(message, func(number protowire.Number, value []byte) error {
		switch number {
		case 1:
			return only(value, "meta_info_def", 4)
		case 2:
			return fields(value, func(number protowire.Number, value []byte) error {
				switch number {
				case 1:
					return c.node(value)
				case 4:
					return nil
				}
				return untrusted("its graph has the field %d (functions?)", number)
			})
		case 3:
			return only(value, "saver_def", 1, 2, 3, 7)
		case 5:
			return nil
		}
		return untrusted("its graph has assets, collections or objects (field %d)", number)
	})
}

// node checks a NodeDef: 1 name, 2 op, 3 input, 5 attr.
func (c *graphCheck) node(message []byte) error {
	if c.nodes++; c.nodes > maxNodes {
		return untrusted("it has more than %d nodes", maxNodes)
	}
	var name, op, firstInput []byte
	inputs, ops := 0, 0
	err := fields(message, func(number protowire.Number, value []byte) error {
		switch number {
		case 1:
			name = value
		case 2:
			op = value
			ops++
		case 3:
			if inputs == 0 {
				firstInput = value
			}
			inputs++
		case 5:
		default:
			return untrusted("node %q has the field %d", name, number)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if ops != 1 || !Ops[string(op)] {
		return untrusted("node %q has the op %q, which no converted model has", name, op)
	}
	isFile := string(name) == restoreFile
	if string(op) == "RestoreV2" {
		if c.restores++; string(firstInput) != restoreFile {
			return untrusted("node %q reads the file %q", name, firstInput)
		}
	}
	if isFile && string(op) != "Const" {
		return untrusted("node %q has the op %q", name, op)
	}
	return fields(message, func(number protowire.Number, entry []byte) error {
		if number != 5 {
			return nil
		}
		var key string
		a := attributeCheck{elements: 1}
		err := fields(entry, func(number protowire.Number, value []byte) error {
			switch number {
			case 1:
				if key = string(value); !Attributes[key] {
					return untrusted("node %q has the attribute %q, which no converted model has", name, key)
				}
				return nil
			case 2:
				return a.value(value)
			}
			return untrusted("an attribute of node %q has the field %d", name, number)
		})
		if err != nil {
			return fmt.Errorf("node %q: %w", name, err)
		}
		if isFile && key == "value" {
			if len(a.texts) != 1 || string(a.texts[0]) != ownFile {
				return untrusted("node %q names the file %q", name, a.texts)
			}
			c.ownFile = true
		}
		return nil
	})
}

// The node that names the file that variables are restored from, and its value,
// which TensorFlow's loader replaces with the SavedModel's own.
const (
	restoreFile = "save/filename"
	ownFile     = "model"
)

// attributeCheck sums up an attribute over all occurrences of its fields, which
// readers merge.
type attributeCheck struct {
	texts    [][]byte
	elements uint64
}

// value checks an AttrValue: 1 list, 8 tensor, 9 placeholder, 10 func; and
// TensorProto: 2 tensor_shape, 8 string_val.
func (a *attributeCheck) value(message []byte) error {
	return fields(message, func(number protowire.Number, value []byte) error {
		switch number {
		case 9, 10:
			return untrusted("an attribute is a function")
		case 1:
			return fields(value, func(number protowire.Number, value []byte) error {
				if number == 8 || number == 9 {
					return untrusted("an attribute is a list of functions or tensors")
				}
				return nil
			})
		case 8:
			return fields(value, func(number protowire.Number, value []byte) error {
				switch number {
				case 2:
					return a.shape(value)
				case 8:
					a.texts = append(a.texts, value)
				}
				return nil
			})
		}
		return nil
	})
}

// shape checks a constant's TensorShapeProto: 2 dim; Dim: 1 size.
func (a *attributeCheck) shape(message []byte) error {
	return fields(message, func(number protowire.Number, dimension []byte) error {
		if number != 2 {
			return untrusted("a constant's shape has the field %d", number)
		}
		for len(dimension) > 0 {
			number, wire, n := protowire.ConsumeTag(dimension)
			if n < 0 || number != 1 || wire != protowire.VarintType {
				return untrusted("a constant's dimension is not a number")
			}
			size, m := protowire.ConsumeVarint(dimension[n:])
			if m < 0 || size > maxConstantElements || a.elements*size > maxConstantElements {
				return untrusted("a constant has more than %d elements", maxConstantElements)
			}
			a.elements *= max(size, 1)
			dimension = dimension[n+m:]
		}
		return nil
	})
}

// only accepts a message with no fields but those given.
func only(message []byte, what string, allowed ...protowire.Number) error {
	return fields(message, func(number protowire.Number, _ []byte) error {
		for _, a := range allowed {
			if number == a {
				return nil
			}
		}
		return untrusted("its %s has the field %d", what, number)
	})
}

// fields calls f with every field of a message, and with the bytes of those that
// have some.
func fields(message []byte, f func(number protowire.Number, value []byte) error) error {
	for len(message) > 0 {
		number, wire, n := protowire.ConsumeTag(message)
		if n < 0 {
			return untrusted("it is not a valid protocol buffer")
		}
		message = message[n:]
		var value []byte
		switch wire {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(message)
		case protowire.StartGroupType, protowire.EndGroupType:
			return untrusted("it has a group")
		default:
			n = protowire.ConsumeFieldValue(number, wire, message)
		}
		if n < 0 {
			return untrusted("it is not a valid protocol buffer")
		}
		if err := f(number, value); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}
