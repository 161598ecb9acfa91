package console

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadAnswer(t *testing.T) {
	for answer, want := range map[string]bool{"\n": true, "y\n": true, "Yes\n": true, "n\n": false, "no\n": false,
		"": false, "what\n": false} {
		got, err := ReadAnswer(t.Context(), strings.NewReader(answer))
		require.NoError(t, err)
		assert.Equal(t, want, got, "%q", answer)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	silent, closer := io.Pipe()
	defer closer.Close()
	_, err := ReadAnswer(ctx, silent)
	assert.ErrorIs(t, err, context.Canceled)
}
