// Package chrometrace writes traces that Perfetto (ui.perfetto.dev) and
// chrome://tracing show, in the JSON array form of the Trace Event Format:
//
//	[{"name": …, "cat": …, "ph": "X", "pid": …, "tid": …, "ts": µs, "dur": µs, "args": {…}}, …]
//
// Complete events ("X") of one thread must lie within each other or apart. What may
// overlap, such as batches that wait, is therefore spread over as many tracks of one
// name as it takes.
package chrometrace

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/tfconvrnn/go/internal/atomicfile"
)

// Writer writes a trace. It is safe for concurrent use.
type Writer struct {
	path    string
	begun   time.Time
	process int

	mu     sync.Mutex
	file   *atomicfile.File
	out    *bufio.Writer
	err    error              // the first
	any    bool               // an Event is written
	tracks map[string][]track // by name
	next   int                // number of the next track
}

// track is a row of the display. Numbers stand in the place of threads.
type track struct {
	number int
	end    time.Time // of its last span
}

// Event is an event of a trace.
type Event struct {
	Name     string         `json:"name"`
	Category string         `json:"cat,omitempty"`
	Phase    string         `json:"ph"`
	Process  int            `json:"pid"`
	Thread   int            `json:"tid"`           // a number of ours: goroutines have no threads
	Begin    *float64       `json:"ts,omitempty"`  // microseconds
	Duration *float64       `json:"dur,omitempty"` // microseconds
	Args     map[string]any `json:"args,omitempty"`
}

// Create begins a trace of a process with the given name. The file appears under its
// name when the trace is closed; one that is there already is replaced. The caller
// closes the trace.
func Create(path, process string) (*Writer, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "trace", Path: path, Err: errors.New("it is not a regular file")}
	}
	file, err := atomicfile.Create(path)
	if err != nil {
		return nil, err
	}
	w := &Writer{
		path: path, begun: time.Now(), process: os.Getpid(),
		file: file, out: bufio.NewWriter(file), tracks: map[string][]track{}, next: 1,
	}
	w.write(Event{Name: "process_name", Phase: "M", Process: w.process, Args: map[string]any{"name": process}})
	return w, nil
}

// Span adds what took the time from begin to end, on the first track of the given
// name that was free then.
func (w *Writer) Span(track, name string, begin, end time.Time, args map[string]any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.write(w.complete(w.free(track, begin, end), track, name, begin, end, args))
}

// Nested is Span for a track whose spans the caller knows to lie within each other or
// apart.
func (w *Writer) Nested(track, name string, begin, end time.Time, args map[string]any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.tracks[track]) == 0 {
		w.add(track, end)
	}
	w.write(w.complete(w.tracks[track][0].number, track, name, begin, end, args))
}

func (w *Writer) complete(thread int, category, name string, begin, end time.Time, args map[string]any) Event {
	ts, duration := microseconds(begin.Sub(w.begun)), microseconds(max(0, end.Sub(begin)))
	return Event{Name: name, Category: category, Phase: "X", Process: w.process, Thread: thread, Begin: &ts,
		Duration: &duration, Args: args}
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// free returns the number of a track of the given name that is free at begin, and
// occupies it.
func (w *Writer) free(name string, begin, end time.Time) int {
	list := w.tracks[name]
	for i := range list {
		if !begin.Before(list[i].end) {
			list[i].end = end
			return list[i].number
		}
	}
	return w.add(name, end)
}

// add adds a track and returns its number.
func (w *Writer) add(name string, end time.Time) int {
	number := w.next
	w.next++
	w.tracks[name] = append(w.tracks[name], track{number, end})
	if count := len(w.tracks[name]); count > 1 {
		name = fmt.Sprintf("%s %d", name, count)
	}
	w.write(Event{Name: "thread_name", Phase: "M", Process: w.process, Thread: number, Args: map[string]any{"name": name}})
	w.write(Event{Name: "thread_sort_index", Phase: "M", Process: w.process, Thread: number,
		Args: map[string]any{"sort_index": number}})
	return number
}

func (w *Writer) write(e Event) {
	if w.err != nil || w.file == nil {
		return
	}
	text, err := json.Marshal(e)
	if err == nil {
		separator := ",\n"
		if !w.any {
			separator, w.any = "[\n", true
		}
		if _, err = w.out.WriteString(separator); err == nil {
			_, err = w.out.Write(text)
		}
	}
	w.err = err
}

// Close puts the file in place. Spans that come after it are dropped. Closing again
// does nothing.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return nil
	}
	file := w.file
	w.file = nil
	_, err := w.out.WriteString("\n]\n")
	if err = errors.Join(w.err, err, w.out.Flush()); err == nil {
		err = file.Commit()
	}
	if err != nil {
		return fmt.Errorf("write the trace %s: %w", w.path, errors.Join(err, file.Abort()))
	}
	return nil
}
