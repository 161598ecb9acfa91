package recordings

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/disk"
)

// ResultFormats are the endings of the names of files of results.
func ResultFormats() []string { return []string{".nc", ".zarr", ".csv", ".json"} }

// Said adds to a result what a recording left out and assumed.
func (r *Recording) Said(result *compare.Result) {
	for _, d := range r.Dropped {
		result.LeftOut = append(result.LeftOut, d.String())
	}
	result.Notes = append(result.Notes, r.Notes...)
}

// Describe completes a result for a file: the coordinates of the neuroids, the provenance of the
// features, and the hashes of the files. Features and recording may be nil. Errors are of the file system, or ctx's.
func Describe(ctx context.Context, result *compare.Result, f *FeatureFile, r *Recording) (err error) {
	if result.Data != "" { // nothing between layers
		if result.DataSHA256, err = disk.SHA256(ctx, result.Data); err != nil {
			return err
		}
	}
	if f != nil {
		if json.Valid([]byte(f.Provenance())) {
			result.FeaturesProvenance = json.RawMessage(f.Provenance())
		} else if info, err := os.Stat(result.Features); err == nil && info.Mode().IsRegular() {
			if result.FeaturesSHA256, err = disk.SHA256(ctx, result.Features); err != nil {
				return err
			}
		}
	}
	if r == nil {
		return nil
	}
	result.NeuroidCoordinates = r.NeuroidCoordinates(result.Neuroids())
	return nil
}

// WriteResult writes a result to a file, whose name says how: .csv a row for each score;
// .json all of it; .nc and .zarr a dataset for xarray, with score, error, ceiling, ceiled, raw scores, ridge parameters
// and counts along layer, time_bin, split and neuroid. It appears whole or not at all. Errors are
// features.WriteDataset's.
func WriteResult(name string, result *compare.Result) error {
	var out bytes.Buffer
	switch strings.ToLower(filepath.Ext(name)) {
	case ".json":
		if err := result.WriteJSON(&out); err != nil {
			return err
		}
	case ".csv":
		if err := result.WriteCSV(&out); err != nil {
			return err
		}
	default:
		d, err := dataset(result)
		if err != nil {
			return err
		}
		return features.WriteDataset(name, d)
	}
	return atomicfile.Write(name, out.Bytes())
}

// mostResult bounds a .json of results.
const mostResult = 1 << 30

// ReadResult reads what WriteResult wrote as .json, .nc or .zarr; of the latter two without the raw scores. The
// error wraps ErrFormat, or is of the file system.
func ReadResult(name string) (*compare.Result, error) {
	var text []byte
	if strings.EqualFold(filepath.Ext(name), ".json") {
		var err error
		if text, err = disk.ReadFile(name, mostResult); err != nil {
			return nil, err
		}
	} else {
		attributes, err := features.DatasetAttributes(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		text = []byte(attributes[scoresAttribute])
	}
	result := &compare.Result{}
	if err := json.Unmarshal(text, result); err != nil || result.Analysis == "" {
		return nil, fmt.Errorf("%s: %w: it is no result of compare", name, ErrFormat)
	}
	return result, nil
}
