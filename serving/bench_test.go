package serving

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// The benchmarks measure what docs/serving.md says:
//
//	TFCONVRNN_LOAD_SECONDS=20 go test ./serving -run '^$' -bench . -benchtime 1x
//
// Each measurement lasts so many seconds.
func loadSeconds() time.Duration {
	if n, err := strconv.ParseFloat(os.Getenv("TFCONVRNN_LOAD_SECONDS"), 64); err == nil {
		return time.Duration(n * float64(time.Second))
	}
	return 2 * time.Second
}

// resident is the memory of the process, in MB.
func resident(t testing.TB) float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	require.NoError(t, err)
	return float64(pages*os.Getpagesize()) / 1e6
}

// poster sends one request again and again over kept connections.
type poster struct {
	client    *http.Client
	url, head string
	body      []byte
}

// newPoster asks for the readout of images, over TCP or a Unix socket.
func newPoster(b testing.TB, options Options, images int, socket bool) *poster {
	s, _ := newTestService(b, options)
	l := Listening{HTTP: "127.0.0.1:0"}
	if socket {
		l.HTTP = "unix:" + filepath.Join(b.TempDir(), "s")
	}
	address, stop := serveAt(b, s, l)
	b.Cleanup(func() { require.NoError(b, stop()) })
	p := &poster{url: "http://" + address + inferPath}
	transport := &http.Transport{MaxIdleConnsPerHost: 1000}
	if socket {
		p.url = "http://localhost" + inferPath
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", address)
		}
	}
	p.client = &http.Client{Transport: transport}
	body := fmt.Sprintf(
		`{"inputs":[{"name":"images","datatype":"UINT8","shape":[%d,224,224,3],"parameters":{"binary_data_size":%d}}],`+
			`"outputs":[{"name":"imnetds","parameters":{"binary_data":true}}]}`, images, images*imageValues)
	p.body, p.head = binaryRequest(body, randomPixels(images, 1))
	return p
}

// post sends the request and reads the answer whole.
func (p *poster) post(t testing.TB) (status int) {
	request, err := http.NewRequest("POST", p.url, bytes.NewReader(p.body))
	require.NoError(t, err)
	request.Header.Set(binaryHeader, p.head)
	response, err := p.client.Do(request)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Error(err)
	}
	return response.StatusCode
}

// clients has so many clients post for a while, and returns the answers with 200 a second.
func (p *poster) clients(t testing.TB, n int, duration, pause time.Duration) (good, refused float64) {
	var answered, busy atomic.Int64
	var group sync.WaitGroup
	begin := time.Now()
	for range n {
		group.Go(func() {
			for time.Since(begin) < duration {
				switch status := p.post(t); status {
				case http.StatusOK:
					answered.Add(1)
				case http.StatusTooManyRequests:
					busy.Add(1)
					time.Sleep(pause)
				default:
					t.Error("status", status)
					return
				}
			}
		})
	}
	group.Wait()
	seconds := time.Since(begin).Seconds()
	return float64(answered.Load()) / seconds, float64(busy.Load()) / seconds
}

// libraryRate is the images a second of Extract in batches.
func libraryRate(t testing.TB, batch int, duration time.Duration) float64 {
	stimuli, err := tfconvrnn.FromUint8(randomPixels(batch, 2))
	require.NoError(t, err)
	begin, images := time.Now(), 0
	endless := func(yield func(tfconvrnn.Stimulus) bool) {
		for time.Since(begin) < duration {
			for _, s := range stimuli {
				if !yield(s) {
					return
				}
			}
		}
	}
	require.NoError(t, loaded(t).Stream(t.Context(), endless, func(b *tfconvrnn.Batch) error {
		images += len(b.Stimuli)
		return nil
	}, tfconvrnn.Layers("imnetds"), tfconvrnn.BatchSize(batch)))
	return float64(images) / time.Since(begin).Seconds()
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// BenchmarkClients: 16 clients of one image each beside Extract in batches of 16 and in those of the runs, 8, in turns.
func BenchmarkClients(b *testing.B) {
	var mu sync.Mutex
	var runs []tfconvrnn.Span
	p := newPoster(b, Options{MaxBatch: 16, Trace: func(s tfconvrnn.Span) {
		if s.Stage == tfconvrnn.StageRun {
			mu.Lock()
			runs = append(runs, s)
			mu.Unlock()
		}
	}}, 1, false)
	p.clients(b, 16, time.Second/2, 0)
	for b.Loop() {
		var library, service, shares, sharesOf8 []float64
		for range 5 {
			l, of8 := libraryRate(b, 16, loadSeconds()/5), libraryRate(b, 8, loadSeconds()/5)
			s, _ := p.clients(b, 16, loadSeconds()/5, 0)
			library, service = append(library, l), append(service, s)
			shares, sharesOf8 = append(shares, 100*s/l), append(sharesOf8, 100*s/of8)
		}
		b.ReportMetric(median(library), "extract-images/s")
		b.ReportMetric(median(service), "images/s")
		b.ReportMetric(median(shares), "%-of-extract")
		b.ReportMetric(median(sharesOf8), "%-of-extract-in-8")
		var gaps, batches []float64
		for i := range len(runs) - 1 {
			gaps = append(gaps, runs[i+1].Begin.Sub(runs[i].End).Seconds()*1e3)
			batches = append(batches, float64(runs[i].Stimuli))
		}
		b.ReportMetric(median(gaps), "ms-between-runs")
		b.ReportMetric(median(batches), "images/run")
	}
}

// BenchmarkHalfLoad: what a request takes where requests come at random, half as many as can be
// computed.
func BenchmarkHalfLoad(b *testing.B) {
	p := newPoster(b, Options{MaxBatch: 16}, 1, false)
	peak, _ := p.clients(b, 16, loadSeconds()/4, 0)
	random := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		var mu sync.Mutex
		var took []float64
		var group sync.WaitGroup
		for begin := time.Now(); time.Since(begin) < loadSeconds(); {
			time.Sleep(time.Duration(random.ExpFloat64() / (peak / 2) * float64(time.Second)))
			came := time.Now()
			group.Go(func() {
				p.post(b)
				mu.Lock()
				defer mu.Unlock()
				took = append(took, time.Since(came).Seconds()*1e3)
			})
		}
		group.Wait()
		slices.Sort(took)
		for _, percent := range []int{50, 95, 99} {
			b.ReportMetric(took[(len(took)-1)*percent/100], fmt.Sprintf("p%d-ms", percent))
		}
		b.ReportMetric(float64(len(took))/loadSeconds().Seconds(), "images/s")
	}
}

