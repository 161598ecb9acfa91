// Package dimensions has the numbers that all models and formats share.
package dimensions

const (
	// ImageSize is the height and width of the images that models read, in pixels.
	ImageSize = 224
	// Classes is the number of outputs of the readout: ImageNet's.
	Classes = 1000
	// MillisecondsPerTimestep is the time that a timestep stands for.
	MillisecondsPerTimestep = 10
)
