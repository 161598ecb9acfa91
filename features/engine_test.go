package features

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/diskspace"
)

// resumable are options that checkpoint after every call.
func resumable() Options {
	return Options{Identity: map[string]any{"model": "ugrnn_shallow", "presentation": map[string]any{"times": 16}},
		CheckpointBytes: 1, ChunkRows: 2}
}

func withResume(o Options) Options {
	o.Resume = true
	return o
}

// contents maps every file at and beside path (companions share its stem) to
// its bytes.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(text)
		return err
	}))
	return files
}

func eachFormat(t *testing.T, test func(t *testing.T, format Format)) {
	for _, format := range Formats() {
		t.Run(string(format), func(t *testing.T) { test(t, format) })
	}
}

// uninterrupted returns what a run from start to end leaves behind.
func uninterrupted(t *testing.T, format Format, layout *Layout) map[string]string {
	t.Helper()
	dir := t.TempDir()
	writeAll(t, filepath.Join(dir, "out"), format, layout, 5, Options{ChunkRows: 2})
	return contents(t, dir)
}

func TestSuspendAndResume(t *testing.T) {
	eachFormat(t, func(t *testing.T, format Format) {
		layout := sample(11)
		want := uninterrupted(t, format, layout)
		for stop := range layout.Rows + 1 {
			dir := t.TempDir()
			path := filepath.Join(dir, "out")
			w, err := Create(path, format, layout, resumable())
			require.NoError(t, err)
			writeRange(t, w, layout, 0, stop, 3)
			if stop > 0 && stop < layout.Rows { // arrays are not all equally far
				require.NoError(t, w.WriteRows(0, stop, values(layout, 0)[stop*60:(stop+1)*60]))
			}
			require.NoError(t, w.Suspend())
			assert.NoFileExists(t, path)

			w, err = Create(path, format, layout, withResume(resumable()))
			require.NoError(t, err)
			if format == Zarr {
				assert.LessOrEqual(t, w.Resumed(), stop)
				assert.Zero(t, w.Resumed()%2*(layout.Rows-w.Resumed()))
			} else if stop == layout.Rows || stop == 0 {
				assert.Equal(t, stop, w.Resumed())
			}
			writeRange(t, w, layout, w.Resumed(), layout.Rows, 4)
			require.NoError(t, w.Finish(context.Background()))
			assert.Equal(t, want, contents(t, dir), "stopped after %d rows", stop)
		}
	})
}

// TestKill kills a writing process again and again, at random moments. The
// process asks before each row, so that it cannot have ended before it is killed,
// however fast the machine; with leave for all rows it may be killed in Finish.
func TestKill(t *testing.T) {
	if path := os.Getenv("ARRAYFILES_TEST_KILL"); path != "" {
		format := Format(os.Getenv("ARRAYFILES_TEST_FORMAT"))
		layout := sample(40)
		w, err := Create(path, format, layout, withResume(resumable()))
		require.NoError(t, err)
		for row := w.Resumed(); row < layout.Rows; row++ {
			_, err := os.Stdin.Read(make([]byte, 1))
			require.NoError(t, err)
			writeRange(t, w, layout, row, row+1, 1)
			time.Sleep(300 * time.Microsecond)
		}
		require.NoError(t, w.Finish(context.Background()))
		return
	}
	eachFormat(t, func(t *testing.T, format Format) {
		layout := sample(40)
		want := uninterrupted(t, format, layout)
		random := rand.New(rand.NewPCG(7, uint64(len(format))))
		kills := 0
		for range 3 {
			dir := t.TempDir()
			path := filepath.Join(dir, "out")
			for attempt := 0; ; attempt++ {
				require.Less(t, attempt, 60, "no progress")
				child := exec.Command(os.Args[0], "-test.run=^TestKill$")
				child.Env = append(os.Environ(), "ARRAYFILES_TEST_KILL="+path, "ARRAYFILES_TEST_FORMAT="+string(format))
				leave, err := child.StdinPipe()
				require.NoError(t, err)
				require.NoError(t, child.Start())
				rows := layout.Rows
				if attempt < 8 {
					rows = random.IntN(layout.Rows + 1)
				}
				leave.Write(make([]byte, rows)) // fails where the process has ended
				if attempt < 8 {
					time.Sleep(time.Duration(random.IntN(60_000)) * time.Microsecond)
					child.Process.Kill()
				}
				err = child.Wait()
				if _, missing := os.Stat(path); missing == nil {
					if _, there := os.Stat(journalPath(path)); there != nil {
						break // finished, whether or not it was killed after that
					}
				}
				require.Error(t, err, "ended without an output")
				kills++
			}
			assert.Equal(t, want, contents(t, dir))
		}
		t.Logf("%d kills", kills)
		assert.Positive(t, kills)
	})
}

