// Package features reads and writes outputs of features: the responses of layers to
// stimuli at timesteps of 10 ms, in files that NumPy, xarray, MATLAB, Brain-Score and
// thingsvision read.
//
// Reading is the same for all formats:
//
//	store, err := features.Open("it.zarr") // or .npz, .nc, a folder of .npy or .mat
//	defer store.Close()
//	conv9, err := store.Layer("conv9")
//	values, err := store.Read(ctx, "conv9", 0, 32, conv9.Between(100, 150))
//
// gives the features of the first 32 stimuli at the timesteps that start from 100 ms on
// and before 150 ms, [32 × timesteps × conv9.Shape]. A larger output is read block by
// block. [Store.ReadCompanion] reads what is no layer's, the logits.
//
// Writing: a [Layout] names the streamed arrays and all metadata, [Create] returns a
// [Writer] for one of the [Format] values, and rows are written in order per array, the
// arrays interleaved as the caller likes. Memory stays constant. Nothing appears under the
// output's own name before [Writer.Finish]: until then the data are in "<output>.partial",
// and, when the caller gave an identity, "<output>.journal" records which rows are safely
// on disk, so that an interrupted run can be resumed and ends in the same bytes as an
// uninterrupted one. A [ZarrStore] is written in parts, on any number of machines.
//
// Each format has one file here (npz.go, netcdf.go, mat.go, npyfolder.go, hdf5.go, zarr.go): it
// registers the format's name, its suffix and what it can hold, and lays out and opens its outputs.
// What makes and reads the bytes of a kind of file lies beside, as in netcdfencode.go.
//
// [OpenArrays] reads any arrays of NumPy's, .npy and .npz, such as pictures.
package features
