package plotting

import (
	"context"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/tfconvrnn/go/internal/imagenet"
)

// readout is the layer whose softmax gives class probabilities.
const readout = "imnetds"

// trajectory is the probabilities of a stimulus's likeliest classes, the one with
// the highest peak first.
type trajectory struct {
	stimulus      int
	classes       []int
	probabilities [][]float64 // [class][timestep]
}

// Probabilities draws, for each stimulus, the softmax of imnetds over time for the
// classes whose probability rises highest. It stops when ctx is done. Errors:
// ErrImpossible (no imnetds), ErrNoStimulus, ErrOption, and those of reading.
func Probabilities(ctx context.Context, s *Source, o Options) (*Figure, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(s.layers, func(l *Layer) bool { return l.Name == readout })
	if i < 0 {
		return nil, fmt.Errorf("%s: %w: class probabilities need the layer %s, which is not there", s.path, ErrImpossible,
			readout)
	}
	l := s.layers[i]
	if r := s.about.projection(readout); r != "" {
		return nil, fmt.Errorf("%s: %w: %s is the projection %s, not the %d classes; extract it without reduction", s.path,
			ErrImpossible, readout, r, imagenet.Classes)
	}
	if !slices.Equal(l.Shape, []int{imagenet.Classes}) {
		return nil, fmt.Errorf("%s: %w: %s has shape %v, not the %d classes; extract it without reduction", s.path,
			ErrImpossible, readout, l.Shape, imagenet.Classes)
	}
	stimuli, err := s.selectStimuli(o.Stimuli)
	if err != nil {
		return nil, err
	}
	note := ""
	if len(o.Stimuli) == 0 && len(stimuli) > defaultPanels {
		note = fmt.Sprintf(" The first %d of %d stimuli.", defaultPanels, len(stimuli))
		stimuli = stimuli[:defaultPanels]
	}
	if len(stimuli) > mostPanels {
		return nil, fmt.Errorf("%w: %d stimuli; a figure shows at most %d", ErrOption, len(stimuli), mostPanels)
	}
	var all []trajectory
	top := 0.0
	for n, stimulus := range stimuli {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		row, err := l.rows.row(stimulus)
		if err != nil {
			return nil, err
		}
		t, err := s.trajectory(l, stimulus, row, o.Top)
		if err != nil {
			return nil, err
		}
		for _, p := range t.probabilities {
			top = max(top, slices.Max(p))
		}
		all = append(all, t)
		o.Progress(int64(n+1), int64(len(stimuli)))
	}

	columns := min(len(all), 2)
	rows := (len(all) + columns - 1) / columns
	const panelWidth, legendWidth, gap = 250, 130, 18
	panelHeight := vg.Length(max(165, 24+13*o.Top))
	f := &Figure{
		Name: "probabilities", Title: "Class probabilities over time", Subtitle: s.subtitle(),
		Caption: fmt.Sprintf(
			"Softmax of %s; the %s whose probability rises highest, ImageNet's classes in the order of their WordNet ids.%s",
			readout, plural2(o.Top, "class", "classes"), note),
		width: vg.Length(columns)*(panelWidth+legendWidth) + vg.Length(columns-1)*gap, height: vg.Length(rows) * panelHeight,
	}
	f.Caption += s.about.shownCaption()
	from, to := s.timeRange([]*Layer{l})
	f.body = func(c draw.Canvas, st *styles) {
		for n, t := range all {
			x := c.Min.X + vg.Length(n%columns)*(panelWidth+legendWidth+gap)
			y := c.Max.Y - vg.Length(n/columns)*panelHeight
			axes := timeAxes{from: from, to: to, lo: 0, hi: min(1, niceCeil(1.05*top)), xlabel: true, ylabel: "probability"}
			p := newTimePlot(axes, s.about.Episodes, st)
			p.Add(notDriven{l.drivenFrom(), st.note})
			for k := len(t.classes) - 1; k >= 0; k-- { // the likeliest on top
				_ = addLine(p, l.Milliseconds, t.probabilities[k], palette8[k%len(palette8)],
					lineDashes(k)) // all values are finite
			}
			panel := c
			panel.Rectangle = vg.Rectangle{Min: vg.Point{X: x, Y: y - panelHeight + 6},
				Max: vg.Point{X: x + panelWidth, Y: y - 22}}
			p.Draw(panel)
			data := p.DataCanvas(panel)
			sty := st.panel
			sty.YAlign = draw.YBottom
			c.FillText(sty, vg.Point{X: data.Min.X, Y: data.Max.Y + 6},
				shorten(s.stimuli[t.stimulus], sty, data.Size().X+legendWidth, true))
			sty = st.tick
			sty.YAlign = draw.YCenter
			for k, class := range t.classes {
				ly := data.Max.Y - 6 - vg.Length(k)*13
				lx := data.Max.X + 8
				c.StrokeLine2(draw.LineStyle{Color: palette8[k%len(palette8)], Width: 2, Dashes: lineDashes(k)}, lx, ly, lx+14, ly)
				c.FillText(sty, vg.Point{X: lx + 18, Y: ly}, shorten(imagenet.At(class).Name(), sty, legendWidth-28, false))
			}
		}
	}
	return f, nil
}

// lineDashes tells lines of the same colour apart.
func lineDashes(k int) []vg.Length {
	if k < len(palette8) {
		return nil
	}
	return []vg.Length{4, 2}
}

func plural2(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// trajectory picks the classes with the highest probability at any driven timestep,
// the lower index first where they are equal.
func (s *Source) trajectory(l *Layer, stimulus int, row []float32, top int) (trajectory, error) {
	times, size := len(l.Timesteps), l.size()
	peaks := make([]float64, size)
	all := make([][]float64, times)
	none := !slices.Contains(l.Driven, true)
	for t := range times {
		p, ok := softmax(row[t*size : (t+1)*size])
		if !ok {
			return trajectory{}, fmt.Errorf(
				"%s: %w: layer %s has values that are not finite at timestep %d of stimulus %s; leave the stimulus out",
				s.path, ErrImpossible, l.Name, l.Timesteps[t], printable(s.stimuli[stimulus]))
		}
		all[t] = p
		if l.Driven[t] || none {
			for i, v := range p {
				peaks[i] = max(peaks[i], v)
			}
		}
	}
	order := make([]int, size)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case peaks[a] > peaks[b]:
			return -1
		case peaks[a] < peaks[b]:
			return 1
		}
		return 0
	})
	result := trajectory{stimulus: stimulus, classes: order[:min(top, size)]}
	for _, class := range result.classes {
		p := make([]float64, times)
		for t := range times {
			p[t] = all[t][class]
		}
		result.probabilities = append(result.probabilities, p)
	}
	return result, nil
}

// softmax returns exp(v)/Σ exp(v), or false where a value is not finite.
func softmax(values []float32) ([]float64, bool) {
	largest := math.Inf(-1)
	for _, v := range values {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, false
		}
		largest = max(largest, float64(v))
	}
	p := make([]float64, len(values))
	sum := 0.0
	for i, v := range values {
		p[i] = math.Exp(float64(v) - largest)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p, true
}
