package recordings

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/features"
)

// scoresAttribute holds a result without its raw scores as JSON.
const scoresAttribute = "scores_json"

// axis is a dimension of scores: its places, by what tells scores apart, in the order in which they occur.
type axis struct {
	name   string
	places []string
	of     func(s *compare.ResultScore) string
}

func (a *axis) at(s *compare.ResultScore) int { return slices.Index(a.places, a.of(s)) }

func bin(start, end *compare.Number) string {
	if start == nil {
		return ""
	}
	return strconv.FormatFloat(float64(*start), 'g', -1, 64) + " " + strconv.FormatFloat(float64(*end), 'g', -1, 64)
}

// resultArrays lay the scores of a result out as arrays.
type resultArrays struct {
	result *compare.Result
	axes   []axis
	at     []int // of each score, among all places of the axes
	places int
	// neuroids are the ids of all that are scored, and their places.
	neuroids []string
	place    map[string]int
	d        *features.Dataset
}

// axes finds the dimensions: layer and time_bin, and feature_bin where layers are compared at several.
func newResultArrays(result *compare.Result) *resultArrays {
	r := &resultArrays{result: result, neuroids: result.Neuroids(), place: map[string]int{}, d: &features.Dataset{}}
	for i, id := range r.neuroids {
		r.place[id] = i
	}
	all := []axis{
		{name: "region", of: func(s *compare.ResultScore) string { return s.Region }},
		{name: "consistency", of: func(s *compare.ResultScore) string { return s.Consistency }},
		{name: "layer", of: func(s *compare.ResultScore) string { return s.Layer }},
		{name: "other_layer", of: func(s *compare.ResultScore) string { return s.OtherLayer }},
		{name: "offset", of: func(s *compare.ResultScore) string { return bin(s.Offset, s.Offset) }},
		{name: "feature_bin", of: func(s *compare.ResultScore) string { return bin(featureBin(s)) }},
		{name: "time_bin", of: func(s *compare.ResultScore) string { return bin(s.TimeBinStart, s.TimeBinEnd) }},
	}
	shifted := !slices.ContainsFunc(result.Scores, func(s compare.ResultScore) bool { return s.Offset != nil })
	for _, a := range all {
		for i := range result.Scores {
			if place := a.of(&result.Scores[i]); !slices.Contains(a.places, place) {
				a.places = append(a.places, place)
			}
		}
		switch a.name {
		case "layer", "time_bin":
		case "feature_bin":
			if !shifted || r.oneToOne(result) {
				continue // it follows from the bin of the responses
			}
		default:
			if len(a.places) < 2 && (len(a.places) == 0 || a.places[0] == "") {
				continue
			}
		}
		r.axes = append(r.axes, a)
	}
	r.places = 1
	for _, a := range r.axes {
		r.places *= len(a.places)
	}
	for i := range result.Scores {
		at := 0
		for k := range r.axes {
			at = at*len(r.axes[k].places) + r.axes[k].at(&result.Scores[i])
		}
		r.at = append(r.at, at)
	}
	return r
}

// oneToOne tells whether no layer is compared with a bin at several times.
func (r *resultArrays) oneToOne(result *compare.Result) bool {
	seen := map[[3]string]bool{}
	for i := range result.Scores {
		s := &result.Scores[i]
		key := [3]string{s.Region, s.Layer + "\x00" + s.OtherLayer + "\x00" + s.Consistency,
			bin(s.TimeBinStart, s.TimeBinEnd)}
		if seen[key] {
			return false
		}
		seen[key] = true
	}
	return true
}

func (r *resultArrays) add(v features.Variable, about ...string) {
	for i := 0; i+1 < len(about); i += 2 {
		v.Attributes = append(v.Attributes, features.Attribute{Name: about[i], Value: about[i+1]})
	}
	if !slices.Contains(v.Shape, 0) {
		r.d.Variables = append(r.d.Variables, v)
	}
}

// dimensions are those of the scores, and more.
func (r *resultArrays) dimensions(more ...string) (names []string, shape []int) {
	for _, a := range r.axes {
		names, shape = append(names, a.name), append(shape, len(a.places))
	}
	return append(names, more...), shape
}

// numbers adds an array of a number for each score, if one is not NaN.
func (r *resultArrays) numbers(name, about string, value func(s *compare.ResultScore) *compare.Number) {
	values := slices.Repeat([]float64{math.NaN()}, r.places)
	for i := range r.result.Scores {
		if v := value(&r.result.Scores[i]); v != nil {
			values[r.at[i]] = float64(*v)
		}
	}
	if name != "score" && !slices.ContainsFunc(values, func(v float64) bool { return !math.IsNaN(v) }) {
		return
	}
	names, shape := r.dimensions()
	r.add(features.Variable{Name: name, Dimensions: names, Shape: shape, Values: values}, "long_name", about)
}

// counts adds an array of an integer for each score; there is none of what was not compared.
func (r *resultArrays) counts(name, about string, value func(s *compare.ResultScore) int) {
	values := make([]int64, r.places)
	for i := range r.result.Scores {
		values[r.at[i]] = int64(value(&r.result.Scores[i]))
	}
	names, shape := r.dimensions()
	r.add(features.Variable{Name: name, Dimensions: names, Shape: shape, Values: values}, "long_name", about)
}

