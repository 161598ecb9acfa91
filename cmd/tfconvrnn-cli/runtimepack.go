package main

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/runtimeinstall"
)

// cudaFlags say which of CUDA's libraries come along with the GPU build.
type cudaFlags struct{ runtimeinstall.CUDA }

func (f *cudaFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.Wheels, "with-cuda", false, "with --gpu: CUDA 12 and cuDNN 9 too")
	cmd.Flags().StringSliceVar(&f.Without, "without", nil,
		"with --with-cuda: leave out `COMPONENTS` that the machine has: "+strings.Join(runtimeinstall.CUDAComponents(), ", "))
}

func (f *cudaFlags) check(gpu bool) error {
	switch {
	case f.Wheels && !gpu:
		return usagef("--with-cuda goes with --gpu")
	case f.From != "" && !gpu:
		return usagef("--cuda-from goes with --gpu")
	case f.From != "" && f.Wheels:
		return usagef("give --with-cuda or --cuda-from, not both")
	case len(f.Without) > 0 && !f.Wheels:
		return usagef("--without goes with --with-cuda")
	}
	return nil
}

// say prints what will be fetched, before it is.
func (f *cudaFlags) say(c *console, options runtimeinstall.Options) error {
	list, total, err := f.Downloads(options)
	if err != nil {
		return err
	}
	for _, d := range list {
		c.note("to download: %s %s, %s", d.Project, d.Version, humanize.Bytes(uint64(d.Bytes)))
	}
	c.note("in all %s", humanize.Bytes(uint64(total)))
	return nil
}

// install installs CUDA's libraries, or links those that the machine has, as the flags say.
func (f *cudaFlags) install(ctx context.Context, c *console, options runtimeinstall.Options) error {
	if f.From != "" {
		linked, err := runtimeinstall.LinkCUDA(f.From)
		if err != nil {
			return err
		}
		c.note("%s are used from %s", strings.Join(linked, ", "), f.From)
	}
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
	var size string
	var quiet, asJSON bool
	cmd := &cobra.Command{
		Use:   "pack DIR",
		Short: "Put a runtime into parts for a machine without a network",
		Long: `Put a runtime into the folder DIR, in parts that fit through a narrow door, for a
machine without a network. There "` + program + ` runtime unpack DIR" installs it; the
parts may arrive one by one and in any order.

With --gpu --with-cuda the parts hold TensorFlow's GPU build and the libraries of
CUDA 12 and cuDNN 9 that it opens; the other machine needs only NVIDIA's driver, and
what every Linux has (glibc 2.27, libstdc++, zlib). NVIDIA's licences are in the parts.

What was fetched when a call is interrupted is kept in DIR for the next one.
SHA256SUMS is for sha256sum --check.`,
		Example: `  ` + program + ` runtime pack --gpu --with-cuda --max-part 56MiB parts
  ` + program + ` runtime pack --gpu parts        # 0.4 GB, for a machine that has CUDA 12 and cuDNN 9`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cuda.check(o.GPU); err != nil {
				return err
			}
			bytes, err := humanize.ParseBytes(size)
			if err != nil || bytes > math.MaxInt64 || bytes < runtimeinstall.MinMaxPart {
				return usagef("--max-part %q is no size of at least 1MiB; write for example 56MiB", size)
			}
			o.MaxPart, o.CUDA, o.Without = int64(bytes), cuda.Wheels, cuda.Without
			c := commandConsole(cmd, quiet)
			if err := cuda.say(c, o.Options); err != nil {
				return err
			}
			index, err := withStages(c, "the runtime", &o.Progress, func() (runtimeinstall.Index, error) {
				return runtimeinstall.Pack(cmd.Context(), args[0], o)
			})
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), index)
			}
			var total int64
			for _, p := range index.Parts {
				total += p.Size
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d parts, %s in all, with %s\n", args[0], len(index.Parts),
				humanize.Bytes(uint64(total)), runtimeinstall.IndexName)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.GPU, "gpu", false, "take the build with CUDA support")
	cuda.register(cmd)
	flags.StringVar(&size, "max-part", "56MiB", "largest `SIZE` of a part")
	flags.StringVar(&o.File, "file", "", "wheel or C tarball `FILE` to take TensorFlow's libraries from")
	flags.StringVar(&o.SHA256, "sha256", "", "expected SHA-256 of the file, in `HEX`")
	flags.StringVar(&o.Python, "python", "", "`INTERPRETER` whose pip downloads the wheels")
	flags.BoolVar(&o.Overwrite, "force", false, "replace a pack that is in DIR")
	addQuiet(cmd, &quiet)
	addJSON(cmd, &asJSON)
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
	var stage string
	var current *task
	*progress = func(now string, done, total int64) {
		if now != stage {
			if current != nil {
				current.end()
			}
			stage = now
			c.note("%s …", labels[now])
			current = c.start(labels[now], unitBytes, total)
		}
		current.set(done, total)
	}
	result, err := work()
	if current != nil {
		current.end()
	}
	return result, err
}

func newRuntimeUnpack() *cobra.Command {
	var o runtimeinstall.UnpackOptions
	var quiet, asJSON bool
	cmd := &cobra.Command{
		Use:   "unpack DIR",
		Short: "Install a runtime from the parts that pack made",
		Long: `Install a runtime from the parts in the folder DIR, which "` + program + ` runtime
pack" made, in the cache directory. No network is needed, nor LD_LIBRARY_PATH.

Parts that have arrived are checked, unpacked and remembered; while some are missing
or damaged these are named, nothing is installed, and the exit code is 3. Run it
again when they have come. --remove removes each part that is unpacked, for a small
disk.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := commandConsole(cmd, quiet)
			results, err := withStages(c, "the runtime", &o.Progress, func() ([]runtimeinstall.Result, error) {
				return runtimeinstall.Unpack(cmd.Context(), args[0], o)
			})
			if err != nil {
				return err
			}
			if asJSON {
				list := []map[string]any{}
				for _, r := range results {
					list = append(list, map[string]any{"dir": r.Dir, "already_installed": r.AlreadyInstalled, "manifest": r.Manifest})
				}
				return printJSON(cmd.OutOrStdout(), list)
			}
			for _, r := range results {
				fmt.Fprintln(cmd.OutOrStdout(), r.Dir)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&o.Force, "force", false, "unpack again what is installed")
	cmd.Flags().BoolVar(&o.Remove, "remove", false, "remove parts that are unpacked")
	addQuiet(cmd, &quiet)
	addJSON(cmd, &asJSON)
	return cmd
}
