package compare

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/disk"
)

// Multiplied are Features of which perhaps only Gram matrices are there.
type Multiplied interface {
	Features
	// Multiplied tells that only Gram matrices are there: Row is an error.
	Multiplied() bool
	// Gram returns the matrix of some stimuli, by their positions in ascending order, and weights of the layer's bins.
	Gram(layer int, stimuli []int, weights []float64) (*Gram, error)
}

// ErrOtherGrams means a folder of Gram matrices of other features, or of other times of them.
var ErrOtherGrams = errors.New("the folder has Gram matrices of other features or times")

// ErrGramsMissing means a folder of which some Gram matrices are not made yet.
var ErrGramsMissing = errors.New("some Gram matrices are not made yet")

// GramFolderName is the file by which a folder of Gram matrices is known.
const GramFolderName = "grams.json"

// mostGramIndex bounds that file.
const mostGramIndex = 1 << 30

// gramIndex is what is in it.
type gramIndex struct {
	Format string `json:"format"`
	// About is the features' provenance, or, of features without, their identity.
	About   string      `json:"about"`
	Stimuli []string    `json:"stimuli"`
	Layers  []gramLayer `json:"layers"`
}

const gramFolderFormat = "tfconvrnn Gram matrices 1"

type gramLayer struct {
	FeatureLayer
	// Windows are the spans of time of which there is a matrix; one without time for features without.
	Windows []gramWindow `json:"windows"`
}

type gramWindow struct {
	Bin
	File    string    `json:"file"`
	Weights []float64 `json:"weights"`
}

// GramFolderOptions say what MakeGrams makes.
type GramFolderOptions struct {
	// Layers are the layers; none means all.
	Layers []string
	// Windows are spans of time of whose mean features there is a matrix too; there is one of each bin always.
	Windows []Bin
	// Shard of Shards is the contiguous part of the matrices that is made, the first is 0; 0 of 0 is all.
	Shard, Shards int
	// About says what made the features, such as their provenance; "" for their Identity.
	About string
	// Unfinished, if not "", is a folder of the same file system for matrices that are being written. The folder of
	// the matrices must be there then: what has been renamed or removed meanwhile is not made anew.
	Unfinished string
	// Progress is called after each matrix, if it is not nil.
	Progress func(done, of int64)
}

// GramsMade is what there is after MakeGrams.
type GramsMade struct {
	// Of is the number of matrices, Made those that this call made, and Missing those that are not there yet.
	Of, Made, Missing int
	// Bytes is what all take.
	Bytes int64
}

// MakeGrams makes a folder of the Gram matrices of features: all that fits, dissimilarities and CKA need of them, on
// this machine or another (OpenGrams). It can be called by any number of processes, one after the other or at once,
// each for a shard: all write the same bytes, each matrix appears whole or not at all, and one that is there is not
// made again. So after an interruption, or a dead machine, the same calls go on. Errors wrap ErrOtherGrams, ErrNoLayer
// or ErrOptions, or are those of EachGram.
func MakeGrams(ctx context.Context, folder string, f Features, o GramFolderOptions) (*GramsMade, error) {
	index, at, err := newGramIndex(f, o)
	if err != nil {
		return nil, err
	}
	if o.Shards == 0 {
		o.Shards = 1
	}
	if o.Shard < 0 || o.Shard >= o.Shards {
		return nil, fmt.Errorf("%w: shard %d of %d; the first is 0", ErrOptions, o.Shard, o.Shards)
	}
	if err := index.begin(folder, o.Unfinished); err != nil {
		return nil, err
	}
	n := len(index.Stimuli)
	made := &GramsMade{Of: matricesOf(index.Layers)}
	made.Bytes = int64(made.Of) * gramBytes(n)
	first, end := made.Of*o.Shard/o.Shards, made.Of*(o.Shard+1)/o.Shards
	number, done := 0, 0
	var wanted []Wanted
	var files [][]string
	for k, l := range index.Layers {
		want, names := Wanted{Layer: at[k]}, []string(nil)
		for _, w := range l.Windows {
			if name := filepath.Join(folder, w.File); number >= first && number < end {
				if _, err := readGram(name, n, l.Size); err != nil {
					want.Weights, names = append(want.Weights, w.Weights), append(names, name)
				} else {
					done++
				}
			}
			number++
		}
		wanted, files = append(wanted, want), append(files, names)
	}
	if err := EachGram(ctx, f, upTo(n), wanted, func(w, i int, g *Gram) error {
		made.Made++
		if o.Progress != nil {
			o.Progress(int64(done+made.Made), int64(end-first))
		}
		return writeGram(files[w][i], cmp.Or(o.Unfinished, folder), g)
	}); err != nil {
		return nil, err
	}
	made.Missing = len(index.missing(folder))
	return made, nil
}

