package stimuli

import (
	"bufio"
	"context"
	"io"

	"golang.org/x/text/encoding/charmap"
)

// Text is a text file that is read as UTF-8 with a line feed at the end of each line,
// and without byte order mark, however it is written: also UTF-16 with such a mark,
// Windows-1252, and lines that end in carriage returns. It is not safe for concurrent
// use. The caller closes it.
type Text struct {
	*bufio.Reader
	io.Closer
	// Guessed says what was guessed about the file; it is "" for UTF-8 and UTF-16.
	Guessed string
}

// OpenText opens a text file. Errors are those of reading it, which it does twice.
func OpenText(ctx context.Context, name string) (*Text, error) {
	form, reader, file, err := (&session{ctx: ctx}).openText(ctx, name)
	if err != nil {
		return nil, err
	}
	t := &Text{Reader: reader, Closer: file}
	if form.encoding == charmap.Windows1252 {
		t.Guessed = textForm{encoding: form.encoding}.said()
	}
	return t, nil
}

// Explain adds to an error about a file that is not there what may be meant: a file whose
// name differs little, or how to get the content that a link stands for. Other errors are
// returned as they are.
func Explain(name string, err error) error { return explain(name, err) }
