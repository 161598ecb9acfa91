// Package thirdparty tells what of others is in the program, under which licences.
//
// THIRD_PARTY_NOTICES.md and modules.json are made from what go list says is linked:
//
//	go generate ./internal/thirdparty
package thirdparty

//go:generate go run ./generate

import (
	_ "embed"
	"encoding/json"
	"sync"
)

//go:embed THIRD_PARTY_NOTICES.md
var notices string

//go:embed modules.json
var modulesText []byte

// Notices returns the licences of all that is linked into the program or that it
// loads, in Markdown. They have to accompany the program.
func Notices() string { return notices }

// Module is a Go module of which packages are linked into the program, on any
// platform.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	// License is an SPDX expression.
	License string `json:"license"`
}

// Modules returns the linked modules, sorted by path, without this one and Go's
// standard library. They must not be changed.
var Modules = sync.OnceValue(func() []Module {
	var list []Module
	if err := json.Unmarshal(modulesText, &list); err != nil {
		panic("thirdparty: modules.json: " + err.Error()) // a test reads it
	}
	return list
})

// Package is a package of the npm registry of which files are embedded in the program.
type Package struct {
	Name    string
	Version string
	// License is an SPDX expression.
	License string
}

// UPlot draws the charts of the explorer's page; internal/explorer/generate takes it from there.
var UPlot = Package{"uplot", "1.6.32", "MIT"}
