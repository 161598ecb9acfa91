package libtf

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Loading happens once in a process, so each case runs in a child: this test
// binary, told so by childEnv.
const childEnv = "LIBTF_TEST_CHILD"

type childResult struct {
	Version, Path, Error string
	Causes               []string
	Again                string // error of a second Load("")
	Other                string // error of a Load of another path
}

var causes = map[string]error{
	"ErrNotFound": ErrNotFound, "ErrDependency": ErrDependency, "ErrSymbol": ErrSymbol, "ErrVersion": ErrVersion,
	"ErrTruncated": ErrTruncated, "ErrFormat": ErrFormat, "ErrNoCgo": ErrNoCgo, "ErrNoRandom": ErrNoRandom,
}

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	var result childResult
	r, err := Load(os.Getenv("LIBTF_TEST_OPTION"))
	if err == nil {
		result.Version, result.Path = r.Version(), r.Path()
	} else {
		result.Error = err.Error()
		for name, cause := range causes {
			if errors.Is(err, cause) {
				result.Causes = append(result.Causes, name)
			}
		}
	}
	if _, err := Load(""); err != nil {
		result.Again = err.Error()
	}
	if _, err := Load(os.Getenv("LIBTF_TEST_OTHER")); err != nil {
		result.Other = err.Error()
	}
	_ = json.NewEncoder(os.Stdout).Encode(result)
	os.Exit(0)
}

// loadInChild runs Load(option) in a child process with an empty cache, and
// environment entries that override those.
func loadInChild(t *testing.T, option string, environment ...string) childResult {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), childEnv+"=1", "LIBTF_TEST_OPTION="+option, Env+"=",
		"TFCONVRNN_CACHE="+t.TempDir(), "LD_LIBRARY_PATH=")
	command.Env = append(command.Env, environment...)
	var output, errors bytes.Buffer
	command.Stdout, command.Stderr = &output, &errors
	require.NoError(t, command.Run(), "the child died: %s", errors.String())
	var result childResult
	require.NoError(t, json.Unmarshal(output.Bytes(), &result), output.String())
	return result
}

// compile makes a shared library of C code.
func compile(t *testing.T, file, code string, flags ...string) {
	t.Helper()
	if !buildHasCgo || runtime.GOOS != "linux" {
		t.Skip("makes ELF libraries with the C compiler that cgo needs")
	}
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "cc"
	}
	here, err := filepath.Abs(".")
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	source := filepath.Join(t.TempDir(), "fake.c")
	require.NoError(t, os.WriteFile(source, []byte(code), 0o644))
	arguments := append([]string{"-shared", "-fPIC", "-g", "-I", here, "-o", file, source}, flags...)
	text, err := exec.Command(compiler, arguments...).CombinedOutput()
	require.NoError(t, err, "%s", text)
}

// fake is C code of a library with the whole API, of which only TF_Version
// works.
func fake(version string) string {
	return `#include "capi.h"
const char* TF_Version(void) { return "` + version + `"; }
#define DEFINE(result, keyword, name, parameters, arguments) result name parameters { __builtin_trap(); }
LIBTF_FUNCTIONS(DEFINE)
`
}

const fakeName = "libtensorflow_cc.so.2"

func TestLoadFileAndDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "lib", "libtensorflow.so.2")
	compile(t, file, fake("2.16.1"))
	for _, option := range []string{file, filepath.Dir(file), dir} {
		result := loadInChild(t, option)
		assert.Equal(t, childResult{Version: "2.16.1", Path: file}, result, option)
		result = loadInChild(t, "", Env+"="+option)
		assert.Equal(t, childResult{Version: "2.16.1", Path: file}, result, option)
	}
}

