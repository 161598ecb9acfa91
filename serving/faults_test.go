package serving

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tfconvrnn/go/internal/inferencepb"
)

// binaryRequest is a request whose input images come in binary form.
func binaryRequest(head string, rest []byte) (body []byte, length string) {
	return append([]byte(head), rest...), fmt.Sprint(len(head))
}

// Requests that are wrong are refused with a reason that names what is wrong, and cost nothing.
func TestRefusals(t *testing.T) {
	s, url := newTestService(t, Options{MaxQueue: 8, MaxBody: 4 << 20})
	pixels := randomPixels(1, 1)
	good := imagesJSON(pixels)
	schedule := func(shape, data string) string {
		return `{"inputs":[` + good + `,{"name":"schedule","datatype":"INT32","shape":` + shape + `,"data":` + data + `}]}`
	}
	raw := `{"inputs":[{"name":"images","datatype":"UINT8","shape":[1,224,224,3],"parameters":{"binary_data_size":150528}}]}`
	float := func(value float32) string {
		values := slices.Repeat([]float32{0.5}, imageValues)
		values[7] = value
		text, err := json.Marshal(values)
		require.NoError(t, err)
		return `{"name":"images","datatype":"FP32","shape":[1,224,224,3],"data":` + string(text) + `}`
	}
	for _, c := range []struct {
		body, header string
		rest         []byte
		status       int
		says         string
	}{
		{body: ``, status: 400, says: "JSON"},
		{body: `[]`, status: 400, says: "JSON"},
		{body: `{`, status: 400, says: "JSON"},
		{body: `null`, status: 400, says: "images and pictures"},
		{body: `{}`, status: 400, says: "images and pictures"},
		{body: `{"inputs":[]}`, status: 400, says: "images and pictures"},
		{body: `{"inputs":[` + good + `]}x`, status: 400, says: "follows the JSON"},
		{body: `{"inputs":[` + good + `],"sequence":1}`, status: 400, says: "sequence"},
		{body: `{"inputs":[` + good + `],"inputs":5}`, status: 400, says: "JSON"},
		{body: strings.Repeat("[", 1<<20), status: 400, says: "JSON"},
		{body: `{"inputs":` + strings.Repeat(`[`, 1<<16) + strings.Repeat(`]`, 1<<16) + `}`, status: 400, says: "JSON"},
		{body: `{"inputs":[` + good + `,` + good + `]}`, status: 400, says: "twice"},
		{body: strings.Replace(`{"inputs":[`+good+`]}`, "images", "image", 1), status: 400, says: `unknown input "image"`},
		{body: strings.Replace(`{"inputs":[`+good+`]}`, "UINT8", "FP16", 1), status: 400, says: "FP16"},
		{body: strings.Replace(`{"inputs":[`+good+`]}`, "UINT8", "uint8", 1), status: 400, says: "uint8"},
		{body: strings.Replace(`{"inputs":[`+good+`]}`, "[1,224", "[2,224", 1), status: 400, says: "150528"},
		{body: strings.Replace(`{"inputs":[`+good+`]}`, "[1,224", "[-1,224", 1), status: 400, says: "impossible shape"},
		{body: strings.Replace(`{"inputs":[`+good+`]}`, "[1,224", "[9223372036854775807,224", 1), status: 400,
			says: "impossible shape"},
		{body: strings.Replace(`{"inputs":[`+good+`]}`, "[1,224", "[99999999999999999999,224", 1), status: 400, says: "JSON"},
		{body: strings.Replace(`{"inputs":[`+good+`]}`, "[1,224,224,3]", "[1,3,224,224]", 1), status: 400,
			says: "[N, 224, 224, 3]"},
		{body: strings.Replace(`{"inputs":[`+good+`]}`, "[1,224,224,3]", "[0,224,224,3]", 1), status: 400,
			says: "another number"},
		{body: strings.Replace(`{"inputs":[`+good+`]}`, "[1,224,224,3]", "[]", 1), status: 400, says: "another number"},
		{body: `{"inputs":[{"name":"images","datatype":"UINT8","shape":[1,224,224,3]}]}`, status: 400, says: "neither data"},
		{body: `{"inputs":[{"name":"images","datatype":"UINT8","shape":[1,224,224,3],"data":5}]}`, status: 400,
			says: "elements"},
		{body: `{"inputs":[{"name":"images","datatype":"UINT8","shape":[2],"data":{"a":[1]}}]}`, status: 400,
			says: "no array"},
		{body: `{"inputs":[{"name":"images","datatype":"UINT8","shape":[2],"data":[1,256]}]}`, status: 400,
			says: "256 is no UINT8"},
		{body: `{"inputs":[{"name":"images","datatype":"UINT8","shape":[2],"data":[1,"a"]}]}`, status: 400, says: `no UINT8`},
		{body: `{"inputs":[{"name":"images","datatype":"UINT8","shape":[2],"data":[1,1.5]}]}`, status: 400, says: `no UINT8`},
		{body: `{"inputs":[{"name":"images","datatype":"UINT8","shape":[2,2],"data":[[1,2],[3]]}]}`, status: 400,
			says: "nested"},
		{body: `{"inputs":[{"name":"images","datatype":"UINT8","shape":[2,2],"data":[[1,2,3],[3]]}]}`, status: 400,
			says: "more than the 2 elements"},
		{body: `{"inputs":[{"name":"images","datatype":"UINT8","shape":[4],"data":[[1,2],[3,4]]}]}`, status: 400,
			says: "nested"},
		{body: `{"inputs":[{"name":"pictures","datatype":"BYTES","shape":[1],"data":["§"]}]}`, status: 400, says: "base64"},
		{body: `{"inputs":[{"name":"pictures","datatype":"BYTES","shape":[1],"data":[5]}]}`, status: 400, says: "BYTES"},
		{body: `{"inputs":[{"name":"pictures","datatype":"BYTES","shape":[1],"data":["aGVsbG8="]}]}`, status: 400,
			says: "picture 0"},
		{body: `{"inputs":[{"name":"pictures","datatype":"BYTES","shape":[0],"data":[]}]}`, status: 400, says: "BYTES [N]"},
		{body: `{"inputs":[` + good + `,{"name":"pictures","datatype":"BYTES","shape":[1],"data":["aGVsbG8="]}]}`,
			status: 400, says: "images and pictures"},
		{body: `{"inputs":[` + float(1.5) + `]}`, status: 400, says: "array_range"},
		{body: `{"inputs":[` + float(-0.1) + `]}`, status: 400, says: "-0.1"},
		{body: `{"inputs":[` + float(256) + `]}`, status: 400, says: "256"},
		{body: `{"inputs":[` + float(200) + `],"parameters":{"array_range":"0-1"}}`, status: 400, says: "200"},
		{body: `{"inputs":[` + float(0.1) + `],"parameters":{"array_range":"0-2"}}`, status: 400, says: "0-2"},
		{body: `{"inputs":[` + good + `],"parameters":{"array_range":"0-1"}}`, status: 400, says: "UINT8"},
		{body: schedule("[3]", "[0,0,0]"), status: 400, says: "[timesteps, stimuli]"},
		{body: schedule("[3,1]", "[0,0,1]"), status: 400, says: "image 1"},
		{body: schedule("[3,1]", "[0,-2,0]"), status: 400, says: "image -2"},
		{body: schedule("[3,1]", "[-1,-1,-1]"), status: 400, says: "shows no image"},
		{body: schedule("[99,1]", "["+strings.Repeat("0,", 98)+"0]"), status: 400, says: "99 timesteps"},
		{body: schedule("[0,1]", "[]"), status: 400, says: "[timesteps, stimuli]"},
		{body: strings.Replace(schedule("[12,1]", "["+strings.Repeat("0,", 11)+"0]"), `{"inputs"`,
			`{"parameters":{"presentation":"neural"},"inputs"`, 1), status: 400, says: "schedule says what is shown"},
		{body: strings.Replace(schedule("[3,1]", "[0,0,0]"), "INT32", "FP32", 1), status: 400, says: "INT32"},
		{body: `{"inputs":[` + good + `],"outputs":[{"name":"conv99"}]}`, status: 400, says: `no output "conv99"`},
		{body: `{"inputs":[` + good + `],"outputs":[{"name":"conv5/"}]}`, status: 400, says: `no output "conv5/"`},
		{body: `{"inputs":[` + good + `],"outputs":[{"name":"conv5"},{"name":"conv5"}]}`, status: 400, says: "twice"},
		{body: `{"inputs":[` + good + `],"outputs":[{"name":"conv4"}],"parameters":{"layers":"conv5"}}`, status: 400,
			says: "not among"},
		{body: `{"inputs":[` + good + `],"outputs":[{"name":"conv5","parameters":{"shared_memory_region":"x"}}]}`,
			status: 501, says: "shared memory"},
		{body: `{"inputs":[` + good + `],"outputs":[{"name":"conv5","parameters":{"classification":3}}]}`, status: 501,
			says: "classification"},
		{body: `{"inputs":[` +
			strings.Replace(good, `"data"`, `"parameters":{"shared_memory_region":"x","shared_memory_byte_size":1},"data"`, 1) +
			`]}`, status: 501, says: "shared memory"},
		{body: `{"inputs":[` + good + `],"parameters":{"sequence_id":5,"sequence_start":true}}`, status: 501,
			says: "sequence"},
		{body: `{"inputs":[` + good + `],"parameters":{"priority":1}}`, status: 501, says: "priority"},
		{body: `{"inputs":[` + good + `],"parameters":{"layer":"conv5"}}`, status: 400,
			says: `unknown parameter "layer"; there are layers`},
		{body: `{"inputs":[` + good + `],"parameters":{"layers":"conv99"}}`, status: 400, says: "conv99"},
		{body: `{"inputs":[` + good + `],"parameters":{"layers":7}}`, status: 400, says: "string"},
		{body: `{"inputs":[` + good + `],"parameters":{"layers":{"a":1}}}`, status: 400, says: "object"},
		{body: `{"inputs":[` + good + `],"parameters":{"areas":"V9"}}`, status: 400, says: "V9"},
		{body: `{"inputs":[` + good + `],"parameters":{"presentation":"often"}}`, status: 400, says: "often"},
		{body: `{"inputs":[` + good + `],"parameters":{"presentation":"constant"}}`, status: 400, says: ""},
		{body: `{"inputs":[` + good + `],"parameters":{"on_ms":5,"total_ms":170}}`, status: 400, says: "5"},
		{body: `{"inputs":[` + good + `],"parameters":{"on_ms":"0,a"}}`, status: 400, says: "number"},
		{body: `{"inputs":[` + good + `],"parameters":{"times":1e9,"presentation":"constant"}}`, status: 400, says: "times"},
		{body: `{"inputs":[` + good + `],"parameters":{"times":31,"presentation":"constant"}}`, status: 400, says: "31"},
		{body: `{"inputs":[` + good + `],"parameters":{"times":1.5}}`, status: 400, says: "whole number"},
		{body: `{"inputs":[` + good + `],"parameters":{"blank":"/etc/passwd"}}`, status: 400, says: "blank"},
		{body: `{"inputs":[` + good + `],"parameters":{"blank":"300,0,0"}}`, status: 400, says: "255"},
		{body: `{"inputs":[` + good + `],"parameters":{"include_logits":3}}`, status: 400, says: "true or false"},
		{body: `{"inputs":[` + good + `],"parameters":{"reduce":"mean"}}`, status: 400, says: "mean"},
		{body: `{"inputs":[` + good + `],"parameters":{"reduce":"conv9=gap"}}`, status: 400, says: "conv9"},
		{body: `{"inputs":[` + good + `],"parameters":{"top":0}}`, status: 400, says: "1 … 1000"},
		{body: `{"inputs":[` + good + `],"parameters":{"top":1001}}`, status: 400, says: "1 … 1000"},
		{body: `{"inputs":[` + good + `],"parameters":{"preprocess":"stretch"}}`, status: 400, says: "stretch"},
		{body: `{"inputs":[` + good + `],"parameters":{"timeout":-1}}`, status: 400, says: "timeout"},
		{body: `{"inputs":[` + good + `],"parameters":{"timeout":1}}`, status: 504, says: "deadline"},
		{body: raw, status: 400, says: "binary_data_size"},
		{body: raw, header: "9999999", status: 400, says: "Inference-Header-Content-Length"},
		{body: raw, header: "-1", status: 400, says: "Inference-Header-Content-Length"},
		{body: raw, header: "x", status: 400, says: "Inference-Header-Content-Length"},
		{body: raw, header: "=", rest: pixels[:100], status: 400, says: "100 bytes of binary data are left"},
		{body: raw, header: "=", rest: append(slices.Clone(pixels), 1), status: 400,
			says: "1 bytes of binary data are no input's"},
		{body: strings.Replace(raw, "150528", "10", 1), header: "=", rest: pixels[:10], status: 400,
			says: "takes 150528 bytes"},
		{body: strings.Replace(raw, "150528", "1.5", 1), header: "=", rest: pixels, status: 400, says: "binary_data_size"},
		{body: strings.Replace(raw, "150528", "-5", 1), header: "=", rest: pixels, status: 400, says: "binary_data_size"},
		{body: `{"inputs":[{"name":"pictures","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":6}}]}`,
			header: "=", rest: []byte{200, 0, 0, 0, 1, 2}, status: 400, says: "cut short"},
		{body: `{"inputs":[{"name":"pictures","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":5}}]}`,
			header: "=", rest: []byte{1, 0, 0, 0, 1}, status: 400, says: "there are 1"},
		{
			body:   `{"inputs":[{"name":"images","datatype":"UINT8","shape":[20,224,224,3],"parameters":{"binary_data_size":3010560}}]}`,
			header: "=", rest: randomPixels(20, 1), status: 413, says: "20 images"},
		{body: `{"inputs":[` + strings.Repeat(" ", 5<<20) + `]}`, status: 413, says: "bytes"},
	} {
		request, err := http.NewRequest("POST", url+inferPath, bytes.NewReader(append([]byte(c.body), c.rest...)))
		require.NoError(t, err)
		if c.header == "=" {
			c.header = fmt.Sprint(len(c.body))
		}
		if c.header != "" {
			request.Header.Set(binaryHeader, c.header)
		}
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		a := decodeAnswer(t, response)
		assert.Equal(t, c.status, response.StatusCode, "%.200s: %s", c.body, a.Error)
		assert.Contains(t, a.Error, c.says, "%.200s", c.body)
	}
	assert.Zero(t, s.engine.places)
	assert.Zero(t, s.engine.bytes)

	for _, c := range []struct {
		path, says string
	}{
		{"/v2/systemsharedmemory/region/a/register", "shared memory"}, {"/v2/cudasharedmemory/status", "shared memory"},
		{"/v2/repository/index", "model repository"}, {"/v2/repository/models/a/load", "model repository"},
		{"/v2/models/" + testModel + "/stats", "statistics"}, {"/v2/models/" + testModel + "/config", "configuration"},
		{"/v2/models/" + testModel + "/generate", "generate"}, {"/v2/logging", "log"}, {"/v2/trace/setting", "trace"},
	} {
		code, a := post(t, url+c.path, "application/json", []byte("{}"))
		assert.Equal(t, http.StatusNotImplemented, code, c.path)
		assert.Contains(t, a.Error, c.says)
		assert.Contains(t, a.Error, "not supported")
	}
}

