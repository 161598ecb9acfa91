package recordings_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/recordings"
)

func tableOf(t *testing.T, text string) *recordings.Recording {
	path := filepath.Join(t.TempDir(), "table.csv")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	a, err := recordings.Open(path, recordings.Layout{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.Close()) })
	return selected(t, a, recordings.Selection{})
}

// Ids that are numbers keep all their digits, and are sorted by size.
func TestNumbersAsIDs(t *testing.T) {
	r := tableOf(t, "stimulus_id,neuroid_id,level,rate\n1000000,n,2.5,1\n999999,n,10,2\n12345678,n,-3,3\n7,n,1e-05,4\n")
	assert.Equal(t, []string{"7", "999999", "1000000", "12345678"}, r.Stimuli())
	assert.True(t, r.Numbered(""))
	assert.True(t, r.Numbered("level"))
	assert.Equal(t, []string{"1e-05", "10", "2.5", "-3"}, r.Labels("level"))
	r = tableOf(t, "stimulus_id,neuroid_id,rate\n1000000,n,1\n007,n,2\n")
	assert.Equal(t, []string{"007", "1000000"}, r.Stimuli())
	assert.False(t, r.Numbered(""))
}

// The mean over bins that lie in others is of the time of all.
func TestAverageOfNestedBins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nested.csv")
	require.NoError(t, os.WriteFile(path, []byte("stimulus_id,neuroid_id,time_bin_start,time_bin_end,rate\n"+
		"a,n,70,170,4\na,n,80,90,15\nb,n,70,170,1\nb,n,80,90,1\n"), 0o600))
	a, err := recordings.Open(path, recordings.Layout{})
	require.NoError(t, err)
	defer a.Close()
	r := selected(t, a, recordings.Selection{AverageTime: true})
	assert.Equal(t, []compare.Bin{{Start: 70, End: 170}}, r.Bins())
	average, err := r.Average(0)
	require.NoError(t, err)
	assert.InDelta(t, 5, average[0][0], 1e-12)
}

// Bins with a gap between them are averaged as asked for, and it is said.
func TestAverageOverAGap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gap.csv")
	require.NoError(t, os.WriteFile(path, []byte("stimulus_id,neuroid_id,time_bin_start,time_bin_end,rate\n"+
		"a,n,70,80,4\na,n,150,160,6\n"), 0o600))
	a, err := recordings.Open(path, recordings.Layout{})
	require.NoError(t, err)
	defer a.Close()
	r := selected(t, a, recordings.Selection{AverageTime: true})
	assert.Equal(t, []compare.Bin{{Start: 70, End: 160}}, r.Bins())
	assert.Contains(t, r.Notes, "the mean over time has nothing of 80-150 ms: there are no such bins")
}
