package evaluation

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// listed returns the ids and labels of a set.
func listed(set *Set) (list []string) {
	for _, p := range set.Pictures {
		list = append(list, fmt.Sprint(p.ID, " ", p.Label))
	}
	return list
}

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"n01443537/b.JPEG", "n01443537/a.png", "n01440764/deep/c.jpg", "n01440764/.hidden.png",
		"n01440764/notes.txt", "n01440764/x.xml",
		"n01440764/y.xml", "n01440764/.DS_Store", ".git/x.png", "stray.png", "LICENSE"} {
		write(t, filepath.Join(dir, name), "")
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "n01484850"), 0o755))
	set, err := Folders(t.Context(), dir, WordNetOrder())
	require.NoError(t, err)
	assert.Equal(t, []string{"n01440764/deep/c.jpg 0", "n01443537/a.png 1", "n01443537/b.JPEG 1"}, listed(set))
	assert.Equal(t, []string{
		"1 picture outside the folders of classes: no label, left out",
		"1 folder without pictures: n01484850",
		"4 files of other kinds left out: .txt 1, .xml 2, without an ending 1",
		"1 picture left out whose names begin with a dot",
	}, set.Notes)
	write(t, filepath.Join(dir, "n99999999", "x.png"), "")
	_, err = Folders(t.Context(), dir, WordNetOrder())
	assert.ErrorIs(t, err, ErrSet)
	assert.ErrorContains(t, err, "n99999999")
	_, err = Folders(t.Context(), t.TempDir(), WordNetOrder())
	assert.ErrorIs(t, err, ErrSet)
	_, err = Folders(t.Context(), filepath.Join(dir, "none"), WordNetOrder())
	assert.ErrorIs(t, err, ErrSet)
}

func TestFoldersWithLinks(t *testing.T) {
	elsewhere := t.TempDir()
	write(t, filepath.Join(elsewhere, "more", "c.png"), "")
	write(t, filepath.Join(elsewhere, "class", "d.png"), "")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "n01440764", "a.png"), "")
	link := func(target, name string) { require.NoError(t, os.Symlink(target, filepath.Join(dir, name))) }
	link(filepath.Join(elsewhere, "more"), "n01440764/linked")
	link(filepath.Join(dir, "n01440764"), "n01440764/loop")
	link("nowhere.png", "n01440764/broken.png")
	link(filepath.Join(elsewhere, "class"), "n01443537")
	set, err := Folders(t.Context(), dir, WordNetOrder())
	require.NoError(t, err)
	assert.Equal(t, []string{"n01440764/a.png 0", "n01440764/broken.png 0", "n01440764/linked/c.png 0",
		"n01443537/d.png 1"}, listed(set))
	assert.Equal(t, []string{"1 link left out that lead to a folder above"}, set.Notes)
	// Two labels for the same pictures.
	link("n01440764", "n01484850")
	_, err = Folders(t.Context(), dir, WordNetOrder())
	assert.ErrorIs(t, err, ErrSet)
	assert.ErrorContains(t, err, "n01440764 and n01484850 are the same folder")
}

func TestNumberedFolders(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"0", "1", "2", "10", "100"} {
		write(t, filepath.Join(dir, name, "x.png"), "")
	}
	set, err := Folders(t.Context(), dir, WordNetOrder())
	require.NoError(t, err)
	assert.Equal(t, []string{"0/x.png 0", "1/x.png 1", "2/x.png 2", "10/x.png 10", "100/x.png 100"}, listed(set))
	assert.Equal(t,
		[]string{"the folders' numbers are taken for the classes' places among the sorted WordNet ids, from 0: 0 is n01440764, tench; 100 is n01860187, black swan"}, set.Notes)

	// The numbers mean classes, even if the order gives these other outputs.
	reversed := &Order{Name: "reversed"}
	for i := range 1000 {
		reversed.outputs, reversed.classes = append(reversed.outputs, 999-i), append(reversed.classes, 999-i)
	}
	set, err = Folders(t.Context(), dir, reversed)
	require.NoError(t, err)
	assert.Equal(t, []string{"0/x.png 999", "1/x.png 998", "2/x.png 997", "10/x.png 989", "100/x.png 899"}, listed(set))

	for _, test := range []struct{ add, want string }{
		{"1000", "class numbers go from 0 to 999"},
		{"01", "are of the same class"},
		{"n01440764", "some by numbers"},
		{"-1", "-1; move or rename them"},
		{"train", "train; move or rename them"},
	} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, test.add), 0o755))
		_, err = Folders(t.Context(), dir, WordNetOrder())
		assert.ErrorIs(t, err, ErrSet)
		assert.ErrorContains(t, err, test.want)
		require.NoError(t, os.Remove(filepath.Join(dir, test.add)))
	}
	from1 := t.TempDir()
	for _, name := range []string{"1", "2", "3"} {
		write(t, filepath.Join(from1, name, "x.png"), "")
	}
	set, err = Folders(t.Context(), from1, WordNetOrder())
	require.NoError(t, err)
	assert.Contains(t, set.Notes[0], "there is no folder 0, so if these count from 1, all labels are wrong")
}

