package benchmark

import (
	"slices"
)

// Spread is the median of some measurements with its quartiles.
type Spread struct {
	Median        float64 `json:"median"`
	LowerQuartile float64 `json:"lower_quartile"`
	UpperQuartile float64 `json:"upper_quartile"`
}

// spreadOf interpolates linearly between measurements, so that the median is the
// usual one.
func spreadOf(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	quantile := func(p float64) float64 {
		position := p * float64(len(sorted)-1)
		below := int(position)
		above := min(below+1, len(sorted)-1)
		return sorted[below] + (position-float64(below))*(sorted[above]-sorted[below])
	}
	return Spread{quantile(0.5), quantile(0.25), quantile(0.75)}
}

// Contestant holds what was measured of one.
type Contestant struct {
	Name string `json:"name"`
	// GMACPerImage are the multiply-accumulates of a run per image, in 1e9, and
	// GMACOnce those of a process's first run only.
	GMACPerImage float64 `json:"gmac_per_image"`
	GMACOnce     float64 `json:"gmac_once"`
	// SecondsPerImage are wall time, CPUSecondsPerImage the time of all cores
	// together.
	SecondsPerImage    Spread  `json:"seconds_per_image"`
	CPUSecondsPerImage Spread  `json:"cpu_seconds_per_image"`
	ImagesPerSecond    float64 `json:"images_per_second"`
	// GFLOPS are floating-point operations per second of wall time, in 1e9, two
	// for each multiply-accumulate, and GFLOPPerCPUSecond those per second of a
	// core. OfPeak and OfCPUPeak compare them with the GEMM's.
	GFLOPS            float64 `json:"gflops"`
	OfPeak            float64 `json:"of_peak"`
	GFLOPPerCPUSecond float64 `json:"gflop_per_cpu_second,omitempty"`
	OfCPUPeak         float64 `json:"of_cpu_peak,omitempty"`
	// PeakRSSBytes is the largest resident set of a process that loads the variant
	// and runs the batch twice.
	PeakRSSBytes int64 `json:"peak_rss_bytes,omitempty"`
	// FirstResult is measured in new processes, one image at a time, with the
	// SavedModel already converted; not for PlainEveryLayer.
	FirstResult *FirstResult `json:"first_result,omitempty"`
}

// FirstResult says how long the first results took, in seconds.
type FirstResult struct {
	// FromProcessStart is the time from the start of a process to its first
	// features, OtherFetches that of a later request in the same process whose
	// fetches were not used before. WithoutKept is FromProcessStart where no earlier
	// process has left the constants that it computed. All are medians.
	FromProcessStart float64 `json:"seconds_from_process_start"`
	OtherFetches     float64 `json:"seconds_of_other_fetches"`
	WithoutKept      float64 `json:"seconds_from_process_start_without_kept_constants"`
}

// Ratio compares the plain unroll with the light cone: above 1 the latter is
// faster. Each measurement is of two runs of the same round.
type Ratio struct {
	Of      string `json:"of"`
	To      string `json:"to"`
	Seconds Spread `json:"seconds"`
	CPU     Spread `json:"cpu_seconds"`
}
