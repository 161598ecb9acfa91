package recordings

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/tfconvrnn/go/compare"
)

// ComputedFeatures are features of which only the shape is known until they are first asked for: then
// open makes them. identity is equal only for equal ones. Closing them closes what open returned.
func ComputedFeatures(stimuli []string, layers []compare.FeatureLayer, identity string, open func() (*FeatureFile, error)) (*FeatureFile, error) {
	var made *FeatureFile
	f := &FeatureFile{stimuli: stimuli, layers: layers, identity: identity}
	f.rows = func(layer, stimulus int, bins []int) (_ []float32, err error) {
		if made == nil {
			if made, err = open(); err != nil {
				return nil, err
			}
			f.provenance = made.provenance
			if !slices.Equal(made.stimuli, stimuli) || !slices.EqualFunc(made.layers, layers, func(a, b compare.FeatureLayer) bool { return a.Name == b.Name && a.Size == b.Size }) {
				return nil, fmt.Errorf("%w: the features are not those that were to be computed", ErrFormat)
			}
		}
		return made.rows(layer, stimulus, bins)
	}
	f.close = func() error {
		if made == nil {
			return nil
		}
		return made.Close()
	}
	return f, f.check("features")
}

// stateOf is a hash of the names, sizes and times of the files of features; "" if they cannot be seen.
func stateOf(name string) string {
	h := sha256.New()
	absolute, err := filepath.Abs(name)
	if err != nil {
		return ""
	}
	fmt.Fprintf(h, "%q\n", absolute)
	err = filepath.WalkDir(absolute, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(path) // of what a link names
		if err == nil && !info.IsDir() {
			fmt.Fprintf(h, "%q %d %d\n", path, info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}
