package stimuli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/color/palette"
	"image/gif"
	"image/png"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// writePicture writes a grey PNG of the models' size.
func writePicture(t testing.TB, path string, grey uint8) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
	img := image.NewGray(image.Rect(0, 0, 224, 224))
	for i := range img.Pix {
		img.Pix[i] = grey
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o666))
}

func writeText(t testing.TB, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
}

// writeNPY writes an array of uint8 or float32 whose values depend on the row.
func writeNPY[T uint8 | float32](t testing.TB, path string, shape []int, value func(image int) T) {
	t.Helper()
	n := 1
	for _, d := range shape {
		n *= d
	}
	values := make([]T, n)
	for i := range values {
		values[i] = value(i / imageValues)
	}
	writeValues(t, path, shape, values)
}

// writeValues writes an array.
func writeValues(t testing.TB, path string, shape []int, values any) {
	t.Helper()
	descr := map[string]string{"[]uint8": "|u1", "[]uint16": "<u2", "[]int64": "<i8", "[]bool": "|b1",
		"[]float32": "<f4"}[fmt.Sprintf("%T", values)]
	dims := strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ", "), "[]")
	if len(shape) == 1 {
		dims += ","
	}
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, dims)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	var b bytes.Buffer
	b.WriteString("\x93NUMPY\x01\x00")
	require.NoError(t, binary.Write(&b, binary.LittleEndian, uint16(len(header))))
	b.WriteString(header)
	require.NoError(t, binary.Write(&b, binary.LittleEndian, values))
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o666))
}

func open(t testing.TB, options Options) *Set {
	t.Helper()
	set, err := Open(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	return set
}

// greys stands for what a model would see: the first byte of each frame.
func greys(t testing.TB, s tfconvrnn.Stimulus) (values []int) {
	t.Helper()
	for _, frame := range s.Frames {
		pixels, err := frame.Pixels()
		require.NoError(t, err)
		values = append(values, int(math.Round(float64(pixels[0])*255)))
	}
	return values
}

func collect(t testing.TB, set *Set) (list [][]int) {
	t.Helper()
	for s := range set.From(0) {
		list = append(list, greys(t, s))
	}
	return list
}

func column(t testing.TB, set *Set, name string) any {
	t.Helper()
	for _, c := range set.Columns() {
		if c.Name == name {
			return c.Values
		}
	}
	require.Failf(t, "no column", "%s in %v", name, set.Columns())
	return nil
}

func TestFoldersPatternsAndFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	writePicture(t, "set/cats/a.png", 1)
	writePicture(t, "set/dogs/big/a.png", 3)
	writePicture(t, "set/dogs/b.png", 2)
	writePicture(t, "set/z.png", 4)
	writePicture(t, "set/.hidden/no.png", 9)
	writeText(t, "set/notes.txt", "no picture")
	writePicture(t, "a.png", 5)

	set := open(t, Options{Inputs: []string{"set"}})
	assert.Equal(t, []string{"cats/a.png", "dogs/b.png", "dogs/big/a.png", "z.png"}, set.IDs())
	assert.Equal(t, []string{"cats", "dogs", "dogs/big", ""}, column(t, set, "class"))
	assert.Equal(t, []string{"set/cats/a.png", "set/dogs/b.png", "set/dogs/big/a.png", "set/z.png"},
		column(t, set, "stimulus_path"))
	assert.Equal(t, [][]int{{1}, {2}, {3}, {4}}, collect(t, set))
	assert.Equal(t, []Input{{Name: "set", Kind: "folder", Stimuli: 4}}, set.Inputs())
	assert.Equal(t, "set", set.Name())
	assert.True(t, set.Pictures())
	assert.False(t, set.Sequences())

	set = open(t, Options{Inputs: []string{"set/*/*.png", "a.png", "set/dogs/big/a.png", "a.png"}})
	assert.Equal(t, []string{"cats/a.png", "b.png", filepath.Base(dir) + "/a.png", "big/a.png"}, set.IDs()[:4])
	assert.Equal(t, [][]int{{1}, {2}, {5}, {3}, {5}}, collect(t, set))
	assert.Equal(t, "a.png#2", filepath.Base(set.IDs()[4]))

	assert.Equal(t, []string{"cats", "dogs", "", "", ""}, column(t, set, "class"))

	set = open(t, Options{Inputs: []string{"set/**/*.{png,txt}"}})
	assert.Equal(t, []string{"set/cats/a.png", "set/dogs/b.png", "set/dogs/big/a.png", "set/notes.txt", "set/z.png"},
		column(t, set, "stimulus_path"))
	assert.Equal(t, []string{"cats", "dogs", "dogs/big", "", ""}, column(t, set, "class"))
	set = open(t, Options{Inputs: []string{"set/*s", "set/.hidden/*"}})
	assert.Equal(t, []string{"", "", "big", ""}, column(t, set, "class"))
	_, err := Open(t.Context(), Options{Inputs: []string{"set/**/*.bmp"}})
	assert.ErrorIs(t, err, ErrInput)
	assert.ErrorContains(t, err, "no file fits this pattern")
	_, err = Open(t.Context(), Options{Inputs: []string{"set/[a"}})
	assert.ErrorIs(t, err, ErrInput)

	set = open(t, Options{Inputs: []string{"-"}, Stdin: strings.NewReader("set/z.png\r\n\n a.png\nset/dogs\n"[:11] +
		"a.png\nset/dogs\n")})
	assert.Equal(t, []string{"z.png", "a.png", "b.png", "big/a.png"}, set.IDs())
	set = open(t, Options{Inputs: []string{"-"}, Stdin: strings.NewReader("set/z.png\x00a.png\x00")})
	assert.Equal(t, 2, set.Len())
	var from []string
	for s := range set.From(1) {
		from = append(from, s.ID)
	}
	assert.Equal(t, []string{"a.png"}, from)
}

