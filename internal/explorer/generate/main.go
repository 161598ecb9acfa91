// Command generate takes what others wrote out of their packages into page/vendor, and makes the built-in pictures of the
// photographs in testdata.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/internal/thirdparty"
	"github.com/tfconvrnn/go/tfconvrnn"
)

func main() {
	log.SetFlags(0)
	files, err := generate(".")
	if err != nil {
		log.Fatal(err)
	}
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o666); err != nil {
			log.Fatal(err)
		}
	}
}

// uplot is the package of the charts.
var uplot = thirdparty.UPlot.Name + "@" + thirdparty.UPlot.Version

// uplotIntegrity is the SHA-512 of its archive that the npm registry gives.
const uplotIntegrity = "KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw=="

// taken are the files that the page needs, and their licence.
var taken = map[string]string{
	"package/dist/uPlot.esm.js":  "uPlot.esm.js",
	"package/dist/uPlot.d.ts":    "uPlot.d.ts",
	"package/dist/uPlot.min.css": "uPlot.min.css",
	"package/LICENSE":            "LICENSE",
}

// generate returns the files below the directory of package explorer, by name.
func generate(dir string) (map[string][]byte, error) {
	archive, err := fetch(uplot)
	if err != nil {
		return nil, err
	}
	if sum := sha512.Sum512(archive); base64.StdEncoding.EncodeToString(sum[:]) != uplotIntegrity {
		return nil, fmt.Errorf("%s is not the package that was pinned", uplot)
	}
	found, err := extract(archive)
	if err != nil {
		return nil, err
	}
	for _, photograph := range []string{"chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg"} {
		content, err := seen(filepath.Join(dir, "../../testdata/pictures", photograph))
		if err != nil {
			return nil, err
		}
		stem := photograph[:len(photograph)-len(filepath.Ext(photograph))]
		found[filepath.Join("pictures", stem+".png")] = content
	}
	placed := map[string][]byte{}
	for name, content := range found {
		placed[filepath.Join(dir, name)] = content
	}
	return placed, nil
}

// fetch returns the archive of an npm package.
func fetch(name string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	command := exec.Command("npm", "pack", "--silent", name)
	command.Dir, command.Stderr = dir, os.Stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("npm pack %s: %w", name, err)
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return nil, fmt.Errorf("npm pack %s made %d archives", name, len(archives))
	}
	return os.ReadFile(archives[0])
}

// extract returns the files that are taken, by their paths here.
func extract(archive []byte) (map[string][]byte, error) {
	unpacked, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	found := map[string][]byte{}
	for entries := tar.NewReader(unpacked); ; {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if name, ok := taken[entry.Name]; ok {
			if found[filepath.Join("page/vendor/uplot", name)], err = io.ReadAll(entries); err != nil {
				return nil, err
			}
		}
	}
	if len(found) != len(taken) {
		return nil, fmt.Errorf("%s holds %d of the %d files that are taken", uplot, len(found), len(taken))
	}
	return found, nil
}

// seen returns what models see of a picture, as a PNG.
func seen(path string) ([]byte, error) {
	preprocessing, err := images.ParsePreprocessing(tfconvrnn.DefaultPreprocessing)
	if err != nil {
		return nil, err
	}
	picture, err := images.Open(path, preprocessing.Options())
	if err != nil {
		return nil, err
	}
	pixels, err := preprocessing.Apply(picture)
	if err != nil {
		return nil, err
	}
	img := image.NewNRGBA(image.Rect(0, 0, tfconvrnn.ImageSize, tfconvrnn.ImageSize))
	for i := 0; i < len(pixels)/3; i++ {
		copy(img.Pix[4*i:], []uint8{pixels[3*i], pixels[3*i+1], pixels[3*i+2], 255})
	}
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, img)
	return out.Bytes(), err
}
