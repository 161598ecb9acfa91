package imagenet_test

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tfconvrnn/go/internal/imagenet"
)

func TestClasses(t *testing.T) {
	id := regexp.MustCompile(`^n\d{8}$`)
	previous := ""
	for i := range imagenet.Classes {
		class := imagenet.At(i)
		assert.Regexp(t, id, class.WordNetID, "class %d", i)
		assert.NotEmpty(t, class.Name(), "class %d", i)
		assert.Greater(t, class.WordNetID, previous, "class %d: ids must be sorted", i)
		previous = class.WordNetID
	}
	assert.Equal(t, imagenet.Class{WordNetID: "n01440764", Names: "tench, Tinca tinca"}, imagenet.At(0))
	assert.Equal(t, "tench", imagenet.At(0).Name())
	assert.Equal(t, "toilet tissue", imagenet.At(999).Name())
}
