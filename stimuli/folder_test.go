package stimuli

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Links to folders are followed, in folders and patterns alike; those that lead back are
// said; and so is what is left out.
func TestLinksAndWhatIsLeftOut(t *testing.T) {
	t.Chdir(t.TempDir())
	writePicture(t, "elsewhere/b.png", 2)
	writePicture(t, "elsewhere/below/c.png", 3)
	writePicture(t, "set/a/a.png", 1)
	writePicture(t, "set/a/.hidden.png", 9)
	writeText(t, "set/a/._a.png", "a fork")
	writeText(t, "set/a/notes.txt", "")
	writeText(t, "set/a/more.txt", "")
	writeText(t, "set/a/labels.csv", "")
	writeText(t, "set/README", "")
	require.NoError(t, os.Symlink("../elsewhere", "set/linked"))
	require.NoError(t, os.Symlink("../a", "set/a/loop"))
	require.NoError(t, os.Symlink(".", "set/itself"))
	require.NoError(t, os.Symlink("../set", "elsewhere/back"))
	require.NoError(t, os.Symlink("a/a.png", "set/z.png"))
	for _, input := range []string{"set", "set/**/*.png"} {
		var told []string
		options := Options{Inputs: []string{input}, Warn: warnings(&told)}
		set := open(t, options)
		assert.Equal(t, []string{"set/a/a.png", "set/linked/b.png", "set/linked/below/c.png", "set/z.png"},
			column(t, set, "stimulus_path"), input)
		assert.Equal(t, []string{"a", "linked", "linked/below", ""}, column(t, set, "class"), input)
		assert.Equal(t, [][]int{{1}, {2}, {3}, {1}}, collect(t, set))
		text := strings.Join(told, "\n")
		for _, loop := range []string{"set/a/loop", "set/itself", "set/linked/back"} {
			assert.Contains(t, filepath.ToSlash(text), loop+" leads back", input)
		}
		if input == "set" {
			assert.Contains(t, text, "set: 5 files are left out: 2 .txt, 1 .csv, 1 hidden, 1 without an ending")
		}
	}
	set := open(t, Options{Inputs: []string{"set"}, FolderSequences: true})
	assert.Equal(t, []string{"set", "a", "linked", "linked/below"}, set.IDs())
	_, err := Open(t.Context(), Options{Inputs: []string{"nowhere/*.png"}})
	assert.ErrorContains(t, err, "no file fits this pattern")
	require.NoError(t, os.Mkdir("none", 0o777))
	writeText(t, "none/x.txt", "")
	_, err = Open(t.Context(), Options{Inputs: []string{"none"}})
	assert.ErrorContains(t, err, "there are 1 .txt")
}

// Brackets in the names of folders that are there are themselves.
func TestBrackets(t *testing.T) {
	t.Chdir(t.TempDir())
	writePicture(t, "set [final]/a.png", 1)
	writePicture(t, "set [final]/{x}/b.png", 2)
	writePicture(t, "set f/c.png", 3)
	for pattern, want := range map[string][]string{
		"set [final]/*.png":     {"set [final]/a.png"},
		"set [[]final]/*.png":   {"set [final]/a.png"},
		"set [final]/**/*.png":  {"set [final]/a.png", "set [final]/{x}/b.png"},
		"set [final]/{x}/*.png": {"set [final]/{x}/b.png"},
		"set [final]/{a,b}.png": {"set [final]/a.png"},
		"set [fgh]/*.png":       {"set f/c.png"},
		"set [final]/a.png":     {"set [final]/a.png"},
	} {
		assert.Equal(t, want, column(t, open(t, Options{Inputs: []string{pattern}}), "stimulus_path"), pattern)
	}
	assert.Equal(t, []string{"", "{x}"}, column(t, open(t, Options{Inputs: []string{"set [final]/**/*.png"}}), "class"))
	_, err := Open(t.Context(), Options{Inputs: []string{"set [xyz]/*.png"}})
	assert.ErrorContains(t, err, "[[] for a bracket")
}