func TestResumeRedoesDamagedRows(t *testing.T) {
	eachFormat(t, func(t *testing.T, format Format) {
		layout := sample(12)
		want := uninterrupted(t, format, layout)
		dir := t.TempDir()
		path := filepath.Join(dir, "out")
		w, err := Create(path, format, layout, resumable())
		require.NoError(t, err)
		for row := 0; row < 10; row += 2 {
			writeRange(t, w, layout, row, row+2, 2)
			w.(*engine).collect(true)
			w.(*engine).startCheckpoint()
			w.(*engine).collect(true)
		}
		require.NoError(t, w.Suspend())

		// Flip a byte in the middle of row 5 of the first array.
		e := w.(*engine)
		victim, at := "", int64(0)
		switch s := e.sink.(type) {
		case *fixedSink:
			r := s.plan.regions[0]
			victim, at = partialPath(path), r.offset+5*r.stride+r.rowBytes/2
			if e.folder {
				victim = filepath.Join(victim, s.plan.files[r.file].name)
			}
		case *zarrSink:
			victim, at = filepath.Join(partialPath(path), s.arrays[0].chunkName(2)), 20
		}
		content, err := os.ReadFile(victim)
		require.NoError(t, err)
		content[at] ^= 1
		require.NoError(t, os.WriteFile(victim, content, 0o600))

		w, err = Create(path, format, layout, withResume(resumable()))
		require.NoError(t, err)
		assert.Equal(t, 4, w.Resumed())
		writeRange(t, w, layout, 4, 12, 5)
		require.NoError(t, w.Finish(context.Background()))
		assert.Equal(t, want, contents(t, dir))
	})
}

// However much of the journal survives, the result is the same.
func TestResumeWithTornJournal(t *testing.T) {
	layout := sample(6)
	want := uninterrupted(t, NPZ, layout)
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	w, err := Create(path, NPZ, layout, resumable())
	require.NoError(t, err)
	for row := range 4 {
		writeRange(t, w, layout, row, row+1, 1)
		w.(*engine).collect(true)
	}
	require.NoError(t, w.Suspend())
	whole, err := os.ReadFile(journalPath(path))
	require.NoError(t, err)
	partial, err := os.ReadFile(partialPath(path))
	require.NoError(t, err)
	resumedAt := map[int]bool{}
	for length := range len(whole) + 1 {
		dir := t.TempDir()
		path := filepath.Join(dir, "out")
		require.NoError(t, os.WriteFile(journalPath(path), whole[:length], 0o600))
		require.NoError(t, os.WriteFile(partialPath(path), partial, 0o600))
		w, err := Create(path, NPZ, layout, withResume(resumable()))
		if err != nil {
			assert.ErrorIs(t, err, ErrJournal)
			assert.Less(t, length, 200)
			continue
		}
		resumedAt[w.Resumed()] = true
		writeRange(t, w, layout, w.Resumed(), 6, 2)
		require.NoError(t, w.Finish(context.Background()))
		require.Equal(t, want, contents(t, dir))
	}
	assert.True(t, resumedAt[0] && resumedAt[4], "%v", resumedAt)
}

// A kill between the last entry of the journal and its removal.
func TestRollForward(t *testing.T) {
	eachFormat(t, func(t *testing.T, format Format) {
		layout := sample(5)
		want := uninterrupted(t, format, layout)
		for _, renamed := range []bool{false, true} {
			dir := t.TempDir()
			path := filepath.Join(dir, "out")
			w, err := Create(path, format, layout, resumable())
			require.NoError(t, err)
			writeRange(t, w, layout, 0, 5, 5)
			e := w.(*engine)
			require.NoError(t, e.complete(context.Background()))
			if renamed {
				journal, err := os.ReadFile(journalPath(path))
				require.NoError(t, err)
				require.NoError(t, e.publish())
				require.NoError(t, os.WriteFile(journalPath(path), journal, 0o600))
			}
			e.close()
			w, err = Create(path, format, layout, withResume(resumable()))
			require.NoError(t, err)
			assert.Equal(t, 5, w.Resumed())
			require.NoError(t, w.Finish(context.Background()))
			assert.Equal(t, want, contents(t, dir))
		}
	})
}

