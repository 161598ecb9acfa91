package stimuli

import (
	"bytes"
	"context"
	"math"
	"strconv"
	"strings"
	"testing"
)

// readAsTable is what finder.table does with a file of these bytes.
func readAsTable(data []byte, tabs bool, options *Options, each func(*tableColumns, tableRow) error) (*tableColumns,
	error) {
	ctx := context.Background()
	form, err := examineText(ctx, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	rows, err := newTextRows(form.reader(bytes.NewReader(data)), form, tabs)
	if err != nil {
		return nil, err
	}
	return readTable(ctx, rows, options, each)
}

func FuzzTable(f *testing.F) {
	f.Add([]byte("path,stimulus_id,timestep,x\na,b,0,1\n"), false, "")
	f.Add([]byte("path\tx\n\"a\t1\n"), true, "")
	f.Add([]byte("\xef\xbb\xbfpath;x\na;1,5\n"), false, "")
	f.Add([]byte("sep=;\r\npath;x\r\na;1,5\r\n;\r\n"), false, "x")
	f.Add([]byte("path, x\na, \"b, c\"\n"), false, "")
	f.Add([]byte("path,x\rp0.png,caf\xe9\r"), false, "path")
	f.Add([]byte("\xff\xfep\x00a\x00t\x00h\x00\n\x00a\x00\n\x00"), false, "")
	f.Fuzz(func(t *testing.T, data []byte, tabs bool, pathColumn string) {
		var rows []tableRow
		kinds := columnKinds{}
		columns, err := readAsTable(data, tabs, &Options{PathColumn: pathColumn}, func(c *tableColumns, row tableRow) error {
			rows = append(rows, row)
			kinds.add(&found{names: c.others, cells: row.cells, fromTable: true, comma: true})
			return nil
		})
		if err != nil {
			return
		}
		for i, row := range rows {
			if row.path == "" || len(row.cells) != len(columns.others) || i > 0 && row.line <= rows[i-1].line {
				t.Fatalf("%+v", row)
			}
		}
		for i, kind := range kinds.kinds() {
			cells := make([]string, len(rows))
			for k := range rows {
				cells[k] = rows[k].cells[i]
			}
			switch values := typed(cells, kind).(type) { // what is read is printed alike
			case []int64:
				for k, v := range values {
					if want := strings.TrimPrefix(strings.TrimSpace(cells[k]), "+"); strconv.FormatInt(v, 10) != want {
						t.Fatalf("%q is %d", cells[k], v)
					}
				}
			case []float64:
				for k, v := range values {
					if !missingCell(strings.TrimSpace(cells[k])) && math.IsNaN(v) {
						t.Fatalf("%q is %g", cells[k], v)
					}
				}
			}
		}
	})
}
