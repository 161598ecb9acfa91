package chrometrace

import (
	"encoding/json"
	"fmt"
	"os"
)

// Read reads a trace and checks what viewers take for granted: every span has process,
// thread, begin and duration, every thread has a name, and the spans of a thread lie
// within each other or apart.
func Read(path string) ([]Event, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var events []Event
	if err := json.Unmarshal(data, &events); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	named := map[int]bool{}
	spans := map[int][]Event{}
	for _, e := range events {
		switch {
		case e.Phase == "M":
			named[e.Thread] = named[e.Thread] || e.Name == "thread_name"
		case e.Phase != "X":
			return nil, fmt.Errorf("%s: %s has phase %q", path, e.Name, e.Phase)
		case e.Name == "" || e.Process <= 0 || e.Thread <= 0 || e.Begin == nil || e.Duration == nil:
			return nil, fmt.Errorf("%s: %q lacks a process, a thread or its time", path, e.Name)
		case *e.Begin < 0 || *e.Duration < 0:
			return nil, fmt.Errorf("%s: %s has a negative time", path, e.Name)
		default:
			spans[e.Thread] = append(spans[e.Thread], e)
		}
	}
	for thread, list := range spans {
		if !named[thread] {
			return nil, fmt.Errorf("%s: thread %d has no name", path, thread)
		}
		for i, a := range list {
			for _, b := range list[i+1:] {
				if !nested(a, b) {
					return nil, fmt.Errorf("%s: %s and %s overlap on thread %d", path, a.Name, b.Name, thread)
				}
			}
		}
	}
	return events, nil
}

// nested says whether spans lie within each other or apart, to the nanosecond.
func nested(a, b Event) bool {
	const nanosecond = 1e-3
	a0, a1, b0, b1 := *a.Begin, *a.Begin+*a.Duration, *b.Begin, *b.Begin+*b.Duration
	apart := a1 <= b0+nanosecond || b1 <= a0+nanosecond
	within := a0 >= b0-nanosecond && a1 <= b1+nanosecond || b0 >= a0-nanosecond && b1 <= a1+nanosecond
	return apart || within
}
