package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var (
	errNothing = errors.New("it printed no result")
	errSkipped = errors.New("a test was skipped")
)

// reports returns what the tests say, one object for each line that begins with "PROVE:".
func reports(output []byte) (list []map[string]any, err error) {
	for l := range bytes.Lines(output) {
		text, ok := bytes.CutPrefix(bytes.TrimSpace(l), []byte("PROVE: "))
		if !ok {
			continue
		}
		var values map[string]any
		if err := json.Unmarshal(text, &values); err != nil {
			return list, fmt.Errorf("%q: %w", text, err)
		}
		list = append(list, values)
	}
	return list, nil
}

var skipped = regexp.MustCompile(`(?m)^--- SKIP: (\S+)`)

// checkTests refuses tests that did not run or were skipped: these show nothing.
func checkTests(output []byte) error {
	if m := skipped.FindSubmatchIndex(output); m != nil {
		before := strings.Split(strings.TrimRight(string(output[:m[0]]), "\n"), "\n")
		return fmt.Errorf("%w: %s", errSkipped, strings.TrimSpace(before[len(before)-1]))
	}
	if !bytes.Contains(output, []byte("--- PASS: ")) && !bytes.Contains(output, []byte("--- FAIL: ")) {
		return errNothing
	}
	return nil
}

// parseTests reads the output of a test that reports one result, or none.
func parseTests(output []byte) (outcome, error) {
	list, err := reports(output)
	if err == nil {
		err = checkTests(output)
	}
	if len(list) == 0 {
		return outcome{}, err
	}
	values := list[len(list)-1]
	return outcome{summary(values), values}, err
}

// reported are the values of tests that are shown, in this order.
var reported = []string{
	"model", "launches", "of_a_timestep", "products", "small", "operations", "kinds_on_device", "elsewhere", "runs",
	"processes", "devices", "batches", "same_bytes", "largest_difference_of_rms", "layer",
	"xla", "nchw", "overlap", "limit_gib", "used_gib", "used_without_limit_gib", "total_gib", "halved_from", "to",
	"smaller_by", "goes_on",
}

// summary writes values in words, without those that every line has.
func summary(values map[string]any) string {
	var words []string
	for _, name := range reported {
		value, ok := values[name]
		if !ok {
			continue
		}
		if number, ok := value.(float64); ok {
			value = fmt.Sprintf("%.3g", number)
		}
		if list, ok := value.(map[string]any); ok && len(list) == 0 {
			value = "none"
		}
		words = append(words, fmt.Sprintf("%s %v", strings.ReplaceAll(name, "_", " "), value))
	}
	return strings.Join(words, ", ")
}

// parseGolden reads the golden tests' output: the worst error of every file.
func parseGolden(output []byte) (outcome, error) {
	list, err := reports(output)
	if err != nil {
		return outcome{}, err
	}
	if len(list) == 0 {
		return outcome{}, errors.Join(checkTests(output), errNothing)
	}
	worst, where := -1.0, ""
	files, models := map[string]any{}, map[any]bool{}
	for _, values := range list {
		number, ok := values["worst"].(float64)
		file, named := values["file"].(string)
		if !ok || !named {
			return outcome{}, fmt.Errorf("a result without its error: %v", values)
		}
		files[file], models[values["model"]] = values, true
		if number > worst {
			worst, where = number, fmt.Sprintf("%s, %v", file, values["where"])
		}
	}
	return outcome{fmt.Sprintf("%d files of %d models, worst %.1e of RMS (%s)", len(files), len(models), worst, where),
		files}, checkTests(output)
}

// parseDoctor reads doctor's findings about the GPU.
func parseDoctor(output []byte) (outcome, error) {
	var findings []struct{ Name, State, Detail, Remedy string }
	if err := decode(output, '[', &findings); err != nil {
		return outcome{}, err
	}
	values := map[string]any{}
	for _, f := range findings {
		values[f.Name] = f.Detail
		if f.Name == "CUDA" && f.State == "warning" {
			return outcome{f.Detail, values}, errors.New(f.Remedy)
		}
	}
	text, ok := values["CUDA"].(string)
	if !ok {
		return outcome{Values: values}, errors.New("doctor says nothing about CUDA")
	}
	return outcome{text, values}, nil
}

