package zoo

import "path"

// VariableScope is the scope all variables of the published checkpoints live under.
const VariableScope = "tnn_model"

// Variable is a checkpoint variable of a model; all are float32.
type Variable struct {
	// Name is the full name, with the VariableScope.
	Name  string
	Shape []int
	// Trainable is false for variables that training did not touch; it matters
	// to seeded weights only.
	Trainable bool
}

// Variables returns every variable that a checkpoint of the model has, apart
// from optimizer slots and global_step. Some of them change nothing.
func (m *Model) Variables() []Variable {
	list := variableList{scope: VariableScope}
	for i := range m.Layers {
		layer := list.in(m.Layers[i].Name)
		layer.addLayer(m, &m.Layers[i])
		list.variables = append(list.variables, layer.variables...)
	}
	if m.Decoder != Last {
		trained := m.Decoder == MaxConfidence
		list.addUntrained("probs/softmax_beta", 1)
		list.addUntrained("alpha/softmax_beta", 1)
		list.addTrained(trained, "normalize/softmax_beta", 1)
		if m.Decoder == Threshold {
			list.addUntrained("decoder_threshold", 1)
		}
	}
	return list.variables
}

type variableList struct {
	scope     string
	variables []Variable
}

func (v *variableList) in(scope string) *variableList {
	return &variableList{scope: path.Join(v.scope, scope)}
}

func (v *variableList) add(name string, shape ...int) { v.addTrained(true, name, shape...) }

func (v *variableList) addUntrained(name string, shape ...int) { v.addTrained(false, name, shape...) }

func (v *variableList) addTrained(trainable bool, name string, shape ...int) {
	v.variables = append(v.variables, Variable{Name: path.Join(v.scope, name), Shape: shape, Trainable: trainable})
}

func (v *variableList) addLayer(m *Model, l *Layer) {
	if l.FullyConnected() {
		v.add("pre_3/weights", l.InputDepth, Classes)
		v.add("pre_3/bias", Classes)
	} else {
		v.add(path.Join(l.Pre.Scope, l.Pre.Weights), l.Pre.Kernel, l.Pre.Kernel, l.InputDepth, l.Pre.Depth)
		v.add(path.Join(l.Pre.Scope, "bias"), l.Pre.Depth)
	}
	x, h := 0, l.CellDepth
	if l.Pre != nil {
		x = l.Pre.Depth
	}
	switch l.Cell {
	case None:
		v.addUntrained("memory_decay", 1)
	case TimeDecay:
		v.add("memory_decay", 1)
	case SimpleRNN:
		v.add("ConvNormBasicCell/s/weights", 3, 3, h, h)
		v.add("ConvNormBasicCell/s/bias", h)
		v.add("ConvNormBasicCell/i/weights", 3, 3, x, h)
		v.add("ConvNormBasicCell/i/bias", h)
		if l.LayerNorm {
			v.addLayerNorm("ConvNormBasicCell/layer_norm", h)
		}
	case GRU:
		v.add("ConvGRUCell/gates/weights", 3, 3, x+h, 2*h)
		v.add("ConvGRUCell/gates/bias", 2*h)
		v.add("ConvGRUCell/candidates/weights", 3, 3, x+h, h)
		v.add("ConvGRUCell/candidates/bias", h)
	case UGRNN:
		v.add("ConvUGRNNCell/weights", 3, 3, x+h, 2*h)
		v.add("ConvUGRNNCell/bias", 2*h)
	case IntersectionRNN:
		v.add("ConvIntersectionRNNCell/weights", 3, 3, x+h, 4*h)
		v.add("ConvIntersectionRNNCell/bias", 4*h)
	case LSTM:
		k := l.LSTM.Kernel
		v.add("ConvLSTMCell/weights", k, k, x+h, 4*h)
		v.add("ConvLSTMCell/bias", 4*h)
		if l.LayerNorm {
			for _, name := range []string{"input", "transform", "forget", "output", "state"} {
				v.addLayerNorm("ConvLSTMCell/"+name, h)
			}
		}
		if l.LSTM.Peepholes {
			for _, name := range []string{"w_f_diag", "w_i_diag", "w_o_diag"} {
				v.add("ConvLSTMCell/peepholes/"+name, l.CellSize, l.CellSize, h)
			}
		}
	case RGC:
		if m.Depth == Shallow {
			v.addShallowReciprocalGatedCell(l)
		} else {
			v.addReciprocalGatedCell(m, l)
		}
	}
	if l.Residual {
		v.add("post_0/weights", 3, 3, l.CellDepth, l.CellDepth)
		v.add("post_0/bias", l.CellDepth)
		if l.InputDepth != l.CellDepth {
			v.add("post_1/residual_add_weights", 1, 1, l.InputDepth, l.CellDepth)
		}
	}
}

func (v *variableList) addLayerNorm(scope string, depth int) {
	v.add(scope+"/gamma", depth)
	v.add(scope+"/beta", depth)
}

func (v *variableList) addShallowReciprocalGatedCell(l *Layer) {
	x, h := l.Pre.Depth, l.CellDepth
	const cell = "ReciprocalGateCell/"
	v.add(cell+"cell/input_to_cell/weights", 3, 3, x, h)
	v.add(cell+"cell/tau/weights", 3, 3, h, h)
	v.add(cell+"cell/gate/weights", 3, 3, h, h)
	v.add(cell+"out/tau/weights", 3, 3, h, h)
	v.add(cell+"out/gate/weights", 3, 3, h, h)
	v.add(cell+"out/residual_to_out_gate/weights", 3, 3, l.InputDepth, h)
}

// ReciprocalGatedCellDepth is the depth of the cell state c in rgc_intermediate.
const ReciprocalGatedCellDepth = 64

func (v *variableList) addReciprocalGatedCell(m *Model, l *Layer) {
	x, h, c := l.Pre.Depth, l.CellDepth, ReciprocalGatedCellDepth
	const cell = "ReciprocalGateCell/"
	separable := func(scope string, from, to int) {
		v.add(cell+scope+"/depthwise_weights", 7, 7, from, 1)
		v.add(cell+scope+"/pointwise_weights", 1, 1, from, to)
		v.add(cell+scope+"/bias", to)
	}
	v.add(cell+"cell/input_to_cell_weights", 2, 2, x, c)
	v.add(cell+"cell/input_to_cell_bias", c)
	separable("cell/tau", c, c)
	separable("cell/out_to_cell", h, c)
	v.add(cell+"out/input_to_out_weights", 3, 3, x, h)
	v.add(cell+"out/input_to_out_bias", h)
	if l.InputDepth != h {
		v.add(cell+"out/residual_add_weights", 1, 1, l.InputDepth, h)
	}
	if len(l.Feedback) > 0 {
		depth := 0
		for _, name := range l.Feedback {
			depth += m.Layer(name).CellDepth
		}
		v.add(cell+"out/feedback_to_out_weights", 1, 1, depth, h)
		v.add(cell+"out/feedback_to_out_bias", h)
	}
	separable("out/tau", h, h)
	separable("out/gate", c, h)
}
