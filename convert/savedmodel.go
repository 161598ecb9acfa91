package convert

import (
	"fmt"
	"sort"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/tfpb"
	"github.com/tfconvrnn/go/internal/unroll"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/internal/zoo"
)

// Names of the signatures.
const (
	// ServingSignature presents images as the model was trained and puts out the
	// decoded logits: images [N, 224, 224, 3] in [0, 1] → logits [N, 1000].
	ServingSignature = "serving_default"
	// PresentationSignature takes normalized frames [F, 224, 224, 3] and a
	// schedule [timesteps, N] of frame numbers, and puts out every layer at every
	// timestep as "<layer>/t<timestep>", and logits as "logits/times<timesteps>".
	PresentationSignature = "presentation"
)

// Tag is the SavedModels' tag.
const Tag = "serve"

// SignatureNames names what a SavedModel offers to TensorFlow.
type SignatureNames struct {
	Tag          string `json:"tag"`
	Serving      string `json:"serving"`
	Presentation string `json:"presentation"`
	// Layers and Logits are the patterns of the second signature's outputs.
	Layers string `json:"layers"`
	Logits string `json:"logits"`
}

// Signatures returns the names that all SavedModels of Convert have in common.
func Signatures() SignatureNames {
	return SignatureNames{Tag, ServingSignature, PresentationSignature, "<layer>/t<timestep>", "logits/times<timesteps>"}
}

const predictMethod = "tensorflow/serving/predict"

func newSavedModel(n *unroll.Network) *tfpb.SavedModel {
	saver := addRestore(n)
	meta := &tfpb.MetaGraphDef{
		MetaInfoDef: &tfpb.MetaGraphDef_MetaInfoDef{Tags: []string{Tag}},
		GraphDef:    n.Graph.Proto(),
		SaverDef:    saver,
		SignatureDef: map[string]*tfpb.SignatureDef{
			ServingSignature: {
				Inputs: map[string]*tfpb.TensorInfo{unroll.ImagesName: info(unroll.ImagesName+":0", tfpb.DataType_DT_FLOAT, -1,
					zoo.ImageSize, zoo.ImageSize, 3)},
				Outputs: map[string]*tfpb.TensorInfo{"logits": info(n.DefaultLogits.Name(), tfpb.DataType_DT_FLOAT, -1,
					zoo.Classes)},
				MethodName: predictMethod,
			},
			PresentationSignature: presentationSignature(n),
		},
	}
	return &tfpb.SavedModel{SavedModelSchemaVersion: 1, MetaGraphs: []*tfpb.MetaGraphDef{meta}}
}

func presentationSignature(n *unroll.Network) *tfpb.SignatureDef {
	outputs := map[string]*tfpb.TensorInfo{}
	for i := range n.Model.Layers {
		l := &n.Model.Layers[i]
		for t, f := range n.Features[i] {
			outputs[fmt.Sprintf("%s/t%d", l.Name, t)] = info(f.Full.Name(), tfpb.DataType_DT_FLOAT,
				append([]int{-1}, l.Shape...)...)
		}
	}
	for times, t := range n.Logits {
		if t.Exists() {
			outputs[unroll.LogitsName(times)] = info(t.Name(), tfpb.DataType_DT_FLOAT, -1, zoo.Classes)
		}
	}
	return &tfpb.SignatureDef{
		Inputs: map[string]*tfpb.TensorInfo{
			unroll.FramesName:   info(unroll.FramesName+":0", tfpb.DataType_DT_FLOAT, -1, zoo.ImageSize, zoo.ImageSize, 3),
			unroll.ScheduleName: info(unroll.ScheduleName+":0", tfpb.DataType_DT_INT32, -1, -1),
		},
		Outputs:    outputs,
		MethodName: predictMethod,
	}
}

func info(name string, dtype tfpb.DataType, shape ...int) *tfpb.TensorInfo {
	return &tfpb.TensorInfo{Name: name, Dtype: dtype, TensorShape: graph.ShapeProto(shape...)}
}

