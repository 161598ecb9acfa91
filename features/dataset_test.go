package features

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDatasetsThatFitNowhere(t *testing.T) {
	one := Variable{Name: "a", Dimensions: []string{"x"}, Shape: []int{2}, Values: []float64{1, 2}}
	wrong := one
	wrong.Shape = []int{3}
	other := Variable{Name: "b", Dimensions: []string{"x"}, Shape: []int{1}, Values: []float64{1}}
	path := filepath.Join(t.TempDir(), "d.nc")
	for _, d := range []Dataset{
		{Variables: []Variable{wrong}}, {Variables: []Variable{one, one}}, {Variables: []Variable{one, other}},
		{Variables: []Variable{{Name: "c", Values: []float64{}, Dimensions: []string{"y"}, Shape: []int{0}}}},
		{Variables: []Variable{{Name: "d", Values: 1}}}, {Variables: []Variable{{Name: "../e", Values: []int64{1}}}},
	} {
		assert.ErrorIs(t, WriteDataset(path, &d), ErrLayout)
	}
	assert.NoFileExists(t, path)
	assert.ErrorIs(t, WriteDataset(path+".txt", &Dataset{Variables: []Variable{one}}), ErrLayout)
	for _, name := range []string{path, filepath.Join(filepath.Dir(path), "d.zarr")} {
		require.NoError(t, WriteDataset(name, &Dataset{Attributes: []Attribute{{"about", "ρ"}}, Variables: []Variable{one}}))
		attributes, err := DatasetAttributes(name)
		require.NoError(t, err)
		assert.Equal(t, "ρ", attributes["about"])
	}
	_, err := DatasetAttributes(t.TempDir())
	assert.ErrorIs(t, err, ErrFormat)
}
