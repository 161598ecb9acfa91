package extraction

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/reduce"
	"github.com/tfconvrnn/go/internal/version"
)

// ErrManyRows means more stimuli and timesteps than principal components can be fitted on.
var ErrManyRows = errors.New("too much to fit components on")

// ComponentsRequest says which principal components are fitted, on what.
type ComponentsRequest struct {
	// Features is an output of Run, of the stimuli to fit on.
	Features string
	// Output is the .npz to write, of which Recipe.Reductions make layers smaller: pca(FILE). Replace replaces one that
	// is there.
	Output  string
	Replace bool
	// Layers are those to fit; none means all.
	Layers []string
	// Components is how many of each layer. Layers with no more features than that are left out.
	Components int
	// From and To bound the timesteps, in ms; nil does not. Only those are taken that are driven. Time is what the file
	// says of it.
	From, To *float64
	Time     string
	// AverageTime fits on the mean over the timesteps; otherwise on each by itself.
	AverageTime bool
	// Software is what the file says it was made by; "" is this library.
	Software string
	// Note, if not nil, is called with what is good to know.
	Note func(message string)
}

// Components says what was fitted of a layer.
type Components struct {
	Layer      string `json:"layer"`
	Features   int    `json:"features"`
	Components int    `json:"components"`
	FittedOn   int    `json:"fitted_on"`
	// Explained is their part of the variance.
	Explained float64 `json:"explained"`
}

// componentsProvenance is kept in the file.
type componentsProvenance struct {
	Software    string          `json:"software"`
	Features    string          `json:"features"`
	SHA256      string          `json:"features_sha256,omitempty"` // of a file
	Stimuli     int             `json:"stimuli"`
	Time        string          `json:"time,omitempty"`
	AverageTime bool            `json:"average_time,omitempty"`
	Extraction  json.RawMessage `json:"extraction,omitempty"`
}

// FitComponents fits the principal components of layers and writes them. They are scikit-learn's PCA, the same in every
// run. Errors wrap ErrManyRows, ErrComponents or ErrReduction, or are those of features.Open, Store.Read and
// features.Create.
func FitComponents(ctx context.Context, r ComponentsRequest) ([]Components, error) {
	if err := features.CheckInputs(r.Output, r.Features); err != nil {
		return nil, err
	}
	store, err := features.Open(r.Features)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	if r.Note == nil {
		r.Note = func(string) {}
	}
	fitted, names, list, err := r.fit(ctx, store)
	if err != nil {
		return nil, err
	}
	about := componentsProvenance{Software: cmp.Or(r.Software, version.Software), Features: r.Features,
		Stimuli: len(store.Stimuli()), Time: r.Time, AverageTime: r.AverageTime}
	if text := store.Provenance(); json.Valid([]byte(text)) {
		about.Extraction = json.RawMessage(text)
	}
	if !store.Format().Folder() {
		if about.SHA256, err = disk.SHA256(ctx, r.Features); err != nil {
			return nil, err
		}
	}
	provenance, err := json.Marshal(about)
	if err != nil {
		return nil, err
	}
	return list, reduce.WritePCA(ctx, r.Output, names, fitted, string(provenance), r.Replace)
}

func (r *ComponentsRequest) fit(ctx context.Context, store *features.Store) (fitted map[string]*reduce.PCA,
	names []string, list []Components, err error) {
	wanted := r.Layers
	if len(wanted) == 0 {
		for _, l := range store.Layers() {
			wanted = append(wanted, l.Name)
		}
	}
	fitted = map[string]*reduce.PCA{}
	for _, name := range wanted {
		l, err := store.Layer(name)
		if err != nil {
			return nil, nil, nil, err
		}
		units := l.Units()
		if units <= r.Components {
			r.Note(fmt.Sprintf("layer %s has %d features, no more than components: it stays as it is", name, units))
			continue
		}
		rows, err := r.rows(ctx, store, l)
		if err != nil {
			return nil, nil, nil, err
		}
		pca, err := reduce.FitPCA(rows, l.Shape, r.Components)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("layer %s: %w", name, err)
		}
		c := Components{Layer: name, Features: units, Components: len(pca.Variances), FittedOn: len(rows) / units}
		if c.Components < r.Components {
			r.Note(fmt.Sprintf("layer %s: only %d components, since it is fitted on %d", name, c.Components, c.FittedOn))
		}
		for _, ratio := range pca.Ratios {
			c.Explained += ratio
		}
		fitted[name], names, list = pca, append(names, name), append(list, c)
	}
	return fitted, names, list, nil
}

// timesteps are those that components of a layer are fitted on.
func (r *ComponentsRequest) timesteps(l features.LayerInfo) (timesteps []int, err error) {
	for i, t := range l.Timesteps {
		ms := l.Milliseconds[i]
		if (l.Driven == nil || l.Driven[i]) && (r.From == nil || ms >= *r.From) &&
			(r.To == nil || ms+features.MillisecondsPerTimestep <= *r.To) {
			timesteps = append(timesteps, t)
		}
	}
	if len(timesteps) == 0 {
		return nil, fmt.Errorf("%w: layer %s has no driven timestep in that time", ErrReduction, l.Name)
	}
	return timesteps, nil
}

// rows returns what components of a layer are fitted on, [rows, units].
func (r *ComponentsRequest) rows(ctx context.Context, store *features.Store, l features.LayerInfo) ([]float32, error) {
	timesteps, err := r.timesteps(l)
	if err != nil {
		return nil, err
	}
	count := len(store.Stimuli())
	if !r.AverageTime {
		count *= len(timesteps)
	}
	if count > reduce.MostRows {
		return nil, fmt.Errorf("layer %s: %w: %d stimuli at %d timesteps are %d, and %d are the most", l.Name, ErrManyRows,
			len(store.Stimuli()), len(timesteps), count, reduce.MostRows)
	}
	valid, units := store.Valid(), l.Units()
	var rows []float32
	for i := range store.Stimuli() {
		if valid != nil && !valid[i] {
			continue
		}
		values, err := store.Read(ctx, l.Name, i, 1, timesteps)
		if err != nil {
			return nil, err
		}
		if !r.AverageTime {
			rows = append(rows, values...)
			continue
		}
		for u := range units {
			sum := 0.0
			for t := range timesteps {
				sum += float64(values[t*units+u])
			}
			rows = append(rows, float32(sum/float64(len(timesteps))))
		}
	}
	return rows, nil
}