func TestTables(t *testing.T) {
	t.Chdir(t.TempDir())
	writePicture(t, "data/p/one.png", 1)
	writePicture(t, "data/p/two.png", 2)
	writeText(t, "data/t.csv", "\xef\xbb\xbf,path,stimulus_id,contrast,trial,label,code,note\n"+
		"0,p/one.png,first,0.5,3,cat,007,\"a, \"\"b\"\"\"\n1,p/two.png,second,,4,dog,010,\n2,p/one.png,third,1e-3,-5,Käse,1,x\n")
	set := open(t, Options{Inputs: []string{"data/t.csv"}})
	assert.Equal(t, []string{"first", "second", "third"}, set.IDs())
	assert.Equal(t, []string{"p/one.png", "p/two.png", "p/one.png"}, column(t, set, "stimulus_path"))
	assert.Equal(t, []int64{3, 4, -5}, column(t, set, "trial"))
	assert.Equal(t, []string{"007", "010", "1"}, column(t, set, "code"))
	assert.Equal(t, []string{"cat", "dog", "Käse"}, column(t, set, "label"))
	assert.Equal(t, []string{`a, "b"`, "", "x"}, column(t, set, "note"))
	contrast := column(t, set, "contrast").([]float64)
	assert.Equal(t, []float64{0.5, 1e-3}, []float64{contrast[0], contrast[2]})
	assert.True(t, math.IsNaN(contrast[1]))
	assert.Equal(t, [][]int{{1}, {2}, {1}}, collect(t, set))

	// Without ids, separated by tabs and semicolons, and beside a folder.
	writeText(t, "data/t.tsv", "stimulus_path\ttrial\np/two.png\t8\np/two.png\t9\n")
	writeText(t, "data/s.csv", "path;trial\np/one.png;8\n")
	set = open(t, Options{Inputs: []string{"data/t.tsv", "data/p", "data/s.csv"}})
	assert.Equal(t, []string{"p/two.png", "p/two.png#2", "one.png", "two.png", "p/one.png"}, set.IDs())
	trial := column(t, set, "trial").([]float64)
	assert.Equal(t, []float64{8, 9, 8}, []float64{trial[0], trial[1], trial[4]})
	assert.True(t, math.IsNaN(trial[2]))
	assert.Equal(t, "data/t.tsv", filepath.ToSlash(set.scanner.session.options.Inputs[0]))
	assert.Equal(t, "t.tsv and 2 more", set.Name())
}

func TestTableErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	writePicture(t, "one.png", 1)
	for name, c := range map[string]struct {
		text, says string
		is         error
	}{
		"empty":        {"", "empty", ErrTable},
		"no path":      {"stimulus_id,label\na,b\n", "no column path", ErrTable},
		"no rows":      {"path\n", "no rows", ErrTable},
		"ragged":       {"path,label\none.png\n", "line 2: unusable stimulus table: the row has 1 of 2 cells", ErrTable},
		"quotes":       {"path,label\none.png,\"x\n", "line 2", ErrTable},
		"empty path":   {"path,label\n,x\n", "line 2", ErrTable},
		"two columns":  {"path,label,label\none.png,1,2\n", "two columns", ErrTable},
		"missing file": {"path\none.png\nnone.png\n", "line 3", fs.ErrNotExist},
		"duplicate id": {"path,stimulus_id\none.png,a\none.png,b\none.png,a\n", "line 4", ErrDuplicate},
		"empty id":     {"path,stimulus_id\none.png,\n", "line 2", ErrTable},
		"not text": {"path,label\none.png,K\xc3\xa4se\xff\n",
			"line 2: unusable stimulus table: column 2 is not UTF-8 text", ErrTable},
		"not Windows": {"path,label\none.png,\xff\x81\n", "line 2", ErrTable},
		"zero byte":   {"path,label\none.png,a\x00b\n", "line 2", ErrTable},
		"long cell": {"path,label\none.png," + strings.Repeat("x", 1<<20) + "\n", "a cell of 1048576 characters",
			ErrTable},
		"no separator":    {"sep=\npath\none.png\n", "line 1", ErrTable},
		"after sep":       {"sep=;\npath;x\none.png\n", "line 3", ErrTable},
		"no header":       {"one.png,1\ntwo.png,2\n", "\"one.png\" looks like a path", ErrTable},
		"capital":         {"Path,x\none.png,2\n", `"Path" looks like it`, ErrTable},
		"other name":      {"onset,stim_file\n1.2,one.png\n", `"stim_file" looks like it`, ErrTable},
		"many columns":    {"path" + strings.Repeat(",x", 5000) + "\n", "columns", ErrTable},
		"timestep, no id": {"path,timestep\none.png,0\n", "stimulus_id", ErrTable},
		"timestep":        {"path,stimulus_id,timestep\none.png,a,soon\n", "line 2", ErrTable},
		"timestep twice":  {"path,stimulus_id,timestep\none.png,a,0\none.png,a,0\n", "line 3", ErrTable},
		"late":            {"path,stimulus_id,timestep\none.png,a,4\n", "timestep 4", ErrTable},
		"a folder":        {"path\n.\n", "line 2", nil},
	} {
		writeText(t, "t.csv", c.text)
		_, err := Open(t.Context(), Options{Inputs: []string{"t.csv"}})
		require.ErrorIs(t, err, ErrInput, name)
		if c.is != nil {
			assert.ErrorIs(t, err, c.is, name)
		}
		assert.ErrorContains(t, err, "t.csv", name)
		assert.ErrorContains(t, err, c.says, name)
	}
	writeText(t, "t.csv", "path\nnone.png\n")
	set := open(t, Options{Inputs: []string{"t.csv"}, AllowMissing: true})
	for s := range set.From(0) {
		_, err := s.Frames[0].Pixels()
		assert.ErrorIs(t, err, fs.ErrNotExist)
		assert.ErrorIs(t, err, ErrInput)
		assert.ErrorContains(t, err, "t.csv, line 2")
	}
}

func TestInputErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("empty", 0o777))
	writeNPY(t, "wrong.npy", []int{2, 224, 3}, func(int) uint8 { return 1 })
	writeNPY(t, "none.npy", []int{0, 224, 224, 3}, func(int) uint8 { return 1 })
	writeNPY(t, "range.npy", []int{1, 224, 224, 3}, func(int) float32 { return -1 })
	for input, says := range map[string]string{
		"nothing.png": "nothing.png", "empty": "no pictures", "*.jpg": "no file fits", "[": "[",
		"wrong.npy": "shape", "none.npy": "no images", "range.npy": "value -1", "-": "standard input",
	} {
		_, err := Open(t.Context(), Options{Inputs: []string{input}})
		require.ErrorIs(t, err, ErrInput, input)
		assert.ErrorContains(t, err, says)
	}
	_, err := Open(t.Context(), Options{})
	assert.ErrorIs(t, err, ErrInput)
	_, err = Open(t.Context(), Options{Inputs: []string{"empty"}, Preprocessing: tfconvrnn.Preprocessing{Name: "wrap"}})
	assert.ErrorIs(t, err, tfconvrnn.ErrOption)
	_, err = Open(t.Context(), Options{Inputs: []string{"-"}, Stdin: strings.NewReader("a.png\n")})
	assert.ErrorContains(t, err, "line 1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Open(ctx, Options{Inputs: []string{"empty"}})
	assert.ErrorIs(t, err, context.Canceled)
}

func TestArrays(t *testing.T) {
	t.Chdir(t.TempDir())
	writeNPY(t, "bytes.npy", []int{3, 224, 224, 3}, func(i int) uint8 { return uint8(10 * i) })
	writeNPY(t, "unit.npy", []int{2, 224, 224, 3}, func(i int) float32 { return float32(i) / 255 })
	writeNPY(t, "wide.npy", []int{2, 224, 224, 3}, func(i int) float32 { return float32(i) * 100 })
	writeNPY(t, "movies.npy", []int{2, 3, 224, 224, 3}, func(i int) uint8 { return uint8(i) })
	set := open(t, Options{Inputs: []string{"bytes.npy", "unit.npy", "wide.npy", "movies.npy"}})
	assert.Equal(t, [][]int{{0}, {10}, {20}, {0}, {1}, {0}, {100}, {0, 1, 2}, {3, 4, 5}}, collect(t, set))
	assert.Equal(t, "bytes.npy[1]", set.IDs()[1])
	assert.True(t, set.Sequences())
	assert.False(t, set.Pictures())
	hashes, err := set.Hashes(t.Context())
	require.NoError(t, err)
	assert.Equal(t, hashes[3], hashes[5], "equal values have equal hashes")
	assert.Len(t, hashes[0], 64)

	set = open(t, Options{Inputs: []string{"movies.npy"}, MaxFrames: 2})
	assert.Equal(t, [][]int{{0, 1}, {3, 4}}, collect(t, set))
}

// writeGIF writes an animation of uniform frames.
func writeGIF(t testing.TB, path string, greys ...uint8) {
	t.Helper()
	g := &gif.GIF{}
	for _, grey := range greys {
		frame := image.NewPaletted(image.Rect(0, 0, 224, 224), palette.Plan9)
		index := uint8(color.Palette(palette.Plan9).Index(color.Gray{grey}))
		for i := range frame.Pix {
			frame.Pix[i] = index
		}
		g.Image, g.Delay = append(g.Image, frame), append(g.Delay, 4)
	}
	var b bytes.Buffer
	require.NoError(t, gif.EncodeAll(&b, g))
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o666))
}

