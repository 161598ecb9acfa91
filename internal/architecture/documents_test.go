package architecture_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// documents returns the texts of the Markdown files at the top and in docs, by their
// names below the repository.
func documents(t *testing.T) map[string]string {
	texts := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		names, err := filepath.Glob(filepath.Join("../..", pattern))
		require.NoError(t, err)
		for _, name := range names {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			below, err := filepath.Rel("../..", name)
			require.NoError(t, err)
			texts[filepath.ToSlash(below)] = string(text)
		}
	}
	require.Contains(t, texts, "README.md")
	return texts
}

var (
	codeBlocks = regexp.MustCompile("(?ms)^```.*?^```$")
	headings   = regexp.MustCompile(`(?m)^#+ (.*)$`)
	links      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	notAnchor  = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors returns what a link to a heading of the text can name, as GitHub makes it.
func anchors(text string) []string {
	var list []string
	for _, heading := range headings.FindAllStringSubmatch(codeBlocks.ReplaceAllString(text, ""), -1) {
		name := notAnchor.ReplaceAllString(strings.ToLower(heading[1]), "")
		list = append(list, strings.ReplaceAll(name, " ", "-"))
	}
	return list
}

// A link within the repository leads to a file, and to a heading of it if it names one.
func TestLinks(t *testing.T) {
	texts := documents(t)
	count := 0
	for name, text := range texts {
		if name == "THIRD_PARTY_NOTICES.md" {
			continue // it quotes other projects' files
		}
		for _, link := range links.FindAllStringSubmatch(codeBlocks.ReplaceAllString(text, ""), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			target, anchor, named := strings.Cut(link[1], "#")
			file := name
			if target != "" {
				file = filepath.ToSlash(filepath.Join(filepath.Dir(name), target))
				_, err := os.Stat(filepath.Join("../..", file))
				assert.NoError(t, err, "%s: %s", name, link[1])
			}
			if named {
				assert.True(t, slices.Contains(anchors(texts[file]), anchor), "%s: %s names no heading of %s", name, link[1], file)
			}
			count++
		}
	}
	assert.Greater(t, count, 30)
}

// The map in CONTRIBUTING.md names every package, and nothing else.
func TestMapNamesEveryPackage(t *testing.T) {
	_, section, found := strings.Cut(documents(t)["CONTRIBUTING.md"], "\n## Where things are\n")
	require.True(t, found)
	section, _, found = strings.Cut(section, "\n## ")
	require.True(t, found)
	var named []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(section, -1) {
		named = append(named, row[1])
	}
	assert.ElementsMatch(t, slices.Collect(maps.Keys(packages(t))), named)
}

// The front page is one that people read to the end.
func TestFrontPageIsShort(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(documents(t)["README.md"]), "\n")
	assert.LessOrEqual(t, len(lines), 180)
	for i, line := range lines {
		if !strings.HasPrefix(line, "|") {
			assert.LessOrEqual(t, utf8.RuneCountInString(line), 120, "README.md:%d", i+1)
		}
	}
}

// A document of figures begins with the command that makes them again.
func TestFiguresBeginWithTheirCommand(t *testing.T) {
	texts := documents(t)
	for _, name := range []string{"docs/exactness.md", "docs/speed.md", "docs/robustness.md", "docs/models.md"} {
		assert.Regexp(t, "\\A# [^\n]+\n\n```sh\n[^\n`]+\n```\n", texts[name], "%s", name)
	}
}

var (
	variable = regexp.MustCompile(`\bTFCONVRNN_[A-Z0-9_]+\b`)
	inClone  = regexp.MustCompile(`(?:^|[\s` + "`" + `(])((?:scripts|python|cmd|docs|internal)/[\w./-]*\w)`)
	goTest   = regexp.MustCompile(`go test ([^` + "`" + `\n&)]*)`)
	selected = regexp.MustCompile(`-(run|bench|fuzz) (?:'([^']*)'|(\S+))`)
	testName = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
	kinds    = map[string]string{"run": "Test", "bench": "Benchmark", "fuzz": "Fuzz"}
)

// Environment variables, files and tests that documents name are there.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	sources := textOf(t, "../..", ".go", ".sh", ".py", ".tmpl")
	count := 0
	for name, text := range documents(t) {
		if name == "THIRD_PARTY_NOTICES.md" {
			continue
		}
		for _, v := range variable.FindAllString(text, -1) {
			assert.True(t, strings.Contains(sources, v), "%s: %s", name, v)
			count++
		}
		for _, file := range inClone.FindAllStringSubmatch(text, -1) {
			found, err := filepath.Glob(filepath.Join("../..", file[1]) + "*") // the beginning of several names, too
			require.NoError(t, err)
			assert.NotEmpty(t, found, "%s: %s", name, file[1])
			count++
		}
		for _, command := range goTest.FindAllStringSubmatch(text, -1) {
			var tests []string
			for _, word := range strings.Fields(command[1]) {
				if folder, ok := strings.CutPrefix(word, "./"); ok {
					code := textOf(t, filepath.Join("../..", strings.TrimSuffix(folder, "...")), "_test.go")
					for _, f := range testName.FindAllStringSubmatch(code, -1) {
						tests = append(tests, f[1])
					}
				}
			}
			for _, choice := range selected.FindAllStringSubmatch(command[1], -1) {
				pattern, _, _ := strings.Cut(choice[2]+choice[3], "/")
				if pattern == "^$" || pattern == "." {
					continue
				}
				fits := regexp.MustCompile(pattern)
				assert.True(t, slices.ContainsFunc(tests, func(test string) bool {
					return strings.HasPrefix(test, kinds[choice[1]]) && fits.MatchString(test)
				}), "%s: %s finds nothing", name, command[0])
				count++
			}
		}
	}
	assert.Greater(t, count, 200)
}

// textOf is the text of all files with these endings in a folder and those below it.
func textOf(t *testing.T, folder string, endings ...string) string {
	var text strings.Builder
	require.NoError(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if !slices.ContainsFunc(endings, func(ending string) bool { return strings.HasSuffix(path, ending) }) {
			return nil
		}
		data, err := os.ReadFile(path)
		text.Write(data)
		return err
	}))
	return text.String()
}