// What is nearly there is named, and what is not read says what to do instead.
func TestMessages(t *testing.T) {
	t.Chdir(t.TempDir())
	writePicture(t, "Set/Caf\u00e9.png", 1)
	writePicture(t, "Set/b.jpeg", 1)
	annex := "../.git/annex/objects/xX/yY/SHA256E-s1--0/SHA256E-s1--0.png"
	require.NoError(t, os.Symlink(annex, "Set/annexed.png"))
	require.NoError(t, os.Symlink("gone.png", "Set/broken.png"))
	writeText(t, "t.csv", "path\nSet/caf\u00e9.png\n")
	writeText(t, "url.csv", "path\nhttps://example.org/a.png\n")
	writeText(t, "list.txt", "Set/b.jpeg\nSet/b.png\n")
	for _, name := range []string{"a.xlsx", "a.parquet", "a.pkl"} {
		writeText(t, name, "anything")
	}
	writeText(t, "five.mat", "MATLAB 5.0 MAT-file")
	writeText(t, "seven.mat", "MATLAB 7.3 MAT-file")
	for input, parts := range map[string][]string{
		"Set/caf\u00e9.png":  {"there is Set/Caf\u00e9.png, which differs in upper and lower case"},
		"set/caf\u00e9.png":  {"there is Set/Caf\u00e9.png"},
		"Set/Cafe\u0301.png": {"Unicode normalization"},
		`Set\b.jpeg`:         {"there is Set/b.jpeg, which differs in the direction of slashes"},
		`set\B.jpeg`: {
			"there is Set/b.jpeg, which differs in the direction of slashes and upper and lower case"},
		"Set/b.jpg":                 {"there is Set/b.jpeg, which differs in the ending"},
		"Set/annexed.png":           {"datalad get", "git annex get"},
		"Set/broken.png":            {"link to gone.png"},
		"https://example.org/a.png": {"URLs are not read"},
		"file:///tmp/a.png":         {"give the path, /tmp/a.png"},
		"t.csv":                     {"t.csv, line 2", "there is Set/Caf\u00e9.png"},
		"url.csv":                   {"url.csv, line 2", "URLs are not read"},
		"list.txt":                  {"list.txt, line 2", "there is Set/b.jpeg"},
		"five.mat":                  {"scipy.io"},
		"seven.mat":                 {"h5py"},
		"a.xlsx":                    {"CSV"},
		"a.parquet":                 {"read_parquet"},
		"a.pkl":                     {"pickles"},
	} {
		_, err := Open(t.Context(), Options{Inputs: []string{input}})
		require.ErrorIs(t, err, ErrInput, input)
		for _, part := range parts {
			assert.ErrorContains(t, err, part, input)
		}
	}
	_, err := Open(t.Context(), Options{Inputs: []string{"Set/b.jpg"}})
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Open(t.Context(), Options{Inputs: []string{"nothing/like/it.png"}})
	assert.NotContains(t, err.Error(), "there is")
}

// A text file lists paths, relative to it, or is a table if it begins as one.
func TestLists(t *testing.T) {
	t.Chdir(t.TempDir())
	writePicture(t, "data/a, b.png", 1)
	writePicture(t, "data/c.png", 2)
	writeText(t, "data/list.txt", "a, b.png\r\nc.png\r\n")
	set := open(t, Options{Inputs: []string{"data/list.txt"}, PathColumn: "image"})
	assert.Equal(t, []string{"a, b.png", "c.png"}, set.IDs())
	assert.Equal(t, [][]int{{1}, {2}}, collect(t, set))
	assert.Equal(t, []Input{{Name: "list.txt", Kind: "list", Stimuli: 2}}, set.Inputs())
	writeText(t, "data/table.txt", utf16Text("path\tsize\r\nc.png\t7\r\n"))
	set = open(t, Options{Inputs: []string{"data/table.txt"}})
	assert.Equal(t, []int64{7}, column(t, set, "size"))
	writeText(t, "data/away.txt", "../secret.png\n")
	_, err := Open(t.Context(), Options{Inputs: []string{"data/away.txt"}})
	assert.ErrorContains(t, err, "away.txt, line 1: ../secret.png is not in the folder")
}

// Pictures in hidden folders are left out, which is said; those that git keeps are none.
func TestHiddenFoldersAreSaid(t *testing.T) {
	t.Chdir(t.TempDir())
	for i, name := range []string{"set/a.png", "set/.ipynb_checkpoints/a-checkpoint.png", "set/.old/below/b.png",
		"set/.git/annex/c.png"} {
		writePicture(t, name, uint8(i))
	}
	require.NoError(t, os.Mkdir("set/.config", 0o777))
	writeText(t, "set/.config/notes.txt", "no picture")
	var told []string
	set := open(t, Options{Inputs: []string{"set"}, Warn: warnings(&told)})
	assert.Equal(t, []string{"a.png"}, set.IDs())
	assert.Equal(t, []string{"set: 2 files are left out: 2 in hidden folders"}, told)
}

// A listing has the pictures in the order of an extraction, and counts all else.
func TestList(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"f/b.png", "f/a/z.JPG", "f/.x.png", "f/.hidden/y.png", "f/v.mp4", "f/notes.txt",
		"f/README"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o777))
		writeText(t, name, "x")
	}
	require.NoError(t, os.Symlink("..", "f/a/loop"))
	require.NoError(t, os.Symlink("nowhere", "f/a/broken.png"))
	list, err := List(t.Context(), "f")
	require.NoError(t, err)
	assert.Equal(t, []string{"a/broken.png", "a/z.JPG", "b.png"}, list.Pictures)
	assert.Equal(t, map[string]int{Hidden: 1, InHiddenFolders: 1, ".mp4": 1, ".txt": 1, WithoutEnding: 1}, list.LeftOut)
	assert.Equal(t, []string{filepath.Join("f", "a", "loop")}, list.Loops)
	_, err = List(t.Context(), "none")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.True(t, IsPicture("a.PNG"))
	assert.False(t, IsPicture("a.mp4"))
}
