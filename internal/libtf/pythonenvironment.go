package libtf

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// inPythonEnvironment lists the folders of usable TensorFlows in the Python environment that this
// program was installed into by the project's wheel, newest first: <prefix>/bin/<program> beside
// <prefix>/lib/python3.x/site-packages. Other programs have none.
func inPythonEnvironment(program string) []string {
	packages, err := filepath.Glob(filepath.Join(globQuoted(filepath.Dir(filepath.Dir(program))), "lib*", "python3*",
		"*-packages"))
	if err != nil {
		return nil
	}
	type candidate struct {
		folder  string
		version []int
	}
	var found []candidate
	for _, folder := range packages {
		if ours, err := filepath.Glob(filepath.Join(globQuoted(folder), "tfconvrnn-*.dist-info")); err != nil ||
			len(ours) == 0 {
			continue
		}
		theirs, err := filepath.Glob(filepath.Join(globQuoted(folder), "tensorflow*-*.dist-info"))
		if err != nil {
			continue
		}
		for _, info := range theirs {
			project, version, _ := strings.Cut(strings.TrimSuffix(filepath.Base(info), ".dist-info"), "-")
			numbers, ok := parseVersion(version)
			if !slices.Contains([]string{"tensorflow", "tensorflow_cpu", "tensorflow_aarch64"}, project) || !ok ||
				!usable(numbers) {
				continue
			}
			found = append(found, candidate{filepath.Join(folder, "tensorflow"), numbers})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return slices.Compare(b.version, a.version) })
	var folders []string
	for _, c := range found {
		if _, err := resolve(c.folder); err == nil {
			folders = append(folders, c.folder)
		}
	}
	return slices.Compact(folders)
}

// globQuoted keeps what a path holds from being a pattern.
func globQuoted(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// environmentPlaces are those of the program that runs.
func environmentPlaces() []place {
	program, err := os.Executable()
	if err != nil {
		return nil
	}
	var places []place
	for _, folder := range inPythonEnvironment(program) {
		places = append(places, place{source: "Python environment", path: folder})
	}
	return places
}
