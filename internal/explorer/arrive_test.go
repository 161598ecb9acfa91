package explorer_test

import (
	"bufio"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/explorer"
)

// What is computed comes while the rest is computed: layers are drawn when they are there.
func TestLayersArrive(t *testing.T) {
	e := newEngine(t, model)
	server := serve(t, e, explorer.Options{})
	// The run stops when conv1 is there, and goes on when somebody has seen it.
	stopped, goOn := make(chan struct{}), make(chan struct{})
	e.computed = func(layer, timestep int) {
		if layer == 0 && timestep == 25 {
			close(stopped)
			<-goOn
		}
	}
	form, contentType := respondForm(t, photograph(t, "chelsea.png"), neural)
	answer, err := server.Client().Post(server.URL+"/explorer/respond", contentType, form)
	require.NoError(t, err)
	defer answer.Body.Close()
	<-stopped
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	var id string
	seen := map[string]int{}
	next := func() bool {
		if !lines.Scan() {
			return false
		}
		var data struct {
			Run, Layer string
			Mean       []float64
		}
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			require.NoError(t, json.Unmarshal([]byte(text), &data))
			if data.Run != "" {
				id = data.Run
			}
			if data.Layer != "" {
				seen[data.Layer] = len(data.Mean)
			}
		}
		return true
	}
	for seen["conv1"] < 26 {
		require.True(t, next())
	}
	m := readMaps(t, get(t, server, "/explorer/runs/"+id+"/maps?layer=conv1&count=2", 200))
	assert.Equal(t, 26, m.Times)
	assert.Less(t, seen["imnetds"], 26)
	get(t, server, "/explorer/runs/"+id+"/maps?layer=conv5&count=2", 409)
	get(t, server, "/explorer/runs/"+id+"/recipe", 409)
	get(t, server, "/explorer/runs/"+id+"/features.npz", 409)
	get(t, server, "/explorer/runs/"+id+"/similarity?other="+id, 409)
	get(t, server, "/explorer/runs/"+id+"/maps?layer=conv77", 404)
	close(goOn)
	for next() {
	}
	assert.Equal(t, 26, seen["imnetds"])
	get(t, server, "/explorer/runs/"+id+"/maps?layer=conv5&count=2", 200)
	get(t, server, "/explorer/runs/"+id+"/recipe", 200)
}
