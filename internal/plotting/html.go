package plotting

import (
	"bytes"
	"context"
	"encoding/base64"
	"html/template"
	"io"
	"path/filepath"
	"strings"

	"github.com/tfconvrnn/go/compare"
)

// A Page is an HTML page of figures. All is within the one file; it loads nothing.
type Page struct {
	title      string
	about      []pageFact
	figures    []*Figure
	animations []*Animation
	table      [][]string
}

// NewPage returns a page about s with figures in the given order, then animations.
func NewPage(s *Source, figures []*Figure, animations []*Animation) *Page {
	weights := ""
	if s.about.Untrained {
		weights = "untrained"
	}
	return &Page{title: filepath.Base(s.path), figures: figures, animations: animations, about: []pageFact{
		{"model", s.about.Model}, {"weights", weights}, {"presentation", s.about.Presentation},
		{"preprocessing", s.about.Preprocessing},
		{"stimuli", plural(len(s.stimuli), "stimulus")}, {"made by", s.about.Software},
	}}
}

// NewComparisonPage returns a page about a result of compare with figures in the given order, and its table.
func NewComparisonPage(name string, r *compare.Result, figures []*Figure) *Page {
	return &Page{title: filepath.Base(name), figures: figures, table: r.Table(), about: []pageFact{
		{"analysis", r.Analysis}, {"metric", r.Metric}, {"splits", r.Splits}, {"features", r.Features},
		{"features' SHA-256", r.FeaturesSHA256},
		{"features' provenance", string(r.FeaturesProvenance)}, {"data", r.Data}, {"data's SHA-256", r.DataSHA256},
		{"left out", strings.Join(r.LeftOut, "; ")}, {"notes", strings.Join(r.Notes, "; ")}, {"made by", r.Software},
	}}
}

// The figures have their titles and captions within.
var pageTemplate = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
body { font: 15px/1.5 Arial, Helvetica, sans-serif; color: #222; background: #fff; max-width: 1200px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.4em; margin-bottom: .3em; }
dl { display: grid; grid-template-columns: max-content auto; gap: .15em 1.2em; color: #444; font-size: .9em; }
dt { color: #666; } dd { margin: 0; overflow-wrap: anywhere; }
nav { margin: 1em 0; } nav a { color: #0072B2; margin-right: 1em; }
figure { margin: 1.5em 0; padding-top: 1em; border-top: 1px solid #e4e4e4; overflow-x: auto; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: .85em; } th, td { text-align: left; padding: .15em .8em; border-bottom: 1px solid #e4e4e4; }
</style>
</head>
<body>
<h1>{{.Title}}</h1>
<dl>{{range .About}}<dt>{{.Name}}</dt><dd>{{.Value}}</dd>
{{end}}</dl>
<nav>{{range .Figures}}<a href="#{{.Name}}">{{.Title}}</a>{{end}}</nav>
{{range .Figures}}<figure id="{{.Name}}"><img src="{{.Data}}" alt="{{.Title}}. {{.Caption}}"></figure>
{{end}}{{if .Table}}<table>
{{range $i, $row := .Table}}<tr>{{range $row}}{{if $i}}<td>{{.}}</td>{{else}}<th>{{.}}</th>{{end}}{{end}}</tr>
{{end}}</table>
{{end}}</body>
</html>
`))

type pageFigure struct {
	Name, Title, Caption string
	Data                 template.URL
}

type pageFact struct{ Name, Value string }

// Write writes the page; animations at a resolution in dots per inch. Errors:
// ErrOption, ctx's, and the writer's.
func (p *Page) Write(ctx context.Context, w io.Writer, dpi int) error {
	page := struct {
		Title   string
		About   []pageFact
		Figures []pageFigure
		Table   [][]string
	}{Title: p.title, Table: p.table}
	for _, f := range p.about {
		if f.Value != "" {
			page.About = append(page.About, f)
		}
	}
	add := func(name, title, caption, mime string, data []byte) {
		// All of the URL is made here.
		url := template.URL("data:" + mime + ";base64," + base64.StdEncoding.EncodeToString(data))
		page.Figures = append(page.Figures, pageFigure{name, title, caption, url})
	}
	for _, f := range p.figures {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		var svg bytes.Buffer
		if err := f.WriteSVG(&svg); err != nil {
			return err
		}
		add(f.Name, f.Title, f.Caption, "image/svg+xml", svg.Bytes())
	}
	for _, a := range p.animations {
		var moving bytes.Buffer
		if err := a.WriteGIF(ctx, &moving, dpi); err != nil {
			return err
		}
		add("animation", a.Title+" over time", a.Caption, "image/gif", moving.Bytes())
	}
	return pageTemplate.Execute(w, page)
}