// labelled writes pictures and a list, and reads it.
func labelled(t testing.TB, list string, names ...string) (*Set, error) {
	dir := t.TempDir()
	for _, name := range names {
		write(t, filepath.Join(dir, "val", name), "")
	}
	return Labels(t.Context(), write(t, filepath.Join(dir, "list.csv"), list), filepath.Join(dir, "val"),
		WordNetOrder(), false)
}

func TestLabels(t *testing.T) {
	dir := t.TempDir()
	elsewhere := write(t, filepath.Join(t.TempDir(), "d.png"), "")
	for _, name := range []string{"a b.png", "sub/c.png", "with \"quotes\".png"} {
		write(t, filepath.Join(dir, name), "")
	}
	list := write(t, filepath.Join(dir, "list.csv"), "path,label\r\na b.png,n01443537\n\"sub/c.png\",\"999\"\n"+elsewhere+
		"\t7\n\"with \"\"quotes\"\".png\",3\n\n")
	set, err := Labels(t.Context(), list, "", WordNetOrder(), false)
	require.NoError(t, err)
	assert.Equal(t, []Picture{
		{"a b.png", filepath.Join(dir, "a b.png"), 1}, {"sub/c.png", filepath.Join(dir, "sub", "c.png"), 999},
		{elsewhere, elsewhere, 7},
		{"with \"quotes\".png", filepath.Join(dir, "with \"quotes\".png"), 3},
	}, set.Pictures)
	assert.Equal(t, []string{"line 1 of list.csv is taken for a heading: path,label"}, set.Notes)
	set, err = Labels(t.Context(), list, "/pictures", WordNetOrder(), true)
	assert.ErrorIs(t, err, ErrSet, "there is no such folder: %v", set)
	for _, bad := range []string{"", "path,label\n", "a,1\nb,x\n", "a,1\nb,1000\n", "a,1\nb,-1\n", "a,1\n5\n",
		"a,1\na,2\n", strings.Repeat("x", 100000)} {
		_, err = Labels(t.Context(), write(t, list, bad), "", WordNetOrder(), true)
		assert.ErrorIs(t, err, ErrSet, "%.20q", bad)
	}
	_, err = Labels(t.Context(), dir, "", WordNetOrder(), true)
	assert.ErrorIs(t, err, ErrSet)
}

func TestHeadings(t *testing.T) {
	names := []string{"0.png", "1.png", "x.JPEG"}
	for _, heading := range []string{"path,label", "ImageId,PredictionString", "file name;class id", "image\tsynset",
		"\ufeffpath,label (0-999)", "img,y"} {
		set, err := labelled(t, heading+"\n0.png,1\n1.png,5\n", names...)
		require.NoError(t, err, heading)
		assert.Equal(t, []string{"0.png 1", "1.png 5"}, listed(set))
		assert.Contains(t, set.Notes[0], "taken for a heading")
	}
	for _, first := range []string{
		"0.png,1000", "0.png,n99999999", "0.png,tench", "0.png,-1", "x,label", "9.png,label", "9.png,n99999999",
		"y,n0144o764", "y,1.5", "sub/y,label", "0.png", "label", "1,0.png", "n01440764,y.png",
	} {
		_, err := labelled(t, first+"\n1.png,5\n", names...)
		assert.ErrorIs(t, err, ErrSet, first)
		assert.ErrorContains(t, err, "line 1: ", first)
	}
	_, err := labelled(t, "path,label\npath,label\n0.png,1\n", names...)
	assert.ErrorContains(t, err, "line 2: ")
	_, err = labelled(t, "0.png,1\n\n1.png,1000\n", names...)
	assert.ErrorContains(t, err, "line 3: ")
	assert.ErrorContains(t, err, "numbers from 1 to 1000 are those of other orders")
}

func TestByteOrderMark(t *testing.T) {
	set, err := labelled(t, "\ufeffa.png,1\n", "a.png")
	require.NoError(t, err)
	assert.Equal(t, []string{"a.png 1"}, listed(set))
	// Other forms of text are read as those of tables.
	set, err = labelled(t, "\xff\xfea\x00.\x00p\x00n\x00g\x00,\x001\x00\n\x00", "a.png")
	require.NoError(t, err)
	assert.Equal(t, []string{"a.png 1"}, listed(set))
	set, err = labelled(t, "a.png,1\rb.png,2\r", "a.png", "b.png")
	require.NoError(t, err)
	assert.Equal(t, []string{"a.png 1", "b.png 2"}, listed(set))
	set, err = labelled(t, "caf\xe9.png,1\n", "café.png")
	require.NoError(t, err)
	assert.Equal(t, []string{"café.png 1"}, listed(set))
	assert.Equal(t, []string{"list.csv: it is not UTF-8 and is read as Windows-1252 (CP-1252)"}, set.Notes)
	outputs, err := ReadClasses(t.Context(), write(t, filepath.Join(t.TempDir(), "ids.txt"),
		"\ufeffn01440764\nn01443537\n"), WordNetOrder())
	require.NoError(t, err)
	assert.Equal(t, []int{0, 1}, outputs)
}

