package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/yaml"
)

func manifests() map[string]*Kubernetes {
	return map[string]*Kubernetes{
		"plain": {Work: work(), Image: "tfconvrnn:cpu"},
		"gpu": {
			Work: Work{
				Name: "it", Plan: "/data/it.plan", Workers: 64, AtOnce: 16, CPUs: 8, Memory: 16 << 30, GPUs: "2",
				Time: 36 * time.Hour, Arguments: []string{"--device", "gpu", "--threads", "8"}, Restarts: 6,
			},
			Namespace: "lab", Image: "registry.example/tfconvrnn:gpu", SecretEnvironment: []string{"s3-keys"},
			ServiceAccount: "extract", Volumes: []Volume{{"features", "/data", false}, {"stimuli", "/stimuli", true},
				{"features", "/cache/savedmodels", false}},
			NodeSelector: map[string]string{"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB"}, User: 1000, Group: 1000,
		},
		"hostile": {
			Work: Work{Name: "it", Plan: hostile + " $(HOME) $$(HOME): - &a *b !!c\n---\nkind: Pod", Workers: 1,
				Arguments: []string{"--trust", "yes", "1e3", "~"}},
			Image: "tfconvrnn:cpu",
		},
	}
}

// decode reads a manifest as the API server does: unknown and repeated fields are
// errors.
func decode(t *testing.T, text string) (work, finish batchv1.Job) {
	t.Helper()
	documents := strings.Split(text, "\n---\n")
	require.Len(t, documents, 2)
	require.NoError(t, yaml.UnmarshalStrict([]byte(documents[0]), &work))
	require.NoError(t, yaml.UnmarshalStrict([]byte(documents[1]), &finish))
	return work, finish
}

func TestManifestsAsWritten(t *testing.T) {
	for name, k := range manifests() {
		text, err := k.Manifest()
		require.NoError(t, err, name)
		golden(t, name+".yaml", text)
	}
}

func TestManifest(t *testing.T) {
	text, err := manifests()["gpu"].Manifest()
	require.NoError(t, err)
	work, finish := decode(t, text)
	assert.Equal(t, "batch/v1", work.APIVersion)
	assert.Equal(t, "Job", work.Kind)
	assert.Equal(t, "lab", work.Namespace)
	assert.Equal(t, batchv1.IndexedCompletion, *work.Spec.CompletionMode)
	assert.EqualValues(t, 64, *work.Spec.Completions)
	assert.EqualValues(t, 16, *work.Spec.Parallelism)
	assert.EqualValues(t, 6, *work.Spec.BackoffLimitPerIndex)
	pod := work.Spec.Template.Spec
	assert.EqualValues(t, 36*3600, *pod.ActiveDeadlineSeconds)
	assert.EqualValues(t, "Never", pod.RestartPolicy, "a pod failure policy demands it")
	c := pod.Containers[0]
	assert.Equal(t, []string{"extract", "work", "--plan", "/data/it.plan", "--shard", "auto/64", "--device", "gpu",
		"--threads", "8"}, c.Args)
	memory := c.Resources.Limits.Memory()
	assert.EqualValues(t, 16<<30, memory.Value())
	gpus := c.Resources.Limits["nvidia.com/gpu"]
	assert.EqualValues(t, 2, gpus.Value())
	assert.EqualValues(t, 8, c.Resources.Requests.Cpu().Value())
	claims := map[string]string{}
	for _, v := range pod.Volumes {
		if v.PersistentVolumeClaim != nil {
			claims[v.Name] = v.PersistentVolumeClaim.ClaimName
		}
	}
	paths := []string{}
	for _, m := range c.VolumeMounts {
		paths = append(paths, m.MountPath)
		if m.MountPath == "/stimuli" {
			assert.Equal(t, "stimuli", claims[m.Name])
			assert.True(t, m.ReadOnly)
		}
	}
	assert.Equal(t, []string{"/cache", "/cache/savedmodels", "/data", "/stimuli", "/tmp"}, paths)
	assert.Len(t, claims, 2, "a claim is one volume however often it is mounted")

	assert.Equal(t, "it-finish", finish.Name)
	assert.Nil(t, finish.Spec.Completions)
	c = finish.Spec.Template.Spec.Containers[0]
	assert.Equal(t, []string{"extract", "finish", "--plan", "/data/it.plan", "--wait"}, c.Args)
	assert.Empty(t, c.Resources.Limits, "sealing needs no GPU")
}

