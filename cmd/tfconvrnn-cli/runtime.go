package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/runtimeinstall"
	"github.com/tfconvrnn/go/tfconvrnn"
)

func newRuntime() *cobra.Command {
	return group("runtime", "Install or describe the TensorFlow runtime", newRuntimeInstall(), newRuntimeInfo(),
		newRuntimePack(), newRuntimeUnpack())
}

func newRuntimeInstall() *cobra.Command {
	var options runtimeinstall.Options
	var quiet, asJSON, hdf5 bool
	var cuda cudaFlags
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Put libtensorflow " + runtimeinstall.Version + " into the cache directory",
		Long: `Put libtensorflow ` + runtimeinstall.Version + ` into the cache directory, where all commands and the library
find it. It comes from TensorFlow's Python wheel, which pip downloads from
whatever index this machine is set up for, or from a wheel or C tarball that
--file or --url names. Only the two libraries are kept; checksums are verified.

With --gpu --with-cuda the libraries of CUDA 12 and cuDNN 9 that it opens come too,
from NVIDIA's wheels: then a GPU needs nothing else than its driver.

With --hdf5, put the HDF Group's library there instead, which compare needs for
netCDF-4, HDF5, NWB and MATLAB 7.3 files: from the wheel of h5py ` + runtimeinstall.HDF5Version + `.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if options.File != "" && options.URL != "" {
				return usagef("give --file or --url, not both")
			}
			if options.File == "" && options.URL == "" && (options.SHA256 != "" || options.SkipChecksum) {
				return usagef("--sha256 and --skip-checksum are for --file and --url; what pip downloads has a fixed checksum")
			}
			if err := cuda.check(options.GPU); err != nil {
				return err
			}
			if hdf5 && (options.GPU || options.URL != "" || options.SHA256 != "" || options.SkipChecksum) {
				return usagef("--hdf5 goes with --file, --python and --force only")
			}
			c := commandConsole(cmd, quiet)
			if cuda.Wheels {
				if err := cuda.say(c, options); err != nil {
					return err
				}
			}
			var result runtimeinstall.Result
			var err error
			if hdf5 {
				result, err = installLibrary(cmd.Context(), c, "h5py", options, runtimeinstall.InstallHDF5)
			} else {
				result, err = installRuntime(cmd.Context(), c, options)
			}
			if err != nil {
				return err
			}
			if err := cuda.install(cmd.Context(), c, options); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]any{
					"dir": result.Dir, "already_installed": result.AlreadyInstalled, "manifest": result.Manifest,
				})
			}
			fmt.Fprintln(cmd.OutOrStdout(), result.Dir)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&options.GPU, "gpu", false, "take the build with CUDA support")
	cuda.register(cmd)
	flags.StringVar(&cuda.From, "cuda-from", "",
		"with --gpu: use CUDA 12 and cuDNN 9 of a Python environment, whose site-packages/nvidia is `DIR`")
	flags.BoolVar(&hdf5, "hdf5", false, "the HDF5 library instead of TensorFlow")
	flags.StringVar(&options.File, "file", "", "wheel or C tarball `FILE` to take the libraries from")
	flags.StringVar(&options.URL, "url", "", "`URL` of a wheel or C tarball")
	flags.StringVar(&options.SHA256, "sha256", "", "expected SHA-256 of the file or URL, in `HEX`")
	flags.BoolVar(&options.SkipChecksum, "skip-checksum", false,
		"take a file or URL without a checksum and whatever its version is")
	flags.StringVar(&options.Python, "python", "", "`INTERPRETER` whose pip downloads the wheel")
	flags.BoolVar(&options.Force, "force", false, "install again what is installed")
	addQuiet(cmd, &quiet)
	addJSON(cmd, &asJSON)
	return cmd
}

// runtimeInfo describes the runtime that commands use.
type runtimeInfo struct {
	Version string `json:"version"`
	Path    string `json:"path"`
	// Installed is the record of what "runtime install" put there, nil for
	// libraries from elsewhere.
	Installed *runtimeinstall.Manifest `json:"installed,omitempty"`
}

func newRuntimeInfo() *cobra.Command {
	var verify, asJSON bool
	cmd := &cobra.Command{
		Use:   "info",
		Short: "Say which TensorFlow runtime is used",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := tfconvrnn.RuntimeError(); err != nil {
				return err
			}
			loaded := libtf.Loaded()
			info := runtimeInfo{Version: loaded.Version(), Path: loaded.Path()}
			if verify {
				m, err := runtimeinstall.Verify(cmd.Context(), filepath.Dir(info.Path))
				if err != nil {
					return err
				}
				info.Installed = &m
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), info)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "TensorFlow %s\n%s\n", info.Version, info.Path)
			if info.Installed != nil {
				fmt.Fprintf(cmd.OutOrStdout(), "intact: as installed from %s\n", info.Installed.Source)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&verify, "verify", false, "read the libraries and compare them with what was installed")
	addJSON(cmd, &asJSON)
	return cmd
}
