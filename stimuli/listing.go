package stimuli

import (
	"context"
)

// A Listing is what is in a folder and the folders below it.
type Listing struct {
	// Pictures are the paths of the pictures in the folder, with slashes, in their order as texts.
	Pictures []string
	// LeftOut counts the files that are no pictures by their endings, in lower case, or under
	// WithoutEnding, Hidden, and InHiddenFolders.
	LeftOut map[string]int
	// Loops are the links that lead back to a folder that they lie in.
	Loops []string
}

// What Listing.LeftOut counts beside endings: files without one, and pictures and videos whose own
// name, or whose folder's, begins with a dot.
const (
	WithoutEnding   = "without an ending"
	Hidden          = "hidden"
	InHiddenFolders = "in hidden folders"
)

// List lists a folder as an input of extraction is read: links to folders are followed, except
// those that lead back; what is hidden is left out. A broken link that is called as a picture is
// one that cannot be read. The error is the file system's, or that of ctx.
func List(ctx context.Context, folder string) (*Listing, error) {
	list, left, files := &Listing{}, leftOut{}, newTree(folder)
	if _, err := walk(ctx, files, ".", left, func(name string) error {
		if hasSuffix(name, videoSuffixes) {
			left.add(name)
		} else {
			list.Pictures = append(list.Pictures, name)
		}
		return nil
	}); err != nil {
		return nil, Explain(folder, err)
	}
	list.LeftOut, list.Loops = left, files.unfollowed()
	return list, nil
}

// IsPicture says whether a file's name ends as that of a picture.
func IsPicture(name string) bool { return hasSuffix(name, pictureSuffixes) }
