package architecture_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// example returns the source of a package that holds one Example of a file, with the functions
// of the file and the imports that it uses.
func example(t *testing.T, set *token.FileSet, file *ast.File, function *ast.FuncDecl) []byte {
	used := map[string]bool{}
	functions := []*ast.FuncDecl{function}
	add := func(n ast.Node) bool {
		name, ok := n.(*ast.Ident)
		if !ok || used[name.Name] {
			return true
		}
		used[name.Name] = true
		for _, declaration := range file.Decls {
			if helper, ok := declaration.(*ast.FuncDecl); ok && helper.Recv == nil && helper.Name.Name == name.Name &&
				helper != function {
				functions = append(functions, helper)
			}
		}
		return true
	}
	for i := 0; i < len(functions); i++ {
		ast.Inspect(functions[i], add)
	}
	var source bytes.Buffer
	source.WriteString("package outside\n\nimport (\n")
	for _, i := range file.Imports {
		path, err := strconv.Unquote(i.Path.Value)
		require.NoError(t, err)
		name := path[strings.LastIndex(path, "/")+1:]
		if i.Name != nil {
			name = i.Name.Name
		}
		if used[name] {
			fmt.Fprintf(&source, "\t%s %q\n", name, path)
		}
	}
	source.WriteString(")\n\n")
	for _, f := range functions {
		require.NoError(t, format.Node(&source, set, f))
		source.WriteString("\n\n")
	}
	return source.Bytes()
}

// Each Example of the public packages compiles in another module, as its readers will try it:
// by itself, and without the internal packages, which the compiler keeps from it.
func TestExamplesCompileOutside(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles another module")
	}
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	outside := t.TempDir()
	described, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	_, requirements, found := strings.Cut(string(described), "module "+module+"\n")
	require.True(t, found)
	requirements, _, _ = strings.Cut(requirements, "\ntool ")
	description := fmt.Sprintf("module example.org/outside\n%s\nrequire %s v0.0.0\n\nreplace %s => %s\n", requirements,
		module, module, root)
	require.NoError(t, os.WriteFile(filepath.Join(outside, "go.mod"), []byte(description), 0o666))
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(outside, "go.sum"), sums, 0o666))
	build := func() (string, error) {
		command := exec.Command("go", "build", "-mod=mod", "./...")
		command.Dir = outside
		command.Env = append(command.Environ(), "GOPROXY=off", "GOWORK=off", "GOFLAGS=")
		out, err := command.CombinedOutput()
		return string(out), err
	}

	examples := 0
	for _, name := range publicPackages(t) {
		files, err := filepath.Glob(filepath.Join(root, name, "*_test.go"))
		require.NoError(t, err)
		for _, path := range files {
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
			require.NoError(t, err)
			for _, declaration := range file.Decls {
				function, ok := declaration.(*ast.FuncDecl)
				if !ok || function.Recv != nil || !strings.HasPrefix(function.Name.Name, "Example") {
					continue
				}
				assert.True(t, strings.HasSuffix(file.Name.Name, "_test"), "%s: an Example is read from outside its package", path)
				dir := filepath.Join(outside, strings.ReplaceAll(name, "/", "_")+"_"+strings.ToLower(function.Name.Name))
				require.NoError(t, os.Mkdir(dir, 0o777))
				require.NoError(t, os.WriteFile(filepath.Join(dir, "outside.go"), example(t, set, file, function), 0o666))
				examples++
			}
		}
	}
	require.Greater(t, examples, 6)
	out, err := build()
	require.NoError(t, err, "%s", out)

	// This would pass, too, if nothing were compiled.
	intruder := "package outside\n\nimport _ \"" + module + "/internal/version\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(outside, "intruder.go"), []byte(intruder), 0o666))
	out, err = build()
	require.Error(t, err)
	assert.Contains(t, out, "use of internal package")
}
