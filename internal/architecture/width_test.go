package architecture_test

import (
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const widest = 120

// TestWidths holds lines of Go to what can be read beside another file, apart from those that are longer for a
// text that is searched for in one piece, or for a command or program in a comment.
func TestWidths(t *testing.T) {
	list, err := exec.Command("git", "-C", "../..", "ls-files", "*.go").Output()
	if err != nil {
		t.Skip("needs git and a clone:", err)
	}
	names := strings.Fields(string(list))
	require.Greater(t, len(names), 500)
	for _, name := range names {
		if strings.HasSuffix(name, ".pb.go") {
			continue
		}
		source, err := os.ReadFile(filepath.Join("../..", name))
		require.NoError(t, err)
		for _, line := range tooWide(source) {
			assert.Fail(t, "a line is too wide", "%s:%d", name, line)
		}
	}
}

// TestOtherWidths holds C, Python and the prose of documents to the same. Tables, listings and
// pictures of documents are as wide as they are.
func TestOtherWidths(t *testing.T) {
	list, err := exec.Command("git", "-C", "../..", "ls-files", "*.c", "*.h", "*.py", "*.md").Output()
	if err != nil {
		t.Skip("needs git and a clone:", err)
	}
	checked := 0
	for _, name := range strings.Fields(string(list)) {
		if strings.Contains(name, "testdata/") || strings.HasSuffix(name, "NOTICES.md") {
			continue
		}
		checked++
		source, err := os.ReadFile(filepath.Join("../..", name))
		require.NoError(t, err)
		listing := false
		for i, line := range strings.Split(string(source), "\n") {
			if strings.HasSuffix(name, ".md") {
				if strings.HasPrefix(strings.TrimSpace(line), "```") {
					listing = !listing
				}
				if listing || strings.HasPrefix(line, "|") || strings.HasPrefix(line, "![") {
					continue
				}
			}
			assert.LessOrEqual(t, utf8.RuneCountInString(line), widest, "%s:%d", name, i+1)
		}
	}
	require.Greater(t, checked, 50)
}

// tooWide returns the numbers of the lines that are wider than they have to be.
func tooWide(source []byte) (numbers []int) {
	wide := map[int]bool{}
	for i, line := range strings.Split(string(source), "\n") {
		wide[i+1] = utf8.RuneCountInString(line) > widest
	}
	files := token.NewFileSet()
	file := files.AddFile("", files.Base(), len(source))
	var s scanner.Scanner
	s.Init(file, source, nil, scanner.ScanComments)
	for {
		at, kind, text := s.Scan()
		if kind == token.EOF {
			break
		}
		begin := file.Position(at)
		switch {
		case kind == token.STRING:
			for i := range strings.Count(text, "\n") + 1 {
				last := text[strings.LastIndexByte(text, '\n')+1:]
				if i > 0 || begin.Column+utf8.RuneCountInString(last) > widest || strings.Contains(text, "\n") {
					wide[begin.Line+i] = false
				}
			}
		case kind == token.COMMENT && strings.HasPrefix(text, "//\t"), kind == token.COMMENT && strings.HasPrefix(text, "//     "):
			wide[begin.Line] = false
		}
	}
	for number := range strings.Count(string(source), "\n") {
		if wide[number+1] {
			numbers = append(numbers, number+1)
		}
	}
	return numbers
}

func TestTooWide(t *testing.T) {
	long := strings.Repeat("x", widest)
	assert.Equal(t, []int{3, 5}, tooWide([]byte("package a\n\nvar "+long+" = 1\nvar a = \""+long+"\"\n// "+long+"\n//\t"+long+"\n")))
}
