package stimuli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Kinds of columns.
const (
	TextColumn    = "text"
	WholeColumn   = "int64"
	DecimalColumn = "float64"
	BooleanColumn = "bool"
)

// missingCells stand for no value among numbers, as pandas reads them.
var missingCells = map[string]bool{
	"": true, "#N/A": true, "#N/A N/A": true, "#NA": true, "-1.#IND": true, "-1.#QNAN": true, "-NaN": true, "-nan": true,
	"1.#IND": true, "1.#QNAN": true, "<NA>": true, "N/A": true, "NA": true, "NULL": true, "NaN": true, "None": true,
	"n/a": true, "nan": true, "null": true,
}

func missingCell(v string) bool { return missingCells[v] || strings.EqualFold(v, "nan") }

// padded tells numbers that are rather codes, such as 007.
func padded(v string) bool {
	digits := strings.TrimLeft(v, "+-")
	return len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9'
}

func wholeCell(v string) (int64, bool) {
	n, err := strconv.ParseInt(v, 10, 64)
	return n, err == nil && !padded(v) && v != "-0"
}

func decimalCell(v string) (float64, bool) {
	n, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return n, false
	}
	if math.IsInf(n, 0) {
		return n, true // it was written so: what is too large is an error
	}
	exact := strings.ContainsAny(v, ".eE") || math.Abs(n) <= 1<<53
	return n, !padded(v) && exact && strings.Trim(v, "0123456789+-.eE") == ""
}

// commaCell is decimalCell of a number whose decimal sign is the comma.
func commaCell(v string) (float64, bool) {
	if strings.Count(v, ",") != 1 || strings.Contains(v, ".") {
		return 0, false
	}
	return decimalCell(strings.Replace(v, ",", ".", 1))
}

// booleanCell reads True and False in whatever case, as pandas does.
func booleanCell(v string) (value, ok bool) {
	lower := strings.ToLower(v)
	return lower == "true", lower == "true" || lower == "false"
}

// tooLarge tells numbers that neither int64 nor float64 holds as they are written, such
// as 9223372036854775808 and 1e400.
func tooLarge(v string) bool {
	n, err := strconv.ParseFloat(v, 64)
	return (err == nil || errors.Is(err, strconv.ErrRange)) && math.Abs(n) > 1<<53 && !padded(v) &&
		strings.Trim(v, "0123456789+-.eE") == ""
}

// cellCount counts the cells of some form, and remembers one.
type cellCount struct {
	n     int
	cell  string
	where string
}

func (c *cellCount) add(cell, where string) {
	if c.n++; c.n == 1 {
		c.cell, c.where = cell, where
	}
}

// columnCells is what the cells of a column seen so far are.
type columnCells struct {
	missing, whole, point, comma, boolean, other cellCount
	long                                         cellCount // of the whole ones: beyond what float64 holds exactly
	large                                        cellCount // of the others: numbers that are too large
}

// add takes a cell into account. comma says whether its table may write numbers with
// decimal commas.
func (k *columnCells) add(cell, where string, comma bool) {
	v := strings.TrimSpace(cell)
	if missingCell(v) {
		k.missing.add(cell, where)
		return
	}
	if n, ok := wholeCell(v); ok {
		k.whole.add(cell, where)
		if n > 1<<53 || n < -1<<53 {
			k.long.add(cell, where)
		}
	} else if _, ok := decimalCell(v); ok {
		k.point.add(cell, where)
	} else if _, ok := commaCell(v); ok && comma {
		k.comma.add(cell, where)
	} else if _, ok := booleanCell(v); ok {
		k.boolean.add(cell, where)
	} else {
		k.other.add(cell, where)
		if tooLarge(v) {
			k.large.add(cell, where)
		}
	}
}

func (k *columnCells) count() int {
	return k.missing.n + k.whole.n + k.point.n + k.comma.n + k.boolean.n + k.other.n
}

func (k *columnCells) numbers() int { return k.whole.n + k.point.n + k.comma.n }

// kind says what the column is: numbers if all cells that are not missing are, and
// then whole ones if none is missing; booleans if all are; else text. Whole numbers that
// would have to become float64 beside other cells, and would change, stay text too.
func (k *columnCells) kind() string {
	n := k.count()
	switch {
	case k.whole.n == n:
		return WholeColumn
	case k.boolean.n == n:
		return BooleanColumn
	case k.numbers() == 0 || k.numbers()+k.missing.n < n || k.point.n > 0 && k.comma.n > 0, k.long.n > 0:
		return TextColumn
	}
	return DecimalColumn
}