func TestKaggleLabels(t *testing.T) {
	list := "ImageId,PredictionString\nval_1,n03995372 85 1 499 272 \nval_2,n01440764 1 2 3 4 n01440764 5 6 7 8 \nval_3,n01443537 10 20 30 40\n"
	set, err := labelled(t, list, "val_1.JPEG", "n01440764/val_2.JPEG", "val_3.png", "val_4.JPEG")
	require.NoError(t, err)
	assert.Equal(t, []string{"val_1.JPEG 740", "n01440764/val_2.JPEG 0", "val_3.png 1"}, listed(set))
	require.Len(t, set.Notes, 2)
	assert.Contains(t, set.Notes[0], "heading")
	assert.Contains(t, set.Notes[1], "1 picture in ")
	assert.Contains(t, set.Notes[1], "without a label in list.csv: left out")
	_, err = labelled(t, "a,n01440764 1 2 3 4 n01443537 5 6 7 8\n", "a.JPEG")
	assert.ErrorContains(t, err, "line 1: the boxes are of several classes, n01440764 and n01443537")
	_, err = labelled(t, "a,1\n", "a.JPEG", "a.png")
	assert.ErrorContains(t, err, "a may be a.JPEG or a.png")
}

func TestPicturesNamedTwice(t *testing.T) {
	for _, second := range []string{"p/0.png,1", "./p/0.png,1", "p/./0.png,2", "p//0.png,2", "p/0,1", "q/../p/0.png,1"} {
		_, err := labelled(t, "path,label\np/0.png,1\n"+second+"\n", "p/0.png")
		assert.ErrorIs(t, err, ErrSet, second)
		assert.ErrorContains(t, err, "line 3: ", second)
		assert.ErrorContains(t, err, "is there already, on line 2", second)
	}
	set, err := labelled(t, "./p/0.png,1\n", "p/0.png")
	require.NoError(t, err)
	assert.Equal(t, []string{"p/0.png 1"}, listed(set))
}

func TestMissingPictures(t *testing.T) {
	_, err := labelled(t, "a.png,1\nb.png,2\nc.png,3\n", "b.png")
	assert.ErrorIs(t, err, ErrMissing)
	assert.ErrorContains(t, err, "names 3 pictures, of which 2 cannot be found in ")
	assert.ErrorContains(t, err, "a.png (line 1), c.png (line 3)")
	// The one that may be meant is named.
	for name, there := range map[string]string{"Sub/A.PNG": "Sub/a.png", `sub\a.png`: "sub/a.png", "a.png": "a.JPG"} {
		_, err := labelled(t, name+",1\n", there)
		assert.ErrorIs(t, err, ErrMissing)
		assert.ErrorContains(t, err, "; there is ", name)
		assert.ErrorContains(t, err, there, name)
	}
	_, err = labelled(t, "a.png,1\n", "a.png/b.png")
	assert.ErrorContains(t, err, "a.png is not a file")
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "Val"), 0o755))
	_, err = Folders(t.Context(), filepath.Join(dir, "val"), WordNetOrder())
	assert.ErrorContains(t, err, "Val, which differs in upper and lower case")
	set, err := Labels(t.Context(), write(t, filepath.Join(dir, "l.csv"), "a.png,1\n"), dir, WordNetOrder(), true)
	require.NoError(t, err)
	assert.Equal(t, []Picture{{"a.png", filepath.Join(dir, "a.png"), 1}}, set.Pictures)
}

// A request finds what its fields name, and says what it left out.
func TestRequestFinds(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"n01440764/a.png", "n01443537/b.png", "n01443537/c.png", "n01443537/.old/d.png"} {
		write(t, filepath.Join(dir, name), "")
	}
	set, err := Request{Images: dir, Classes: PresentClasses, Limit: 2}.Find(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"n01440764/a.png 0", "n01443537/b.png 1"}, listed(set))
	assert.Equal(t, []int{0, 1}, set.Among)
	assert.Equal(t, []string{"1 picture left out in folders whose names begin with a dot"}, set.Notes)
	list := write(t, filepath.Join(t.TempDir(), "list.csv"), "n01443537/b.png,1\nnone.png,1\n")
	_, err = Request{Images: dir, Labels: list}.Find(t.Context())
	assert.ErrorIs(t, err, ErrMissing)
	set, err = Request{Images: dir, Labels: list, MayBeMissing: true}.Find(t.Context())
	require.NoError(t, err)
	assert.Nil(t, set.Among)
	for _, q := range []Request{{Images: dir, Classes: "none.txt"}, {Images: dir, Classes: Classes(list)}} {
		_, err = q.Find(t.Context())
		assert.ErrorIs(t, err, ErrClasses)
	}
	_, err = Request{}.Find(t.Context())
	assert.ErrorIs(t, err, ErrSet)
	_, err = ParseClasses("")
	assert.ErrorIs(t, err, ErrClasses)
}
