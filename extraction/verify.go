package extraction

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/tfconvrnn/go/internal/parallel"
	"github.com/tfconvrnn/go/internal/storage"
)

type (
	store  = storage.Store
	object = storage.Object
)

// ErrDamaged means that a sealed store is not what its manifest says.
var ErrDamaged = errors.New("the sealed store is damaged")

// VerifyStore compares every file of a sealed store, a path or a URL, with the
// manifest, and that with the seal. The error wraps ErrDamaged and names the first
// file that differs.
func VerifyStore(ctx context.Context, name string) error {
	var s store
	if storage.IsRemote(name) {
		var err error
		if s, err = storage.Open(ctx, name); err != nil {
			return err
		}
		defer s.Close()
	} else {
		s = storage.NewFolder(name, name)
	}
	seal, err := readSeal(ctx, s)
	if err != nil {
		return err
	}
	r, err := s.Open(ctx, manifestName)
	if err != nil {
		return err
	}
	defer r.Close()
	sum := sha256.New()
	lines := bufio.NewScanner(io.TeeReader(r, sum))
	count := 0
	check := func(batch []string) error {
		return parallel.Each(ctx, 2*runtime.GOMAXPROCS(0), len(batch), func(ctx context.Context, i int) error {
			want, file, ok := strings.Cut(batch[i], "  ")
			if !ok {
				return fmt.Errorf("%s: %w: line %q of %s", name, ErrDamaged, batch[i], manifestName)
			}
			got, _, err := hashObject(ctx, s, file)
			if err != nil {
				return fmt.Errorf("%s: %w: %w", name, ErrDamaged, err)
			}
			if got != want {
				return fmt.Errorf("%s: %w: %s has other bytes", name, ErrDamaged, file)
			}
			return nil
		})
	}
	var batch []string
	for lines.Scan() {
		count++
		if batch = append(batch, lines.Text()); len(batch) == 256 {
			if err := check(batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if err := check(batch); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != seal.Manifest || count != seal.Files {
		return fmt.Errorf("%s: %w: %s is not the one that was sealed", name, ErrDamaged, manifestName)
	}
	return nil
}