// addRestore adds the nodes by which a SavedModel's loader restores the variables.
func addRestore(n *unroll.Network) *tfpb.SaverDef {
	g := n.Graph
	variables := append([]*unroll.Variable(nil), n.Variables...)
	sort.Slice(variables, func(i, j int) bool { return variables[i].Name < variables[j].Name })
	names, slices, types := make([]string, len(variables)), make([]string, len(variables)),
		make([]tfpb.DataType, len(variables))
	for i, v := range variables {
		names[i], types[i] = v.Name, tfpb.DataType_DT_FLOAT
	}
	filename := g.String("save/filename", "model")
	restored := g.Add(graph.Spec{
		Name: "save/restore", Op: "RestoreV2",
		Inputs:     []graph.Tensor{filename, g.Strings("save/names", names...), g.Strings("save/slices", slices...)},
		Attributes: graph.Attributes{"dtypes": graph.Types(types...)},
	})
	var assigned []graph.Tensor
	for i, v := range variables {
		assigned = append(assigned, g.Add(graph.Spec{
			Name: "save/assign/" + v.Name, Op: "AssignVariableOp",
			Inputs:     []graph.Tensor{g.Variable(v.Name, v.Shape), restored.Output(i)},
			Attributes: graph.Attributes{"dtype": graph.Type(tfpb.DataType_DT_FLOAT), "validate_shape": graph.Bool(false)},
		}))
	}
	all := g.Add(graph.Spec{Name: "save/restore_all", Op: "NoOp", Controls: assigned})
	return &tfpb.SaverDef{
		FilenameTensorName: filename.Name(), SaveTensorName: filename.Name(), RestoreOpName: all.Operation(),
		Version: tfpb.SaverDef_V2,
	}
}

func newManifest(n *unroll.Network) *manifest.Manifest {
	m := &manifest.Manifest{
		Format: manifest.Format, Model: n.Model.Name, Times: n.Times, Variant: string(n.Variant),
		Converter: version.Converter, Frames: unroll.FramesName, Schedule: unroll.ScheduleName,
	}
	var marks, fetches []graph.Tensor
	for _, b := range n.Boundaries {
		marks = append(marks, b.Tensor)
		m.Boundaries = append(m.Boundaries, manifest.Boundary{Tensor: b.Tensor.Operation(), Shape: b.Shape})
	}
	for _, k := range n.KnownFrames {
		marks = append(marks, k.Tensor)
		m.Known = append(m.Known, manifest.KnownFrames{Tensor: k.Tensor.Operation(), Source: k.Source.Operation(),
			Shape: k.Shape})
	}
	for i := range n.Model.Layers {
		for _, f := range n.Features[i] {
			fetches = append(fetches, f.Compact)
		}
	}
	for _, t := range n.Logits {
		if t.Exists() {
			fetches = append(fetches, t)
		}
	}
	reached := n.Graph.Reached(fetches, marks)
	next := func() (needs, known []int) {
		for _, mark := range reached[0] {
			if mark < len(n.Boundaries) {
				needs = append(needs, mark)
			} else {
				known = append(known, mark-len(n.Boundaries))
			}
		}
		reached = reached[1:]
		return needs, known
	}
	for i := range n.Model.Layers {
		l := &n.Model.Layers[i]
		layer := manifest.Layer{Name: l.Name, Shape: l.Shape}
		for _, f := range n.Features[i] {
			needs, known := next()
			layer.Timesteps = append(layer.Timesteps, manifest.Timestep{
				Tensor: f.Compact.Operation(), Kind: f.Kind.String(), Shown: f.Shown, Needs: needs, Known: known,
			})
		}
		m.Layers = append(m.Layers, layer)
	}
	for times, t := range n.Logits {
		if t.Exists() {
			needs, known := next()
			m.Logits = append(m.Logits, manifest.Logits{Times: times, Tensor: t.Operation(), Needs: needs, Known: known})
		}
	}
	return m
}
