// Package libtf runs TensorFlow graphs through libtensorflow's C API. It is
// the only cgo of the project. The library is opened at run time: a program
// builds without it, and [Load] finds it or says why not.
//
//	if _, err := libtf.Load(""); err != nil { … }
//	model, err := libtf.LoadSavedModel(dir, []string{"serve"}, nil)
//	defer model.Close()
//	input, err := libtf.NewTensor([]int64{1, 224, 224, 3}, pixels)
//	defer input.Close()
//	results, err := model.Session.Run(ctx,
//		[]libtf.Feed{{Output: model.Graph.Operation("images").Output(0), Tensor: input}},
//		[]libtf.Output{model.Graph.Operation("logits").Output(0)}, nil)
//	defer libtf.CloseAll(results)
//	logits, err := libtf.Data[float32](results[0])
//
// Names follow TensorFlow's own Go binding. What differs: tensors are flat
// data plus a shape and are closed; feeds have an order; status codes are
// errors to compare with; and whatever would make the C library abort the
// process is refused in Go.
package libtf
