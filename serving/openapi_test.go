package serving

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// describedRoutes are the methods and paths of the description.
func describedRoutes(t *testing.T, document libopenapi.Document) (routes []string) {
	model, err := document.BuildV3Model()
	require.NoError(t, err)
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method := range item.GetOperations().FromOldest() {
			routes = append(routes, strings.ToUpper(method)+" "+path)
		}
	}
	return routes
}

// formBody is multipart/form-data of fields and pictures.
func formBody(t testing.TB, fields map[string]string, pictures map[string][]byte) (body []byte, contentType string) {
	var buffer bytes.Buffer
	w := multipart.NewWriter(&buffer)
	for name, value := range fields {
		require.NoError(t, w.WriteField(name, value))
	}
	for name, picture := range pictures {
		part, err := w.CreateFormFile("picture", name)
		require.NoError(t, err)
		_, err = part.Write(picture)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return buffer.Bytes(), w.FormDataContentType()
}

// The description is OpenAPI 3.1, describes every route and no other, and what the handlers
// answer, well or badly, is what it says.
func TestOpenAPI(t *testing.T) {
	s, url := newTestService(t, Options{})
	document, err := libopenapi.NewDocument(openAPIText)
	require.NoError(t, err)
	assert.Equal(t, "3.1.0", document.GetVersion())
	check, problems := validator.NewValidator(document)
	require.Empty(t, problems)
	valid, findings := check.ValidateDocument()
	require.True(t, valid, findings)

	var served []string
	for _, pattern := range s.patterns {
		if pattern != "/v2/" && pattern != "/" {
			served = append(served, pattern)
		}
	}
	assert.ElementsMatch(t, append(served, "GET /metrics"), describedRoutes(t, document))

	pixels := imagesJSON(randomPixels(1, 3))
	picture := pngOf(t, randomPixels(1, 4))
	plain, plainType := formBody(t, map[string]string{"over_time": "true", "top": "2"},
		map[string][]byte{"a.png": picture})
	extract, extractType := formBody(t, map[string]string{"layers": "conv5", "reduce": "gap", "include_logits": "true"},
		map[string][]byte{"a.png": picture})
	npz, npzContent := formBody(t, map[string]string{"format": "npz"}, map[string][]byte{"a.png": picture})
	bad, badType := formBody(t, map[string]string{"nonsense": "1"}, map[string][]byte{"a.png": picture})
	model := "/v2/models/" + testModel
	for _, c := range []struct {
		method, path, contentType string
		body                      string
		status                    int
		invalid                   bool // the request is not what the description asks for
	}{
		{"GET", "/v2", "", "", 200, false},
		{"GET", "/v2/health/live", "", "", 200, false},
		{"GET", "/v2/health/ready", "", "", 200, false},
		{"GET", model, "", "", 200, false},
		{"GET", model + "/versions/1", "", "", 200, false},
		{"GET", model + "/ready", "", "", 200, false},
		{"GET", "/v2/models/none/ready", "", "", 404, false},
		{"GET", model + "/versions/2", "", "", 404, true},
		{"POST", model + "/infer",
			"application/json", `{"id":"1","parameters":{"layers":["conv5"],"reduce":"gap","on_ms":[0,60],"off_ms":"30,90","total_ms":170,"top":3},"inputs":[` + pixels + `]}`, 200, false},
		{"POST", model + "/versions/1/infer", "application/json", `{"inputs":[` + pixels +
			`],"outputs":[{"name":"classes/names"},{"name":"provenance"}]}`, 200, false},
		{"POST", model + "/infer", "application/json", `{"inputs":[` + pixels + `],"parameters":{"nonsense":1}}`, 400, true},
		{"POST", model + "/infer", "application/json", `{"inputs":[` + pixels + `],"parameters":{"layers":"conv99"}}`, 400,
			false},
		{"POST", "/v2/models/none/infer", "application/json", `{"inputs":[` + pixels + `]}`, 404, false},
		{"POST", "/v1/classify", plainType, string(plain), 200, false},
		{"POST", "/v1/extract", extractType, string(extract), 200, false},
		{"POST", "/v1/extract", npzContent, string(npz), 200, false},
		{"POST", "/v1/extract", badType, string(bad), 400, true},
		{"GET", "/metrics", "", "", 200, false},
		{"GET", "/openapi.json", "", "", 200, false},
	} {
		request, err := http.NewRequest(c.method, url+c.path, strings.NewReader(c.body))
		require.NoError(t, err)
		if c.contentType != "" {
			request.Header.Set("Content-Type", c.contentType)
		}
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		response.Body.Close()
		assert.Equal(t, c.status, response.StatusCode, "%s %s: %.300s", c.method, c.path, body)

		response.Body = io.NopCloser(bytes.NewReader(body))
		request.Body = io.NopCloser(strings.NewReader(c.body))
		if !strings.HasPrefix(c.contentType, "multipart/") { // whose parts the validator does not split
			valid, findings := check.ValidateHttpRequest(request)
			assert.Equal(t, !c.invalid, valid, "request %s %s: %v", c.method, c.path, findings)
		}
		valid, findings := check.ValidateHttpResponse(request, response)
		if !c.invalid || c.method == "POST" {
			assert.True(t, valid, "answer of %s %s: %v", c.method, c.path, findings)
		}
	}

	// The check can fail.
	request, err := http.NewRequest("GET", url+"/v2", nil)
	require.NoError(t, err)
	valid, _ = check.ValidateHttpResponse(request,
		&http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(`{"name":1}`))})
	assert.False(t, valid)
}
