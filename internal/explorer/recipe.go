package explorer

import (
	"bytes"
	"fmt"
	"go/format"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// recipe sends the command and the Go program that compute the same as a run. The query may have layer, several times.
func (x *Explorer) recipe(w http.ResponseWriter, r *http.Request) error {
	a, _, err := x.pair(r, false)
	if err != nil {
		return err
	}
	layers, err := a.chosen(r.URL.Query()["layer"])
	if err != nil {
		return err
	}
	all, err := a.all()
	if err != nil {
		return err
	}
	command, err := a.command(all, layers)
	if err != nil {
		return err
	}
	program, err := a.program(all, layers)
	if err != nil {
		return err
	}
	return writeJSON(w, map[string]string{"command": command, "program": program, "picture": a.path})
}

// chosen returns the layers that a query names, or all, in the model's order.
func (r *run) chosen(names []string) ([]string, error) {
	all := r.model.layerNames()
	for _, name := range names {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("%w: %s has no layer %q", tfconvrnn.ErrUnknownLayer, r.model.Name, name)
		}
	}
	if len(names) == 0 {
		return all, nil
	}
	return slices.DeleteFunc(all, func(name string) bool { return !slices.Contains(names, name) }), nil
}

// output is the name of the file that the command writes.
func (r *run) output() string {
	stem := strings.TrimSuffix(filepath.Base(r.path), filepath.Ext(r.path))
	return r.model.Name + "-" + strings.Trim(unsafeInNames.ReplaceAllString(stem, "_"), "_") + ".npz"
}

var unsafeInNames = regexp.MustCompile(`[^\pL\pN._-]+`)

// command returns the extract command.
func (r *run) command(all *tfconvrnn.Features, layers []string) (string, error) {
	shown, err := r.shown.flags(&r.model)
	if err != nil {
		return "", err
	}
	p := &all.Provenance
	names := strings.Join(layers, ",")
	if len(layers) == len(r.model.Layers) {
		names = "all"
	}
	words := []string{"--model", r.model.Name}
	if r.model.Weights != "" && r.model.Weights != "trained" {
		words = append(words, "--weights", r.model.Weights)
	}
	words = append(words, "--layers", names, "--include-all-times")
	if all.Logits != nil {
		words = append(words, "--include-logits")
	}
	words = append(words, shown...)
	words = append(words, "--batch", "1", "--threads", strconv.Itoa(p.Threads))
	if p.Precision != tfconvrnn.Float32 {
		words = append(words, "--precision", p.Precision.String())
	}
	if p.Device != string(tfconvrnn.CPU) && p.Device != "" {
		words = append(words, "--device", "gpu")
	}
	words = append(words, "--out", r.output())
	var b strings.Builder
	b.WriteString("tfconvrnn-cli extract")
	for i, word := range words {
		if strings.HasPrefix(word, "--") && i%2 == 0 || i == 0 {
			b.WriteString(" \\\n   ")
		}
		b.WriteString(" " + quote(word))
	}
	path := r.path
	if strings.HasPrefix(path, "-") {
		path = "./" + path
	}
	return b.String() + " \\\n    " + quote(path) + "\n", nil
}

var plainWord = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// quote writes a word as POSIX shells read it.
func quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

var programText = template.Must(template.New("").Parse(`// {{.Title}}
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/tfconvrnn/go/tfconvrnn"
)

func main() {
	model, err := tfconvrnn.Load({{.Model}}{{range .Load}}, {{.}}{{end}})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	images, err := tfconvrnn.ReadImages({{.Picture}})
	if err != nil {
		log.Fatal(err)
	}
{{- if .Blank}}
	blank, err := tfconvrnn.ParseBlank({{.Blank}}, tfconvrnn.Preprocessing{})
	if err != nil {
		log.Fatal(err)
	}
{{- end}}
	features, err := model.Extract(context.Background(), images,
		tfconvrnn.Layers({{.Layers}}), tfconvrnn.AllTimesteps(), tfconvrnn.BatchSize(1)
		{{- if .Presentation}},
		tfconvrnn.WithPresentation({{.Presentation}})
		{{- end}}{{if .Logits}}, tfconvrnn.Logits(){{end}})
	if err != nil {
		log.Fatal(err)
	}
	for _, layer := range features.Layers {
		for _, t := range layer.Timesteps {
			var sum float64
			for _, v := range layer.At(0, t) {
				sum += float64(v)
			}
			fmt.Printf("%s\t%d ms\tmean %.6g\n", layer.Name, t*tfconvrnn.MillisecondsPerTimestep, sum/float64(layer.Size()))
		}
	}
}
`))

// program returns a Go program that computes the same.
func (r *run) program(all *tfconvrnn.Features, layers []string) (string, error) {
	presentation, blank, err := r.shown.code(&r.model)
	if err != nil {
		return "", err
	}
	data := struct {
		Title, Model, Picture, Blank, Layers, Presentation string
		Load                                               []string
		Logits                                             bool
	}{
		Title: fmt.Sprintf("The response of %s to %q: the mean of each layer over time.", r.model.Name, r.name),
		Model: strconv.Quote(r.model.Name), Picture: strconv.Quote(r.path), Presentation: presentation,
		Logits: all.Logits != nil,
	}
	quoted := make([]string, len(layers))
	for i, name := range layers {
		quoted[i] = strconv.Quote(name)
	}
	data.Layers = strings.Join(quoted, ", ")
	if blank {
		data.Blank = strconv.Quote(r.shown.Blank)
	}
	p := &all.Provenance
	option := func(format string, arguments ...any) {
		data.Load = append(data.Load, "tfconvrnn."+fmt.Sprintf(format, arguments...))
	}
	if r.model.Weights != "" && r.model.Weights != "trained" {
		option("WithWeights(%q)", r.model.Weights)
	}
	if r.model.Times > defaultTimes && r.times() > defaultTimes {
		option("WithTimes(%d)", r.times())
	}
	option("WithThreads(%d)", p.Threads)
	if p.Precision != tfconvrnn.Float32 {
		option("WithPrecision(%q)", p.Precision)
	}
	if p.Device != string(tfconvrnn.CPU) && p.Device != "" {
		option("WithDevice(%q)", "gpu")
	}
	var out bytes.Buffer
	if err := programText.Execute(&out, data); err != nil {
		return "", err
	}
	source, err := format.Source(out.Bytes())
	return string(source), err
}

// defaultTimes is the length of the graph that Load makes by default.
const defaultTimes = 30
