package explorer_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/explorer"
)

type recipe struct{ Command, Program string }

// The command and the program that the page gives make the same numbers.
func TestRecipesMakeTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the command")
	}
	server := serve(t, newEngine(t, model), explorer.Options{})
	id, a := run(t, server, photograph(t, "chelsea.png"), `{"model":"timedecay_shallow","name":"it's mine.png",
		"presentation":{"times":14,"episodes":[[1,3],[5,9]],"blank":"#804020"}}`)
	got := getJSON[recipe](t, server, "/explorer/runs/"+id+"/recipe")
	assert.Contains(t, got.Command, "testdata/pictures/chelsea.png", "a built-in picture is known by its pixels")

	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	bin, dir := t.TempDir(), t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "tfconvrnn-cli"), "./cmd/tfconvrnn-cli")
	build.Dir = root
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, os.Symlink(filepath.Join(root, "testdata"), filepath.Join(dir, "testdata")))
	command := exec.Command("sh", "-euc", got.Command)
	command.Dir = dir
	command.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	out, err = command.CombinedOutput()
	require.NoError(t, err, "%s\n%s", got.Command, out)
	made, err := features.OpenArrays(filepath.Join(dir, "timedecay_shallow-chelsea.npz"))
	require.NoError(t, err, got.Command)
	defer made.Close()
	path := filepath.Join(dir, "page.npz")
	require.NoError(t, os.WriteFile(path, get(t, server, "/explorer/runs/"+id+"/features.npz", 200), 0o666))
	sent, err := features.OpenArrays(path)
	require.NoError(t, err)
	defer sent.Close()
	for _, name := range sent.Names() {
		if name == "provenance" || name == "stimuli" {
			continue
		}
		want, err := made.Array(name)
		require.NoError(t, err)
		have, err := sent.Array(name)
		require.NoError(t, err)
		require.Equal(t, want.Info(), have.Info(), name)
		if strings.Contains(name, "/") {
			continue
		}
		a, err := want.Float32s(0, 1)
		require.NoError(t, err)
		b, err := have.Float32s(0, 1)
		require.NoError(t, err)
		require.Equal(t, a, b, name)
	}

	source := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(source, []byte(got.Program), 0o666))
	program := exec.Command("go", "run", source)
	program.Dir = root
	var complaints bytes.Buffer
	program.Stderr = &complaints
	out, err = program.Output()
	require.NoError(t, err, "%s\n%s", got.Program, &complaints)
	means := map[string][]string{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Split(lines.Text(), "\t")
		means[fields[0]] = append(means[fields[0]], strings.TrimPrefix(fields[2], "mean "))
	}
	// A layer that takes long to arrive has an event for each part of it; the last holds all timesteps.
	shown := map[string][]string{}
	for _, e := range a.events {
		if e.name != "layer" {
			continue
		}
		var l struct {
			Layer string
			Mean  []float64
		}
		require.NoError(t, json.Unmarshal(e.data, &l))
		var mean []string
		for _, v := range l.Mean {
			mean = append(mean, fmt.Sprintf("%.6g", v))
		}
		shown[l.Layer] = mean
	}
	require.Len(t, shown, 6)
	for layer, mean := range shown {
		assert.Equal(t, mean, means[layer], layer)
	}
}

// Every presentation has its flags, and names of files are quoted.
func TestCommands(t *testing.T) {
	server := serve(t, newEngine(t, model), explorer.Options{})
	picture := append(photograph(t, "chelsea.png"), 0) // the same pixels
	for presentation, want := range map[string][]string{
		`{"times":16,"episodes":[[0,12]]}`: {"", ""},
		`{"times":26,"episodes":[[0,10]]}`: {"--presentation neural", "tfconvrnn.Neural()"},
		`{"times":20,"episodes":[[0,20]]}`: {"--presentation constant \\\n    --times 20",
			"tfconvrnn.Constant(20)"},
		`{"times":13,"episodes":[]}`: {
			"--presentation custom \\\n    --times 13 \\\n    --image-off 0", "tfconvrnn.Custom(13, 0)"},
		`{"times":13,"episodes":[[2,4],[6,7]]}`: {"--on-ms 20,60 \\\n    --off-ms 40,70 \\\n    --total-ms 130",
			"tfconvrnn.Episodes(13, tfconvrnn.Episode{On: 2, Off: 4}, tfconvrnn.Episode{On: 6, Off: 7})"},
		`{"times":16,"episodes":[[0,12]],"blank":"gray"}`:    {"--blank gray", "tfconvrnn.Default().WithBlank(blank)"},
		`{"times":16,"episodes":[[0,12]],"blank":"#10ff00"}`: {"--blank '#10ff00'", `tfconvrnn.ParseBlank("#10ff00"`},
	} {
		id, _ := run(t, server, picture, `{"model":"timedecay_shallow","presentation":`+presentation+`}`)
		got := getJSON[recipe](t, server, "/explorer/runs/"+id+"/recipe?layer=conv5&layer=conv2")
		assert.Contains(t, got.Command, want[0])
		assert.Contains(t, got.Program, want[1])
		assert.Contains(t, got.Command, "--layers conv2,conv5 ")
		assert.Contains(t, got.Program, `tfconvrnn.Layers("conv2", "conv5")`)
	}
	noise := bytes.Repeat([]byte("0123456789ab"), 224*224/4)
	id, _ := run(t, server, append([]byte("P6 224 224 255\n"), noise...),
		`{"model":"timedecay_shallow","name":"-it's; rm.ppm","presentation":{"times":2,"episodes":[[0,1]]}}`)
	got := getJSON[recipe](t, server, "/explorer/runs/"+id+"/recipe")
	assert.Contains(t, got.Command, ` './-it'\''s; rm.ppm'`)
	assert.Contains(t, got.Command, "--out timedecay_shallow--it_s_rm.npz")
	get(t, server, "/explorer/runs/"+id+"/recipe?layer=conv9", 404)
}
