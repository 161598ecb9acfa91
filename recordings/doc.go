// Package recordings reads neural and behavioural data in the formats that the field
// keeps them in, and has package compare compare them with features. A Comparison does so
// in one call, from files to a file:
//
//	c := recordings.Comparison{Features: "features.zarr", Data: "neural.nc", Out: "scores.nc",
//		Selection: recordings.Selection{Regions: []string{"IT"}}}
//	result, err := c.Fit(ctx, compare.FitOptions{})
//
// Open and Select hand the responses to functions of one's own:
//
//	assembly, err := recordings.Open("neural.nc", recordings.Layout{})
//	defer assembly.Close()
//	recording, err := recordings.Select(assembly, recordings.Selection{})
//	trials, err := recording.Trials(0) // of the first time bin
//
// BrainIO netCDF files and long tables say themselves what their axes are; for .npy, .npz,
// HDF5 and MATLAB files a Layout does. Values are read one block of time bins at a time.
//
// WriteResult writes what package compare finds, for people, programs and xarray.
//
// What is dropped is counted and named (Recording.Dropped), what was assumed is said
// (Recording.Notes). Errors wrap ErrFormat, ErrLayout, ErrSelection, ErrDuplicate,
// ErrMissing, or those of the file system.
package recordings

import (
	"errors"

	"github.com/tfconvrnn/go/internal/hdf5"
)

var (
	// ErrNoLibrary means that the HDF5 library was not found, which netCDF-4, HDF5, NWB and MATLAB 7.3
	// files need.
	ErrNoLibrary = hdf5.ErrNoLibrary
	// ErrFormat means a file that is damaged, or of a kind that is not read.
	ErrFormat = errors.New("unusable recording")
	// ErrLayout means that a file does not tell what its axes are, or that the Layout does not
	// fit the file.
	ErrLayout = errors.New("the axes of the data are not known")
	// ErrSelection means a selection that names what is not there, or leaves nothing.
	ErrSelection = errors.New("impossible selection")
	// ErrDuplicate means several rows where there must be one.
	ErrDuplicate = errors.New("more than one row")
	// ErrMissing means missing values where there must be none.
	ErrMissing = errors.New("missing responses")
)
