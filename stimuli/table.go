package stimuli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Limits on tables, which also bound the memory that they take.
const (
	maxTableBytes   = 1 << 30
	maxTableColumns = 1000
	// maxCellCharacters is the most that a cell of Excel holds.
	maxCellCharacters = 32767
	maxTimestep       = 1_000_000
	// maxRecordBytes is what the largest row takes, and is read ahead.
	maxRecordBytes = 16 << 20
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
	brainIOPath    = "filename" // beside stimulus_id, as BrainIO writes stimulus sets
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

// rowReader gives the rows of a table one by one, the header first. A row is valid
// until the next is read. At the end the error is io.EOF.
type rowReader interface {
	read() (cells []string, line int, err error)
}

// table adds the stimuli of a CSV or TSV file.
func (f *finder) table(ctx context.Context, name string) error {
	if !IsRemote(name) {
		if info, err := os.Stat(name); err != nil {
			return err
		} else if info.Size() > maxTableBytes {
			return fmt.Errorf("%s: %w: larger than %d bytes", name, ErrTable, maxTableBytes)
		}
		if err := checkFetched(name); err != nil {
			return err
		}
	}
	form, text, file, err := f.session.openText(ctx, name)
	if err != nil {
		return err
	}
	defer file.Close()
	if said := form.said(); said != "" {
		f.session.warn("%s: %s", name, said)
	}
	rows, err := newTextRows(text, form, strings.EqualFold(filepath.Ext(name), ".tsv"))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return f.rows(ctx, name, rows, rows.separator() != ',')
}

// rows adds the stimuli of a table's rows. comma says whether its numbers may have
// decimal commas.
func (f *finder) rows(ctx context.Context, name string, reader rowReader, comma bool) error {
	var timed []tableRow
	columns, err := readTable(ctx, reader, &f.session.options, func(c *tableColumns, row tableRow) error {
		c.comma = comma
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
	f.named = append(f.named, columns.known...)
	if columns.empty > 0 {
		f.session.warn("%s: %d empty rows are left out", name, columns.empty)
	}
	if columns.nameless >= 0 {
		f.session.warn("%s: column %d has no name and is left out", name, columns.nameless+1)
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
	if isURL(name) {
		return "", placed(tablePlace(table, line), errURL(name))
	}
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
	for _, root := range []string{folder, f.session.options.TableRoot} {
		if root != "" && below(root, file) {
			return file, nil
		}
	}
	return "", inputError{mend("TableRoot", "", "%s: %s is not in the folder of the table", tablePlace(table, line), name)}
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
	for _, root := range []string{folder, f.session.options.TableRoot} {
		if root == "/" || IsRemote(root) && strings.HasPrefix(url, strings.TrimSuffix(root, "/")+"/") &&
			!strings.Contains(url, "/../") {
			return url, nil
		}
	}
	return "", inputError{mend("TableRoot", "s3://bucket/pictures", "%s: %s is not in the folder of the table",
		tablePlace(table, line), name)}
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
	return f.add(found{id: id, fixed: given, shown: row.path, where: where, source: src, names: columns.others,
		cells: row.cells, fromTable: true, comma: columns.comma})
}

// timedRows makes one stimulus of the rows of each id, in the order in which the
// ids first appear.
func (f *finder) timedRows(name string, columns *tableColumns, rows []tableRow) error {
	f.session.timed, f.session.sequences, f.session.pictures = true, true, true
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
			for j, cell := range row.cells {
				if cell != frames[0].cells[j] {
					f.session.warnOnce("frames' cells: "+
						name, "%s: stimulus %q has %q in column %q of its first frame and %q later, and perhaps others differ too; only the first frame's is kept",
						tablePlace(name, row.line), id, frames[0].cells[j], columns.others[j], cell)
				}
			}
			if i > 0 && row.timestep == frames[i-1].timestep {
				return fmt.Errorf("%s: %w: stimulus %q has two frames at timestep %d, also on line %d",
					tablePlace(name, row.line), ErrTable, id, row.timestep, frames[i-1].line)
			}
			if hasSuffix(row.path, videoSuffixes) {
				return fmt.Errorf("%s: %w: %s is a video, not one picture of a sequence", tablePlace(name, row.line), ErrTable,
					row.path)
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
			id: id, fixed: true, shown: frames[0].path, where: tablePlace(name, frames[0].line), source: src,
			names: columns.others, cells: frames[0].cells, fromTable: true, comma: columns.comma,
		})
		if err != nil {
			return err
		}
	}
	return nil
}
