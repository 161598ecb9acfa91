package tfconvrnn

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"github.com/tfconvrnn/go/internal/bundle"
)

// The decoders below turn the readout's trajectory z, [timesteps, 1000] in C order
// (layer imnetds of a stimulus), into logits [1000]. The models apply their own in
// the graph, which is what Logits extracts; these functions apply any of them to
// what was extracted. They are those of the published code, whose names are given
// with the equations, and the plain average. p_c(t) = exp(β·z_c(t)) / Σ_k exp(β·z_k(t))
// is the probability of class c at timestep t, and q(t) = max_c p_c(t) is the
// confidence.
//
// The published max_conf and thresh decoders look at timesteps from
// FirstDecodedTimestep on: that is where the trajectory passed to them must begin,
// and where the readout of intermediate models is reported from by default.
// All of them are safe for concurrent use, leave the trajectory as it is, and
// return new memory.

// FirstDecodedTimestep is where the published max_conf and thresh decoders begin
// to look at the readout.
const FirstDecodedTimestep = 11

// ErrTrajectory means a readout that cannot be decoded.
var ErrTrajectory = errors.New("unusable readout trajectory")

func timestepsOf(readout []float32) (int, error) {
	if len(readout) == 0 || len(readout)%Classes != 0 {
		return 0, fmt.Errorf("%w: %d values are not [timesteps, %d]", ErrTrajectory, len(readout), Classes)
	}
	for i, v := range readout {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return 0, fmt.Errorf("%w: class %d at its timestep %d is %g", ErrTrajectory, i%Classes, i/Classes, v)
		}
	}
	return len(readout) / Classes, nil
}

func at(readout []float32, timestep int) []float32 {
	return readout[timestep*Classes : (timestep+1)*Classes]
}

// DecodeLast returns the readout at the last timestep T-1 (published name: simple):
//
//	logits_c = z_c(T-1)
//
// Errors wrap ErrTrajectory.
func DecodeLast(readout []float32) ([]float32, error) {
	times, err := timestepsOf(readout)
	if err != nil {
		return nil, err
	}
	return append([]float32(nil), at(readout, times-1)...), nil
}

// confidence is q of one timestep, with the rounding of the graph: where the
// softmax saturates it is exactly 1.
func confidence(z []float32, beta float32) float32 {
	largest := math.Inf(-1)
	for _, v := range z {
		largest = max(largest, float64(beta*v))
	}
	var sum float64
	for _, v := range z {
		sum += math.Exp(float64(beta*v) - largest)
	}
	return 1 / float32(sum)
}

func checkBeta(beta float32) error {
	if beta != beta || math.IsInf(float64(beta), 0) {
		return fmt.Errorf("%w: β is %g", ErrOption, beta)
	}
	return nil
}

// DecodeMaxConfidence returns the readout at the timestep of the greatest
// confidence, the earliest of equal ones (published name: max_conf), and that
// timestep, counted from the beginning of readout:
//
//	logits_c = z_c(argmax_t q(t))
//
// beta is Model.DecoderParameters' for a model's own decoder. Errors wrap
// ErrTrajectory or ErrOption.
func DecodeMaxConfidence(readout []float32, beta float32) (logits []float32, timestep int, err error) {
	return decodeAt(readout, beta, float32(math.Inf(1)))
}

// DecodeThreshold returns the readout at the first timestep whose confidence is at
// least threshold, or else at that of the greatest confidence (published name:
// thresh), and that timestep, counted from the beginning of readout:
//
//	logits_c = z_c(min{t: q(t) ≥ θ}), or z_c(argmax_t q(t)) where there is none
//
// beta and threshold are Model.DecoderParameters' for a model's own decoder; the
// published threshold is 0.9. Errors wrap ErrTrajectory or ErrOption.
func DecodeThreshold(readout []float32, beta, threshold float32) (logits []float32, timestep int, err error) {
	if threshold != threshold {
		return nil, 0, fmt.Errorf("%w: the threshold is %g", ErrOption, threshold)
	}
	return decodeAt(readout, beta, threshold)
}

func decodeAt(readout []float32, beta, threshold float32) ([]float32, int, error) {
	times, err := timestepsOf(readout)
	if err != nil {
		return nil, 0, err
	}
	if err := checkBeta(beta); err != nil {
		return nil, 0, err
	}
	best, greatest := 0, float32(-1)
	for t := range times {
		q := confidence(at(readout, t), beta)
		if q > greatest {
			best, greatest = t, q
		}
		if q >= threshold {
			best = t
			break
		}
	}
	return append([]float32(nil), at(readout, best)...), best, nil
}

