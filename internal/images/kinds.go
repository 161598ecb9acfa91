package images

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Extensions are the endings of the files that are read, in lower case with their dot. Files are told by their first
// bytes; endings are for choosing them in folders.
var extensions = []string{
	".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff",
	".pbm", ".pgm", ".ppm", ".pnm",
}

// Extensions returns the endings of picture files that this package reads, in lower case, with their dot. The slice
// is the caller's. Files are recognized by their contents, whatever their endings.
func Extensions() []string { return append([]string(nil), extensions...) }

// sniff tells the format from the first bytes; names and extensions of files
// often lie.
func sniff(data []byte, name string) (string, error) {
	if len(data) == 0 {
		return "", unreadable(name, errors.New("the file is empty"))
	}
	for _, signature := range []struct {
		format string
		prefix string
	}{
		{PNG, pngSignature},
		{JPEG, "\xff\xd8\xff"},
		{GIF, "GIF87a"},
		{GIF, "GIF89a"},
		{BMP, "BM"},
	} {
		if bytes.HasPrefix(data, []byte(signature.prefix)) {
			return signature.format, nil
		}
	}
	if isRIFF(data) {
		return WebP, nil
	}
	if isTIFF(data) {
		return TIFF, nil
	}
	if isPNM(data) {
		return PNM, nil
	}
	if err := CheckFetched(name, data); err != nil {
		return "", err
	}
	return "", fmt.Errorf("%s: %w%s; supported are %s", name, ErrUnsupportedFormat, guess(data, name), supportedFormats)
}

func isRIFF(data []byte) bool {
	return len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP"
}

// CheckFetched returns an error that wraps ErrNotFetched if data, the first bytes of a file, is what Git LFS or
// git-annex put in the place of a file whose content they have not fetched. It says how to fetch it. Name stands for
// the file in the message.
func CheckFetched(name string, data []byte) error {
	start := data[:min(len(data), 512)]
	switch {
	case bytes.HasPrefix(start, []byte("version https://git-lfs.github.com/spec/")),
		bytes.HasPrefix(start, []byte("version https://hawser.github.com/spec/")):
		return fmt.Errorf("%s: %w: it holds a pointer of Git LFS; run git lfs pull in its repository", name, ErrNotFetched)
	case bytes.HasPrefix(start, []byte("/annex/objects/")), bytes.Contains(start, []byte(".git/annex/objects/")) &&
		len(data) < 512:
		return fmt.Errorf("%s: %w: it holds a pointer of git-annex; run datalad get %s or git annex get %s in its repository",
			name, ErrNotFetched, filepath.Base(name), filepath.Base(name))
	}
	return nil
}

// ExplainMissing returns err, which came up when a file was opened; if the file is a symbolic link to content that
// git-annex has not fetched, it wraps ErrNotFetched too and says how to fetch it.
func ExplainMissing(path string, err error) error {
	if target, failed := os.Readlink(path); failed == nil && errors.Is(err, fs.ErrNotExist) &&
		strings.Contains(filepath.ToSlash(target), ".git/annex/objects/") {
		return fmt.Errorf("%s: %w: it is a link of git-annex; run datalad get %s or git annex get %s in its folder (%w)",
			path, ErrNotFetched, filepath.Base(path), filepath.Base(path), err)
	}
	return err
}

// kinds are formats that people do try, told by their first bytes.
var kinds = []struct{ prefix, kind string }{
	{"\x00\x00\x00\x0cjP  ", "JPEG 2000"},
	{"\xff\x4f\xff\x51", "JPEG 2000"},
	{"\x00\x00\x00\x0cJXL ", "JPEG XL"},
	{"\xff\x0a", "JPEG XL"},
	{"II\xbc\x01", "JPEG XR"},
	{"8BPS", "Photoshop"},
	{"gimp xcf", "GIMP"},
	{"%PDF", "PDF"},
	{"%!PS", "PostScript"},
	{"\xc5\xd0\xd3\xc6", "PostScript"},
	{"\x76\x2f\x31\x01", "OpenEXR"},
	{"#?RADIANCE", "Radiance HDR"},
	{"#?RGBE", "Radiance HDR"},
	{"\x00\x00\x01\x00", "a Windows icon"},
	{"\x00\x00\x02\x00", "a Windows cursor"},
	{"icns", "a macOS icon"},
	{"qoif", "QOI"},
	{"DDS ", "DDS"},
	{"\x0a\x05\x01", "PCX"},
	{"FUJIFILMCCD-RAW", "a camera's raw format"},
	{"P7\n", "PAM"},
	{"PF\n", "PFM"},
	{"Pf\n", "PFM"},
	{"SIMPLE  =", "FITS"},
}

// data files, not pictures.
var dataKinds = []struct{ prefix, kind string }{
	{"\x93NUMPY", "a NumPy array: save it with the ending .npy"},
	{"\x89HDF\r\n\x1a\n", "HDF5: save the pictures as an .npy array, or as PNG files"},
	{"MATLAB 5.0 MAT-file", "a MATLAB file: save the pictures as PNG files, with imwrite"},
	{"PK\x03\x04", "a zip archive: unpack it first"},
	{"\x1f\x8b", "gzip: unpack it first"},
	{"BZh", "bzip2: unpack it first"},
	{"\xfd7zXZ\x00", "xz: unpack it first"},
	{"\x28\xb5\x2f\xfd", "zstd: unpack it first"},
	{"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it first"},
	{"\x1a\x45\xdf\xa3", "a video: save it with its ending, such as .mkv"},
}

// guess names formats that people do try, for the error message, and says what to do.
func guess(data []byte, name string) string {
	kind := ""
	for _, k := range kinds {
		if bytes.HasPrefix(data, []byte(k.prefix)) {
			kind = k.kind
		}
	}
	for _, k := range dataKinds {
		if bytes.HasPrefix(data, []byte(k.prefix)) {
			return " (this is " + k.kind + ")"
		}
	}
	if len(data) >= 12 && string(data[4:8]) == "ftyp" {
		switch brand := string(data[8:12]); brand {
		case "avif", "avis":
			kind = "AVIF"
		case "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1":
			kind = "HEIF"
			if bytes.Contains(data[12:min(len(data), 64)], []byte("avif")) {
				kind = "AVIF"
			}
		case "crx ":
			kind = "a camera's raw format"
		default:
			return " (this is a video or other ISO media file)"
		}
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(data[:min(len(data), 1024)], []byte("\xef\xbb\xbf")))
	switch {
	case len(data) >= 132 && string(data[128:132]) == "DICM":
		return " (this is DICOM: convert it to PNG first, with dcm2pnm of DCMTK for example)"
	case kind == "" && bytes.HasPrefix(text, []byte("<")):
		if !bytes.Contains(text, []byte("<svg")) && !strings.EqualFold(filepath.Ext(name), ".svg") {
			return " (this is XML or HTML: perhaps a download that failed)"
		}
		kind = "SVG"
	case kind == "":
		return ""
	}
	base := filepath.Base(name)
	png := strings.TrimSuffix(base, filepath.Ext(base)) + ".png"
	return fmt.Sprintf(" (this is %s: convert it first, with ImageMagick for example: magick %q %q)", kind, base, png)
}