// expand is what Kubernetes makes of an argument in a container that has the variable
// HOME: $(HOME) is expanded, $$ is one $.
func expand(argument string) string {
	return strings.NewReplacer("$$", "$", "$(HOME)", "expanded").Replace(argument)
}

func TestArgumentsArriveAsTheyAre(t *testing.T) {
	k := manifests()["hostile"]
	text, err := k.Manifest()
	require.NoError(t, err)
	work, _ := decode(t, text)
	args := work.Spec.Template.Spec.Containers[0].Args
	assert.Equal(t, k.Plan, expand(args[3]))
	assert.Equal(t, k.Arguments, args[6:])
}

// The schema itself, with what types cannot say; the decoding above always runs.
func TestManifestsFollowTheSchema(t *testing.T) {
	python := os.Getenv("TFCONVRNN_PYTHON")
	if python == "" {
		t.Skip("TFCONVRNN_PYTHON names no Python with the packages of scripts/python-requirements.txt")
	}
	paths, err := filepath.Glob("testdata/*.yaml")
	require.NoError(t, err)
	require.Len(t, paths, len(manifests()))
	validate := func(paths ...string) (string, error) {
		out, err := exec.Command(python, append([]string{"-m", "kubernetes_validate", "--strict"},
			paths...)...).CombinedOutput()
		return string(out), err
	}
	out, err := validate(paths...)
	require.NoError(t, err, out)
	// The validator refuses a manifest with a misspelt field.
	text, err := os.ReadFile(paths[0])
	require.NoError(t, err)
	spoiled := filepath.Join(t.TempDir(), "spoiled.yaml")
	require.NoError(t, os.WriteFile(spoiled, []byte(strings.Replace(string(text), "completions:", "completion:", 1)),
		0o666))
	_, err = validate(spoiled)
	require.Error(t, err)
}

func TestUnusableKubernetesOptions(t *testing.T) {
	for name, spoil := range map[string]func(k *Kubernetes){
		"namespace":       func(k *Kubernetes) { k.Namespace = "Lab" },
		"image":           func(k *Kubernetes) { k.Image = "" },
		"GPU type":        func(k *Kubernetes) { k.GPUs = "a100:1" },
		"service account": func(k *Kubernetes) { k.ServiceAccount = "a b" },
		"user":            func(k *Kubernetes) { k.User = -1 },
		"secret":          func(k *Kubernetes) { k.SecretEnvironment = []string{"A"} },
		"label":           func(k *Kubernetes) { k.NodeSelector = map[string]string{"a": "b c"} },
		"volumes":         func(k *Kubernetes) { k.Volumes = []Volume{{"a", "/a", false}, {"b", "/a", false}} },
		"claim":           func(k *Kubernetes) { k.Volumes = []Volume{{"a b", "/a", false}} },
		"mount":           func(k *Kubernetes) { k.Volumes = []Volume{{"a", "a", false}} },
		"encoding":        func(k *Kubernetes) { k.Plan = "/\xff" },
	} {
		k := &Kubernetes{Work: work(), Image: "image"}
		spoil(k)
		_, err := k.Manifest()
		assert.ErrorIs(t, err, ErrOption, name)
	}
	for text, want := range map[string]Volume{"a:/b": {"a", "/b", false}, "a:/b/c:ro": {"a", "/b/c", true}} {
		v, err := ParseVolume(text)
		require.NoError(t, err)
		assert.Equal(t, want, v)
	}
	for _, text := range []string{"", "a", "a:", ":/b", "a:b", "a:/b:rw", "a:/b/", "a:/b/../c"} {
		_, err := ParseVolume(text)
		assert.ErrorIs(t, err, ErrOption, text)
	}
}
