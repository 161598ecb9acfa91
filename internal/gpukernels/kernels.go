// Package gpukernels tells, before a GPU is at hand, what of a graph a GPU would
// compute: from the kernels that TensorFlow's GPU build registers, which it lists
// on a machine without a GPU too.
//
//	kernels, err := gpukernels.Recorded()
//	report, err := gpukernels.Audit(def, fetches, kernels)
//
// The rules are TensorFlow's placer's (core/common_runtime/placer.cc,
// core/framework/op_kernel.cc): an operation goes to the GPU if there is a kernel
// for "GPU", else for "DEFAULT", without a label, whose constraints the
// operation's types meet; else to the CPU. Arguments that a GPU kernel declares as
// host memory stay in the computer's memory.
package gpukernels

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// Kernel is a kernel that runs operations on a GPU.
type Kernel struct {
	// Types are the types it is for, by attribute, such as "T": "float".
	Types map[string]string `json:"types,omitempty"`
	// Host lists the arguments, inputs and outputs, in host memory.
	Host []string `json:"host,omitempty"`
}

// Registry holds the kernels of ops by op. An op without kernels has an empty
// list; an op that is not in it is not known.
type Registry map[string][]Kernel

// The devices whose kernels run on a GPU, the preferred one first.
var devices = []string{"GPU", "DEFAULT"}

// recordedTypes are those of the kernels that are kept: all that the graphs have
// or may have when they compute in another precision.
var recordedTypes = []tfpb.DataType{
	tfpb.DataType_DT_FLOAT, tfpb.DataType_DT_HALF, tfpb.DataType_DT_BFLOAT16, tfpb.DataType_DT_INT32,
	tfpb.DataType_DT_BOOL,
}

// IsGPUBuild says whether the loaded runtime is a build with CUDA support.
func IsGPUBuild() (bool, error) {
	list, err := registered("Conv2D")
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list, func(k *tfpb.KernelDef) bool { return k.DeviceType == "GPU" }), nil
}

func registered(op string) ([]*tfpb.KernelDef, error) {
	raw, err := libtf.RegisteredKernelsRaw(op)
	if err != nil {
		return nil, err
	}
	var list tfpb.KernelList
	if err := proto.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("kernels of %s: %w", op, err)
	}
	return list.Kernel, nil
}

// FromRuntime asks the loaded runtime, which must be a GPU build, for its kernels.
func FromRuntime(ops []string) (Registry, error) {
	registry := Registry{}
	for _, op := range ops {
		list, err := registered(op)
		if err != nil {
			return nil, err
		}
		registry[op] = []Kernel{}
		seen := map[string]bool{}
		for _, device := range devices {
			var kernels []Kernel
			for _, def := range list {
				if def.DeviceType != device || def.Label != "" {
					continue
				}
				kernels = append(kernels, expand(def)...)
			}
			sort.Slice(kernels, func(i, j int) bool { return kernels[i].key() < kernels[j].key() })
			for _, k := range kernels {
				if !seen[k.key()] {
					seen[k.key()] = true
					registry[op] = append(registry[op], k)
				}
			}
		}
	}
	return registry, nil
}

// expand returns a kernel for every combination of types that def allows.
func expand(def *tfpb.KernelDef) []Kernel {
	host := slices.Clone(def.HostMemoryArg)
	sort.Strings(host)
	kernels := []Kernel{{Host: host}}
	for _, constraint := range def.Constraint {
		var next []Kernel
		for _, k := range kernels {
			for _, t := range constraint.AllowedValues.GetList().GetType() {
				if !slices.Contains(recordedTypes, t) {
					continue
				}
				types := map[string]string{constraint.Name: typeName(t)}
				for name, value := range k.Types {
					types[name] = value
				}
				next = append(next, Kernel{types, host})
			}
		}
		kernels = next
	}
	return kernels
}

func (k Kernel) key() string { return typesText(k.Types) }

func typesText(types map[string]string) string {
	var words []string
	for name, value := range types {
		words = append(words, name+"="+value)
	}
	sort.Strings(words)
	return strings.Join(words, " ")
}

func typeName(t tfpb.DataType) string { return strings.ToLower(strings.TrimPrefix(t.String(), "DT_")) }

// find returns the kernel for an operation, nil if it would run on the CPU.
func (r Registry) find(op string, types map[string]string) (*Kernel, error) {
	kernels, ok := r[op]
	if !ok {
		return nil, fmt.Errorf("gpukernels: nothing is known of the kernels of %s", op)
	}
	for i := range kernels {
		fits := true
		for name, value := range kernels[i].Types {
			fits = fits && types[name] == value
		}
		if fits {
			return &kernels[i], nil
		}
	}
	return nil, nil
}

//go:embed kernels.json
var recorded []byte

// Recorded returns the kernels of libtensorflow 2.21.0's GPU build for the ops
// that graphs of this project consist of, or may consist of.
func Recorded() (Registry, error) {
	registry := Registry{}
	if err := json.Unmarshal(recorded, &registry); err != nil {
		return nil, fmt.Errorf("gpukernels: kernels.json: %w", err)
	}
	return registry, nil
}

// encode returns the content of kernels.json: a line an op.
func (r Registry) encode() ([]byte, error) {
	var ops []string
	for op := range r {
		ops = append(ops, op)
	}
	sort.Strings(ops)
	var text strings.Builder
	text.WriteString("{\n")
	for i, op := range ops {
		line, err := json.Marshal(r[op])
		if err != nil {
			return nil, err
		}
		end := ",\n"
		if i == len(ops)-1 {
			end = "\n"
		}
		fmt.Fprintf(&text, "%q: %s%s", op, line, end)
	}
	text.WriteString("}\n")
	return []byte(text.String()), nil
}
