//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
)

// runningService is a process that serves timedecay_shallow with seeded weights.
type runningService struct {
	command    *exec.Cmd
	web, calls string
	log        *bytes.Buffer
	ended      chan error
}

// serveProcess starts "serve" with further flags, and waits until it is ready.
func serveProcess(t *testing.T, store string, flags ...string) *runningService {
	if _, err := runtimePath(); err != nil {
		require.NotEqual(t, "1", os.Getenv(requireEnv), "%v", err)
		t.Skip("needs libtensorflow:", err)
	}
	s := &runningService{log: &bytes.Buffer{}, ended: make(chan error, 1)}
	s.command = exec.Command(program, append([]string{"serve", "--model", "timedecay_shallow", "--weights", "seeded:1",
		"--store", store}, flags...)...)
	messages, err := s.command.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, s.command.Start())
	t.Cleanup(func() { s.command.Process.Kill() })
	ready := make(chan bool, 1)
	go func() {
		addresses := regexp.MustCompile(`listening: (?:(?:https?://|HTTP on )(\S+?))?(?:, )?(?:gRPC on (\S+))?$`)
		for lines := bufio.NewScanner(messages); lines.Scan(); {
			fmt.Fprintln(s.log, lines.Text())
			if found := addresses.FindStringSubmatch(lines.Text()); found != nil {
				s.web, s.calls = found[1], found[2]
			}
			if lines.Text() == "ready" {
				ready <- true
			}
		}
		s.ended <- s.command.Wait()
	}()
	select {
	case <-ready:
	case err := <-s.ended:
		require.NoError(t, err, s.log)
		require.Fail(t, "it ended", s.log)
	case <-time.After(2 * time.Minute):
		require.Fail(t, "it does not become ready")
	}
	return s
}

// stop asks the service to end, and requires that it does, with exit code 0.
func (s *runningService) stop(t *testing.T) {
	require.NoError(t, s.command.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-s.ended:
		require.NoError(t, err, s.log)
	case <-time.After(time.Minute):
		require.Fail(t, "it does not end", s.log)
	}
	assert.Contains(t, s.log.String(), "every request that was accepted is answered")
}

// Clients that others wrote get what extract writes, over HTTP and gRPC; so does curl.
func TestServeToOtherClients(t *testing.T) {
	store, dir := t.TempDir(), t.TempDir()
	images := filepath.Join(dir, "images.npy")
	writeImages(t, images, 3)
	out := filepath.Join(dir, "features.npz")
	code, _, stderr := run(t.Context(), "extract", "-q", "--model", "timedecay_shallow", "--weights", "seeded:1",
		"--store", store, "--batch", "3",
		"--layers", "conv5,imnetds", "--include-logits", "--out", out, images)
	require.Equal(t, exitOK, code, stderr)
	s := serveProcess(t, store, "--listen", "127.0.0.1:0", "--grpc", "127.0.0.1:0")

	t.Run("curl", func(t *testing.T) {
		if _, err := exec.LookPath("curl"); err != nil {
			t.Skip(err)
		}
		picture := "../../testdata/pictures/chelsea.png"
		text, err := exec.Command("curl", "-sf", "-F", "picture=@"+picture, s.web+"/v1/classify").Output()
		require.NoError(t, err)
		var answer struct {
			Results json.RawMessage `json:"results"`
		}
		require.NoError(t, json.Unmarshal(text, &answer))
		code, stdout, stderr := run(t.Context(), "classify", "-q", "--json", "--model", "timedecay_shallow", "--weights",
			"seeded:1", "--store", store, picture)
		require.Equal(t, exitOK, code, stderr)
		assert.JSONEq(t, stdout, string(answer.Results))

		served, written := filepath.Join(dir, "served.npz"), filepath.Join(dir, "written.npz")
		require.NoError(t, exec.Command("curl", "-sf", "-F", "picture=@"+picture, "-F", "layers=conv5", "-F", "reduce=gap",
			"-F", "format=npz", "-o", served, s.web+"/v1/extract").Run())
		code, _, stderr = run(t.Context(), "extract", "-q", "--model", "timedecay_shallow", "--weights", "seeded:1",
			"--store", store, "--layers", "conv5",
			"--reduce", "gap", "--out", written, picture)
		require.Equal(t, exitOK, code, stderr)
		assert.Equal(t, readLayer(t, written, "conv5"), readLayer(t, served, "conv5"))
	})
	for _, clients := range []string{"triton", "kserve"} {
		t.Run(clients, func(t *testing.T) {
			modules := map[string]string{"triton": "tritonclient.http, tritonclient.grpc", "kserve": "kserve"}[clients]
			python := interpreter(t, "TFCONVRNN_SERVING_PYTHON", "python3", modules, "scripts/python-requirements-serving.txt")
			text, err := exec.Command(python, "testdata/check_serve.py", clients, s.web, s.calls, "timedecay_shallow", images,
				out).CombinedOutput()
			require.NoError(t, err, "%s", text)
			assert.GreaterOrEqual(t, strings.Count(string(text), "equals extract"), 3)
		})
	}
	s.stop(t)
}