// decode reads the JSON in a program's output, which its libraries' messages may come before.
func decode(output []byte, begin byte, to any) error {
	for at := range output {
		if output[at] != begin || at > 0 && output[at-1] != '\n' {
			continue
		}
		if err := json.NewDecoder(bytes.NewReader(output[at:])).Decode(to); err == nil {
			return nil
		}
	}
	return errNothing
}

// benchResult is what is read of bench's JSON.
type benchResult struct {
	Model   string `json:"model"`
	Batch   int    `json:"batch"`
	Machine struct {
		Device, Driver string
		GPUs           []string
	} `json:"machine"`
	Peak struct {
		GFLOPS float64 `json:"gflops"`
		Memory float64 `json:"memory_gb_per_second"`
	} `json:"gemm_peak"`
	Contestants []struct {
		Name   string  `json:"name"`
		Images float64 `json:"images_per_second"`
		OfPeak float64 `json:"of_peak"`
	} `json:"contestants"`
	PrecisionError *struct {
		Layers map[string]float64 `json:"layers"`
		Logits float64            `json:"logits"`
	} `json:"precision_error"`
	Ratios []struct {
		Of, To  string
		Seconds struct{ Median float64 }
	} `json:"ratios"`
	Photographs *struct {
		Count   int     `json:"count"`
		Format  string  `json:"format"`
		Seconds float64 `json:"seconds"`
		Outside float64 `json:"share_outside_session"`
		Cores   float64 `json:"decode_cores"`
	} `json:"photographs"`
}

// parseBench reads bench's JSON.
func parseBench(output []byte) (outcome, error) {
	var r benchResult
	if err := decode(output, '{', &r); err != nil {
		return outcome{}, err
	}
	if len(r.Contestants) == 0 || r.Contestants[0].Images <= 0 {
		return outcome{}, errNothing
	}
	ours := r.Contestants[0]
	words := []string{fmt.Sprintf("%s, batches of %d: %.4g images/s, %.0f %% of %.4g GFLOP/s", r.Model, r.Batch,
		ours.Images, 100*ours.OfPeak, r.Peak.GFLOPS)}
	values := map[string]any{"model": r.Model, "batch": r.Batch, "device": r.Machine.Device,
		"images_per_second": ours.Images, "of_peak": ours.OfPeak,
		"gemm_gflops": r.Peak.GFLOPS, "memory_gb_per_second": r.Peak.Memory}
	for _, ratio := range r.Ratios {
		if ratio.Of == "plain_every_layer" && ratio.To == ours.Name {
			words = append(words, fmt.Sprintf("%.2f times the published way", ratio.Seconds.Median))
			values["ratio"] = ratio.Seconds.Median
		}
	}
	if e := r.PrecisionError; e != nil {
		largest := 0.0
		for _, of := range e.Layers {
			largest = max(largest, of)
		}
		words = append(words, fmt.Sprintf("features off by %.2g, logits by %.2g of RMS", largest, e.Logits))
		values["features_off"], values["logits_off"] = largest, e.Logits
	}
	if p := r.Photographs; p != nil && p.Seconds > 0 {
		words = append(words, fmt.Sprintf(
			"%d photographs to %s at %.4g a second, the device waits for %.0f %% of the time, decoding takes %.2g cores",
			p.Count, p.Format, float64(p.Count)/p.Seconds, 100*p.Outside, p.Cores))
		values["photographs"], values["photographs_per_second"] = p.Count, float64(p.Count)/p.Seconds
		values["share_outside_session"], values["decode_cores"] = p.Outside, p.Cores
	}
	return outcome{strings.Join(words, ", "), values}, nil
}
