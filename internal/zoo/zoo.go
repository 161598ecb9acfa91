// Package zoo specifies the 20 published ConvRNN models as data: their layers,
// cells, edges, variables, decoders and standard presentations.
//
// It says what a model computes, not how: package unroll turns a Model into a
// graph. The equations behind the names used here are quoted where they are
// implemented.
package zoo

import (
	"fmt"

	"github.com/tfconvrnn/go/internal/dimensions"
)

// ImageSize is the height and width of the images all models read, in pixels.
const ImageSize = dimensions.ImageSize

// Classes is the number of outputs of the readout layer.
const Classes = dimensions.Classes

// Readout is the name of the last layer of every model.
const Readout = "imnetds"

// FirstDecodedTimestep is where max_conf and thresh begin to look at the readout.
const FirstDecodedTimestep = 11

// Depth is the number of convolutional layers a model has, by its published name.
type Depth string

// The two depths: 5 and 10 convolutional layers.
const (
	Shallow      Depth = "shallow"
	Intermediate Depth = "intermediate"
)

// Cell is the kind of recurrent cell of a model or of a layer.
type Cell string

// The cells. None marks layers without recurrence.
const (
	None            Cell = ""
	TimeDecay       Cell = "timedecay"
	SimpleRNN       Cell = "simplernn"
	GRU             Cell = "gru"
	LSTM            Cell = "lstm"
	IntersectionRNN Cell = "intersectionrnn"
	UGRNN           Cell = "ugrnn"
	RGC             Cell = "rgc"
)

// Decoder says how logits come from the readout's trajectory.
type Decoder string

// The decoders of the published models.
const (
	Last          Decoder = "last"
	MaxConfidence Decoder = "max_conf"
	Threshold     Decoder = "thresh"
)

// Presentation is a standard presentation: the image is shown for timesteps
// 0 … ImageOff-1 of Times, then the blank.
type Presentation struct {
	Times    int `json:"times"`
	ImageOff int `json:"image_off"`
}

// Convolution is a 2-D convolution with a bias, and the activation behind it.
type Convolution struct {
	// Scope is the variable scope below the layer's, Weights the kernel's name in it.
	Scope, Weights string
	Kernel, Stride int
	Valid          bool // VALID padding instead of SAME
	Depth          int
	ELU            bool
}

// Layer is one layer: a feedforward convolution, a cell, and what follows.
type Layer struct {
	Name string
	// Input is the feedforward predecessor; "" is the image.
	Input string
	// Feedback lists the feedback predecessors in the order of their
	// concatenation: sorted as strings.
	Feedback []string
	// InputSize and InputDepth are the height, width and channels of what the
	// layer reads.
	InputSize, InputDepth int

	// Pre is the feedforward convolution; nil in the fully connected readout.
	Pre *Convolution

	Cell Cell
	// CellSize and CellDepth are the height, width and channels of the cell's
	// output (of Pre's, where there is no cell).
	CellSize, CellDepth int
	LSTM                LSTMOptions
	LayerNorm           bool

	// PostELU applies an elu behind the cell, Residual the residual
	// convolution, MaxPool a 2×2 max pool of stride 2, in this order.
	PostELU, Residual, MaxPool bool

	// Pooled marks the readout's global average pool: behind Pre in shallow
	// models, before the fully connected layer in intermediate ones.
	Pooled bool

	// Shape is the shape of the layer's features: height, width, channels, or
	// classes.
	Shape []int
	// DrivenFrom is the first timestep at which an image shown from timestep 0
	// can change the output.
	DrivenFrom int
}

// LSTMOptions are the details in which the LSTM layers differ.
type LSTMOptions struct {
	Kernel     int
	ForgetBias float64
	Peepholes  bool
}

// ReportedFrom is the first timestep that is reported by default: the layer's
// number.
func (l *Layer) ReportedFrom() int { return l.DrivenFrom + 1 }

// FullyConnected says whether the layer is the readout of an intermediate model.
func (l *Layer) FullyConnected() bool { return l.Pre == nil }

// Model is one of the published models.
type Model struct {
	Name string
	Cell Cell
	// Depth tells the family; the layers say the rest.
	Depth   Depth
	Decoder Decoder
	// Top1 and Top5 are the published ImageNet validation accuracies in percent.
	Top1, Top5 float64
	// Default is the presentation the model was trained with. ImageOff equals
	// Times where the image is never replaced.
	Default Presentation
	Layers  []Layer
}

