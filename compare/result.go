package compare

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
)

// Number is a number of a Result. In JSON NaN and infinities are null, which is read as NaN.
type Number float64

// MarshalJSON writes null for what JSON has no number for.
func (n Number) MarshalJSON() ([]byte, error) {
	if v := float64(n); math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON reads null as NaN.
func (n *Number) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(text, (*float64)(n))
}

func numberOf(v float64) *Number {
	n := Number(v)
	return &n
}

// numbered is numberOf, but nil for NaN.
func numbered(v float64) *Number {
	if math.IsNaN(v) {
		return nil
	}
	return numberOf(v)
}

func numbersOf[T ~float64](values []T) []Number {
	if values == nil {
		return nil
	}
	list := make([]Number, len(values))
	for i, v := range values {
		list[i] = Number(v)
	}
	return list
}

func numberRows(raw [][]float64) [][]Number {
	var rows [][]Number
	for _, values := range raw {
		rows = append(rows, numbersOf(values))
	}
	return rows
}

// ResultScore is one score as it is printed and written.
type ResultScore struct {
	// Region is that of the neuroids, where each has scores of its own.
	Region string `json:"region,omitempty"`
	Layer  string `json:"layer"`
	// OtherLayer is what Layer is compared with, of similarities between layers.
	OtherLayer string `json:"other_layer,omitempty"`
	// TimeBinStart and TimeBinEnd are the bin of the responses in ms, nil without time; the
	// feature bin is nil where it is the same.
	TimeBinStart    *Number `json:"time_bin_start"`
	TimeBinEnd      *Number `json:"time_bin_end"`
	FeatureBinStart *Number `json:"feature_bin_start,omitempty"`
	FeatureBinEnd   *Number `json:"feature_bin_end,omitempty"`
	// Offset is by how many ms the features are earlier, where several were tried.
	Offset *Number `json:"offset_ms,omitempty"`
	// Consistency is that of behaviour: i1, i1n, i2, i2n.
	Consistency  string  `json:"consistency,omitempty"`
	Score        Number  `json:"score"`
	Error        Number  `json:"error"`
	Ceiling      Number  `json:"ceiling"`
	CeilingError *Number `json:"ceiling_error,omitempty"`
	LowerCeiling *Number `json:"lower_ceiling,omitempty"`
	Ceiled       Number  `json:"ceiled"`
	// Normalisation says how Ceiled is made of Score and Ceiling.
	Normalisation string `json:"normalisation"`
	Neuroids      int    `json:"neuroids"`
	// Undefined are neuroids without a score or ceiling.
	Undefined       []string `json:"undefined_neuroids,omitempty"`
	UndefinedSplits int      `json:"undefined_splits,omitempty"`
	Stimuli         int      `json:"stimuli"`
	// Solved is the part of the images that a model solves, of object solution times.
	Solved *Number `json:"solved,omitempty"`
	Reason string  `json:"reason,omitempty"`
	// NeuroidIDs and what follows are only in files: raw scores and ceilings [splits][neuroids],
	// ridge parameters [splits], of all neuroids or of each.
	NeuroidIDs []string   `json:"neuroid_ids,omitempty"`
	Raw        [][]Number `json:"raw,omitempty"`
	RawCeiling [][]Number `json:"raw_ceiling,omitempty"`
	Alphas     [][]Number `json:"alphas,omitempty"`
	// Inference says how sure a score is.
	Inference *ResultInference `json:"inference,omitempty"`
	// Chosen is in how many splits the layer and time were chosen, as in "8 of 10"; Choices are all that were;
	// NotNested is the score that a choice on the same stimuli has.
	Chosen    string         `json:"chosen,omitempty"`
	Choices   []ResultChoice `json:"choices,omitempty"`
	NotNested *Number        `json:"score_not_nested,omitempty"`
	// Correct is the part of the images whose object a readout finds.
	Correct *Number `json:"correct,omitempty"`
	// Points are what a correlation is of, where single ones can be shown.
	Points *Points `json:"points,omitempty"`
}

