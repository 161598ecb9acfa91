package stimuli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// scanned scans inputs as a planner does.
func scanned(t *testing.T, options Options) ([]Record, *Summary) {
	t.Helper()
	scanner, err := NewScanner(t.Context(), options)
	require.NoError(t, err)
	defer scanner.Close()
	var records []Record
	summary, err := scanner.Scan(t.Context(), func(f Found) error {
		sum, err := scanner.Hash(t.Context(), &f)
		f.SHA256 = sum
		records = append(records, f.Record)
		return err
	})
	require.NoError(t, err)
	require.NoError(t, Distinguish(records, summary.Arrays))
	return records, summary
}

// Stimuli of records that were written down
// and read again are the same.
func TestRecordsWrittenDown(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for i, name := range []string{"set/b/1.png", "set/a/1.png", "set/a.png", "set/a-b/2.png", "more/1.png"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o777))
		writePicture(t, name, uint8(10*i+5))
	}
	writeNPY(t, "bytes.npy", []int{3, 224, 224, 3}, func(i int) uint8 { return uint8(50 * i) })
	writeNPY(t, "floats.npy", []int{2, 2, 224, 224, 3}, func(i int) float32 { return float32(50 * i) })
	require.NoError(t, os.WriteFile("table.csv", []byte("path,stimulus_id,size\nset/a.png,x,3\nset/b/1.png,y,4\n"), 0o666))
	require.NoError(t,
		os.WriteFile("timed.csv",
			[]byte("path,stimulus_id,timestep,size\nset/a.png,x,0,1\nset/b/1.png,x,3,1\nmore/1.png,z,0,2\n"), 0o666))
	for _, options := range []Options{
		{Inputs: []string{"set", "more", "set/a.png", "table.csv"}},
		{Inputs: []string{"timed.csv"}},
		{Inputs: []string{"set"}, FolderSequences: true},
		{Inputs: []string{"bytes.npy", "floats.npy"}},
		{Inputs: []string{"-"}, Stdin: strings.NewReader("set/a.png\nmore\n")},
	} {
		set := open(t, options)
		if options.Stdin != nil {
			options.Stdin = strings.NewReader("set/a.png\nmore\n")
		}
		records, summary := scanned(t, options)
		require.Len(t, records, set.Len())
		hashes, err := set.Hashes(t.Context())
		require.NoError(t, err)
		assert.Equal(t, set.Inputs(), summary.Inputs)
		reader, err := NewReader(t.Context(), options, summary.Arrays)
		require.NoError(t, err)
		defer reader.Close()
		i := 0
		for stimulus := range set.From(0) {
			text, err := json.Marshal(records[i])
			require.NoError(t, err)
			var record Record
			require.NoError(t, json.Unmarshal(text, &record))
			assert.Equal(t, set.IDs()[i], record.ID)
			assert.Equal(t, set.found[i].Path, record.Path)
			assert.Equal(t, hashes[i], record.SHA256)
			again := reader.Stimulus(&record)
			assert.Equal(t, stimulus.ID, again.ID)
			require.Len(t, again.Frames, len(stimulus.Frames))
			assert.Equal(t, greys(t, stimulus), greys(t, again))
			i++
		}
	}

	// A file that is another one now is noticed.
	records, summary := scanned(t, Options{Inputs: []string{"set"}})
	writePicture(t, "set/a/1.png", 200)
	reader, err := NewReader(t.Context(), Options{}, summary.Arrays)
	require.NoError(t, err)
	defer reader.Close()
	changed := 0
	for i := range records {
		if _, err := reader.Stimulus(&records[i]).Frames[0].Pixels(); err != nil {
			assert.ErrorIs(t, err, ErrChanged)
			assert.False(t, IsStimulusFault(err))
			changed++
		}
	}
	assert.Equal(t, 1, changed)
}

func TestMissingRecords(t *testing.T) {
	dir := t.TempDir()
	table := filepath.Join(dir, "t.csv")
	require.NoError(t, os.WriteFile(table, []byte("path\ngone.png\n"), 0o666))
	records, _ := scanned(t, Options{Inputs: []string{table}, AllowMissing: true})
	assert.Equal(t, "missing", records[0].SHA256)
	writePicture(t, filepath.Join(dir, "gone.png"), 1) // too late: the plan says it is missing
	reader, err := NewReader(t.Context(), Options{}, nil)
	require.NoError(t, err)
	defer reader.Close()
	_, err = reader.Stimulus(&records[0]).Frames[0].Pixels()
	assert.ErrorIs(t, err, ErrMissing)
	assert.True(t, IsStimulusFault(err))

	scanner, err := NewScanner(t.Context(), Options{Inputs: []string{filepath.Join(dir, "*.csv")}})
	require.NoError(t, err)
	defer scanner.Close()
	require.NoError(t, os.Remove(filepath.Join(dir, "gone.png")))
	_, err = scanner.Scan(t.Context(), func(f Found) error {
		_, err := scanner.Hash(t.Context(), &f)
		return err
	})
	assert.ErrorIs(t, err, ErrInput)
	assert.ErrorContains(t, err, "t.csv, line 2")
	assert.ErrorIs(t, Distinguish([]Record{{ID: "a", Given: true}, {ID: "a", Given: true}}, nil), ErrDuplicate)
}
