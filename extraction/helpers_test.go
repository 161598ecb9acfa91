package extraction

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// fastFolder is a folder in memory, if there is one: every write is synced.
func fastFolder(t testing.TB) string {
	t.Helper()
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		if dir, err := os.MkdirTemp("/dev/shm", "tfconvrnn-test-*"); err == nil {
			t.Cleanup(func() { os.RemoveAll(dir) })
			return dir
		}
	}
	return t.TempDir()
}

// writeStimuli writes a table of stimuli with columns, of a few files, some missing.
func writeStimuli(t testing.TB, dir string, count int, missing bool) string {
	t.Helper()
	for i := range 3 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.png", i)), []byte{byte(i)}, 0o666))
	}
	table := filepath.Join(dir, "stimuli.csv")
	file, err := os.Create(table)
	require.NoError(t, err)
	defer file.Close()
	w := bufio.NewWriter(file)
	fmt.Fprintln(w, "stimulus_id,path,number,size,word")
	for i := range count {
		file := i % 3
		if missing && i%7 == 3 {
			file = 99
		}
		fmt.Fprintf(w, "stimulus-%d,%d.png,%d,%d.5,w%d\n", i, file, i, i, i%5)
	}
	require.NoError(t, w.Flush())
	return table
}

func testRequest(table, output string, batch int) *Request {
	return &Request{
		Recipe: Recipe{
			Output: output, Weights: "seeded:1", Model: "timedecay_shallow", Devices: tfconvrnn.Devices{tfconvrnn.CPU},
			Precision: tfconvrnn.Float32, Layers: []string{"conv5", "imnetds"},
			Presentation: tfconvrnn.Custom(8, 4), AllTimesteps: true, Logits: false, Reductions: []string{"sparse(3,1)"},
			DataType: features.Float32, OnError: "skip",
			BatchSize: batch, MaxFrames: 8, FramesPerSecond: 100,
		},
		Inputs: stimuli.Options{Inputs: []string{table}},
	}
}

// fakeEngine computes values that depend on the plan, the stimulus and on all others of
// its batch, as the last bits of a model's do.
func fakeEngine(p *Plan, chosen func()) engine {
	return func(ctx context.Context, records iter.Seq[*stimuli.Record], sink rowSink) error {
		var batch []stimuli.Record
		compute := func() error {
			sum := sha256.New()
			fmt.Fprintln(sum, p.Provenance.BlankSHA256)
			for i := range batch {
				fmt.Fprintf(sum, "%s %s\n", batch[i].ID, batch[i].SHA256)
			}
			composition := sum.Sum(nil)
			for i := range batch {
				chosen()
				rows := make([][]float32, len(p.layout.Streamed))
				var fault error
				if batch[i].SHA256 == "missing" {
					fault = stimuli.ErrMissing
				}
				for a, s := range p.layout.Streamed {
					n := 1
					for _, d := range s.RowShape {
						n *= d
					}
					seed := sha256.Sum256(fmt.Appendf(nil, "%x %d %d", composition, i, a))
					random := rand.New(rand.NewChaCha8(seed))
					for range n {
						v := random.Float32()
						if s.Name == "valid" {
							v = 1
						}
						if fault != nil && s.Name == "valid" {
							v = 0
						} else if fault != nil {
							v = float32(math.NaN())
						}
						rows[a] = append(rows[a], v)
					}
				}
				for a, row := range rows {
					half := len(row) / 2 // rows come in parts
					for _, part := range [][]float32{row[:half], row[half:]} {
						if err := sink.add(a, part); err != nil {
							return err
						}
					}
				}
				if err := sink.end(fault); err != nil {
					return err
				}
			}
			batch = batch[:0]
			return nil
		}
		for r := range records {
			if batch = append(batch, *r); len(batch) == p.BatchSize {
				if err := compute(); err != nil {
					return err
				}
			}
		}
		if len(batch) > 0 {
			return compute()
		}
		return ctx.Err()
	}
}

// content hashes all files below a folder.
func content(t testing.TB, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		relative, _ := filepath.Rel(root, name)
		found[relative] = fmt.Sprintf("%x", sha256.Sum256(data))
		return err
	}))
	return found
}

// chunkRange yields chunks from the first to before end.
func chunkRange(first, end int) iter.Seq[int] { return rotated(first, end, 0) }

// rotated begins at the chunk that start says, from 0 on.
func rotated(first, end, start int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range end - first {
			if !yield(first + (start+i)%(end-first)) {
				return
			}
		}
	}
}
