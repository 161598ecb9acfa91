// Package savedmodels is the catalogue of the 20 published ConvRNNs and the
// local store of their converted SavedModels.
//
//	store, err := savedmodels.Open("") // in the user's cache
//	found, err := store.Get(ctx, savedmodels.Request{Model: "ugrnn_intermediate", Weights: savedmodels.Seeded(1)})
//
// converts the model unless that was done before; found.Dir is what TensorFlow loads. Download gets
// the published checkpoints, [Catalogue] says what the models are.
package savedmodels

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/tfconvrnn/go/internal/zoo"
)

// ErrUnknownModel is wrapped by errors about a model name that the catalogue
// lacks; the message names the nearest ones.
var ErrUnknownModel = errors.New("unknown model")

// ErrUnknownLayer is wrapped by errors about a layer, or an area, that a model
// lacks.
var ErrUnknownLayer = errors.New("unknown layer")

// PublishedURL is where the authors publish the checkpoints:
// <PublishedURL>/<model>/model.ckpt.{data-00000-of-00001,index,meta}.
const PublishedURL = "https://convrnnckpts.s3-us-west-1.amazonaws.com"

// CheckpointName is the prefix of the published checkpoints' files.
const CheckpointName = "model.ckpt"

// Layer describes a layer's features.
type Layer struct {
	Name string `json:"name"`
	// Shape is [height, width, channels], or [classes] for the readout.
	Shape []int `json:"shape"`
	// DrivenFrom is the first timestep at which an image shown from timestep 0
	// can change the layer's output.
	DrivenFrom int `json:"driven_from"`
	// ReportedFrom is the first timestep that is reported by default.
	ReportedFrom int `json:"reported_from"`
	// Areas are the brain areas that the authors match with the layer.
	Areas []string `json:"areas,omitempty"`
}

// Presentation is a model's default presentation: the image is shown for
// timesteps 0 … ImageOff-1 of Times, then the blank.
type Presentation struct {
	Times    int `json:"times"`
	ImageOff int `json:"image_off"`
}

// Area is a brain area and the layers that the authors found to match it best.
type Area struct {
	Name   string   `json:"name"`
	Layers []string `json:"layers"`
}

// Model describes a published model.
type Model struct {
	Name string `json:"name"`
	// Cell is the recurrent cell: timedecay, simplernn, gru, lstm,
	// intersectionrnn, ugrnn or rgc.
	Cell string `json:"cell"`
	// Depth is "shallow" (5 convolutional layers) or "intermediate" (10).
	Depth string `json:"depth"`
	// Decoder is how logits come from the readout over time: last, max_conf or
	// thresh.
	Decoder string `json:"decoder"`
	// Top1 and Top5 are the published ImageNet validation accuracies in percent.
	Top1    float64      `json:"top1"`
	Top5    float64      `json:"top5"`
	Default Presentation `json:"default_presentation"`
	Layers  []Layer      `json:"layers"`
	Areas   []Area       `json:"areas"`
	// Parameters is the number of trained parameters.
	Parameters int64 `json:"parameters"`
	// URL is the published checkpoint's prefix.
	URL string `json:"url"`
}

// Catalogue returns all published models. The caller owns the result.
func Catalogue() []Model {
	var list []Model
	for _, m := range zoo.Models() {
		list = append(list, describe(m))
	}
	return list
}

// Names returns the names of all published models.
func Names() []string {
	var names []string
	for _, m := range zoo.Models() {
		names = append(names, m.Name)
	}
	return names
}

// Lookup returns the model called name. The error wraps ErrUnknownModel and
// names the nearest models.
func Lookup(name string) (Model, error) {
	m := zoo.Lookup(name)
	if m == nil {
		return Model{}, fmt.Errorf("%w %q; did you mean %s?", ErrUnknownModel, name, nearest(name, Names()))
	}
	return describe(m), nil
}

