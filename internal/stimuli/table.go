package stimuli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Limits on tables, which also bound the memory that they take.
const (
	maxTableBytes   = 1 << 30
	maxTableColumns = 1000
	maxCellBytes    = 4096
	maxTimestep     = 1_000_000
	// maxRecordBytes is what the largest row takes, and what is read ahead.
	maxRecordBytes = maxTableColumns*(maxCellBytes+3) + 1<<17
)

// A recordLimit ends with an error when it has to give more than a row can have: the
// csv package would take what the row claims.
type recordLimit struct {
	io.Reader
	left int
}

func (r *recordLimit) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, fmt.Errorf("%w: a row of more than %d bytes", ErrTable, maxRecordBytes)
	}
	n, err := r.Reader.Read(p)
	r.left -= n
	return n, err
}

// The columns of a table with a meaning of their own.
const (
	idColumn       = "stimulus_id"
	pathColumn     = "stimulus_path"
	shortPath      = "path"
	timestepColumn = "timestep"
)

// tableRow is what a row of a table says about its stimulus.
type tableRow struct {
	line     int
	id       string
	path     string
	timestep int
	cells    []string // of the other columns
}

// table adds the stimuli of a CSV or TSV file.
func (f *finder) table(ctx context.Context, name string) error {
	if !IsRemote(name) {
		if info, err := os.Stat(name); err != nil {
			return err
		} else if info.Size() > maxTableBytes {
			return fmt.Errorf("%s: %w: larger than %d bytes", name, ErrTable, maxTableBytes)
		}
	}
	file, err := f.set.open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	var timed []tableRow
	columns, err := readTable(ctx, io.LimitReader(file, maxTableBytes), strings.EqualFold(filepath.Ext(name), ".tsv"), func(c *tableColumns, row tableRow) error {
		if c.timestep >= 0 {
			timed = append(timed, row)
			return nil
		}
		return f.plainRow(name, c, row)
	})
	var own inputError
	if errors.As(err, &own) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if columns.rows == 0 {
		return fmt.Errorf("%s: %w: it has no rows", name, ErrTable)
	}
	if columns.timestep >= 0 {
		return f.timedRows(name, columns, timed)
	}
	return nil
}

func tablePlace(name string, line int) string { return fmt.Sprintf("%s, line %d", name, line) }

// resolve returns the file that a table names. A table, which may come from someone
// else, cannot have files read that lie neither in its folder nor in TableRoot.
// Links in these folders are followed.
func (f *finder) resolve(table, name string, line int) (string, error) {
	if IsRemote(table) || IsRemote(name) {
		return f.resolveRemote(table, name, line)
	}
	folder := filepath.Dir(table)
	if local := filepath.FromSlash(name); filepath.IsLocal(local) {
		return filepath.Join(folder, local), nil
	}
	file := filepath.FromSlash(name)
	if !filepath.IsAbs(file) {
		file = filepath.Join(folder, file)
	}
	for _, root := range []string{folder, f.set.options.TableRoot} {
		if root != "" && below(root, file) {
			return file, nil
		}
	}
	return "", inputf("%s: %s is not in the folder of the table; name a folder that it may be in with --table-root (/ for any)", tablePlace(table, line), name)
}

// below says whether a file's name leads into a folder, or to it.
func below(folder, file string) bool {
	folder, err1 := filepath.Abs(folder)
	file, err2 := filepath.Abs(file)
	if err1 != nil || err2 != nil {
		return false
	}
	relative, err := filepath.Rel(folder, file)
	return err == nil && filepath.IsLocal(relative)
}

// resolveRemote is resolve where the table or what it names is an object.
func (f *finder) resolveRemote(table, name string, line int) (string, error) {
	folder := filepath.Dir(table)
	if IsRemote(table) {
		folder = table[:strings.LastIndexByte(table, '/')]
	}
	url := name
	if !IsRemote(name) {
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			return "", inputf("%s: %s leads out of the folder of the table", tablePlace(table, line), name)
		}
		url = join(folder, name)
	}
	for _, root := range []string{folder, f.set.options.TableRoot} {
		if root == "/" || IsRemote(root) && strings.HasPrefix(url, strings.TrimSuffix(root, "/")+"/") && !strings.Contains(url, "/../") {
			return url, nil
		}
	}
	return "", inputf("%s: %s is not in the folder of the table; name one that it may be in with --table-root, such as s3://bucket/pictures (/ for any)", tablePlace(table, line), name)
}

func (f *finder) plainRow(name string, columns *tableColumns, row tableRow) error {
	f.untimed = true
	where := tablePlace(name, row.line)
	file, err := f.resolve(name, row.path, row.line)
	if err != nil {
		return err
	}
	src, _ := f.file(file, where)
	given := columns.id >= 0
	id := row.id
	if !given {
		id = row.path
	}
	return f.add(found{id: id, fixed: given, shown: row.path, where: where, source: src, names: columns.others, cells: row.cells, fromTable: true})
}

