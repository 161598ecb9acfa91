// Package architecture_test holds the direction of dependencies between the
// project's packages.
package architecture_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/tfconvrnn/go"

type goPackage struct {
	ImportPath, Name                     string
	Imports, TestImports, XTestImports   []string
	CgoFiles, GoFiles, SFiles, SwigFiles []string
	Standard                             bool
}

// packages lists the project's packages by their paths below the module.
func packages(t *testing.T) map[string]*goPackage {
	var problems bytes.Buffer
	command := exec.Command("go", "list",
		"-json=ImportPath,Name,Imports,TestImports,XTestImports,CgoFiles,GoFiles,SFiles,SwigFiles", "./...")
	command.Dir = "../.."
	command.Env = append(command.Environ(), "CGO_ENABLED=1")
	command.Stderr = &problems
	out, err := command.Output()
	require.NoError(t, err, problems.String())
	list := map[string]*goPackage{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &goPackage{}
		err := decoder.Decode(p)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		list[below(p.ImportPath)] = p
	}
	for _, name := range []string{"cmd/tfconvrnn-cli", "tfconvrnn", "convert", "savedmodels", "internal/libtf",
		"internal/unroll", "internal/zoo"} {
		require.Contains(t, list, name)
	}
	return list
}

// below returns a package's path below the module, or its whole path.
func below(importPath string) string { return strings.TrimPrefix(importPath, module+"/") }

// reached returns the project's packages that a package depends on, however far.
func reached(list map[string]*goPackage, name string) map[string]bool {
	found := map[string]bool{}
	var visit func(string)
	visit = func(name string) {
		for _, i := range list[name].Imports {
			if i = below(i); list[i] != nil && !found[i] {
				found[i] = true
				visit(i)
			}
		}
	}
	visit(name)
	return found
}

// match says whether name matches one of the patterns, where dir/... is everything
// below dir.
func match(name string, patterns ...string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
			return strings.HasPrefix(name, dir+"/")
		}
		ok, err := path.Match(pattern, name)
		if err != nil {
			panic(err)
		}
		return ok
	})
}

// drivers are internal packages that use the library as a program would.
var drivers = []string{
	"internal/benchmark", "internal/doctor", "internal/evaluation", "internal/explorer", "internal/explorer/generate",
	"internal/respond",
	"internal/timeline", "extraction", "stimuli",
}

// unsafePackages may import unsafe besides the binding: two see numbers as bytes,
// the others are generated.
var unsafePackages = []string{"features", "internal/inferencepb", "internal/respond", "internal/tfpb"}

// rules say what packages must not depend on, however far. Every pattern must match
// a package, so that no rule is left over when packages are renamed.
var rules = []struct {
	why       string
	from      []string
	exceptFor []string
	to        []string
}{
	{"nothing depends on commands", []string{"*", "internal/*"}, nil, []string{"cmd/..."}},
	{"conversion needs no TensorFlow", []string{"convert", "savedmodels"}, nil, []string{"internal/libtf", "tfconvrnn"}},
	{"the library is above the parts it is made of", []string{"convert", "savedmodels", "internal/*"}, drivers,
		[]string{"tfconvrnn"}},
	{"the converter knows no store", []string{"convert"}, nil, []string{"savedmodels"}},
	{"model specifications are data", []string{"internal/zoo"}, nil, []string{"internal/graph", "internal/unroll",
		"internal/tfpb", "internal/bundle"}},
	{"graphs know no models", []string{"internal/graph"}, nil, []string{"internal/zoo", "internal/unroll"}},
	{"the unroll knows no files", []string{"internal/unroll"}, nil, []string{"internal/bundle", "internal/weights",
		"internal/atomicfile", "convert"}},
	{"the binding is small", []string{"internal/libtf"}, nil, []string{"internal/tfpb", "internal/graph", "internal/zoo",
		"convert/manifest"}},
	{"kernels know no models", []string{"internal/kernels"}, nil, []string{"internal/zoo", "internal/unroll",
		"convert/manifest"}},
	{"formats stand alone", []string{"internal/bundle", "features", "internal/images", "internal/tensorcache"}, nil,
		[]string{"internal/zoo", "internal/unroll", "internal/libtf", "convert", "savedmodels"}},
	{"checks come before what they check", []string{"internal/trust"}, nil,
		[]string{"internal/libtf", "convert", "internal/unroll"}},
	{"settings of the whole process are for programs", []string{"tfconvrnn", "convert", "savedmodels", "internal/*"}, nil,
		[]string{"internal/libtf/onearena"}},
	{"comparing needs numbers only", []string{"compare", "recordings"}, nil, []string{"internal/libtf", "tfconvrnn",
		"internal/zoo"}},
	{"comparing knows no files", []string{"compare"}, nil, []string{"recordings", "internal/hdf5", "features"}},
	{"tests' servers are for tests", []string{"cmd/*", "tfconvrnn", "convert", "savedmodels"}, nil,
		[]string{"internal/checkpointserver", "internal/s3server"}},
}

func TestDirection(t *testing.T) {
	list := packages(t)
	for _, rule := range rules {
		for _, pattern := range slices.Concat(rule.from, rule.exceptFor, rule.to) {
			matched := false
			for name := range list {
				matched = matched || match(name, pattern)
			}
			assert.True(t, matched, "%s: no package matches %s; mend the rule", rule.why, pattern)
		}
		checked := 0
		for name := range list {
			if !match(name, rule.from...) || match(name, rule.exceptFor...) {
				continue
			}
			checked++
			for other := range reached(list, name) {
				if other != name {
					assert.False(t, match(other, rule.to...), "%s: %s depends on %s", rule.why, name, other)
				}
			}
		}
		assert.Positive(t, checked, rule.why)
	}
}

// TestExpectedEdges would fail if the search above found no edges at all.
func TestExpectedEdges(t *testing.T) {
	list := packages(t)
	for from, to := range map[string][]string{
		"cmd/tfconvrnn-cli": {"tfconvrnn", "convert", "savedmodels", "internal/libtf", "internal/zoo"},
		"tfconvrnn":         {"savedmodels", "convert", "internal/libtf", "internal/unroll", "internal/trust"},
		"savedmodels":       {"convert", "internal/unroll"},
		"convert":           {"internal/unroll", "internal/graph", "internal/bundle", "internal/zoo"},
		"internal/unroll":   {"internal/graph", "internal/zoo"},
	} {
		found := reached(list, from)
		for _, other := range to {
			assert.True(t, found[other], "%s depends on %s", from, other)
		}
	}
}

// TestCgoIsRare: beside those that need C, packages build without a C compiler, and have
// no pointers to go wrong.
func TestCgoIsRare(t *testing.T) {
	list := packages(t)
	binding := []string{"internal/hdf5", "internal/kernels", "internal/libtf", "internal/libtf/onearena",
		"internal/products"}
	for _, name := range binding {
		require.NotEmpty(t, list[name].CgoFiles)
	}
	for name, p := range list {
		if slices.Contains(binding, name) {
			continue
		}
		assert.Empty(t, p.CgoFiles, name)
		assert.Empty(t, p.SFiles, name)
		assert.Empty(t, p.SwigFiles, name)
		assert.NotContains(t, p.Imports, "C", name)
		assert.Equal(t, slices.Contains(unsafePackages, name), slices.Contains(p.Imports, "unsafe"),
			"%s imports unsafe", name)
	}
	// TensorFlow and the command line have no place in each other.
	for name, p := range list {
		if strings.HasPrefix(name, "cmd/") || name == "scripts" {
			continue
		}
		assert.NotContains(t, p.Imports, "github.com/spf13/cobra", name)
	}
}
