package serving

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
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
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tfconvrnn/go/internal/inferencepb"
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
			405, "BREAK"},
		"a query that is none": {post("/v1/classify?top=1;layers=conv5", smallType, string(small)), 400, "query"},
		"no HTTP":              {"hello\r\n\r\n", 400, ""},
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

// Ten thousand connections on which nothing happens, or on which headers trickle in, give way to those on which
// something does, and take no memory to speak of.
func TestIdleConnections(t *testing.T) {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	// Both ends of those that are open are this process's.
	connections := int(min(10_000, limit.Cur-min(limit.Cur, 2500)))
	t.Logf("%d connections, of which %d may be open at once", connections, 1024)
	require.Greater(t, connections, 1024, "more files must be allowed to be open (ulimit -n)")
	s := emptyService(t, Options{})
	address, stop := serveAt(t, s, Listening{HTTP: "127.0.0.1:0"})
	const live = "GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n"
	live200 := func() {
		began := time.Now()
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + address +
			"/v2/health/live")
		require.NoError(t, err)
		response.Body.Close()
		assert.Equal(t, http.StatusOK, response.StatusCode)
		assert.Less(t, time.Since(began), 5*time.Second, "it waited for idle connections to time out")
	}
	live200()
	before := resident(t)
	for i := range connections {
		connection, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer connection.Close()
		_, err = io.WriteString(connection, []string{"", live + "\r\n", live}[i%3])
		if err != nil { // it has given way already
			require.True(t, errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET), "%v", err)
		}
		if i%2000 == 1999 {
			live200()
		}
	}
	live200()
	grown := resident(t) - before
	t.Logf("%.0f MB more memory", grown)
	assert.Less(t, grown, 300.0)
	require.NoError(t, stop())
}

// So do those of gRPC; calls in progress keep theirs.
func TestIdleCalls(t *testing.T) {
	s, _ := newTestService(t, Options{})
	address, stop := serveAt(t, s, Listening{GRPC: "127.0.0.1:0", Connections: 64})
	dialled, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer dialled.Close()
	client := inferencepb.NewGRPCInferenceServiceClient(dialled)
	free := held(s)
	defer free()
	answered := make(chan error, 1)
	go func() {
		_, err := client.ModelInfer(t.Context(), &inferencepb.ModelInferRequest{ModelName: testModel,
			Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{{Name: "images", Datatype: "UINT8",
				Shape: []int64{1, 224, 224, 3}}}, RawInputContents: [][]byte{randomPixels(1, 1)}})
		answered <- err
	}()
	eventuallyWaiting(t, s, 1)
	var idle []net.Conn
	for range 300 {
		connection, err := net.Dial("tcp", address)
		require.NoError(t, err)
		idle = append(idle, connection)
		_, _ = connection.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	}
	other, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer other.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = inferencepb.NewGRPCInferenceServiceClient(other).ServerLive(ctx, &inferencepb.ServerLiveRequest{})
	require.NoError(t, err, "it waited for idle connections to time out")
	free()
	require.NoError(t, <-answered)
	for _, connection := range idle { // which would be waited for
		connection.Close()
	}
	require.NoError(t, stop())
}
