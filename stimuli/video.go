package stimuli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tfconvrnn/go/internal/images"
)

// video reads the frames of a video through ffmpeg. They come as a stream of PPM
// pictures (P6), which is raw RGB with the size before each frame, so that
// nothing has to be known about the video beforehand and rotations are applied.
func (s *session) video(path string, frame func(*images.Picture) error) (err error) {
	program := s.options.FFmpeg
	if program == "" {
		program = "ffmpeg"
	}
	program, err = exec.LookPath(program)
	if err != nil {
		return fmt.Errorf("%s: %w: videos are read through it; install it (Debian, Ubuntu: apt install ffmpeg; conda: conda install ffmpeg), or save the frames as pictures",
			path, ErrNoFFmpeg)
	}
	want, hashed := s.files.Load(path)
	absolute, err := filepath.Abs(path) // also keeps a leading hyphen from being an option
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	limit := s.options.MaxFrames
	command := exec.CommandContext(ctx, program,
		"-nostdin", "-hide_banner", "-loglevel", "error",
		"-protocol_whitelist", "file,pipe", // a playlist cannot reach the network
		"-i", "file:"+absolute,
		"-map", "0:v:0", "-an", "-sn", "-dn",
		"-vf", "fps="+strconv.FormatFloat(s.options.FramesPerSecond, 'f', -1, 64),
		"-frames:v", strconv.Itoa(limit+1), // one more tells whether there are more
		"-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "pipe:1")
	command.WaitDelay = time.Second
	messages := &lastBytes{limit: 4096}
	command.Stderr = messages
	out, err := command.StdoutPipe()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("%s: %w: %w", path, ErrVideo, err)
	}
	stream := bufio.NewReaderSize(out, 1<<16)
	count, readErr := readFrames(stream, path, limit, frame)
	if readErr == nil && count == limit {
		if _, err := stream.Peek(1); err == nil {
			s.warnOnce("long video", "%s goes on after the %d frames that the presentation has time for, and perhaps others do",
				path, limit)
		}
	}
	if readErr == nil && s.shown(count) < count {
		s.warnOnce("hidden frames", "%s has %d frames, of which the presentation shows %d, and perhaps others have", path,
			count, s.shown(count))
	}
	// Where the stream ended by itself, how the program ended says why.
	ended := readErr == nil && count < limit || errors.Is(readErr, io.ErrUnexpectedEOF)
	if !ended {
		cancel()
	}
	waitErr := command.Wait()
	switch {
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	case ended && waitErr != nil:
		return fmt.Errorf("%s: %w: %w%s", path, ErrVideo, waitErr, messages.text())
	case readErr != nil:
		return readErr
	case count == 0:
		return fmt.Errorf("%s: %w: it has no frame%s", path, ErrVideo, messages.text())
	}
	if hashed {
		s.files.Delete(path)
		if now, err := s.fileHash(s.ctx, path); err != nil || any(now) != want {
			s.files.Store(path, want)
			return fmt.Errorf("%s: %w", path, errors.Join(ErrChanged, err))
		}
	}
	return nil
}

// readFrames reads PPM pictures until the stream or the limit is reached.
func readFrames(r *bufio.Reader, path string, limit int, frame func(*images.Picture) error) (count int, err error) {
	for count < limit {
		if _, err := r.Peek(1); errors.Is(err, io.EOF) {
			return count, nil
		}
		width, height, err := readPPMHeader(r)
		if err != nil {
			return count, fmt.Errorf("%s: %w: frame %d: %w", path, ErrVideo, count, err)
		}
		if width > images.MaxSide || height > images.MaxSide || width*height > images.MaxPixels {
			return count, fmt.Errorf("%s: %w: frames of %d×%d pixels", path, images.ErrTooLarge, width, height)
		}
		// What is read grows the memory, not what is declared.
		var pixels bytes.Buffer
		if _, err := io.CopyN(&pixels, r, int64(3*width*height)); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return count, fmt.Errorf("%s: %w: frame %d: %w", path, ErrVideo, count, err)
		}
		if err := frame(&images.Picture{Width: width, Height: height, Pix: pixels.Bytes(), Orientation: 1}); err != nil {
			return count, err
		}
		count++
	}
	return count, nil
}

// readPPMHeader reads "P6 WIDTH HEIGHT 255" and the one white space after it.
func readPPMHeader(r *bufio.Reader) (width, height int, err error) {
	var fields [4]string
	for i := range fields {
		var field strings.Builder
		for {
			c, err := r.ReadByte()
			if err != nil {
				return 0, 0, io.ErrUnexpectedEOF
			}
			if strings.IndexByte(" \t\r\n", c) >= 0 {
				if field.Len() == 0 {
					continue
				}
				break
			}
			if field.WriteByte(c); field.Len() > 8 {
				return 0, 0, errors.New("not a PPM picture")
			}
		}
		fields[i] = field.String()
	}
	width, err1 := strconv.Atoi(fields[1])
	height, err2 := strconv.Atoi(fields[2])
	if fields[0] != "P6" || fields[3] != "255" || err1 != nil || err2 != nil || width < 1 || height < 1 {
		return 0, 0, fmt.Errorf("not an 8-bit PPM picture: %q", fields)
	}
	return width, height, nil
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	limit int
	data  []byte
}

func (l *lastBytes) Write(p []byte) (int, error) {
	l.data = append(l.data, p...)
	if len(l.data) > l.limit {
		l.data = append([]byte(nil), l.data[len(l.data)-l.limit:]...)
	}
	return len(p), nil
}

func (l *lastBytes) text() string {
	text := strings.Join(strings.FieldsFunc(strings.ToValidUTF8(string(l.data), "\uFFFD"), func(r rune) bool {
		return r == '\n' || r == '\r'
	}), "; ")
	if text == "" {
		return ""
	}
	return ": " + text
}
