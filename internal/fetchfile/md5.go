package fetchfile

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
)

// statedMD5 returns the MD5 that a response states, in hexadecimal. S3's ETags
// are MD5s, but for files that were uploaded in parts or encrypted by a key.
func statedMD5(response *http.Response) (sum string, fromETag bool) {
	// Content-MD5 is that of the bytes sent, which are only a part of the file for 206.
	if raw, err := base64.StdEncoding.DecodeString(response.Header.Get("Content-MD5")); err == nil &&
		len(raw) == md5.Size && response.StatusCode == http.StatusOK {
		return hex.EncodeToString(raw), false
	}
	tag := strings.ToLower(strings.Trim(response.Header.Get("ETag"), `"`))
	if raw, err := hex.DecodeString(tag); err == nil && len(raw) == md5.Size {
		return tag, true
	}
	return "", false
}