func TestResumeMismatch(t *testing.T) {
	layout := sample(4)
	path := filepath.Join(t.TempDir(), "out")
	w, err := Create(path, NPZ, layout, resumable())
	require.NoError(t, err)
	require.NoError(t, w.Suspend())
	identity, err := ReadIdentity(path)
	require.NoError(t, err)
	assert.JSONEq(t, `{"model":"ugrnn_shallow","presentation":{"times":16}}`, string(identity))

	options := withResume(resumable())
	options.Identity = map[string]any{"model": "gru_shallow", "presentation": map[string]any{"times": 17}, "seed": 1}
	_, err = Create(path, NPZ, layout, options)
	require.ErrorIs(t, err, ErrResumeMismatch)
	var mismatch *ResumeMismatchError
	require.ErrorAs(t, err, &mismatch)
	assert.Equal(t, []Difference{{"model", `"ugrnn_shallow"`, `"gru_shallow"`}, {"presentation.times", "16", "17"}, {"seed", "", "1"}}, mismatch.Differences)

	_, err = Create(path, NPZ, sample(5), withResume(resumable()))
	require.ErrorAs(t, err, &mismatch)
	assert.Equal(t, "layout", mismatch.Differences[0].Field)

	_, err = Create(path, NPZ, layout, resumable())
	assert.ErrorIs(t, err, ErrUnfinished)
	_, err = Create(path, NPZ, layout, Options{Resume: true})
	assert.ErrorIs(t, err, ErrLayout)

	options = resumable()
	options.Force = true
	w, err = Create(path, NPZ, layout, options)
	require.NoError(t, err)
	assert.Zero(t, w.Resumed())
	require.NoError(t, w.Abort())
	assert.Empty(t, contents(t, filepath.Dir(path)))
	_, err = ReadIdentity(path)
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

func TestExistingOutput(t *testing.T) {
	eachFormat(t, func(t *testing.T, format Format) {
		dir := t.TempDir()
		path := filepath.Join(dir, "out")
		layout := sample(3)
		writeAll(t, path, format, layout, 2, Options{})
		before := contents(t, dir)
		_, err := Create(path, format, layout, Options{})
		assert.ErrorIs(t, err, ErrExists)
		assert.Equal(t, before, contents(t, dir))

		// With force it stays until the new one is finished.
		w, err := Create(path, format, layout, Options{Force: true})
		require.NoError(t, err)
		writeRange(t, w, layout, 0, 2, 2)
		require.NoError(t, w.Abort())
		assert.Equal(t, before, contents(t, dir))
		writeAll(t, path, format, sample(2), 2, Options{Force: true})
		assert.NotEqual(t, before, contents(t, dir))
	})
	// A folder of something else is never replaced.
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "thesis.tex"), []byte("x"), 0o600))
	for _, format := range Formats() {
		_, err := Create(dir, format, sample(2), Options{Force: true})
		assert.ErrorIs(t, err, ErrExists, format)
	}
	assert.Len(t, contents(t, dir), 1)
	_, err := os.Stat(partialPath(dir))
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

func TestWriterRefusesMisuse(t *testing.T) {
	eachFormat(t, func(t *testing.T, format Format) {
		dir := t.TempDir()
		path := filepath.Join(dir, "out")
		layout := sample(3)
		w, err := Create(path, format, layout, Options{})
		require.NoError(t, err)
		_, err = Create(path, format, layout, Options{})
		assert.ErrorIs(t, err, ErrBusy)
		assert.ErrorIs(t, w.WriteRows(0, 1, make([]float32, 60)), ErrOrder)
		assert.ErrorIs(t, w.WriteRows(0, 0, make([]float32, 59)), ErrOrder)
		assert.ErrorIs(t, w.WriteRows(0, 0, make([]float32, 240)), ErrOrder)
		assert.ErrorIs(t, w.WriteRows(9, 0, nil), ErrOrder)
		assert.ErrorIs(t, w.Finish(context.Background()), ErrIncomplete)
		writeRange(t, w, layout, 0, 3, 1)
		cancelled, cancel := context.WithCancel(context.Background())
		cancel()
		assert.ErrorIs(t, w.Finish(cancelled), context.Canceled)
		assert.Empty(t, contents(t, dir))
		assert.ErrorIs(t, w.WriteRows(0, 3, nil), ErrClosed)
		assert.ErrorIs(t, w.Finish(context.Background()), ErrClosed)
		assert.NoError(t, w.Abort())
		assert.NoError(t, w.Suspend())

		_, err = Create(filepath.Join(dir, "absent", "out"), format, layout, Options{})
		assert.ErrorIs(t, err, fs.ErrNotExist)
	})
}

