// Package extraction computes the features of any number of stimuli into one output,
// on one machine or many.
//
//	result, err := extraction.Run(ctx, &extraction.Request{
//		Recipe: extraction.Recipe{Model: "ugrnn_intermediate", Layers: []string{"conv10"}, Output: "features.zarr", Format: features.Zarr},
//		Inputs: stimuli.Options{Inputs: []string{"pictures/"}},
//	}, extraction.RunOptions{})
//
// Run prepares a plan, which holds a record of each stimulus, computes the stimuli in batches, and
// writes the output in the request's format. An interrupted run goes on with RunOptions.Resume.
//
// For several machines Create writes the plan to a file, of an output in Zarr. It
// fixes everything that decides a bit of the store: the stimuli with
// the hashes of their contents, the model with the hash of its weights, presentation,
// preprocessing, reductions, and which stimuli are computed together. Workers compute
// its chunks, any number of them, in any order, at once or one after the other; they
// need not know of each other. When all chunks are there the store is verified,
// completed and sealed. The bytes are those that Run writes.
//
//	plan, err := extraction.Open(ctx, "set.plan")
//	defer plan.Close()
//	worked, err := plan.Work(ctx, 0, 4, extraction.WorkOptions{}) // likewise 1, 2 and 3, anywhere
//	finished, err := plan.Finish(ctx, nil)
//
// An output can also be the Gram matrices of the features (Recipe.Grams). The store of the features is then beside it
// until workers have made the matrices, or Finish has.
//
// No step relies on a clock or a lock. A chunk is one file for each array (or several),
// written beside and renamed, and then a record of the files' SHA-256, written likewise:
// a chunk counts from then on. Whoever computes a chunk writes the same bytes, so it
// does no harm if two do. Finish reads every file and compares. Every plan writes into
// folders of its own until the store is complete (see place), so that workers of two plans
// for one output do not mix.
package extraction
