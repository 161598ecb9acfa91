package disk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

// copyBuffer is how much is read at once.
const copyBuffer = 1 << 20

// Copy is io.Copy that ends with ctx and, if report is not nil, tells how many bytes it has
// copied.
func Copy(ctx context.Context, to io.Writer, from io.Reader, report func(done int64)) (int64, error) {
	buffer := make([]byte, copyBuffer)
	var done int64
	for {
		if err := context.Cause(ctx); err != nil {
			return done, err
		}
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return done, err
			}
			if done += int64(n); report != nil {
				report(done)
			}
		}
		if errors.Is(err, io.EOF) {
			return done, nil
		}
		if err != nil {
			return done, err
		}
	}
}

// ErrNotRegular is wrapped by errors about what is no regular file: a folder, a pipe, a device.
var ErrNotRegular = errors.New("not a regular file")

// OpenRegular opens a file unless it is a pipe or a device, which could block or never end: the
// error wraps ErrNotRegular then.
func OpenRegular(path string) (*os.File, os.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s: %w", path, ErrNotRegular)
	}
	file, err := os.Open(path)
	return file, info, err
}

// Hash returns the hash of a regular file in hexadecimal. It ends with ctx and, if report is not
// nil, tells how many bytes of how many it has read.
func Hash(ctx context.Context, path string, h hash.Hash, report func(done, total int64)) (string, error) {
	file, info, err := OpenRegular(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	var tell func(done int64)
	if report != nil {
		tell = func(done int64) { report(done, info.Size()) }
	}
	if _, err := Copy(ctx, h, file, tell); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// SHA256 is Hash for SHA-256.
func SHA256(ctx context.Context, path string) (string, error) {
	return Hash(ctx, path, sha256.New(), nil)
}

// ErrTooLarge is wrapped by errors about a file that is larger than anything of its kind.
var ErrTooLarge = errors.New("the file is too large")

// ReadFile reads a regular file of at most so many bytes. A larger one is an error that wraps
// ErrTooLarge, and is not read whole.
func ReadFile(path string, most int64) ([]byte, error) {
	file, _, err := OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s: %w: it is larger than %d bytes", path, ErrTooLarge, most)
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}