func describe(m *zoo.Model) Model {
	d := Model{
		Name: m.Name, Cell: string(m.Cell), Depth: string(m.Depth), Decoder: string(m.Decoder),
		Top1: m.Top1, Top5: m.Top5, Default: Presentation(m.Default), URL: PublishedURL + "/" + m.Name + "/" + CheckpointName,
	}
	areas := map[string][]string{}
	for _, a := range m.Areas() {
		d.Areas = append(d.Areas, Area(a))
		for _, l := range a.Layers {
			areas[l] = append(areas[l], a.Name)
		}
	}
	for i := range m.Layers {
		l := &m.Layers[i]
		d.Layers = append(d.Layers, Layer{
			Name: l.Name, Shape: l.Shape, DrivenFrom: l.DrivenFrom, ReportedFrom: l.ReportedFrom(), Areas: areas[l.Name],
		})
	}
	for _, v := range m.Variables() {
		if v.Trainable {
			n := int64(1)
			for _, size := range v.Shape {
				n *= int64(size)
			}
			d.Parameters += n
		}
	}
	return d
}

// Layer returns the layer called name. The error wraps ErrUnknownLayer and names
// the nearest layers.
func (m *Model) Layer(name string) (Layer, error) {
	var names []string
	for _, l := range m.Layers {
		if l.Name == name {
			return l, nil
		}
		names = append(names, l.Name)
	}
	return Layer{}, fmt.Errorf("%w %q in %s; did you mean %s? (all: %s)", ErrUnknownLayer, name, m.Name,
		nearest(name, names), strings.Join(names, ", "))
}

// AreaLayers returns the layers that match a brain area: V4, pIT, cIT, aIT, or
// IT for both pIT and cIT/aIT, in upper or lower case. The error wraps
// ErrUnknownLayer.
func (m *Model) AreaLayers(area string) ([]string, error) {
	var layers []string
	for _, a := range m.Areas {
		for _, part := range strings.Split(a.Name, "/") {
			if strings.EqualFold(part, area) || strings.EqualFold(a.Name, area) ||
				(strings.EqualFold(area, "IT") && strings.HasSuffix(part, "IT")) {
				layers = append(layers, a.Layers...)
				break
			}
		}
	}
	if layers == nil {
		return nil, fmt.Errorf("%w for the area %q; the areas are V4, pIT, cIT, aIT and IT (pIT, cIT and aIT)",
			ErrUnknownLayer, area)
	}
	return layers, nil
}

// SelectLayers returns the names of the layers asked for and of those that match the
// brain areas asked for, each once, in that order. "all" stands for every layer; nothing
// asked for is the readout, the last layer. The error wraps ErrUnknownLayer.
func (m *Model) SelectLayers(layers, areas []string) ([]string, error) {
	var selected []string
	add := func(names ...string) {
		for _, name := range names {
			if !slices.Contains(selected, name) {
				selected = append(selected, name)
			}
		}
	}
	for _, name := range layers {
		if name == "all" {
			for _, l := range m.Layers {
				add(l.Name)
			}
			continue
		}
		if _, err := m.Layer(name); err != nil {
			return nil, err
		}
		add(name)
	}
	for _, area := range areas {
		names, err := m.AreaLayers(area)
		if err != nil {
			return nil, err
		}
		add(names...)
	}
	if len(selected) == 0 {
		add(m.Layers[len(m.Layers)-1].Name)
	}
	return selected, nil
}

// nearest returns the up to three candidates of the least edit distance.
func nearest(name string, candidates []string) string {
	sorted := append([]string(nil), candidates...)
	distances := map[string]int{}
	for _, c := range sorted {
		distances[c] = distance(strings.ToLower(name), c)
	}
	sort.SliceStable(sorted, func(i, j int) bool { return distances[sorted[i]] < distances[sorted[j]] })
	return strings.Join(sorted[:min(3, len(sorted))], ", ")
}

// distance is the Levenshtein distance, of at most the first 64 bytes.
func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