func TestLoadSearchOrder(t *testing.T) {
	dir := t.TempDir()
	cache := filepath.Join(dir, "cache")
	option, variable, system := filepath.Join(dir, "a", fakeName), filepath.Join(dir, "b", fakeName),
		filepath.Join(dir, "c", fakeName)
	compile(t, option, fake("2.20.1"))
	compile(t, variable, fake("2.20.2"))
	compile(t, filepath.Join(cache, "runtime", "2.20.0-cpu", fakeName), fake("2.20.0"))
	compile(t, filepath.Join(cache, "runtime", "2.99.0-cpu", fakeName), fake("2.99.0"))
	compile(t, filepath.Join(cache, "runtime", Version+"-cpu", fakeName), fake(Version))
	compile(t, system, fake("2.20.4"))
	settings := []string{Env + "=" + variable, "TFCONVRNN_CACHE=" + cache, "LD_LIBRARY_PATH=" + filepath.Dir(system)}

	assert.Equal(t, "2.20.1", loadInChild(t, option, settings...).Version)
	assert.Equal(t, "2.20.2", loadInChild(t, "", settings...).Version)
	assert.Equal(t, Version, loadInChild(t, "", settings[1:]...).Version)
	require.NoError(t, os.RemoveAll(filepath.Join(cache, "runtime", Version+"-cpu")))
	assert.Equal(t, "2.99.0", loadInChild(t, "", settings[1:]...).Version, "newest first")
	result := loadInChild(t, "", settings[2])
	assert.Equal(t, "2.20.4", result.Version)
	assert.Equal(t, system, result.Path, "the file that the loader found")

	// What is broken in the cache does not hide what the system has.
	broken := filepath.Join(cache, "runtime", Version+"-cpu", fakeName)
	require.NoError(t, os.RemoveAll(filepath.Join(cache, "runtime")))
	require.NoError(t, os.MkdirAll(filepath.Dir(broken), 0o755))
	require.NoError(t, os.WriteFile(broken, []byte("\x7fELF"), 0o644))
	assert.Equal(t, "2.20.4", loadInChild(t, "", settings[1:]...).Version)
	// But an explicit choice is not replaced.
	assert.Equal(t, []string{"ErrTruncated"}, loadInChild(t, broken, settings...).Causes)
}

func TestLoadTwice(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "a", fakeName), filepath.Join(dir, "b", fakeName)
	compile(t, first, fake("2.20.1"))
	compile(t, second, fake("2.20.2"))
	assert.Empty(t, loadInChild(t, first, "LIBTF_TEST_OTHER="+filepath.Dir(first)).Other)
	result := loadInChild(t, first, "LIBTF_TEST_OTHER="+second)
	assert.Empty(t, result.Again)
	assert.Contains(t, result.Other, "already loaded")
	assert.Contains(t, result.Other, first)
}

func TestLoadNotFound(t *testing.T) {
	if runtime.GOOS != "linux" || !buildHasCgo {
		t.Skip("the texts are those of Linux")
	}
	cache := t.TempDir()
	result := loadInChild(t, "", "TFCONVRNN_CACHE="+cache)
	if result.Version != "" {
		t.Skipf("the system has a libtensorflow: %s", result.Path)
	}
	assert.Equal(t, []string{"ErrNotFound"}, result.Causes)
	for _, want := range []string{
		filepath.Join(cache, "runtime", Version+"-cpu") + " (cache)", "libtensorflow.so.2 (system)",
		"tfconvrnn-cli runtime install",
	} {
		assert.Contains(t, result.Error, want)
	}

	missing := filepath.Join(cache, "missing.so")
	result = loadInChild(t, missing)
	assert.Equal(t, []string{"ErrNotFound"}, result.Causes)
	assert.Contains(t, result.Error, missing+" (option)")
	assert.NotContains(t, result.Error, "system", "an explicit choice is not replaced")
	result = loadInChild(t, "", Env+"="+cache)
	assert.Equal(t, []string{"ErrNotFound"}, result.Causes)
	assert.Contains(t, result.Error, cache+" ("+Env+")")
	assert.Contains(t, result.Error, "has none of")
}

