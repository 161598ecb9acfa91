// Package serving makes models a service: an http.Handler and a gRPC server of the Open
// Inference Protocol, version 2, which the clients of KServe, NVIDIA Triton and others speak,
// and plain HTTP for people.
//
//	model, err := tfconvrnn.Load("ugrnn_intermediate")
//	...
//	service, err := serving.New([]string{model.Info().Name}, serving.Options{})
//	...
//	defer service.Close()
//	err = service.Add(ctx, model)
//	...
//	http.ListenAndServe("127.0.0.1:8080", service)
//
// Serve does the rest that a service needs: listeners, TLS, slow clients, and an end at which
// nothing that was accepted is lost.
//
// # What runs when
//
// Requests for the same model, layers and presentation that wait are computed together, up to
// Options.MaxBatch images in a run, in the order in which they came; a request of more images
// is divided. A run begins when nothing else runs. It waits for others to join, at most
// Options.MaxDelay, only where the run before it was shared or others waited when it ended,
// and only until as many images wait as were there then.
//
// One run at a time takes all cores: two would take each other's caches and memory and finish
// no earlier. With several models, the model's turn is next whose requests have waited longest
// since they came or since that model's last run began, whichever is later; so each of them has
// its share of the runs. The same rule chooses between the requests of a model that cannot
// be computed together. Every model's weights stay in memory.
//
// The results are those of Model.Extract with the same stimuli in a batch, to the last bit;
// the response says how large the batches were.
package serving
