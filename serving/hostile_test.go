package serving

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pngBomb is a PNG of a few kilobytes that says it has side×side pixels.
func pngBomb(t testing.TB, side uint32) []byte {
	var file bytes.Buffer
	file.WriteString("\x89PNG\r\n\x1a\n")
	chunk := func(kind string, data []byte) {
		body := append([]byte(kind), data...)
		require.NoError(t, binary.Write(&file, binary.BigEndian, uint32(len(data))))
		file.Write(body)
		require.NoError(t, binary.Write(&file, binary.BigEndian, crc32.ChecksumIEEE(body)))
	}
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, side), side)
	chunk("IHDR", append(head, 8, 2, 0, 0, 0))
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	_, err := w.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	chunk("IDAT", packed.Bytes())
	chunk("IEND", nil)
	return file.Bytes()
}

// ask sends a request as it is written, and returns the status and the body.
func ask(t testing.TB, address, text string) (status int, body string) {
	connection, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer connection.Close()
	require.NoError(t, connection.SetDeadline(time.Now().Add(20*time.Second)))
	_, _ = io.WriteString(connection, text) // the service may have heard enough before its end
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if errors.Is(err, syscall.ECONNRESET) {
		return http.StatusRequestHeaderFieldsTooLarge, "" // the rest was not read, so the answer may be lost
	}
	require.NoError(t, err, "%.200q", text)
	content, err := io.ReadAll(response.Body)
	if !errors.Is(err, syscall.ECONNRESET) {
		require.NoError(t, err)
	}
	return response.StatusCode, string(content)
}