// Points are pairs of measured and predicted values: solution times in ms, or d′.
type Points struct {
	IDs       []string `json:"ids"`
	Measured  []Number `json:"measured"`
	Predicted []Number `json:"predicted"`
}

// ResultInference is a ScoreInference.
type ResultInference struct {
	Low            Number   `json:"low"`
	High           Number   `json:"high"`
	AgainstZero    Number   `json:"p_against_zero"`
	AgainstCeiling Number   `json:"p_against_lower_ceiling"`
	Subjects       []Number `json:"subjects,omitempty"`
}

// ResultChoice is a Choice.
type ResultChoice struct {
	Layer           string  `json:"layer"`
	TimeBinStart    *Number `json:"time_bin_start"`
	TimeBinEnd      *Number `json:"time_bin_end"`
	FeatureBinStart *Number `json:"feature_bin_start"`
	FeatureBinEnd   *Number `json:"feature_bin_end"`
	Splits          int     `json:"splits"`
}

// ResultDifference is a Difference between two layers, or times of features, in a bin.
type ResultDifference struct {
	TimeBinStart *Number   `json:"time_bin_start"`
	Layers       [2]string `json:"layers"`
	FeatureBins  [2]string `json:"feature_bins"`
	Difference   Number    `json:"difference"`
	P            Number    `json:"p"`
}

// ResultMean is a mean over time.
type ResultMean struct {
	Layer  string  `json:"layer"`
	Offset *Number `json:"offset_ms,omitempty"`
	Score  Number  `json:"score"`
	Ceiled Number  `json:"ceiled"`
	Bins   int     `json:"bins"`
	Of     int     `json:"of_bins"`
}

// ResultCoordinate has a value for each neuroid, in the order of Result.Neuroids: Texts or
// Numbers.
type ResultCoordinate struct {
	Name    string   `json:"name"`
	Texts   []string `json:"texts,omitempty"`
	Numbers []Number `json:"numbers,omitempty"`
}

// Result is what a comparison found, and of what.
type Result struct {
	// Analysis is fit, ceiling, rsa, cka, ost, behaviour or best.
	Analysis string `json:"analysis"`
	Metric   string `json:"metric,omitempty"`
	Splits   string `json:"splits,omitempty"`
	Seed     *int64 `json:"seed,omitempty"`
	// Features and Data are files. FeaturesProvenance is the JSON text that the features say of
	// themselves; of those that do not, FeaturesSHA256 is the file's.
	Features           string          `json:"features,omitempty"`
	FeaturesProvenance json.RawMessage `json:"features_provenance,omitempty"`
	FeaturesSHA256     string          `json:"features_sha256,omitempty"`
	Data               string          `json:"data"`
	DataSHA256         string          `json:"data_sha256,omitempty"`
	Software           string          `json:"software"`
	// LeftOut and Notes say what was left out and assumed.
	LeftOut []string      `json:"left_out,omitempty"`
	Notes   []string      `json:"notes,omitempty"`
	Scores  []ResultScore `json:"scores"`
	Means   []ResultMean  `json:"means_over_time,omitempty"`
	// Differences are between scores of the same time.
	Differences []ResultDifference `json:"differences,omitempty"`
	// NeuroidCoordinates are only in files.
	NeuroidCoordinates []ResultCoordinate `json:"neuroid_coordinates,omitempty"`
}

// setBin sets the time of a score; a bin without an end is none.
func (s *ResultScore) setBin(b Bin) {
	if b != (Bin{}) {
		s.TimeBinStart, s.TimeBinEnd = numberOf(b.Start), numberOf(b.End)
	}
}

