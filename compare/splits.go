package compare

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/internal/numpyrandom"
)

// ErrSplits means that stimuli cannot be split as asked for.
var ErrSplits = errors.New("impossible splits")

// ErrStrata means strata that cannot be kept in all parts of a split. It is ErrSplits.
var ErrStrata = fmt.Errorf("%w", ErrSplits)

// Split is one division of stimuli, by their positions, into those that a mapping is
// fitted on and those that it is scored on.
type Split struct{ Train, Test []int }

// Splits says how stimuli are split. The zero value is Brain-Score's default without
// strata: 10 random splits, nine tenths of the stimuli for training, seed 1.
type Splits struct {
	// Count is the number of splits or folds; 0 means 10.
	Count int
	// TrainFraction is the part of the stimuli to train on: ⌊fraction·n⌋ of them. 0 means
	// 0.9. Folds do not need it.
	TrainFraction float64
	// TestFraction, if not 0, is used instead: ⌈fraction·n⌉ stimuli are for testing.
	TestFraction float64
	// Seed is that of NumPy's RandomState; nil means 1.
	Seed *uint32
	// OwnSeeds draws split s from RandomState(s), with the first ⌈TrainFraction·n⌉ stimuli
	// for training, as the ConvRNN authors' code does (5 splits, 0.8). Seed is not used.
	OwnSeeds bool
	// Folds divides the stimuli into Count parts, of which each is the test set once.
	Folds bool
	// InOrder leaves the stimuli of folds in their order; otherwise they are shuffled.
	InOrder bool

	numeric bool // strata are numbers, and sorted as such
}

// mostSplits bounds splits × stimuli.
const mostSplits = 1e8

func (s Splits) count() int { return cmp.Or(s.Count, 10) }

func (s Splits) seed() uint32 {
	if s.Seed == nil {
		return 1
	}
	return *s.Seed
}

// Of returns splits of n stimuli. With strata, the label of each stimulus, all parts
// have the labels in about the same proportions. They are bit for bit the splits of
// scikit-learn's ShuffleSplit, StratifiedShuffleSplit, KFold and StratifiedKFold. The
// error wraps ErrSplits.
func (s Splits) Of(n int, strata []string) ([]Split, error) {
	count := s.count()
	if strata != nil && len(strata) != n {
		return nil, fmt.Errorf("%w: %d labels of %d stimuli", ErrSplits, len(strata), n)
	}
	if float64(count)*float64(n) > mostSplits {
		return nil, fmt.Errorf("%w: %d splits of %d stimuli are more than fit into memory", ErrSplits, count, n)
	}
	if count < 1 || s.Folds && (count < 2 || count > n) {
		return nil, fmt.Errorf("%w: %d splits of %d stimuli", ErrSplits, count, n)
	}
	if s.OwnSeeds {
		return s.ownSeeds(n, count, strata)
	}
	if s.Folds {
		return s.folds(n, count, strata)
	}
	train, test, err := s.sizes(n)
	if err != nil {
		return nil, err
	}
	random := numpyrandom.NewState(s.seed())
	if strata != nil {
		return stratifiedShuffles(random, count, train, test, strata, s.numeric)
	}
	splits := make([]Split, count)
	for i := range splits {
		p := random.Permutation(n)
		splits[i] = Split{Test: p[:test:test], Train: p[test : test+train]}
	}
	return splits, nil
}

func (s Splits) ownSeeds(n, count int, strata []string) ([]Split, error) {
	train := int(math.Ceil(s.TrainFraction * float64(n)))
	if s.Folds || strata != nil || train < 1 || train >= n {
		return nil, fmt.Errorf(
			"%w: splits with seeds of their own have no folds and strata, and %d of %d stimuli to train on", ErrSplits, train, n)
	}
	var splits []Split
	for seed := range count {
		p := numpyrandom.NewState(uint32(seed)).Permutation(n)
		splits = append(splits, Split{Train: p[:train:train], Test: p[train:]})
	}
	return splits, nil
}

func (s Splits) sizes(n int) (train, test int, err error) {
	switch {
	case s.TestFraction != 0:
		test = int(math.Ceil(s.TestFraction * float64(n)))
		train = n - test
	case s.TrainFraction != 0:
		train = int(s.TrainFraction * float64(n))
		test = n - train
	default:
		train = int(0.9 * float64(n))
		test = n - train
	}
	if train < 1 || test < 1 || train >= n || test >= n {
		return 0, 0, fmt.Errorf("%w: %d stimuli give %d to train on and %d to test on", ErrSplits, n, train, test)
	}
	return train, test, nil
}

