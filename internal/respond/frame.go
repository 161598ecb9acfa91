package respond

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Limits of what a frame may say of itself. A peer that lies costs no more memory than it sends.
const (
	maxHeader  = 1 << 20
	maxPayload = 4 << 30
	readAtOnce = 16 << 20
)

// ErrFrame means that what was received is no frame, after which nothing can be read any more.
var ErrFrame = errors.New("not a frame of the protocol")

// prefixBytes is the length of what comes first in a frame: that of the header as uint32, and
// that of the payload as uint64, both little-endian.
const prefixBytes = 12

// readFrame reads a frame; payload is appended to buffer[:0]. The error is io.EOF where the
// stream ends between two frames.
func readFrame(in io.Reader, buffer []byte) (header, payload []byte, err error) {
	var prefix [prefixBytes]byte
	if _, err := io.ReadFull(in, prefix[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: the stream ends within its first %d bytes", ErrFrame, prefixBytes)
		}
		return nil, nil, err
	}
	headerBytes, payloadBytes := binary.LittleEndian.Uint32(prefix[:4]), binary.LittleEndian.Uint64(prefix[4:])
	if headerBytes > maxHeader || payloadBytes > maxPayload {
		return nil, nil, fmt.Errorf("%w: a header of %d and a payload of %d bytes; at most %d and %d are possible",
			ErrFrame, headerBytes, payloadBytes, maxHeader, int64(maxPayload))
	}
	if header, err = readAll(in, nil, int64(headerBytes)); err == nil {
		payload, err = readAll(in, buffer[:0], int64(payloadBytes))
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: the stream ends within it", ErrFrame)
	}
	return header, payload, err
}

// readAll reads n bytes behind those of a buffer, which grows with what arrives.
func readAll(in io.Reader, buffer []byte, n int64) ([]byte, error) {
	for n > 0 {
		step := int(min(n, max(readAtOnce, int64(cap(buffer)-len(buffer)))))
		at := len(buffer)
		if need := at + step; need > cap(buffer) {
			grown := make([]byte, at, need)
			copy(grown, buffer)
			buffer = grown
		}
		buffer = buffer[:at+step]
		if _, err := io.ReadFull(in, buffer[at:]); err != nil {
			return buffer[:at], err
		}
		n -= int64(step)
	}
	return buffer, nil
}

// writeFrame writes a frame.
func writeFrame(out io.Writer, header any, payload []byte) error {
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	frame := make([]byte, prefixBytes, prefixBytes+len(text))
	binary.LittleEndian.PutUint32(frame, uint32(len(text)))
	binary.LittleEndian.PutUint64(frame[4:], uint64(len(payload)))
	if _, err := out.Write(append(frame, text...)); err != nil {
		return err
	}
	if len(payload) > 0 {
		_, err = out.Write(payload)
	}
	return err
}