// timedRows makes one stimulus of the rows of each id, in the order in which the
// ids first appear.
func (f *finder) timedRows(name string, columns *tableColumns, rows []tableRow) error {
	f.set.timed, f.set.sequences, f.set.pictures = true, true, true
	ofID := map[string][]tableRow{}
	var ids []string
	for _, row := range rows {
		if ofID[row.id] == nil {
			ids = append(ids, row.id)
		}
		ofID[row.id] = append(ofID[row.id], row)
	}
	for _, id := range ids {
		frames := ofID[id]
		slices.SortStableFunc(frames, func(x, y tableRow) int { return x.timestep - y.timestep })
		if frames[0].timestep != 0 {
			return fmt.Errorf("%s: %w: stimulus %q begins at timestep %d; its first frame must be shown from timestep 0 on, if only a blank picture",
				tablePlace(name, frames[0].line), ErrTable, id, frames[0].timestep)
		}
		src := &sequenceFiles{}
		for i, row := range frames {
			if i > 0 && row.timestep == frames[i-1].timestep {
				return fmt.Errorf("%s: %w: stimulus %q has two frames at timestep %d, also on line %d",
					tablePlace(name, row.line), ErrTable, id, row.timestep, frames[i-1].line)
			}
			if hasSuffix(row.path, videoSuffixes) {
				return fmt.Errorf("%s: %w: %s is a video, not one picture of a sequence", tablePlace(name, row.line), ErrTable, row.path)
			}
			file, err := f.resolve(name, row.path, row.line)
			if err != nil {
				return err
			}
			src.paths = append(src.paths, file)
			src.wheres = append(src.wheres, tablePlace(name, row.line))
			src.timesteps = append(src.timesteps, row.timestep)
		}
		err := f.add(found{ // the first frame speaks for all
			id: id, fixed: true, shown: frames[0].path, where: tablePlace(name, frames[0].line), source: src, names: columns.others, cells: frames[0].cells, fromTable: true,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tableColumns are the positions of the columns with a meaning, -1 for none, and
// the names of the others.
type tableColumns struct {
	id, path, timestep int
	others             []string
	positions          []int // of others
	rows               int   // read so far
}

// readTable reads a table and passes its rows on. Its own errors name lines.
func readTable(ctx context.Context, r io.Reader, tabs bool, each func(*tableColumns, tableRow) error) (*tableColumns, error) {
	limited := &recordLimit{Reader: r, left: maxRecordBytes}
	buffered := bufio.NewReaderSize(limited, 1<<16)
	if mark, _ := buffered.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = buffered.Discard(3)
	}
	reader := csv.NewReader(buffered)
	reader.ReuseRecord = true
	if tabs {
		reader.Comma = '\t'
		reader.LazyQuotes = true // tab-separated files rarely quote
	} else if start, _ := buffered.Peek(1 << 12); usesSemicolons(start) {
		reader.Comma = ';'
	}
	header, err := reader.Read()
	if err != nil {
		return nil, tableError(err)
	}
	parsed, err := parseHeader(slices.Clone(header))
	columns := &parsed
	if err != nil {
		return nil, err
	}
	// Few values differ in most columns: equal cells share memory.
	shared := map[string]string{}
	for {
		limited.left = maxRecordBytes
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return columns, nil
		}
		if err != nil {
			return nil, tableError(err)
		}
		line, _ := reader.FieldPos(0)
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

// usesSemicolons tells tables of programs set to a language whose decimal sign is
// the comma.
func usesSemicolons(start []byte) bool {
	line, _, _ := bytes.Cut(start, []byte("\n"))
	return bytes.Count(line, []byte(";")) > bytes.Count(line, []byte(","))
}

func tableError(err error) error {
	var parse *csv.ParseError
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it is empty", ErrTable)
	case errors.As(err, &parse):
		return fmt.Errorf("line %d: %w: %w", parse.Line, ErrTable, parse.Err)
	}
	return err
}

func parseHeader(header []string) (tableColumns, error) {
	columns := tableColumns{id: -1, path: -1, timestep: -1}
	if len(header) > maxTableColumns {
		return columns, fmt.Errorf("line 1: %w: %d columns; %d are the most", ErrTable, len(header), maxTableColumns)
	}
	seen := map[string]bool{}
	for i, name := range header {
		name = strings.TrimSpace(name)
		header[i] = name
		switch {
		case len(name) > 200 || !validText(name):
			return columns, fmt.Errorf("line 1: %w: the name of column %d is not text of up to 200 bytes", ErrTable, i+1)
		case name == "":
			continue // such as a data frame's index, written without a name
		case seen[name]:
			return columns, fmt.Errorf("line 1: %w: two columns are called %q", ErrTable, name)
		}
		seen[name] = true
	}
	columns.id = slices.Index(header, idColumn)
	columns.timestep = slices.Index(header, timestepColumn)
	if columns.path = slices.Index(header, pathColumn); columns.path < 0 {
		columns.path = slices.Index(header, shortPath)
	}
	if columns.path < 0 {
		return columns, fmt.Errorf("line 1: %w: it has no column %s or %s (it has: %s)", ErrTable, shortPath, pathColumn, strings.Join(header, ", "))
	}
	if columns.timestep >= 0 && columns.id < 0 {
		return columns, fmt.Errorf("line 1: %w: with a column %s it needs a column %s", ErrTable, timestepColumn, idColumn)
	}
	for i, name := range header {
		if name != "" && i != columns.id && i != columns.path && i != columns.timestep {
			columns.others = append(columns.others, name)
			columns.positions = append(columns.positions, i)
		}
	}
	return columns, nil
}

func (c *tableColumns) row(record []string, line int, shared map[string]string) (tableRow, error) {
	row := tableRow{line: line, cells: make([]string, len(c.others))}
	for i, cell := range record {
		if len(cell) > maxCellBytes {
			return row, fmt.Errorf("a cell of %d bytes in column %d; %d are the most", len(cell), i+1, maxCellBytes)
		}
		if !validText(cell) {
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
