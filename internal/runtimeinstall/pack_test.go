package runtimeinstall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unpackEnv makes the test binary unpack a folder, slowly, so that it can be killed.
const unpackEnv = "TFCONVRNN_TEST_UNPACK"

func TestMain(m *testing.M) {
	if dir := os.Getenv(unpackEnv); dir != "" {
		slow := func(string, int64, int64) { time.Sleep(60 * time.Millisecond) }
		if _, err := Unpack(context.Background(), dir, UnpackOptions{platform: "linux/amd64", Progress: slow}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// madePack packs a made-up runtime with two components of CUDA into small parts.
func madePack(t *testing.T) (dir string, index Index) {
	t.Helper()
	newCache(t)
	wheels := t.TempDir()
	var cuda []component
	for _, name := range []string{"cublas", "cuda_nvcc"} {
		data := makeWheel(t,
			entry{name: "nvidia/" + name + "/lib/lib" + name + ".so.12", content: name + noise(2<<20)},
			entry{name: "nvidia/" + name + "/lib/libother.so.12", content: "not this"},
			entry{name: "nvidia/" + name + "/bin/ptxas", content: "#!/bin/sh\n"},
			entry{name: "nvidia/" + name + "/include/x.h", content: "nor this"},
			entry{name: "nvidia/" + name + "/lib/../../../evil.so.12", content: "evil"},
			entry{name: "nvidia_" + name + "_cu12-12.9.1.dist-info/licenses/License.txt", content: "licence"})
		require.NoError(t, os.WriteFile(filepath.Join(wheels, name+".whl"), data, 0o644))
		cuda = append(cuda, component{name, wheel{name, "manylinux", sumOf(data), int64(len(data)), "12.9.1"},
			regexp.MustCompile(`^(lib/lib` + name + `\.so\.12|bin/ptxas)$`)})
	}
	fakePip(t, `for a; do case $a in *==*) cp "`+wheels+`/${a%%==*}.whl" "$dest";; esac; done`)
	runtimeWheel := goodWheel(t)
	o := PackOptions{CUDA: true, MaxPart: 1 << 20}
	o.File, o.SHA256, o.GPU, o.platform, o.cuda = write(t, runtimeWheel), sumOf(runtimeWheel), true, "linux/amd64", cuda
	dir = filepath.Join(t.TempDir(), "parts")
	index, err := Pack(t.Context(), dir, o)
	require.NoError(t, err)
	again := filepath.Join(t.TempDir(), "again")
	second, err := Pack(t.Context(), again, o)
	require.NoError(t, err)
	assert.Equal(t, index, second, "the same archives give the same parts")
	_, err = Pack(t.Context(), dir, o)
	assert.ErrorIs(t, err, fs.ErrExist)
	return dir, index
}

func TestPack(t *testing.T) {
	dir, index := madePack(t)
	require.Greater(t, len(index.Parts), 5)
	var listed []string
	for _, p := range index.Parts {
		info, err := os.Stat(filepath.Join(dir, p.Name))
		require.NoError(t, err)
		assert.Equal(t, p.Size, info.Size())
		assert.LessOrEqual(t, p.Size, int64(1<<20))
		listed = append(listed, p.Name)
	}
	assert.Equal(t, append([]string{"SHA256SUMS", "pack.json"}, listed...), names(t, dir))
	sums := exec.CommandContext(t.Context(), "/usr/bin/sha256sum", "--check", "--strict", "--quiet", sumsName)
	sums.Dir = dir
	output, err := sums.CombinedOutput()
	require.NoError(t, err, string(output))
	results, err := Unpack(t.Context(), dir, UnpackOptions{platform: "linux/amd64"})
	require.NoError(t, err)
	requireUnpacked(t, results)
	again, err := Unpack(t.Context(), dir, UnpackOptions{platform: "linux/amd64"})
	require.NoError(t, err)
	for _, r := range again {
		assert.True(t, r.AlreadyInstalled)
	}
}

// requireUnpacked checks what madePack's parts hold, and that nothing else is there.
func requireUnpacked(t *testing.T, results []Result) {
	t.Helper()
	require.Len(t, results, 3)
	root := filepath.Dir(results[2].Dir)
	assert.Equal(t, filepath.Join(root, Version+"-gpu"), results[2].Dir)
	assert.Equal(t, []string{".lock", Version + "-gpu", "nvidia"}, names(t, root))
	assert.Equal(t, []string{"cublas", "cuda_nvcc"}, names(t, filepath.Join(root, "nvidia")))
	assert.Equal(t, []string{"License.txt", "bin", "lib", "manifest.json"}, names(t, results[0].Dir))
	assert.Equal(t, []string{"libcublas.so.12"}, names(t, filepath.Join(results[0].Dir, "lib")))
	content, err := os.ReadFile(filepath.Join(results[0].Dir, "lib", "libcublas.so.12"))
	require.NoError(t, err)
	assert.Equal(t, "cublas"+noise(2<<20), string(content))
	info, err := os.Stat(filepath.Join(results[1].Dir, "bin", "ptxas"))
	require.NoError(t, err)
	assert.NotZero(t, info.Mode()&0o100, "ptxas can be run")
	for _, r := range results {
		_, err := Verify(t.Context(), r.Dir)
		assert.NoError(t, err)
	}
	assert.Equal(t, "12.9.1", results[0].Manifest.Version)
}

func TestPartsArriveInAnyOrder(t *testing.T) {
	from, index := madePack(t)
	dir := t.TempDir()
	options := UnpackOptions{platform: "linux/amd64", Remove: true}
	_, err := Unpack(t.Context(), dir, options)
	assert.ErrorIs(t, err, ErrPack)
	carry := func(name string) {
		data, err := os.ReadFile(filepath.Join(from, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	carry(IndexName)
	last := len(index.Parts) - 1
	for i := last; i > 0; i -= 2 { // backwards, some twice
		carry(index.Parts[i].Name)
		carry(index.Parts[min(i+2, last)].Name)
		_, err = Unpack(t.Context(), dir, options)
		var incomplete *IncompleteError
		require.ErrorAs(t, err, &incomplete)
		assert.Empty(t, incomplete.Damaged)
		assert.NotContains(t, incomplete.Missing, index.Parts[i].Name)
		assert.NoFileExists(t, filepath.Join(dir, index.Parts[i].Name), "--remove")
	}
	damaged := index.Parts[0].Name
	require.NoError(t, os.WriteFile(filepath.Join(dir, damaged), []byte("half of it"), 0o644))
	_, err = Unpack(t.Context(), dir, options)
	var incomplete *IncompleteError
	require.ErrorAs(t, err, &incomplete)
	assert.Equal(t, []string{damaged}, incomplete.Damaged)
	assert.ErrorContains(t, err, "damaged, and to be copied again: part-001.zst")
	root, err := Options{}.runtimes()
	require.NoError(t, err)
	assert.NoDirExists(t, filepath.Join(root, Version+"-gpu"), "nothing is installed before all is there")
	for _, p := range index.Parts {
		carry(p.Name)
	}
	results, err := Unpack(t.Context(), dir, options)
	require.NoError(t, err)
	requireUnpacked(t, results)
}

func TestUnpackIsKilled(t *testing.T) {
	dir, index := madePack(t)
	root, err := Options{}.runtimes()
	require.NoError(t, err)
	done := 0
	for kill := range 4 {
		process := exec.CommandContext(t.Context(), os.Args[0])
		process.Env = append(os.Environ(), unpackEnv+"="+dir)
		require.NoError(t, process.Start())
		require.Eventually(t, func() bool {
			text, err := os.ReadFile(filepath.Join(root, statePrefix+index.ID[:16], doneName))
			return err == nil && len(strings.Fields(string(text))) > done
		}, 20*time.Second, 5*time.Millisecond, "kill %d", kill)
		require.NoError(t, process.Process.Kill())
		require.Error(t, process.Wait(), "it was killed before it had ended")
		text, err := os.ReadFile(filepath.Join(root, statePrefix+index.ID[:16], doneName))
		require.NoError(t, err)
		done = len(strings.Fields(string(text)))
	}
	// What was unpacked is not read again.
	for line := range strings.FieldsSeq(readText(t, filepath.Join(root, statePrefix+index.ID[:16], doneName))) {
		var number int
		_, err := fmt.Sscan(line, &number)
		require.NoError(t, err)
		require.NoError(t, os.Remove(filepath.Join(dir, index.Parts[number].Name)))
	}
	results, err := Unpack(t.Context(), dir, UnpackOptions{platform: "linux/amd64"})
	require.NoError(t, err)
	requireUnpacked(t, results)
}

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}

func TestUnpackRefuses(t *testing.T) {
	dir, index := madePack(t)
	_, err := Unpack(t.Context(), dir, UnpackOptions{platform: "linux/arm64"})
	assert.ErrorIs(t, err, ErrPlatform)
	for what, spoil := range map[string]func(x *Index){
		"a place elsewhere":   func(x *Index) { x.Folders[0].Name = "../../etc" },
		"a place of another":  func(x *Index) { x.Folders[0].Name = "nvidia/../x" },
		"a file elsewhere":    func(x *Index) { x.Folders[0].Files[0].Name = "../evil" },
		"an absolute file":    func(x *Index) { x.Folders[0].Files[0].Name = "/tmp/evil" },
		"a file twice":        func(x *Index) { x.Folders[0].Files[1].Name = x.Folders[0].Files[0].Name },
		"a huge file":         func(x *Index) { x.Folders[0].Files[0].Size = 1 << 50 },
		"a negative file":     func(x *Index) { x.Folders[0].Files[0].Size = -1 },
		"a part elsewhere":    func(x *Index) { x.Parts[0].Name = "../x" },
		"parts that are more": func(x *Index) { x.Parts[0].Bytes++ },
		"no parts":            func(x *Index) { x.Parts = nil },
		"no id":               func(x *Index) { x.ID = "" },
		"a sum that is none":  func(x *Index) { x.Parts[1].SHA256 = "00" },
	} {
		text, err := json.Marshal(index)
		require.NoError(t, err)
		var spoiled Index
		require.NoError(t, json.Unmarshal(text, &spoiled))
		spoil(&spoiled)
		text, err = json.Marshal(spoiled)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, IndexName), text, 0o644))
		_, err = Unpack(t.Context(), dir, UnpackOptions{platform: "linux/amd64"})
		assert.ErrorIs(t, err, ErrPack, what)
	}
	// A part that is right by its sum, and holds too little.
	spoiled := index
	data := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0, 1, 0, 0}
	sum := sha256.Sum256(data)
	spoiled.Parts[0].SHA256 = hex.EncodeToString(sum[:])
	text, err := json.Marshal(spoiled)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, IndexName), text, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, index.Parts[0].Name), data, 0o644))
	_, err = Unpack(t.Context(), dir, UnpackOptions{platform: "linux/amd64"})
	assert.Error(t, err)
	assert.ErrorIs(t, err, ErrPack)
}

