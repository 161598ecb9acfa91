// Package s3server runs an S3-compatible server for tests, behind a proxy that cuts
// connections at random.
package s3server

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Env names the program of the server, MinIO; scripts/prove_s3.sh builds it.
const Env = "TFCONVRNN_MINIO"

// Server is a running server with an empty bucket.
type Server struct {
	// Bucket is the URL of the bucket.
	Bucket string
	proxy  *proxy
}

// Start starts the server for a test, and makes AWS's SDK talk to it: through a proxy
// on loopback, which cuts nothing yet. The test skips where Env names no server.
func Start(t *testing.T) *Server {
	t.Helper()
	program := os.Getenv(Env)
	if program == "" {
		t.Skipf("needs an S3 server: %s names none (scripts/prove_s3.sh builds one)", Env)
	}
	data := t.TempDir()
	const bucket = "features"
	if err := os.Mkdir(filepath.Join(data, bucket), 0o777); err != nil { // MinIO takes folders for buckets
		t.Fatal(err)
	}
	address := freeAddress(t)
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, program, "server", "--quiet", "--address", address, "--console-address",
		freeAddress(t), data)
	command.Env = append(os.Environ(), "MINIO_ROOT_USER=tester", "MINIO_ROOT_PASSWORD=not-a-secret", "MINIO_BROWSER=off",
		"MINIO_UPDATE=off")
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = command.Wait()
		log.Close()
	})
	client := &http.Client{Timeout: 5 * time.Second}
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		response, err := client.Get("http://" + address + "/minio/health/live")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(begun) > time.Minute {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("the server does not answer: %v\n%s", err, text)
		}
	}
	p, err := newProxy(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_REGION": "us-east-1",
		"AWS_ENDPOINT_URL": "http://" + p.listener.Addr().String(), "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	return &Server{"s3://" + bucket, p}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Cut has each connection cut, from now on, after a random number of bytes in either
// direction, about mean on average; 0 cuts none any more.
func (s *Server) Cut(mean int64) { s.proxy.mean.Store(mean) }

// Cuts is the number of connections cut so far.
func (s *Server) Cuts() int64 { return s.proxy.cuts.Load() }

// proxy passes bytes on until it cuts a connection.
type proxy struct {
	listener net.Listener
	target   string
	mean     atomic.Int64
	cuts     atomic.Int64
	mu       sync.Mutex
	open     map[net.Conn]bool
	group    sync.WaitGroup
}

func newProxy(target string) (*proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: listener, target: target, open: map[net.Conn]bool{}}
	p.group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.group.Go(func() { p.serve(client) })
		}
	})
	return p, nil
}

func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	for c := range p.open {
		c.Close()
	}
	p.mu.Unlock()
	p.group.Wait()
}

func (p *proxy) keep(c net.Conn, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if open {
		p.open[c] = true
	} else {
		delete(p.open, c)
	}
}

func (p *proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		client.Close()
		return
	}
	for _, c := range []net.Conn{client, server} {
		p.keep(c, true)
		defer p.keep(c, false)
	}
	left := &atomic.Int64{}
	left.Store(1 << 62)
	if mean := p.mean.Load(); mean > 0 {
		left.Store(1 + int64(rand.ExpFloat64()*float64(mean)))
	}
	var once sync.Once
	end := func(cut bool) {
		once.Do(func() {
			if cut {
				p.cuts.Add(1)
				for _, c := range []net.Conn{client, server} {
					if tcp, ok := c.(*net.TCPConn); ok {
						_ = tcp.SetLinger(0) // a reset, not an orderly end
					}
				}
			}
			client.Close()
			server.Close()
		})
	}
	var group sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		group.Go(func() {
			buffer := make([]byte, 16<<10)
			for {
				n, err := way[0].Read(buffer)
				if n > 0 {
					if left.Add(-int64(n)) < 0 {
						_, _ = way[1].Write(buffer[:rand.IntN(n)])
						end(true)
						return
					}
					if _, err := way[1].Write(buffer[:n]); err != nil {
						end(false)
						return
					}
				}
				if err != nil {
					end(false)
					return
				}
			}
		})
	}
	group.Wait()
}
