// Package version says which version of the project this is.
package version

// Version is the version of the library, the command line tool and the file
// formats' provenance.
const Version = "0.1.0"

// Software is how provenance names the library.
const Software = "tfconvrnn " + Version

// Converter changes whenever the same checkpoint would be converted to another
// SavedModel; SavedModels of other converters are converted again.
const Converter = "3"