func TestLinkCUDA(t *testing.T) {
	root := newCache(t)
	nvidia := t.TempDir()
	for _, name := range []string{"cudnn/lib/libcudnn.so.9", "cublas/lib/libcublas.so.13", "cuda_nvcc/bin/ptxas"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(nvidia, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(nvidia, name), nil, 0o644))
	}
	for range 2 {
		linked, err := LinkCUDA(nvidia)
		require.NoError(t, err)
		assert.Equal(t, []string{"cudnn", "cuda_nvcc"}, linked)
		assert.FileExists(t, filepath.Join(root, "nvidia", "cudnn", "lib", "libcudnn.so.9"))
	}
	assert.FileExists(t, filepath.Join(nvidia, "cudnn/lib/libcudnn.so.9"), "what is linked stays")
	require.NoError(t, os.Mkdir(filepath.Join(filepath.Dir(nvidia), "nvidia_cudnn_cu13-9.14.0.64.dist-info"), 0o755))
	linked, err := LinkCUDA(nvidia)
	require.NoError(t, err)
	assert.Equal(t, []string{"cuda_nvcc"}, linked, "this cuDNN would open CUDA 13's cuBLAS")
	_, err = LinkCUDA(t.TempDir())
	assert.ErrorIs(t, err, ErrNoCUDA)
}

