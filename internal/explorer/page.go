package explorer

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"time"

	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/tfconvrnn"
)

//go:generate go run ./generate

//go:embed page pictures
var embedded embed.FS

// builtIn is a picture that the page offers.
type builtIn struct {
	File  string `json:"file"`
	Title string `json:"title"`
	About string `json:"about"`
	// Source is the photograph in this repository that it is made of.
	Source string `json:"source"`
}

// pictures are what models see of the photographs in testdata/pictures, which are in the public domain or CC0.
var pictures = []builtIn{
	{"chelsea.png", "chelsea.png", "A cat's face", "testdata/pictures/chelsea.png"},
	{"coffee.png", "coffee.png", "A cup of espresso on a wooden table", "testdata/pictures/coffee.png"},
	{"astronaut.png", "astronaut.png", "An astronaut in an orange suit", "testdata/pictures/astronaut.png"},
	{"rocket.png", "rocket.jpg", "A rocket on its launch pad", "testdata/pictures/rocket.jpg"},
}

// files are what is embedded, with their hashes.
type files struct {
	content map[string][]byte
	tags    map[string]string
	// sources are the photographs of the built-in pictures, by the hash of the pixels.
	sources map[string]string
}

func embeddedFiles() *files {
	f := &files{content: map[string][]byte{}, tags: map[string]string{}, sources: map[string]string{}}
	err := fs.WalkDir(embedded, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := embedded.ReadFile(name)
		sum := sha256.Sum256(text)
		f.content[name], f.tags[name] = text, `"`+hex.EncodeToString(sum[:8])+`"`
		return err
	})
	if err != nil {
		panic("explorer: " + err.Error()) // an embedded file can be read
	}
	for _, p := range pictures {
		picture, err := images.DecodeBytes(f.content["pictures/"+p.File], p.File, images.Options{})
		if err != nil {
			panic("explorer: " + err.Error()) // a test would see it
		}
		f.sources[pixelHash(picture.Pix)] = p.Source
	}
	return f
}

func (f *files) index(w http.ResponseWriter, r *http.Request) error {
	return f.serve(w, r, "page/index.html")
}

func (f *files) file(w http.ResponseWriter, r *http.Request) error {
	return f.serve(w, r, "page/"+r.PathValue("file"))
}

func (f *files) picture(w http.ResponseWriter, r *http.Request) error {
	return f.serve(w, r, "pictures/"+r.PathValue("file"))
}

// contentTypes are those that mime may not know, or not alike on every machine.
var contentTypes = map[string]string{".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml", ".png": "image/png"}

func (f *files) serve(w http.ResponseWriter, r *http.Request, name string) error {
	content, ok := f.content[name]
	if !ok {
		return faultf(http.StatusNotFound, "there is no %s", r.URL.Path)
	}
	kind := contentTypes[path.Ext(name)]
	if kind == "" {
		kind = mime.TypeByExtension(path.Ext(name))
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("ETag", f.tags[name])
	w.Header().Set("Cache-Control", "no-cache") // asked for each time, and then mostly not sent again
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	return nil
}

// modelInfo describes a model to the page.
type modelInfo struct {
	Name      string  `json:"name"`
	Cell      string  `json:"cell"`
	Depth     string  `json:"depth"`
	Weights   string  `json:"weights"`
	Untrained bool    `json:"untrained"`
	Times     int     `json:"times"`
	Top1      float64 `json:"top1"`
	Decoder   struct {
		Name      string  `json:"name"`
		Beta      float32 `json:"beta"`
		Threshold float32 `json:"threshold"`
		First     int     `json:"first_timestep"`
	} `json:"decoder"`
	Layers  []layerInfo `json:"layers"`
	Presets []preset    `json:"presets"`
}

type layerInfo struct {
	Name  string   `json:"name"`
	Shape []int    `json:"shape"`
	Areas []string `json:"areas"`
	// DrivenAfter is the number of timesteps that a picture takes to reach the layer.
	DrivenAfter int `json:"driven_after"`
}

// describe says what the page can ask for.
func (x *Explorer) describe(w http.ResponseWriter, _ *http.Request) error {
	list := []modelInfo{}
	for _, m := range x.engine.Models() {
		info := modelInfo{
			Name: m.Name, Cell: m.Cell, Depth: m.Depth, Weights: m.Weights, Untrained: m.Untrained, Times: m.Times, Top1: m.Top1,
			Presets: presets(&m),
		}
		info.Decoder.Name, info.Decoder.Beta, info.Decoder.Threshold = m.Decoder.Decoder, m.Decoder.Beta, m.Decoder.Threshold
		if m.Decoder.Decoder != "last" {
			info.Decoder.First = tfconvrnn.FirstDecodedTimestep
		}
		for _, l := range m.Layers {
			info.Layers = append(info.Layers, layerInfo{l.Name, l.Shape, slices.Clone(l.Areas), l.DrivenFrom})
		}
		list = append(list, info)
	}
	return writeJSON(w, map[string]any{
		"models": list, "pictures": pictures, "milliseconds_per_timestep": ms, "max_picture_bytes": x.options.MaxPictureBytes,
	})
}
