package console

import (
	"bufio"
	"context"
	"io"
	"strings"
)

// ReadAnswer reads yes, no, or an empty line for yes.
func ReadAnswer(ctx context.Context, in io.Reader) (bool, error) {
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(in).ReadString('\n')
		line <- text
	}()
	select {
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case text := <-line:
		if text == "" { // end of input
			return false, nil
		}
		answer := strings.ToLower(strings.TrimSpace(text))
		return answer == "" || answer == "y" || answer == "yes", nil
	}
}
