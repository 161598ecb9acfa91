package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/runtimeinstall"
)

// cudaFlags say which of CUDA's libraries come along with the GPU build.
type cudaFlags struct{ runtimeinstall.CUDA }

func (f *cudaFlags) register(cmd *cobra.Command, gpu *bool) {
	cmd.Flags().BoolVar(gpu, "gpu", false, "take the build with CUDA support")
	cmd.Flags().BoolVar(&f.Wheels, "with-cuda", false, "with --gpu: CUDA 12 and cuDNN 9 too")
	cmd.Flags().StringSliceVar(&f.Without, "without", nil,
		"with --with-cuda: leave out `COMPONENTS` that the machine has: "+strings.Join(runtimeinstall.CUDAComponents(), ", "))
	obey(cmd, goesWith("gpu", "with-cuda"), goesWith("with-cuda", "without"))
}

// say prints what will be fetched, before it is.
func (f *cudaFlags) say(c *console, options runtimeinstall.Options) error {
	list, total, err := f.Downloads(options)
	if err != nil {
		return err
	}
	for _, d := range list {
		c.Note("to download: %s %s, %s", d.Project, d.Version, humanize.Bytes(uint64(d.Bytes)))
	}
	c.Note("in all %s", humanize.Bytes(uint64(total)))
	return nil
}

// link links CUDA's libraries that the machine has, as the flags say.
func (f *cudaFlags) link(c *console) error {
	if f.From == "" {
		return nil
	}
	linked, err := runtimeinstall.LinkCUDA(f.From)
	if err != nil {
		return err
	}
	c.Note("%s are used from %s", strings.Join(linked, ", "), f.From)
	return nil
}

// install installs CUDA's libraries, as the flags say.
func (f *cudaFlags) install(ctx context.Context, c *console, options runtimeinstall.Options) error {
	if !f.Wheels {
		return nil
	}
	_, err := installLibrary(ctx, c, "CUDA", options, func(ctx context.Context, o runtimeinstall.Options) (
		runtimeinstall.Result, error) {
		results, err := runtimeinstall.InstallCUDA(ctx, o, f.Without)
		if err != nil || len(results) == 0 {
			return runtimeinstall.Result{}, err
		}
		return results[len(results)-1], nil
	})
	return err
}

func newRuntimePack() *cobra.Command {
	var o runtimeinstall.PackOptions
	var cuda cudaFlags
	cmd := &cobra.Command{Use: "pack DIR", Args: usageArgs(cobra.ExactArgs(1))}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.CUDA, o.Without = cuda.Wheels, cuda.Without
		c := commandConsole(cmd)
		if err := cuda.say(c, o.Options); err != nil {
			return err
		}
		index, err := withStages(c, "the runtime", &o.Progress, func() (runtimeinstall.Index, error) {
			return runtimeinstall.Pack(cmd.Context(), args[0], o)
		})
		if err != nil {
			return err
		}
		var total int64
		for _, p := range index.Parts {
			total += p.Size
		}
		return presentf(cmd, index, "%s: %d parts, %s in all, with %s\n", args[0], len(index.Parts),
			humanize.Bytes(uint64(total)), runtimeinstall.IndexName)
	}
	flags := cmd.Flags()
	cuda.register(cmd, &o.GPU)
	addSize(cmd, &o.MaxPart, "max-part", "56MiB", runtimeinstall.MinMaxPart, "largest `SIZE` of a part")
	flags.StringVar(&o.File, "file", "", "wheel or C tarball `FILE` to take TensorFlow's libraries from")
	flags.StringVar(&o.SHA256, "sha256", "", "expected SHA-256 of the file, in `HEX`")
	flags.StringVar(&o.Python, "python", "", "`INTERPRETER` whose pip downloads the wheels")
	flags.BoolVar(&o.Overwrite, "force", false, "replace a pack that is in DIR")
	addMessages(cmd)
	return cmd
}

// withStages runs an installation and shows the stages that it reports.
func withStages[T any](c *console, what string, progress *func(stage string, done, total int64),
	work func() (T, error)) (T, error) {
	labels := map[string]string{
		runtimeinstall.StageWait:     "waiting for another installation",
		runtimeinstall.StageDownload: "downloading " + what,
		runtimeinstall.StageVerify:   "verifying",
		runtimeinstall.StageExtract:  "extracting",
		runtimeinstall.StagePack:     "packing",
		runtimeinstall.StageUnpack:   "unpacking",
	}
	shown := c.Stages()
	defer shown.End()
	*progress = func(now string, done, total int64) {
		task, begun := shown.At(labels[now], unitBytes, total)
		if begun {
			c.Note("%s …", labels[now])
		}
		task.Set(done, total)
	}
	return work()
}

func newRuntimeUnpack() *cobra.Command {
	var o runtimeinstall.UnpackOptions
	cmd := &cobra.Command{Use: "unpack DIR", Args: usageArgs(cobra.ExactArgs(1))}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		results, err := withStages(commandConsole(cmd), "the runtime", &o.Progress, func() ([]runtimeinstall.Result, error) {
			return runtimeinstall.Unpack(cmd.Context(), args[0], o)
		})
		if err != nil {
			return err
		}
		return present(cmd, results, func(out io.Writer) error {
			for _, r := range results {
				fmt.Fprintln(out, r.Dir)
			}
			return nil
		})
	}
	cmd.Flags().BoolVar(&o.Force, "force", false, "unpack again what is installed")
	cmd.Flags().BoolVar(&o.Remove, "remove", false, "remove parts that are unpacked")
	addMessages(cmd)
	return cmd
}