func TestNoSpace(t *testing.T) {
	eachFormat(t, func(t *testing.T, format Format) {
		if diskspace.Free(t.TempDir()) < 0 {
			t.Skip("the file system does not tell its free space")
		}
		dir := t.TempDir()
		layout := sample(2)
		layout.Streamed[0].RowShape = []int{3, 1 << 27}
		layout.Streamed[0].Dimensions = nil
		layout.Rows = 1 << 16 // 96 TiB
		layout.Columns = []Column{{Name: "stimulus_id", Values: make([]string, layout.Rows)}}
		_, err := Create(filepath.Join(dir, "out"), format, layout, Options{ChunkRows: 1})
		if format == MATLAB {
			assert.ErrorIs(t, err, ErrTooLarge)
		} else {
			assert.ErrorIs(t, err, ErrNoSpace)
			assert.ErrorContains(t, err, "TB are needed")
		}
		assert.Empty(t, contents(t, dir))
	})
}

func TestRefusedLayouts(t *testing.T) {
	change := map[string]func(*Layout){
		"no rows":               func(l *Layout) { l.Rows = 0 },
		"no arrays":             func(l *Layout) { l.Streamed = nil },
		"same name":             func(l *Layout) { l.Streamed[1].Name = "conv9" },
		"name leads out":        func(l *Layout) { l.Streamed[1].Name = "../x" },
		"absolute name":         func(l *Layout) { l.Streamed[1].Name = "/x" },
		"hidden name":           func(l *Layout) { l.Columns[1].Name = ".zattrs" },
		"control character":     func(l *Layout) { l.Columns[1].Name = "a\nb" },
		"empty name":            func(l *Layout) { l.Attributes[0].Name = "" },
		"zero dimension":        func(l *Layout) { l.Streamed[0].RowShape[1] = 0 },
		"overflow":              func(l *Layout) { l.Streamed[2].RowShape = []int{math.MaxInt, 7}; l.Streamed[2].Dimensions = nil },
		"dimension names":       func(l *Layout) { l.Streamed[0].Dimensions = []string{"x"} },
		"timesteps":             func(l *Layout) { l.Streamed[0].Layer.Timesteps = []int{1} },
		"driven":                func(l *Layout) { l.Streamed[0].Layer.Driven = []bool{true} },
		"text rows":             func(l *Layout) { l.Streamed[0].DataType = Text },
		"column length":         func(l *Layout) { l.Columns[0].Values = []string{"x"} },
		"column type":           func(l *Layout) { l.Columns[0].Values = []complex64{1, 2, 3} },
		"constant shape":        func(l *Layout) { l.Constants[1].Shape = []int{7} },
		"constant type":         func(l *Layout) { l.Constants[1].Values = 3 },
		"constant's dimensions": func(l *Layout) { l.Constants[1].Dimensions = []string{"x"} },
	}
	for name, f := range change {
		layout := sample(3)
		f(layout)
		dir := t.TempDir()
		for _, format := range Formats() {
			_, err := Create(filepath.Join(dir, "out"), format, layout, Options{})
			assert.ErrorIs(t, err, ErrLayout, "%s %s", name, format)
		}
		assert.Empty(t, contents(t, dir), name)
	}
	_, err := Create(filepath.Join(t.TempDir(), "out"), "hdf5", sample(3), Options{})
	assert.ErrorIs(t, err, ErrLayout)

	layout := sample(3)
	layout.Streamed[1].Layer.Timesteps = []int{1, 2, 3}
	_, err = Create(filepath.Join(t.TempDir(), "out"), NetCDF, layout, Options{})
	assert.ErrorIs(t, err, ErrLayout)
	layout = sample(3)
	layout.Columns = nil
	_, err = Create(filepath.Join(t.TempDir(), "out"), NetCDF, layout, Options{})
	assert.ErrorContains(t, err, "stimulus_id")
	layout = sample(3)
	layout.Streamed[0].DataType, layout.Streamed[1].DataType = Float16, Float16
	for format, refused := range map[Format]bool{NPZ: false, NPYFolder: false, Zarr: false, NetCDF: true, MATLAB: true} {
		_, err = layout.Size(format)
		if refused {
			assert.ErrorIs(t, err, ErrDataType, format)
		} else {
			assert.NoError(t, err, format)
		}
	}
	layout = sample(3)
	layout.Columns[0].Values = []string{"a\nb", "", ""}
	_, err = layout.Size(NPYFolder)
	assert.ErrorIs(t, err, ErrLayout)
}

