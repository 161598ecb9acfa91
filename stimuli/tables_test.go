package stimuli

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Columns are what pandas makes of them; testdata/generate.py asks it.
func TestColumnsAsPandas(t *testing.T) {
	text, err := os.ReadFile("testdata/columns.json")
	require.NoError(t, err)
	var expected struct {
		Cases []struct {
			Name, DType string
			Comma       bool
			Cells       []string
			Values      []any
		}
	}
	require.NoError(t, json.Unmarshal(text, &expected))
	require.Greater(t, len(expected.Cases), 15)
	for _, c := range expected.Cases {
		var k columnCells
		for _, cell := range c.Cells {
			k.add(cell, "", c.Comma)
		}
		want := map[string]string{"object": TextColumn}[c.DType]
		if want == "" {
			want = c.DType
		}
		if !assert.Equal(t, want, k.kind(), c.Name) {
			continue
		}
		for i, cell := range c.Cells {
			switch want {
			case TextColumn:
				assert.Equal(t, c.Values[i], cell, c.Name)
			case BooleanColumn:
				assert.Equal(t, c.Values[i], Boolean(cell), c.Name)
			case WholeColumn:
				assert.Equal(t, c.Values[i].(float64), float64(Whole(cell)), c.Name)
			default:
				assert.Equal(t, fmt.Sprint(c.Values[i]), strings.ToLower(strings.TrimPrefix(fmt.Sprint(Decimal(cell)), "+")),
					c.Name)
			}
		}
	}
}

// openTable opens a table beside two pictures, and returns what the user was told.
func openTable(t *testing.T, name, text string, options Options) (*Set, []string) {
	t.Helper()
	t.Chdir(t.TempDir())
	writePicture(t, "p0.png", 10)
	writePicture(t, "p1.png", 20)
	writeText(t, name, text)
	var told []string
	options.Inputs, options.Warn = []string{name}, warnings(&told)
	set := open(t, options)
	records, summary := scanned(t, options)
	require.Len(t, records, set.Len())
	for i, c := range set.Columns()[2:] { // a plan's columns are the same
		assert.Equal(t, c.Name, summary.Columns[i])
		for k, r := range records {
			assert.Equal(t, fmt.Sprint(typedAt(c.Values, k)),
				fmt.Sprint(typedAt(typed([]string{r.Cells[i]}, summary.Kinds[i]), 0)))
		}
	}
	return set, told[:len(told)/2] // the scan tells the same
}

func typedAt(values any, i int) any {
	switch v := values.(type) {
	case []string:
		return v[i]
	case []int64:
		return v[i]
	case []float64:
		return v[i]
	case []bool:
		return v[i]
	}
	return nil
}

