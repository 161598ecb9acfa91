package kernels

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
)

// source is all that decides what is computed of a graph.
//
//go:embed *.c *.h rewrite.go fuse.go normal.go restore.go
var source embed.FS

// Identity names this version of the code, for what is kept of its outputs: another version
// may have other last bits.
func Identity() string {
	h := sha256.New()
	err := fs.WalkDir(source, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := source.ReadFile(path)
		h.Write([]byte(path + "\x00"))
		h.Write(content)
		return err
	})
	if err != nil {
		panic(err) // what is embedded can be read
	}
	return hex.EncodeToString(h.Sum(nil))
}