// Note adds a remark.
func (r *Result) Note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Add takes over scores over time. With means, the means of each layer over several bins too.
func (r *Result) Add(fits *Fits, means bool) {
	r.Notes = append(r.Notes, fits.Notes...)
	for i := range fits.Scores {
		s := &fits.Scores[i]
		r.Scores = append(r.Scores, s.result())
		if s.UndefinedSplits > 0 && s.Reason == "" {
			r.Note("layer %s at %v ms: %d of %d splits have no score, and are left out of the mean", s.Layer, s.Bin,
				s.UndefinedSplits, len(s.Score.Raw))
		}
		if s.EdgeAlphas > 0 {
			r.Note("layer %s at %v ms: %d alphas are the first or last of those to choose from", s.Layer, s.Bin, s.EdgeAlphas)
		}
	}
	for _, d := range fits.Differences {
		r.Differences = append(r.Differences, ResultDifference{TimeBinStart: numberOf(d.Bin.Start), Layers: d.Layers,
			FeatureBins: [2]string{d.Features[0].String(), d.Features[1].String()}, Difference: Number(d.Difference),
			P: Number(d.P)})
	}
	if !means {
		return
	}
	for _, m := range fits.Means() {
		if m.Of > 1 {
			r.Means = append(r.Means, ResultMean{m.Layer, numbered(m.Offset), Number(m.Score), Number(m.Ceiled), m.Bins, m.Of})
		}
	}
}

func (s *TimeScore) result() ResultScore {
	row := ResultScore{
		Layer: s.Layer, Score: Number(s.Score.Center), Error: Number(s.Score.Error), Ceiling: Number(s.Ceiling.Center),
		Ceiled: Number(s.Ceiled),
		Offset: numbered(s.Offset), LowerCeiling: numbered(s.LowerCeiling), Neuroids: len(s.NeuroidIDs) - len(s.Undefined),
		Undefined: s.Undefined, UndefinedSplits: s.UndefinedSplits, Stimuli: s.Stimuli, Reason: s.Reason,
		NeuroidIDs: s.NeuroidIDs, Raw: numberRows(s.Score.Raw), RawCeiling: numberRows(s.Ceiling.Raw),
		Alphas: numberRows(s.Alphas),
	}
	row.setBin(s.Bin)
	if s.Features != s.Bin {
		row.FeatureBinStart, row.FeatureBinEnd = numberOf(s.Features.Start), numberOf(s.Features.End)
	}
	if !math.IsNaN(s.Ceiling.Center) {
		row.Normalisation = string(s.Normalisation)
	}
	if s.Ceiling.Raw != nil || !math.IsNaN(s.Ceiling.Error) {
		row.CeilingError = numberOf(s.Ceiling.Error)
	}
	if i := s.Inference; i != nil {
		row.Inference = &ResultInference{Low: Number(i.Low), High: Number(i.High), AgainstZero: Number(i.AgainstZero),
			AgainstCeiling: Number(i.AgainstCeiling), Subjects: numbersOf(i.Subjects)}
	}
	return row
}

// AddBest takes over what was chosen for the neuroids of a region, which may be "".
func (r *Result) AddBest(region string, best []Best) {
	for i := range best {
		b := &best[i]
		row := b.result()
		row.Region = region
		if b.EdgeAlphas > 0 {
			r.Note("region %s: %d alphas are the first or last of those to choose from", cmp.Or(region, "unknown"), b.EdgeAlphas)
		}
		if row.Chosen = "not nested"; b.Nested {
			splits := 0
			for _, c := range b.Choices {
				splits += c.Splits
				choice := ResultChoice{Layer: c.Layer, Splits: c.Splits}
				if c.Bin != (Bin{}) {
					choice.TimeBinStart, choice.TimeBinEnd = numberOf(c.Bin.Start), numberOf(c.Bin.End)
					choice.FeatureBinStart, choice.FeatureBinEnd = numberOf(c.Features.Start), numberOf(c.Features.End)
				}
				row.Choices = append(row.Choices, choice)
			}
			row.Chosen = fmt.Sprintf("%d of %d", b.Choices[0].Splits, splits)
			row.NotNested = numberOf(b.NotNested)
		}
		r.Scores = append(r.Scores, row)
	}
}

