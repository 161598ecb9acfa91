package extraction

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/parallel"
	"github.com/tfconvrnn/go/internal/storage"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/recordings"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// GramSuffix is what the names of folders of Gram matrices end in by convention.
const GramSuffix = ".grams"

// Grams makes the output a folder of the Gram matrices of the features, which comparing needs instead of them; see
// compare.MakeGrams. A product of two stimuli needs the features of both, so the features come first: into a Zarr store
// beside the output, which workers write in chunks as any other. When it is complete, workers make the matrices of it.
type Grams struct {
	// Windows are spans of time of whose mean features there is a matrix too; there is one of each timestep always.
	Windows []compare.Bin `json:"windows,omitempty"`
	// KeepFeatures leaves the store there. It is removed otherwise when the output is sealed.
	KeepFeatures bool `json:"keep_features,omitempty"`
}

// FeaturesOutput is the path or URL of the Zarr store that workers write: the output, or of Gram matrices that which
// is beside it.
func (r *Recipe) FeaturesOutput() string {
	if r.Grams == nil {
		return r.Output
	}
	return r.Output + features.Zarr.Suffix()
}

// checkGrams finds out what can be wrong with matrices of a layout, how many there are and what they take.
func (r *Recipe) checkGrams(layout *features.Layout) (matrices int, size int64, err error) {
	if r.Grams == nil {
		return 0, 0, nil
	}
	matrices, size, err = compare.GramFolderSize(recordings.LayersOf(layout), r.Grams.Windows, layout.Rows)
	if err != nil {
		err = fmt.Errorf("%w: %s", tfconvrnn.ErrOption, strings.TrimPrefix(err.Error(), compare.ErrOptions.Error()+": "))
	}
	return matrices, size, err
}

// noteWindows tells of layers that have no matrix of a window.
func (d *Draft) noteWindows() {
	if d.recipe.Grams == nil || d.request.Inputs.Warn == nil {
		return
	}
	for _, note := range compare.WindowsLeftOut(recordings.LayersOf(d.layout), d.recipe.Grams.Windows) {
		d.request.Inputs.Warn(note)
	}
}

// Matrices is the number of Gram matrices that the plan makes.
func (p *Plan) Matrices() int { return p.matrices }

// end is where what the plan makes ends up.
func (p *Plan) end() *place {
	if p.grams != nil {
		return p.grams
	}
	return p.place
}

// beginGrams is place.begin for both the features and the matrices. Features that are complete stay.
func (p *Plan) beginGrams(ctx context.Context, own claim, fresh bool, mayDiscard func(claim) bool) error {
	complete := false
	if !fresh {
		if _, err := p.Sealed(ctx); err == nil {
			return nil
		}
		if _, err := os.Lstat(p.Output); err == nil {
			return fmt.Errorf("%s: %w", p.Output, features.ErrExists)
		}
		seal, err := readSeal(ctx, p.place.final)
		if complete = err == nil && seal.Plan == p.hash; err == nil && !complete {
			return fmt.Errorf("%s, where the features go until there are matrices of them: %w", p.FeaturesOutput(),
				features.ErrExists)
		}
	}
	if !complete {
		if err := p.place.begin(ctx, own, fresh, mayDiscard); err != nil {
			return err
		}
	}
	displaced := p.place.displaced
	if err := p.grams.begin(ctx, own, fresh, func(claim) bool { return true }); err != nil {
		return err
	}
	for _, name := range p.grams.displaced {
		if !slices.Contains(displaced, name) {
			displaced = append(displaced, name)
		}
	}
	p.place.displaced = displaced
	return nil
}

// workGrams makes the matrices of a shard that are not there, when all features are.
func (p *Plan) workGrams(ctx context.Context, index, count int, o WorkOptions, worked *Worked) error {
	made, err := p.makeShard(ctx, index, count, o, worked)
	if err != nil || made == nil {
		worked.Sealed, err = p.sealedMeanwhile(ctx, err)
		return err
	}
	worked.Matrices, worked.MatricesMissing = made.Made, made.Missing
	return nil
}