// newGramIndex lists the matrices, and the positions of the layers.
func newGramIndex(f Features, o GramFolderOptions) (index *gramIndex, at []int, err error) {
	if at, err = layersOf(f, o.Layers); err != nil {
		return nil, nil, err
	}
	index = &gramIndex{Format: gramFolderFormat, About: o.About, Stimuli: f.Stimuli()}
	if identified, ok := f.(Identified); ok && index.About == "" {
		index.About = identified.Identity()
	}
	index.Layers, err = gramLayers(pick(f.Layers(), at), o.Windows)
	return index, at, err
}

// GramFolderSize is the number of matrices that MakeGrams makes of layers and windows, and the bytes that they take for
// so many stimuli. Errors are those of MakeGrams about layers and windows.
func GramFolderSize(layers []FeatureLayer, windows []Bin, stimuli int) (matrices int, size int64, err error) {
	list, err := gramLayers(layers, windows)
	matrices = matricesOf(list)
	return matrices, int64(matrices) * gramBytes(stimuli), err
}

// WindowsLeftOut says of which windows MakeGrams makes no matrix of which layers, and why, a line for each window.
func WindowsLeftOut(layers []FeatureLayer, windows []Bin) (notes []string) {
	for _, b := range windows {
		var without []string
		for _, l := range layers {
			if w := windowOf(l, b); w.reason != "" {
				without = append(without, fmt.Sprintf("%s (%s)", l.Name, w.reason))
			}
		}
		if len(without) > 0 {
			notes = append(notes, fmt.Sprintf("there is no matrix of %v ms for %s", b, strings.Join(without, ", ")))
		}
	}
	return notes
}

// IsGram tells whether a file of a folder of Gram matrices is one, by its name.
func IsGram(name string) bool { return strings.HasSuffix(name, gramSuffix) }

func matricesOf(layers []gramLayer) (n int) {
	for _, l := range layers {
		n += len(l.Windows)
	}
	return n
}

// gramLayers lists the matrices of layers.
func gramLayers(layers []FeatureLayer, windows []Bin) (list []gramLayer, err error) {
	covered := make([]bool, len(windows))
	for _, about := range layers {
		l := gramLayer{FeatureLayer: about}
		if l.Name != filepath.Base(l.Name) || strings.HasPrefix(l.Name, ".") {
			return nil, fmt.Errorf("%w: a layer called %q gives no names of files", ErrOptions, l.Name)
		}
		if len(l.Bins) == 0 {
			l.Windows = []gramWindow{{File: l.Name + gramSuffix, Weights: []float64{1}}}
		}
		for i, b := range slices.Concat(l.Bins, windows) {
			w := windowOf(about, b)
			if w.reason != "" { // not driven, or of another layer's time
				continue
			}
			if k := i - len(l.Bins); k >= 0 {
				covered[k] = true
			}
			if !slices.ContainsFunc(l.Windows, func(g gramWindow) bool { return slices.Equal(g.Weights, w.weights) }) {
				l.Windows = append(l.Windows, gramWindow{b, fmt.Sprintf("%s-%v%s", l.Name, b, gramSuffix), w.weights})
			}
		}
		list = append(list, l)
	}
	if i := slices.Index(covered, false); i >= 0 {
		return nil, fmt.Errorf("%w: no layer has features of all of %v ms", ErrOptions, windows[i])
	}
	if matricesOf(list) == 0 {
		return nil, fmt.Errorf("%w: no layer has features over time", ErrOptions)
	}
	return list, nil
}

// begin writes the index, or compares with what is there.
func (x *gramIndex) begin(folder, unfinished string) error {
	text, err := json.Marshal(x)
	if err != nil {
		return err
	}
	name := filepath.Join(folder, GramFolderName)
	before, err := disk.ReadFile(name, mostGramIndex)
	if errors.Is(err, fs.ErrNotExist) {
		if unfinished != "" {
			return putFile(name, unfinished, text)
		}
		if err := os.MkdirAll(folder, 0o777); err != nil {
			return err
		}
		if entries, err := os.ReadDir(folder); err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool {
			return !strings.HasPrefix(e.Name(), ".")
		}) {
			return errors.Join(err, fmt.Errorf("%s: %w: it is there, and has no %s", folder, fs.ErrExist, GramFolderName))
		}
		return atomicfile.Write(name, text)
	}
	if err == nil && string(before) != string(text) {
		err = fmt.Errorf("%s: %w", folder, ErrOtherGrams)
	}
	return err
}