func (r *resultArrays) texts(name, about string, value func(s *compare.ResultScore) string) {
	values := make([]string, r.places)
	for i := range r.result.Scores {
		values[r.at[i]] = value(&r.result.Scores[i])
	}
	if !slices.ContainsFunc(values, func(v string) bool { return v != "" }) {
		return
	}
	names, shape := r.dimensions()
	r.add(features.Variable{Name: name, Dimensions: names, Shape: shape, Values: values}, "long_name", about)
}

// raw adds arrays [splits][neuroids] for each score, with NaN for what a score lacks.
func (r *resultArrays) raw(name, about, split string, value func(s *compare.ResultScore) [][]compare.Number) {
	splits, each := 0, false // whether there is a value for each neuroid
	for i := range r.result.Scores {
		s := &r.result.Scores[i]
		rows := value(s)
		splits = max(splits, len(rows))
		each = each || len(rows) > 0 && len(s.NeuroidIDs) > 0 && len(rows[0]) == len(s.NeuroidIDs)
	}
	width := 1
	names, shape := r.dimensions(split)
	shape = append(shape, splits)
	if each {
		width = len(r.neuroids)
		names, shape = append(names, "neuroid"), append(shape, width)
	}
	values := slices.Repeat([]float64{math.NaN()}, r.places*splits*width)
	for i := range r.result.Scores {
		s := &r.result.Scores[i]
		for k, row := range value(s) {
			to := values[(r.at[i]*splits+k)*width:][:width]
			for j, v := range row[:min(len(row), max(len(s.NeuroidIDs), 1))] {
				if each {
					j = r.place[s.NeuroidIDs[j]]
				}
				to[j] = float64(v)
			}
		}
	}
	r.add(features.Variable{Name: name, Dimensions: names, Shape: shape, Values: values}, "long_name", about)
}

// coordinates adds what tells the places of the dimensions apart.
func (r *resultArrays) coordinates() {
	for _, a := range r.axes {
		switch a.name {
		case "region", "consistency", "layer", "other_layer":
			r.add(features.Variable{Name: a.name, Dimensions: []string{a.name}, Shape: []int{len(a.places)}, Values: a.places,
				Coordinate: true})
		case "offset":
			r.edges(a, "offset_ms", func(s *compare.ResultScore) *compare.Number { return s.Offset })
		case "time_bin":
			r.edges(a, "time_bin_start", func(s *compare.ResultScore) *compare.Number { return s.TimeBinStart })
			r.edges(a, "time_bin_end", func(s *compare.ResultScore) *compare.Number { return s.TimeBinEnd })
		case "feature_bin":
			r.edges(a, "feature_bin_start", func(s *compare.ResultScore) *compare.Number {
				start, _ := featureBin(s)
				return start
			})
			r.edges(a, "feature_bin_end", func(s *compare.ResultScore) *compare.Number { _, end := featureBin(s); return end })
		}
	}
	r.add(features.Variable{Name: "neuroid_id", Dimensions: []string{"neuroid"}, Shape: []int{len(r.neuroids)},
		Values: r.neuroids, Coordinate: true})
	for _, c := range r.result.NeuroidCoordinates {
		if c.Name == "neuroid_id" || c.Name == "neuroid" {
			continue
		}
		name := c.Name
		for slices.ContainsFunc(r.d.Variables, func(v features.Variable) bool { return v.Name == name }) {
			name = "neuroid_" + name
		}
		v := features.Variable{Name: name, Dimensions: []string{"neuroid"}, Shape: []int{max(len(c.Texts), len(c.Numbers))},
			Coordinate: true, Values: c.Texts}
		if len(c.Numbers) > 0 {
			v.Values = plainNumbers(c.Numbers)
		}
		r.add(v)
	}
}

// featureBin is the time of the features, that of the responses where it is the same.
func featureBin(s *compare.ResultScore) (start, end *compare.Number) {
	if s.FeatureBinStart == nil {
		return s.TimeBinStart, s.TimeBinEnd
	}
	return s.FeatureBinStart, s.FeatureBinEnd
}

func plainNumbers(numbers []compare.Number) []float64 {
	var values []float64
	for _, v := range numbers {
		values = append(values, float64(v))
	}
	return values
}

// edges adds a number in ms for each place of an axis.
func (r *resultArrays) edges(a axis, name string, value func(s *compare.ResultScore) *compare.Number) {
	values := slices.Repeat([]float64{math.NaN()}, len(a.places))
	for i := range r.result.Scores {
		s := &r.result.Scores[i]
		if v := value(s); v != nil {
			values[a.at(s)] = float64(*v)
		}
	}
	r.add(features.Variable{Name: name, Dimensions: []string{a.name}, Shape: []int{len(values)}, Values: values,
		Coordinate: true}, "units", "ms")
}