// DecodeTimeAverage returns the mean over the timesteps, which is what
// DecodeConfidenceWeighted tends to as its timeBeta goes to 0:
//
//	logits_c = 1/T Σ_t z_c(t)
//
// Errors wrap ErrTrajectory.
func DecodeTimeAverage(readout []float32) ([]float32, error) {
	times, err := timestepsOf(readout)
	if err != nil {
		return nil, err
	}
	weights := make([]float64, times)
	for t := range weights {
		weights[t] = 1 / float64(times)
	}
	return average(readout, weights), nil
}

// DecodeConfidenceWeighted returns the mean over the timesteps, weighted by a
// softmax over time of the confidences (published name: w_time_avg):
//
//	logits_c = Σ_t α(t) z_c(t), α(t) = exp(γ·q(t)) / Σ_s exp(γ·q(s))
//
// beta is the β of q and timeBeta is γ; both are 1 in the published code unless
// they were trained. Errors wrap ErrTrajectory or ErrOption.
func DecodeConfidenceWeighted(readout []float32, beta, timeBeta float32) ([]float32, error) {
	times, err := timestepsOf(readout)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(checkBeta(beta), checkBeta(timeBeta)); err != nil {
		return nil, err
	}
	weights := make([]float64, times)
	for t := range weights {
		weights[t] = float64(timeBeta) * float64(confidence(at(readout, t), beta))
	}
	softmax(weights)
	return average(readout, weights), nil
}

// DecodeSoftmaxAverage returns the mean over the timesteps, weighted for each class
// by itself by a softmax over time of its readout (published name: w_avg):
//
//	logits_c = Σ_t α_c(t) z_c(t), α_c(t) = exp(β·z_c(t)) / Σ_s exp(β·z_c(s))
//
// It lies between the mean over time (β = 0) and the maximum (β → ∞). Errors wrap
// ErrTrajectory or ErrOption.
func DecodeSoftmaxAverage(readout []float32, beta float32) ([]float32, error) {
	times, err := timestepsOf(readout)
	if err != nil {
		return nil, err
	}
	if err := checkBeta(beta); err != nil {
		return nil, err
	}
	logits := make([]float32, Classes)
	weights := make([]float64, times)
	for c := range logits {
		for t := range weights {
			weights[t] = float64(beta) * float64(readout[t*Classes+c])
		}
		softmax(weights)
		var sum float64
		for t, w := range weights {
			sum += w * float64(readout[t*Classes+c])
		}
		logits[c] = float32(sum)
	}
	return logits, nil
}

// softmax replaces values by their softmax.
func softmax(values []float64) {
	largest := math.Inf(-1)
	for _, v := range values {
		largest = max(largest, v)
	}
	var sum float64
	for i, v := range values {
		values[i] = math.Exp(v - largest)
		sum += values[i]
	}
	for i := range values {
		values[i] /= sum
	}
}

func average(readout []float32, weights []float64) []float32 {
	logits := make([]float32, Classes)
	for c := range logits {
		var sum float64
		for t, w := range weights {
			sum += w * float64(readout[t*Classes+c])
		}
		logits[c] = float32(sum)
	}
	return logits
}

// DecoderParameters are the trained parameters of a model's decoder.
type DecoderParameters struct {
	// Decoder is the decoder: last, max_conf or thresh.
	Decoder string
	// Beta is β, for max_conf and thresh.
	Beta float32
	// Threshold is the least confidence, for thresh.
	Threshold float32
}

// DecoderParameters returns the parameters of the model's decoder, from the files of
// its SavedModel. Errors wrap ErrModified or come from reading them.
func (m *Model) DecoderParameters() (DecoderParameters, error) {
	p := DecoderParameters{Decoder: m.info.Decoder}
	if p.Decoder == "last" {
		return p, nil
	}
	variables, err := bundle.Open(filepath.Join(m.dir, "variables", "variables"))
	if err != nil {
		return p, err
	}
	defer variables.Close()
	for suffix, value := range map[string]*float32{"normalize/softmax_beta": &p.Beta, "decoder_threshold": &p.Threshold} {
		if suffix == "decoder_threshold" && p.Decoder != "thresh" {
			continue
		}
		found := false
		for _, e := range variables.Entries() {
			if strings.HasSuffix(e.Name, suffix) && e.Elements() == 1 {
				values, err := variables.ReadFloat32(e.Name)
				if err != nil {
					return p, err
				}
				*value, found = values[0], true
			}
		}
		if !found {
			return p, fmt.Errorf("%w: %s has no variable %s", ErrModified, m.dir, suffix)
		}
	}
	return p, nil
}
