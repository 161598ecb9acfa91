package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/cluster"
)

type kubernetesManifestCommand struct {
	clusterFlags
	cluster.Kubernetes
}

func newKubernetes() *cobra.Command {
	return group("kubernetes", "Extract features on a Kubernetes cluster", newKubernetesManifest())
}

func newKubernetesManifest() *cobra.Command {
	k := &kubernetesManifestCommand{}
	cmd := &cobra.Command{
		Use:   "manifest --plan PLAN --workers N --image IMAGE [flags] [-- WORK-FLAGS]",
		Short: "Print the manifest of an extraction's Jobs",
		Long: `Print a manifest of two Kubernetes Jobs: an Indexed one whose pods are the workers
of a plan, each of which finds its shard by its completion index, and one that waits
for all chunks, verifies them and seals the store.

The paths in the plan, and the plan's own, must be the same in the pods: mount the
volumes accordingly. /cache and /tmp are scratch space unless a volume is mounted
there. GPUs need the cluster's NVIDIA device plugin, and an image for GPUs. --time
ends a pod, not the Job: another goes on with the index.

What comes after -- goes to "extract work".`,
		Example: `  ` + program +
			` kubernetes manifest --plan /data/it.plan --workers 16 --image registry.example/tfconvrnn:gpu \
    --gpus 1 --mem 16G --volume features:/data --volume stimuli:/stimuli:ro | kubectl apply -f -`,
		Args: cobra.ArbitraryArgs,
		RunE: k.run,
	}
	k.clusterFlags.register(cmd, &k.Work)
	flags := cmd.Flags()
	flags.StringVar(&k.Image, "image", "", "container `IMAGE`")
	flags.StringVar(&k.Namespace, "namespace", "", "`NAMESPACE` of the Jobs")
	flags.Func(
		"volume", "persistent volume claim and where it is mounted, as `CLAIM:/PATH`, or CLAIM:/PATH:ro to only read from it; repeat it for several",
		func(text string) error {
			v, err := cluster.ParseVolume(text)
			k.Volumes = append(k.Volumes, v)
			return err
		})
	flags.StringArrayVar(&k.SecretEnvironment, "env-from-secret", nil,
		"`SECRET` whose keys become environment variables, such as an object store's credentials; repeat it for several")
	flags.StringVar(&k.ServiceAccount, "service-account", "", "`ACCOUNT` of the pods")
	flags.StringToStringVar(&k.NodeSelector, "node-selector", nil, "`LABEL=VALUE` that nodes of workers must have")
	flags.Int64Var(&k.User, "user", 0, "user `ID` of the pods (default: the image's, which must be a number other than 0)")
	flags.Int64Var(&k.Group, "group", 0, "group `ID` of the pods and their volumes")
	return cmd
}

func (k *kubernetesManifestCommand) run(cmd *cobra.Command, args []string) error {
	if err := k.check(cmd, args, &k.Work); err != nil {
		return err
	}
	if k.Kubernetes.Image == "" {
		return usagef("which image? give --image, one of those that the Dockerfile makes")
	}
	text, err := k.Manifest()
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(cmd.OutOrStdout(), text)
	return err
}