func TestLoadWrongVersion(t *testing.T) {
	for _, version := range []string{"1.15.0", "2.15.1", "3.0.0", "nonsense", ""} {
		file := filepath.Join(t.TempDir(), fakeName)
		compile(t, file, fake(version))
		result := loadInChild(t, file)
		assert.Equal(t, []string{"ErrVersion"}, result.Causes, version)
		assert.Contains(t, result.Error, `"`+version+`"`)
		assert.Contains(t, result.Error, Version)
		assert.Equal(t, result.Error, result.Again, "the library cannot be replaced in this process")
	}
}

func TestLoadMissingSymbols(t *testing.T) {
	file := filepath.Join(t.TempDir(), fakeName)
	compile(t, file, `const char* TF_Version(void) { return "2.21.0"; }`)
	result := loadInChild(t, file)
	assert.Equal(t, []string{"ErrSymbol"}, result.Causes)
	assert.Contains(t, result.Error, "TF_SessionRun")
	assert.NotContains(t, result.Error, "TF_Version")
}

func TestLoadMissingDependency(t *testing.T) {
	dir := t.TempDir()
	dependency := filepath.Join(dir, "libtensorflow_framework.so.2")
	compile(t, dependency, "int framework(void) { return 0; }")
	file := filepath.Join(dir, fakeName)
	compile(t, file, fake("2.21.0")+"int framework(void); int use(void) { return framework(); }",
		dependency, "-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed")
	assert.Equal(t, "2.21.0", loadInChild(t, file).Version)

	content, err := os.ReadFile(dependency)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dependency, content[:len(content)/2], 0o644))
	result := loadInChild(t, file)
	assert.Equal(t, []string{"ErrTruncated"}, result.Causes)
	assert.Contains(t, result.Error, dependency)

	require.NoError(t, os.Remove(dependency))
	result = loadInChild(t, file)
	assert.Equal(t, []string{"ErrDependency"}, result.Causes)
	assert.Contains(t, result.Error, "libtensorflow_framework")
}

func TestLoadTruncated(t *testing.T) {
	file := filepath.Join(t.TempDir(), fakeName)
	compile(t, file, fake("2.21.0"))
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, size := range []int{0, 1, 3, 4, 60, 64, 100, 4096, len(whole) / 2, len(whole) - 1} {
		require.NoError(t, os.WriteFile(file, whole[:size], 0o644))
		require.ErrorIs(t, checkLibrary(file), ErrTruncated, "%d bytes", size)
	}
	for _, size := range []int{0, 4096, len(whole) / 2} {
		require.NoError(t, os.WriteFile(file, whole[:size], 0o644))
		assert.Equal(t, []string{"ErrTruncated"}, loadInChild(t, file).Causes)
		// The loader's path leads to the same check.
		assert.Equal(t, []string{"ErrTruncated"}, loadInChild(t, "", "LD_LIBRARY_PATH="+filepath.Dir(file)).Causes)
	}
}

func TestLoadNoLibrary(t *testing.T) {
	if runtime.GOOS != "linux" || !buildHasCgo {
		t.Skip("checks ELF files")
	}
	dir := t.TempDir()
	text := filepath.Join(dir, "text.so")
	require.NoError(t, os.WriteFile(text, []byte("#!/bin/sh\n"), 0o644))
	assert.Equal(t, []string{"ErrFormat"}, loadInChild(t, text).Causes)
	// A program is ELF but not a library; with PIE it is, but lacks symbols.
	result := loadInChild(t, os.Args[0])
	require.Len(t, result.Causes, 1)

	foreign := filepath.Join(dir, fakeName)
	compile(t, foreign, fake("2.21.0"))
	content, err := os.ReadFile(foreign)
	require.NoError(t, err)
	content[18] = 8 // e_machine: MIPS
	require.NoError(t, os.WriteFile(foreign, content, 0o644))
	result = loadInChild(t, foreign)
	assert.Equal(t, []string{"ErrFormat"}, result.Causes)
	assert.Contains(t, result.Error, "EM_MIPS")
}