// The manifests are what the models of KServe's and Kubernetes' Python packages take.
func TestServeManifests(t *testing.T) {
	python := interpreter(t, "TFCONVRNN_SERVING_PYTHON", "python3", "kserve, kubernetes, yaml",
		"scripts/python-requirements-serving.txt")
	text, err := exec.Command(python, "testdata/check_manifests.py", "../../docs/manifests/deployment.yaml",
		"../../docs/manifests/servingruntime.yaml").CombinedOutput()
	require.NoError(t, err, "%s", text)
	for _, kind := range []string{"Deployment", "Service", "ServingRuntime"} {
		assert.Contains(t, string(text), kind+" is valid")
	}
}

// writeImages writes an array of images of noise.
func writeImages(t *testing.T, name string, n int) {
	data := make([]byte, n*224*224*3)
	for i := range data {
		data[i] = byte(i * 7919 >> 5)
	}
	head := fmt.Sprintf("{'descr': '|u1', 'fortran_order': False, 'shape': (%d, 224, 224, 3), }", n)
	head += strings.Repeat(" ", 117-len(head)) + "\n"
	require.NoError(t, os.WriteFile(name, append([]byte("\x93NUMPY\x01\x00\x76\x00"+head), data...), 0o666))
}

func readLayer(t *testing.T, file, layer string) []float32 {
	store, err := features.Open(file)
	require.NoError(t, err)
	defer store.Close()
	values, err := store.Read(t.Context(), layer, 0, len(store.Stimuli()), nil)
	require.NoError(t, err)
	return values
}

// A service that is asked to end under load answers what it has begun to answer, whole, and ends
// with exit code 0; over a Unix socket, which it removes.
func TestServeEndsUnderLoad(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	s := serveProcess(t, t.TempDir(), "--listen", "unix:"+socket)
	picture, err := os.ReadFile("../../testdata/pictures/chelsea.png")
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}, DisableKeepAlives: true,
	}}
	body := "--b\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"a.png\"\r\n\r\n" + string(picture) +
		"\r\n--b--\r\n"
	var answered, refused, cut atomic.Int64
	var clients sync.WaitGroup
	stopped := make(chan struct{})
	for range 8 {
		clients.Go(func() {
			for {
				response, err := client.Post("http://localhost/v1/classify", "multipart/form-data; boundary=b",
					strings.NewReader(body))
				if err != nil {
					select {
					case <-stopped: // it listens no more
						return
					default:
						assert.NoError(t, err)
						return
					}
				}
				text, err := io.ReadAll(response.Body)
				response.Body.Close()
				switch {
				case err != nil:
					cut.Add(1)
				case response.StatusCode == http.StatusOK && json.Valid(text):
					answered.Add(1)
				case response.StatusCode == http.StatusServiceUnavailable:
					refused.Add(1)
				default:
					assert.Fail(t, "answer", "%d %s", response.StatusCode, text)
				}
			}
		})
	}
	require.Eventually(t, func() bool { return answered.Load() > 10 }, time.Minute, time.Millisecond)
	close(stopped)
	s.stop(t)
	clients.Wait()
	assert.Zero(t, cut.Load(), "no answer is cut short")
	assert.NoFileExists(t, socket)
	t.Logf("%d requests answered, %d refused at the end", answered.Load(), refused.Load())
}

