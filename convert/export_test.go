package convert

import "github.com/tfconvrnn/go/internal/weights"

// SourceOf makes a Source of values that tests choose.
func SourceOf(values weights.Source) *Source { return &Source{values} }
