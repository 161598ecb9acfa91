package thirdparty

import (
	"crypto/sha256"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"

	"github.com/tfconvrnn/go/internal/version"
)

// Library is a file of the TensorFlow runtime.
type Library struct {
	Name   string
	SHA256 string
}

// TensorFlow is the runtime that the program loads.
type TensorFlow struct {
	Version string
	GPU     bool
	// Libraries are the files installed; none if that is not known.
	Libraries []Library
}

// own is the path of this project's module.
const own = "github.com/tfconvrnn/go"

// WriteSBOM writes a software bill of materials of the program that info describes,
// with the runtime that it loads, as CycloneDX 1.6 in JSON. Equal programs and
// runtimes give equal bytes.
func WriteSBOM(out io.Writer, info *debug.BuildInfo, runtime TensorFlow) error {
	bom := newSBOM(info, runtime)
	encoder := cyclonedx.NewBOMEncoder(out, cyclonedx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false)
	return encoder.EncodeVersion(bom, cyclonedx.SpecVersion1_6)
}

func newSBOM(info *debug.BuildInfo, runtime TensorFlow) *cyclonedx.BOM {
	application := cyclonedx.Component{
		BOMRef: purl("golang", own, version.Version), Type: cyclonedx.ComponentTypeApplication,
		Name: "tfconvrnn-cli", Version: version.Version, PackageURL: purl("golang", own, version.Version),
		Description: "Features of images from the published ConvRNNs", Licenses: license("MIT"),
	}
	settings := []cyclonedx.Property{}
	var revised string
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS", "GOARCH", "GOAMD64", "GOARM64", "CGO_ENABLED", "-tags", "-race", "-asan", "vcs.revision", "vcs.time",
			"vcs.modified":
			settings = append(settings, cyclonedx.Property{Name: "go:" + strings.TrimPrefix(s.Key, "-"), Value: s.Value})
		}
		if s.Key == "vcs.time" {
			revised = s.Value
		}
	}
	application.Properties = &settings

	components := []cyclonedx.Component{{
		Type: cyclonedx.ComponentTypeLibrary, Name: "std", Version: strings.TrimPrefix(info.GoVersion, "go"),
		Description: "Go's standard library", PackageURL: purl("golang", "std", strings.TrimPrefix(info.GoVersion, "go")),
		Licenses: license("BSD-3-Clause"), Scope: cyclonedx.ScopeRequired,
	}}
	for _, dependency := range info.Deps {
		if dependency.Replace != nil {
			dependency = dependency.Replace
		}
		components = append(components, module(dependency))
	}
	components = append(components, cyclonedx.Component{
		Type: cyclonedx.ComponentTypeLibrary, Name: UPlot.Name, Version: UPlot.Version,
		PackageURL:  purl("npm", UPlot.Name, UPlot.Version),
		Description: "charts of the explorer's page, embedded", Licenses: license(UPlot.License),
		Scope: cyclonedx.ScopeRequired,
	}, library(runtime), cyclonedx.Component{
		Type: cyclonedx.ComponentTypeData, Name: "wordnet-class-names", Version: "3.0", Scope: cyclonedx.ScopeRequired,
		Description: "names of ImageNet's 1000 classes, from WordNet (Princeton University)",
		Licenses:    &cyclonedx.Licenses{{License: &cyclonedx.License{Name: "WordNet 3.0 license"}}},
	})
	var references []string
	for i := range components {
		c := &components[i]
		if c.BOMRef = c.PackageURL; c.BOMRef == "" {
			c.BOMRef = c.Name + "@" + c.Version
		}
		references = append(references, c.BOMRef)
	}
	slices.Sort(references)

	bom := cyclonedx.NewBOM()
	bom.JSONSchema = "http://cyclonedx.org/schema/bom-1.6.schema.json"
	bom.SpecVersion = cyclonedx.SpecVersion1_6
	bom.SerialNumber = serial(append(references, info.String(), fmt.Sprint(runtime)))
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: revised, Component: &application,
		Lifecycles: &[]cyclonedx.Lifecycle{{Phase: cyclonedx.LifecyclePhaseBuild}},
	}
	bom.Components = &components
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: application.BOMRef, Dependencies: &references}}
	return bom
}

// module describes a linked module. Its checksum is go.sum's, of all its files.
func module(m *debug.Module) cyclonedx.Component {
	c := cyclonedx.Component{
		Type: cyclonedx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: purl("golang", m.Path, m.Version),
		Scope: cyclonedx.ScopeRequired,
	}
	if m.Sum != "" {
		c.Properties = &[]cyclonedx.Property{{Name: "go:sum", Value: m.Sum}}
	}
	if i := slices.IndexFunc(Modules(), func(known Module) bool {
		return known.Path == m.Path && known.Version == m.Version
	}); i >= 0 {
		c.Licenses = license(Modules()[i].License)
	}
	return c
}

func library(runtime TensorFlow) cyclonedx.Component {
	name := "tensorflow-cpu"
	if runtime.GPU {
		name = "tensorflow"
	}
	c := cyclonedx.Component{
		Type: cyclonedx.ComponentTypeLibrary, Name: name, Version: runtime.Version,
		PackageURL:  purl("pypi", name, runtime.Version),
		Description: "libtensorflow, loaded when the program runs; its THIRD_PARTY_NOTICES.txt lists what it embeds",
		Scope:       cyclonedx.ScopeRequired, Licenses: license("Apache-2.0"),
	}
	var files []cyclonedx.Component
	for _, f := range runtime.Libraries {
		files = append(files, cyclonedx.Component{
			BOMRef: c.PackageURL + "#" + f.Name, Type: cyclonedx.ComponentTypeFile, Name: f.Name,
			Hashes: &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: f.SHA256}},
		})
	}
	if len(files) > 0 {
		c.Components = &files
	}
	return c
}

// license returns an SPDX identifier or expression in the form that CycloneDX wants.
func license(expression string) *cyclonedx.Licenses {
	if strings.Contains(expression, " ") {
		return &cyclonedx.Licenses{{Expression: expression}}
	}
	return &cyclonedx.Licenses{{License: &cyclonedx.License{ID: expression}}}
}

// purl returns a package URL: pkg:<kind>/<path>@<version>, percent-encoded.
func purl(kind, path, version string) string {
	text := "pkg:" + kind + "/" + strings.ReplaceAll(path, "~", "%7E")
	if version != "" {
		text += "@" + strings.ReplaceAll(version, "+", "%2B")
	}
	return text
}

// serial returns a UUID (RFC 9562, version 8) made of what the parts hold.
func serial(parts []string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