// makeShard returns nil where the features of other shards are missing.
func (p *Plan) makeShard(ctx context.Context, index, count int, o WorkOptions, worked *Worked) (*compare.GramsMade,
	error) {
	if err := p.readyAt(ctx, p.grams); err != nil {
		return nil, err
	}
	if _, err := p.sealedAt(ctx, p.place); errors.Is(err, fs.ErrNotExist) {
		missing, err := p.Missing(ctx, 0, p.Chunks())
		if worked.Awaited = len(missing); err != nil || len(missing) > 0 {
			return nil, err
		}
		if _, err := p.finishStore(ctx, nil); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	return p.makeGrams(ctx, index, count, o.Multiplied)
}

// sealedMeanwhile turns an error that comes of another process's having finished into none.
func (p *Plan) sealedMeanwhile(ctx context.Context, err error) (bool, error) {
	if err == nil {
		return false, nil
	}
	if _, sealed := p.Sealed(ctx); sealed == nil {
		return true, nil
	}
	return false, p.explainGrams(ctx, err)
}

// explainGrams says what it means that folders have gone.
func (p *Plan) explainGrams(ctx context.Context, err error) error {
	if errors.Is(err, fs.ErrNotExist) && context.Cause(ctx) == nil {
		if ready := p.readyAt(ctx, p.grams); ready != nil {
			return ready
		}
		return fmt.Errorf("%s: %w (%w)", p.Output, errBegunAnew, err)
	}
	return features.DiskError(err)
}

// makeGrams makes the matrices of a shard of the complete features.
func (p *Plan) makeGrams(ctx context.Context, index, count int, progress func(done, of int64)) (*compare.GramsMade,
	error) {
	if p.Provenance.Software != version.Software {
		return nil, fmt.Errorf("%s: %w: software is %s in the plan, %s here; use the same on all machines, or plan anew",
			p.name, ErrModel, p.Provenance.Software, version.Software)
	}
	f, err := recordings.OpenFeatures(p.FeaturesOutput())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return compare.MakeGrams(ctx, p.grams.chunks.String(), f, compare.GramFolderOptions{
		Windows: p.Grams.Windows, Shard: index, Shards: count, About: f.Provenance(), Unfinished: p.grams.work.String(),
		Progress: progress,
	})
}

// finishGrams is Finish for Gram matrices: it seals the features, makes the matrices that are missing, reads all, and
// seals them.
func (p *Plan) finishGrams(ctx context.Context, progress func(chunks int), own ...*Worker) (*Finished, error) {
	finished, err := p.completeGrams(ctx, progress, own...)
	if err != nil {
		sealed, err := p.sealedMeanwhile(ctx, err)
		if !sealed {
			return nil, err
		}
		seal, err := p.Sealed(ctx)
		if err != nil {
			return nil, err
		}
		finished = &Finished{Seal: *seal, Already: true}
	}
	return finished, p.tidyGrams(ctx)
}

func (p *Plan) completeGrams(ctx context.Context, progress func(chunks int), own ...*Worker) (*Finished, error) {
	if err := p.readyAt(ctx, p.grams); err != nil { // sealed, say
		return nil, err
	}
	finished, err := p.finishStore(ctx, progress, own...)
	if err != nil {
		return nil, err
	}
	if _, err := p.makeGrams(ctx, 0, 1, func(done, _ int64) {
		if progress != nil {
			progress(p.Chunks() + int(done))
		}
	}); err != nil {
		return nil, err
	}
	seal, err := p.sealGrams(ctx)
	if err != nil {
		return nil, err
	}
	finished.Seal, finished.Already = *seal, false
	return finished, p.grams.publish(ctx, p.Replace)
}

// sealGrams writes the manifest and the seal of the matrices, which are all there.
func (p *Plan) sealGrams(ctx context.Context) (*Seal, error) {
	var names []string
	if err := p.grams.chunks.List(ctx, "", func(o object) error {
		if o.Name != manifestName && o.Name != sealName { // of a process that died here
			names = append(names, o.Name)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	slices.Sort(names)
	sums := make([]string, len(names))
	if err := parallel.Each(ctx, p.parallel, len(names), func(ctx context.Context, i int) (err error) {
		sums[i], _, err = hashObject(ctx, p.grams.chunks, names[i])
		return err
	}); err != nil {
		return nil, err
	}
	list, err := newManifest()
	if err != nil {
		return nil, err
	}
	defer list.close()
	for i, name := range names {
		if err := list.add(sums[i], name); err != nil {
			return nil, err
		}
	}
	file, err := list.rewind()
	if err == nil {
		err = p.grams.chunks.PutFrom(ctx, manifestName, file)
	}
	if err != nil {
		return nil, err
	}
	seal := &Seal{Plan: p.hash, Manifest: hex.EncodeToString(list.sum.Sum(nil)), Stimuli: p.Stimuli, Chunks: p.Chunks(),
		Files: list.count, Matrices: p.matrices}
	text, err := json.MarshalIndent(seal, "", "  ")
	if err != nil {
		return nil, err
	}
	return seal, p.grams.chunks.Put(ctx, sealName, append(text, '\n'))
}

// tidyGrams removes what only workers need, and the features, unless they are to stay.
func (p *Plan) tidyGrams(ctx context.Context) error {
	store := p.FeaturesOutput()
	if seal, err := readSeal(ctx, p.place.final); err == nil && seal.Plan == p.hash && !p.Grams.KeepFeatures {
		away := store + ".replaced" // which tidy removes, also if this ends before
		err := os.RemoveAll(away)
		if err == nil {
			err = os.Rename(store, away)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // gone by another process
			return err
		}
	}
	return errors.Join(p.place.tidy(ctx), p.grams.tidy(ctx))
}

// gramStatus adds how far the matrices are.
func (p *Plan) gramStatus(ctx context.Context, s *Status) error {
	s.Matrices = p.matrices
	err := p.grams.chunks.List(ctx, "", func(o object) error {
		if compare.IsGram(o.Name) {
			s.MatricesDone++
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// gramsInFolder refuses Gram matrices in an object store.
func (r *Recipe) gramsInFolder() error {
	if r.Grams != nil && storage.IsRemote(r.Output) {
		return fmt.Errorf("%w: Gram matrices are made in a folder, not in an object store: %s", tfconvrnn.ErrOption, r.Output)
	}
	return nil
}