func TestSequences(t *testing.T) {
	t.Chdir(t.TempDir())
	writeGIF(t, "wave.gif", 0, 255, 255, 0)
	set := open(t, Options{Inputs: []string{"wave.gif"}})
	assert.Equal(t, [][]int{{0}}, collect(t, set))
	set = open(t, Options{Inputs: []string{"wave.gif"}, Animate: true})
	assert.True(t, set.Sequences())
	assert.Equal(t, [][]int{{0, 255, 255, 0}}, collect(t, set))
	for s := range set.From(0) {
		assert.Same(t, s.Frames[1], s.Frames[2], "equal consecutive frames are computed once")
	}
	set = open(t, Options{Inputs: []string{"wave.gif"}, Animate: true, MaxFrames: 2})
	assert.Equal(t, [][]int{{0, 255}}, collect(t, set))

	for i := range 11 {
		writePicture(t, fmt.Sprintf("walk/left/subject 1/frame%d.png", i), uint8(i))
	}
	writePicture(t, "walk/right/0.png", 50)
	set = open(t, Options{Inputs: []string{"walk"}, FolderSequences: true})
	assert.Equal(t, []string{"left/subject 1", "right"}, set.IDs())
	assert.Equal(t, []string{"left", ""}, column(t, set, "class"))
	assert.Equal(t, [][]int{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {50}}, collect(t, set))

	writeText(t, "rsvp.csv", "stimulus_id,timestep,path,condition\n"+
		"b,2,walk/left/subject 1/frame7.png,9\na,0,walk/right/0.png,1\nb,0,walk/left/subject 1/frame3.png,2\na,3,walk/left/subject 1/frame1.png,1\nb,4,walk/left/subject 1/frame3.png,2\n")
	set = open(t, Options{Inputs: []string{"rsvp.csv"}, MaxFrames: 6})
	assert.True(t, set.Timed())
	assert.Equal(t, []string{"b", "a"}, set.IDs())
	assert.Equal(t, []int64{2, 1}, column(t, set, "condition"))
	assert.Equal(t, [][]int{{3, 3, 7, 7, 3, 3}, {50, 50, 50, 1, 1, 1}}, collect(t, set))
	_, err := Open(t.Context(), Options{Inputs: []string{"rsvp.csv", "wave.gif"}})
	assert.ErrorIs(t, err, ErrInput)
}

func TestHashes(t *testing.T) {
	t.Chdir(t.TempDir())
	writePicture(t, "a.png", 1)
	writePicture(t, "b.png", 2)
	writePicture(t, "c/1.png", 2)
	options := Options{Inputs: []string{"a.png", "b.png"}}
	set := open(t, options)
	hashes, err := set.Hashes(t.Context())
	require.NoError(t, err)
	if out, err := exec.Command("sha256sum", "a.png").Output(); err == nil {
		assert.Equal(t, strings.Fields(string(out))[0], hashes[0])
	}
	before, err := set.Fingerprint(t.Context())
	require.NoError(t, err)
	fingerprint := func() string {
		f, err := open(t, options).Fingerprint(t.Context())
		require.NoError(t, err)
		return f
	}
	assert.Equal(t, before, fingerprint())

	writePicture(t, "b.png", 3)
	assert.NotEqual(t, before, fingerprint())
	for s := range set.From(1) {
		_, err := s.Frames[0].Pixels()
		assert.ErrorIs(t, err, ErrChanged)
		assert.ErrorIs(t, err, ErrInput)
	}
	require.NoError(t, os.Remove("b.png"))
	options.AllowMissing = true
	missingSet := open(t, options)
	hashes, err = missingSet.Hashes(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "missing", hashes[1])
}

func TestUnreadablePictureNamesFile(t *testing.T) {
	t.Chdir(t.TempDir())
	writeText(t, "bad.png", "not a picture")
	set := open(t, Options{Inputs: []string{"bad.png"}})
	for s := range set.From(0) {
		_, err := s.Frames[0].Pixels()
		assert.ErrorIs(t, err, images.ErrUnsupportedFormat)
		assert.True(t, errors.Is(err, ErrInput))
		assert.ErrorContains(t, err, "bad.png")
	}
}

