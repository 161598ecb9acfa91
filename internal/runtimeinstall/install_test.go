package runtimeinstall

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// entry of a made-up archive.
type entry struct {
	name, content, link string
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func makeWheel(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var buffer bytes.Buffer
	archive := zip.NewWriter(&buffer)
	for _, e := range entries {
		w, err := archive.Create(e.name)
		require.NoError(t, err)
		_, err = w.Write([]byte(e.content))
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	return buffer.Bytes()
}

func makeTarball(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var buffer bytes.Buffer
	zipped := gzip.NewWriter(&buffer)
	archive := tar.NewWriter(zipped)
	for _, e := range entries {
		header := &tar.Header{Name: e.name, Mode: 0o755, Size: int64(len(e.content)), Typeflag: tar.TypeReg, Linkname: e.link}
		if e.link != "" {
			header.Typeflag = tar.TypeSymlink
		}
		require.NoError(t, archive.WriteHeader(header))
		_, err := archive.Write([]byte(e.content))
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	require.NoError(t, zipped.Close())
	return buffer.Bytes()
}

// noise does not compress, so that cutting an archive cuts it.
func noise(n int) string {
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return string(data)
}

var (
	metadata  = entry{name: "tensorflow_cpu-" + Version + ".dist-info/METADATA", content: "Version: " + Version}
	library   = entry{name: "tensorflow/libtensorflow_cc.so.2", content: "library" + noise(3<<20)}
	framework = entry{name: "tensorflow/libtensorflow_framework.so.2", content: "framework"}
	notice    = entry{name: "tensorflow/THIRD_PARTY_NOTICES.txt", content: "licences"}
	other     = entry{name: "tensorflow/include/libtensorflow_cc.so.2", content: "no"}
)

func goodWheel(t *testing.T) []byte {
	return makeWheel(t, other, library, framework, metadata, notice,
		entry{name: "../../evil", content: "evil"}, entry{name: "/tmp/libtensorflow_cc.so.2", content: "evil"},
		entry{name: "tensorflow/../tensorflow/libtensorflow_cc.so.2", content: "evil"})
}

// newCache gives the test a cache directory and returns that of the runtimes.
func newCache(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	t.Setenv("TFCONVRNN_CACHE", root)
	return filepath.Join(root, "runtime")
}

func write(t *testing.T, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "archive.whl")
	require.NoError(t, os.WriteFile(name, data, 0o644))
	return name
}

// names lists a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestInstallWheel(t *testing.T) {
	root := newCache(t)
	data := goodWheel(t)
	file := write(t, data)
	stages := map[string]int64{}
	result, err := Install(t.Context(), Options{File: file, SHA256: strings.ToUpper(sumOf(data)),
		Progress: func(stage string, done, total int64) {
			assert.LessOrEqual(t, done, total)
			stages[stage] = total
		}})
	require.NoError(t, err)
	assert.False(t, result.AlreadyInstalled)
	assert.Equal(t, filepath.Join(root, Version+"-cpu"), result.Dir)
	assert.Equal(t, []string{"THIRD_PARTY_NOTICES.txt", "libtensorflow_cc.so.2", "libtensorflow_framework.so.2",
		"manifest.json"}, names(t, result.Dir))
	assert.Equal(t, []string{Version + "-cpu", ".lock"}, append(names(t, root)[1:], names(t, root)[0]))
	content, err := os.ReadFile(filepath.Join(result.Dir, "libtensorflow_cc.so.2"))
	require.NoError(t, err)
	assert.Equal(t, library.content, string(content))
	assert.Equal(t, int64(len(data)), stages[StageVerify])
	assert.Equal(t, int64(len(library.content)+len(framework.content)), stages[StageExtract])

	m, err := Verify(t.Context(), result.Dir)
	require.NoError(t, err)
	assert.Equal(t, result.Manifest, m)
	assert.Equal(t, Version, m.Version)
	assert.Equal(t, "cpu", m.Variant)
	assert.Equal(t, "archive.whl", m.Source)
	assert.Equal(t, sumOf(data), m.SourceSHA256)
	assert.True(t, m.Verified)
	assert.Equal(t, File{"libtensorflow_framework.so.2", 9, sumOf([]byte("framework"))}, m.Files[1])

	// Once more: nothing to do, unless forced or damaged.
	result, err = Install(t.Context(), Options{File: file, SHA256: sumOf(data)})
	require.NoError(t, err)
	assert.True(t, result.AlreadyInstalled)
	assert.Equal(t, m, result.Manifest)
	result, err = Install(t.Context(), Options{File: file, SHA256: sumOf(data), Force: true})
	require.NoError(t, err)
	assert.False(t, result.AlreadyInstalled)
	require.NoError(t, os.WriteFile(filepath.Join(result.Dir, "libtensorflow_framework.so.2"), []byte("Framework"), 0o644))
	_, err = Verify(t.Context(), result.Dir)
	assert.ErrorIs(t, err, ErrChecksum)
	result, err = Install(t.Context(), Options{File: file, SHA256: sumOf(data)})
	require.NoError(t, err)
	assert.False(t, result.AlreadyInstalled)
	_, err = Verify(t.Context(), result.Dir)
	assert.NoError(t, err)
	assert.Len(t, names(t, root), 2)
}

func TestInstallTarball(t *testing.T) {
	root := newCache(t)
	data := makeTarball(t,
		entry{name: "./lib/libtensorflow.so", link: "libtensorflow.so.2"},
		entry{name: "./lib/libtensorflow.so.2", link: "libtensorflow.so." + Version},
		entry{name: "./lib/libtensorflow.so." + Version, content: "library"},
		entry{name: "./lib/libtensorflow_framework.so.2", link: "/etc/passwd"},
		entry{name: "./lib/libtensorflow_framework.so." + Version, content: "framework"},
		entry{name: "./include/tensorflow/c/c_api.h", content: "header"},
		entry{name: "../../evil", content: "evil"})
	result, err := Install(t.Context(), Options{File: write(t, data), GPU: true, SHA256: sumOf(data)})
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(root, Version+"-gpu"), result.Dir)
	assert.Equal(t, []string{"libtensorflow.so.2", "libtensorflow_framework.so.2", "manifest.json"}, names(t, result.Dir))
	info, err := os.Lstat(filepath.Join(result.Dir, "libtensorflow_framework.so.2"))
	require.NoError(t, err)
	assert.True(t, info.Mode().IsRegular())
}

