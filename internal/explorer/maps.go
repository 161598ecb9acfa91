package explorer

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// mapsHead says what follows it: for each part, all maps as bytes, [timesteps, channels, height, width]. A byte q
// stands for (q-zero)·step, where step is the channel's.
type mapsHead struct {
	Layer    string `json:"layer"`
	Times    int    `json:"times"`
	Height   int    `json:"height"`
	Width    int    `json:"width"`
	Channels []int  `json:"channels"`
	// Of is the number of channels that the layer has.
	Of    int       `json:"of"`
	Parts []mapPart `json:"parts"`
}

// mapPart is the run, the other run, or the difference of the two.
type mapPart struct {
	Part string `json:"part"`
	// Zero is 0 where no value is negative, and 127 else.
	Zero int `json:"zero"`
	// Steps are those of the channels. Values beyond the last step are drawn as if they were at it; Clipped is their
	// share.
	Steps   []float64 `json:"steps"`
	Clipped float64   `json:"clipped"`
}

// maps sends feature maps of a layer for all timesteps, rounded to a byte, to be drawn. The query has layer; optionally
// count, of channels (0: all); order, of channels: number, strongest, changing, different; scale: layer or channel; and
// other, a run to show beside, with the difference.
func (x *Explorer) maps(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	a, b, err := x.pair(r, false)
	if err != nil {
		return err
	}
	layer, err := spatial(a, query.Get("layer"))
	if err != nil {
		return err
	}
	var other *tfconvrnn.LayerFeatures
	if b != nil {
		// Two models may have layers of one name that differ.
		if other, err = spatial(b, query.Get("layer")); err != nil || !slices.Equal(other.Shape, layer.Shape) {
			return faultf(http.StatusConflict, "%s differs in shape between %s and %s", layer.Name, a.model.Name, b.model.Name)
		}
	}
	channels, err := chooseChannels(a, b, layer, other, query)
	if err != nil {
		return err
	}
	d := &drawing{perChannel: query.Get("scale") == "channel", channels: channels}
	d.add("this", layer, nil)
	if other != nil {
		d.add("other", other, nil)
		d.add("difference", layer, other)
	}
	head := mapsHead{
		Layer: layer.Name, Times: d.times(), Height: layer.Shape[0], Width: layer.Shape[1], Channels: channels,
		Of: layer.Shape[2],
	}
	head.Parts = d.quantize()
	text, err := json.Marshal(head)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "private, max-age=600") // a run does not change
	_, _ = w.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(text))))
	_, _ = w.Write(text)
	for _, p := range d.parts {
		_, _ = w.Write(p.bytes)
	}
	return nil
}

// pair returns the run of a request and, if the query names it, the other.
func (x *Explorer) pair(r *http.Request, need bool) (a, b *run, err error) {
	if a, err = x.runs.get(r.PathValue("run")); err != nil {
		return nil, nil, err
	}
	if id := r.URL.Query().Get("other"); id != "" || need {
		b, err = x.runs.get(id)
	}
	return a, b, err
}

// spatial returns the features of a layer that has maps.
func spatial(r *run, name string) (*tfconvrnn.LayerFeatures, error) {
	l, err := r.layer(name)
	if err != nil {
		return nil, err
	}
	if len(l.Shape) != 3 {
		return nil, faultf(http.StatusUnprocessableEntity, "%s has no maps: it is the readout of %d classes", name, l.Size())
	}
	return l, nil
}

