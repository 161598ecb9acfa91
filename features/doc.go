// Package features reads arrays (.npy, .npz) and writes feature files whose
// sizes are all known before the first row arrives.
//
// Reading:
//
//	file, err := features.OpenArrays("images.npy")
//	defer file.Close()
//	array, err := file.Array("")            // the only array of the file
//	pixels, err := array.Uint8s(0, 32)      // rows 0 … 31 of the first dimension
//
// Writing: a [Layout] names the streamed arrays and all metadata, [Create]
// returns a [Writer] for one of the [Format] values, and rows are written in
// order per array, the arrays interleaved as the caller likes. Memory stays
// constant. Nothing appears under the output's own name before
// [Writer.Finish]: until then the data are in "<output>.partial", and, when
// the caller gave an identity, "<output>.journal" records which rows are
// safely on disk, so that an interrupted run can be resumed and ends in the
// same bytes as an uninterrupted one.
package features
