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

	"github.com/tfconvrnn/go/internal/hdf5"
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

// writable tells what a format lacks. Where tests must not be skipped, those of internal/hdf5 fail.
func writable(format Format) error {
	if format == HDF5 {
		return hdf5.Load("")
	}
	return nil
}

func eachFormat(t *testing.T, test func(t *testing.T, format Format)) {
	for _, format := range Formats() {
		t.Run(string(format), func(t *testing.T) {
			if err := writable(format); err != nil {
				t.Skip("needs libhdf5:", err)
			}
			test(t, format)
		})
	}
}

// eachJournaled is eachFormat for those whose interrupted runs can be gone on with.
func eachJournaled(t *testing.T, test func(t *testing.T, format Format)) {
	eachFormat(t, func(t *testing.T, format Format) {
		if format.Journaled() {
			test(t, format)
		}
	})
}

// uninterrupted returns what a run from start to end leaves behind.
func uninterrupted(t *testing.T, format Format, layout *Layout) map[string]string {
	t.Helper()
	dir := t.TempDir()
	writeAll(t, filepath.Join(dir, "out"), format, layout, 5, Options{ChunkRows: 2})
	return contents(t, dir)
}

func TestSuspendAndResume(t *testing.T) {
	eachJournaled(t, func(t *testing.T, format Format) {
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
			if stop == layout.Rows || stop == 0 {
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
	eachJournaled(t, func(t *testing.T, format Format) {
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
	eachJournaled(t, func(t *testing.T, format Format) {
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
		r := e.sink.plan.regions[0]
		victim, at := partialPath(path), r.offset+5*r.stride+r.rowBytes/2
		if e.folder {
			victim = filepath.Join(victim, e.sink.plan.files[r.file].name)
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
	eachJournaled(t, func(t *testing.T, format Format) {
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
	assert.Equal(t, []Difference{{"model", `"ugrnn_shallow"`, `"gru_shallow"`}, {"presentation.times", "16", "17"},
		{"seed", "", "1"}}, mismatch.Differences)

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

func FuzzReadJournal(f *testing.F) {
	for _, value := range []any{journalHeader{Version: 1, Format: NPZ, Layout: "ab",
		Identity: json.RawMessage(`{"a":[1,{"b":null}]}`)}} {
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
