package plotting

import (
	"image/color"
	"math"
	"strings"
	"sync"

	stdfont "golang.org/x/image/font"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/palette/brewer"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// palette8 tells lines apart for colour-blind readers: Okabe and Ito, "Color
// Universal Design" (2008), with grey for its yellow, which is faint on white.
var palette8 = [...]color.NRGBA{
	{0x00, 0x72, 0xB2, 0xFF}, {0xD5, 0x5E, 0x00, 0xFF}, {0x00, 0x9E, 0x73, 0xFF}, {0xCC, 0x79, 0xA7, 0xFF},
	{0xE6, 0x9F, 0x00, 0xFF}, {0x56, 0xB4, 0xE9, 0xFF}, {0x00, 0x00, 0x00, 0xFF}, {0x88, 0x88, 0x88, 0xFF},
}

var (
	ink      = color.NRGBA{0x22, 0x22, 0x22, 0xFF}
	faint    = color.NRGBA{0x66, 0x66, 0x66, 0xFF}
	gridGrey = color.NRGBA{0xE4, 0xE4, 0xE4, 0xFF}
	shade    = color.NRGBA{0xEE, 0xEE, 0xEE, 0xFF} // before a layer is driven
	missing  = color.NRGBA{0xDD, 0xDD, 0xDD, 0xFF} // no value
)

// handler lays text out. Its fonts are built in, so that figures do not depend on
// the machine.
var handler = sync.OnceValue(func() text.Handler {
	return text.Plain{Fonts: font.NewCache(liberation.Collection())}
})

func textStyle(size vg.Length, c color.Color, bold bool) text.Style {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	if bold {
		f.Weight = stdfont.WeightBold
	}
	return text.Style{Color: c, Font: f, XAlign: draw.XLeft, YAlign: draw.YTop, Handler: handler()}
}

// styles are the texts of a figure.
type styles struct {
	title, subtitle, panel, label, tick, note text.Style
}

func newStyles() *styles {
	return &styles{
		title:    textStyle(13, ink, true),
		subtitle: textStyle(9, faint, false),
		panel:    textStyle(9.5, ink, true),
		label:    textStyle(9, ink, false),
		tick:     textStyle(8, ink, false),
		note:     textStyle(8, faint, false),
	}
}

// A colorMap maps 0 … 1 to colours that are told apart in print and by the
// colour-blind; NaN is grey.
type colorMap []color.NRGBA

const colorMapSteps = 128

// sequentialMap runs from light yellow to dark blue, divergingMap from blue over
// white to red (Brewer and Harrower, colorbrewer2.org; both are colour-blind safe).
var (
	sequentialMap = sync.OnceValue(func() colorMap { return brewerMap(brewer.TypeSequential, "YlGnBu", 9, false) })
	divergingMap  = sync.OnceValue(func() colorMap { return brewerMap(brewer.TypeDiverging, "RdBu", 11, true) })
)

// brewerMap interpolates between the colours of a ColorBrewer palette, linearly in
// sRGB.
func brewerMap(kind brewer.PaletteType, name string, n int, reverse bool) colorMap {
	p, err := brewer.GetPalette(kind, name, n)
	if err != nil {
		panic(err) // a constant name
	}
	anchors := p.Colors()
	m := make(colorMap, colorMapSteps+1)
	for i := range m {
		at := float64(i) / colorMapSteps
		if reverse {
			at = 1 - at
		}
		at *= float64(n - 1)
		k := min(int(at), n-2)
		a := color.NRGBAModel.Convert(anchors[k]).(color.NRGBA)
		b := color.NRGBAModel.Convert(anchors[k+1]).(color.NRGBA)
		mix := func(x, y uint8) uint8 {
			return uint8(math.Round(float64(x) + (at-float64(k))*(float64(y)-float64(x))))
		}
		m[i] = color.NRGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 0xFF}
	}
	return m
}

func (m colorMap) at(v float64) color.NRGBA {
	if math.IsNaN(v) {
		return missing
	}
	return m[int(math.Round(max(0, min(v, 1))*float64(len(m)-1)))]
}

// shorten cuts text to a width, with an ellipsis; in its middle if middle is set,
// as suits file names.
func shorten(s string, style text.Style, width vg.Length, middle bool) string {
	s = printable(s)
	if style.Width(s) <= width {
		return s
	}
	runes := []rune(s)
	for keep := min(len(runes)-1, 200); keep > 1; keep-- {
		var cut string
		if middle {
			cut = string(runes[:keep/2]) + "…" + string(runes[len(runes)-(keep-keep/2):])
		} else {
			cut = strings.TrimRight(string(runes[:keep]), " ,") + "…"
		}
		if style.Width(cut) <= width {
			return cut
		}
	}
	return "…"
}

// printable keeps a name on its line, and to what XML allows.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7F && r < 0xA0 || r == 0xFFFE || r == 0xFFFF {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// wrap breaks text into lines of a width.
func wrap(s string, style text.Style, width vg.Length) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		longer := strings.TrimSpace(line + " " + word)
		if line != "" && style.Width(longer) > width {
			lines = append(lines, line)
			longer = word
		}
		line = longer
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
