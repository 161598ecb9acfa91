package weights

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/internal/bundle"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// ErrMismatch is wrapped by [*MismatchError].
var ErrMismatch = errors.New("checkpoint does not fit the model")

// MismatchError lists every difference between the variables of a checkpoint and those of a model.
// All lists are sorted by name.
type MismatchError struct {
	Prefix    string     // of the checkpoint
	Missing   []Variable // the model has them, the checkpoint lacks them
	Extra     []Found    // the checkpoint has them, the model lacks them
	Misshapen []Found    // both have them, in different shapes; Want is set
	Mistyped  []Found    // of a type that does not hold real numbers
	Found     []Found    // all that the checkpoint holds, but slots and global_step
}

// Found is a variable of a checkpoint.
type Found struct {
	Name  string
	Shape []int64
	Type  tfpb.DataType
	Want  []int // the model's shape
}

// Error lists all differences, so it may be long.
func (e *MismatchError) Error() string {
	var parts []string
	list := func(count int, what string, describe func(i int) string) {
		if count == 0 {
			return
		}
		items := make([]string, count)
		for i := range items {
			items[i] = describe(i)
		}
		parts = append(parts, fmt.Sprintf("%d %s: %s", count, what, strings.Join(items, ", ")))
	}
	list(len(e.Missing), "missing", func(i int) string {
		return e.Missing[i].Name + " " + shapeString(e.Missing[i].Shape)
	})
	list(len(e.Extra), "unknown to the model", func(i int) string {
		return fmt.Sprintf("%s %s", e.Extra[i].Name, shape64String(e.Extra[i].Shape))
	})
	list(len(e.Misshapen), "of another shape", func(i int) string {
		f := e.Misshapen[i]
		return fmt.Sprintf("%s %s instead of %s", f.Name, shape64String(f.Shape), shapeString(f.Want))
	})
	list(len(e.Mistyped), "of a type that cannot be used", func(i int) string {
		return fmt.Sprintf("%s %v", e.Mistyped[i].Name, e.Mistyped[i].Type)
	})
	return fmt.Sprintf("%v: %s (is it the checkpoint of another model?): %s", ErrMismatch, e.Prefix,
		strings.Join(parts, "; "))
}

// Unwrap returns [ErrMismatch].
func (e *MismatchError) Unwrap() error { return ErrMismatch }

// Fits says whether the checkpoint holds exactly the variables of another model, so that a caller
// who knows several can say which one the checkpoint belongs to.
func (e *MismatchError) Fits(expected []Variable) bool {
	variables := index(expected)
	if len(variables) != len(e.Found) {
		return false
	}
	for _, f := range e.Found {
		v, ok := variables[f.Name]
		if !ok || !sameShape(v.Shape, f.Shape) {
			return false
		}
	}
	return true
}

// slotNames are the last components of the names that TensorFlow 1's optimizers give the variables
// they keep for each trained one. A second slot of the same optimizer gets a suffix such as "_1".
var slotNames = map[string]bool{
	"Momentum": true, "LARSOptimizer": true, // momentum
	"Adam": true, "AdaMax": true, "AdamW": true, "adam_m": true, "adam_v": true, "LazyAdam": true, "NadamOptimizer": true,
	"RMSProp": true, "Adagrad": true, "AdagradDA": true, "Adadelta": true, "Ftrl": true, "ProximalAdagrad": true,
}

// isSlot says whether name is an optimizer's slot of a variable that known holds. Optimizers that
// were made inside a variable scope put it in front once more.
func isSlot(name string, known func(string) bool) bool {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return false
	}
	of, slot := name[:i], name[i+1:]
	if !slotNames[slot] && !slotNames[strings.TrimRight(strings.TrimRight(slot, "0123456789"), "_")] {
		return false
	}
	for {
		if known(of) {
			return true
		}
		j := strings.IndexByte(of, '/')
		if j < 0 {
			return false
		}
		of = of[j+1:]
	}
}

// isBookkeeping says whether name is a training step counter or a counter that Adam keeps for all
// variables together.
func isBookkeeping(name string) bool {
	switch name[strings.LastIndexByte(name, '/')+1:] {
	case "global_step", "beta1_power", "beta2_power":
		return true
	}
	return false
}

// MatchIndex checks what the index of a checkpoint says against the expected variables, as
// [OpenCheckpoint] does, without the checkpoint's data. The error is a [*MismatchError].
func MatchIndex(prefix string, i *bundle.Index, expected []Variable) error {
	return match(prefix, i.Entries, index(expected))
}

// match compares a checkpoint with a model.
func match(prefix string, entries []bundle.Entry, expected map[string]Variable) error {
	stored := make(map[string]bool, len(entries))
	for _, e := range entries {
		stored[e.Name] = true
	}
	known := func(name string) bool {
		_, ok := expected[name]
		return ok || stored[name]
	}

	mismatch := &MismatchError{Prefix: prefix}
	for _, e := range entries {
		v, wanted := expected[e.Name]
		if !wanted && (isBookkeeping(e.Name) || isSlot(e.Name, known)) {
			continue
		}
		found := Found{Name: e.Name, Shape: e.Shape, Type: e.DataType, Want: v.Shape}
		mismatch.Found = append(mismatch.Found, found)
		switch {
		case !wanted:
			mismatch.Extra = append(mismatch.Extra, found)
		case !sameShape(v.Shape, e.Shape):
			mismatch.Misshapen = append(mismatch.Misshapen, found)
		case !bundle.Readable(e.DataType):
			mismatch.Mistyped = append(mismatch.Mistyped, found)
		}
	}
	for _, v := range expected {
		if !stored[v.Name] {
			mismatch.Missing = append(mismatch.Missing, v)
		}
	}
	slices.SortFunc(mismatch.Missing, func(a, b Variable) int { return strings.Compare(a.Name, b.Name) })
	if len(mismatch.Missing)+len(mismatch.Extra)+len(mismatch.Misshapen)+len(mismatch.Mistyped) > 0 {
		return mismatch
	}
	return nil
}

func sameShape(want []int, got []int64) bool {
	return slices.EqualFunc(want, got, func(a int, b int64) bool { return int64(a) == b })
}

func shape64String(shape []int64) string {
	ints := make([]int, len(shape))
	for i, d := range shape {
		ints[i] = int(d)
	}
	return shapeString(ints)
}