// What there is not, and what is asked for in a wrong way, is answered with the protocol's error object.
func TestNotFound(t *testing.T) {
	for _, noPage := range []bool{false, true} {
		s := emptyService(t, Options{NoPage: noPage})
		for _, c := range []struct {
			method, path string
			status       int
			says         string
		}{
			{"POST", "/v2", 405, "GET"}, {"POST", "/v2/", 404, "/v2/"}, {"GET", "/v2/anything", 404, "/v2/anything"},
			{"DELETE", "/v2/health/ready", 405, "GET"}, {"POST", "/v2/models/" + testModel, 405, "GET"},
			{"GET", inferPath, 405, "POST"}, {"PUT", inferPath, 405, "POST"},
			{"GET", "/v2/models/" + testModel + "/versions/1/infer", 405, "POST"},
			{"POST", "/v2/models/" + testModel + "/ready", 405, "GET"},
			{"GET", "/v1/classify", 405, "POST"}, {"GET", "/v1/extract", 405, "POST"}, {"GET", "/v1/other", 404, "/v1/other"},
			{"POST", "/openapi.json", 405, "GET"}, {"POST", "/metrics", 405, "GET"},
		} {
			w := record(s, c.method, c.path, func(r *http.Request) { r.Host = "localhost" })
			assert.Equal(t, c.status, w.Code, "%s %s", c.method, c.path)
			var said struct{ Error string }
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &said), "%s %s: %s", c.method, c.path, w.Body)
			assert.Contains(t, said.Error, c.says)
			if c.status == 405 {
				assert.Equal(t, c.says, w.Header().Get("Allow"))
			}
		}
		assert.Equal(t, http.StatusOK, record(s, "HEAD", "/v2/health/live",
			func(r *http.Request) { r.Host = "localhost" }).Code)
	}
}

