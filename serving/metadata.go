package serving

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/internal/imagenet"
	"github.com/tfconvrnn/go/tfconvrnn"
)

const (
	serverName = "tfconvrnn"
	platform   = "tensorflow_savedmodel"
)

var extensions = []string{"binary_tensor_data"}

// tensorMetadata describes an input or output; -1 stands for a dimension that varies.
type tensorMetadata struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

// modelMetadata describes a model.
type modelMetadata struct {
	Name       string            `json:"name"`
	Versions   []string          `json:"versions"`
	Platform   string            `json:"platform"`
	Inputs     []tensorMetadata  `json:"inputs"`
	Outputs    []tensorMetadata  `json:"outputs"`
	Properties map[string]string `json:"properties"`
}

// metadata lists everything that the model takes and gives.
func (s *served) metadata() *modelMetadata {
	info := s.model.Info()
	m := &modelMetadata{Name: s.name, Versions: []string{modelVersion}, Platform: platform, Inputs: []tensorMetadata{
		{inputImages, "UINT8", []int64{-1, tfconvrnn.ImageSize, tfconvrnn.ImageSize, 3}},
		{inputPictures, "BYTES", []int64{-1}},
		{inputSchedule, "INT32", []int64{-1, -1}},
	}}
	for _, l := range info.Layers {
		m.Outputs = append(m.Outputs,
			tensorMetadata{l.Name, "FP32", newShape(append([]int{-1, -1}, l.Shape...)...)},
			tensorMetadata{l.Name + "/" + partTimesteps, "INT32", []int64{-1}},
			tensorMetadata{l.Name + "/" + partMS, "INT32", []int64{-1}},
			tensorMetadata{l.Name + "/" + partDriven, "BOOL", []int64{-1}})
	}
	m.Outputs = append(m.Outputs,
		tensorMetadata{outputLogits, "FP32", []int64{-1, tfconvrnn.Classes}},
		tensorMetadata{outputClasses, "INT32", []int64{-1, -1}},
		tensorMetadata{outputProbabilities, "FP32", []int64{-1, -1}},
		tensorMetadata{outputWordNetIDs, "BYTES", []int64{-1, -1}},
		tensorMetadata{outputNames, "BYTES", []int64{-1, -1}},
		tensorMetadata{outputProvenance, "BYTES", []int64{1}})
	m.Properties = map[string]string{
		"inputs": "images (UINT8, or FP32 of 0 … 1 or 0 … 255) or pictures (encoded files; base64 in JSON); schedule, if given, is " +
			"[timesteps, stimuli] of the number of the image shown, or -1 for the blank",
		"classes":         strconv.Itoa(imagenet.Classes),
		"decoder":         info.Decoder,
		"most_timesteps":  strconv.Itoa(s.model.Times()),
		"ms_per_timestep": strconv.Itoa(tfconvrnn.MillisecondsPerTimestep),
		"untrained":       strconv.FormatBool(s.model.Untrained()),
		"threads":         strconv.Itoa(s.model.Threads()),
	}
	for _, p := range parameterHelp {
		m.Properties["parameter."+p[0]] = p[1]
	}
	return m
}

// none refuses parameters where there are none.
func (p parameters) none(of string) error {
	names := slices.Sorted(maps.Keys(p))
	if len(names) == 0 {
		return nil
	}
	if what := refusedParameters[names[0]]; what != "" {
		return unsupported(what)
	}
	return requestf("%s: unknown parameter %q", of, strings.ToValidUTF8(names[0], "?"))
}