// AddCeilings takes over ceilings, which nothing is normalised by.
func (r *Result) AddCeilings(scores []TimeScore) {
	for i := range scores {
		row := scores[i].result()
		row.Normalisation, row.Error = "", Number(scores[i].Ceiling.Error)
		r.Scores = append(r.Scores, row)
		if s := &scores[i]; len(s.Undefined) > 0 && s.Reason == "" {
			r.Note("at %v ms %d of %d neuroids have no ceiling, since they are constant or lack repetitions: %s", s.Bin,
				len(s.Undefined), len(s.NeuroidIDs), shortList(s.Undefined))
		}
	}
}

// undefinedScore is a score of nothing.
func undefinedScore(layer, reason string) ResultScore {
	nan := Number(math.NaN())
	return ResultScore{Layer: layer, Reason: reason, Score: nan, Error: nan, Ceiling: nan, Ceiled: nan}
}

// AddOST takes over scores of object solution times.
func (r *Result) AddOST(scores []OSTLayerScore, measured *SolutionTimes) {
	for _, s := range scores {
		row := undefinedScore(s.Layer, s.Reason)
		row.Ceiling, row.Normalisation, row.Stimuli = OSTCeiling, string(Ratio), len(measured.Images)
		if s.OSTScore != nil {
			row.setBin(Bin{Start: s.Bins[0].Start, End: s.Bins[len(s.Bins)-1].End})
			row.Score, row.Error, row.Ceiled, row.Raw = Number(s.Score), Number(s.Error), Number(s.Ceiled),
				numberRows([][]float64{s.Raw})
			row.Solved = numberOf(meanOf(s.Solved))
			row.Points = s.points(measured)
			for _, note := range s.Notes {
				r.Note("layer %s: %s", s.Layer, note)
			}
		}
		r.Scores = append(r.Scores, row)
	}
}

// points are the images with both times, the predicted one being the mean over the splits
// that test on the image.
func (s *OSTScore) points(measured *SolutionTimes) *Points {
	sums, counts := make([]float64, len(measured.Images)), make([]float64, len(measured.Images))
	for k, split := range s.Splits {
		for i, at := range split.Test {
			if v := s.Predicted[k][i]; !math.IsNaN(v) {
				sums[at] += v
				counts[at]++
			}
		}
	}
	p := &Points{}
	for i, id := range measured.Images {
		if counts[i] > 0 && !math.IsNaN(measured.Times[i]) {
			p.IDs, p.Measured = append(p.IDs, id), append(p.Measured, Number(measured.Times[i]))
			p.Predicted = append(p.Predicted, Number(sums[i]/counts[i]))
		}
	}
	return p
}

// AddBehaviour takes over scores of behaviour.
func (r *Result) AddBehaviour(scores []BehaviourTimeScore) {
	for _, s := range scores {
		row := undefinedScore(s.Layer, s.Reason)
		row.Stimuli, row.Normalisation, row.Consistency = s.Test, string(Root), string(s.Consistency)
		row.setBin(s.Bin)
		if s.BehaviouralScore != nil {
			row.Score, row.Error, row.Ceiling, row.CeilingError, row.Ceiled = Number(s.Score), Number(s.Error),
				Number(s.Ceiling), numberOf(s.CeilingError), Number(s.Ceiled)
			row.Raw, row.Points, row.Correct = numberRows([][]float64{s.Raw}), s.Points, numberOf(s.Correct)
		}
		r.Scores = append(r.Scores, row)
	}
}

// Neuroids are the ids of all neuroids that have raw scores.
func (r *Result) Neuroids() []string {
	seen := map[string]bool{}
	var ids []string
	for i := range r.Scores {
		for _, id := range r.Scores[i].NeuroidIDs {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// Summary is the result without what is only in files.
func (r *Result) Summary() *Result {
	short := *r
	short.FeaturesProvenance, short.FeaturesSHA256, short.DataSHA256, short.NeuroidCoordinates = nil, "", "", nil
	short.Scores = make([]ResultScore, len(r.Scores))
	for i, s := range r.Scores {
		s.NeuroidIDs, s.Raw, s.RawCeiling, s.Alphas, s.Points = nil, nil, nil, nil, nil
		short.Scores[i] = s
	}
	return &short
}

// WriteJSON writes the result as JSON.
func (r *Result) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