func TestInstallMacLibraries(t *testing.T) {
	newCache(t)
	result, err := Install(t.Context(), Options{SkipChecksum: true, File: write(t, makeWheel(t, metadata,
		entry{name: "tensorflow/libtensorflow_cc.2.dylib", content: "a"},
		entry{name: "tensorflow/libtensorflow_framework.2.dylib", content: "b"}))})
	require.NoError(t, err)
	assert.Equal(t, []string{"libtensorflow_cc.2.dylib", "libtensorflow_framework.2.dylib", "manifest.json"},
		names(t, result.Dir))
	result, err = Install(t.Context(), Options{SkipChecksum: true, File: write(t, makeTarball(t,
		entry{name: "lib/libtensorflow." + Version + ".dylib", content: "a"}, entry{name: "lib/libtensorflow_framework." +
			Version + ".dylib", content: "b"}))})
	require.NoError(t, err)
	assert.Equal(t, []string{"libtensorflow.2.dylib", "libtensorflow_framework.2.dylib", "manifest.json"},
		names(t, result.Dir))
}

func TestChecksum(t *testing.T) {
	root := newCache(t)
	file := write(t, goodWheel(t))
	for _, o := range []Options{
		{File: file, platform: "linux/amd64"}, // pinned: that of the real wheel
		{File: file, SHA256: strings.Repeat("0", 64)},
	} {
		_, err := Install(t.Context(), o)
		assert.ErrorIs(t, err, ErrChecksum)
		assert.ErrorContains(t, err, "archive.whl")
		assert.ErrorContains(t, err, "download it again")
		assert.Equal(t, []string{".lock"}, names(t, root))
	}
	_, err := Install(t.Context(), Options{File: file, SHA256: "12"})
	assert.ErrorContains(t, err, "64 hexadecimal")

	result, err := Install(t.Context(), Options{File: file, SkipChecksum: true})
	require.NoError(t, err)
	assert.False(t, result.Manifest.Verified)
}

