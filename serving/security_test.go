package serving

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// emptyService has no model yet.
func emptyService(t testing.TB, options Options) *Service {
	s, err := New([]string{testModel}, options)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// Who may come in, and how the service may be called.
func TestKeepsOthersOut(t *testing.T) {
	const token = "0123456789abcdef"
	for _, c := range []struct {
		name          string
		token         string
		hosts         []string
		host          string
		path          string
		method        string
		authorization string
		headers       map[string]string
		status        int
	}{
		{name: "loopback", host: "127.0.0.1:8080", status: 200},
		{name: "IPv6", host: "[::1]:8080", status: 200},
		{name: "localhost", host: "localhost:8080", status: 200},
		{name: "localhost with a dot", host: "LOCALHOST.", status: 200},
		{name: "address of another interface", host: "192.0.2.7:8080", status: 200},
		{name: "DNS rebinding", host: "evil.example:8080", status: 421},
		{name: "a name that begins like ours", host: "localhost.evil.example", status: 421},
		{name: "health by another name", host: "evil.example", path: "/v2/health/live", status: 421},
		{name: "allowed name", hosts: []string{"lab.example"}, host: "Lab.example:80", status: 200},
		{name: "below an allowed name", hosts: []string{"*.example"}, host: "a.b.example", status: 200},
		{name: "not below it", hosts: []string{"*.example"}, host: "example", status: 421},
		{name: "all", hosts: []string{"*"}, host: "evil.example", status: 200},
		{name: "cross-site post", method: "POST", host: "localhost",
			headers: map[string]string{"Origin": "https://evil.example"}, status: 403},
		{name: "cross-site post by fetch metadata", method: "POST", host: "localhost",
			headers: map[string]string{"Sec-Fetch-Site": "cross-site"}, status: 403},
		{name: "null origin", method: "POST", host: "localhost", headers: map[string]string{"Origin": "null"}, status: 403},
		{name: "post of the page", method: "POST", host: "localhost:80", path: "/v1/classify",
			headers: map[string]string{"Origin": "http://localhost:80"}, status: 400},
		{name: "no token", token: token, host: "localhost", status: 401},
		{name: "wrong token", token: token, host: "localhost", authorization: "Bearer 0123456789abcdeg", status: 401},
		{name: "longer token", token: token, host: "localhost", authorization: "Bearer " + token + "0", status: 401},
		{name: "another scheme", token: token, host: "localhost", authorization: "Digest " + token, status: 401},
		{name: "no scheme", token: token, host: "localhost", authorization: token, status: 401},
		{name: "bearer", token: token, host: "service.svc", authorization: "bearer " + token, status: 200},
		{name: "password", token: token, host: "service.svc", authorization: "Basic OjAxMjM0NTY3ODlhYmNkZWY=", status: 200},
		{name: "bad password", token: token, host: "service.svc", authorization: "Basic ====", status: 401},
		{name: "liveness needs no token", token: token, host: "10.0.0.1", path: "/v2/health/live", status: 200},
		{name: "readiness needs no token", token: token, host: "10.0.0.1", path: "/v2/health/ready", status: 503},
		{name: "but posting there does", token: token, host: "10.0.0.1", method: "POST", path: "/v2/health/live",
			status: 401},
		{name: "metrics do", token: token, host: "10.0.0.1", path: "/metrics", status: 401},
		{name: "a path that looks like health", token: token, host: "10.0.0.1", path: "/v2/health/../../metrics",
			status: 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := emptyService(t, Options{Token: c.token, Hosts: c.hosts})
			if c.path == "" {
				c.path = "/v2"
				if c.method == "POST" {
					c.path = "/v1/classify"
				}
			}
			if c.method == "" {
				c.method = "GET"
			}
			w := record(s, c.method, c.path, func(r *http.Request) {
				r.Host = c.host
				for name, value := range c.headers {
					r.Header.Set(name, value)
				}
				if c.authorization != "" {
					r.Header.Set("Authorization", c.authorization)
				}
			})
			if c.path == "/v2/health/../../metrics" && w.Code == http.StatusTemporaryRedirect {
				return // to the path that is meant, which needs a token
			}
			assert.Equal(t, c.status, w.Code, w.Body.String())
			assert.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
			assert.NotContains(t, w.Header().Get("Content-Security-Policy"), "unsafe")
			assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
			assert.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
		})
	}
}

// Other machines' addresses need a token, or that it is said.
func TestListensOnLoopback(t *testing.T) {
	s := emptyService(t, Options{})
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.org:0"} {
		_, err := s.listen(address, &Listening{})
		require.ErrorIs(t, err, tfconvrnn.ErrOption, address)
		assert.ErrorContains(t, err, "no token")
	}
	for _, address := range []string{"127.0.0.1:0", "localhost:0"} {
		l, err := s.listen(address, &Listening{})
		require.NoError(t, err)
		l.Close()
	}
	l, err := s.listen("0.0.0.0:0", &Listening{Insecure: true})
	require.NoError(t, err)
	l.Close()
	l, err = emptyService(t, Options{Token: "0123456789abcdef"}).listen("0.0.0.0:0", &Listening{})
	require.NoError(t, err)
	l.Close()
}

// A Unix socket is its owner's; one that is left over is replaced, one in use is not.
func TestUnixSocket(t *testing.T) {
	s := emptyService(t, Options{})
	path := filepath.Join(t.TempDir(), "socket")
	l, err := s.listen("unix:"+path, &Listening{})
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	_, err = s.listen("unix:"+path, &Listening{})
	require.ErrorContains(t, err, "another process listens")
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as if the process were killed
	l.Close()
	l, err = s.listen("unix:"+path, &Listening{})
	require.NoError(t, err)
	l.Close()
	require.NoError(t, os.WriteFile(path, []byte("a file"), 0o666))
	_, err = s.listen("unix:"+path, &Listening{})
	require.Error(t, err)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "a file", string(text))
}

// writeCertificate writes a certificate of 127.0.0.1 and its key.
func writeCertificate(t testing.TB, dir string, serial int64) (certificate, key string, pool *x509.CertPool) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour),
		NotAfter:    time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(private)
	require.NoError(t, err)
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	return certificate, key, pool
}

// TLS by files, which may be renewed while the service runs.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certificate, key, pool := writeCertificate(t, dir, 1)
	url, stop := serveAt(t, emptyService(t, Options{}), Listening{HTTP: "127.0.0.1:0", Certificate: certificate, Key: key})
	get := func(pool *x509.CertPool) (*http.Response, error) {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool},
			DisableKeepAlives: true}}
		return client.Get("https://" + url + "/v2/health/live")
	}
	response, err := get(pool)
	require.NoError(t, err)
	response.Body.Close()
	assert.NotEmpty(t, response.Header.Get("Strict-Transport-Security"))
	_, _, renewed := writeCertificate(t, dir, 2)
	require.NoError(t, os.Chtimes(certificate, time.Now(), time.Now().Add(time.Second)))
	_, err = get(pool)
	require.Error(t, err)
	response, err = get(renewed)
	require.NoError(t, err)
	response.Body.Close()
	require.NoError(t, stop())
	s := emptyService(t, Options{})
	require.ErrorIs(t, s.Serve(t.Context(), Listening{HTTP: "127.0.0.1:0", Certificate: certificate}), tfconvrnn.ErrOption)
}
