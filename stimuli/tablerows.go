package stimuli

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/transform"
)

// textRows reads a table that is text.
type textRows struct {
	csv     *csv.Reader
	limited *recordLimit
	before  int // lines before the header
	first   bool
}

// newTextRows begins with the header, after a line "sep=;" as Excel understands it.
// tabs says that the separator is the tab whatever the header looks like.
func newTextRows(text *bufio.Reader, form textForm, tabs bool) (*textRows, error) {
	r := &textRows{limited: &recordLimit{Reader: text, left: maxRecordBytes}, first: true}
	buffered := bufio.NewReaderSize(r.limited, 1<<16)
	separator := rune(0)
	start, _ := buffered.Peek(16)
	line, _, ended := strings.Cut(string(start), "\n")
	if rest, ok := strings.CutPrefix(strings.Trim(strings.TrimRight(line, "\r"), `"`), "sep="); ok && ended {
		if separator, _ = utf8.DecodeRuneInString(rest); utf8.RuneCountInString(rest) != 1 ||
			strings.ContainsRune("\"\uFFFD", separator) {
			return nil, fmt.Errorf("line 1: %w: sep=%s names no separator", ErrTable, rest)
		}
		_, _ = buffered.Discard(len(line) + 1)
		r.before = 1
	}
	if separator == 0 {
		start, _ := buffered.Peek(1 << 12)
		separator = separatorOf(string(start), tabs)
	}
	var lines io.Reader = buffered
	if separator != '\t' {
		lines = transform.NewReader(buffered, &quotedReturns{})
	}
	r.csv = csv.NewReader(lines)
	r.csv.ReuseRecord = true
	r.csv.Comma = separator
	r.csv.LazyQuotes = separator == '\t' // tab-separated files rarely quote
	r.csv.TrimLeadingSpace = form.spacedQuotes && separator != '\t'
	return r, nil
}

// separatorOf chooses what is most frequent in the header outside quotes: the comma,
// the semicolon of programs set to a language whose decimal sign is the comma, or the
// tab.
func separatorOf(start string, tabs bool) rune {
	if tabs {
		return '\t'
	}
	counts := map[rune]int{}
	quoted := false
	for _, c := range start {
		if c == '"' {
			quoted = !quoted
		}
		if c == '\n' && !quoted {
			break
		}
		if !quoted {
			counts[c]++
		}
	}
	separator := ','
	for _, other := range []rune{';', '\t'} {
		if counts[other] > counts[separator] {
			separator = other
		}
	}
	return separator
}

func (r *textRows) separator() rune { return r.csv.Comma }

func (r *textRows) read() ([]string, int, error) {
	r.limited.left = maxRecordBytes
	record, err := r.csv.Read()
	line := r.before + 1
	var parse *csv.ParseError
	switch {
	case err == nil:
		line, _ = r.csv.FieldPos(0)
		r.first = false
		return record, line + r.before, nil
	case errors.As(err, &parse) && errors.Is(err, csv.ErrFieldCount):
		return nil, line, fmt.Errorf("line %d: %w: the row has %d of %d cells", parse.Line+r.before, ErrTable, len(record),
			r.csv.FieldsPerRecord)
	case errors.As(err, &parse):
		return nil, line, fmt.Errorf("line %d: %w: %w", parse.Line+r.before, ErrTable, parse.Err)
	case errors.Is(err, io.EOF) && r.first:
		return nil, line, fmt.Errorf("%w: it is empty", ErrTable)
	}
	return nil, line, err
}

// tableColumns are the positions of the columns with a meaning, -1 for none, and
// the names of the others that come along.
type tableColumns struct {
	id, path, timestep int
	others             []string
	positions          []int    // of others
	known              []string // all names
	comma              bool     // numbers may have decimal commas
	rows               int      // read so far
	empty              int      // rows that are left out
	unnamed            []int    // columns without a name
	nameless           int      // the first of them that holds more than the rows' numbers, or -1
}

// readTable passes the rows of a table on. Its own errors name lines.
func readTable(ctx context.Context, reader rowReader, options *Options, each func(*tableColumns, tableRow) error) (
	*tableColumns, error) {
	record, line, err := reader.read()
	if err != nil {
		return nil, err
	}
	columns, err := parseHeader(slices.Clone(record), options)
	if errors.Is(err, errNoPath) {
		header := slices.Clone(record)
		record, _, _ := reader.read()
		err = noPathColumn(header, record, options)
	}
	if err != nil {
		return nil, fmt.Errorf("line %d: %w: %w", line, ErrTable, err)
	}
	// Few values differ in most columns: equal cells share memory.
	shared := map[string]string{}
	for {
		record, line, err := reader.read()
		if errors.Is(err, io.EOF) {
			return columns, nil
		}
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(record, func(cell string) bool { return strings.TrimSpace(cell) != "" }) {
			columns.empty++
			continue
		}
		row, err := columns.row(record, line, shared)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w: %w", line, ErrTable, err)
		}
		if columns.rows++; columns.rows > maxStimuli {
			return nil, fmt.Errorf("line %d: %w: more than %d rows", line, ErrTable, maxStimuli)
		}
		if columns.rows%4096 == 0 {
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
		}
		if err := each(columns, row); err != nil {
			return nil, err
		}
	}
}