// BenchmarkOverload: what is answered where ten times as many clients come as make the peak, who
// come again after 50 ms; and how the memory grows from its first half to its second.
func BenchmarkOverload(b *testing.B) {
	p := newPoster(b, Options{MaxBatch: 16, MaxQueue: 32}, 1, false)
	for b.Loop() {
		peak, _ := p.clients(b, 16, loadSeconds()/2, 0)
		first, refused := p.clients(b, 160, loadSeconds()/2, 50*time.Millisecond)
		runtime.GC()
		before := resident(b)
		second, _ := p.clients(b, 160, loadSeconds()/2, 50*time.Millisecond)
		runtime.GC()
		b.ReportMetric(100*(first+second)/2/peak, "%-of-peak")
		b.ReportMetric(refused, "refused/s")
		b.ReportMetric(resident(b)-before, "MB-growth")
	}
}

// BenchmarkSteps: a client that sends 20 images a step, beside the library: what a step takes
// more.
func BenchmarkSteps(b *testing.B) {
	for _, socket := range []bool{false, true} {
		name := map[bool]string{false: "TCP", true: "Unix"}[socket]
		b.Run(name, func(b *testing.B) {
			p := newPoster(b, Options{}, 20, socket)
			stimuli, err := tfconvrnn.FromUint8(randomPixels(20, 1))
			require.NoError(b, err)
			library := func() {
				_, err := loaded(b).Extract(b.Context(), stimuli, tfconvrnn.Layers("imnetds"), tfconvrnn.BatchSize(20))
				require.NoError(b, err)
			}
			p.post(b)
			library()
			timed := func(step func()) float64 {
				start := time.Now()
				step()
				return time.Since(start).Seconds() * 1e3
			}
			for b.Loop() {
				// Several steps of each in turn: the library gives memory back every 400 ms, which the step after it pays.
				var alone, served []float64
				for begin := time.Now(); len(served) < 5 || time.Since(begin) < loadSeconds(); {
					for range 5 {
						alone = append(alone, timed(library))
					}
					for range 5 {
						served = append(served, timed(func() { p.post(b) }))
					}
				}
				b.ReportMetric(median(alone), "library-ms")
				b.ReportMetric(median(served)-median(alone), "more-ms")
				b.ReportMetric(slices.Min(served)-slices.Min(alone), "least-more-ms")
			}
		})
	}
}

// TestSoak: many small requests leave the memory as it was. TFCONVRNN_REQUESTS sets how many.
func TestSoak(t *testing.T) {
	requests := 400
	if n, err := strconv.Atoi(os.Getenv("TFCONVRNN_REQUESTS")); err == nil {
		requests = n
	}
	p := newPoster(t, Options{}, 1, false)
	body := fmt.Sprintf(
		`{"parameters":{"presentation":"constant","times":3,"include_all_times":true,"layers":"conv1","reduce":"gap"},`+
			`"inputs":[{"name":"images","datatype":"UINT8","shape":[1,224,224,3],"parameters":{"binary_data_size":%d}}]}`,
		imageValues)
	p.body, p.head = binaryRequest(body, randomPixels(1, 1))
	var group sync.WaitGroup
	var samples []float64
	for part := range 4 {
		for range 4 {
			group.Go(func() {
				for range requests / 16 {
					if status := p.post(t); status != http.StatusOK {
						t.Error("status", status)
						return
					}
				}
			})
		}
		group.Wait()
		runtime.GC()
		samples = append(samples, resident(t))
		t.Logf("resident memory after %d requests: %.0f MB", (part+1)*requests/4, samples[part])
	}
	require.Less(t, samples[3]-samples[1], 60.0, "MB more in the second half")
}
