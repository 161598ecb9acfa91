package stimuli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// textForm is how a text file is written, which only all of it tells.
type textForm struct {
	// encoding is nil for UTF-8.
	encoding encoding.Encoding
	// returns: lines end in a carriage return alone, as old programs for the Mac wrote.
	returns bool
	// spacedQuotes: cells are quoted after a space that follows the separator.
	spacedQuotes bool
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// utf16Of returns the encoding that a byte order mark names.
func utf16Of(start []byte) encoding.Encoding {
	switch {
	case bytes.HasPrefix(start, []byte("\xff\xfe")):
		return unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM)
	case bytes.HasPrefix(start, []byte("\xfe\xff")):
		return unicode.UTF16(unicode.BigEndian, unicode.ExpectBOM)
	}
	return nil
}

// examineText reads all of a text to tell its form. What is not UTF-8 is Windows-1252,
// which Excel writes, if it can be, and no part of it shows that UTF-8 was meant.
func examineText(ctx context.Context, r io.Reader) (textForm, error) {
	buffered := bufio.NewReaderSize(r, 1<<16)
	var form textForm
	start, _ := buffered.Peek(2)
	form.encoding = utf16Of(start)
	var text io.Reader = buffered
	if form.encoding != nil {
		text = form.encoding.NewDecoder().Reader(text)
	}
	var e textExaminer
	chunk := make([]byte, 1<<16)
	kept := 0 // bytes of a character that the last chunk began
	for {
		if err := context.Cause(ctx); err != nil {
			return form, err
		}
		n, err := io.ReadFull(text, chunk[kept:])
		data := chunk[:kept+n]
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return form, err
		}
		rest := 0
		if !last {
			rest = incompleteRune(data)
		}
		e.add(data[:len(data)-rest])
		if last {
			break
		}
		kept = copy(chunk, data[len(data)-rest:])
	}
	if form.encoding == nil && e.invalid && !e.several && !e.unknown {
		form.encoding = charmap.Windows1252
	}
	form.returns, form.spacedQuotes = e.returns, e.spacedQuotes
	return form, nil
}

// incompleteRune is the number of bytes at the end that begin a character.
func incompleteRune(data []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(data); n++ {
		if c := data[len(data)-n]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(data[len(data)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}

type textExaminer struct {
	invalid bool // UTF-8
	several bool // a character of several bytes
	unknown bool // a byte that Windows-1252 does not have

	ended, returns       bool // the first line has ended, by a carriage return alone
	carriage             bool // the last byte was one
	quoted, spacedQuotes bool
	// spaced: a separator and spaces were the last bytes; afterSeparator: a separator.
	afterSeparator, spaced bool
}

func (e *textExaminer) add(data []byte) {
	if !utf8.Valid(data) {
		for rest := data; len(rest) > 0; {
			r, n := utf8.DecodeRune(rest)
			if r == utf8.RuneError && n == 1 {
				e.invalid = true
				e.unknown = e.unknown || strings.IndexByte("\x81\x8d\x8f\x90\x9d", rest[0]) >= 0
			}
			e.several = e.several || n > 1
			rest = rest[n:]
		}
	} else if !e.several {
		e.several = bytes.ContainsFunc(data, func(r rune) bool { return r >= utf8.RuneSelf })
	}
	for _, c := range data {
		if e.carriage && !e.ended {
			e.ended, e.returns = true, c != '\n'
		}
		e.carriage = c == '\r'
		e.ended = e.ended || c == '\n'
		if c == '"' {
			e.spacedQuotes = e.spacedQuotes || e.spaced && !e.quoted
			e.quoted = !e.quoted
		}
		e.spaced = c == ' ' && (e.spaced || e.afterSeparator)
		e.afterSeparator = c == ',' || c == ';'
	}
}

// reader returns the text as UTF-8 with line feeds at the ends of lines.
func (f textForm) reader(r io.Reader) *bufio.Reader {
	if f.encoding != nil {
		r = f.encoding.NewDecoder().Reader(r)
	}
	if f.returns {
		r = transform.NewReader(r, &lineFeeds{})
	}
	buffered := bufio.NewReaderSize(r, 1<<16)
	if mark, _ := buffered.Peek(len(byteOrderMark)); bytes.Equal(mark, byteOrderMark) {
		_, _ = buffered.Discard(len(byteOrderMark))
	}
	return buffered
}

// lineFeeds makes line feeds of carriage returns that none follows.
type lineFeeds struct{ transform.NopResetter }

func (*lineFeeds) Transform(dst, src []byte, atEOF bool) (written, read int, err error) {
	for read < len(src) {
		if written == len(dst) {
			return written, read, transform.ErrShortDst
		}
		c := src[read]
		if c == '\r' {
			if read+1 == len(src) && !atEOF {
				return written, read, transform.ErrShortSrc
			}
			if read+1 == len(src) || src[read+1] != '\n' {
				c = '\n'
			}
		}
		dst[written] = c
		written++
		read++
	}
	return written, read, nil
}

// quotedReturns doubles carriage returns before line feeds within quotes: the csv package
// takes one away, which belongs to the cell.
type quotedReturns struct{ quoted, carriage bool }

func (q *quotedReturns) Reset() { *q = quotedReturns{} }

func (q *quotedReturns) Transform(dst, src []byte, atEOF bool) (written, read int, err error) {
	for ; read < len(src); read++ {
		if written+2 > len(dst) {
			return written, read, transform.ErrShortDst
		}
		c := src[read]
		if c == '\n' && q.quoted && q.carriage {
			dst[written] = '\r'
			written++
		}
		if c == '"' {
			q.quoted = !q.quoted
		}
		q.carriage = c == '\r'
		dst[written] = c
		written++
	}
	return written, read, nil
}

// said tells how a text was read where that was a guess.
func (f textForm) said() string {
	var notes []string
	if f.encoding == charmap.Windows1252 {
		notes = append(notes, "it is not UTF-8 and is read as Windows-1252 (CP-1252)")
	}
	if f.spacedQuotes {
		notes = append(notes, "cells are quoted after a space, so spaces at their beginning are left out")
	}
	return strings.Join(notes, "; ")
}

// openText opens a text file, of whatever form, and says what was guessed about it.
// The caller closes it.
func (s *session) openText(ctx context.Context, name string) (textForm, *bufio.Reader, io.Closer, error) {
	var form textForm
	file, err := s.open(name)
	if err != nil {
		return form, nil, nil, err
	}
	form, err = examineText(ctx, &atMost{file, maxTableBytes})
	if err = errors.Join(err, file.Close()); err != nil {
		return form, nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	if file, err = s.open(name); err != nil {
		return form, nil, nil, err
	}
	return form, form.reader(&atMost{file, maxTableBytes}), file, nil
}

// atMost reads so many bytes, and fails where there are more, so that no text is cut off
// without a word.
type atMost struct {
	io.Reader
	left int64
}

func (a *atMost) Read(p []byte) (int, error) {
	if a.left > 0 {
		n, err := a.Reader.Read(p[:min(int64(len(p)), a.left)])
		a.left -= int64(n)
		return n, err
	}
	n, err := a.Reader.Read(make([]byte, 1))
	if n > 0 {
		return 0, fmt.Errorf("%w: it is larger than the %d bytes that are read", ErrTable, maxTableBytes)
	}
	return 0, err
}
