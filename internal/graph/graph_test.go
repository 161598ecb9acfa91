package graph

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/tfpb"
)

var float = Type(tfpb.DataType_DT_FLOAT)

func placeholder(g *Graph, name string) Tensor {
	return g.Add(Spec{Name: name, Op: "Placeholder", Attributes: Attributes{"dtype": float}})
}

func operation(g *Graph, op string, x, y Tensor) Tensor {
	return g.Add(Spec{Name: op, Op: op, Inputs: []Tensor{x, y}, Attributes: Attributes{"T": float}})
}

func TestEqualOperationsAreOne(t *testing.T) {
	g := New()
	x, y := placeholder(g, "x"), placeholder(g, "y")
	require.NotEqual(t, x, y, "placeholders of one type are two things")
	sum := operation(g, "AddV2", x, y)
	size := g.Size()
	assert.Equal(t, sum, operation(g, "AddV2", x, y))
	assert.Equal(t, sum,
		g.Add(Spec{Name: "another name", Op: "AddV2", Inputs: []Tensor{x, y}, Attributes: Attributes{"T": float}}))
	assert.Equal(t, size, g.Size())

	assert.NotEqual(t, sum, operation(g, "AddV2", y, x), "the order of inputs counts")
	assert.NotEqual(t, sum, operation(g, "Mul", x, y), "the type counts")
	assert.NotEqual(t, sum,
		g.Add(Spec{Name: "s", Op: "AddV2", Inputs: []Tensor{x, y},
			Attributes: Attributes{"T": Type(tfpb.DataType_DT_INT32)}}), "attributes count")
	assert.NotEqual(t, sum, g.Add(Spec{Name: "s", Op: "AddV2", Inputs: []Tensor{x, y}, Controls: []Tensor{x},
		Attributes: Attributes{"T": float}}), "controls count")
	split := g.Add(Spec{Name: "split", Op: "Split", Inputs: []Tensor{x}})
	assert.NotEqual(t, operation(g, "Sub", split.Output(0), y), operation(g, "Sub", split.Output(1), y),
		"the output counts")
}

func TestConstants(t *testing.T) {
	g := New()
	assert.Equal(t, g.Int32s("a", []int32{1, 2}, 2), g.Int32s("b", []int32{1, 2}, 2))
	assert.NotEqual(t, g.Int32s("a", []int32{1, 2}, 2), g.Int32s("a", []int32{1, 2}, 2, 1), "the shape counts")
	assert.NotEqual(t, g.Int32s("a", []int32{0}), g.Floats("a", []float32{0}), "the type counts")
	assert.NotEqual(t, g.String("s", "x"), g.Strings("s", "x"), "a scalar is no vector")
	assert.NotEqual(t, g.Variable("v", []int{2}), g.Variable("w", []int{2}))
	assert.Equal(t, g.Variable("v", []int{2}), g.Variable("v", []int{2}))
	big := g.Zeros("zeros", 1000, 1000, 1000)
	for _, n := range g.Proto().Node {
		if n.Name == big.Operation() {
			assert.Empty(t, n.Attr["value"].GetTensor().TensorContent)
			return
		}
	}
	t.Fatal("no node of that name")
}

// validName is what TensorFlow accepts as the name of a node.
var validName = regexp.MustCompile(`^[A-Za-z0-9.][A-Za-z0-9_>./\\-]*$`)

func TestNamesAreUniqueAndInOrder(t *testing.T) {
	g := New()
	random := rand.New(rand.NewPCG(1, 2))
	tensors := []Tensor{placeholder(g, "x")}
	names := []string{"a", "a_1", "a_2", "a_1_1", "b/a", "b/a_1"}
	for i := range 2000 {
		x := tensors[random.IntN(len(tensors))]
		tensors = append(tensors, g.Add(Spec{
			Name: names[random.IntN(len(names))], Op: "AddV2", Inputs: []Tensor{x, tensors[random.IntN(len(tensors))]},
			Attributes: Attributes{"T": float, "i": Int(int64(i))},
		}))
	}
	requireWellFormed(t, g.Proto())
}

// requireWellFormed requires unique, valid names and inputs that come earlier.
func requireWellFormed(t *testing.T, def *tfpb.GraphDef) {
	t.Helper()
	seen := map[string]bool{}
	for _, n := range def.Node {
		require.Regexp(t, validName, n.Name)
		require.False(t, seen[n.Name], "%s is there twice", n.Name)
		controls := false
		for _, input := range n.Input {
			require.True(t, seen[operationName(input)], "%s reads %s, which comes later or not at all", n.Name, input)
			if input[0] == '^' {
				controls = true
			} else {
				require.False(t, controls, "%s has a value behind a control", n.Name)
			}
		}
		seen[n.Name] = true
	}
}

