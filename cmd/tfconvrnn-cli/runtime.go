package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/runtimeinstall"
	"github.com/tfconvrnn/go/tfconvrnn"
)

func newRuntimeInstall() *cobra.Command {
	var o runtimeinstall.Options
	var hdf5 bool
	var cuda cudaFlags
	cmd := &cobra.Command{Use: "install"}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if hdf5 && len(given(cmd, "gpu", "url", "sha256", "skip-checksum")) > 0 {
			return usagef("--hdf5 goes with --file, --python and --force only")
		}
		c := commandConsole(cmd)
		if cuda.Wheels {
			if err := cuda.say(c, o); err != nil {
				return err
			}
		}
		if err := cuda.link(c); err != nil { // before the download, which would be for nothing
			return err
		}
		name, install := "libtensorflow", runtimeinstall.Install
		if hdf5 {
			name, install = "h5py", runtimeinstall.InstallHDF5
		}
		result, err := installLibrary(cmd.Context(), c, name, o, install)
		if err != nil {
			return err
		}
		if err := cuda.install(cmd.Context(), c, o); err != nil {
			return err
		}
		return presentf(cmd, result, "%s\n", result.Dir)
	}
	flags := cmd.Flags()
	cuda.register(cmd, &o.GPU)
	flags.StringVar(&cuda.From, "cuda-from", "",
		"with --gpu: use CUDA 12 and cuDNN 9 of a Python environment, whose site-packages/nvidia is `DIR`")
	flags.BoolVar(&hdf5, "hdf5", false, "the HDF5 library instead of TensorFlow")
	flags.StringVar(&o.File, "file", "", "wheel or C tarball `FILE` to take the libraries from")
	flags.StringVar(&o.URL, "url", "", "`URL` of a wheel or C tarball")
	flags.StringVar(&o.SHA256, "sha256", "", "expected SHA-256 of the file or URL, in `HEX`")
	flags.BoolVar(&o.SkipChecksum, "skip-checksum", false,
		"take a file or URL without a checksum and whatever its version is")
	flags.StringVar(&o.Python, "python", "", "`INTERPRETER` whose pip downloads the wheel")
	flags.BoolVar(&o.Force, "force", false, "install again what is installed")
	addMessages(cmd)
	obey(cmd, notBoth("file", "url"), onlyFor("--file and --url; what pip downloads has a fixed checksum",
		func() bool { return o.File != "" || o.URL != "" }, "sha256", "skip-checksum"),
		goesWith("gpu", "cuda-from"), notBoth("with-cuda", "cuda-from"))
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
	var verify bool
	cmd := &cobra.Command{Use: "info"}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
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
		intact := ""
		if info.Installed != nil {
			intact = fmt.Sprintf("intact: as installed from %s\n", info.Installed.Source)
		}
		return presentf(cmd, info, "TensorFlow %s\n%s\n%s", info.Version, info.Path, intact)
	}
	cmd.Flags().BoolVar(&verify, "verify", false, "read the libraries and compare them with what was installed")
	addJSON(cmd)
	return cmd
}
