package stimuli

import (
	"bufio"
	"context"
	"io"
	"slices"
	"strings"
)

// listFile adds the pictures of a text file: one path a line, as in a table that has
// only a column of paths. A text that begins as a table is one.
func (f *finder) listFile(ctx context.Context, name string) error {
	first := f.count
	form, text, file, err := f.session.openText(ctx, name)
	if err != nil {
		return inputError{err}
	}
	defer file.Close()
	rows, err := newTextRows(text, form, false)
	if err != nil {
		return inputf("%s: %w", name, err)
	}
	header, _, err := rows.read()
	file.Close()
	if err == nil && f.isHeader(header) {
		if err := f.table(ctx, name); err != nil {
			return inputError{err}
		}
		f.describe(name, "table", first)
		return nil
	}
	column := f.session.options.PathColumn
	if column == "" {
		column = shortPath
	}
	form, text, again, err := f.session.openText(ctx, name)
	if err != nil {
		return inputError{err}
	}
	defer again.Close()
	if said := form.said(); said != "" {
		f.session.warn("%s: %s", name, said)
	}
	if err := f.rows(ctx, name, &listRows{column: column, text: bufio.NewScanner(text)}, false); err != nil {
		return inputError{err}
	}
	f.describe(name, "list", first)
	return nil
}

func (f *finder) isHeader(header []string) bool {
	return slices.ContainsFunc(header, func(cell string) bool {
		cell = strings.TrimSpace(cell)
		return cell == pathColumn || cell == shortPath || cell != "" && cell == f.session.options.PathColumn
	})
}

// listRows reads a list as a table of one column.
type listRows struct {
	column string
	text   *bufio.Scanner
	line   int
}

func (l *listRows) read() ([]string, int, error) {
	if l.line == 0 {
		l.line = 1
		l.text.Buffer(nil, maxRecordBytes)
		return []string{l.column}, 0, nil
	}
	if l.text.Scan() {
		l.line++
		return []string{strings.TrimRight(l.text.Text(), "\r")}, l.line - 1, nil
	}
	if err := l.text.Err(); err != nil {
		return nil, l.line, err
	}
	return nil, l.line, io.EOF
}
