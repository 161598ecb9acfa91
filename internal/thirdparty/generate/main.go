// Command generate writes THIRD_PARTY_NOTICES.md and modules.json of package
// thirdparty, from the packages that go list says are linked and the licences in
// their modules.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/internal/thirdparty"
)

func main() {
	log.SetFlags(0)
	files, err := generate(".", "../..")
	if err != nil {
		log.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(name, content, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

// platforms are those that the program is built for; what is linked differs.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/arm64"}

// licensed is a module and its licence files, by their paths in it.
type licensed struct {
	thirdparty.Module
	directory string
	texts     map[string]string
}

// licenseFile matches the names of files that hold licences or are to accompany them.
var licenseFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|unlicense)([-.].*)?$`)

// licenseFolder matches the names of folders that do.
var licenseFolder = regexp.MustCompile(`(?i)^(licen[cs]es|third_party_licenses)$`)

// generate returns the contents of the files, by name. own is the directory of
// package thirdparty, root that of the module.
func generate(own, root string) (map[string][]byte, error) {
	linked := map[string]*licensed{}
	for _, platform := range platforms {
		if err := list(root, platform, linked); err != nil {
			return nil, err
		}
	}
	var modules []thirdparty.Module
	paths := slices.Sorted(maps.Keys(linked))
	for _, path := range paths {
		m := linked[path]
		var err error
		if m.License, err = m.expression(); err != nil {
			return nil, err
		}
		modules = append(modules, m.Module)
	}
	table, err := json.MarshalIndent(modules, "", "  ")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := write(&out, root, paths, linked); err != nil {
		return nil, err
	}
	return map[string][]byte{
		filepath.Join(own, "THIRD_PARTY_NOTICES.md"): out.Bytes(),
		filepath.Join(own, "modules.json"):           append(table, '\n'),
	}, nil
}

// list adds the modules that are linked on a platform.
func list(root, platform string, linked map[string]*licensed) error {
	system, architecture, _ := strings.Cut(platform, "/")
	command := exec.Command("go", "list", "-deps", "-json=Dir,Module", "./cmd/tfconvrnn-cli")
	command.Dir = root
	command.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+architecture, "CGO_ENABLED=1")
	var message bytes.Buffer
	command.Stderr = &message
	output, err := command.Output()
	if err != nil {
		return fmt.Errorf("go list for %s: %w: %s", platform, err, &message)
	}
	for packages := json.NewDecoder(bytes.NewReader(output)); ; {
		var p struct {
			Dir    string
			Module *struct {
				Path, Version, Dir string
				Main               bool
				Replace            *struct{}
			}
		}
		if err := packages.Decode(&p); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if p.Module == nil || p.Module.Main { // of the standard library, or ours
			continue
		}
		if p.Module.Replace != nil {
			return fmt.Errorf("%s is replaced: its licence and version are not those that users get", p.Module.Path)
		}
		m := linked[p.Module.Path]
		if m == nil {
			m = &licensed{
				Module:    thirdparty.Module{Path: p.Module.Path, Version: p.Module.Version},
				directory: p.Module.Dir, texts: map[string]string{},
			}
			linked[p.Module.Path] = m
		}
		// Code that a module took from elsewhere keeps its licence beside it.
		for dir := p.Dir; ; dir = filepath.Dir(dir) {
			if err := m.read(dir); err != nil {
				return err
			}
			if dir == m.directory || dir == filepath.Dir(dir) {
				break
			}
		}
	}
}

// read adds the licences in a directory of a module.
func (m *licensed) read(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir() && licenseFolder.MatchString(e.Name()):
			inside, err := os.ReadDir(path)
			if err != nil {
				return err
			}
			for _, e := range inside {
				if e.Type().IsRegular() {
					if err := m.add(filepath.Join(path, e.Name())); err != nil {
						return err
					}
				}
			}
		case e.Type().IsRegular() && licenseFile.MatchString(e.Name()) && !strings.HasSuffix(e.Name(), ".go"):
			if err := m.add(path); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *licensed) add(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	name, err := filepath.Rel(m.directory, path)
	if err != nil {
		return err
	}
	m.texts[filepath.ToSlash(name)] = string(text)
	return nil
}

// known are licences' SPDX identifiers and words that only they hold, the more
// special first.
var known = []struct {
	license string
	words   []string
}{
	{"Apache-2.0", []string{"Apache License", "Version 2.0"}},
	{"OFL-1.1", []string{"SIL OPEN FONT LICENSE Version 1.1"}},
	{"FTL", []string{"The FreeType Project LICENSE"}},
	{"GPL-2.0-only", []string{"GNU GENERAL PUBLIC LICENSE", "Version 2"}},
	{"Unlicense", []string{"This is free and unencumbered software released into the public domain"}},
	{"MIT", []string{"Permission is hereby granted, free of charge",
		"The above copyright notice and this permission notice"}},
	{"BSD-3-Clause", []string{"Redistribution and use in source and binary forms", "to endorse or promote products"}},
	{"BSD-2-Clause", []string{"Redistribution and use in source and binary forms"}},
	{"BSL-1.0", []string{"Boost Software License - Version 1.0"}},
	{"ISC", []string{"Permission to use, copy, modify, and/or distribute this software for any purpose"}},
	{"CC-BY-4.0", []string{"Creative Commons Attribution 4.0"}},
	{"CC-BY-3.0", []string{"Creative Commons Attribution 3.0"}},
}

var space = regexp.MustCompile(`\s+`)

// identify returns the SPDX identifiers of the licences in a text.
func identify(text string) (found []string) {
	text = space.ReplaceAllString(text, " ")
	for _, k := range known {
		if slices.ContainsFunc(k.words, func(w string) bool { return !strings.Contains(text, w) }) {
			continue
		}
		if k.license == "BSD-2-Clause" && slices.Contains(found, "BSD-3-Clause") {
			continue
		}
		found = append(found, k.license)
	}
	return found
}

// choices are modules that may be used under one of several licences, and others
// whose licences cannot be told from words alone.
var choices = map[string]string{
	"github.com/golang/freetype": "FTL OR GPL-2.0-or-later",
}

// expression returns the SPDX expression of all licences in a module, or an error for
// a module whose licence has to be looked at.
func (m *licensed) expression() (string, error) {
	if choice, ok := choices[m.Path]; ok {
		return choice, nil
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(m.texts)) {
		for _, license := range identify(m.texts[name]) {
			if !slices.Contains(all, license) {
				all = append(all, license)
			}
		}
	}
	if len(all) == 0 {
		return "", fmt.Errorf("%s %s: no licence is known in %v; look at it, and add it to known or choices",
			m.Path, m.Version, slices.Sorted(maps.Keys(m.texts)))
	}
	slices.Sort(all)
	return strings.Join(all, " AND "), nil
}

const heading = `# Third-party notices

<!-- Made by "go generate ./internal/thirdparty". -->

tfconvrnn is under the MIT licence (file LICENSE). What is linked into its program, what that
loads, and the data in it are of others, under the licences below. Print this text with
` + "`tfconvrnn-cli version --notices`" + `, and a software bill of materials with
` + "`tfconvrnn-cli version --sbom`" + `.

## Loaded when it runs: TensorFlow

libtensorflow, copyright The TensorFlow Authors, is under the Apache License 2.0 (its text stands
below). It is not part of this repository: ` + "`tfconvrnn-cli runtime install`" + ` takes the two
libraries out of TensorFlow's Python package, unchanged. (In container images their symbol tables are
removed.) What they in turn embed, among it Eigen (MPL-2.0), oneDNN (Apache-2.0), Abseil
(Apache-2.0), protobuf (BSD-3-Clause), gRPC (Apache-2.0) and LLVM (Apache-2.0 WITH LLVM-exception), is
listed with all licences in the package's own ` + "`THIRD_PARTY_NOTICES.txt`" + `, which
` + "`runtime install`" + ` puts beside the libraries, also in images.

The GPU image stands on NVIDIA's CUDA image, with NVIDIA's licences.

## Run where it is found: FFmpeg

Videos are read by the ffmpeg program of the user's system, if there is one. It is neither linked
nor distributed.

## Data: the models and ImageNet's classes

The checkpoints are their authors' (Nayebi et al. 2022); they are downloaded by the user and are
not distributed here.

The names of ImageNet's classes in ` + "`internal/imagenet/classes.tsv`" + ` are WordNet 3.0's, under this
licence:

`

// write writes the notices.
func write(out *bytes.Buffer, root string, paths []string, linked map[string]*licensed) error {
	out.WriteString(heading)
	wordNet, err := os.ReadFile(filepath.Join(root, "internal/imagenet/LICENSE.WordNet"))
	if err != nil {
		return err
	}
	quote(out, string(wordNet))
	uplot, err := os.ReadFile(filepath.Join(root, "internal/explorer/page/vendor/uplot/LICENSE"))
	if err != nil {
		return err
	}
	fmt.Fprintf(
		out, "\n## Embedded: uPlot\n\nThe charts of the explorer's page are drawn by %s %s of the npm registry, under this licence:\n\n",
		thirdparty.UPlot.Name, thirdparty.UPlot.Version)
	quote(out, string(uplot))
	out.WriteString("\n## Linked: Go's standard library\n\n")
	goLicense, err := goLicense()
	if err != nil {
		return err
	}
	quote(out, goLicense)
	out.WriteString("\n## Linked: Go modules\n\n| module | version | licence |\n|---|---|---|\n")
	for _, path := range paths {
		m := linked[path]
		fmt.Fprintf(out, "| %s | %s | %s |\n", m.Path, m.Version, m.License)
	}
	printed := map[string]string{} // where a text stands
	for _, path := range paths {
		m := linked[path]
		fmt.Fprintf(out, "\n### %s %s\n", m.Path, m.Version)
		for _, name := range slices.Sorted(maps.Keys(m.texts)) {
			key := space.ReplaceAllString(m.texts[name], " ")
			if where, ok := printed[key]; ok {
				fmt.Fprintf(out, "\n`%s`: the text of %s.\n", name, where)
				continue
			}
			printed[key] = fmt.Sprintf("`%s` under %s %s", name, m.Path, m.Version)
			fmt.Fprintf(out, "\n`%s`:\n\n", name)
			quote(out, m.texts[name])
		}
	}
	return nil
}

// goLicense returns Go's licence, whose file a distribution may have moved.
func goLicense() (string, error) {
	output, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(output)), "LICENSE"))
	return string(text), err
}

// quote writes a text as it is.
func quote(out *bytes.Buffer, text string) {
	out.WriteString("```text\n")
	for line := range strings.Lines(text) {
		out.WriteString(strings.TrimRight(line, " \t\r\n\f") + "\n")
	}
	out.WriteString("```\n")
}
