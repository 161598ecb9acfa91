package architecture_test

import (
	"encoding/json"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// publicPackages are those that other programs can import.
func publicPackages(t *testing.T) []string {
	var public []string
	for name, p := range packages(t) {
		if p.Name != "main" && !strings.Contains("/"+name+"/", "/internal/") &&
			!match(name, "scripts", "scripts/...", "cmd/...", "testdata/...", module) {
			public = append(public, name)
		}
	}
	slices.Sort(public)
	return public
}

// loadPublic type-checks packages from what the compiler exports of them.
func loadPublic(t *testing.T, names []string) []*types.Package {
	arguments := []string{"list", "-export", "-deps", "-json=ImportPath,Export"}
	for _, name := range names {
		arguments = append(arguments, module+"/"+name)
	}
	command := exec.Command("go", arguments...)
	command.Dir, command.Stderr = "../..", os.Stderr
	out, err := command.Output()
	require.NoError(t, err)
	exports := map[string]string{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ ImportPath, Export string }
		if err := decoder.Decode(&p); err == io.EOF {
			break
		} else {
			require.NoError(t, err)
		}
		exports[p.ImportPath] = p.Export
	}
	compiled := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("nothing is exported of %s", path)
		}
		return os.Open(exports[path])
	})
	var loaded []*types.Package
	for _, name := range names {
		p, err := compiled.Import(module + "/" + name)
		require.NoError(t, err)
		loaded = append(loaded, p)
	}
	return loaded
}

// internalTypes returns the project's internal types that users of a type have to name,
// or that they reach through its exported fields and methods.
func internalTypes(t types.Type, seen map[types.Type]bool) (found []string) {
	if seen[t] {
		return nil
	}
	seen[t] = true
	add := func(t types.Type) { found = append(found, internalTypes(t, seen)...) }
	tuple := func(list *types.Tuple) {
		for v := range list.Variables() {
			add(v.Type())
		}
	}
	switch t := t.(type) {
	case *types.Alias:
		add(types.Unalias(t))
	case *types.Named:
		if p := t.Obj().Pkg(); p != nil {
			if strings.HasPrefix(p.Path(), module+"/internal/") {
				return []string{t.String()}
			}
			if !strings.HasPrefix(p.Path(), module) {
				return nil
			}
		}
		add(t.Underlying())
		methods := types.NewMethodSet(types.NewPointer(t))
		for method := range methods.Methods() {
			if method.Obj().Exported() {
				add(method.Type())
			}
		}
	case *types.Pointer:
		add(t.Elem())
	case *types.Slice:
		add(t.Elem())
	case *types.Array:
		add(t.Elem())
	case *types.Chan:
		add(t.Elem())
	case *types.Map:
		add(t.Key())
		add(t.Elem())
	case *types.Signature:
		tuple(t.Params())
		tuple(t.Results())
	case *types.Struct:
		for field := range t.Fields() {
			if field.Exported() {
				add(field.Type())
			}
		}
	case *types.Interface:
		for method := range t.Methods() {
			if method.Exported() {
				add(method.Type())
			}
		}
	}
	return found
}

// Users cannot name internal types, nor read of them in the documentation.
func TestPublicSignaturesShowNoInternalTypes(t *testing.T) {
	names := publicPackages(t)
	require.Subset(t, names, []string{"convert", "extraction", "features", "savedmodels", "stimuli", "tfconvrnn"})
	for _, p := range loadPublic(t, names) {
		for _, name := range p.Scope().Names() {
			object := p.Scope().Lookup(name)
			if !object.Exported() {
				continue
			}
			found := internalTypes(object.Type(), map[types.Type]bool{})
			assert.Empty(t, found, "%s.%s", p.Path(), name)
		}
	}
}
