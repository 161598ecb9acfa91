package architecture_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What can be read at once.
const (
	mostFunctionLines = 80
	mostFileLines     = 500
)

// TestSizes holds files, and functions that are no tests, to what can be read at once, apart from
// what is generated.
func TestSizes(t *testing.T) {
	found := map[string]bool{}
	tooLong := func(name string, lines, most int) {
		if lines > most {
			found[name] = true
			assert.Contains(t, long, name, "%s has %d lines; %d are the most: split it, or add it with a reason", name,
				lines, most)
		}
	}
	checked := 0
	require.NoError(t, filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && path != "../.." && (strings.HasPrefix(name, ".") || name == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil || ast.IsGenerated(file) {
			return err
		}
		checked++
		name := filepath.ToSlash(strings.TrimPrefix(path, filepath.FromSlash("../../")))
		tooLong(name, set.Position(file.FileEnd).Line, mostFileLines)
		if strings.HasSuffix(path, "_test.go") {
			return nil
		}
		for _, declaration := range file.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok {
				tooLong(fmt.Sprintf("%s %s", name, f.Name.Name), set.Position(f.End()).Line-set.Position(f.Pos()).Line+1,
					mostFunctionLines)
			}
		}
		return nil
	}))
	require.Greater(t, checked, 200)
	for name := range long {
		assert.True(t, found[name], "%s is short enough now; remove it from the list", name)
	}
}

// long are the files and functions that are longer, with why.
var long = map[string]string{
	"internal/images/convert.go convertColours":        "a table of colour types",
	"internal/plotting/dynamics.go Dynamics":           "one figure",
	"internal/plotting/probabilities.go Probabilities": "one figure",
}
