package tfconvrnn

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tensorcache"
	"github.com/tfconvrnn/go/savedmodels"
)

// WithoutKeptConstants computes anew what is the same for all stimuli. By default a
// model of a store (see Load) on the CPU reads it from beside the SavedModel, if an
// earlier process left it there that had the same graph, weights, libtensorflow,
// settings and processor. The bytes are the same either way; reading them makes the
// first result come sooner. WithVerification implies this option.
func WithoutKeptConstants() Option {
	return func(o *loadOptions) error { o.withoutKept = true; return nil }
}

// keptSets is how many sets of constants a SavedModel may have: two for each processor,
// number of threads and blank.
const keptSets = 16

// keptConstants keeps what is the same for all stimuli from one process to the next. The
// zero value keeps nothing.
type keptConstants struct {
	cache *tensorcache.Cache // nil for none
	key   string             // all that determines the bytes but a blank
	// shapes of the tensors, by name: the constants, and the values of a blank.
	constants, blank map[string][]int64
}

// newKeptConstants returns those of a SavedModel in a store.
func newKeptConstants(m *Model) (keptConstants, error) {
	description, err := m.manifest.Bytes()
	if err != nil {
		return keptConstants{}, err
	}
	library, err := os.Stat(m.runtime.Path())
	if err != nil {
		return keptConstants{}, err
	}
	k := keptConstants{
		cache: tensorcache.New(savedmodels.KeptConstantsDir(m.dir), keptSets),
		key: tensorcache.Key(string(description), m.runtime.Version(), m.runtime.Path(),
			strconv.FormatInt(library.Size(), 10), library.ModTime().String(),
			string(m.config), strconv.Itoa(m.session.threads), m.convolutionKey(), runtime.GOOS, runtime.GOARCH,
			processorFlags(), numericEnvironment()),
		constants: map[string][]int64{}, blank: map[string][]int64{},
	}
	one := func(shape []int) []int64 {
		with := []int64{1}
		for _, d := range shape {
			with = append(with, int64(d))
		}
		return with
	}
	for _, b := range m.manifest.Boundaries {
		k.constants[b.Tensor] = one(b.Shape)[1:]
	}
	for _, known := range m.manifest.Known {
		k.blank[known.Source] = one(known.Shape)
	}
	for _, l := range m.manifest.Layers {
		for _, step := range l.Timesteps {
			switch step.Kind {
			case kindConstant:
				k.constants[step.Tensor] = one(l.Shape)
			case kindFrame:
				if len(m.manifest.Known) > 0 {
					k.blank[step.Tensor] = one(l.Shape)
				}
			}
		}
	}
	return k, nil
}

// processorFlags says which instructions there are, as far as the system tells: libraries
// choose by them how to add.
func processorFlags() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	var found []string
	first, _, _ := bytes.Cut(text, []byte("\n\n"))
	for line := range strings.Lines(string(first)) {
		for _, name := range []string{"vendor_id", "cpu family", "model", "stepping", "flags", "cache size", "Features",
			"CPU"} {
			if strings.HasPrefix(line, name) {
				found = append(found, line)
				break
			}
		}
	}
	return strings.Join(found, "")
}

// numericEnvironment returns the environment variables that can change what
// libtensorflow computes.
func numericEnvironment() string {
	var found []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		for _, prefix := range []string{"TF_", "ONEDNN_", "DNNL_", "XLA_", "OMP_", "KMP_", "EIGEN_"} {
			if strings.HasPrefix(name, prefix) && !strings.HasPrefix(name, "TF_CPP_") {
				found = append(found, variable)
				break
			}
		}
	}
	slices.Sort(found)
	return strings.Join(found, "\n")
}

// keptSet is one of the sets that are kept.
type keptSet struct {
	cache  *tensorcache.Cache // nil for none
	key    string
	shapes map[string][]int64
}

func (k *keptConstants) constantSet() keptSet { return keptSet{k.cache, k.key, k.constants} }

// blankSet is that of the blank with the normalized pixels.
func (k *keptConstants) blankSet(pixels []float32) keptSet {
	if k.cache == nil {
		return keptSet{}
	}
	bits := make([]byte, 0, 4*len(pixels))
	for _, v := range pixels {
		bits = binary.LittleEndian.AppendUint32(bits, math.Float32bits(v))
	}
	return keptSet{k.cache, tensorcache.Key(k.key, string(bits)), k.blank}
}

// read adds the named tensors to have, all or none. The error means that they are not
// kept, or not as they were written.
func (s keptSet) read(names []string, have map[string]*libtf.Tensor) error {
	if s.cache == nil {
		return tensorcache.ErrMissing
	}
	read := map[string]*libtf.Tensor{}
	err := s.cache.Read(s.key, names, func(name string, shape []int64) ([]float32, error) {
		if want, ok := s.shapes[name]; !ok || !slices.Equal(shape, want) {
			return nil, fmt.Errorf("%w: %s has the shape %v, not %v", tensorcache.ErrMissing, name, shape, want)
		}
		tensor, err := libtf.AllocateTensor(libtf.Float, shape)
		if err != nil {
			return nil, err
		}
		read[name] = tensor
		return libtf.Data[float32](tensor)
	})
	for name, tensor := range read {
		if err != nil {
			tensor.Close()
			continue
		}
		have[name] = tensor
	}
	return err
}

// write keeps the tensors with the names.
func (s keptSet) write(names []string, tensors []*libtf.Tensor) error {
	if s.cache == nil {
		return nil
	}
	list := make([]tensorcache.Tensor, len(names))
	for i, name := range names {
		data, err := libtf.Data[float32](tensors[i])
		if err != nil {
			return err
		}
		if shape := tensors[i].Shape(); !slices.Equal(shape, s.shapes[name]) {
			return fmt.Errorf("%w: %s has the shape %v, not %v", manifest.ErrModified, name, shape, s.shapes[name])
		}
		list[i] = tensorcache.Tensor{Name: name, Shape: tensors[i].Shape(), Data: data}
	}
	return s.cache.Write(s.key, list)
}

// names returns the names of the set and those asked for, sorted, each once.
func (s keptSet) names(asked []string) []string {
	all := slices.Clone(asked)
	for name := range s.shapes {
		all = append(all, name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