func TestReached(t *testing.T) {
	g := New()
	x := placeholder(g, "x")
	a := operation(g, "AddV2", x, x)
	mark := operation(g, "Mul", a, x)
	behind := operation(g, "Sub", mark, x)
	other := operation(g, "Maximum", x, a)
	both := operation(g, "Minimum", behind, other)
	byControl := g.Add(Spec{Name: "n", Op: "NoOp", Controls: []Tensor{behind}})
	reached := g.Reached([]Tensor{x, a, mark, behind, other, both, byControl}, []Tensor{other, mark, a})
	assert.Equal(t, [][]int{
		nil, {2}, {1}, {1}, {0}, {0, 1}, {1},
	}, reached, "a mark hides the marks behind it")
	assert.Equal(t, [][]int{nil, nil}, g.Reached([]Tensor{x, both}, nil))
}

// TestReachedAgainstSearch compares Reached with the obvious search on random graphs.
func TestReachedAgainstSearch(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		g := New()
		tensors := []Tensor{placeholder(g, "x"), placeholder(g, "y")}
		for i := range 150 {
			pick := func() Tensor { return tensors[max(0, len(tensors)-1-random.IntN(20))] }
			tensors = append(tensors,
				g.Add(Spec{Name: "n", Op: "AddV2", Inputs: []Tensor{pick(), pick()}, Attributes: Attributes{"i": Int(int64(i))}}))
		}
		var marks []Tensor
		for range 70 { // more than a word of the sets
			if m := tensors[random.IntN(len(tensors))]; !contains(marks, m) {
				marks = append(marks, m)
			}
		}
		from := tensors[100:]
		var want [][]int
		for _, f := range from {
			found := make([]bool, len(marks))
			seen := map[*node]bool{}
			var visit func(Tensor)
			visit = func(at Tensor) {
				if seen[at.node] {
					return
				}
				seen[at.node] = true
				for i, m := range marks {
					if m.node == at.node {
						found[i] = true
						return
					}
				}
				for _, input := range at.node.inputs {
					visit(input)
				}
			}
			visit(f)
			var list []int
			for i, yes := range found {
				if yes {
					list = append(list, i)
				}
			}
			want = append(want, list)
		}
		require.Equal(t, want, g.Reached(from, marks), "seed %d", seed)
	}
}

func contains(list []Tensor, t Tensor) bool {
	for _, other := range list {
		if other == t {
			return true
		}
	}
	return false
}

func TestMACs(t *testing.T) {
	g := New()
	x := placeholder(g, "x")
	costly := func(name string, macs int64, per string, inputs ...Tensor) Tensor {
		return g.Add(Spec{Name: name, Op: "MatMul", Inputs: inputs, Attributes: Attributes{"name": String(name)},
			Cost: Cost{MACs: macs, Per: per}})
	}
	constant := costly("constant", 1, "constant", x)
	frame := costly("frame", 10, "frame", constant)
	stimulus := costly("stimulus", 100, "stimulus", frame, constant)
	again := costly("again", 1000, "stimulus", stimulus, stimulus)
	unused := costly("unused", 10000, "stimulus", frame)
	def := g.Proto()
	assert.Equal(t, map[string]int64{"constant": 1, "frame": 10, "stimulus": 1100}, MACs(def, []string{again.Name()}, nil))
	assert.Equal(t, map[string]int64{"constant": 1, "frame": 10, "stimulus": 100},
		MACs(def, []string{stimulus.Operation(), stimulus.Name()}, nil))
	assert.Equal(t, map[string]int64{"stimulus": 1000}, MACs(def, []string{again.Name()}, []string{"stimulus:0"}))
	assert.Equal(t, map[string]int64{"frame": 10, "stimulus": 11100}, MACs(def, []string{"again", unused.Name()},
		[]string{"constant"}))
	assert.Empty(t, MACs(def, []string{"nobody"}, []string{"nobody else"}))
	controlled := g.Add(Spec{Name: "n", Op: "NoOp", Controls: []Tensor{frame}})
	assert.Equal(t, map[string]int64{"constant": 1, "frame": 10}, MACs(g.Proto(), []string{controlled.Operation()}, nil))

	// The cost is no part of what makes operations equal, nor in the way of TensorFlow.
	for _, n := range g.Proto().Node {
		for name := range n.Attr {
			if name == attributeMACs || name == attributePer {
				assert.Equal(t, byte('_'), name[0])
			}
		}
	}
	assert.Equal(t, again,
		g.Add(Spec{Name: "x", Op: "MatMul", Inputs: []Tensor{stimulus, stimulus},
			Attributes: Attributes{"name": String("again")}}))
}

func ExampleGraph_Add() {
	g := New()
	x := placeholder(g, "x")
	twice := g.Add(Spec{Name: "twice", Op: "AddV2", Inputs: []Tensor{x, x}, Attributes: Attributes{"T": float}})
	same := g.Add(Spec{Name: "same", Op: "AddV2", Inputs: []Tensor{x, x}, Attributes: Attributes{"T": float}})
	fmt.Println(twice.Name(), same.Name(), g.Size())
	// Output: twice:0 twice:0 2
}
