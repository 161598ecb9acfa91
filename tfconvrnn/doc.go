// Package tfconvrnn runs the published ConvRNNs: convolutional networks with
// recurrent cells, unrolled in timesteps of 10 ms.
//
//	model, err := tfconvrnn.Load("ugrnn_intermediate")
//	if err != nil {
//		return err
//	}
//	defer model.Close()
//	images, err := tfconvrnn.ReadImages("cat.jpg", "dog.png")
//	if err != nil {
//		return err
//	}
//	features, err := model.Extract(ctx, images, tfconvrnn.Layers("conv9", "conv10"))
//	if err != nil {
//		return err
//	}
//	conv9, _ := features.Layer("conv9") // conv9.Data is [images, timesteps, 7, 7, 512]
//
// Load finds the model's SavedModel in the local store, or converts the
// checkpoint it finds; WithWeights("seeded:1") makes an untrained model without
// any download. It needs libtensorflow: 'tfconvrnn-cli runtime install' gets it.
//
// How stimuli are shown is a [Presentation]: Default, Constant, Neural, Custom,
// Episodes or Sequence. Large sets are processed in constant memory with
// [Model.Stream].
//
// The same stimuli in batches of the same size, with the same number of threads, give
// the same bytes in every run on one kind of processor, whatever else runs. Batches of
// other sizes, and other numbers of threads, give the same up to rounding. Where bytes
// matter set BatchSize, which otherwise depends on the memory that is available, and
// WithThreads, which otherwise is the number of cores. Provenance records both, and the
// processor.
//
// A graph is a program: Load opens those only that this project's converter wrote,
// see WithTrust.
//
// All methods of a Model are safe for concurrent use. Errors can be told apart
// with errors.Is and the Err… values of this package.
package tfconvrnn