func TestLoadDamagedHeaders(t *testing.T) {
	file := filepath.Join(t.TempDir(), fakeName)
	compile(t, file, fake("2.21.0"))
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	// Every change of the headers is either harmless to read or refused.
	for i := 0; i < 64+8*56; i++ {
		content := bytes.Clone(whole)
		content[i] ^= 0xff
		require.NoError(t, os.WriteFile(file, content, 0o644))
		assert.NotPanics(t, func() { _ = checkLibrary(file) })
	}
}

func TestEveryCauseHasARemedy(t *testing.T) {
	for name, cause := range causes {
		text := (&LoadError{[]Try{{"option", "/x", cause}}}).Error()
		var c *LoadCause
		require.ErrorAs(t, cause, &c)
		assert.NotEmpty(t, c.Remedy(), name)
		assert.Contains(t, text, c.Remedy())
		assert.NotContains(t, c.Remedy(), "\n")
	}
}

func TestWithoutCgo(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the package once more")
	}
	if !buildHasCgo {
		_, err := Load("")
		require.ErrorIs(t, err, ErrNoCgo)
		_, err = AllocateTensor(Float, nil)
		require.ErrorIs(t, err, ErrNotLoaded)
		return
	}
	command := exec.Command("go", "vet", ".")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	text, err := command.CombinedOutput()
	require.NoError(t, err, "%s", text)
	source := filepath.Join(t.TempDir(), "libtf.test")
	command = exec.Command("go", "test", "-c", "-o", source, ".")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	text, err = command.CombinedOutput()
	require.NoError(t, err, "%s", text)
	command = exec.Command(source)
	command.Env = append(os.Environ(), childEnv+"=1")
	text, err = command.CombinedOutput()
	require.NoError(t, err, "%s", text)
	assert.True(t, strings.Contains(string(text), "ErrNoCgo"), "%s", text)
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string][]int{
		"2.21.0": {2, 21, 0}, "2.22.0-rc1": {2, 22, 0}, "2.22.0rc1": {2, 22, 0}, "2.22": {2, 22},
	} {
		got, ok := parseVersion(text)
		assert.True(t, ok, text)
		assert.Equal(t, want, got, text)
	}
	for _, bad := range []string{"", "2", "x.y", "-2.1", "2.", "99999999999999999999.1"} {
		_, ok := parseVersion(bad)
		assert.False(t, ok, bad)
	}
}

func TestCachedOrder(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("TFCONVRNN_CACHE", cache)
	root := filepath.Join(cache, "runtime")
	assert.Equal(t, []string{filepath.Join(root, Version+"-cpu")}, cached())
	for _, name := range []string{"2.9.0-cpu", "2.30.0-rc1-cpu", Version + "-gpu", Version + "-cpu", "2.30.0-tpu", "junk",
		".install-1", "-cpu"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, name), 0o755))
	}
	first, second := Version+"-cpu", Version+"-gpu"
	if hasNvidiaDriver() {
		first, second = second, first
	}
	var names []string
	for _, dir := range cached() {
		names = append(names, filepath.Base(dir))
	}
	assert.Equal(t, []string{first, second, "2.30.0-rc1-cpu", "2.9.0-cpu"}, names)
}

// TestNoRandomNumbers is about chroots without /dev, where TensorFlow would abort; scripts/gpu/prove_unpack.sh is in
// one.
func TestNoRandomNumbers(t *testing.T) {
	assert.NoError(t, checkRandom(randomDevice))
	err := &LoadError{[]Try{{"system", randomDevice, checkRandom(filepath.Join(t.TempDir(), "urandom"))}}}
	assert.ErrorIs(t, err, ErrNoRandom)
	assert.ErrorContains(t, err, "there is no /dev/urandom, without which TensorFlow ends the process")
	assert.ErrorContains(t, err, "mount /dev")
}
