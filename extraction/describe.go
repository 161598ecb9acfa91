package extraction

import (
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Description says what an output holds.
type Description struct {
	Format features.Format `json:"format"`
	// Bytes is the size of the output; for Zarr, which compresses, the most.
	Bytes        int64  `json:"bytes"`
	Model        string `json:"model"`
	Presentation string `json:"presentation"`
	// Times is the number of timesteps of the presentation.
	Times int `json:"times"`
	// Matrices is the number of Gram matrices, of an output of them; Bytes counts the store of the features too.
	Matrices int                `json:"matrices,omitempty"`
	Stimuli  int                `json:"stimuli"`
	Arrays   []ArrayDescription `json:"arrays"`
}

// ArrayDescription describes an array with a row for each stimulus.
type ArrayDescription struct {
	Name      string            `json:"name"`
	DataType  features.DataType `json:"data_type"`
	Shape     []int             `json:"shape"`
	Timesteps []int             `json:"timesteps,omitempty"`
	// Selection is the units taken, where not all are.
	Selection *tfconvrnn.Selection `json:"selection,omitempty"`
	Reduction string               `json:"reduction,omitempty"`
}

// Describe describes the output.
func (d *Draft) Describe() Description { return d.recipe.describe(d.layout, d.size) }

// Describe describes the output.
func (p *Plan) Describe() Description { return p.Recipe.describe(p.layout, p.Size()) }

func (r *Recipe) describe(layout *features.Layout, size int64) Description {
	d := Description{Format: r.Format, Bytes: size, Model: r.Model, Presentation: r.Presentation.String(),
		Stimuli: layout.Rows}
	if info, err := savedmodels.Lookup(r.Model); err == nil { // as it was when the recipe was made
		d.Times = r.Presentation.Times(info)
	}
	d.Matrices, _, _ = r.checkGrams(layout) // which was checked before
	for _, s := range layout.Streamed {
		a := ArrayDescription{Name: s.Name, DataType: s.DataType, Shape: append([]int{layout.Rows}, s.RowShape...),
			Reduction: r.Provenance.Reductions[s.Name]}
		if s.Layer != nil {
			a.Timesteps, a.Selection = s.Layer.Timesteps, (*tfconvrnn.Selection)(s.Layer.Selection)
		}
		d.Arrays = append(d.Arrays, a)
	}
	return d
}