// Tables lead nowhere but to files in their folder, unless the user says so.
func TestTablesStayInTheirFolder(t *testing.T) {
	root := t.TempDir()
	folder := filepath.Join(root, "set")
	require.NoError(t, os.Mkdir(folder, 0o755))
	outside := filepath.Join(root, "set-of-others", "secret.png")
	require.NoError(t, os.Mkdir(filepath.Dir(outside), 0o755))
	inside := filepath.Join(folder, "a.png")
	for _, path := range []string{outside, inside} {
		data, err := os.ReadFile("../testdata/pictures/coffee.png")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, data, 0o644))
	}
	open := func(path, tableRoot, header string) error {
		table := filepath.Join(folder, "table.csv")
		require.NoError(t, os.WriteFile(table, []byte(header+"\n"+strings.Replace(header, "path", path, 1)+"\n"), 0o644))
		set, err := Open(t.Context(), Options{Inputs: []string{table}, TableRoot: tableRoot})
		if err == nil {
			require.NoError(t, set.Close())
		}
		return err
	}
	for _, header := range []string{"path", "path,x"} {
		for _, path := range []string{"../set-of-others/secret.png", outside, "x/../../set-of-others/secret.png",
			"/etc/hostname", "../set/../set-of-others/secret.png"} {
			err := open(path, "", header)
			require.ErrorIs(t, err, ErrInput, path)
			assert.ErrorContains(t, err, "table.csv, line 2")
			var option *OptionError
			require.ErrorAs(t, err, &option)
			assert.Equal(t, "TableRoot", option.Option)
		}
		for _, path := range []string{"a.png", inside, "./a.png", "../set/a.png", "x/../a.png"} {
			assert.NoError(t, open(path, "", header), path)
		}
		assert.NoError(t, open(outside, "/", header))
		assert.NoError(t, open(outside, root, header))
		assert.Error(t, open("/etc/hostname", root, header))
	}
	timed := filepath.Join(folder, "timed.csv")
	require.NoError(t, os.WriteFile(timed, []byte("stimulus_id,timestep,path\ns,0,a.png\ns,1,"+outside+"\n"), 0o644))
	_, err := Open(t.Context(), Options{Inputs: []string{timed}})
	require.ErrorIs(t, err, ErrInput)
	assert.ErrorContains(t, err, "timed.csv, line 3")
}

// A row takes memory only up to a limit, whatever it claims to hold.
func TestEndlessRows(t *testing.T) {
	for _, text := range []string{"path\n", "path\n\"", "", "\""} {
		read := 0
		endless := io.MultiReader(strings.NewReader(text), readerFunc(func(p []byte) (int, error) {
			for i := range p {
				p[i] = 'a'
			}
			if read += len(p); read > 4*maxRecordBytes {
				t.Fatalf("it read %d bytes", read)
			}
			return len(p), nil
		}))
		rows, err := newTextRows(bufio.NewReader(endless), textForm{}, false)
		require.NoError(t, err)
		_, err = readTable(t.Context(), rows, &Options{}, func(*tableColumns, tableRow) error { return nil })
		require.ErrorIs(t, err, ErrTable)
		assert.ErrorContains(t, err, "a row of more than")
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func BenchmarkHashes(b *testing.B) {
	dir := b.TempDir()
	for i := range 64 {
		writePicture(b, filepath.Join(dir, fmt.Sprintf("%d.png", i)), uint8(i))
	}
	for b.Loop() {
		set := open(b, Options{Inputs: []string{dir}})
		if _, err := set.Hashes(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func TestDistinguish(t *testing.T) {
	free := func(int) bool { return false }
	ids := []string{"1.png", "1.png", "2.png", "2.png", "3.png"}
	distinguish(ids, []string{"/x/a/1.png", "/x/b/1.png", "/x/2.png", "/x/2.png", "/y/3.png"}, free)
	assert.Equal(t, []string{"a/1.png", "b/1.png", "2.png", "2.png#2", "3.png"}, ids)
	ids = []string{"1.png", "1.png", "1.png#2", "1.png"}
	distinguish(ids, []string{"/1.png", "/1.png", "/1.png#2", "/1.png"}, func(i int) bool { return i == 1 })
	assert.Equal(t, []string{"1.png#3", "1.png", "1.png#2", "1.png#4"}, ids)
}
