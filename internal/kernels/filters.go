package kernels

import (
	"fmt"
	"strings"
	"sync"
)

// provided has what reads the filters of each graph that is in use.
var provided = struct {
	sync.RWMutex
	readers map[string]func(variable string, to []float32) error
}{readers: map[string]func(string, []float32) error{}}

// Provide makes read the source of the filters in graphs that were rewritten with the key,
// until the returned function is called, which must be after the last run. read gets the name
// of a variable and the memory for all its values; it is called whenever filters are packed,
// from several goroutines at once.
func Provide(key string, read func(variable string, to []float32) error) (remove func()) {
	provided.Lock()
	defer provided.Unlock()
	provided.readers[key] = read
	return func() {
		provided.Lock()
		defer provided.Unlock()
		delete(provided.readers, key)
	}
}

// keyOf is how operations name filters: neither a graph's key nor variables have spaces.
func keyOf(graph string, variables []string) string {
	return graph + " " + strings.Join(variables, " ")
}

// readFilter reads a variable of a key.
func readFilter(key string, i int, to []float32) error {
	names := strings.Split(key, " ")
	provided.RLock()
	read := provided.readers[names[0]]
	provided.RUnlock()
	if read == nil || i+1 >= len(names) {
		return fmt.Errorf("there are no filters for %q", key)
	}
	return read(names[i+1], to)
}
