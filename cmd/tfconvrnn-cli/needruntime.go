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
// none it installs it: without asking if --yes says so, or in continuous
// integration, and after asking on a terminal.
func needRuntime(cmd *cobra.Command, c *console) error {
	err := tfconvrnn.RuntimeError()
	// A library that the environment names is the user's choice, which another
	// one in the cache would not replace.
	if !errors.Is(err, tfconvrnn.ErrRuntimeNotFound) || os.Getenv(libtf.Env) != "" {
		return err
	}
	ci, _ := strconv.ParseBool(os.Getenv("CI"))
	if !says(cmd, "yes") && !ci {
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
	_, err = installLibrary(cmd.Context(), c, "libtensorflow", runtimeinstall.Options{}, runtimeinstall.Install)
	if err != nil {
		return err
	}
	return tfconvrnn.RuntimeError()
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
	state := "installed"
	if result.AlreadyInstalled {
		state = "already installed"
	}
	c.Note("%s %s is %s in %s", name, result.Manifest.Version, state, result.Dir)
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
	model, err := openWith(cmd, c, f.model, f.weights, append(options, further...))
	if err != nil {
		return nil, err
	}
	measured, err := model.PrecisionError(cmd.Context())
	if err != nil {
		model.Close()
		return nil, err
	}
	if measured != nil {
		c.Note("%v", measured)
	}
	return model, nil
}

// openWith is loadModel with the library's options, for a model whose precision is settled.
func openWith(cmd *cobra.Command, c *console, name string, weights tfconvrnn.Weights,
	options []tfconvrnn.Option) (*tfconvrnn.Model, error) {
	if err := needRuntime(cmd, c); err != nil {
		return nil, err
	}
	conversion := c.Stages()
	options = append(options, tfconvrnn.WithConversionProgress(func(done, total int64) {
		task, begun := conversion.At("converting", unitParameters, total)
		if begun {
			c.Note("converting %s …", name)
		}
		task.Set(done, total)
	}))
	model, err := tfconvrnn.LoadContext(cmd.Context(), name, options...)
	conversion.End()
	if err != nil {
		return nil, err
	}
	c.Debug("loaded", "model", name, "dir", model.Dir(), "tensorflow", libtf.Loaded().Version(), "runtime",
		libtf.Loaded().Path())
	if model.Untrained() {
		c.Warn("%s", untrainedWarning(name, weights))
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
