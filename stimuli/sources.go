package stimuli

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// placed puts the row of a table, if any, before an error about a file.
func placed(where string, err error) error {
	if err == nil {
		return nil
	}
	if where != "" {
		err = fmt.Errorf("%s: %w", where, err)
	}
	return inputError{err}
}

// read reads a file, and compares it with what was hashed before.
func (s *session) read(path string) ([]byte, error) {
	file, err := s.open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, images.MaxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > images.MaxFileSize {
		return nil, fmt.Errorf("%s: %w: files may hold up to %d bytes", path, images.ErrTooLarge, images.MaxFileSize)
	}
	if want, ok := s.files.Load(path); ok {
		if sum := sha256.Sum256(data); sum != want.([sha256.Size]byte) {
			return nil, fmt.Errorf("%s: %w", path, ErrChanged)
		}
	}
	return data, nil
}

// fileHash returns the SHA-256 of a file, which it reads once.
func (s *session) fileHash(ctx context.Context, path string) (sum [sha256.Size]byte, err error) {
	if known, ok := s.files.Load(path); ok {
		return known.([sha256.Size]byte), nil
	}
	file, err := s.open(path)
	if err != nil {
		return sum, err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, &contextReader{ctx, file}); err != nil {
		return sum, fmt.Errorf("%s: %w", path, err)
	}
	sum = [sha256.Size]byte(hash.Sum(nil))
	s.files.Store(path, sum)
	return sum, nil
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// checkFetched returns an error if a local file holds a pointer of Git LFS or git-annex in the place of its content.
func checkFetched(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	start := make([]byte, 512)
	n, err := io.ReadFull(file, start)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	return images.CheckFetched(name, start[:n])
}

// picture reads a picture file and prepares it.
func (s *session) picture(path string) ([]uint8, error) {
	data, err := s.read(path)
	if err != nil {
		return nil, err
	}
	picture, err := images.DecodeBytes(data, path, s.preprocessing.Options())
	if err != nil {
		return nil, err
	}
	if picture.Orientation > 1 {
		s.warnOnce("orientation", "%s has an EXIF orientation (%d) that is not applied, and perhaps others have", path,
			picture.Orientation)
	}
	return s.prepare(path, picture)
}

func (s *session) prepare(path string, picture *images.Picture) ([]uint8, error) {
	pixels, err := s.preprocessing.Apply(picture)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.notices.Picture(path, picture, s.preprocessing)
	return pixels, nil
}

// checkHeaders looks at the headers of a stimulus's files that are not checked yet.
func (s *session) checkHeaders(src source, checked *sync.Map) error {
	switch src := src.(type) {
	case *pictureFile:
		return s.checkHeader(src.path, src.where, checked)
	case *animationFile:
		return s.checkHeader(src.path, src.where, checked)
	case *sequenceFiles:
		for i, path := range src.paths {
			if err := s.checkHeader(path, src.where(i), checked); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *session) checkHeader(path, where string, checked *sync.Map) error {
	if IsRemote(path) {
		return nil
	}
	if _, done := checked.LoadOrStore(path, true); done {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return placed(where, explain(path, err))
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Mode().IsRegular() && images.Plausible(file, info.Size(), path) {
		return placed(where, err)
	}
	data, err := s.read(path)
	if err == nil {
		_, err = images.DecodeBytes(data, path, s.preprocessing.Options())
	}
	return placed(where, err)
}

// pictureFile is a still picture, read when it is shown.
type pictureFile struct{ path, where string }

func (p *pictureFile) image(s *session) *tfconvrnn.Image {
	return tfconvrnn.LazyImage(func() ([]uint8, error) {
		pixels, err := s.picture(p.path)
		return pixels, placed(p.where, err)
	})
}

func (p *pictureFile) stimulus(s *session) (tfconvrnn.Stimulus, error) {
	return tfconvrnn.Stimulus{Frames: []*tfconvrnn.Image{p.image(s)}}, nil
}

func (p *pictureFile) hash(ctx context.Context, s *session) (string, error) {
	return hashOfFile(ctx, s, p.path, p.where)
}

func hashOfFile(ctx context.Context, s *session, path, where string) (string, error) {
	sum, err := s.fileHash(ctx, path)
	return hex.EncodeToString(sum[:]), placed(where, err)
}

// frames makes images of frames, the same for consecutive frames that are equal,
// so that they are computed once.
type frames struct{ images []*tfconvrnn.Image }

func (f *frames) add(pixels, before []uint8) {
	if len(f.images) > 0 && slices.Equal(pixels, before) {
		f.images = append(f.images, f.images[len(f.images)-1])
		return
	}
	f.images = append(f.images, tfconvrnn.LazyImage(func() ([]uint8, error) { return pixels, nil }))
}

// animationFile is an animated GIF as a sequence.
type animationFile struct{ path, where string }

func (a *animationFile) stimulus(s *session) (tfconvrnn.Stimulus, error) {
	sequence, err := a.frames(s)
	return tfconvrnn.Stimulus{Frames: sequence}, placed(a.where, err)
}

func (a *animationFile) frames(s *session) ([]*tfconvrnn.Image, error) {
	data, err := s.read(a.path)
	if err != nil {
		return nil, err
	}
	animation, err := images.DecodeAnimationBytes(data, a.path)
	if err != nil {
		return nil, err
	}
	if n := animation.Len(); s.shown(n) < n {
		s.warnOnce("hidden frames", "%s has %d frames, of which the presentation shows %d, and perhaps others have", a.path,
			n, s.shown(n))
	}
	var f frames
	var before []uint8
	for i, picture := range animation.Frames() {
		if i == s.options.MaxFrames {
			break
		}
		pixels, err := s.prepare(a.path, picture)
		if err != nil {
			return nil, err
		}
		f.add(pixels, before)
		before = pixels
	}
	return f.images, nil
}

func (a *animationFile) hash(ctx context.Context, s *session) (string, error) {
	return hashOfFile(ctx, s, a.path, a.where)
}

// videoFile is a video as a sequence.
type videoFile struct{ path, where string }

func (v *videoFile) stimulus(s *session) (tfconvrnn.Stimulus, error) {
	var f frames
	var before []uint8
	err := s.video(v.path, func(picture *images.Picture) error {
		pixels, err := s.prepare(v.path, picture)
		if err == nil {
			f.add(pixels, before)
			before = pixels
		}
		return err
	})
	return tfconvrnn.Stimulus{Frames: f.images}, placed(v.where, err)
}

func (v *videoFile) hash(ctx context.Context, s *session) (string, error) {
	return hashOfFile(ctx, s, v.path, v.where)
}

// sequenceFiles is a sequence of picture files. Without timesteps each is one
// frame; with them frame t is the one that appeared last at or before timestep t.
type sequenceFiles struct {
	paths, wheres []string
	timesteps     []int
}

func (q *sequenceFiles) where(i int) string {
	if i < len(q.wheres) {
		return q.wheres[i]
	}
	return ""
}

func (q *sequenceFiles) stimulus(s *session) (tfconvrnn.Stimulus, error) {
	var sequence []*tfconvrnn.Image
	ofPath := map[string]*tfconvrnn.Image{}
	image := func(i int) *tfconvrnn.Image {
		if ofPath[q.paths[i]] == nil {
			ofPath[q.paths[i]] = (&pictureFile{q.paths[i], q.where(i)}).image(s)
		}
		return ofPath[q.paths[i]]
	}
	if q.timesteps == nil {
		for i := range min(len(q.paths), s.options.MaxFrames) {
			sequence = append(sequence, image(i))
		}
		return tfconvrnn.Stimulus{Frames: sequence}, nil
	}
	shown := 0
	for t := range s.options.MaxFrames {
		if shown+1 < len(q.paths) && q.timesteps[shown+1] == t {
			shown++
		}
		sequence = append(sequence, image(shown))
	}
	return tfconvrnn.Stimulus{Frames: sequence}, nil
}

// origin is the folder of a sequence without timesteps.
func (q *sequenceFiles) origin() string {
	if q.timesteps == nil && IsRemote(q.paths[0]) {
		return q.paths[0][:strings.LastIndexByte(q.paths[0], '/')]
	}
	if q.timesteps == nil {
		return filepath.Dir(q.paths[0])
	}
	return q.paths[0]
}

func (q *sequenceFiles) hash(ctx context.Context, s *session) (string, error) {
	hash := sha256.New()
	for i, path := range q.paths {
		sum, err := s.fileHash(ctx, path)
		if err != nil {
			return "", placed(q.where(i), err)
		}
		hash.Write(sum[:])
		if q.timesteps != nil {
			_ = binary.Write(hash, binary.LittleEndian, int64(q.timesteps[i]))
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// In the place of hashes.
const (
	missing    = "missing"
	unreadable = "unreadable"
)