var errNoPath = errors.New("no column of paths")

func parseHeader(header []string, options *Options) (*tableColumns, error) {
	columns := &tableColumns{nameless: -1}
	if len(header) > maxTableColumns {
		return nil, fmt.Errorf("%d columns; %d are the most", len(header), maxTableColumns)
	}
	seen := map[string]bool{}
	for i, name := range header {
		name = strings.TrimSpace(name)
		header[i] = name
		switch {
		case len(name) > 200 || !validText(name):
			return nil, fmt.Errorf("the name of column %d is not text of up to 200 bytes", i+1)
		case name == "":
			columns.unnamed = append(columns.unnamed, i)
			continue
		case seen[name]:
			return nil, fmt.Errorf("two columns are called %q", name)
		}
		seen[name] = true
		columns.known = append(columns.known, name)
	}
	columns.id = slices.Index(header, idColumn)
	columns.timestep = slices.Index(header, timestepColumn)
	if columns.path = columns.pathIn(header, options.PathColumn); columns.path < 0 {
		return nil, errNoPath
	}
	if columns.timestep >= 0 && columns.id < 0 {
		return nil, fmt.Errorf("with a column %s it needs a column %s", timestepColumn, idColumn)
	}
	for i, name := range header {
		if name != "" && i != columns.id && i != columns.path && i != columns.timestep &&
			(options.Columns == nil || slices.Contains(options.Columns, name)) {
			columns.others = append(columns.others, name)
			columns.positions = append(columns.positions, i)
		}
	}
	return columns, nil
}

// pathIn returns the position of the column of paths: the one that is asked for, or one
// of those by which tables name it.
func (c *tableColumns) pathIn(header []string, asked string) int {
	if asked != "" {
		return slices.Index(header, asked)
	}
	for _, name := range []string{pathColumn, shortPath} {
		if i := slices.Index(header, name); i >= 0 {
			return i
		}
	}
	if c.id >= 0 {
		return slices.Index(header, brainIOPath)
	}
	return -1
}

// noPathColumn says that a table has no column of paths, and which may be meant.
func noPathColumn(header, first []string, options *Options) error {
	what := fmt.Sprintf("it has no column %s or %s", shortPath, pathColumn)
	if options.PathColumn != "" {
		what = fmt.Sprintf("it has no column %s", options.PathColumn)
	}
	looksLikePath := func(cell string) bool {
		return hasSuffix(strings.TrimSpace(cell), slices.Concat(pictureSuffixes, videoSuffixes))
	}
	for _, name := range header {
		if looksLikePath(name) {
			return fmt.Errorf("%s; its first line must be the columns' names, and %q looks like a path", what, name)
		}
	}
	for i, name := range header {
		known := strings.EqualFold(name, shortPath) || strings.EqualFold(name, pathColumn)
		if name = strings.TrimSpace(name); name != "" && (known || i < len(first) && looksLikePath(first[i])) {
			return mend("PathColumn", name, "%s, but %q looks like it (it has: %s)", what, name, strings.Join(header, ", "))
		}
	}
	return mend("PathColumn", "", "%s (it has: %s)", what, strings.Join(header, ", "))
}

// row checks and copies what of a row is used.
func (c *tableColumns) row(record []string, line int, shared map[string]string) (tableRow, error) {
	row := tableRow{line: line, cells: make([]string, len(c.others))}
	for _, i := range append([]int{c.id, c.path, c.timestep}, c.positions...) {
		if i < 0 {
			continue
		}
		if cell := record[i]; len(cell) > maxCellCharacters && utf8.RuneCountInString(cell) > maxCellCharacters {
			return row, mend("Columns", "", "a cell of %d characters in column %d; %d are the most",
				utf8.RuneCountInString(cell), i+1, maxCellCharacters)
		}
		if !validText(record[i]) {
			return row, fmt.Errorf("column %d is not UTF-8 text", i+1)
		}
	}
	if row.path = strings.TrimSpace(strings.Clone(record[c.path])); row.path == "" {
		return row, errors.New("the path is empty")
	}
	if c.id >= 0 {
		if row.id = strings.Clone(record[c.id]); row.id == "" {
			return row, fmt.Errorf("the %s is empty", idColumn)
		}
	}
	if c.timestep >= 0 {
		n, err := strconv.Atoi(strings.TrimSpace(record[c.timestep]))
		if err != nil || n < 0 || n > maxTimestep {
			return row, fmt.Errorf("the timestep is %q, not a whole number from 0 on", record[c.timestep])
		}
		row.timestep = n
	}
	for _, i := range c.unnamed { // such as a data frame's index
		if cell := strings.TrimSpace(record[i]); c.nameless < 0 && cell != "" && cell != strconv.Itoa(c.rows) {
			c.nameless = i
		}
	}
	for i, position := range c.positions {
		cell := record[position]
		text, ok := shared[cell]
		if !ok {
			text = strings.Clone(cell)
			if len(shared) < 1<<16 {
				shared[text] = text
			}
		}
		row.cells[i] = text
	}
	return row, nil
}
