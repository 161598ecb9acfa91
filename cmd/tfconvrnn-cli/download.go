package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	terminal "github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/internal/fetchfile"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

type downloadCommand struct {
	all, keep, convert, activations, quiet, asJSON bool
	store                                          string
	options                                        savedmodels.DownloadOptions
}

func newDownload() *cobra.Command {
	c := &downloadCommand{}
	cmd := &cobra.Command{
		Use:   "download (MODEL… | --all)",
		Short: "Get the trained weights, verify and convert them",
		Long: `Download the published checkpoints of models, prove them intact and convert them.
Then the models load by their names.

Every tensor's checksum is verified, and that the checkpoint holds the variables of
its model. The SHA-256 of every file is recorded in a lock file: weights.lock in the
current directory if there is one, or else beside the checkpoints. Later
differences are errors. Commit the file to get the same weights elsewhere, with
--lock weights.lock.

An interrupted download goes on where it stopped. Several may run at once. The
environment's proxy is used (HTTPS_PROXY, NO_PROXY). All 20 models take 5.3 GB.`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeModels,
		RunE:              c.run,
	}
	flags := cmd.Flags()
	flags.BoolVar(&c.all, "all", false, "all models")
	flags.StringVar(&c.options.From, "from", "", "`URL` or directory that holds <MODEL>/model.ckpt.* (default: "+savedmodels.PublishedURL+")")
	flags.StringVar(&c.options.Checkpoints, "checkpoints", "", "`DIR` to put the checkpoints in (default: in the user's cache)")
	addStore(cmd, &c.store)
	flags.StringVar(&c.options.Lock, "lock", "", "`FILE` of the SHA-256 of what is downloaded (default: weights.lock here if it is there, or else beside the checkpoints)")
	flags.BoolVar(&c.options.UpdateLock, "update-lock", false, "replace hashes in the lock file that differ")
	flags.IntVar(&c.options.Parallel, "parallel", 4, "number of models downloaded at a time")
	flags.BoolVar(&c.options.Again, "force", false, "download again what is there and intact")
	flags.BoolVar(&c.options.Meta, "meta", false, "download model.ckpt.meta too, which is not needed")
	flags.BoolVar(&c.convert, "convert", true, "convert what was downloaded")
	flags.BoolVar(&c.keep, "keep-checkpoint", true, "keep checkpoints that were converted; without them a model can be converted anew only after another download")
	flags.BoolVar(&c.activations, "activations", true, "run converted models once, if the TensorFlow runtime is installed, to record what they compute, for verify")
	addQuiet(cmd, &c.quiet)
	addJSON(cmd, &c.asJSON)
	return cmd
}

// downloadedModel is a result of download as it is printed.
type downloadedModel struct {
	Model      string            `json:"model"`
	Already    bool              `json:"already_there"`
	Bytes      int64             `json:"bytes"`
	SHA256     map[string]string `json:"sha256,omitempty"`
	Checkpoint string            `json:"checkpoint,omitempty"`
	SavedModel string            `json:"saved_model,omitempty"`
	Untrained  bool              `json:"untrained,omitempty"`
	Notes      []string          `json:"notes,omitempty"`
}

