package stimuli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/tfconvrnn/go/internal/images"
)

var urlScheme = regexp.MustCompile(`^(?i:https?|ftps?|sftp|file)://`)

// isURL tells addresses that are not those of object stores.
func isURL(name string) bool { return urlScheme.MatchString(name) }

func errURL(name string) error {
	if path, ok := strings.CutPrefix(name, "file://"); ok {
		return inputf("%s: URLs are not read; give the path, %s", name, path)
	}
	return inputf("%s: URLs are not read; download it first, and name the file", name)
}

// explain adds to an error about a file that is not there what may be meant: a file
// whose name differs little, or how to get the content that a link stands for.
func explain(name string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if annexed := images.ExplainMissing(name, err); errors.Is(annexed, images.ErrNotFetched) {
		return annexed
	}
	if target, linkErr := os.Readlink(name); linkErr == nil {
		return fmt.Errorf("%w: it is a link to %s, which is not there", err, target)
	}
	if other, how := nearby(name); other != "" {
		return fmt.Errorf("%w; there is %s, which differs in %s", err, other, how)
	}
	return err
}

// maxNear bounds the entries of a folder that are looked through.
const maxNear = 100_000

// nearby returns a file that is there, whose name differs in the direction of slashes,
// upper and lower case, the form of accents, or the ending, and in what.
func nearby(name string) (file, how string) {
	if slashes := strings.ReplaceAll(name, `\`, "/"); slashes != name {
		if _, err := os.Stat(slashes); err == nil {
			return slashes, "the direction of slashes"
		}
		if file, how = nearby(slashes); file != "" {
			return file, "the direction of slashes and " + how
		}
	}
	name = filepath.Clean(name)
	folder := filepath.Dir(name)
	if _, err := os.Stat(folder); err != nil {
		if folder == name || folder == "." {
			return "", ""
		}
		if folder, how = nearby(folder); folder == "" {
			return "", ""
		}
		if file := filepath.Join(folder, filepath.Base(name)); how != "the ending" {
			if _, err := os.Stat(file); err == nil {
				return file, how
			}
		}
	}
	open, err := os.Open(folder)
	if err != nil {
		return "", ""
	}
	defer open.Close()
	names, _ := open.Readdirnames(maxNear)
	wanted := norm.NFC.String(filepath.Base(name))
	stem := func(s string) string { return strings.ToLower(strings.TrimSuffix(s, filepath.Ext(s))) }
	for _, form := range []struct {
		how   string
		equal func(s string) bool
	}{
		{"how its accents are encoded (Unicode normalization)", func(s string) bool { return s == wanted }},
		{"upper and lower case", func(s string) bool { return strings.EqualFold(s, wanted) }},
		{"the ending", func(s string) bool { return stem(s) != "" && stem(s) == stem(wanted) }},
	} {
		for _, other := range names {
			if form.equal(norm.NFC.String(other)) {
				return filepath.Join(folder, other), form.how
			}
		}
	}
	return "", ""
}

// otherFormat says what to do with a file of a format that is not read; "" for all
// others.
func otherFormat(name string) string {
	base := filepath.Base(name)
	npy := strings.TrimSuffix(base, filepath.Ext(base)) + ".npy"
	csv := strings.TrimSuffix(base, filepath.Ext(base)) + ".csv"
	switch strings.ToLower(filepath.Ext(name)) {
	case ".mat":
		if strings.HasPrefix(beginning(name), "MATLAB 5") {
			return fmt.Sprintf(
				"MATLAB's files are not read; save the array of pictures, height×width×3×N, as [N, height, width, 3]: "+
					"python3 -c 'import scipy.io, numpy as np; f = scipy.io.loadmat(%q); print(list(f)); np.save(%q, np.moveaxis(f[\"NAME\"], -1, 0))'",
				base, npy)
		}
		return fmt.Sprintf("MATLAB's files are not read, and this is HDF5 (-v7.3); save the array of pictures, height×width×3×N, whose name h5py lists: "+
			"python3 -c 'import h5py, numpy as np; f = h5py.File(%q); print(list(f)); np.save(%q, f[\"NAME\"][:].transpose(0, 3, 2, 1))'", base, npy)
	case ".xls", ".xlsx", ".xlsm", ".ods":
		return "spreadsheets are not read; save it as CSV UTF-8 in the program that made it"
	case ".parquet":
		return fmt.Sprintf("Parquet is not read; save it as CSV: python3 -c 'import pandas as pd; pd.read_parquet(%q).to_csv(%q, index=False)'",
			base, csv)
	case ".pkl", ".pickle", ".pt", ".pth":
		return "pickles are not read, since they can run any program; save pictures as .npy and tables as .csv"
	}
	return ""
}

func beginning(name string) string {
	file, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer file.Close()
	start := make([]byte, 128)
	n, _ := io.ReadFull(file, start)
	return string(start[:n])
}