// chooseChannels returns the channels that a query asks for.
func chooseChannels(a, b *run, layer, other *tfconvrnn.LayerFeatures, query url.Values) ([]int, error) {
	of := layer.Shape[2]
	count := 16
	if text := query.Get("count"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil || count < 0 {
			return nil, faultf(http.StatusBadRequest, "%q is no number of channels", text)
		}
	}
	if count == 0 || count > of {
		count = of
	}
	means := a.channelMeans(layer)
	var others []float32
	if b != nil {
		others = b.channelMeans(other)
	}
	scores := make([]float64, of)
	switch order := query.Get("order"); order {
	case "", "strongest":
		score(scores, means, func(v, mean float64) float64 { return math.Abs(v) })
		score(scores, others, func(v, mean float64) float64 { return math.Abs(v) })
	case "changing":
		score(scores, means, func(v, mean float64) float64 { return (v - mean) * (v - mean) })
		score(scores, others, func(v, mean float64) float64 { return (v - mean) * (v - mean) })
	case "different":
		if b == nil {
			return nil, faultf(http.StatusBadRequest, "channels that differ need another run")
		}
		difference := make([]float32, min(len(means), len(others)))
		for i := range difference {
			difference[i] = means[i] - others[i]
		}
		score(scores, difference, func(v, mean float64) float64 { return v * v })
	case "number":
	default:
		return nil, faultf(http.StatusBadRequest, "%q is no order of channels", order)
	}
	channels := make([]int, of)
	for c := range channels {
		channels[c] = c
	}
	slices.SortStableFunc(channels, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	return channels[:count], nil
}

// score adds to the score of each channel the sum over time of f, of the value and the channel's mean over time.
func score(scores []float64, means []float32, f func(v, mean float64) float64) {
	channels := len(scores)
	times := len(means) / channels
	for c := range scores {
		var sum, total float64
		for t := range times {
			sum += float64(means[t*channels+c])
		}
		for t := range times {
			total += f(float64(means[t*channels+c]), sum/float64(times))
		}
		scores[c] += total
	}
}

// drawing is parts of maps that are drawn beside each other. The runs share a scale, so that colours can be compared.
type drawing struct {
	perChannel bool
	channels   []int
	parts      []*drawnPart
}

type drawnPart struct {
	name  string
	layer *tfconvrnn.LayerFeatures
	// minus is subtracted, unless it is nil.
	minus *tfconvrnn.LayerFeatures
	times int
	bytes []byte
}

func (d *drawing) add(name string, layer, minus *tfconvrnn.LayerFeatures) {
	p := &drawnPart{name: name, layer: layer, minus: minus, times: len(layer.Timesteps)}
	if minus != nil {
		p.times = min(p.times, len(minus.Timesteps))
	}
	d.parts = append(d.parts, p)
}

// times is the number of timesteps of the longest part. Others end in maps of zeros.
func (d *drawing) times() int {
	times := 0
	for _, p := range d.parts {
		times = max(times, p.times)
	}
	return times
}

// each calls f with every value of a channel.
func (p *drawnPart) each(channel int, f func(t, place int, v float32)) {
	channels, size := p.layer.Shape[2], p.layer.Size()
	for t := range p.times {
		values := at(p.layer, t)
		var minus []float32
		if p.minus != nil {
			minus = at(p.minus, t)
		}
		for i, place := channel, 0; i < size; i, place = i+channels, place+1 {
			v := values[i]
			if minus != nil {
				v -= minus[i]
			}
			f(t, place, v)
		}
	}
}

// visibleShare is the share of values whose colours differ; the largest few would leave the others dark.
const visibleShare = 0.999

// scale returns the zero and the largest visible magnitude of each channel, over some parts.
func (d *drawing) scale(parts []*drawnPart) (zero int, limits []float64) {
	magnitudes := make([][]float32, 1)
	for _, c := range d.channels {
		of := &magnitudes[len(magnitudes)-1]
		for _, p := range parts {
			p.each(c, func(_, _ int, v float32) {
				if v < 0 {
					zero, v = 127, -v
				}
				*of = append(*of, v)
			})
		}
		if d.perChannel {
			magnitudes = append(magnitudes, nil)
		}
	}
	for i := range d.channels {
		if !d.perChannel && i > 0 {
			limits = append(limits, limits[0])
			continue
		}
		limits = append(limits, quantile(magnitudes[i], visibleShare))
	}
	return zero, limits
}

// quantile returns the value below which about a share of the magnitudes lies, from an even sample of them, and the
// largest where that would be zero.
func quantile(magnitudes []float32, share float64) float64 {
	const most = 1 << 16
	stride := (len(magnitudes) + most - 1) / most
	var sample []float32
	for i := 0; i < len(magnitudes); i += stride {
		sample = append(sample, magnitudes[i])
	}
	slices.Sort(sample)
	if v := sample[int(share*float64(len(sample)-1))]; v > 0 {
		return float64(v)
	}
	return float64(slices.Max(magnitudes))
}

// quantize fills the bytes of all parts.
func (d *drawing) quantize() []mapPart {
	var heads []mapPart
	runs := slices.DeleteFunc(slices.Clone(d.parts), func(p *drawnPart) bool { return p.minus != nil })
	times := d.times()
	for _, p := range d.parts {
		scaled := runs
		if p.minus != nil {
			scaled = []*drawnPart{p}
		}
		zero, limits := d.scale(scaled)
		if p.minus != nil {
			zero = 127
		}
		head := mapPart{Part: p.name, Zero: zero, Steps: make([]float64, len(limits))}
		highest := 255 - max(zero, 0)
		if zero > 0 {
			highest = 127
		}
		places, clipped := p.layer.Shape[0]*p.layer.Shape[1], 0
		p.bytes = make([]byte, times*len(d.channels)*places)
		if zero > 0 {
			for i := range p.bytes {
				p.bytes[i] = byte(zero)
			}
		}
		for i, c := range d.channels {
			step := limits[i] / float64(highest)
			head.Steps[i] = step
			if step == 0 {
				continue
			}
			p.each(c, func(t, place int, v float32) {
				q := math.Round(float64(v) / step)
				if math.Abs(float64(v)) > limits[i] {
					clipped++
					q = math.Copysign(float64(highest), q)
				}
				p.bytes[(t*len(d.channels)+i)*places+place] = byte(zero + int(q))
			})
		}
		head.Clipped = float64(clipped) / float64(len(p.bytes))
		heads = append(heads, head)
	}
	return heads
}
