package architecture_test

import (
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
