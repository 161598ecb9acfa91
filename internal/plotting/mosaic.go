package plotting

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	stddraw "image/draw"
	"image/gif"
	"io"
	"math"
	"slices"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// featureMaps are some of a layer's feature maps for a stimulus, at all timesteps.
type featureMaps struct {
	layer         *Layer
	height, width int
	channels      []int
	values        []float32 // [timestep][channel][y][x]
	lo, hi        float64   // of the colours
	colors        colorMap
}

// clipQuantile is the part of the values that the colours span: a few extreme
// ones would leave the rest pale.
const clipQuantile = 0.995

// featureMaps picks the channels that vary most over space and time, the lower
// index first where they are equal.
func (s *Source) featureMaps(ctx context.Context, l *Layer, stimulus, channels int) (*featureMaps, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	row, err := l.rows.row(stimulus)
	if err != nil {
		return nil, err
	}
	h, w, c := l.Shape[0], l.Shape[1], l.Shape[2]
	sum, square := make([]float64, c), make([]float64, c)
	for i := 0; i < len(row); i += c {
		for k, v := range row[i : i+c] {
			sum[k] += float64(v)
			square[k] += float64(v) * float64(v)
		}
	}
	variance := make([]float64, c)
	order := make([]int, c)
	n := float64(len(row) / c)
	for k := range order {
		order[k] = k
		variance[k] = square[k]/n - sum[k]/n*sum[k]/n
		if math.IsNaN(variance[k]) || math.IsInf(variance[k], 0) {
			variance[k] = -1 // last
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case variance[a] > variance[b]:
			return -1
		case variance[a] < variance[b]:
			return 1
		}
		return 0
	})
	m := &featureMaps{layer: l, height: h, width: w, channels: order[:min(channels, c)]}
	m.values = make([]float32, 0, len(l.Timesteps)*len(m.channels)*h*w)
	for t := range l.Timesteps {
		for _, k := range m.channels {
			for i := range h * w {
				m.values = append(m.values, row[(t*h*w+i)*c+k])
			}
		}
	}
	m.limits()
	return m, nil
}

// limits chooses colours: diverging around zero where values have both signs.
func (m *featureMaps) limits() {
	var sorted []float32
	negative := false
	for _, v := range m.values {
		if !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) {
			negative = negative || v < 0
			sorted = append(sorted, float32(math.Abs(float64(v))))
		}
	}
	slices.Sort(sorted)
	m.hi = 1
	if len(sorted) > 0 {
		m.hi = niceCeil(float64(sorted[int(clipQuantile*float64(len(sorted)-1))]))
	}
	m.colors = sequentialMap()
	if negative {
		m.lo, m.colors = -m.hi, divergingMap()
	}
}

// mosaic draws the maps of a timestep side by side, in rows.
func (m *featureMaps) mosaic(t int) image.Image {
	n := len(m.channels)
	across := int(math.Ceil(math.Sqrt(float64(n))))
	down := (n + across - 1) / across
	k := max(1, (sharpPixels/across+m.width-1)/m.width)
	gap := max(1, k*m.width/12)
	if k*m.width > 48 {
		gap = max(2, k*m.width/28)
	}
	cellW, cellH := k*m.width+gap, k*m.height+gap
	img := image.NewPaletted(image.Rect(0, 0, across*cellW-gap, down*cellH-gap), m.colors.palette())
	for i := range img.Pix {
		img.Pix[i] = m.colors.background()
	}
	for c := range n {
		values := m.values[(t*n+c)*m.height*m.width:]
		x0, y0 := c%across*cellW, c/across*cellH
		for y := range k * m.height {
			for x := range k * m.width {
				v := (float64(values[y/k*m.width+x/k]) - m.lo) / (m.hi - m.lo)
				img.Pix[(y0+y)*img.Stride+x0+x] = m.colors.index(v)
			}
		}
	}
	return img
}

// spatialMaps reads the feature maps of the layers asked for, and returns the
// stimulus that is shown.
func (s *Source) spatialMaps(ctx context.Context, o Options) ([]*featureMaps, int, error) {
	layers, err := s.selectLayers(o.Layers, (*Layer).spatial, "feature maps (height × width × channels)")
	if err != nil {
		return nil, 0, err
	}
	stimuli, err := s.selectStimuli(o.Stimuli)
	if err != nil {
		return nil, 0, err
	}
	if len(o.Stimuli) > 0 && len(stimuli) > 1 {
		return nil, 0, fmt.Errorf("%w: %d stimuli; feature maps are shown for one", ErrOption, len(stimuli))
	}
	var all []*featureMaps
	for i, l := range layers {
		m, err := s.featureMaps(ctx, l, stimuli[0], o.Channels)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, m)
		o.Progress(int64(i+1), int64(len(layers)))
	}
	return all, stimuli[0], nil
}

