package evaluation

import (
	"fmt"
	"slices"

	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// ValidationImages is the number of pictures that published accuracies are of:
// ImageNet's validation set (ILSVRC2012), perClass of each class.
const ValidationImages = 50000

const perClass = 50

// How says how an evaluation is made.
type How struct {
	Model savedmodels.Model
	// Presentation is resolved.
	Presentation  tfconvrnn.Presentation
	Preprocessing tfconvrnn.Preprocessing
	// Untrained says that no training produced the weights.
	Untrained bool
}

// Differences returns, in words, what makes an evaluation one of something else than
// the published accuracies of the model. There are none if the whole set (whatever
// Set.Limit leaves of it) is made up as the validation set is, and trained weights see
// it in the default presentation with the default preprocessing.
func (h How) Differences(set *Set) []string {
	var list []string
	if h.Untrained {
		list = append(list, "the weights are untrained")
	}
	usual, err := tfconvrnn.Default().Resolve(h.Model)
	if err != nil || !slices.Equal(h.Presentation.Schedule(1), usual.Schedule(1)) {
		list = append(list, fmt.Sprintf("the presentation is not the one of training, but %s", h.Presentation))
	} else if h.Presentation.Blank().String() != usual.Blank().String() {
		list = append(list, fmt.Sprintf("the blank is not the published one, but %s", h.Presentation.Blank()))
	}
	if p := h.Preprocessing.String(); p != (tfconvrnn.Preprocessing{}).String() {
		list = append(list, fmt.Sprintf("the preprocessing is not the default, but %s", p))
	}
	if set.Among != nil {
		list = append(list, fmt.Sprintf("the likeliest class is chosen among %d, not among all 1000", len(set.Among)))
	}
	counts := set.labelled()
	if slices.Min(counts) != perClass || slices.Max(counts) != perClass {
		list = append(list,
			fmt.Sprintf("the pictures are not those of the validation set, which has %d of each of the 1000 classes", perClass))
	}
	return list
}