// 2,000 requests that random changes have spoilt, and what is left when they are cut at random
// places: each is answered, none with 500, and the service computes as before.
func TestMalformed(t *testing.T) {
	s, _ := newTestService(t, Options{})
	random := rand.New(rand.NewPCG(1, 2))
	pixels := randomPixels(1, 1)
	head := `{"id":"a","parameters":{"layers":"imnetds","presentation":"neural","top":3,"blank":"gray","reduce":"gap"},"inputs":[{"name":"images","datatype":"UINT8","shape":[1,224,224,3],"parameters":{"binary_data_size":150528}}],"outputs":[{"name":"logits","parameters":{"binary_data":true}}]}`
	form, formType := formBody(t, map[string]string{"top": "3", "presentation": "neural"},
		map[string][]byte{"a.png": pngOf(t, pixels)})
	statuses := map[int]int{}
	for i := range 2000 {
		body, header, contentType, path := append([]byte(head), pixels...), fmt.Sprint(len(head)), "application/octet-stream",
			inferPath
		most := len(head)
		if i%2 == 1 {
			body, header, contentType, path = slices.Clone(form), "", formType, "/v1/classify"
			most = len(body)
		}
		for range 1 + random.IntN(3) {
			switch at := random.IntN(most); random.IntN(4) {
			case 0:
				body[at] = byte(random.Uint32())
			case 1:
				body = append(body[:at], body[min(len(body), at+1+random.IntN(20)):]...)
			case 2:
				body = slices.Insert(body, at, body[at:min(len(body), at+1+random.IntN(20))]...)
			default:
				body = body[:at]
			}
			most = max(1, min(most, len(body)))
		}
		if random.IntN(4) == 0 {
			header = fmt.Sprint(random.IntN(len(head) * 2))
		}
		w := recordBody(s, path, contentType, header, body)
		statuses[w.Code]++
		if !assert.Less(t, w.Code, 500, "%.400s", body) && w.Code != http.StatusNotImplemented {
			return
		}
	}
	t.Log(statuses)
	assert.Greater(t, statuses[400], 1000)
	assert.Zero(t, s.engine.places)
	assert.Zero(t, s.engine.bytes)
	_, err := computing(t.Context(), t, s, readoutPlan(t, s, "imnetds"), pixels)()
	require.NoError(t, err)
}

