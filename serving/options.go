package serving

import (
	"log/slog"
	"time"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// Options say how a Service behaves. The zero value is for a service on one's own machine.
type Options struct {
	// MaxBatch is the most images of a run; 32 if it is 0. Fewer are taken where the memory
	// that is available asks for it, as Model.Plan does.
	MaxBatch int
	// MaxDelay is the longest that a run waits for others to join; 5 ms if it is 0, not at
	// all if it is negative.
	MaxDelay time.Duration
	// MaxQueue is the most images that may wait, and so the most of a request; 256 if it is
	// 0. Requests beyond it are refused at once.
	MaxQueue int
	// MaxBody is the most bytes of a request, 256 MiB if it is 0.
	MaxBody int64
	// MaxMemory is the most bytes that requests and their results may take together beside
	// the models; 2 GiB if it is 0. Requests for which there is no room are refused.
	MaxMemory int64
	// MaxPixels is the most pixels of an encoded picture, 50 million if it is 0.
	MaxPixels int
	// AtOnce is how many runs are computed at once; 1 if it is 0. It is the number of devices that every model of the
	// service is on (tfconvrnn.WithDevices): each of them computes one run.
	AtOnce int
	// Preprocessing says how encoded pictures become images unless a request says it.
	Preprocessing tfconvrnn.Preprocessing
	// Token, if not empty, is what requests must show: "Authorization: Bearer TOKEN", or as
	// the password of Basic authentication, for which browsers ask. Liveness and readiness
	// need none.
	Token string
	// Hosts are the names, besides localhost and addresses, under which the service is
	// called, so that a web page elsewhere cannot reach it by a name of its own. "*.example.org"
	// stands for the names below, "*" for all. Where there is a Token any name is good.
	Hosts []string
	// NoPage leaves out the page at / and what it uses below /explorer/.
	NoPage bool
	// Log is where failures and panics are reported; slog.Default() if it is nil.
	Log *slog.Logger
	// Trace, if not nil, is called at the end of every stage of every run, with images
	// numbered through all runs; see tfconvrnn.Trace.
	Trace func(tfconvrnn.Span)
}

// withDefaults fills in what is zero.
func (o Options) withDefaults() Options {
	def := func(value *int, otherwise int) {
		if *value <= 0 {
			*value = otherwise
		}
	}
	def(&o.MaxBatch, 32)
	def(&o.MaxQueue, 256)
	def(&o.AtOnce, 1)
	def(&o.MaxPixels, 50_000_000)
	if o.MaxDelay == 0 {
		o.MaxDelay = 5 * time.Millisecond
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 256 << 20
	}
	if o.MaxMemory <= 0 {
		o.MaxMemory = 2 << 30
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}