func mapsCaption(o Options) string {
	return fmt.Sprintf("The (at most) %s of each layer that vary most over space and time, in that order from top left; "+
		"each layer has its own colours, which end at the %.1f %% quantile.", plural(o.Channels, "feature map"),
		100*clipQuantile)
}

// FeatureMaps draws mosaics of the feature maps of a stimulus, for layers (rows)
// and timesteps (columns). It stops when ctx is done. Errors: ErrNoLayer,
// ErrNoStimulus, ErrNoTimestep, ErrImpossible (no feature maps), ErrOption, and
// those of reading.
func FeatureMaps(ctx context.Context, s *Source, o Options) (*Figure, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	all, stimulus, err := s.spatialMaps(ctx, o)
	if err != nil {
		return nil, err
	}
	var layers []*Layer
	for _, m := range all {
		layers = append(layers, m.layer)
	}
	columns, err := s.selectColumns(layers, o.Timesteps)
	if err != nil {
		return nil, err
	}
	g := &imageGrid{columns: columns}
	for _, m := range all {
		row := gridRow{name: m.layer.Name, colors: m.colors, lo: m.lo, hi: m.hi, label: "response",
			cells: make([]image.Image, len(columns))}
		for k, c := range columns {
			if t := m.layer.at(c.timestep); t >= 0 {
				row.cells[k] = m.mosaic(t)
			}
		}
		g.rows = append(g.rows, row)
	}
	f := g.figure()
	f.Name, f.Title, f.Subtitle = "mosaic", "Feature maps: "+s.stimuli[stimulus], s.subtitle()
	f.Caption = mapsCaption(o) + " Dashes: not reported."
	return f, nil
}

// An Animation shows feature maps over time.
type Animation struct {
	// Title, Subtitle and Caption say what is shown.
	Title, Subtitle, Caption string

	frames []*Figure
	delay  int // hundredths of a second
}

// Animate makes an animation of the feature maps of a stimulus: a mosaic for each
// layer, a frame for each timestep at which a layer is reported. It stops when ctx
// is done. Errors as those of FeatureMaps.
func Animate(ctx context.Context, s *Source, o Options) (*Animation, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	all, stimulus, err := s.spatialMaps(ctx, o)
	if err != nil {
		return nil, err
	}
	if len(all) > mostAnimatedLayers {
		return nil, fmt.Errorf("%w: %d layers; an animation shows at most %d", ErrOption, len(all), mostAnimatedLayers)
	}
	var layers []*Layer
	for _, m := range all {
		layers = append(layers, m.layer)
	}
	shown := columns(layers)
	if len(o.Timesteps) > 0 {
		if shown, err = s.selectColumns(layers, o.Timesteps); err != nil {
			return nil, err
		}
	}
	const mostFrames = 500
	if len(shown) > mostFrames {
		return nil, fmt.Errorf("%w: %d timesteps; an animation has at most %d frames", ErrOption, len(shown), mostFrames)
	}
	across := min(len(all), 4)
	down := (len(all) + across - 1) / across
	const size, gap, head, clock = 150, 14, 16, 30
	a := &Animation{Title: "Feature maps: " + s.stimuli[stimulus], Subtitle: s.subtitle(), Caption: mapsCaption(o),
		delay: 25}
	from, to := s.timeRange(layers)
	for _, now := range shown {
		f := &Figure{
			Name: "animation", Title: a.Title, Subtitle: a.Subtitle, Caption: a.Caption,
			width: max(vg.Length(across*(size+gap)-gap), 420), height: vg.Length(down*(size+head+gap) + clock),
		}
		f.body = func(c draw.Canvas, st *styles) {
			drawClock(c, from, to, now, s.about.Episodes, st)
			for i, m := range all {
				x := c.Min.X + vg.Length(i%across)*(size+gap)
				y := c.Max.Y - clock - vg.Length(i/across)*(size+head+gap)
				scale := "colours " + number(m.lo) + " … " + number(m.hi)
				sty := st.note
				sty.XAlign = text.XRight
				c.FillText(st.panel, vg.Point{X: x, Y: y}, shorten(m.layer.Name, st.panel, size-st.note.Width(scale)-4, false))
				c.FillText(sty, vg.Point{X: x + size, Y: y - 1}, scale)
				r := vg.Rectangle{Min: vg.Point{X: x, Y: y - head - size}, Max: vg.Point{X: x + size, Y: y - head}}
				if t := m.layer.at(now.timestep); t >= 0 {
					drawFitted(c, r, m.mosaic(t))
					continue
				}
				fillRect(c, r, shade)
				sty.XAlign, sty.YAlign = text.XCenter, text.YCenter
				c.FillText(sty, vg.Point{X: x + size/2, Y: y - head - size/2}, "not reported")
			}
		}
		a.frames = append(a.frames, f)
	}
	return a, nil
}

