package serving

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are what Prometheus reads at /metrics.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec   // by protocol, method and result
	seconds  *prometheus.HistogramVec // of requests, by protocol and method
	stages   *prometheus.HistogramVec // decode, queue, run, copy, encode
	batches  *prometheus.HistogramVec // images of a run, by model
	images   *prometheus.CounterVec   // computed, by model
	panics   prometheus.Counter
}

func newMetrics() *metrics {
	const namespace = "tfconvrnn"
	durations := prometheus.ExponentialBuckets(0.001, 2, 17) // to a minute
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "requests_total",
			Help: "Requests answered."}, []string{"protocol", "method", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: "request_seconds",
			Help:    "From the first byte of a request to the last of its answer.",
			Buckets: durations}, []string{"protocol", "method"}),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: "stage_seconds",
			Help: "Time of a request in decode, queue and encode, and of a run in run and copy.", Buckets: durations},
			[]string{"stage"}),
		batches: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: "batch_images",
			Help: "Images of a run.", Buckets: prometheus.ExponentialBuckets(1, 2, 9)}, []string{"model"}),
		images: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "images_total",
			Help: "Images computed."}, []string{"model"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "panics_total",
			Help: "Requests and runs that ended in a panic."}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.stages, m.batches, m.images, m.panics,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// watch adds gauges of an engine.
func (m *metrics) watch(e *engine) {
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "tfconvrnn", Name: name, Help: help},
			value))
	}
	locked := func(read func() float64) func() float64 {
		return func() float64 {
			e.mu.Lock()
			defer e.mu.Unlock()
			return read()
		}
	}
	gauge("queue_images", "Images that wait or are being decoded.", locked(func() float64 { return float64(e.places) }))
	gauge("memory_reserved_bytes", "Bytes that requests and their results take.", locked(func() float64 {
		return float64(e.bytes)
	}))
}

func (m *metrics) waited(d time.Duration) { m.stages.WithLabelValues("queue").Observe(d.Seconds()) }

// time measures a stage until the returned function is called.
func (m *metrics) time(stage string) (stop func()) {
	begin := time.Now()
	return func() { m.stages.WithLabelValues(stage).Observe(time.Since(begin).Seconds()) }
}

func (m *metrics) ran(model string, images int, took time.Duration) {
	m.stages.WithLabelValues("run").Observe(took.Seconds())
	m.batches.WithLabelValues(model).Observe(float64(images))
	m.images.WithLabelValues(model).Add(float64(images))
}

func (m *metrics) answered(protocol, method, result string, took time.Duration) {
	m.requests.WithLabelValues(protocol, method, result).Inc()
	m.seconds.WithLabelValues(protocol, method).Observe(took.Seconds())
}

// statusText is the label of an HTTP status.
func statusText(status int) string { return strconv.Itoa(status) }
