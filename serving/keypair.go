package serving

import (
	"crypto/tls"
	"os"
	"sync"
	"time"
)

// keyPair is a certificate that is read again when its files have changed.
type keyPair struct {
	certificate, key string

	mu      sync.Mutex
	changed time.Time
	pair    *tls.Certificate
}

// get is a tls.Config's GetCertificate. What cannot be read leaves the certificate as it was.
func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	info, err := os.Stat(k.certificate)
	if err == nil && (k.pair == nil || !info.ModTime().Equal(k.changed)) {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(k.certificate, k.key); err == nil {
			k.pair, k.changed = &pair, info.ModTime()
		}
	}
	if k.pair != nil {
		return k.pair, nil
	}
	return nil, err
}
