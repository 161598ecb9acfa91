package plotting

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	plotdraw "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A Figure is ready to be written, in several formats if need be. Its methods may
// be called concurrently.
type Figure struct {
	// Name is the kind: "probabilities", "dynamics", "rdm", "mosaic", "animation".
	Name string
	// Title and Subtitle head the figure; Caption, below it, says what is shown.
	Title, Subtitle, Caption string

	width, height vg.Length // of the body
	body          func(c plotdraw.Canvas, st *styles)
}

const (
	margin       = vg.Length(14)
	titleHeight  = vg.Length(19)
	lineHeight   = vg.Length(12)
	captionSpace = vg.Length(10)
	// maxPixels bounds what one image takes in memory (4 bytes each).
	maxPixels = 100e6
	minDPI    = 36
	maxDPI    = 1200
)

// header returns what lies above and below the body.
func (f *Figure) header(st *styles) (subtitle, caption []string, above, below vg.Length) {
	width := 0.88 * f.width // the font that shows an SVG may be wider
	subtitle = wrap(f.Subtitle, st.subtitle, width)
	caption = wrap(f.Caption, st.note, width)
	above = margin + titleHeight + lineHeight*vg.Length(len(subtitle)) + 6
	below = margin
	if len(caption) > 0 {
		below += captionSpace + lineHeight*vg.Length(len(caption))
	}
	return subtitle, caption, above, below
}

// size returns the whole figure's size in points.
func (f *Figure) size() (width, height vg.Length) {
	_, _, above, below := f.header(newStyles())
	return f.width + 2*margin, f.height + above + below
}

func (f *Figure) draw(c plotdraw.Canvas) {
	st := newStyles()
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	subtitle, caption, above, below := f.header(st)
	x, y := c.Min.X+margin, c.Max.Y-margin
	c.FillText(st.title, vg.Point{X: x, Y: y}, shorten(f.Title, st.title, f.width, false))
	y -= titleHeight
	for _, line := range subtitle {
		c.FillText(st.subtitle, vg.Point{X: x, Y: y}, line)
		y -= lineHeight
	}
	y = c.Min.Y + below - captionSpace
	for _, line := range caption {
		c.FillText(st.note, vg.Point{X: x, Y: y}, line)
		y -= lineHeight
	}
	f.body(plotdraw.Crop(c, margin, -margin, below, -above), st)
}

// Raster draws the figure at a resolution in dots per inch. ErrOption where that
// is out of range or the image would be too large.
func (f *Figure) Raster(dpi int) (image.Image, error) {
	if dpi < minDPI || dpi > maxDPI {
		return nil, fmt.Errorf("%w: %d dpi; a resolution is %d … %d", ErrOption, dpi, minDPI, maxDPI)
	}
	w, h := f.size()
	if pixels := w.Dots(float64(dpi)) * h.Dots(float64(dpi)); pixels > maxPixels {
		return nil, fmt.Errorf(
			"%w: %d dpi make an image of %.0f megapixels; choose a lower resolution, fewer layers or timesteps, or SVG",
			ErrOption, dpi, pixels/1e6)
	}
	canvas := vgimg.NewWith(vgimg.UseWH(w, h), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(color.White))
	f.draw(plotdraw.New(canvas))
	return canvas.Image(), nil
}

// WritePNG writes the figure as PNG at a resolution in dots per inch, 144 being
// twice that of a usual screen. Errors: ErrOption, and the writer's.
func (f *Figure) WritePNG(w io.Writer, dpi int) error {
	img, err := f.Raster(dpi)
	if err != nil {
		return err
	}
	// Figures are opaque: three bytes a pixel instead of four.
	rgb := image.NewRGBA(img.Bounds())
	draw.Draw(rgb, rgb.Bounds(), img, img.Bounds().Min, draw.Src)
	return png.Encode(w, rgb)
}

// WriteSVG writes the figure as SVG. It names its font but does not hold it.
func (f *Figure) WriteSVG(w io.Writer) error {
	width, height := f.size()
	canvas := vgsvg.New(width, height)
	f.draw(plotdraw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return err
	}
	// Liberation Sans has the widths of Arial, which other systems have instead.
	// The images within are PNG, whatever vgsvg says, and fill their rectangles.
	s := strings.NewReplacer(
		"font-family:Liberation Sans;", "font-family:'Liberation Sans',Arial,Helvetica,sans-serif;",
		"<image ", `<image preserveAspectRatio="none" `,
		"data:image/jpg;base64,", "data:image/png;base64,",
	).Replace(b.String())
	_, err := io.WriteString(w, s)
	return err
}