// surprise says why a column is text, or read in a way that not everybody expects; ""
// where there is nothing to say.
func (k *columnCells) surprise(name string) string {
	of := func(c cellCount) string {
		if c.where == "" {
			return fmt.Sprintf("%q", c.cell)
		}
		return fmt.Sprintf("%q (%s)", c.cell, c.where)
	}
	numbers, n := k.numbers(), k.count()
	switch kind := k.kind(); {
	case kind == DecimalColumn && k.comma.n > 0:
		return fmt.Sprintf("column %q holds numbers with decimal commas, such as %s", name, of(k.comma))
	case kind != TextColumn:
		return ""
	case k.large.n > 0 && numbers+k.missing.n+k.large.n == n:
		return fmt.Sprintf("column %q is text, not numbers: %s is too large for int64 and float64", name, of(k.large))
	case k.long.n > 0 && numbers+k.missing.n == n:
		return fmt.Sprintf("column %q is text, not numbers: with cells that are missing or decimal it would be float64, which does not hold %s exactly",
			name, of(k.long))
	case numbers > 0 && k.boolean.n+k.other.n == 0:
		return fmt.Sprintf("column %q is text, not numbers: it has decimal points, as in %s, and decimal commas, as in %s",
			name, of(k.point), of(k.comma))
	case 2*numbers > n-k.missing.n:
		bad := k.other
		if bad.n == 0 {
			bad = k.boolean
		}
		return fmt.Sprintf("column %q is text, not numbers, since %s is none, and in all %d of %d cells", name, of(bad),
			k.boolean.n+k.other.n, n)
	case 2*k.boolean.n > n:
		bad := k.missing
		for _, c := range []cellCount{k.whole, k.point, k.comma, k.other} {
			if c.n > 0 {
				bad = c
			}
		}
		return fmt.Sprintf("column %q is text, not True and False, since %s is neither, and in all %d of %d cells", name,
			of(bad), n-k.boolean.n, n)
	}
	return ""
}

// columnKinds follows the columns of everything that is found.
type columnKinds struct {
	names   []string
	cells   []columnCells
	folders bool // the column class holds folders' names
	count   int

	// Stimuli of one input share the slice of their columns' names.
	last   []string
	lastAt []int
}

func (c *columnKinds) add(f *found) {
	if len(f.names) > 0 && (len(c.last) != len(f.names) || &c.last[0] != &f.names[0]) {
		c.last, c.lastAt = f.names, c.lastAt[:0]
		for _, name := range f.names {
			c.lastAt = append(c.lastAt, c.at(name))
		}
	}
	c.folders = c.folders || len(f.names) > 0 && !f.fromTable
	for i, cell := range f.cells {
		c.cells[c.lastAt[i]].add(cell, f.where, f.comma)
	}
	c.count++
	for i := range c.cells {
		if c.cells[i].count() < c.count { // it has no such column
			c.cells[i].add("", f.where, false)
		}
	}
}

// at returns the position of a column, which those before did not have.
func (c *columnKinds) at(name string) int {
	for i, known := range c.names {
		if known == name {
			return i
		}
	}
	c.names = append(c.names, name)
	c.cells = append(c.cells, columnCells{missing: cellCount{n: c.count}})
	return len(c.names) - 1
}

// kinds returns the kinds of all columns. Folders' names are text, whatever they are.
func (c *columnKinds) kinds() []string {
	list := make([]string, len(c.names))
	for i, name := range c.names {
		if list[i] = c.cells[i].kind(); name == classColumn && c.folders {
			list[i] = TextColumn
		}
	}
	return list
}

// warn says what of the columns may surprise.
func (c *columnKinds) warn(s *session) {
	for i, name := range c.names {
		if message := c.cells[i].surprise(name); message != "" && !(name == classColumn && c.folders) {
			s.warn("%s", message)
		}
	}
}

// Whole reads a cell of a WholeColumn.
func Whole(cell string) int64 {
	n, _ := wholeCell(strings.TrimSpace(cell))
	return n
}

// Decimal reads a cell of a DecimalColumn; one without a number is NaN.
func Decimal(cell string) float64 {
	v := strings.TrimSpace(cell)
	if missingCell(v) {
		return math.NaN()
	}
	n, ok := decimalCell(v)
	if !ok {
		n, _ = commaCell(v)
	}
	return n
}

// Boolean reads a cell of a BooleanColumn.
func Boolean(cell string) bool {
	value, _ := booleanCell(strings.TrimSpace(cell))
	return value
}

// typed makes a column's values of its cells.
func typed(cells []string, kind string) any {
	switch kind {
	case WholeColumn:
		return each(cells, Whole)
	case DecimalColumn:
		return each(cells, Decimal)
	case BooleanColumn:
		return each(cells, Boolean)
	}
	return cells
}

func each[T any](cells []string, read func(string) T) []T {
	values := make([]T, len(cells))
	for i, cell := range cells {
		values[i] = read(cell)
	}
	return values
}
