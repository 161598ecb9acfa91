package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	terminal "github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/runtimeinstall"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// needRuntime makes sure that the TensorFlow runtime is loaded. Where there is
// none it installs it: without asking if the user said so, or in continuous
// integration, and after asking on a terminal.
func needRuntime(cmd *cobra.Command, c *console, yes bool) error {
	err := tfconvrnn.RuntimeError()
	// A library that the environment names is the user's choice, which another
	// one in the cache would not replace.
	if !errors.Is(err, tfconvrnn.ErrRuntimeNotFound) || os.Getenv(libtf.Env) != "" {
		return err
	}
	ci, _ := strconv.ParseBool(os.Getenv("CI"))
	if !yes && !ci {
		if !terminal.IsTerminal(cmd.InOrStdin()) || !c.Terminal() {
			return err
		}
		c.Print("The TensorFlow runtime (libtensorflow " + runtimeinstall.Version +
			") is not installed. Install it now? [Y/n] ")
		agreed, askErr := terminal.ReadAnswer(cmd.Context(), cmd.InOrStdin())
		if askErr != nil {
			return askErr
		}
		if !agreed {
			return err
		}
	}
	if _, err := installRuntime(cmd.Context(), c, runtimeinstall.Options{}); err != nil {
		return err
	}
	return tfconvrnn.RuntimeError()
}

// installRuntime installs the runtime and shows its progress.
func installRuntime(ctx context.Context, c *console, options runtimeinstall.Options) (runtimeinstall.Result, error) {
	return installLibrary(ctx, c, "libtensorflow", options, runtimeinstall.Install)
}

// installLibrary installs with progress.
func installLibrary(ctx context.Context, c *console, name string, options runtimeinstall.Options,
	install func(context.Context, runtimeinstall.Options) (runtimeinstall.Result, error)) (runtimeinstall.Result, error) {
	result, err := withStages(c, name, &options.Progress, func() (runtimeinstall.Result, error) {
		return install(ctx, options)
	})
	if err != nil {
		return result, err
	}
	if result.AlreadyInstalled {
		c.note("%s %s is already installed in %s", name, result.Manifest.Version, result.Dir)
	} else {
		c.note("%s %s is installed in %s", name, result.Manifest.Version, result.Dir)
	}
	return result, nil
}

// loadModel loads a model, installs the runtime and converts weights if need be, warns of untrained ones,
// and measures what another precision than float32 costs, for the provenance, and says it. The caller
// closes the model.
func loadModel(cmd *cobra.Command, c *console, f *modelFlags, times int, further ...tfconvrnn.Option) (*tfconvrnn.Model,
	error) {
	options, err := f.loadOptions(times)
	if err != nil {
		return nil, err
	}
	model, err := openWith(cmd, c, f.yes, f.model, f.weights, append(options, further...))
	if err != nil {
		return nil, err
	}
	measured, err := model.PrecisionError(cmd.Context())
	if err != nil {
		model.Close()
		return nil, err
	}
	if measured != nil {
		c.note("%v", measured)
	}
	return model, nil
}

// openWith is loadModel with the library's options, for a model whose precision is settled.
func openWith(cmd *cobra.Command, c *console, yes bool, name string, weights tfconvrnn.Weights,
	options []tfconvrnn.Option) (*tfconvrnn.Model, error) {
	if err := needRuntime(cmd, c, yes); err != nil {
		return nil, err
	}
	var conversion *task
	options = append(options, tfconvrnn.WithConversionProgress(func(done, total int64) {
		if conversion == nil {
			c.note("converting %s …", name)
			conversion = c.start("converting", unitParameters, total)
		}
		conversion.set(done, total)
	}))
	model, err := tfconvrnn.LoadContext(cmd.Context(), name, options...)
	if conversion != nil {
		conversion.end()
	}
	if err != nil {
		return nil, err
	}
	c.debug("loaded", "model", name, "dir", model.Dir(), "tensorflow", libtf.Loaded().Version(), "runtime",
		libtf.Loaded().Path())
	if model.Untrained() {
		c.warn("%s", untrainedWarning(name, weights))
	}
	return model, nil
}

// untrainedWarning says that a model's weights are untrained; asked is the --weights.
func untrainedWarning(model string, weights tfconvrnn.Weights) string {
	asked := string(weights)
	if _, seeded := weights.Seed(); !seeded {
		asked = "the checkpoint holds values that a seed makes, as \"" + program + " checkpoint seed\" writes them"
	}
	return fmt.Sprintf("%s has untrained weights (%s): good for trying things out, not for science", model, asked)
}