// Clients that vanish while they connect, send or wait for the answer leave nothing behind.
func TestVanishingClients(t *testing.T) {
	s, _ := newTestService(t, Options{})
	address, stop := serveAt(t, s, Listening{HTTP: "127.0.0.1:0"})
	pixels := randomPixels(2, 1)
	body, length := binaryRequest(
		`{"inputs":[{"name":"images","datatype":"UINT8","shape":[2,224,224,3],"parameters":{"binary_data_size":301056}}],`+
			`"outputs":[{"name":"conv1","parameters":{"binary_data":true}}]}`,
		pixels)
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s: %s\r\n\r\n", inferPath,
		len(body), binaryHeader, length)
	whole := append([]byte(head), body...)
	for i, sent := range []int{0, 4, len(head) - 2, len(head), len(head) + 50, len(whole) / 2, len(whole) - 1, len(whole),
		len(whole), len(whole)} {
		connection, err := net.Dial("tcp", address)
		require.NoError(t, err)
		_, err = connection.Write(whole[:sent])
		require.NoError(t, err)
		switch i {
		case 8: // while it runs
			time.Sleep(30 * time.Millisecond)
		case 9: // while the answer is written
			_, err = connection.Read(make([]byte, 100))
			require.NoError(t, err)
		}
		require.NoError(t, connection.(*net.TCPConn).SetLinger(0))
		connection.Close()
	}
	require.Eventually(t, func() bool {
		s.engine.mu.Lock()
		defer s.engine.mu.Unlock()
		return s.engine.places == 0 && s.engine.bytes == 0
	}, 20*time.Second, 10*time.Millisecond)
	response, err := http.Get("http://" + address + "/v2/health/ready")
	require.NoError(t, err)
	response.Body.Close()
	assert.Equal(t, http.StatusOK, response.StatusCode)
	require.NoError(t, stop())
}

