package runtimeinstall

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"time"

	"github.com/tfconvrnn/go/internal/fetchfile"
)

const (
	// maxArchiveBytes bounds a download; the largest wheel takes 573 MB.
	maxArchiveBytes = 2 << 30
	// retryPause is the first pause; it doubles.
	retryPause = 200 * time.Millisecond
)

// download fetches a URL into root. What arrived of it is kept in files named
// after the URL until the archive is discarded, so that a later call can go on.
func download(ctx context.Context, address string, root string, report func(done, total int64)) (archive, error) {
	sum := sha256.Sum256([]byte(address))
	part := filepath.Join(root, ".download-"+hex.EncodeToString(sum[:8]))
	_, err := fetchfile.Fetch(ctx, address, part, fetchfile.Options{Limit: maxArchiveBytes, Pause: retryPause,
		Progress: report})
	if ctx.Err() != nil {
		return archive{}, ctx.Err()
	}
	if err != nil {
		return archive{}, err
	}
	parsed, err := url.Parse(address)
	if err != nil {
		return archive{}, fmt.Errorf("%w: %w", ErrDownload, err)
	}
	return archive{path: part, name: path.Base(parsed.Path), discard: func() { fetchfile.Discard(part) }}, nil
}
