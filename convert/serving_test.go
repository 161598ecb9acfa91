package convert

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/zoo"
)

// TestTensorFlowServesSavedModels loads converted SavedModels with TensorFlow's own
// Python, calls their signatures and compares with the published implementation:
// one model of each decoder, so of each kind of SavedModel, one of them in the
// plain variant too. TFCONVRNN_TF_PYTHON names a Python that has tensorflow.
func TestTensorFlowServesSavedModels(t *testing.T) {
	python := os.Getenv("TFCONVRNN_TF_PYTHON")
	if python == "" {
		t.Skip("TFCONVRNN_TF_PYTHON names no Python that has tensorflow 2.21 (python3 -m venv tf && tf/bin/pip install tensorflow-cpu==2.21.0)")
	}
	for _, c := range []struct {
		model   string
		variant Variant
		all     bool // all calls, and a second model beside it
	}{
		{"timedecay_shallow", LightCone, true},
		{"timedecay_shallow", Plain, true},
		{"ugrnn_intermediate_t30_tmaxconf", LightCone, false},
		{"rgc_intermediate_dthresh", LightCone, false},
	} {
		t.Run(c.model+"/"+string(c.variant), func(t *testing.T) {
			m := zoo.Lookup(c.model)
			require.NotNil(t, m)
			dirs := make([]string, 1, 2)
			if c.all {
				dirs = dirs[:2]
			}
			for i := range dirs {
				source, err := Seeded(c.model, uint64(i+1))
				require.NoError(t, err)
				dirs[i] = filepath.Join(t.TempDir(), c.model)
				_, err = Convert(context.Background(), c.model, source, dirs[i], Options{Variant: c.variant})
				require.NoError(t, err)
				require.NoError(t, source.Close())
			}
			golden := filepath.Join("..", "testdata", "golden")
			arguments := []string{"testdata/check_signatures.py", dirs[0], filepath.Join(golden, c.model+".default.npz"),
				filepath.Join(golden, "images.npy"), strconv.Itoa(m.Default.Times), strconv.Itoa(m.Default.ImageOff)}
			command := exec.Command(python, append(arguments, dirs[1:]...)...)
			var stdout, stderr bytes.Buffer
			command.Stdout, command.Stderr = &stdout, &stderr
			if err := command.Run(); err != nil {
				lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
				t.Fatalf("%v: %s", err, strings.Join(lines[max(0, len(lines)-15):], "\n"))
			}
			var report map[string]any
			require.NoError(t, json.Unmarshal(stdout.Bytes(), &report), "%s", stdout.String())
			t.Log(stdout.String())
			assert.Equal(t, []any{PresentationSignature, ServingSignature}, report["signatures"])
			assert.EqualValues(t, len(m.Layers), report["layers"])
			calls := []string{"v2 serving_default", "v1 serving_default", "v1 presentation", "v1 presentation, logits"}
			if c.all {
				calls = append(calls, "v2 serving_default, one image", "v2 presentation", "v2 presentation, logits")
				assert.EqualValues(t, 0, report["disturbed by another model"])
				assert.Greater(t, report["difference to another model"], 0.1)
			}
			tolerance := 1e-4
			if m.Default.Times >= 20 { // these amplify rounding
				tolerance = 1e-3
			}
			for _, name := range calls {
				require.Contains(t, report, name)
				assert.LessOrEqual(t, report[name], tolerance, name)
			}
		})
	}
}
