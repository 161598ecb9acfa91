package stimuli

import (
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// warnings collects what a user is told.
func warnings(list *[]string) func(string) {
	return func(message string) { *list = append(*list, message) }
}

// The first warning of a reader does not silence those of another kind, and a kind is
// told once though every stimulus has a set of its own.
func TestWarningsOfEveryKind(t *testing.T) {
	var told []string
	reader, err := NewReader(t.Context(), Options{Warn: warnings(&told)}, nil)
	require.NoError(t, err)
	defer reader.Close()
	for range 2 {
		one, other := reader.session.child(), reader.session.child()
		one.warnOnce("orientation", "a.jpg lies on its side")
		other.warnOnce("alpha", "%s has transparent pixels", "b.png")
	}
	assert.Equal(t, []string{"a.jpg lies on its side", "b.png has transparent pixels"}, told)
}

// Pictures of 224×224 are taken as they are, alpha is dropped or composited, and both are said: the first at once, how
// many at the end.
func TestPicturesAreNoticed(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"a.png", "b.png"} {
		img := image.NewNRGBA(image.Rect(0, 0, 224, 224))
		img.SetNRGBA(0, 0, color.NRGBA{10, 20, 30, 255})
		file, err := os.Create(filepath.Join(folder, name))
		require.NoError(t, err)
		require.NoError(t, png.Encode(file, img))
		require.NoError(t, file.Close())
	}
	read := func(p tfconvrnn.Preprocessing) (corner, next []uint8, warned, noted []string) {
		set, err := Open(t.Context(), Options{Inputs: []string{folder}, Preprocessing: p, Warn: warnings(&warned),
			Note: warnings(&noted)})
		require.NoError(t, err)
		for i := range set.found {
			pixels, err := set.reader.session.picture(set.found[i].Picture)
			require.NoError(t, err)
			corner, next = pixels[:3], pixels[3:6]
		}
		require.NoError(t, set.Close())
		return corner, next, warned, noted
	}
	corner, next, warned, noted := read(tfconvrnn.Preprocessing{})
	assert.Equal(t, []uint8{10, 20, 30}, corner)
	assert.Equal(t, []uint8{0, 0, 0}, next)
	require.Len(t, warned, 2)
	assert.Contains(t, warned[0], "a.png has pixels that are not opaque; their alpha is dropped")
	assert.Contains(t, warned[1], "in all, 2 pictures have pixels that are not opaque")
	require.Len(t, noted, 2)
	assert.Contains(t, noted[0], "a.png is 224×224 already and is taken as it is")
	assert.Contains(t, noted[1], "in all, 2 pictures were 224×224 already")

	corner, next, warned, _ = read(tfconvrnn.Preprocessing{Alpha: "composite:white"})
	assert.Equal(t, []uint8{10, 20, 30}, corner)
	assert.Equal(t, []uint8{255, 255, 255}, next)
	assert.Empty(t, warned)

	corner, _, warned, _ = read(tfconvrnn.Preprocessing{Name: "resize256-crop224"})
	assert.Equal(t, []uint8{0, 0, 0}, corner, "zoomed and cropped")
	assert.Contains(t, warned[len(warned)-1],
		"in all, 2 pictures were 224×224 already and were resized and cropped all the same")
}

// A table, an array or a picture that Git LFS has not fetched says so.
func TestNotFetched(t *testing.T) {
	for _, name := range []string{"table.csv", "array.npy", "face.png"} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t,
			os.WriteFile(path, []byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"), 0o600))
		set, err := Open(t.Context(), Options{Inputs: []string{path}})
		if err == nil {
			_, err = set.reader.session.picture(path)
			require.NoError(t, set.Close())
		}
		require.ErrorIs(t, err, images.ErrNotFetched, name)
		assert.ErrorContains(t, err, "git lfs pull")
	}
}

// Only the cells of a sequence's first frame are kept; that others differ is said once.
func TestCellsOfLaterFramesAreSaid(t *testing.T) {
	text := "stimulus_id,timestep,path,cond\ns,0,p0.png,A\ns,3,p1.png,B\ns,4,p1.png,C\n"
	set, told := openTable(t, "t.csv", text, Options{})
	assert.Equal(t, []string{"A"}, set.Columns()[2].Values)
	require.Len(t, told, 1)
	assert.Contains(t, told[0], `t.csv, line 3: stimulus "s" has "A" in column "cond" of its first frame and "B" later`)
	_, told = openTable(t, "t.csv", strings.NewReplacer("B", "A", "C", "A").Replace(text), Options{})
	assert.Empty(t, told)
}

// Where frames are asked for, an animation of which one frame is taken is worth a warning.
func TestAnimationsOfWhichOneFrameIsTaken(t *testing.T) {
	for _, animate := range []bool{false, true} {
		var warned, noted []string
		set, err := newSession(t.Context(), Options{Animate: animate, Warn: warnings(&warned), Note: warnings(&noted)})
		require.NoError(t, err)
		set.notices.Picture("a.webp", &images.Picture{Width: 1, Height: 1, Animated: true}, set.preprocessing)
		require.NoError(t, set.Close())
		said := noted
		if animate {
			said = warned
		}
		require.Len(t, said, 1)
		assert.Contains(t, said[0], "a.webp is animated; its first frame is taken")
		assert.Len(t, append(warned, noted...), 1)
	}
}
