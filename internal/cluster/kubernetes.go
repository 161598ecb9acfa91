package cluster

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Kubernetes is an extraction as two Kubernetes Jobs run it: an Indexed one with the
// workers, and one that waits for all chunks and seals the store.
type Kubernetes struct {
	Work
	Namespace string // "" for the caller's
	// Image holds the program as its entrypoint, as the images of the Dockerfile do.
	Image string
	// Volumes are mounted where the plan, the stimuli, the store and the models have
	// the paths that the plan and Arguments name.
	Volumes []Volume
	// SecretEnvironment names secrets whose keys become environment variables, such as
	// an object store's credentials.
	SecretEnvironment []string
	ServiceAccount    string
	// NodeSelector are labels that a node must have.
	NodeSelector map[string]string
	// User and Group own what is written; 0 for the image's user.
	User, Group int64
}

// Volume is a persistent volume claim and where it is mounted.
type Volume struct {
	Claim    string
	Path     string // in the pods, absolute
	ReadOnly bool
}

// ParseVolume reads CLAIM:/PATH or CLAIM:/PATH:ro.
func ParseVolume(s string) (Volume, error) {
	claim, where, ok := strings.Cut(s, ":")
	v := Volume{Claim: claim, Path: where}
	if mount, mode, given := strings.Cut(where, ":"); given {
		v.Path, v.ReadOnly = mount, true
		ok = ok && mode == "ro"
	}
	if !ok {
		return v, optionf("volume %q: write CLAIM:/path, or CLAIM:/path:ro to only read from it", s)
	}
	return v, v.check()
}

func (v Volume) check() error {
	if !kubernetesName.MatchString(v.Claim) || len(v.Claim) > 253 {
		return optionf("volume claim %q is no name of Kubernetes", v.Claim)
	}
	if !path.IsAbs(v.Path) || path.Clean(v.Path) != v.Path || strings.ContainsAny(v.Path, ":\x00") {
		return optionf("volume %s is to be mounted at %q: write an absolute path without colons", v.Claim, v.Path)
	}
	return nil
}

var (
	kubernetesName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	namespaceName  = lazily(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	imageName      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/:@-]*$`)
	labelKey       = lazily(
		`^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
	labelValue      = lazily(`^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$`)
	finishSuffix    = "-finish"
	appLabel        = "app.kubernetes.io/name"
	jobLabel        = "app.kubernetes.io/instance"
	componentLabel  = "app.kubernetes.io/component"
	permanentErrors = []int32{2, 3, 4} // exit codes of what would fail again
)

// maxUser is the highest id that Kubernetes takes.
const maxUser = 1<<31 - 1

func (k *Kubernetes) check() error {
	if err := k.Work.check(); err != nil {
		return err
	}
	kind, _ := k.gpu()
	switch {
	case k.Namespace != "" && !namespaceName().MatchString(k.Namespace):
		return optionf("namespace %q is no name of Kubernetes", k.Namespace)
	case !imageName.MatchString(k.Image):
		return optionf("image %q: name one, as in registry.example/tfconvrnn:cpu", k.Image)
	case kind != "":
		return optionf("GPUs %q: Kubernetes chooses a type by the node's labels, not by name", k.GPUs)
	case k.ServiceAccount != "" && !kubernetesName.MatchString(k.ServiceAccount):
		return optionf("service account %q is no name of Kubernetes", k.ServiceAccount)
	case k.User < 0 || k.Group < 0 || k.User > maxUser || k.Group > maxUser:
		return optionf("user %d, group %d: ids are 0 … %d", k.User, k.Group, maxUser)
	}
	mounted := map[string]bool{}
	for _, v := range k.Volumes {
		if err := v.check(); err != nil {
			return err
		}
		if mounted[v.Path] {
			return optionf("two volumes at %s", v.Path)
		}
		mounted[v.Path] = true
	}
	for _, secret := range k.SecretEnvironment {
		if !kubernetesName.MatchString(secret) {
			return optionf("secret %q is no name of Kubernetes", secret)
		}
	}
	for key, value := range k.NodeSelector {
		if !labelKey().MatchString(key) || !labelValue().MatchString(value) {
			return optionf("node label %q=%q is none of Kubernetes", key, value)
		}
	}
	for _, text := range append([]string{k.Plan}, k.Arguments...) {
		if !utf8.ValidString(text) {
			return optionf("%q is not UTF-8, as a manifest must be", text)
		}
	}
	return nil
}