// What somebody sends to break the service is refused in words, and the service goes on.
func TestHostileRequests(t *testing.T) {
	s, _ := newTestService(t, Options{})
	address, stop := serveAt(t, s, Listening{HTTP: "127.0.0.1:0"})
	form, formType := formBody(t, nil, map[string][]byte{"bomb.png": pngBomb(t, 50_000)})
	small, smallType := formBody(t, nil, map[string][]byte{"a.png": pngOf(t, randomPixels(1, 1))})
	twice, twiceType := formBody(t, map[string]string{"top": "2"},
		map[string][]byte{"a.png": pngOf(t, randomPixels(1, 1))})
	pixels := imagesJSON(randomPixels(1, 1))
	post := func(path, contentType string, body string, headers ...string) string {
		return fmt.Sprintf(
			"POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n%s",
			path, contentType, len(body), strings.Join(headers, ""), body)
	}
	get := func(path string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	}
	for name, c := range map[string]struct {
		request string
		status  int
		says    string
	}{
		"a bomb":             {post("/v1/classify", formType, string(form)), 413, "pixels"},
		"a bomb to the page": {post("/explorer/preview", "image/png", string(pngBomb(t, 50_000))), 413, "pixels"},
		"huge headers": {post("/v1/classify", smallType, string(small), "X: "+strings.Repeat("x", 64<<10)+
			"\r\n"), 431, ""},
		"many headers": {post("/v1/classify", smallType, string(small), strings.Repeat("X: x\r\n", 20_000)),
			431, ""},
		"an empty body": {post(inferPath, "application/json", ""), 400, "JSON"},
		"an empty form": {post("/v1/classify", smallType, ""), 400, "cannot be read"},
		"a form without an end": {post("/v1/classify", smallType, string(small[:len(small)/2])), 400,
			"cannot be read"},
		"no content type":       {post("/v1/classify", "", string(small)), 400, "multipart/form-data"},
		"JSON to people's form": {post("/v1/classify", "application/json", "{}"), 400, "multipart/form-data"},
		"a boundary of 1 MB": {post("/v1/classify", "multipart/form-data; boundary="+strings.Repeat("b", 100),
			string(small)), 400, ""},
		"packed": {post(inferPath, "application/json", "{}", "Content-Encoding: gzip\r\n"), 501,
			"gzip"},
		"a parameter twice in JSON": {post(inferPath, "application/json", `{"parameters":{"top":1,"top":2},"inputs":[`+
			pixels+`]}`), 400, `\"top\" twice`},
		"inputs twice": {post(inferPath, "application/json", `{"inputs":[`+pixels+`],"inputs":[`+pixels+
			`]}`), 400, `\"inputs\" twice`},
		"a parameter twice in the query": {post("/v1/classify?top=1&top=2", smallType, string(small)), 400, "top"},
		"in the form and the query":      {post("/v1/classify?top=1", twiceType, string(twice)), 400, "top"},
		"two models": {post("/v1/classify?model=a&model="+testModel, smallType, string(small)), 400,
			"model"},
		"length and chunks": {
			"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			400, ""},
		"two lengths": {
			"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, ""},
		"no host":   {"GET /v2 HTTP/1.1\r\n\r\n", 400, ""},
		"two hosts": {"GET /v2 HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400, ""},
		"a whole address of another": {
			"GET http://evil.example/v2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 421, "evil.example"},
		"a way out of the page":     {get("/explorer/page/..%2f..%2fgo.mod"), 404, ""},
		"a way out by dots":         {get("/explorer/page/%2e%2e/%2e%2e/%2e%2e/etc/passwd"), 404, ""},
		"a way out of the pictures": {get("/explorer/pictures/..%5c..%5cgo.mod"), 404, ""},
		"a way out by a run":        {get("/explorer/runs/..%2f..%2fetc/features.npz"), 410, ""},
		"a zero byte in a path":     {get("/explorer/page/app.js%00.png"), 404, ""},
		"a model by a path":         {get("/v2/models/..%2f..%2fetc/ready"), 404, "not one of the service's"},
		"an unknown method": {"BREAK /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
			501, "BREAK"},
		"no HTTP": {"hello\r\n\r\n", 400, ""},
	} {
		status, body := ask(t, address, c.request)
		assert.Equal(t, c.status, status, "%s: %.300s", name, body)
		assert.Contains(t, body, c.says, name)
		assert.NotContains(t, body, "goroutine", name)
	}
	status, body := ask(t, address, post("/v1/classify", smallType, string(small)))
	assert.Equal(t, 200, status, body)
	require.NoError(t, stop())
}

// Names of pictures are any text, and come back as they were.
func TestNamesOfPictures(t *testing.T) {
	_, url := newTestService(t, Options{})
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	names := []string{"猫 🐈.png", "\u202egnp.exe", "a.png", "a.png", "../../../etc/passwd", `C:\cats\b.png`, "c\xff.png", ""}
	for _, name := range names {
		head := textproto.MIMEHeader{}
		head.Set("Content-Disposition", `form-data; name="picture"; filename="`+strings.ReplaceAll(name, `\`, `\\`)+`"`)
		part, err := w.CreatePart(head)
		require.NoError(t, err)
		_, err = part.Write(pngOf(t, randomPixels(1, 1)))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	response, err := http.Post(url+"/v1/classify", w.FormDataContentType(), &form)
	require.NoError(t, err)
	defer response.Body.Close()
	var answer struct {
		Error   string
		Results []struct{ Stimulus string }
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	require.Equal(t, http.StatusOK, response.StatusCode, answer.Error)
	var got []string
	for _, r := range answer.Results {
		got = append(got, r.Stimulus)
	}
	assert.Equal(t, []string{"猫 🐈.png", "\u202egnp.exe", "a.png", "a.png (2)", "passwd", "b.png", "c?.png", "picture 7"}, got)
}

// Bodies that are begun and never come take neither memory nor places from others, and are given up.
func TestSlowClients(t *testing.T) {
	s, _ := newTestService(t, Options{MaxMemory: 32 << 20, MaxBody: 4 << 20})
	s.patience = 1500 * time.Millisecond
	address, stop := serveAt(t, s, Listening{HTTP: "127.0.0.1:0"})
	var slow []net.Conn
	for i := range 60 {
		connection, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer connection.Close()
		text := []string{
			"POST " + inferPath + " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
			"POST " + inferPath + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n{",
			"POST /v1/classify HTTP/1.1\r\nHost: localh",
		}[i%3]
		_, err = io.WriteString(connection, text)
		require.NoError(t, err)
		slow = append(slow, connection)
	}
	time.Sleep(100 * time.Millisecond)
	body := []byte(`{"inputs":[` + imagesJSON(randomPixels(1, 1)) + `],"outputs":[{"name":"imnetds"}]}`)
	status, a := post(t, "http://"+address+inferPath, "application/json", body)
	require.Equal(t, http.StatusOK, status, a.Error)
	for i, connection := range slow {
		require.NoError(t, connection.SetReadDeadline(time.Now().Add(20*time.Second)))
		response, err := http.ReadResponse(bufio.NewReader(connection), nil)
		if err == nil {
			assert.GreaterOrEqual(t, response.StatusCode, 400, i)
			response.Body.Close()
			continue
		}
		var timeout net.Error
		assert.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the service still waits for connection %d", i)
	}
	s.engine.mu.Lock()
	assert.Zero(t, s.engine.bytes)
	s.engine.mu.Unlock()
	require.NoError(t, stop())
}

// Connections on which nothing happens give way to those on which something does.
func TestIdleConnections(t *testing.T) {
	s := emptyService(t, Options{})
	address, stop := serveAt(t, s, Listening{HTTP: "127.0.0.1:0", Connections: 64})
	for i := range 300 {
		connection, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer connection.Close()
		if i%2 == 0 {
			_, err = io.WriteString(connection, "GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
			require.NoError(t, err)
		}
	}
	began := time.Now()
	response, err := http.Get("http://" + address + "/v2/health/live")
	require.NoError(t, err)
	response.Body.Close()
	assert.Equal(t, http.StatusOK, response.StatusCode)
	assert.Less(t, time.Since(began), 5*time.Second, "it waited for idle connections to time out")
	require.NoError(t, stop())
}
