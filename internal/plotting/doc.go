// Package plotting draws the features that extract has written, class
// probabilities over time, response dynamics, dissimilarity matrices and feature
// maps, and what compare found, as PNG, SVG, GIF or one HTML page.
//
//	source, err := plotting.Open("features.npz")
//	defer source.Close()
//	figure, err := plotting.Dynamics(ctx, source, plotting.Options{})
//	err = figure.WritePNG(file, 144)
//
// Comparison draws results of compare.
//
// Features are read a stimulus at a time, so memory does not grow with the number
// of stimuli. The same input gives the same bytes.
package plotting

import "errors"

// Sentinels for errors.Is. Every error of this package about the input or the
// options wraps one of these or one of package features.
var (
	// ErrUnsupported: the output has no layer with timesteps.
	ErrUnsupported = errors.New("not an output that can be plotted")
	// ErrNoLayer: the input has no such layer.
	ErrNoLayer = errors.New("no such layer")
	// ErrNoStimulus: the input has no such stimulus.
	ErrNoStimulus = errors.New("no such stimulus")
	// ErrNoTimestep: no layer has the timestep.
	ErrNoTimestep = errors.New("no such timestep")
	// ErrImpossible: the input lacks what this kind of figure needs.
	ErrImpossible = errors.New("cannot be drawn from this output")
	// ErrOption: an option is out of range.
	ErrOption = errors.New("impossible option")
)
