package benchmark

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// What children measure, followed by a colon and the contestant and, for memory,
// another one and the batch size.
const (
	measureMemory = "memory"
	measureFirst  = "first"
	// measureCold is measureFirst where no earlier process has left constants.
	measureCold = "cold"
	// measureTurns computes a batch for each line on standard input, for comparisons with
	// programs that are not this one.
	measureTurns = "turns"
)

// firstRepeats is how many processes the time to the first result is taken from.
const firstRepeats = 3

// childReport is a line that a child prints.
type childReport struct {
	PeakRSSBytes int64 `json:"peak_rss_bytes,omitempty"`
	// First comes when the first features are there.
	First bool `json:"first,omitempty"`
	// Seconds is how long a batch took.
	Seconds float64 `json:"seconds,omitempty"`
	// Other is how many seconds the second request took.
	Other float64 `json:"other_seconds,omitempty"`
}

var errChild = errors.New("a measuring process failed")

// Child does a measurement that needs a process of its own, whose first action it
// should be, and prints it on out for the process that asked for it.
func Child(ctx context.Context, o Options, measurement string, out io.Writer) error {
	parts := strings.Split(measurement+"::", ":")
	kind, name := parts[0], parts[1]
	if batch, err := strconv.Atoi(parts[2]); err == nil {
		o.Batch = batch
	}
	for _, c := range contestants {
		if c.name != name {
			continue
		}
		options := loadOptions(o, c.variant, c.direct)
		switch kind {
		case measureMemory:
			return childMemory(ctx, o, c.everyLayer, options, json.NewEncoder(out))
		case measureTurns:
			return childTurns(ctx, o, c.everyLayer, options, os.Stdin, json.NewEncoder(out))
		case measureFirst:
			return childFirst(ctx, o, c.everyLayer, options, json.NewEncoder(out))
		case measureCold:
			return childFirst(ctx, o, c.everyLayer, append(options, tfconvrnn.WithoutKeptConstants()), json.NewEncoder(out))
		}
	}
	return fmt.Errorf("%w: unknown measurement %q", errChild, measurement)
}

// loaded returns a model, what is computed with it, and a batch of images. The caller closes the model.
func loaded(ctx context.Context, o Options, everyLayer bool, load []tfconvrnn.Option) (m *tfconvrnn.Model,
	x *tfconvrnn.Extraction, images []tfconvrnn.Stimulus, err error) {
	if m, err = tfconvrnn.LoadContext(ctx, o.Model, load...); err != nil {
		return nil, nil, nil, err
	}
	if x, err = plan(m, o, everyLayer); err == nil {
		images, err = tfconvrnn.FromUint8(pictures(x.BatchSize()))
	}
	if err != nil {
		m.Close()
		return nil, nil, nil, err
	}
	return m, x, images, nil
}

// childTurns computes a batch for each line that it reads.
func childTurns(ctx context.Context, o Options, everyLayer bool, load []tfconvrnn.Option, in io.Reader,
	out *json.Encoder) error {
	m, x, images, err := loaded(ctx, o, everyLayer, load)
	if err != nil {
		return err
	}
	defer m.Close()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		begun := time.Now()
		if err := x.Stream(ctx, slices.Values(images), discard); err != nil {
			return err
		}
		report := childReport{Seconds: time.Since(begun).Seconds()}
		if report.PeakRSSBytes, err = peakRSS(); err != nil {
			return err
		}
		if err := out.Encode(report); err != nil {
			return err
		}
	}
	return lines.Err()
}

func childMemory(ctx context.Context, o Options, everyLayer bool, load []tfconvrnn.Option, out *json.Encoder) error {
	m, x, images, err := loaded(ctx, o, everyLayer, load)
	if err != nil {
		return err
	}
	defer m.Close()
	for range 2 {
		if err := x.Stream(ctx, slices.Values(images), discard); err != nil {
			return err
		}
	}
	peak, err := peakRSS()
	if err != nil {
		return err
	}
	return out.Encode(childReport{PeakRSSBytes: peak})
}

func childFirst(ctx context.Context, o Options, everyLayer bool, load []tfconvrnn.Option, out *json.Encoder) error {
	m, err := tfconvrnn.LoadContext(ctx, o.Model, load...)
	if err != nil {
		return err
	}
	defer m.Close()
	images, err := tfconvrnn.FromUint8(pictures(1))
	if err != nil {
		return err
	}
	o.Batch = 1
	request := func(f Fetches, done func() error) error {
		o.Fetches = f
		x, err := plan(m, o, everyLayer)
		if err != nil {
			return err
		}
		return x.Stream(ctx, slices.Values(images), func(*tfconvrnn.Batch) error { return done() })
	}
	if err := request(o.Fetches, func() error { return out.Encode(childReport{First: true}) }); err != nil {
		return err
	}
	var names []string
	for _, l := range m.Info().Layers {
		names = append(names, l.Name)
	}
	var other time.Duration
	begun := time.Now()
	err = request(otherFetches(o.Fetches, names), func() error {
		other = time.Since(begun)
		return nil
	})
	if err != nil {
		return err
	}
	return out.Encode(childReport{Other: other.Seconds()})
}

// otherFetches returns fetches that differ: all layers, or, of all, the last two
// and the logits.
func otherFetches(f Fetches, all []string) Fetches {
	if len(f.Layers) < len(all) {
		return Fetches{Layers: all}
	}
	return Fetches{Layers: all[max(0, len(all)-2):], Logits: !f.Logits}
}

// measureChildren fills in what processes of their own measure.
func (c *contestant) measureChildren(ctx context.Context, o Options) error {
	_, report, err := runChild(ctx, o, fmt.Sprintf("%s:%s:%d", measureMemory, c.Name, o.Batch))
	if err != nil {
		return err
	}
	c.PeakRSSBytes = report.PeakRSSBytes
	if c.Name == PlainEveryLayer {
		return nil
	}
	var first, other, cold []float64
	for range firstRepeats {
		elapsed, report, err := runChild(ctx, o, measureFirst+":"+c.Name)
		if err != nil {
			return err
		}
		first, other = append(first, elapsed.Seconds()), append(other, report.Other)
		if elapsed, _, err = runChild(ctx, o, measureCold+":"+c.Name); err != nil {
			return err
		}
		cold = append(cold, elapsed.Seconds())
	}
	c.FirstResult = &FirstResult{FromProcessStart: spreadOf(first).Median, OtherFetches: spreadOf(other).Median,
		WithoutKept: spreadOf(cold).Median}
	return nil
}

// runChild returns what a child printed last, and how long its first features took
// from the start of the process.
func runChild(ctx context.Context, o Options, measurement string) (first time.Duration, last childReport, err error) {
	cmd := o.Child(ctx, measurement)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, last, err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, last, fmt.Errorf("%w: %w", errChild, err)
	}
	lines := json.NewDecoder(io.LimitReader(out, 1<<20))
	var decodeErr error
	for {
		var r childReport
		if decodeErr = lines.Decode(&r); decodeErr != nil {
			break
		}
		if r.First {
			first = time.Since(begun)
			continue
		}
		last = r
	}
	// A child that prints more than is read must not wait for ever.
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return 0, last, context.Cause(ctx)
		}
		return 0, last, fmt.Errorf("%w: %s: %w: %s", errChild, measurement, err, strings.TrimSpace(stderr.String()))
	}
	if decodeErr != io.EOF || last == (childReport{}) {
		return 0, last, fmt.Errorf("%w: %s printed something else than was expected", errChild, measurement)
	}
	return first, last, nil
}
