// Package fetchfile downloads large files over HTTP so that no byte has to come
// twice: a download that was cut goes on where it stopped, in this process or in
// a later one.
//
//	file, err := fetchfile.Fetch(ctx, "https://example.org/big", "cache/big.part", fetchfile.Options{})
//
// What has arrived of an address is kept in the file part, and what the server
// calls that state of it (RFC 9110: a strong ETag, else Last-Modified) in
// part.tag. Whether the bytes are the right ones is for the caller to check, who
// calls Discard if they are not. One process at a time may fetch to a part.
package fetchfile

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// ErrAddress says that an address is no http or https URL.
var ErrAddress = errors.New("no http or https URL")

// ErrDownload is wrapped by the errors of Fetch that are about the network or the server.
var ErrDownload = errors.New("download failed")

// A StatusError is an HTTP status that ends a download.
type StatusError struct {
	Code   int
	Status string // code and text
}

// Error names the status.
func (e *StatusError) Error() string { return "the server answered " + e.Status }

// The defaults of Options.
const (
	DefaultTries        = 8
	DefaultPause        = 500 * time.Millisecond
	DefaultStallTimeout = time.Minute
)

const (
	maxPause = 30 * time.Second
	// stallBytes is the least that must arrive in a stall timeout: what a server
	// drips slower than this would take longer than anyone waits.
	stallBytes = 4096
	// progressBytes is how much a try must bring for the count of tries to begin
	// again: a large file over a bad line needs many.
	progressBytes = 256 << 10
)

// Options steer a download; the zero value is the default.
type Options struct {
	// Limit is the most bytes that are accepted; 0 means 1 TiB.
	Limit int64
	// Tries is how often in a row the server may fail while next to nothing comes.
	Tries int
	// Pause is waited after the first failure. It doubles with each further one,
	// up to 30 s, and is shortened at random by up to a half, so that clients that
	// failed together do not come back together.
	Pause time.Duration
	// Seed seeds these random numbers.
	Seed uint64
	// StallTimeout ends a try in which fewer than 4096 bytes arrive in it.
	StallTimeout time.Duration
	// Client is used for the requests; Client() if nil.
	Client *http.Client
	// Progress, if not nil, is called with the bytes that are there and those of
	// the whole file, 0 if the server does not say.
	Progress func(done, total int64)
}

// File is a file that was fetched.
type File struct {
	Size int64
	// MD5 is what the server says the MD5 is, by Content-MD5 or an ETag that looks
	// like one, in lower-case hexadecimal; "" if it says nothing.
	MD5 string
	// MD5FromETag says that MD5 is an ETag, which need not be one.
	MD5FromETag bool
}

// Client returns a client that goes through the proxy that the environment names
// (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), and does not follow redirects from https
// to http.
func Client() *http.Client {
	return &http.Client{CheckRedirect: func(request *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errTooManyRedirects
		}
		if via[0].URL.Scheme == "https" && request.URL.Scheme != "https" {
			return errDowngrade
		}
		return nil
	}}
}

var (
	errTooManyRedirects = errors.New("the server redirected 10 times")
	errDowngrade        = errors.New("the server redirected from https to http")
)

