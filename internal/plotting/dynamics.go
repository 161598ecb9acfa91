package plotting

import (
	"context"
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// dynamics are a layer's responses at each timestep: the mean over its units,
// then mean and standard deviation over the stimuli.
type dynamics struct{ mean, sd []float64 }

// Dynamics draws, for each layer, the mean response of its units over time: the
// mean of the stimuli ± one standard deviation between them, shaded where no image
// can have reached the layer. It stops when ctx is done. Errors: ErrNoLayer,
// ErrNoStimulus, ErrImpossible (values that are not finite; projections, whose values
// are not those of units), ErrOption, and those of reading.
func Dynamics(ctx context.Context, s *Source, o Options) (*Figure, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	layers, projected, err := s.unitLayers(o.Layers)
	if err != nil {
		return nil, err
	}
	stimuli, err := s.selectStimuli(o.Stimuli)
	if err != nil {
		return nil, err
	}
	all := make([]dynamics, len(layers))
	for i, l := range layers {
		all[i], err = s.dynamics(ctx, l, stimuli, func(done int) {
			o.Progress(int64(i*len(stimuli)+done), int64(len(layers)*len(stimuli)))
		})
		if err != nil {
			return nil, err
		}
	}

	columns := min(len(layers), 3)
	if len(layers) == 4 {
		columns = 2
	}
	rows := (len(layers) + columns - 1) / columns
	f := &Figure{
		Name: "dynamics", Title: "Response dynamics", Subtitle: s.subtitle(),
		Caption: fmt.Sprintf(
			"Mean over a layer's units; the line is the mean of %s, the band ± 1 standard deviation between them.",
			plural(len(stimuli), "stimulus")),
		width: vg.Length(columns)*220 + vg.Length(columns-1)*14, height: vg.Length(rows) * 165,
	}
	if len(stimuli) == 1 {
		f.Caption = "Mean over a layer's units, for the stimulus " + printable(s.stimuli[stimuli[0]]) + "."
	}
	for _, l := range layers {
		if !math.IsInf(l.drivenFrom(), -1) {
			f.Caption += " Grey: before an image can have reached the layer."
			break
		}
	}
	f.Caption += s.about.shownCaption()
	if len(projected) > 0 {
		f.Caption += " Left out, since a projection has no units: " + strings.Join(projected, ", ") + "."
	}
	from, to := s.timeRange(layers)
	f.body = func(c draw.Canvas, st *styles) {
		grid := make([][]*plot.Plot, rows)
		for r := range grid {
			grid[r] = make([]*plot.Plot, columns)
			for k := range grid[r] {
				i := r*columns + k
				if i >= len(layers) {
					continue
				}
				axes := timeAxes{from: from, to: to, xlabel: i+columns >= len(layers)}
				if k == 0 {
					axes.ylabel = "mean response"
				}
				axes.lo, axes.hi = all[i].limits()
				p := newTimePlot(axes, s.about.Episodes, st)
				p.Add(notDriven{layers[i].drivenFrom(), st.note})
				p.Add(all[i].band(layers[i].Milliseconds, len(stimuli) > 1))
				_ = addLine(p, layers[i].Milliseconds, all[i].mean, palette8[0], nil) // all values are finite
				grid[r][k] = p
			}
		}
		const title = 22 // above each panel
		tiles := draw.Tiles{Rows: rows, Cols: columns, PadX: 14, PadY: title, PadTop: title}
		for r, canvases := range plot.Align(grid, tiles, c) {
			for k, panel := range canvases {
				if grid[r][k] == nil {
					continue
				}
				grid[r][k].Draw(panel)
				data := grid[r][k].DataCanvas(panel)
				sty := st.panel
				sty.YAlign = draw.YBottom
				c.FillText(sty, vg.Point{X: data.Min.X, Y: data.Max.Y + 6}, shorten(layers[r*columns+k].Name, sty, data.Size().X,
					false))
			}
		}
	}
	return f, nil
}

// unitLayers returns the layers asked for, or all, without those that were projected at
// random, which are returned by name: the mean of mixtures of units with random signs
// is not a response. It is an error to ask for one of these.
func (s *Source) unitLayers(names []string) (layers []*Layer, projected []string, err error) {
	all, err := s.selectLayers(names, nil, "features")
	if err != nil {
		return nil, nil, err
	}
	for _, l := range all {
		switch r := s.about.projection(l.Name); {
		case r == "":
			layers = append(layers, l)
		case len(names) > 0:
			return nil, nil, fmt.Errorf("%s: %w: layer %s is the projection %s, whose values are not responses of units; "+
				"extract it without reduction, or with gap", s.path, ErrImpossible, l.Name, r)
		default:
			projected = append(projected, l.Name)
		}
	}
	if len(layers) == 0 {
		return nil, nil, fmt.Errorf("%s: %w: all layers are projections (%s is %s), whose values are not responses of "+
			"units; extract one without reduction, or with gap",
			s.path, ErrImpossible, projected[0], s.about.projection(projected[0]))
	}
	return layers, projected, nil
}

// dynamics reads a layer. Mean and variance are updated stimulus by stimulus
// (Welford 1962).
func (s *Source) dynamics(ctx context.Context, l *Layer, stimuli []int, progress func(done int)) (dynamics, error) {
	times, size := len(l.Timesteps), l.size()
	d := dynamics{mean: make([]float64, times), sd: make([]float64, times)}
	for n, stimulus := range stimuli {
		if err := context.Cause(ctx); err != nil {
			return d, err
		}
		row, err := l.rows.row(stimulus)
		if err != nil {
			return d, err
		}
		for t := range times {
			sum := 0.0
			for _, v := range row[t*size : (t+1)*size] {
				sum += float64(v)
			}
			mean := sum / float64(size)
			if math.IsNaN(mean) || math.IsInf(mean, 0) {
				return d, fmt.Errorf("%s: %w: layer %s has values that are not finite at timestep %d of stimulus %s; "+
					"leave the stimulus or the layer out",
					s.path, ErrImpossible, l.Name, l.Timesteps[t], printable(s.stimuli[stimulus]))
			}
			delta := mean - d.mean[t]
			d.mean[t] += delta / float64(n+1)
			d.sd[t] += delta * (mean - d.mean[t])
		}
		progress(n + 1)
	}
	for t := range d.sd {
		if len(stimuli) > 1 {
			d.sd[t] = math.Sqrt(d.sd[t] / float64(len(stimuli)-1))
		}
	}
	return d, nil
}

// limits returns a range of values that holds the band, with some room.
func (d dynamics) limits() (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for t := range d.mean {
		lo = min(lo, d.mean[t]-d.sd[t])
		hi = max(hi, d.mean[t]+d.sd[t])
	}
	room := 0.08 * (hi - lo)
	if room <= 1e-6*max(math.Abs(lo), math.Abs(hi)) {
		room = max(0.1*math.Abs(hi), 1e-6)
	}
	return lo - room, hi + room
}

func (d dynamics) band(ms []float64, several bool) band {
	b := band{x: ms, color: palette8[0]}
	b.color.A = 0x38
	if !several {
		return band{}
	}
	for t := range d.mean {
		b.lo = append(b.lo, d.mean[t]-d.sd[t])
		b.hi = append(b.hi, d.mean[t]+d.sd[t])
	}
	return b
}