// What is written of the Kubernetes API, v1.33: names and nesting are those of
// batch/v1 Job.
type (
	job struct {
		APIVersion string   `yaml:"apiVersion"`
		Kind       string   `yaml:"kind"`
		Metadata   metadata `yaml:"metadata"`
		Spec       jobSpec  `yaml:"spec"`
	}
	metadata struct {
		Name      string            `yaml:"name,omitempty"`
		Namespace string            `yaml:"namespace,omitempty"`
		Labels    map[string]string `yaml:"labels"`
	}
	jobSpec struct {
		CompletionMode       string            `yaml:"completionMode,omitempty"`
		Completions          int               `yaml:"completions,omitempty"`
		Parallelism          int               `yaml:"parallelism,omitempty"`
		BackoffLimit         *int              `yaml:"backoffLimit,omitempty"`
		BackoffLimitPerIndex *int              `yaml:"backoffLimitPerIndex,omitempty"`
		PodFailurePolicy     *podFailurePolicy `yaml:"podFailurePolicy,omitempty"`
		Template             podTemplate       `yaml:"template"`
	}
	podFailurePolicy struct {
		Rules []podFailureRule `yaml:"rules"`
	}
	podFailureRule struct {
		Action          string         `yaml:"action"`
		OnPodConditions []podCondition `yaml:"onPodConditions,omitempty"`
		OnExitCodes     *exitCodes     `yaml:"onExitCodes,omitempty"`
	}
	podCondition struct {
		Type string `yaml:"type"`
	}
	exitCodes struct {
		ContainerName string  `yaml:"containerName"`
		Operator      string  `yaml:"operator"`
		Values        []int32 `yaml:"values,flow"`
	}
	podTemplate struct {
		Metadata metadata `yaml:"metadata"`
		Spec     podSpec  `yaml:"spec"`
	}
	podSpec struct {
		RestartPolicy                 string            `yaml:"restartPolicy"`
		TerminationGracePeriodSeconds int               `yaml:"terminationGracePeriodSeconds"`
		ActiveDeadlineSeconds         int64             `yaml:"activeDeadlineSeconds,omitempty"`
		AutomountServiceAccountToken  bool              `yaml:"automountServiceAccountToken"`
		ServiceAccountName            string            `yaml:"serviceAccountName,omitempty"`
		NodeSelector                  map[string]string `yaml:"nodeSelector,omitempty"`
		Tolerations                   []toleration      `yaml:"tolerations,omitempty"`
		SecurityContext               podSecurity       `yaml:"securityContext"`
		Containers                    []container       `yaml:"containers"`
		Volumes                       []volume          `yaml:"volumes"`
	}
	toleration struct {
		Key      string `yaml:"key"`
		Operator string `yaml:"operator"`
		Effect   string `yaml:"effect"`
	}
	podSecurity struct {
		RunAsNonRoot   bool           `yaml:"runAsNonRoot"`
		RunAsUser      int64          `yaml:"runAsUser,omitempty"`
		RunAsGroup     int64          `yaml:"runAsGroup,omitempty"`
		FSGroup        int64          `yaml:"fsGroup,omitempty"`
		SeccompProfile seccompProfile `yaml:"seccompProfile"`
	}
	seccompProfile struct {
		Type string `yaml:"type"`
	}
	container struct {
		Name            string            `yaml:"name"`
		Image           string            `yaml:"image"`
		Args            []string          `yaml:"args"`
		EnvFrom         []environment     `yaml:"envFrom,omitempty"`
		Resources       resources         `yaml:"resources,omitempty"`
		SecurityContext containerSecurity `yaml:"securityContext"`
		VolumeMounts    []volumeMount     `yaml:"volumeMounts"`
	}
	environment struct {
		SecretRef named `yaml:"secretRef"`
	}
	named struct {
		Name string `yaml:"name"`
	}
	resources struct {
		Requests map[string]string `yaml:"requests,omitempty"`
		Limits   map[string]string `yaml:"limits,omitempty"`
	}
	containerSecurity struct {
		AllowPrivilegeEscalation bool         `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool         `yaml:"readOnlyRootFilesystem"`
		Capabilities             capabilities `yaml:"capabilities"`
	}
	capabilities struct {
		Drop []string `yaml:"drop,flow"`
	}
	volumeMount struct {
		Name      string `yaml:"name"`
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly,omitempty"`
	}
	volume struct {
		Name                  string       `yaml:"name"`
		PersistentVolumeClaim *volumeClaim `yaml:"persistentVolumeClaim,omitempty"`
		EmptyDir              *struct{}    `yaml:"emptyDir,omitempty"`
	}
	volumeClaim struct {
		ClaimName string `yaml:"claimName"`
	}
)

// containerName is that of the only container in each pod.
const containerName = "extract"

// Manifest writes the two Jobs as YAML documents. Errors wrap ErrOption.
func (k *Kubernetes) Manifest() (string, error) {
	if k.Name == "" {
		k.Name = JobName(k.Plan)
	}
	if err := k.check(); err != nil {
		return "", err
	}
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	for _, j := range []job{k.workJob(), k.finishJob()} {
		if err := encoder.Encode(j); err != nil {
			return "", err
		}
	}
	return text.String(), encoder.Close()
}

