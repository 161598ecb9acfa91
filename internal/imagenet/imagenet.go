// Package imagenet names the 1000 classes of the ImageNet challenge.
//
// The names are WordNet's (WordNet 3.0, copyright 2006 by Princeton University; see
// LICENSE.WordNet). The order is that of the sorted WordNet ids: the usual one,
// though the models' authors do not state theirs.
package imagenet

import (
	"cmp"
	_ "embed"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/tfconvrnn/go/internal/dimensions"
)

//go:embed classes.tsv
var table string

// Classes is the number of classes.
const Classes = dimensions.Classes

// Class is a class of the ImageNet challenge.
type Class struct {
	// WordNetID is the synset's id, such as n01440764.
	WordNetID string `json:"wordnet_id"`
	// Names are its words, separated by commas, the commonest first.
	Names string `json:"names"`
}

// Name returns the first of the class's names.
func (c Class) Name() string {
	name, _, _ := strings.Cut(c.Names, ",")
	return name
}

var classes = sync.OnceValue(func() []Class {
	lines := strings.Split(strings.TrimSpace(table), "\n")[1:] // without the heading
	list := make([]Class, len(lines))
	for i, line := range lines {
		fields := strings.Split(line, "\t")
		list[i] = Class{WordNetID: fields[1], Names: fields[2]}
	}
	return list
})

// At returns the class of an index of the models' outputs, 0 … Classes-1.
func At(index int) Class { return classes()[index] }

// Probability is a class with its softmax.
type Probability struct {
	Index int `json:"index"`
	Class
	Probability float64 `json:"probability"`
}

// Top returns the n classes of the largest softmax of logits, the lower index first where
// they are equal.
func Top(logits []float32, n int) []Probability {
	largest := float64(slices.Max(logits))
	var sum float64
	list := make([]Probability, len(logits))
	for i, v := range logits {
		e := math.Exp(float64(v) - largest)
		sum += e
		list[i] = Probability{Index: i, Class: At(i), Probability: e}
	}
	slices.SortStableFunc(list, func(a, b Probability) int { return cmp.Compare(b.Probability, a.Probability) })
	list = list[:min(n, len(list))]
	for i := range list {
		list[i].Probability /= sum
	}
	return list
}
