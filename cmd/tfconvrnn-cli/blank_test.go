package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Only a blank that is a picture has the hash of a file, whatever files there are.
func TestBlankHash(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"published", "gray", "grey", "black", "white", "#804020", "1,2,3", "300,0,0", "blank.png"} {
		require.NoError(t, os.WriteFile(name, []byte(name), 0o666))
	}
	for _, name := range []string{"", "published", "gray", "grey", "black", "white", "#804020", "1,2,3", "300,0,0", "none.png"} {
		assert.Empty(t, blankHash(name), name)
	}
	want := fmt.Sprintf("%x", sha256.Sum256([]byte("blank.png")))
	assert.Equal(t, want, blankHash("blank.png"))
	assert.Equal(t, fmt.Sprintf("%x", sha256.Sum256([]byte("published"))), blankHash("./published"))
}
