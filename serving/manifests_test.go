package serving

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// servingRuntime is KServe's, serving.kserve.io/v1alpha1, as its custom resource definition of
// version 0.17 has it, but for what only ModelMesh and several nodes use.
type servingRuntime struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		SupportedModelFormats []struct {
			Name       string  `json:"name"`
			Version    *string `json:"version"`
			AutoSelect *bool   `json:"autoSelect"`
			Priority   *int32  `json:"priority"`
		} `json:"supportedModelFormats"`
		MultiModel       *bool               `json:"multiModel"`
		Disabled         *bool               `json:"disabled"`
		ProtocolVersions []string            `json:"protocolVersions"`
		Containers       []corev1.Container  `json:"containers"`
		Volumes          []corev1.Volume     `json:"volumes"`
		NodeSelector     map[string]string   `json:"nodeSelector"`
		Affinity         *corev1.Affinity    `json:"affinity"`
		Tolerations      []corev1.Toleration `json:"tolerations"`
		Labels           map[string]string   `json:"labels"`
		Annotations      map[string]string   `json:"annotations"`
	} `json:"spec"`
}

// The manifests are what the API servers take: unknown and repeated fields are errors. What
// they say fits the service.
func TestManifests(t *testing.T) {
	text, err := os.ReadFile("../docs/manifests/deployment.yaml")
	require.NoError(t, err)
	documents := bytes.Split(text, []byte("\n---\n"))
	require.Len(t, documents, 2)
	var deployment appsv1.Deployment
	require.NoError(t, yaml.UnmarshalStrict(documents[0], &deployment))
	var service corev1.Service
	require.NoError(t, yaml.UnmarshalStrict(documents[1], &service))
	assert.Equal(t, "apps/v1 Deployment", deployment.APIVersion+" "+deployment.Kind)
	assert.Equal(t, "v1 Service", service.APIVersion+" "+service.Kind)
	pod := deployment.Spec.Template
	assert.Equal(t, deployment.Spec.Selector.MatchLabels, pod.Labels)
	assert.Equal(t, pod.Labels, service.Spec.Selector)
	checkContainer(t, pod.Spec.Containers)
	mounted := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		mounted[v.Name] = true
	}
	for _, m := range pod.Spec.Containers[0].VolumeMounts {
		assert.True(t, mounted[m.Name], m.Name)
	}

	text, err = os.ReadFile("../docs/manifests/servingruntime.yaml")
	require.NoError(t, err)
	var runtime servingRuntime
	require.NoError(t, yaml.UnmarshalStrict(text, &runtime))
	assert.Equal(t, "serving.kserve.io/v1alpha1 ServingRuntime", runtime.APIVersion+" "+runtime.Kind)
	assert.Equal(t, []string{"v2"}, runtime.Spec.ProtocolVersions)
	require.NotEmpty(t, runtime.Spec.SupportedModelFormats)
	assert.Equal(t, "kserve-container", runtime.Spec.Containers[0].Name, "the name that KServe merges by")
	checkContainer(t, runtime.Spec.Containers)
	require.Error(t, yaml.UnmarshalStrict(bytes.Replace(text, []byte("multiModel"), []byte("multimodell"), 1), &runtime),
		"the check can fail")
}

// checkContainer holds probes to paths that there are.
func checkContainer(t *testing.T, containers []corev1.Container) {
	require.Len(t, containers, 1)
	c := containers[0]
	assert.Equal(t, "serve", c.Args[0])
	s := emptyService(t, Options{Token: "0123456789abcdef"})
	for path, status := range map[string]int{c.ReadinessProbe.HTTPGet.Path: 503, c.LivenessProbe.HTTPGet.Path: 200} {
		assert.Equal(t, status, record(s, "GET", path, nil).Code, path)
	}
	assert.False(t, *c.SecurityContext.AllowPrivilegeEscalation)
}