// The decoders take anything without a panic, and what they take has the size that it says.
func FuzzREST(f *testing.F) {
	f.Add(
		[]byte(`{"id":"1","parameters":{"a":[1,"b"]},"inputs":[{"name":"images","datatype":"UINT8","shape":[1,2],"data":[[1,2]]}],"outputs":[{"name":"x"}]}`), "")
	f.Add([]byte(`{"inputs":[{"name":"pictures","datatype":"BYTES","shape":[2],"data":["YQ==",""]}]}`), "")
	f.Add([]byte(`{"inputs":[{"name":"schedule","datatype":"INT64","shape":[2,1],"data":[-1,0]}]}`), "")
	f.Add([]byte(`{"inputs":[{"name":"images","datatype":"FP32","shape":[1,1],"data":[1e-3]}]}`), "")
	f.Add([]byte(`{"inputs":[{"name":"p","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":5}}]}`+
		"\x01\x00\x00\x00a"), "91")
	f.Fuzz(func(t *testing.T, body []byte, header string) {
		r, _, err := parseREST(body, header)
		if err != nil {
			require.NotEqual(t, failureInternal, kind(err), "%v", err)
			return
		}
		for _, in := range r.inputs {
			checkTensor(t, in)
		}
	})
}

func checkTensor(t *testing.T, in *tensor) {
	n, err := in.elements()
	require.NoError(t, err)
	if in.datatype == "BYTES" {
		require.Len(t, in.items, n)
	} else {
		require.Len(t, in.data, n*datatypeSizes[in.datatype])
	}
}

