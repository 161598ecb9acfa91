package savedmodels

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/internal/bundle"
	"github.com/tfconvrnn/go/internal/weights"
	"github.com/tfconvrnn/go/internal/zoo"
)

// CheckpointInfo describes a checkpoint.
type CheckpointInfo struct {
	Prefix string   `json:"prefix"`
	Models []string `json:"models"` // whose variables it holds
	Bytes  int64    `json:"bytes"`
	// Checked says that all checksums were compared.
	Checked bool         `json:"checksums_verified"`
	Tensors []TensorInfo `json:"tensors"`
}

// TensorInfo describes a tensor of a checkpoint.
type TensorInfo struct {
	Name  string  `json:"name"`
	Type  string  `json:"type"` // as in float, int64
	Shape []int64 `json:"shape"`
	Bytes int64   `json:"bytes"`
	// Slices is how many slices it is stored in, 0 if it is stored whole.
	Slices int `json:"slices,omitempty"`
}

// InspectCheckpoint lists the tensors of a TensorFlow V2 checkpoint and the models that it fits.
// The name is its prefix, its .index file, or the directory of a model.ckpt. If verify is set
// the checksum of every tensor is compared; progress, if not nil, is then called with the bytes
// read so far and in all. Errors wrap convert.ErrNotFound or convert.ErrCorrupt, or come from
// the file system or ctx.
func InspectCheckpoint(ctx context.Context, name string, verify bool, progress func(done, total int64)) (
	*CheckpointInfo, error) {
	prefix := strings.TrimSuffix(name, ".index")
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		prefix = filepath.Join(name, CheckpointName)
	}
	reader, err := bundle.Open(prefix)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	c := &CheckpointInfo{Prefix: prefix, Models: []string{}, Tensors: []TensorInfo{}}
	for _, e := range reader.Entries() {
		c.Bytes += e.Size
		c.Tensors = append(c.Tensors, TensorInfo{e.Name, strings.ToLower(strings.TrimPrefix(e.DataType.String(), "DT_")),
			e.Shape, e.Size, e.Slices})
	}
	if verify {
		if err := reader.VerifyAll(ctx, progress); err != nil {
			return nil, err
		}
		c.Checked = true
	}
	for _, m := range zoo.Models() {
		if source, err := weights.OpenCheckpoint(prefix, m.Variables()); err == nil {
			c.Models = append(c.Models, m.Name)
			source.Close()
		}
	}
	return c, nil
}

// SeedCheckpoint writes the untrained weights that a seed makes as a checkpoint,
// <dir>/<model>/model.ckpt.*, laid out like the published ones, and returns its prefix. One that
// is there is replaced only if replace is set; else the error wraps convert.ErrExists. Progress,
// if not nil, is called with the number of parameters written so far and in all.
func SeedCheckpoint(ctx context.Context, model string, seed uint64, dir string, replace bool,
	progress func(done, total int64)) (string, error) {
	if _, err := Lookup(model); err != nil {
		return "", err
	}
	source, err := convert.Seeded(model, seed)
	if err != nil {
		return "", err
	}
	defer source.Close()
	prefix := filepath.Join(dir, model, CheckpointName)
	if _, err := os.Stat(prefix + ".index"); err == nil && !replace {
		return "", fmt.Errorf("%s.index: %w", prefix, convert.ErrExists)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(prefix), 0o777); err != nil {
		return "", err
	}
	return prefix, convert.WriteCheckpoint(ctx, model, source, prefix, progress)
}