// A trace shows each run, with images numbered through all of them.
func TestServeTrace(t *testing.T) {
	name := filepath.Join(t.TempDir(), "trace.json")
	s := serveProcess(t, t.TempDir(), "--listen", "127.0.0.1:0", "--trace", name)
	picture, err := os.ReadFile("../../testdata/pictures/chelsea.png")
	require.NoError(t, err)
	body := "--b\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"a.png\"\r\n\r\n" + string(picture) +
		"\r\n--b--\r\n"
	for range 3 {
		response, err := http.Post("http://"+s.web+"/v1/classify", "multipart/form-data; boundary=b", strings.NewReader(body))
		require.NoError(t, err)
		response.Body.Close()
		require.Equal(t, http.StatusOK, response.StatusCode)
	}
	assert.NoFileExists(t, name, "it is there when it is whole")
	s.stop(t)
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	var events []struct {
		Name, Ph string
		Dur      float64
		Args     map[string]any
	}
	require.NoError(t, json.Unmarshal(text, &events))
	first := map[any]bool{}
	for _, e := range events {
		if strings.HasPrefix(e.Name, "run ") && e.Ph == "X" {
			assert.Positive(t, e.Dur)
			first[e.Args["first"]] = true
		}
	}
	assert.Len(t, first, 3, "%s", text)
}

// A second signal does not wait for what was accepted.
func TestServeEndsAtOnce(t *testing.T) {
	s := serveProcess(t, t.TempDir(), "--listen", "127.0.0.1:0")
	// A body that does not come keeps the service from ending.
	connection, err := net.Dial("tcp", s.web)
	require.NoError(t, err)
	defer connection.Close()
	_, err = io.WriteString(connection, "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n"+
		"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100\r\n\r\n-")
	require.NoError(t, err)
	time.Sleep(100 * time.Millisecond)
	require.NoError(t, s.command.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-s.ended:
		require.Fail(t, "it ended with a request that it had accepted", "%v", err)
	case <-time.After(500 * time.Millisecond):
	}
	require.NoError(t, s.command.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-s.ended:
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		assert.Equal(t, syscall.SIGTERM, exit.Sys().(syscall.WaitStatus).Signal())
	case <-time.After(10 * time.Second):
		require.Fail(t, "it does not end")
	}
}

// What is asked for by mistake is said before anything is loaded.
func TestServeRefuses(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("short\n"), 0o600))
	for _, c := range []struct {
		arguments []string
		code      int
		says      string
	}{
		{nil, exitUsage, "which model?"},
		{[]string{"--model", "none"}, exitUsage, "none"},
		{[]string{"--model", "timedecay_shallow,timedecay_shallow"}, exitUsage, "named twice"},
		{[]string{"--model", "timedecay_shallow", "--listen", "0.0.0.0:0"}, exitUsage,
			"give --token-file, or --insecure-no-token"},
		{[]string{"--model", "timedecay_shallow", "--listen", "here"}, exitUsage, "here"},
		{[]string{"--model", "timedecay_shallow", "--listen", ""}, exitUsage, "nothing to listen on"},
		{[]string{"--model", "timedecay_shallow", "--token-file", token}, exitInput, "too few to be a secret"},
		{[]string{"--model", "timedecay_shallow", "--token-file", token + "0"}, exitInput, "no such file"},
		{[]string{"--model", "timedecay_shallow", "--tls-cert", "cert.pem"}, exitUsage, "a certificate and its key"},
		{[]string{"--model", "timedecay_shallow", "--max-queue", "0"}, exitUsage, "--max-queue"},
		{[]string{"--model", "timedecay_shallow", "--batch", "4"}, exitUsage, "--max-batch"},
		{[]string{"--model", "timedecay_shallow", "cat.jpg"}, exitUsage, "cat.jpg"},
	} {
		code, _, stderr := run(t.Context(), append([]string{"serve"}, c.arguments...)...)
		assert.Equal(t, c.code, code, "%v: %s", c.arguments, stderr)
		assert.Contains(t, stderr, c.says)
	}
}