// FuzzBinary: the binary form of a tensor.
func FuzzBinary(f *testing.F) {
	f.Add("BYTES", int64(1), int64(1), []byte{1, 0, 0, 0, 'a'})
	f.Add("FP32", int64(2), int64(1), make([]byte, 8))
	f.Add("UINT8", int64(math.MaxInt64), int64(2), []byte{1})
	f.Fuzz(func(t *testing.T, datatype string, a, b int64, data []byte) {
		in := &tensor{name: "x", datatype: datatype, shape: []int64{a, b}}
		if err := in.setRaw(data); err == nil {
			checkTensor(t, in)
		}
	})
}

// FuzzGRPC: a message, as it comes over the wire.
func FuzzGRPC(f *testing.F) {
	for _, m := range []*inferencepb.ModelInferRequest{
		{ModelName: testModel, Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{{Name: "images", Datatype: "UINT8",
			Shape: []int64{1, 2}}}, RawInputContents: [][]byte{{1, 2}}},
		{Parameters: map[string]*inferencepb.InferParameter{
			"top": {ParameterChoice: &inferencepb.InferParameter_Int64Param{Int64Param: 1}}},
			Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{{Datatype: "FP32", Shape: []int64{1},
				Contents: &inferencepb.InferTensorContents{Fp32Contents: []float32{1}}}}},
	} {
		f.Add(marshalled(f, m))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := &inferencepb.ModelInferRequest{}
		if unmarshal(wire, m) != nil {
			return
		}
		r, _, err := parseGRPC(m)
		if err != nil {
			require.NotEqual(t, failureInternal, kind(err), "%v", err)
			return
		}
		for _, in := range r.inputs {
			checkTensor(t, in)
		}
	})
}

