// Command generate takes what others wrote out of their packages into page/vendor, and makes the built-in pictures of
// the photographs in testdata.
package main

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/tfconvrnn/go/internal/explorer/npm"
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
var uplot = npm.Package{
	Name:      thirdparty.UPlot.Name + "@" + thirdparty.UPlot.Version,
	Integrity: "KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==",
}

// generate returns the files below the directory of package explorer, by name.
func generate(dir string) (map[string][]byte, error) {
	names := []string{"uplot.js", "uplot.d.ts", "uplot.css", "LICENSE"}
	contents, err := uplot.Files(context.Background(), "dist/uPlot.esm.js", "dist/uPlot.d.ts", "dist/uPlot.min.css",
		"LICENSE")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for i, name := range names {
		files[filepath.Join(dir, "page/vendor/uplot", name)] = contents[i]
	}
	for _, photograph := range []string{"chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg"} {
		content, err := seen(filepath.Join(dir, "../../testdata/pictures", photograph))
		if err != nil {
			return nil, err
		}
		stem := strings.TrimSuffix(photograph, filepath.Ext(photograph))
		files[filepath.Join(dir, "pictures", stem+".png")] = content
	}
	return files, nil
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
	for i := range len(pixels) / 3 {
		copy(img.Pix[4*i:], []uint8{pixels[3*i], pixels[3*i+1], pixels[3*i+2], 255})
	}
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, img)
	return out.Bytes(), err
}