// The size told beforehand is the size on disk, or for Zarr an upper bound.
func TestSize(t *testing.T) {
	eachFormat(t, func(t *testing.T, format Format) {
		dir := t.TempDir()
		layout := sample(7)
		writeAll(t, filepath.Join(dir, "out"), format, layout, 3, Options{})
		total := int64(0)
		for _, text := range contents(t, dir) {
			total += int64(len(text))
		}
		size, err := layout.Size(format)
		require.NoError(t, err)
		switch format {
		case Zarr:
			assert.GreaterOrEqual(t, size, total)
		case NPYFolder: // room for a mask of false values
			assert.GreaterOrEqual(t, size, total)
			assert.LessOrEqual(t, size, total+7)
		default:
			assert.Equal(t, total, size)
		}
	})
}

// Other stored types, through the npz reader.
func TestStoredTypes(t *testing.T) {
	rows := []float32{1.5, 2.5, -1, 300, 65504, float32(math.NaN())}
	layout := &Layout{Rows: 6}
	types := []DataType{Float16, Float32, Float64, Int32, Int64, Uint8, Bool}
	for _, d := range types {
		layout.Streamed = append(layout.Streamed, Streamed{Name: d.String(), DataType: d})
	}
	path := filepath.Join(t.TempDir(), "x.npz")
	w, err := Create(path, NPZ, layout, Options{})
	require.NoError(t, err)
	for i := range types {
		require.NoError(t, w.WriteRows(i, 0, rows))
	}
	require.NoError(t, w.Finish(context.Background()))
	for _, d := range types[:3] {
		got, err := open(t, path, d.String()).Float32s(0, 6)
		require.NoError(t, err)
		assert.Equal(t, rows[:5], got[:5])
		assert.True(t, math.IsNaN(float64(got[5])))
	}
	for name, want := range map[string][]int64{"int32": {2, 2, -1, 300, 65504, 0}, "int64": {2, 2, -1, 300, 65504, 0},
		"uint8": {2, 2, 0, 255, 255, 0}, "bool": {1, 1, 1, 1, 1, 1}} {
		got, err := open(t, path, name).Int64s(0, 6)
		require.NoError(t, err)
		assert.Equal(t, want, got, name)
	}
}

func FuzzReadJournal(f *testing.F) {
	for _, value := range []any{journalHeader{Version: 1, Format: NPZ, Layout: "ab", Identity: json.RawMessage(`{"a":[1,{"b":null}]}`)}} {
		header, err := journalLine(value)
		require.NoError(f, err)
		entry, err := journalLine(journalEntry{Rows: 3, Checksums: []uint32{1, 2}})
		require.NoError(f, err)
		f.Add(append(header, entry...))
		f.Add(header[:20])
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		header, entries, err := readJournal(bytes.NewReader(content))
		if err != nil {
			assert.ErrorIs(t, err, ErrJournal)
			return
		}
		for i, entry := range entries[1:] {
			assert.GreaterOrEqual(t, entry.Rows, entries[i].Rows)
			assert.LessOrEqual(t, entry.end, int64(len(content)))
		}
		compareIdentities(header.Identity, json.RawMessage(`{}`))
	})
}

func BenchmarkWrite(b *testing.B) {
	layout := sample(64)
	layout.Streamed[0].RowShape = []int{17, 56, 56, 64} // conv1 of an intermediate model
	layout.Streamed[0].Layer.Timesteps = make([]int, 17)
	layout.Streamed[0].Layer.Driven = nil
	layout.Streamed = layout.Streamed[:1]
	batch := make([]float32, 2*layout.Streamed[0].rowElements())
	random := rand.New(rand.NewPCG(1, 2))
	for i := range batch {
		batch[i] = float32(math.Expm1(min(0, random.NormFloat64())) + max(0, random.NormFloat64())) // as elu leaves them
	}
	run := func(name string, format Format, options Options) {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			b.SetBytes(int64(layout.Rows/2*len(batch)) * 4)
			for i := range b.N {
				path := filepath.Join(dir, strconv.Itoa(i))
				w, err := Create(path, format, layout, options)
				require.NoError(b, err)
				for row := 0; row < layout.Rows; row += 2 {
					require.NoError(b, w.WriteRows(0, row, batch))
				}
				require.NoError(b, w.Finish(context.Background()))
				require.NoError(b, os.RemoveAll(path))
			}
		})
	}
	run("npz", NPZ, Options{})
	run("npz-journal", NPZ, Options{Identity: 1})
	run("netcdf", NetCDF, Options{})
	run("zarr", Zarr, Options{})
	run("zarr-uncompressed", Zarr, Options{Uncompressed: true})
}