func stratifiedShuffles(random *numpyrandom.State, count, train, test int, strata []string, numeric bool) ([]Split,
	error) {
	labels := slices.Compact(slices.SortedFunc(slices.Values(strata), textOrder(numeric)))
	members := make([][]int, len(labels))
	for i, label := range strata {
		at, _ := slices.BinarySearchFunc(labels, label, textOrder(numeric))
		members[at] = append(members[at], i)
	}
	counts := make([]int, len(labels))
	for i, m := range members {
		if counts[i] = len(m); len(m) < 2 {
			return nil, fmt.Errorf("%w: only one stimulus is of %q; strata need two", ErrStrata, labels[i])
		}
	}
	if train < len(labels) || test < len(labels) {
		return nil, fmt.Errorf("%w: %d strata do not fit into %d stimuli to train on and %d to test on", ErrStrata,
			len(labels), train, test)
	}
	splits := make([]Split, count)
	for i := range splits {
		ofTrain := mode(random, counts, train)
		left := make([]int, len(counts))
		for j := range counts {
			left[j] = counts[j] - ofTrain[j]
		}
		ofTest := mode(random, left, test)
		var trained, tested []int
		for j, m := range members {
			p := random.Permutation(len(m))
			for _, at := range p[:ofTrain[j]] {
				trained = append(trained, m[at])
			}
			for _, at := range p[ofTrain[j] : ofTrain[j]+ofTest[j]] {
				tested = append(tested, m[at])
			}
		}
		splits[i] = Split{Train: permuted(random, trained), Test: permuted(random, tested)}
	}
	return splits, nil
}

// textOrder orders texts by code point, or by the numbers that they all are.
func textOrder(numeric bool) func(a, b string) int {
	if !numeric {
		return strings.Compare
	}
	return func(a, b string) int {
		x, _ := strconv.ParseFloat(a, 64)
		y, _ := strconv.ParseFloat(b, 64)
		return cmp.Compare(x, y)
	}
}

func permuted(random *numpyrandom.State, values []int) []int {
	result := make([]int, len(values))
	for i, at := range random.Permutation(len(values)) {
		result[i] = values[at]
	}
	return result
}

// mode returns about the most probable numbers of items of each class among m that are
// drawn: the whole parts of the expected numbers, and one more where the remainders
// are largest, of equal ones by chance (scikit-learn's _approximate_mode).
func mode(random *numpyrandom.State, counts []int, m int) []int {
	sum := 0
	for _, c := range counts {
		sum += c
	}
	result, remainders := make([]int, len(counts)), make([]float64, len(counts))
	missing := m
	for i, c := range counts {
		// As NumPy: counts / sum * m.
		expected := float64(c) / float64(sum) * float64(m)
		result[i] = int(math.Floor(expected))
		remainders[i] = expected - math.Floor(expected)
		missing -= result[i]
	}
	if missing <= 0 {
		return result
	}
	distinct := slices.Compact(slices.Sorted(slices.Values(remainders)))
	for _, value := range slices.Backward(distinct) {
		var tied []int
		for i, r := range remainders {
			if r == value {
				tied = append(tied, i)
			}
		}
		chosen := min(len(tied), missing)
		for _, at := range random.Choose(len(tied), chosen) {
			result[tied[at]]++
		}
		if missing -= chosen; missing == 0 {
			break
		}
	}
	return result
}

func (s Splits) folds(n, count int, strata []string) ([]Split, error) {
	fold := make([]int, n) // of each stimulus
	switch {
	case strata != nil && s.InOrder:
		return nil, fmt.Errorf("%w: folds with strata are shuffled", ErrSplits)
	case strata != nil:
		if err := s.stratifiedFolds(fold, count, strata); err != nil {
			return nil, err
		}
	default:
		order := make([]int, n)
		for i := range order {
			order[i] = i
		}
		if !s.InOrder {
			order = numpyrandom.NewState(s.seed()).Permutation(n)
		}
		at := 0
		for i := range count {
			for range (n + count - 1 - i) / count {
				fold[order[at]] = i
				at++
			}
		}
	}
	splits := make([]Split, count)
	for i, f := range fold {
		for j := range splits {
			if f == j {
				splits[j].Test = append(splits[j].Test, i)
			} else {
				splits[j].Train = append(splits[j].Train, i)
			}
		}
	}
	return splits, nil
}

// stratifiedFolds deals the members of each label to folds, as StratifiedKFold.
func (s Splits) stratifiedFolds(fold []int, count int, strata []string) error {
	numbers := map[string]int{} // labels, numbered by their first appearance
	encoded := make([]int, len(strata))
	for i, label := range strata {
		if _, ok := numbers[label]; !ok {
			numbers[label] = len(numbers)
		}
		encoded[i] = numbers[label]
	}
	sorted := slices.Sorted(slices.Values(encoded))
	allocation := make([][]int, len(numbers)) // of a label to a fold
	most := 0
	for c := range allocation {
		allocation[c] = make([]int, count)
	}
	for i, c := range sorted {
		allocation[c][i%count]++
	}
	random := numpyrandom.NewState(s.seed())
	for c, each := range allocation {
		var folds []int
		for f, times := range each {
			folds = append(folds, slices.Repeat([]int{f}, times)...)
		}
		most = max(most, len(folds))
		random.Shuffle(len(folds), func(i, j int) { folds[i], folds[j] = folds[j], folds[i] })
		next := 0
		for i, e := range encoded {
			if e == c {
				fold[i] = folds[next]
				next++
			}
		}
	}
	if most < count {
		return fmt.Errorf("%w: no label has %d stimuli, one for each fold", ErrSplits, count)
	}
	return nil
}
