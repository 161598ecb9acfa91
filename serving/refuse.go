package serving

import (
	"fmt"
	"net/http"
	"strings"
)

// refuseMethod refuses other methods than that of a path.
func refuseMethod(method string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Allow", method)
		writeError(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s has %s, not %s", r.URL.Path, method, r.Method))
		return nil
	}
}

// notFound refuses a path that there is not.
func notFound(w http.ResponseWriter, r *http.Request) error {
	writeError(w, http.StatusNotFound, fmt.Sprintf("there is no %s; /openapi.json describes what there is", r.URL.Path))
	return nil
}

// refuseREST names what is not supported.
func refuseREST(w http.ResponseWriter, r *http.Request) error {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	for prefix, what := range map[string]string{
		"systemsharedmemory": "shared memory", "cudasharedmemory": "shared memory", "repository": "the model repository",
		"trace": "the trace setting", "logging": "the log setting",
	} {
		if path == prefix || strings.HasPrefix(path, prefix+"/") {
			return unsupported(what)
		}
	}
	for suffix, what := range map[string]string{
		"/stats": "the statistics extension (/metrics has figures)", "/config": "the model configuration extension",
		"/generate":        "the generate extension",
		"/generate_stream": "the generate extension", "/trace/setting": "the trace setting",
		"/unload": "the model repository", "/load": "the model repository",
	} {
		if strings.HasSuffix(path, suffix) {
			return unsupported(what)
		}
	}
	return notFound(w, r)
}