func TestStrip(t *testing.T) {
	compiler, err := exec.LookPath("cc")
	require.NoError(t, err, "tests need a C compiler")
	dir := t.TempDir()
	source, library := filepath.Join(dir, "a.c"), filepath.Join(dir, "liba.so")
	require.NoError(t,
		os.WriteFile(source,
			[]byte("static int hidden(int x) { return x + 1; }\nint shown(int x) { return hidden(x) * 2; }\n"), 0o644))
	output, err := exec.CommandContext(t.Context(), compiler, "-shared", "-fPIC", "-O0", "-o", library,
		source).CombinedOutput()
	require.NoError(t, err, string(output))
	before, err := os.ReadFile(library)
	require.NoError(t, err)
	require.NoError(t, strip(library))
	after, err := os.ReadFile(library)
	require.NoError(t, err)
	assert.Less(t, len(after), len(before))
	read, err := elf.NewFile(bytes.NewReader(after))
	require.NoError(t, err)
	_, err = read.Symbols()
	assert.ErrorIs(t, err, elf.ErrNoSymbols)
	dynamic, err := read.DynamicSymbols()
	require.NoError(t, err)
	found := false
	for _, s := range dynamic {
		found = found || s.Name == "shown"
	}
	assert.True(t, found)
	for _, p := range read.Progs {
		if p.Type == elf.PT_LOAD && p.Off > 0 {
			assert.Equal(t, before[p.Off:p.Off+p.Filesz], after[p.Off:p.Off+p.Filesz])
		}
	}
	require.NoError(t, strip(library), "once more")
	again, err := os.ReadFile(library)
	require.NoError(t, err)
	assert.Equal(t, after, again)
	program := filepath.Join(dir, "main.c")
	require.NoError(t, os.WriteFile(program, []byte("int shown(int); int main(void) { return shown(20) != 42; }\n"),
		0o644))
	output, err = exec.CommandContext(t.Context(), compiler, "-o", filepath.Join(dir, "main"), program, library,
		"-Wl,-rpath,"+dir).CombinedOutput()
	require.NoError(t, err, string(output))
	require.NoError(t, exec.CommandContext(t.Context(), filepath.Join(dir, "main")).Run(), "the stripped library works")
	other := write(t, []byte("no library"))
	require.NoError(t, strip(other))
}