func (k *Kubernetes) workJob() job {
	spec := jobSpec{
		CompletionMode:       "Indexed",
		Completions:          k.Workers,
		Parallelism:          k.Workers,
		BackoffLimitPerIndex: &k.Restarts, // one that keeps failing does not end the others
		PodFailurePolicy: &podFailurePolicy{Rules: []podFailureRule{
			// Preemption, drained nodes: no fault of the worker's.
			{Action: "Ignore", OnPodConditions: []podCondition{{"DisruptionTarget"}}},
			{Action: "FailIndex", OnExitCodes: &exitCodes{containerName, "In", permanentErrors}},
		}},
	}
	if k.AtOnce > 0 {
		spec.Parallelism = min(k.AtOnce, k.Workers)
	}
	// The worker takes its index from JOB_COMPLETION_INDEX.
	arguments := append([]string{"extract", "work", "--plan", k.Plan, "--shard", fmt.Sprintf("auto/%d", k.Workers)},
		k.Arguments...)
	pod := k.pod(arguments)
	pod.ActiveDeadlineSeconds = int64(k.Time.Seconds())
	c := &pod.Containers[0]
	c.Resources = k.resources()
	if _, gpus := k.gpu(); gpus > 0 {
		pod.Tolerations = []toleration{{"nvidia.com/gpu", "Exists", "NoSchedule"}}
	}
	pod.NodeSelector = k.NodeSelector
	return k.job(k.Name, "work", spec, pod)
}

func (k *Kubernetes) finishJob() job {
	// Kubernetes has no order between Jobs.
	pod := k.pod([]string{"extract", "finish", "--plan", k.Plan, "--wait"})
	return k.job(k.Name+finishSuffix, "finish", jobSpec{
		BackoffLimit: &k.Restarts,
		PodFailurePolicy: &podFailurePolicy{Rules: []podFailureRule{
			{Action: "Ignore", OnPodConditions: []podCondition{{"DisruptionTarget"}}},
			{Action: "FailJob", OnExitCodes: &exitCodes{containerName, "In", permanentErrors}},
		}},
	}, pod)
}

func (k *Kubernetes) job(name, component string, spec jobSpec, pod podSpec) job {
	labels := map[string]string{appLabel: "tfconvrnn", jobLabel: k.Name, componentLabel: component}
	spec.Template = podTemplate{Metadata: metadata{Labels: labels}, Spec: pod}
	return job{
		APIVersion: "batch/v1", Kind: "Job",
		Metadata: metadata{Name: name, Namespace: k.Namespace, Labels: labels},
		Spec:     spec,
	}
}

// pod is what the pods of both jobs have in common. The image's root file system is
// read-only: what the program keeps goes to /cache, what it needs for a while to /tmp.
func (k *Kubernetes) pod(arguments []string) podSpec {
	escaped := make([]string, len(arguments))
	for i, argument := range arguments {
		escaped[i] = strings.ReplaceAll(argument, "$", "$$") // else Kubernetes expands $(…)
	}
	c := container{
		Name: containerName, Image: k.Image, Args: escaped,
		SecurityContext: containerSecurity{ReadOnlyRootFilesystem: true, Capabilities: capabilities{Drop: []string{"ALL"}}},
	}
	for _, secret := range k.SecretEnvironment {
		c.EnvFrom = append(c.EnvFrom, environment{named{secret}})
	}
	p := podSpec{
		RestartPolicy: "Never", TerminationGracePeriodSeconds: 120, ServiceAccountName: k.ServiceAccount,
		SecurityContext: podSecurity{
			RunAsNonRoot: true, RunAsUser: k.User, RunAsGroup: k.Group, FSGroup: k.Group,
			SeccompProfile: seccompProfile{"RuntimeDefault"},
		},
	}
	volumes := map[string]string{} // claim → name
	mounted := map[string]bool{}
	for _, v := range k.Volumes {
		name, ok := volumes[v.Claim]
		if !ok {
			name = fmt.Sprintf("volume-%d", len(volumes))
			volumes[v.Claim] = name
			p.Volumes = append(p.Volumes, volume{Name: name, PersistentVolumeClaim: &volumeClaim{v.Claim}})
		}
		c.VolumeMounts = append(c.VolumeMounts, volumeMount{name, v.Path, v.ReadOnly})
		mounted[v.Path] = true
	}
	for _, scratch := range []string{"cache", "tmp"} {
		if !mounted["/"+scratch] {
			p.Volumes = append(p.Volumes, volume{Name: scratch, EmptyDir: &struct{}{}})
			c.VolumeMounts = append(c.VolumeMounts, volumeMount{Name: scratch, MountPath: "/" + scratch})
		}
	}
	// What is mounted inside another mount comes after it.
	slices.SortFunc(c.VolumeMounts, func(a, b volumeMount) int { return strings.Compare(a.MountPath, b.MountPath) })
	p.Containers = []container{c}
	return p
}

func (k *Kubernetes) resources() resources {
	r := resources{}
	set := func(list *map[string]string, name, value string) {
		if *list == nil {
			*list = map[string]string{}
		}
		(*list)[name] = value
	}
	if k.CPUs > 0 { // no limit: throttled threads cost more than shared cores
		set(&r.Requests, "cpu", fmt.Sprint(k.CPUs))
	}
	if k.Memory > 0 {
		amount := fmt.Sprintf("%dMi", k.Memory/mebibyte)
		set(&r.Requests, "memory", amount)
		set(&r.Limits, "memory", amount)
	}
	if _, gpus := k.gpu(); gpus > 0 { // the request follows the limit
		set(&r.Limits, "nvidia.com/gpu", fmt.Sprint(gpus))
	}
	return r
}
