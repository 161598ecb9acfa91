package stimuli

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// wholeCell returns the whole number that a cell is; a number would be printed alike.
func wholeCell(v string) (int64, bool) {
	n, err := strconv.ParseInt(v, 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == v
}

// decimalCell returns the number that a cell is, NaN for an empty one, which is not
// some number.
func decimalCell(v string) (n float64, some, ok bool) {
	if v == "" || strings.EqualFold(v, "nan") {
		return math.NaN(), false, true
	}
	n, err := strconv.ParseFloat(v, 64)
	digits := strings.TrimLeft(v, "+-")
	padded := len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9'
	exact := strings.ContainsAny(v, ".eE") || math.Abs(n) <= 1<<53
	return n, true, err == nil && !padded && exact && strings.Trim(v, "0123456789+-.eE") == ""
}

// CellKind is what the cells of a column seen so far have in common. The zero value is
// that of a column without cells.
type CellKind struct {
	notWhole, notDecimal, some bool
	// Width is the most characters of a cell.
	Width int
}

// Add takes a cell into account.
func (k *CellKind) Add(cell string) {
	k.Width = max(k.Width, utf8.RuneCountInString(cell))
	if !k.notWhole {
		_, ok := wholeCell(cell)
		k.notWhole = !ok
	}
	if !k.notDecimal {
		_, some, ok := decimalCell(cell)
		k.notDecimal, k.some = !ok, k.some || some
	}
}

// Kinds of columns.
const (
	TextColumn    = "text"
	WholeColumn   = "int64"
	DecimalColumn = "float64"
)

// Kind tells whether a column of this name is of WholeColumn, DecimalColumn or
// TextColumn, as Set.Columns does.
func (k *CellKind) Kind(name string) string {
	switch {
	case name == classColumn:
	case !k.notWhole:
		return WholeColumn
	case !k.notDecimal && k.some:
		return DecimalColumn
	}
	return TextColumn
}

// Whole reads a cell of a WholeColumn.
func Whole(cell string) int64 {
	n, _ := wholeCell(cell)
	return n
}

// Decimal reads a cell of a DecimalColumn.
func Decimal(cell string) float64 {
	n, _, _ := decimalCell(cell)
	return n
}
