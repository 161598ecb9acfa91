package serving

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// contentPolicy lets the page load nothing from elsewhere, run no inline script, and be shown
// in no frame.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; font-src 'self'; " +
	"manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// secured is a handler behind the checks that keep others out.
func (s *Service) secured(next http.Handler) http.Handler {
	// It refuses what another site has a browser send, by Sec-Fetch-Site and Origin.
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusForbidden, "requests of other web sites are refused")
	}))
	next = origins.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if !s.hostAllowed(r.Host) {
			writeError(w, http.StatusMisdirectedRequest, "this service is not called "+strings.ToValidUTF8(r.Host, "?")+
				"; names other than localhost and addresses have to be allowed when it is started")
			return
		}
		if !s.authorized(r.Header.Get("Authorization")) && !isProbe(r) {
			h.Set("WWW-Authenticate", `Basic realm="tfconvrnn", charset="UTF-8"`)
			writeError(w, http.StatusUnauthorized, "this service needs a token: Authorization: Bearer TOKEN")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isProbe says whether a request only asks for health, which says nothing else.
func isProbe(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.HasPrefix(r.URL.Path, "/v2/health/")
}

// authorized compares what an Authorization header shows with the token, in constant time.
func (s *Service) authorized(header string) bool {
	if s.options.Token == "" {
		return true
	}
	shown := ""
	scheme, rest, _ := strings.Cut(header, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		shown = strings.TrimSpace(rest)
	case strings.EqualFold(scheme, "Basic"):
		r := http.Request{Header: http.Header{"Authorization": {header}}}
		_, shown, _ = r.BasicAuth()
	}
	// Hashes have one length, so that not even that of the token can be measured.
	want, have := sha256.Sum256([]byte(s.options.Token)), sha256.Sum256([]byte(shown))
	return subtle.ConstantTimeCompare(want[:], have[:]) == 1
}

// hostAllowed says whether a request may call the service so. A web page can have its own name
// resolve to this machine, but not make a browser call it by an address or by localhost.
func (s *Service) hostAllowed(host string) bool {
	if s.options.Token != "" {
		return true // which such a page does not know
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" || host == "" {
		return true
	}
	for _, allowed := range s.options.Hosts {
		allowed = strings.ToLower(allowed)
		below, pattern := strings.CutPrefix(allowed, "*")
		if host == allowed || pattern && strings.HasSuffix(host, below) {
			return true
		}
	}
	return false
}