// dataset is a result as arrays.
func dataset(result *compare.Result) (*features.Dataset, error) {
	r := newResultArrays(result.Symmetric())
	r.coordinates()
	type score = compare.ResultScore
	r.numbers("score", "score: "+result.Metric, func(s *score) *compare.Number { return &s.Score })
	r.numbers("error", "error of the score, not normalised", func(s *score) *compare.Number { return &s.Error })
	r.numbers("ceiling", "ceiling; of dissimilarities the upper one", func(s *score) *compare.Number { return &s.Ceiling })
	r.numbers("ceiling_error", "error of the ceiling", func(s *score) *compare.Number { return s.CeilingError })
	r.numbers("lower_ceiling", "lower ceiling", func(s *score) *compare.Number { return s.LowerCeiling })
	r.numbers("ceiled", "normalised score", func(s *score) *compare.Number { return &s.Ceiled })
	r.numbers("solved", "part of the images that are solved", func(s *score) *compare.Number { return s.Solved })
	r.numbers("correct", "part of the images whose object a readout finds", func(s *score) *compare.Number {
		return s.Correct
	})
	r.numbers("score_not_nested", "score of a choice on the same stimuli", func(s *score) *compare.Number {
		return s.NotNested
	})
	r.texts("chosen", "in how many splits the layer and time were chosen", func(s *score) string { return s.Chosen })
	for _, v := range []struct {
		name, about string
		of          func(i *compare.ResultInference) *compare.Number
	}{
		{"low", "lower end of the 95 % interval", func(i *compare.ResultInference) *compare.Number { return &i.Low }},
		{"high", "upper end of the 95 % interval", func(i *compare.ResultInference) *compare.Number { return &i.High }},
		{"p_against_zero", "one-sided probability, not corrected for several tests",
			func(i *compare.ResultInference) *compare.Number { return &i.AgainstZero }},
		{"p_against_lower_ceiling", "two-sided probability, not corrected for several tests",
			func(i *compare.ResultInference) *compare.Number { return &i.AgainstCeiling }},
	} {
		r.numbers(v.name, v.about, func(s *score) *compare.Number {
			if s.Inference == nil {
				return nil
			}
			return v.of(s.Inference)
		})
	}
	if names, _ := r.dimensions(); !slices.Contains(names, "feature_bin") {
		r.numbers("feature_bin_start", "start of the features' time in ms, where it is another",
			func(s *score) *compare.Number { return s.FeatureBinStart })
		r.numbers("feature_bin_end", "end of the features' time in ms, where it is another", func(s *score) *compare.Number {
			return s.FeatureBinEnd
		})
	}
	r.texts("normalisation", "how ceiled is made of score r and ceiling ρ", func(s *score) string {
		return s.Normalisation
	})
	r.texts("reason", "why there is no score", func(s *score) string { return s.Reason })
	r.counts("neuroids", "neuroids with a score and a ceiling", func(s *score) int { return s.Neuroids })
	r.counts("stimuli", "stimuli that were compared", func(s *score) int { return s.Stimuli })
	r.counts("undefined_splits", "splits without a score", func(s *score) int { return s.UndefinedSplits })
	r.raw("raw", "score of each split and neuroid", "split", func(s *score) [][]compare.Number { return s.Raw })
	r.raw("raw_ceiling", "ceiling of each halving and neuroid", "halving", func(s *score) [][]compare.Number {
		return s.RawCeiling
	})
	r.raw("alpha", "ridge parameter of each split", "split", func(s *score) [][]compare.Number { return s.Alphas })
	return r.d, r.attributes()
}

// attributes adds the provenance.
func (r *resultArrays) attributes() error {
	result := r.result
	var short bytes.Buffer
	summary := result.Summary()
	for i := range summary.Scores {
		summary.Scores[i].Points = result.Scores[i].Points // to be drawn
	}
	encoder := json.NewEncoder(&short)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(summary); err != nil {
		return err
	}
	seed := ""
	if result.Seed != nil {
		seed = strconv.FormatInt(*result.Seed, 10)
	}
	about := []features.Attribute{
		{Name: "analysis", Value: result.Analysis}, {Name: "metric", Value: result.Metric},
		{Name: "splits", Value: result.Splits}, {Name: "seed", Value: seed},
		{Name: "features", Value: result.Features}, {Name: "features_provenance", Value: string(result.FeaturesProvenance)},
		{Name: "features_sha256", Value: result.FeaturesSHA256},
		{Name: "data", Value: result.Data}, {Name: "data_sha256", Value: result.DataSHA256},
		{Name: "software", Value: result.Software},
	}
	for _, texts := range []struct {
		name   string
		values []string
	}{{"left_out", result.LeftOut}, {"notes", result.Notes}} {
		text, err := json.Marshal(texts.values)
		if err != nil {
			return err
		}
		if len(texts.values) > 0 {
			about = append(about, features.Attribute{Name: texts.name, Value: string(text)})
		}
	}
	about = append(about, features.Attribute{Name: scoresAttribute, Value: short.String()})
	for _, a := range about {
		if a.Value != "" {
			r.d.Attributes = append(r.d.Attributes, a)
		}
	}
	return nil
}