// FuzzForm: multipart/form-data, and the parameters in it.
func FuzzForm(f *testing.F) {
	body, contentType := formBody(f, map[string]string{"top": "3", "layers": "conv1,conv2", "on_ms": "0,50",
		"reduce": "conv1=sparse(3,1)"}, map[string][]byte{"a/b.png": []byte("x")})
	f.Add(body, contentType, "times=5&blank=gray")
	f.Fuzz(func(t *testing.T, body []byte, contentType, query string) {
		s := &Service{options: Options{}.withDefaults()}
		r, err := http.NewRequest("POST", "/", bytes.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", contentType)
		r.URL.RawQuery = query
		form, err := s.readForm(r)
		if err == nil {
			require.Len(t, form.names, len(form.pictures))
			_, err = form.parameters.settings(lookedUp(t), s.options.Preprocessing)
		}
		if err != nil {
			require.NotEqual(t, failureInternal, kind(err), "%v", err)
		}
	})
}

// gRPC refuses what HTTP does, with the code of the kind.
func TestRefusalsGRPC(t *testing.T) {
	s, _ := newTestService(t, Options{MaxQueue: 4})
	client := grpcClient(t, s)
	image := func(n int64) *inferencepb.ModelInferRequest_InferInputTensor {
		return &inferencepb.ModelInferRequest_InferInputTensor{Name: "images", Datatype: "UINT8",
			Shape: []int64{n, 224, 224, 3}}
	}
	text := func(v string) *inferencepb.InferParameter {
		return &inferencepb.InferParameter{ParameterChoice: &inferencepb.InferParameter_StringParam{StringParam: v}}
	}
	pixels := randomPixels(1, 1)
	good := &inferencepb.ModelInferRequest{ModelName: testModel, Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{
		image(1)}, RawInputContents: [][]byte{pixels}}
	changed := func(change func(*inferencepb.ModelInferRequest)) *inferencepb.ModelInferRequest {
		m := cloned(good)
		change(m)
		return m
	}
	for _, c := range []struct {
		m    *inferencepb.ModelInferRequest
		code codes.Code
		says string
	}{
		{good, codes.OK, ""},
		{changed(func(m *inferencepb.ModelInferRequest) { m.ModelName = "none" }), codes.NotFound, "none"},
		{changed(func(m *inferencepb.ModelInferRequest) { m.ModelVersion = "7" }), codes.NotFound, "7"},
		{changed(func(m *inferencepb.ModelInferRequest) {
			m.RawInputContents[0] = pixels[1:]
		}), codes.InvalidArgument, "150527"},
		{changed(func(m *inferencepb.ModelInferRequest) {
			m.RawInputContents = append(m.RawInputContents, []byte("x"))
		}), codes.InvalidArgument, "raw_input_contents"},
		{changed(func(m *inferencepb.ModelInferRequest) {
			m.RawInputContents = nil
		}), codes.InvalidArgument, "contents of UINT8 are 0"},
		{changed(func(m *inferencepb.ModelInferRequest) {
			m.Inputs[0].Contents = &inferencepb.InferTensorContents{UintContents: []uint32{1}}
		}), codes.InvalidArgument, "contents and raw_input_contents"},
		{changed(func(m *inferencepb.ModelInferRequest) {
			m.Parameters = map[string]*inferencepb.InferParameter{"layers": text("conv77")}
		}), codes.InvalidArgument, "conv77"},
		{changed(func(m *inferencepb.ModelInferRequest) {
			m.Parameters = map[string]*inferencepb.InferParameter{"layers": {}}
		}), codes.InvalidArgument, "no value"},
		{changed(func(m *inferencepb.ModelInferRequest) {
			m.Parameters = map[string]*inferencepb.InferParameter{"sequence_id": text("x")}
		}), codes.Unimplemented, "sequence"},
		{changed(func(m *inferencepb.ModelInferRequest) {
			m.Inputs[0].Parameters = map[string]*inferencepb.InferParameter{"shared_memory_region": text("x")}
		}), codes.Unimplemented, "shared memory"},
		{changed(func(m *inferencepb.ModelInferRequest) {
			m.Inputs[0].Shape[0] = 5
			m.RawInputContents[0] = randomPixels(5, 1)
		}), codes.InvalidArgument, "5 images"},
	} {
		_, err := client.ModelInfer(t.Context(), c.m)
		assert.Equal(t, c.code, status.Code(err), "%v", err)
		assert.Contains(t, status.Convert(err).Message(), c.says)
	}
	free := held(s)
	defer free()
	wait := computing(t.Context(), t, s, readoutPlan(t, s, "imnetds"), randomPixels(4, 1))
	eventuallyWaiting(t, s, 4)
	_, err := client.ModelInfer(t.Context(), good)
	assert.Equal(t, codes.ResourceExhausted, status.Code(err))
	require.Len(t, status.Convert(err).Details(), 1)
	free()
	_, err = wait()
	require.NoError(t, err)
}