// fillRect fills a rectangle.
func fillRect(c plotdraw.Canvas, r vg.Rectangle, col color.Color) {
	c.FillPolygon(col, []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}})
}

func strokeRect(c plotdraw.Canvas, r vg.Rectangle, sty plotdraw.LineStyle) {
	c.StrokeLines(sty, []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}, r.Min})
}

// niceTicks returns at most about n round values from lo to hi, and the decimals
// that they need.
func niceTicks(lo, hi float64, n int) (ticks []float64, decimals int) {
	if !(hi > lo) || math.IsInf(hi-lo, 0) {
		return []float64{lo}, 2
	}
	raw := (hi - lo) / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * power
	for _, m := range []float64{1, 2, 2.5, 5} {
		if m*power >= raw*(1-1e-9) {
			step = m * power
			if m == 2.5 {
				decimals = 1
			}
			break
		}
	}
	decimals = max(0, decimals-int(math.Floor(math.Log10(step)+1e-9)))
	first := math.Ceil(lo/step - 1e-6)
	for i := range n + 2 {
		v := (first + float64(i)) * step
		if v > hi+1e-6*step {
			break
		}
		ticks = append(ticks, v)
	}
	return ticks, decimals
}

// tickText writes a tick with a true minus; very large and small values in
// scientific notation.
func tickText(v float64, decimals int) string {
	s := ""
	switch abs := math.Abs(v); {
	case abs != 0 && (abs >= 1e5 || abs < 1e-3) || decimals > 4:
		s = fmt.Sprintf("%.3g", v)
		if v == 0 {
			s = "0"
		}
	default:
		s = fmt.Sprintf("%.*f", decimals, v)
	}
	return strings.ReplaceAll(s, "-", "−")
}

// number writes three digits, without an exponent where that is short.
func number(v float64) string {
	s := fmt.Sprintf("%.3g", v)
	if short, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(v) >= 1e-3 && math.Abs(v) < 1e5 {
		s = strconv.FormatFloat(short, 'f', -1, 64)
	}
	return strings.ReplaceAll(s, "-", "−")
}

// niceCeil rounds up to two digits.
func niceCeil(v float64) float64 {
	if !(v > 0) || math.IsInf(v, 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v))-1)
	return math.Ceil(v/power-1e-9) * power
}

// colorBar draws a vertical bar with its ends, and zero, to its right.
func colorBar(c plotdraw.Canvas, r vg.Rectangle, m colorMap, lo, hi float64, label string, st *styles) {
	img := image.NewNRGBA(image.Rect(0, 0, 1, 4*len(m)))
	for y := range 4 * len(m) {
		img.SetNRGBA(0, y, m[len(m)-1-y/4])
	}
	c.DrawImage(r, img)
	strokeRect(c, r, plotdraw.LineStyle{Color: faint, Width: 0.5})
	widest := vg.Length(0)
	ticks := []float64{lo, hi}
	if lo < 0 && hi > 0 {
		ticks = []float64{lo, 0, hi}
	}
	for _, v := range ticks {
		y := r.Min.Y + (r.Max.Y-r.Min.Y)*vg.Length((v-lo)/(hi-lo))
		c.StrokeLine2(plotdraw.LineStyle{Color: faint, Width: 0.5}, r.Max.X, y, r.Max.X+2.5, y)
		s := number(v)
		sty := st.tick
		switch v { // within the bar's height: the next row's is near
		case lo:
			sty.YAlign = plotdraw.YBottom
		case hi:
			sty.YAlign = plotdraw.YTop
		default:
			sty.YAlign = plotdraw.YCenter
		}
		c.FillText(sty, vg.Point{X: r.Max.X + 5, Y: y}, s)
		widest = max(widest, sty.Width(s))
	}
	sty := st.note
	sty.Rotation = math.Pi / 2
	sty.XAlign, sty.YAlign = text.XCenter, text.YTop
	c.FillText(sty, vg.Point{X: r.Max.X + 9 + widest, Y: (r.Min.Y + r.Max.Y) / 2}, label)
}

// subtitle says which model the features are of and how images were shown.
func (s *Source) subtitle() string {
	var parts []string
	if s.about.Model != "" {
		parts = append(parts, s.about.Model)
	}
	if s.about.Untrained {
		parts = append(parts, "untrained weights")
	}
	if s.about.Presentation != "" {
		parts = append(parts, "presentation "+s.about.Presentation)
	}
	return printable(strings.Join(parts, " · "))
}

func milliseconds(ms float64) string {
	return strings.ReplaceAll(strconv.FormatFloat(ms, 'f', -1, 64), "-", "−") + " ms"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "us"); ok {
		return fmt.Sprintf("%d %si", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