// Fetch downloads address to the file part. Errors wrap ErrAddress or ErrDownload
// (and *StatusError), or come from the file system or ctx; after them part is kept
// for the next call.
func Fetch(ctx context.Context, address, part string, o Options) (File, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Scheme != "https" && parsed.Scheme != "http" || parsed.Host == "" {
		return File{}, fmt.Errorf("%w: %w: %s", ErrDownload, ErrAddress, Redact(address))
	}
	o.complete()
	h := fnv.New64a()
	_, _ = io.WriteString(h, address)
	random := rand.New(rand.NewPCG(o.Seed, h.Sum64()))
	d := downloader{Options: o, address: address, part: part, tag: part + tagSuffix}
	pause := o.Pause
	for failures := 0; ; {
		before := d.size()
		file, err := d.try(ctx)
		if err == nil {
			return file, nil
		}
		if ctx.Err() != nil {
			return File{}, context.Cause(ctx)
		}
		var stop permanent
		if errors.As(err, &stop) {
			if stop.disk {
				return File{}, stop.error
			}
			return File{}, fmt.Errorf("%w: %s: %w", ErrDownload, Redact(address), withoutAddress(stop.error))
		}
		if d.size() >= before+progressBytes {
			failures, pause = 0, o.Pause
		}
		failures++
		if failures >= o.Tries {
			return File{}, fmt.Errorf("%w: %s: %w (%d tries)", ErrDownload, Redact(address), withoutAddress(err), failures)
		}
		wait := pause - time.Duration(random.Float64()*float64(pause)/2)
		var asked retryAfter
		if errors.As(err, &asked) {
			wait = max(wait, asked.wait)
		}
		pause = min(2*pause, maxPause)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return File{}, context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// Redact returns an address as it may be shown and recorded: without user, password,
// query and fragment, which may hold secrets (a signature, a token).
func Redact(address string) string {
	const hidden = "xxxxx"
	parsed, err := url.Parse(address)
	if err != nil || parsed.Opaque != "" {
		return "an address that cannot be parsed"
	}
	if parsed.User != nil {
		parsed.User = url.User(hidden)
	}
	if parsed.RawQuery != "" {
		parsed.RawQuery = hidden
	}
	parsed.Fragment, parsed.RawFragment = "", ""
	return parsed.String()
}

// withoutAddress returns what the http package wraps in an error that shows the whole
// address, or that of a redirection.
func withoutAddress(err error) error {
	var shown *url.Error
	for errors.As(err, &shown) {
		err = shown.Err
	}
	if strings.HasPrefix(err.Error(), "failed to parse Location header") { // and then the header
		return errors.New("the server redirected to an address that cannot be parsed")
	}
	return err
}

func (o *Options) complete() {
	if o.Limit == 0 {
		o.Limit = 1 << 40
	}
	if o.Tries == 0 {
		o.Tries = DefaultTries
	}
	if o.Pause == 0 {
		o.Pause = DefaultPause
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = DefaultStallTimeout
	}
	if o.Client == nil {
		o.Client = Client()
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
}

const tagSuffix = ".tag"

// Discard removes what has arrived at part.
func Discard(part string) {
	_ = os.Remove(part)
	_ = os.Remove(part + tagSuffix)
}

// Size asks the server how large a file is; -1 means that it does not say. Errors
// are those of Fetch, but nothing is tried twice.
func Size(ctx context.Context, address string, o Options) (int64, error) {
	o.complete()
	ctx, cancel := context.WithTimeout(ctx, o.StallTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		return -1, fmt.Errorf("%w: %w: %s", ErrDownload, ErrAddress, Redact(address))
	}
	request.Header.Set("Accept-Encoding", "identity")
	response, err := o.Client.Do(request)
	if err != nil {
		return -1, fmt.Errorf("%w: %s: %w", ErrDownload, Redact(address), withoutAddress(err))
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return -1, fmt.Errorf("%w: %w", ErrDownload, &StatusError{response.StatusCode, response.Status})
	}
	return response.ContentLength, nil
}

// permanent marks an error that another try would meet again.
type permanent struct {
	error
	disk bool // it is not about the network
}

func (p permanent) Unwrap() error { return p.error }

// retryAfter is an error after which the server asked to wait.
type retryAfter struct {
	error
	wait time.Duration
}

func (r retryAfter) Unwrap() error { return r.error }

type downloader struct {
	Options
	address   string
	part, tag string
}

func (d *downloader) size() int64 {
	info, err := os.Stat(d.part)
	if err != nil {
		return 0
	}
	return info.Size()
}

// try makes one request.
func (d *downloader) try(ctx context.Context) (File, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := newWatch(d.StallTimeout, cancel)
	defer watch.stop()

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.address, nil)
	if err != nil {
		return File{}, permanent{error: err}
	}
	// Without this header the transport would unpack what a server calls gzip-encoded.
	request.Header.Set("Accept-Encoding", "identity")
	// The download goes on only with a tag to compare: without one, the rest might be
	// that of another file.
	have := int64(0)
	if tag, err := os.ReadFile(d.tag); err == nil {
		if have = d.size(); have > 0 {
			request.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
			request.Header.Set("If-Range", string(tag))
		}
	}
	response, err := d.Client.Do(request)
	if err != nil {
		err = because(ctx, err)
		if hopeless(err) {
			return File{}, permanent{error: err}
		}
		return File{}, err
	}
	defer response.Body.Close()
	return d.take(ctx, response, have, watch)
}

// take takes what the server answers to a request for a file of which so many bytes are there.
func (d *downloader) take(ctx context.Context, r *http.Response, have int64, watch *watch) (file File, err error) {
	file.MD5, file.MD5FromETag = statedMD5(r)
	mode := os.O_WRONLY | os.O_CREATE
	total := r.ContentLength
	switch r.StatusCode {
	case http.StatusOK:
		have = 0
		mode |= os.O_TRUNC
		if err := d.keepTag(r.Header); err != nil {
			return File{}, permanent{err, true}
		}
	case http.StatusPartialContent:
		start, whole, ok := contentRange(r.Header.Get("Content-Range"))
		if !ok || start != have {
			Discard(d.part)
			return File{}, fmt.Errorf("the server sent the range %q, asked from byte %d",
				r.Header.Get("Content-Range"), have)
		}
		mode |= os.O_APPEND
		total = whole
	case http.StatusRequestedRangeNotSatisfiable:
		// The file is complete if the server says so; otherwise the download starts
		// again.
		whole, err := strconv.ParseInt(strings.TrimPrefix(r.Header.Get("Content-Range"), "bytes */"), 10, 64)
		if err == nil && whole == have && have > 0 {
			d.Progress(have, have)
			file.Size = have
			return file, nil
		}
		Discard(d.part)
		return File{}, errors.New("the server cannot go on from where the download stopped")
	default:
		return File{}, statusError(r)
	}
	if total > d.Limit {
		return File{}, permanent{error: fmt.Errorf("it has %d bytes, more than %d", total, d.Limit)}
	}
	if file.Size, err = d.write(ctx, r.Body, mode, have, total, watch); err != nil {
		return File{}, err
	}
	return file, nil
}

// write appends what arrives to the part of the file that is there, and returns the size of the whole.
func (d *downloader) write(ctx context.Context, from io.Reader, mode int, have, total int64, w *watch) (int64, error) {
	out, err := os.OpenFile(d.part, mode, 0o666)
	if err != nil {
		return 0, permanent{err, true}
	}
	body := io.LimitReader(from, d.Limit-have+1)
	n, err := copyTo(out, body, func(n int64) {
		w.arrived(n)
		d.Progress(have+n, max(total, 0))
	})
	if closeErr := out.Close(); closeErr != nil {
		return 0, permanent{closeErr, true}
	}
	var disk *os.PathError
	switch {
	case errors.As(err, &disk):
		return 0, permanent{err, true}
	case err != nil:
		return 0, because(ctx, err)
	case have+n > d.Limit:
		Discard(d.part)
		return 0, permanent{error: fmt.Errorf("it has more than %d bytes", d.Limit)}
	case total >= 0 && have+n != total:
		if have+n > total {
			Discard(d.part)
		}
		return 0, fmt.Errorf("%d of %d bytes arrived", have+n, total)
	}
	return have + n, nil
}

// because adds why a context was cancelled to the error that came of it.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// hopeless says whether an error of the connection will come again.
func hopeless(err error) bool {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var name *net.DNSError
	return errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &authority) ||
		errors.As(err, &name) && name.IsNotFound || errors.Is(err, errTooManyRedirects) || errors.Is(err, errDowngrade)
}

func statusError(response *http.Response) error {
	err := &StatusError{response.StatusCode, response.Status}
	switch {
	case response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusServiceUnavailable:
		if seconds, parseErr := strconv.Atoi(response.Header.Get("Retry-After")); parseErr == nil && seconds > 0 {
			return retryAfter{err, min(time.Duration(seconds)*time.Second, maxPause)}
		}
		return err
	case response.StatusCode >= 500 || response.StatusCode == http.StatusRequestTimeout:
		return err
	}
	return permanent{error: err}
}

// keepTag stores what If-Range takes. A weak ETag does not promise equal bytes,
// so it does not count; a date counts where it is a second old at least.
func (d *downloader) keepTag(header http.Header) error {
	tag := header.Get("ETag")
	if tag == "" {
		modified, err := http.ParseTime(header.Get("Last-Modified"))
		now, dateErr := http.ParseTime(header.Get("Date"))
		if err == nil && dateErr == nil && now.Sub(modified) >= time.Second {
			tag = header.Get("Last-Modified")
		}
	}
	if tag == "" || strings.HasPrefix(tag, "W/") {
		_ = os.Remove(d.tag)
		return nil
	}
	// An old part with a new tag would be continued as if it were of the new file.
	if err := os.Truncate(d.part, 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(d.tag, []byte(tag), 0o666)
}

// watch cancels a try that brings next to nothing.
type watch struct {
	timer   *time.Timer
	timeout time.Duration
	counted int64
}

func newWatch(timeout time.Duration, cancel context.CancelCauseFunc) *watch {
	return &watch{timeout: timeout, timer: time.AfterFunc(timeout, func() {
		cancel(fmt.Errorf("fewer than %d bytes arrived in %v", stallBytes, timeout))
	})}
}

func (w *watch) arrived(n int64) {
	if n >= w.counted+stallBytes {
		w.counted = n
		w.timer.Reset(w.timeout)
	}
}

func (w *watch) stop() { w.timer.Stop() }

func copyTo(to io.Writer, from io.Reader, report func(done int64)) (int64, error) {
	buffer := make([]byte, 256<<10)
	var done int64
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return done, err
			}
			done += int64(n)
			report(done)
		}
		if errors.Is(err, io.EOF) {
			return done, nil
		}
		if err != nil {
			return done, err
		}
	}
}

// contentRange parses "bytes 5-9/10", whole being -1 for "bytes 5-9/*".
func contentRange(text string) (start, whole int64, ok bool) {
	text, found := strings.CutPrefix(text, "bytes ")
	span, size, cut := strings.Cut(text, "/")
	first, _, dash := strings.Cut(span, "-")
	start, err := strconv.ParseInt(first, 10, 64)
	if !found || !cut || !dash || err != nil || start < 0 {
		return 0, 0, false
	}
	if size == "*" {
		return start, -1, true
	}
	whole, err = strconv.ParseInt(size, 10, 64)
	return start, whole, err == nil && whole >= start
}
