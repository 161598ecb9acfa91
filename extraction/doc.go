// Package extraction computes the features of any number of stimuli into one Zarr
// store, on one machine or many.
//
// A plan, made once, fixes everything that decides a bit of the store: the stimuli with
// the hashes of their contents, the model with the hash of its weights, presentation,
// preprocessing, reductions, and which stimuli are computed together. Workers compute
// its chunks, any number of them, in any order, at once or one after the other; they
// need not know of each other. When all chunks are there the store is verified,
// completed and sealed.
//
//	plan, err := extraction.Open(ctx, "set.plan")
//	defer plan.Close()
//	options, err := plan.LoadOptions()
//	model, err := tfconvrnn.Load(plan.Model, options...)
//	defer model.Close()
//	worker, err := plan.NewWorker(ctx, model, extraction.WorkerOptions{})
//	defer worker.Close()
//	for chunk := range plan.Chunks() {
//		record, err := worker.Chunk(ctx, chunk)  // nothing to do if it is there
//	}
//	finished, err := plan.Finish(ctx, nil)
//
// No step relies on a clock or a lock. A chunk is one file for each array (or several),
// written beside and renamed, and then a record of the files' SHA-256, written likewise:
// a chunk counts from then on. Whoever computes a chunk writes the same bytes, so it
// does no harm if two do. Finish reads every file and compares. Every plan writes into
// folders of its own until the store is complete (see place), so that workers of two plans
// for one output do not mix.
package extraction
