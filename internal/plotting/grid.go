package plotting

import (
	"image"
	"image/color"
	stddraw "image/draw"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// An imageGrid is a table of images: layers down, time across, a colour bar for
// each row.
type imageGrid struct {
	columns []column
	rows    []gridRow
}

type gridRow struct {
	name   string
	cells  []image.Image // nil where there is nothing
	blank  []bool        // cells before the layer is driven; nil for none
	colors colorMap
	lo, hi float64
	label  string // of the colour bar
}

const (
	cellSize   = vg.Length(84)
	cellGap    = vg.Length(8)
	rowLabel   = vg.Length(64)
	barSpace   = vg.Length(70)
	columnHead = vg.Length(18)
)

func (g *imageGrid) figure() *Figure {
	n, m := vg.Length(len(g.columns)), vg.Length(len(g.rows))
	return &Figure{
		width:  max(rowLabel+n*(cellSize+cellGap)+barSpace, 420),
		height: columnHead + m*(cellSize+cellGap),
		body:   g.draw,
	}
}

func (g *imageGrid) draw(c draw.Canvas, st *styles) {
	head := st.label
	head.XAlign, head.YAlign = text.XCenter, text.YTop
	for k, col := range g.columns {
		x := c.Min.X + rowLabel + vg.Length(k)*(cellSize+cellGap) + cellSize/2
		c.FillText(head, vg.Point{X: x, Y: c.Max.Y}, milliseconds(col.milliseconds))
	}
	name := st.panel
	name.YAlign = draw.YCenter
	dash := st.note
	dash.XAlign, dash.YAlign = text.XCenter, text.YCenter
	for i, row := range g.rows {
		top := c.Max.Y - columnHead - vg.Length(i)*(cellSize+cellGap)
		c.FillText(name, vg.Point{X: c.Min.X, Y: top - cellSize/2}, shorten(row.name, name, rowLabel-6, false))
		x := c.Min.X + rowLabel
		for k, cell := range row.cells {
			r := vg.Rectangle{Min: vg.Point{X: x, Y: top - cellSize}, Max: vg.Point{X: x + cellSize, Y: top}}
			switch {
			case row.blank != nil && row.blank[k]:
				fillRect(c, r, shade)
				c.FillText(dash, vg.Point{X: x + cellSize/2, Y: top - cellSize/2}, "not driven")
			case cell == nil:
				c.FillText(dash, vg.Point{X: x + cellSize/2, Y: top - cellSize/2}, "–")
			default:
				drawFitted(c, r, cell)
			}
			x += cellSize + cellGap
		}
		bar := vg.Rectangle{Min: vg.Point{X: x + 4, Y: top - cellSize}, Max: vg.Point{X: x + 13, Y: top}}
		colorBar(c, bar, row.colors, row.lo, row.hi, row.label, st)
	}
}

// drawFitted draws an image as large as fits, in its proportions.
func drawFitted(c draw.Canvas, r vg.Rectangle, img image.Image) {
	w, h := vg.Length(img.Bounds().Dx()), vg.Length(img.Bounds().Dy())
	scale := min(r.Size().X/w, r.Size().Y/h)
	center := vg.Point{X: (r.Min.X + r.Max.X) / 2, Y: (r.Min.Y + r.Max.Y) / 2}
	half := vg.Point{X: w * scale / 2, Y: h * scale / 2}
	if _, raster := c.Canvas.(*vgimg.Canvas); raster { // vgimg draws RGBA images fast
		rgba := image.NewRGBA(img.Bounds())
		stddraw.Draw(rgba, rgba.Bounds(), img, img.Bounds().Min, stddraw.Src)
		img = rgba
	}
	c.DrawImage(vg.Rectangle{Min: center.Sub(half), Max: center.Add(half)}, img)
}

// sharpPixels is the size to which small images are enlarged in squares, since
// what shows them would blur them.
const sharpPixels = 320

// scaled draws a table of values 0 … 1 with squares for elements.
func scaled(width, height int, value func(x, y int) float64, colors colorMap) image.Image {
	k := max(1, (sharpPixels+max(width, height)-1)/max(width, height))
	img := image.NewPaletted(image.Rect(0, 0, k*width, k*height), colors.palette())
	for y := range height {
		for x := range width {
			index := colors.index(value(x, y))
			for dy := range k {
				line := img.Pix[(k*y+dy)*img.Stride+k*x:]
				for dx := range k {
					line[dx] = index
				}
			}
		}
	}
	return img
}

// palette is the colours, then that of no value, then white.
func (m colorMap) palette() color.Palette {
	p := make(color.Palette, 0, len(m)+2)
	for _, c := range m {
		p = append(p, c)
	}
	return append(p, missing, color.NRGBA{0xFF, 0xFF, 0xFF, 0xFF})
}

// index is the place of a value's colour in the palette.
func (m colorMap) index(v float64) uint8 {
	if v != v {
		return uint8(len(m))
	}
	return uint8(max(0, min(v, 1))*float64(len(m)-1) + 0.5)
}

// background is the palette's white.
func (m colorMap) background() uint8 { return uint8(len(m) + 1) }