func TestUnknownPlatform(t *testing.T) {
	newCache(t)
	file := write(t, goodWheel(t))
	_, err := Install(t.Context(), Options{platform: "plan9/arm"})
	assert.ErrorIs(t, err, ErrPlatform)
	_, err = Install(t.Context(), Options{platform: "darwin/arm64", GPU: true})
	assert.ErrorIs(t, err, ErrPlatform)
	_, err = Install(t.Context(), Options{platform: "plan9/arm", File: file})
	assert.ErrorIs(t, err, ErrNoChecksum)
	assert.ErrorContains(t, err, "plan9/arm")
	_, err = Install(t.Context(), Options{platform: "plan9/arm", File: file, SkipChecksum: true})
	assert.NoError(t, err)
}

func TestContradictoryOptions(t *testing.T) {
	newCache(t)
	for _, o := range []Options{{File: "a", URL: "b"}, {SHA256: "a"}, {SkipChecksum: true}} {
		_, err := Install(t.Context(), o)
		assert.Error(t, err)
	}
	_, err := Install(t.Context(), Options{File: filepath.Join(t.TempDir(), "none"), SkipChecksum: true})
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = Install(t.Context(), Options{File: t.TempDir(), SkipChecksum: true})
	assert.ErrorContains(t, err, "not a regular file")
}

func TestUnusableArchives(t *testing.T) {
	root := newCache(t)
	whole := goodWheel(t)
	tarball := makeTarball(t, entry{name: "lib/libtensorflow.so." + Version, content: library.content},
		entry{name: "lib/libtensorflow_framework.so." + Version, content: "framework"})
	damaged := bytes.Clone(whole)
	damaged[len(damaged)/2] ^= 1
	damagedTarball := bytes.Clone(tarball)
	damagedTarball[len(tarball)/2] ^= 1
	for name, data := range map[string][]byte{
		"empty":             {},
		"text":              []byte("<html>not found</html>"),
		"cut wheel":         whole[:len(whole)/2],
		"damaged wheel":     damaged,
		"cut tarball":       tarball[:len(tarball)/2],
		"damaged tarball":   damagedTarball,
		"gzip only":         tarball[:4],
		"without framework": makeWheel(t, metadata, library),
		"without libraries": makeWheel(t, metadata, other),
		"without version":   makeWheel(t, library, framework),
		"library twice":     makeWheel(t, metadata, library, library, framework),
		"notice twice":      makeWheel(t, metadata, library, framework, notice, notice),
		"notice too large": makeWheel(t, metadata, library, framework,
			entry{name: notice.name, content: strings.Repeat(" ", maxNoticeBytes+1)}),
		"twice in tarball": makeTarball(t, entry{name: "lib/libtensorflow.so." + Version, content: "a"},
			entry{name: "lib/libtensorflow.so." + Version, content: "b"}),
	} {
		_, err := Install(t.Context(), Options{File: write(t, data), SkipChecksum: true})
		assert.ErrorIs(t, err, ErrArchive, name)
		assert.Equal(t, []string{".lock"}, names(t, root), "nothing is left")
	}
}

func TestOtherVersion(t *testing.T) {
	root := newCache(t)
	data := makeWheel(t, library, framework, entry{name: "tensorflow-2.22.0rc1.dist-info/METADATA"})
	_, err := Install(t.Context(), Options{File: write(t, data), SHA256: sumOf(data)})
	assert.ErrorIs(t, err, ErrVersion)
	assert.ErrorContains(t, err, "2.22.0rc1")
	result, err := Install(t.Context(), Options{File: write(t, data), SkipChecksum: true})
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(root, "2.22.0rc1-cpu"), result.Dir)
}

func TestSizeLimit(t *testing.T) {
	root := newCache(t)
	zeros := strings.Repeat("\x00", 10<<20)
	for name, data := range map[string][]byte{
		"wheel":   makeWheel(t, metadata, entry{name: library.name, content: zeros}, framework),
		"tarball": makeTarball(t, entry{name: "lib/libtensorflow.so." + Version, content: zeros}),
	} {
		assert.Less(t, len(data), 1<<20)
		_, err := Install(t.Context(), Options{File: write(t, data), SkipChecksum: true, maxBytes: 1 << 20})
		assert.ErrorIs(t, err, ErrArchive, name)
		assert.ErrorContains(t, err, "more than 1048576 bytes")
		assert.Equal(t, []string{".lock"}, names(t, root))
	}
	// A header that lies about the size does not help.
	data := makeWheel(t, metadata, entry{name: library.name, content: zeros}, framework)
	size := []byte{0, 0, 0xa0, 0} // 10<<20, little-endian
	require.True(t, bytes.Contains(data, size))
	data = bytes.ReplaceAll(data, size, []byte{1, 0, 0, 0})
	_, err := Install(t.Context(), Options{File: write(t, data), SkipChecksum: true, maxBytes: 1 << 20})
	assert.Error(t, err)
	assert.Equal(t, []string{".lock"}, names(t, root))
}