// Neural is the presentation used against neural recordings: 260 ms, the image
// is off at 100 ms.
var Neural = Presentation{Times: 26, ImageOff: 10}

// Layer returns the layer called name, or nil.
func (m *Model) Layer(name string) *Layer {
	for i := range m.Layers {
		if m.Layers[i].Name == name {
			return &m.Layers[i]
		}
	}
	return nil
}

// FirstTimes is the smallest number of timesteps the model's decoder allows.
func (m *Model) FirstTimes() int {
	if m.Decoder == Last {
		return 1
	}
	return FirstDecodedTimestep + 1
}

// Area is a brain area with the layers that match it best, as the authors report.
type Area struct {
	Name   string
	Layers []string
}

// Areas returns the authors' best-matching layers by brain area, from V4 upwards.
func (m *Model) Areas() []Area {
	if m.Depth == Shallow {
		return []Area{{"V4", []string{"conv3"}}, {"pIT", []string{"conv4"}}, {"cIT/aIT", []string{"conv5"}}}
	}
	return []Area{
		{"V4", []string{"conv5", "conv6"}},
		{"pIT", []string{"conv7", "conv8"}},
		{"cIT/aIT", []string{"conv9", "conv10"}},
	}
}

// Models returns all models, in the published order. The caller owns the result.
func Models() []*Model {
	shallow, intermediate := Presentation{16, 12}, Presentation{17, 12}
	return []*Model{
		newModel("timedecay_shallow", TimeDecay, Shallow, Last, 50.06, 72.97, shallow),
		newModel("simplernn_shallow", SimpleRNN, Shallow, Last, 61.11, 83.15, shallow),
		newModel("gru_shallow", GRU, Shallow, Last, 62.16, 84.02, shallow),
		newModel("lstm_shallow", LSTM, Shallow, Last, 63.43, 84.89, shallow),
		newModel("intersectionrnn_shallow", IntersectionRNN, Shallow, Last, 65.42, 86.02, shallow),
		newModel("ugrnn_shallow", UGRNN, Shallow, Last, 60.82, 83.23, shallow),
		newModel("rgc_shallow", RGC, Shallow, Last, 66.97, 87.02, shallow),
		newModel("timedecay_intermediate", TimeDecay, Intermediate, Last, 67.52, 87.8, intermediate),
		newModel("simplernn_intermediate", SimpleRNN, Intermediate, Last, 70.47, 89.48, intermediate),
		newModel("gru_intermediate", GRU, Intermediate, Last, 69.81, 89.25, intermediate),
		newModel("lstm_intermediate", LSTM, Intermediate, Last, 69.57, 89.18, intermediate),
		newModel("intersectionrnn_intermediate", IntersectionRNN, Intermediate, Last, 68.98, 88.67, intermediate),
		newModel("ugrnn_intermediate", UGRNN, Intermediate, Last, 69.78, 89.21, intermediate),
		newModel("ugrnn_intermediate_t30", UGRNN, Intermediate, Last, 70.09, 89.29, Presentation{30, 30}),
		newModel("ugrnn_intermediate_t30_dthresh", UGRNN, Intermediate, Threshold, 69.3, 88.97, Presentation{30, 30}),
		newModel("ugrnn_intermediate_t30_tmaxconf", UGRNN, Intermediate, MaxConfidence, 70.04, 89.29, Presentation{30, 30}),
		newModel("rgc_intermediate", RGC, Intermediate, Last, 73.0, 91.16, intermediate),
		newModel("rgc_intermediate_dthresh", RGC, Intermediate, Threshold, 71.81, 90.16, intermediate),
		newModel("rgc_intermediate_tmaxconf", RGC, Intermediate, MaxConfidence, 72.29, 90.52, intermediate),
		newModel("rgc_intermediate_t22_tmaxconf", RGC, Intermediate, MaxConfidence, 72.98, 90.8, Presentation{22, 22}),
	}
}

// Lookup returns the model called name, or nil.
func Lookup(name string) *Model {
	for _, m := range Models() {
		if m.Name == name {
			return m
		}
	}
	return nil
}

func newModel(name string, cell Cell, depth Depth, decoder Decoder, top1, top5 float64,
	presentation Presentation) *Model {
	m := &Model{
		Name: name, Cell: cell, Depth: depth, Decoder: decoder,
		Top1: top1, Top5: top5, Default: presentation,
	}
	switch {
	case depth == Shallow:
		m.Layers = shallowLayers(cell)
	case cell == RGC:
		m.Layers = reciprocalGatedLayers()
	default:
		m.Layers = intermediateLayers(cell)
	}
	complete(m.Layers)
	return m
}

