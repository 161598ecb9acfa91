package evaluation

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRecordsAreResumed(t *testing.T) {
	set := filed(t, pictures(300))
	right := func(label, index, _ int) int { return (label + index%3) % 1000 }
	fail := func(index int) error {
		if index == 150 {
			return errors.New("two\nlines, and a comma")
		}
		return nil
	}
	want, err := Run(t.Context(), set, &guesser{times: 3, output: right, fail: fail}, Options{})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "records.csv")
	stopped := &guesser{times: 3, output: right, fail: fail, stop: 200}
	_, err = Run(t.Context(), set, stopped, Options{Records: path})
	assert.ErrorIs(t, err, errStopped)

	// Cut at any byte, as by a kill, it goes on with what is whole.
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	umask, err := os.Create(filepath.Join(t.TempDir(), "umask"))
	require.NoError(t, err)
	require.NoError(t, umask.Close())
	made, err := os.Stat(umask.Name())
	require.NoError(t, err)
	assert.Equal(t, made.Mode(), info.Mode(), "the umask decides")
	random := rand.New(rand.NewPCG(1, 2))
	cuts := []int{0, 1, 5, len(data) - 1, len(data)}
	for range 30 {
		cuts = append(cuts, random.IntN(len(data)))
	}
	for _, cut := range cuts {
		require.NoError(t, os.WriteFile(path, data[:cut], 0o644))
		g := &guesser{times: 3, output: right, fail: fail}
		got, err := Run(t.Context(), set, g, Options{Records: path})
		require.NoError(t, err, "cut at %d of %d", cut, len(data))
		assert.Equal(t, 300, got.Resumed+g.seen)
		if cut == len(data) {
			assert.Equal(t, 199, got.Resumed)
			assert.Equal(t, 1, got.Retried, "the damaged one is tried again")
		}
		got.Resumed, got.Retried = 0, 0
		if len(want.Failed) > 0 {
			want.Failed[0].Error = got.Failed[0].Error // on one line in the file
		}
		assert.Equal(t, want, got)
	}
	// All done: nothing is run but what failed.
	g := &guesser{times: 3, output: right}
	got, err := Run(t.Context(), set.Limit(50), g, Options{Records: path})
	require.NoError(t, err)
	assert.Equal(t, 1, g.seen)
	assert.Equal(t, 49, got.Resumed)
	assert.Equal(t, 50, got.Images)
	g.seen = 0
	got, err = Run(t.Context(), set.Limit(50), g, Options{Records: path})
	require.NoError(t, err)
	assert.Zero(t, g.seen)
	assert.Equal(t, 50, got.Resumed)

	_, err = Run(t.Context(), set, &guesser{times: 4, output: right}, Options{Records: path})
	assert.ErrorIs(t, err, ErrRecords)
	other := &Set{Order: set.Order, Pictures: slices.Clone(set.Pictures)}
	other.Pictures[3].Label++
	_, err = Run(t.Context(), other, g, Options{Records: path})
	assert.ErrorIs(t, err, ErrRecords)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, bad := range []string{"picture\n", strings.Replace(string(whole), ",0,", ",x,", 1), string(whole) + "a,b\n",
		string(whole) + "a,,1,1,1,5,1,\n", string(whole) + "a,,1,1,1000,5 5 5,1,\n"} {
		require.NoError(t, os.WriteFile(path, []byte(bad), 0o644))
		_, err = Run(t.Context(), set, g, Options{Records: path})
		assert.ErrorIs(t, err, ErrRecords, bad[:min(50, len(bad))])
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, bad, string(after), "it is left as it is")
	}
}

// filed gives the pictures of a set files, which hold their ids.
func filed(t testing.TB, set *Set) *Set {
	dir := t.TempDir()
	for i := range set.Pictures {
		p := &set.Pictures[i]
		p.File = write(t, filepath.Join(dir, p.ID), p.ID)
	}
	return set
}

// A file of records is bound to what pictures hold: others of the same names are run.
func TestRecordsAreOfContents(t *testing.T) {
	set := filed(t, pictures(40))
	path := filepath.Join(t.TempDir(), "records.csv")
	wrong := func(label, _, _ int) int { return (label + 1) % 1000 }
	right := func(label, _, _ int) int { return label }
	result, err := Run(t.Context(), set, &guesser{times: 1, output: wrong}, Options{Records: path})
	require.NoError(t, err)
	assert.Zero(t, result.Decoded.Top1.Correct)
	for _, p := range set.Pictures[:10] {
		write(t, p.File, "another picture")
	}
	g := &guesser{times: 1, output: right}
	result, err = Run(t.Context(), set, g, Options{Records: path})
	require.NoError(t, err)
	assert.Equal(t, 10, g.seen)
	assert.Equal(t, 10, result.Changed)
	assert.Equal(t, 30, result.Resumed)
	assert.Equal(t, NewProportion(10, 40), result.Decoded.Top1)
	// The later line of a picture counts.
	g = &guesser{times: 1, output: wrong}
	result, err = Run(t.Context(), set, g, Options{Records: path})
	require.NoError(t, err)
	assert.Zero(t, g.seen)
	assert.Equal(t, NewProportion(10, 40), result.Decoded.Top1)

	// Another choice of classes has other ranks.
	chosen, err := set.ChooseAmong(set.Present())
	require.NoError(t, err)
	_, err = Run(t.Context(), chosen, g, Options{Records: path})
	assert.ErrorIs(t, err, ErrRecords)
	assert.ErrorContains(t, err, "another choice of classes")
	write(t, path, "# {\"format\":1,\"predictor\":\"guesser\"}\npicture,label\n")
	_, err = Run(t.Context(), set, g, Options{Records: path})
	assert.ErrorContains(t, err, "another format (1 instead of 2)")
}

func TestFailedPicturesAreRecordedOnce(t *testing.T) {
	set := filed(t, pictures(5))
	path := filepath.Join(t.TempDir(), "records.csv")
	right := func(label, _, _ int) int { return label }
	broken := func(index int) error {
		if index == 2 {
			return errors.New("damaged")
		}
		return nil
	}
	for range 3 {
		result, err := Run(t.Context(), set, &guesser{times: 1, output: right, fail: broken}, Options{Records: path})
		require.NoError(t, err)
		assert.Equal(t, 4, result.Images)
	}
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, 7, strings.Count(string(data), "\n"))
	// Once the picture is repaired it counts.
	result, err := Run(t.Context(), set, &guesser{times: 1, output: right}, Options{Records: path})
	require.NoError(t, err)
	assert.Equal(t, NewProportion(5, 5), result.Decoded.Top1)
	assert.Empty(t, result.Failed)
}