func TestWhatTablesHold(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		options    Options
		columns    map[string]any
		told       []string
	}{
		"booleans": {"t.csv", "path,animate\np0.png,True\np1.png,False\n", Options{},
			map[string]any{"animate": []bool{true, false}}, nil},
		"space after commas": {"t.csv", "path, size, name\np0.png, 5, a\np1.png, 7, b\n", Options{},
			map[string]any{"size": []int64{5, 7}, "name": []string{" a", " b"}}, nil},
		"quotes after a space": {"t.csv", "path, name, size\np0.png, \"a, b\", 1\n p1.png, \"c\", 2\n", Options{},
			map[string]any{"name": []string{"a, b", "c"}, "size": []int64{1, 2}}, []string{"quoted after a space"}},
		"decimal commas": {"t.csv", "\xef\xbb\xbfpath;size;n\r\np0.png;1,5;3\r\np1.png;2,25;4\r\n", Options{},
			map[string]any{"size": []float64{1.5, 2.25}, "n": []int64{3, 4}},
			[]string{`"size" holds numbers with decimal commas, such as "1,5" (t.csv, line 2)`}},
		"thousands in a comma table": {"t.csv", "path,n\np0.png,\"1,234\"\np1.png,\"2,345\"\n", Options{},
			map[string]any{"n": []string{"1,234", "2,345"}}, nil},
		"class of numbers": {"t.csv", "path,class,label\np0.png,3,3\np1.png,12,12\n", Options{},
			map[string]any{"class": []int64{3, 12}, "label": []int64{3, 12}}, nil},
		"missing": {"t.csv", "path,rt\np0.png,NA\np1.png,0.5\n", Options{},
			map[string]any{"rt": []float64{math.NaN(), 0.5}}, nil},
		"codes": {"t.csv", "path,code\np0.png,007\np1.png,010\n", Options{},
			map[string]any{"code": []string{"007", "010"}}, nil},
		"sep": {"t.csv", "sep=;\r\npath;size\r\np0.png;1\r\n", Options{},
			map[string]any{"size": []int64{1}}, nil},
		"sep in quotes": {"t.csv", "\"sep=|\"\npath|size\np0.png|1\n", Options{},
			map[string]any{"size": []int64{1}}, nil},
		"empty rows and columns": {"t.csv", "path,size,,\r\np0.png,1,,\r\n,,,\r\n,,,\r\n", Options{},
			map[string]any{"size": []int64{1}}, []string{"2 empty rows"}},
		"a column without a name": {"t.csv", "path,\np0.png,x\n", Options{}, map[string]any{},
			[]string{"column 2 has no name and is left out"}},
		"a data frame's index": {"t.csv", ",path,Unnamed: 0\n0,p0.png,7\n1,p1.png,8\n", Options{},
			map[string]any{"Unnamed: 0": []int64{7, 8}}, nil},
		"UTF-16": {"t.tsv", utf16Text("path\tlabel\r\np0.png\tcafé 😀\r\n"), Options{},
			map[string]any{"label": []string{"café 😀"}}, nil},
		"UTF-16, tabs in a .csv": {"t.csv", utf16Text("path\tlabel\r\np0.png\tñ\r\n"), Options{},
			map[string]any{"label": []string{"ñ"}}, nil},
		"Windows-1252": {"t.csv", "path,label\np0.png,caf\xe9 \x80\np1.png,x\n", Options{},
			map[string]any{"label": []string{"café €", "x"}}, []string{"CP-1252"}},
		"returns": {"t.csv", "path,label\rp0.png,a\rp1.png,b\r", Options{},
			map[string]any{"label": []string{"a", "b"}}, nil},
		"BrainIO": {"t.csv", "stimulus_id,filename,x\na,p0.png,1\n", Options{},
			map[string]any{"x": []int64{1}}, nil},
		"path column": {"t.tsv", "onset\tstim_file\tpath\n1.2\tp0.png\tx\n", Options{PathColumn: "stim_file"},
			map[string]any{"onset": []float64{1.2}, "path": []string{"x"}}, nil},
		"chosen columns": {"t.csv", "path,a,b,c\np0.png," + strings.Repeat("x", 50_000) + ",1,2\n",
			Options{Columns: []string{"c"}}, map[string]any{"c": []int64{2}}, nil},
		"no columns": {"t.csv", "path,a\np0.png,1\n", Options{Columns: []string{}}, map[string]any{}, nil},
		"long cells": {"t.csv", "path,a\np0.png," + strings.Repeat("é", 32767) + "\n", Options{},
			map[string]any{"a": []string{strings.Repeat("é", 32767)}}, nil},
		"a number that is none": {"t.csv", "path,rt\np0.png,1\np1.png,2\np0.png,late\n", Options{},
			map[string]any{"rt": []string{"1", "2", "late"}},
			[]string{`"rt" is text, not numbers, since "late" (t.csv, line 4) is none`}},
		"a boolean that is none": {"t.csv", "path,b\np0.png,True\np1.png,False\np0.png,\n", Options{},
			map[string]any{"b": []string{"True", "False", ""}},
			[]string{`"b" is text, not True and False, since "" (t.csv, line 4) is neither`}},
		"decimal points and commas": {"t.csv", "path;x\np0.png;1,5\np1.png;1.5\n", Options{},
			map[string]any{"x": []string{"1,5", "1.5"}}, []string{"decimal points"}},
		"numbers beyond 2⁵³ and more": {"t.csv",
			"path,x\np0.png,9007199254740993\np1.png,0.5\np0.png,123456789012345678901\n", Options{},
			map[string]any{"x": []string{"9007199254740993", "0.5", "123456789012345678901"}},
			[]string{"123456789012345678901"}},
	} {
		t.Run(name, func(t *testing.T) {
			set, told := openTable(t, c.file, c.text, c.options)
			columns := map[string]any{}
			for _, column := range set.Columns()[2:] {
				columns[column.Name] = column.Values
			}
			assert.Equal(t, fmt.Sprintf("%T %v", c.columns, c.columns), fmt.Sprintf("%T %v", columns, columns)) // NaN is not NaN
			for key, values := range c.columns {
				assert.IsType(t, values, columns[key])
			}
			require.Len(t, told, len(c.told), "%q", told)
			for i, part := range c.told {
				assert.Contains(t, told[i], part)
			}
			assert.Equal(t, 10, collect(t, set)[0][0])
		})
	}
}