func pre(kernel, stride, depth int, elu bool) *Convolution {
	return &Convolution{Scope: "pre_0", Weights: "weights_basenet", Kernel: kernel, Stride: stride, Depth: depth, ELU: elu}
}

func shallowLayers(cell Cell) []Layer {
	elu := cell == RGC
	layers := []Layer{
		{Name: "conv1", Pre: pre(7, 2, 64, true), MaxPool: true},
		{Name: "conv2", Pre: pre(3, 1, 128, true), MaxPool: true},
		{Name: "conv3", Pre: pre(3, 1, 256, elu), MaxPool: true, Cell: cell},
		{Name: "conv4", Pre: pre(3, 1, 256, elu), MaxPool: true, Cell: cell},
		{Name: "conv5", Pre: pre(3, 1, 512, elu), MaxPool: true, Cell: cell},
		{Name: Readout, Pooled: true, Pre: &Convolution{
			Scope: "pre_1", Weights: "weights", Kernel: 2, Stride: 1, Valid: true, Depth: Classes,
		}},
	}
	switch cell {
	case SimpleRNN:
		for i, depth := range []int{128, 256, 256} {
			layers[2+i].CellDepth, layers[2+i].LayerNorm = depth, true
		}
	case LSTM:
		options := []LSTMOptions{
			{Kernel: 2, ForgetBias: 1.3561755203084322},
			{Kernel: 3, ForgetBias: 0.977962918535079, Peepholes: true},
			{Kernel: 4, ForgetBias: 0.9249280259963113},
		}
		for i, depth := range []int{128, 256, 256} {
			layers[2+i].CellDepth, layers[2+i].LayerNorm, layers[2+i].LSTM = depth, true, options[i]
		}
	}
	return layers
}

func intermediateLayers(cell Cell) []Layer {
	layers := []Layer{{Name: "conv1", Pre: pre(7, 2, 64, false), PostELU: true, MaxPool: true}}
	for i, depth := range []int{64, 64, 128, 128, 256, 256, 512, 512, 512} {
		number := i + 2
		l := Layer{Name: fmt.Sprintf("conv%d", number), Pre: pre(3, 1, depth, true), Residual: true}
		if number >= 4 {
			l.Cell, l.LSTM = cell, LSTMOptions{Kernel: 3, ForgetBias: 1}
		}
		switch number {
		case 4, 6, 7, 10:
			l.MaxPool = true
		}
		layers = append(layers, l)
	}
	return append(layers, Layer{Name: Readout, Pooled: true})
}

// reciprocalGatedLayers are the layers of the rgc_intermediate models, the only
// ones with feedback edges.
func reciprocalGatedLayers() []Layer {
	layers := []Layer{{Name: "conv1", Pre: pre(7, 2, 64, true), MaxPool: true}}
	for i, depth := range []int{128, 128, 128, 128, 256, 256, 256, 512, 512} {
		number := i + 2
		l := Layer{Name: fmt.Sprintf("conv%d", number), Pre: pre(3, 1, depth, number < 4)}
		if number >= 4 {
			l.Cell = RGC
		}
		switch number {
		case 4, 6, 7, 10:
			l.MaxPool = true
		}
		switch number {
		case 5:
			l.Feedback = []string{"conv8"}
		case 6:
			l.Feedback = []string{"conv7", "conv9"}
		case 7:
			l.Feedback = []string{"conv10"}
		case 9:
			l.Feedback = []string{"conv10"}
		}
		layers = append(layers, l)
	}
	return append(layers, Layer{Name: Readout, Pooled: true})
}

// complete fills in what follows from the order of the layers: inputs, sizes,
// depths and light cones.
func complete(layers []Layer) {
	input, size, depth := "", ImageSize, 3
	for i := range layers {
		l := &layers[i]
		l.Input, l.InputSize, l.InputDepth, l.DrivenFrom = input, size, depth, i
		if l.Pre != nil {
			size = (size + l.Pre.Stride - 1) / l.Pre.Stride
			if l.Pre.Valid {
				size = l.InputSize - l.Pre.Kernel + 1
			}
			depth = l.Pre.Depth
			if l.CellDepth != 0 {
				depth = l.CellDepth
			}
			l.CellSize, l.CellDepth = size, depth
		}
		if l.MaxPool {
			size = (size + 1) / 2
		}
		l.Shape = []int{size, size, depth}
		if l.Pooled {
			l.Shape = []int{Classes}
		}
		input = l.Name
	}
}