// drawClock draws the time and how far it is, with the episodes of the
// presentation.
func drawClock(c draw.Canvas, from, to float64, now column, episodes []Episode, st *styles) {
	sty := st.panel
	c.FillText(sty, vg.Point{X: c.Min.X, Y: c.Max.Y}, milliseconds(now.milliseconds))
	left, right, y := c.Min.X+64, c.Max.X-4, c.Max.Y-5
	x := func(ms float64) vg.Length {
		if to <= from {
			return left
		}
		return left + (right-left)*vg.Length(min(max((ms-from)/(to-from), 0), 1))
	}
	c.StrokeLine2(draw.LineStyle{Color: gridGrey, Width: 3}, left, y, right, y)
	for _, e := range episodes {
		c.StrokeLine2(draw.LineStyle{Color: faint, Width: 3}, x(e.On), y, x(e.Off), y)
	}
	if len(episodes) > 0 {
		note := st.note
		c.FillText(note, vg.Point{X: x(episodes[0].On), Y: y - 4}, "image shown")
	}
	c.FillPolygon(palette8[1], circle(vg.Point{X: x(now.milliseconds), Y: y}, 4))
}

func circle(center vg.Point, radius vg.Length) []vg.Point {
	points := make([]vg.Point, 24)
	for i := range points {
		angle := 2 * math.Pi * float64(i) / float64(len(points))
		points[i] = vg.Point{X: center.X + radius*vg.Length(math.Cos(angle)), Y: center.Y + radius*vg.Length(math.Sin(angle))}
	}
	return points
}

// WriteGIF writes the animation, looping, at a resolution in dots per inch.
// Errors: ErrOption, ctx's, and the writer's.
func (a *Animation) WriteGIF(ctx context.Context, w io.Writer, dpi int) error {
	colors := gifPalette()
	var out gif.GIF
	nearest := map[color.RGBA]uint8{}
	for _, frame := range a.frames {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		img, err := frame.Raster(dpi)
		if err != nil {
			return err
		}
		b := img.Bounds()
		if pixels := float64(b.Dx()) * float64(b.Dy()) * float64(len(a.frames)); pixels > 5*maxPixels {
			return fmt.Errorf(
				"%w: the animation would have %.0f megapixels; choose a lower resolution, or fewer layers or timesteps", ErrOption,
				pixels/1e6)
		}
		rgba := image.NewRGBA(b)
		stddraw.Draw(rgba, b, img, b.Min, stddraw.Src)
		paletted := image.NewPaletted(b, colors)
		for i := range paletted.Pix {
			c := color.RGBA{rgba.Pix[4*i], rgba.Pix[4*i+1], rgba.Pix[4*i+2], rgba.Pix[4*i+3]}
			index, ok := nearest[c]
			if !ok {
				index = uint8(colors.Index(c))
				nearest[c] = index
			}
			paletted.Pix[i] = index
		}
		out.Image = append(out.Image, paletted)
		out.Delay = append(out.Delay, a.delay)
	}
	out.Delay[len(out.Delay)-1] = 4 * a.delay // the end is seen as such
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, &out); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// gifPalette holds both colour maps, greys for text, and the colour of the clock.
func gifPalette() color.Palette {
	p := color.Palette{color.White, palette8[1], shade, missing, gridGrey}
	for i := 0; i <= 32; i++ {
		v := uint8(i * 255 / 32)
		p = append(p, color.NRGBA{v, v, v, 0xFF})
	}
	for _, m := range []colorMap{sequentialMap(), divergingMap()} {
		for i := range 105 {
			p = append(p, m.at(float64(i)/104))
		}
	}
	return p
}