func (c *downloadCommand) run(cmd *cobra.Command, args []string) error {
	switch {
	case c.all && len(args) > 0:
		return usagef("name models or say --all, not both")
	case c.all:
		args = savedmodels.Names()
	case len(args) == 0:
		return usagef("which models? name them, or say --all; %s models lists them", program)
	}
	for i, model := range args {
		if _, err := savedmodels.Lookup(model); err != nil {
			return err
		}
		if slices.Contains(args[:i], model) {
			return usagef("%s is named twice", model)
		}
	}
	if c.options.Parallel < 1 || c.options.Parallel > 64 {
		return usagef("--parallel %d: it is 1 … 64", c.options.Parallel)
	}
	if !c.keep && !c.convert {
		return usagef("--keep-checkpoint=false needs the checkpoints to be converted; leave out --convert=false")
	}
	if c.options.Lock == "" {
		if _, err := os.Stat(savedmodels.LockFileName); err == nil {
			c.options.Lock = savedmodels.LockFileName
		}
	}
	store, err := savedmodels.Open(c.store)
	if err != nil {
		return err
	}
	con := commandConsole(cmd, c.quiet)
	o := c.options
	o.Models, o.SkipConversion, o.DiscardCheckpoint = args, !c.convert, !c.keep
	bar := con.start("downloading", unitBytes, 0)
	defer bar.end()
	o.Progress = func(p savedmodels.DownloadProgress) {
		switch {
		case p.Stage == savedmodels.StageWait:
			con.note("%s: waiting for another download of it", p.Model)
		case p.Stage == savedmodels.StageDone:
			con.note("%s: done", p.Model)
		}
		bar.set(p.AllDone, p.AllTotal)
	}
	con.debug("downloading", "from", fetchfile.Redact(o.From), "models", strings.Join(o.Models, ","))
	results, downloadErr := store.Download(cmd.Context(), o)
	bar.end()
	if err := cmd.Context().Err(); err != nil {
		return err
	}
	list := []downloadedModel{} // not null in JSON
	for _, r := range results {
		for _, note := range r.Notes {
			con.warn("%s: %s", r.Model, note)
		}
		untrained := r.SavedModel.Manifest != nil && r.SavedModel.Manifest.Weights.Untrained
		if untrained {
			con.warn("%s", untrainedWarning(r.Model, ""))
		}
		list = append(list, downloadedModel{r.Model, r.Already, r.Bytes, r.SHA256, r.Prefix, r.SavedModel.Dir, untrained, r.Notes})
	}
	var recordErr error
	if c.convert && c.activations && len(results) > 0 {
		recordErr = recordActivations(cmd.Context(), con, results)
	}
	if c.asJSON {
		err = printJSON(cmd.OutOrStdout(), list)
	} else {
		err = printDownloaded(cmd.OutOrStdout(), list)
	}
	return errors.Join(downloadErr, recordErr, err)
}

func printDownloaded(out io.Writer, list []downloadedModel) error {
	for _, m := range list {
		what := "downloaded and verified"
		if m.Already {
			what = "already there and intact"
		}
		size := ""
		if m.Bytes > 0 {
			size = " (" + humanize.Bytes(uint64(m.Bytes)) + ")"
		}
		place := m.SavedModel
		if place == "" {
			place = m.Checkpoint + ".*"
		}
		if _, err := fmt.Fprintf(out, "%s: %s%s: %s\n", m.Model, what, size, place); err != nil {
			return err
		}
	}
	return nil
}

// recordActivations records what converted models compute, where that was not done
// before and a runtime is there.
func recordActivations(ctx context.Context, con *console, results []savedmodels.Downloaded) error {
	var missing []savedmodels.SavedModel
	for _, r := range results {
		if _, err := os.Stat(filepath.Join(r.SavedModel.Dir, tfconvrnn.ActivationsName)); r.SavedModel.Dir != "" && err != nil {
			missing = append(missing, r.SavedModel)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := tfconvrnn.RuntimeError(); err != nil {
		con.note("the TensorFlow runtime is not installed, so the models were not tried; \"%s verify\" does it later", program)
		return nil
	}
	progress := con.start("recording activations", unitModels, int64(len(missing)))
	defer progress.end()
	for i, m := range missing {
		if err := withSavedModel(ctx, m.Dir, func(model *tfconvrnn.Model) error { return model.RecordActivations(ctx) }); err != nil {
			return fmt.Errorf("%s: recording activations: %w", m.Manifest.Model, err)
		}
		progress.set(int64(i+1), int64(len(missing)))
	}
	return nil
}

const unitModels terminal.Unit = "models"

func withSavedModel(ctx context.Context, dir string, do func(*tfconvrnn.Model) error) error {
	model, err := tfconvrnn.LoadSavedModel(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(do(model), model.Close())
}
