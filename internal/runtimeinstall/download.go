package runtimeinstall

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// maxArchiveBytes bounds a download; the largest wheel takes 573 MB.
	maxArchiveBytes = 2 << 30
	// downloadTries is how often a download is taken up again after it was cut.
	downloadTries = 10
	retryPause    = 200 * time.Millisecond // times the number of tries
	// stallTimeout ends a connection that brings nothing any more.
	stallTimeout = time.Minute
)

// download fetches a URL into root. What arrived of it, and the server's name
// for that state of the file (its ETag), are kept in two files named after the
// URL until the archive is discarded, so that a later call can go on.
func download(ctx context.Context, address string, root string, report func(done, total int64)) (archive, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Scheme != "https" && parsed.Scheme != "http" || parsed.Host == "" {
		return archive{}, fmt.Errorf("%w: %q is no http or https URL", ErrDownload, address)
	}
	sum := sha256.Sum256([]byte(address))
	part := filepath.Join(root, ".download-"+hex.EncodeToString(sum[:8]))
	d := downloader{address: address, shown: parsed.Redacted(), part: part, tag: part + ".tag", report: report}
	a := archive{path: part, name: path.Base(parsed.Path), discard: func() {
		_ = os.Remove(d.part)
		_ = os.Remove(d.tag)
	}}
	for try := 1; ; try++ {
		again, err := d.fetch(ctx)
		if err == nil {
			return a, nil
		}
		if ctx.Err() != nil {
			return archive{}, ctx.Err()
		}
		if !again || try >= downloadTries {
			return archive{}, fmt.Errorf("%w: %s: %w", ErrDownload, d.shown, err)
		}
		select {
		case <-ctx.Done():
			return archive{}, ctx.Err()
		case <-time.After(time.Duration(try) * retryPause):
		}
	}
}

type downloader struct {
	address, shown string // shown is without a password
	part, tag      string
	report         func(done, total int64)
}

func (d downloader) size() int64 {
	info, err := os.Stat(d.part)
	if err != nil {
		return 0
	}
	return info.Size()
}

// fetch makes one request. again says that another may succeed.
func (d downloader) fetch(ctx context.Context) (again bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(stallTimeout, func() { cancel(fmt.Errorf("nothing arrived for %v", stallTimeout)) })
	defer stall.Stop()

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.address, nil)
	if err != nil {
		return false, err
	}
	// Else the transport would unpack what a server calls gzip-encoded.
	request.Header.Set("Accept-Encoding", "identity")
	// Without a tag to compare, the rest might be that of another file.
	have := int64(0)
	if tag, err := os.ReadFile(d.tag); err == nil {
		if have = d.size(); have > 0 {
			request.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
			request.Header.Set("If-Range", string(tag))
		}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return true, errors.Join(context.Cause(ctx), err)
	}
	defer response.Body.Close()
	mode := os.O_WRONLY | os.O_CREATE
	total := response.ContentLength
	switch response.StatusCode {
	case http.StatusOK:
		have = 0
		mode |= os.O_TRUNC
		if err := d.keepTag(response.Header); err != nil {
			return false, err
		}
	case http.StatusPartialContent:
		start, whole, ok := contentRange(response.Header.Get("Content-Range"))
		if !ok || start != have {
			d.forget()
			return true, fmt.Errorf("the server sent the range %q, asked from byte %d", response.Header.Get("Content-Range"), have)
		}
		mode |= os.O_APPEND
		total = whole
	case http.StatusRequestedRangeNotSatisfiable:
		// Complete already, if the server says so; else start again.
		if whole, err := strconv.ParseInt(strings.TrimPrefix(response.Header.Get("Content-Range"), "bytes */"), 10, 64); err == nil && whole == have && have > 0 {
			return false, nil
		}
		d.forget()
		return true, errors.New("the server cannot go on from where the download stopped")
	default:
		return response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests,
			fmt.Errorf("the server answered %s", response.Status)
	}
	if total > maxArchiveBytes {
		return false, fmt.Errorf("it has %d bytes, more than %d", total, int64(maxArchiveBytes))
	}
	file, err := os.OpenFile(d.part, mode, 0o644)
	if err != nil {
		return false, err
	}
	body := io.LimitReader(response.Body, maxArchiveBytes-have+1)
	n, err := copyContext(ctx, file, body, func(n int64) {
		stall.Reset(stallTimeout)
		d.report(have+n, max(total, 0))
	})
	if closeErr := file.Close(); closeErr != nil {
		return false, closeErr
	}
	var disk *os.PathError
	switch {
	case errors.As(err, &disk):
		return false, err
	case err != nil:
		return true, errors.Join(context.Cause(ctx), err)
	case have+n > maxArchiveBytes:
		d.forget()
		return false, fmt.Errorf("it has more than %d bytes", int64(maxArchiveBytes))
	case total >= 0 && have+n != total:
		return true, fmt.Errorf("%d of %d bytes arrived", have+n, total)
	}
	return false, nil
}

func (d downloader) forget() {
	_ = os.Remove(d.part)
	_ = os.Remove(d.tag)
}

// keepTag stores what If-Range takes. A weak ETag does not promise equal
// bytes, so it does not count.
func (d downloader) keepTag(header http.Header) error {
	tag := header.Get("ETag")
	if tag == "" || strings.HasPrefix(tag, "W/") {
		_ = os.Remove(d.tag)
		return nil
	}
	return os.WriteFile(d.tag, []byte(tag), 0o644)
}

// contentRange parses "bytes 5-9/10", whole being -1 for "bytes 5-9/*".
func contentRange(text string) (start, whole int64, ok bool) {
	text, found := strings.CutPrefix(text, "bytes ")
	span, size, cut := strings.Cut(text, "/")
	first, _, dash := strings.Cut(span, "-")
	start, err := strconv.ParseInt(first, 10, 64)
	if !found || !cut || !dash || err != nil || start < 0 {
		return 0, 0, false
	}
	if size == "*" {
		return start, -1, true
	}
	whole, err = strconv.ParseInt(size, 10, 64)
	return start, whole, err == nil && whole >= start
}
