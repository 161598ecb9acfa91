// Package npm takes files out of pinned packages of the npm registry.
package npm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// Package is a version of a package.
type Package struct {
	// Name is like "uplot@1.6.32".
	Name string
	// Integrity is the SHA-512 of its archive, in base64, as the registry gives it.
	Integrity string
}

// ErrMissing means that there is no npm, the program.
var ErrMissing = errors.New("npm is not installed")

// Files fetches a package with npm, which knows the user's registry, and returns the files with these paths in it, in
// order. Errors wrap ErrMissing, or say that the registry cannot be reached, or that the package is not the one that
// was pinned.
func (p Package) Files(ctx context.Context, paths ...string) ([][]byte, error) {
	archive, err := p.fetch(ctx)
	if err != nil {
		return nil, err
	}
	if sum := sha512.Sum512(archive); base64.StdEncoding.EncodeToString(sum[:]) != p.Integrity {
		return nil, fmt.Errorf("%s is not the package that was pinned: its SHA-512 is %s", p.Name,
			base64.StdEncoding.EncodeToString(sum[:]))
	}
	found, err := unpack(archive)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	files := make([][]byte, len(paths))
	for i, path := range paths {
		content, ok := found["package/"+path]
		if !ok {
			return nil, fmt.Errorf("%s has no file %s", p.Name, path)
		}
		files[i] = content
	}
	return files, nil
}

// fetch returns the archive.
func (p Package) fetch(ctx context.Context) ([]byte, error) {
	program, err := exec.LookPath("npm")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	command := exec.CommandContext(ctx, program, "pack", "--silent", p.Name)
	command.Dir = dir
	var said bytes.Buffer
	command.Stderr = &said
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("npm pack %s: %w: %s", p.Name, err, &said)
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return nil, fmt.Errorf("npm pack %s made %d archives", p.Name, len(archives))
	}
	return os.ReadFile(archives[0])
}

// unpack returns the files of an archive by their paths.
func unpack(archive []byte) (map[string][]byte, error) {
	unpacked, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	found := map[string][]byte{}
	for entries := tar.NewReader(unpacked); ; {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, err
		}
		if found[entry.Name], err = io.ReadAll(entries); err != nil {
			return nil, err
		}
	}
}