// utf16Text is text as Excel saves "Unicode Text".
func utf16Text(text string) string {
	encoded, err := utf16Of([]byte("\xff\xfe")).NewEncoder().String(text)
	if err != nil {
		panic(err)
	}
	return encoded
}

// What folders are called stays text; beside a table's numbers too.
func TestFolderClasses(t *testing.T) {
	t.Chdir(t.TempDir())
	writePicture(t, "set/0/a.png", 1)
	writePicture(t, "set/1/b.png", 2)
	writeText(t, "t.csv", "path,class\nset/0/a.png,3\n")
	assert.Equal(t, []string{"0", "1"}, column(t, open(t, Options{Inputs: []string{"set"}}), "class"))
	assert.Equal(t, []string{"0", "1", "3"}, column(t, open(t, Options{Inputs: []string{"set", "t.csv"}}), "class"))
	_, err := Open(t.Context(), Options{Inputs: []string{"t.csv"}, Columns: []string{"clas"}})
	assert.ErrorIs(t, err, ErrInput)
	assert.ErrorContains(t, err, `no table has a column "clas"`)
	assert.ErrorContains(t, err, "class")
}

// A table of a form that only its end shows is read alike, wherever chunks end.
func TestTextForms(t *testing.T) {
	long := "path,label\n" + strings.Repeat("p0.png,"+strings.Repeat("x", 100)+"\n", 2000)
	for i := range 8 {
		padding := strings.Repeat("y", i)
		form, err := examineText(t.Context(), strings.NewReader(long+padding+strings.Repeat("𠮷é", 40_000)))
		require.NoError(t, err)
		assert.Nil(t, form.encoding)
		form, err = examineText(t.Context(), strings.NewReader(long+padding+"caf\xe9"))
		require.NoError(t, err)
		assert.NotNil(t, form.encoding)
	}
}

// Numbers that would change in a column of float64 stay the text that they are, and that
// is said.
func TestLongWholeNumbersStayExact(t *testing.T) {
	for _, cells := range [][]string{
		{"9007199254740993", ""}, {"9007199254740993", "1.5"}, {"-9223372036854775807", "inf"},
		{"1", "9223372036854775807", "NA"},
		{"9223372036854775808"}, {"1", "18446744073709551615"}, {"NA", "1e400"},
	} {
		text := "path,a\n"
		for i, cell := range cells {
			text += fmt.Sprintf("p%d.png,%s\n", i%2, cell)
		}
		set, said := openTable(t, "t.csv", text, Options{})
		assert.Equal(t, cells, set.Columns()[2].Values)
		require.Len(t, said, 1, cells)
		assert.Contains(t, said[0], `column "a" is text, not numbers`)
	}
	set, said := openTable(t, "t.csv", "path,a\np0.png,9007199254740993\np1.png,9223372036854775807\n", Options{})
	assert.Equal(t, []int64{9007199254740993, math.MaxInt64}, set.Columns()[2].Values)
	assert.Empty(t, said)
}

func TestBooleansOfAnyCase(t *testing.T) {
	set, said := openTable(t, "t.csv", "path,a\np0.png,tRUE\np1.png,fAlse\n", Options{})
	assert.Equal(t, []bool{true, false}, set.Columns()[2].Values)
	assert.Empty(t, said)
}

// Line ends within quotes belong to the cell, as they are.
func TestQuotedLineEnds(t *testing.T) {
	for _, separator := range []string{",", ";"} {
		for _, end := range []string{"\n", "\r\n"} {
			text := strings.ReplaceAll("path,a,b"+end+"p0.png,\"x\r\ny\"\"\",\"\r\n\""+end+"p1.png,\"u\nv\",w"+end, ",",
				separator)
			set, _ := openTable(t, "t.csv", text, Options{})
			assert.Equal(t, []string{"x\r\ny\"", "u\nv"}, set.Columns()[2].Values, "%q", text)
			assert.Equal(t, []string{"\r\n", "w"}, set.Columns()[3].Values, "%q", text)
		}
	}
}

// A text that is larger than what is read is an error, not a shorter text.
func TestTextsAreNotCut(t *testing.T) {
	whole, err := io.ReadAll(&atMost{strings.NewReader("a,b"), 3})
	require.NoError(t, err)
	assert.Equal(t, "a,b", string(whole))
	_, err = io.ReadAll(&atMost{strings.NewReader("a,b\n"), 3})
	assert.ErrorIs(t, err, ErrTable)
}