// putFile writes a file, whole or not at all, that is in another folder until it is complete.
func putFile(name, unfinished string, content []byte) error {
	file, err := atomicfile.CreateIn(unfinished, name)
	if err != nil {
		return err
	}
	defer file.Abort()
	if _, err := file.Write(content); err != nil {
		return err
	}
	return file.Commit()
}

// missing are the files that are not there, or are of another size.
func (x *gramIndex) missing(folder string) (files []string) {
	for _, l := range x.Layers {
		for _, w := range l.Windows {
			if info, err := os.Stat(filepath.Join(folder, w.File)); err != nil || info.Size() != gramBytes(len(x.Stimuli)) {
				files = append(files, w.File)
			}
		}
	}
	return files
}

// GramFolder are features of which only Gram matrices are there. It is safe for concurrent use.
type GramFolder struct {
	folder string
	index  gramIndex
}

// OpenGrams opens a complete folder of MakeGrams. Errors wrap ErrGramsMissing or ErrData, or are of the file system.
func OpenGrams(folder string) (*GramFolder, error) {
	text, err := disk.ReadFile(filepath.Join(folder, GramFolderName), mostGramIndex)
	if err != nil {
		return nil, err
	}
	g := &GramFolder{folder: folder}
	if err := json.Unmarshal(text, &g.index); err != nil {
		return nil, fmt.Errorf("%s: %w: %s: %w", folder, ErrData, GramFolderName, err)
	}
	if err := g.index.check(); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", folder, ErrData, err)
	}
	if missing := g.index.missing(folder); len(missing) > 0 {
		return nil, fmt.Errorf("%s: %w: %d, such as %s", folder, ErrGramsMissing, len(missing), missing[0])
	}
	return g, nil
}

// check refuses an index that does not fit together.
func (x *gramIndex) check() error {
	if x.Format != gramFolderFormat || len(x.Stimuli) == 0 {
		return fmt.Errorf("%s of format %q with %d stimuli", GramFolderName, x.Format, len(x.Stimuli))
	}
	for _, l := range x.Layers {
		if l.Size < 1 || l.Driven != nil && len(l.Driven) != len(l.Bins) {
			return fmt.Errorf("layer %s of %d features, driven in %d of %d bins", l.Name, l.Size, len(l.Driven), len(l.Bins))
		}
		for _, w := range l.Windows {
			if len(w.Weights) != max(len(l.Bins), 1) || w.File != filepath.Base(w.File) {
				return fmt.Errorf("layer %s: %d weights of %d bins, in %q", l.Name, len(w.Weights), len(l.Bins), w.File)
			}
		}
	}
	return nil
}

// Stimuli are the stimuli's ids.
func (g *GramFolder) Stimuli() []string { return slices.Clone(g.index.Stimuli) }

// Layers are the layers.
func (g *GramFolder) Layers() []FeatureLayer {
	var list []FeatureLayer
	for _, l := range g.index.Layers {
		list = append(list, l.FeatureLayer)
	}
	return list
}

// About says what made the features.
func (g *GramFolder) About() string { return g.index.About }

// Multiplied is true.
func (g *GramFolder) Multiplied() bool { return true }

// Row is an error that wraps ErrData.
func (g *GramFolder) Row(int, int) ([]float32, error) {
	return nil, fmt.Errorf("%s: %w: only Gram matrices of the features are there, which are enough for PLS, ridge, linear, dissimilarities and CKA",
		g.folder, ErrData)
}

// Gram reads the matrix of some stimuli and of weights of which there is one. The error wraps ErrData, or is of the
// file system.
func (g *GramFolder) Gram(layer int, stimuli []int, weights []float64) (*Gram, error) {
	l := g.index.Layers[layer]
	at := slices.IndexFunc(l.Windows, func(w gramWindow) bool { return slices.Equal(w.Weights, weights) })
	if at < 0 {
		var list []string
		for _, w := range l.Windows {
			list = append(list, w.Bin.String())
		}
		return nil, fmt.Errorf(
			"%s: %w: of layer %s no Gram matrix of the mean over that time was made; there are those of %s ms", g.folder,
			ErrData, l.Name, shortList(list))
	}
	m, err := readGram(filepath.Join(g.folder, l.Windows[at].File), len(g.index.Stimuli), l.Size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrData, err)
	}
	if len(stimuli) < m.n {
		m.reorder(stimuli)
		m.varies = slices.ContainsFunc(m.k, func(v float64) bool {
			return v != m.k[0]
		}) // of equal features all products are equal
	}
	return m, nil
}