func TestCancelled(t *testing.T) {
	root := newCache(t)
	data := goodWheel(t)
	for _, stage := range []string{StageVerify, StageExtract} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Install(ctx, Options{File: write(t, data), SkipChecksum: true, Progress: func(s string, _, _ int64) {
			if s == stage {
				cancel()
			}
		}})
		assert.ErrorIs(t, err, context.Canceled, stage)
		assert.Equal(t, []string{".lock"}, names(t, root))
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	root := newCache(t)
	require.NoError(t, os.MkdirAll(filepath.Join(root, workPrefix+"123", contentDir), 0o755))
	_, err := Install(t.Context(), Options{File: write(t, goodWheel(t)), SkipChecksum: true})
	require.NoError(t, err)
	assert.Equal(t, []string{".lock", Version + "-cpu"}, names(t, root))
}

func TestDirectoryWithoutManifestIsReplaced(t *testing.T) {
	root := newCache(t)
	dir := filepath.Join(root, Version+"-cpu")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "old"), nil, 0o644))
	_, err := Verify(t.Context(), dir)
	assert.ErrorIs(t, err, ErrNotInstalled)
	data := goodWheel(t)
	_, err = Install(t.Context(), Options{File: write(t, data), SHA256: sumOf(data)})
	require.NoError(t, err)
	assert.NotContains(t, names(t, dir), "old")
}

func TestVerify(t *testing.T) {
	newCache(t)
	result, err := Install(t.Context(), Options{File: write(t, goodWheel(t)), SkipChecksum: true})
	require.NoError(t, err)
	name := filepath.Join(result.Dir, "libtensorflow_cc.so.2")
	require.NoError(t, os.Truncate(name, 5))
	_, err = Verify(t.Context(), result.Dir)
	assert.ErrorIs(t, err, ErrChecksum)
	assert.ErrorContains(t, err, "libtensorflow_cc.so.2 has 5 bytes")
	require.NoError(t, os.Remove(name))
	_, err = Verify(t.Context(), result.Dir)
	assert.ErrorIs(t, err, ErrChecksum)
	for _, text := range []string{"", "{}", "null", `{"files":[{"name":"../x"}]}`, "\xff"} {
		require.NoError(t, os.WriteFile(filepath.Join(result.Dir, manifestName), []byte(text), 0o644))
		_, err = Verify(t.Context(), result.Dir)
		assert.ErrorIs(t, err, ErrNotInstalled, text)
	}
	_, err = Verify(t.Context(), t.TempDir())
	assert.ErrorIs(t, err, ErrNotInstalled)
}

func TestInstallAtOnce(t *testing.T) {
	root := newCache(t)
	data := goodWheel(t)
	file := write(t, data)
	var group sync.WaitGroup
	var mu sync.Mutex
	did := 0
	for range 6 {
		group.Go(func() {
			result, err := Install(t.Context(), Options{File: file, SHA256: sumOf(data)})
			assert.NoError(t, err)
			mu.Lock()
			defer mu.Unlock()
			if !result.AlreadyInstalled {
				did++
			}
		})
	}
	group.Wait()
	assert.Equal(t, 1, did)
	assert.Equal(t, []string{".lock", Version + "-cpu"}, names(t, root))
}

func TestWaitingIsCancelled(t *testing.T) {
	root := newCache(t)
	require.NoError(t, os.MkdirAll(root, 0o755))
	unlock, err := Options{}.lock(t.Context(), root)
	require.NoError(t, err)
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	_, err = Install(ctx, Options{File: "x", SkipChecksum: true, Progress: func(stage string, _, _ int64) {
		assert.Equal(t, StageWait, stage)
		cancel()
	}})
	assert.ErrorIs(t, err, context.Canceled)
}

func TestCacheNotWritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	t.Setenv("TFCONVRNN_CACHE", file)
	_, err := Install(t.Context(), Options{File: "x", SkipChecksum: true})
	assert.ErrorContains(t, err, file)
}
