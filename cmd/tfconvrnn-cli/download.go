package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	terminal "github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/internal/fetchfile"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

type downloadCommand struct {
	all, keep, convert, activations bool
	store                           string
	options                         savedmodels.DownloadOptions
}

func newDownload() *cobra.Command {
	c := &downloadCommand{}
	cmd := &cobra.Command{Use: "download (MODEL… | --all)", Args: cobra.ArbitraryArgs, ValidArgsFunction: completeModels,
		RunE: c.run}
	flags := cmd.Flags()
	flags.BoolVar(&c.all, "all", false, "all models")
	flags.StringVar(&c.options.From, "from", "", "`URL` or directory that holds <MODEL>/model.ckpt.* (default: "+
		savedmodels.PublishedURL+")")
	addCheckpoints(cmd, &c.options.Checkpoints)
	addStore(cmd, &c.store)
	addLock(cmd, &c.options.Lock, "`FILE` of the SHA-256 of what is downloaded")
	flags.BoolVar(&c.options.UpdateLock, "update-lock", false, "replace hashes in the lock file that differ")
	addCount(cmd, &c.options.Parallel, "parallel", 4, 1, "number of models downloaded at a time")
	flags.BoolVar(&c.options.Again, "force", false, "download again what is there and intact")
	flags.BoolVar(&c.options.Meta, "meta", false, "download model.ckpt.meta too, which is not needed")
	flags.BoolVar(&c.convert, "convert", true, "convert what was downloaded")
	flags.BoolVar(&c.keep, "keep-checkpoint", true,
		"keep checkpoints that were converted; without them a model can be converted anew only after another download")
	flags.BoolVar(&c.activations, "activations", true,
		"run converted models once, if the TensorFlow runtime is installed, to record what they compute, for verify")
	addMessages(cmd)
	return cmd
}

// downloadedModel is a result as it is printed.
type downloadedModel struct {
	savedmodels.Downloaded
	SavedModel string `json:"saved_model,omitempty"`
	Untrained  bool   `json:"untrained,omitempty"`
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
	store, err := savedmodels.Open(c.store)
	if err != nil {
		return err
	}
	con := commandConsole(cmd)
	o := c.options
	o.Models, o.Lock, o.SkipConversion, o.DiscardCheckpoint = args, lockHere(o.Lock), !c.convert, !c.keep
	bar := con.Start("downloading", unitBytes, 0)
	defer bar.End()
	o.Progress = func(p savedmodels.DownloadProgress) {
		switch {
		case p.Stage == savedmodels.StageWait:
			con.Note("%s: waiting for another download of it", p.Model)
		case p.Stage == savedmodels.StageDone:
			con.Note("%s: done", p.Model)
		}
		bar.Set(p.AllDone, p.AllTotal)
	}
	con.Debug("downloading", "from", fetchfile.Redact(o.From), "models", strings.Join(o.Models, ","))
	results, downloadErr := store.Download(cmd.Context(), o)
	bar.End()
	if err := cmd.Context().Err(); err != nil {
		return err
	}
	list := []downloadedModel{} // not null in JSON
	var converted []savedmodels.SavedModel
	for _, r := range results {
		for _, note := range r.Notes {
			con.Warn("%s: %s", r.Model, note)
		}
		untrained := r.SavedModel.Manifest != nil && r.SavedModel.Manifest.Weights.Untrained
		if untrained {
			con.Warn("%s", untrainedWarning(r.Model, ""))
		}
		list = append(list, downloadedModel{r, r.SavedModel.Dir, untrained})
		converted = append(converted, r.SavedModel)
	}
	var recordErr error
	if c.convert && c.activations {
		recordErr = recordActivations(cmd.Context(), con, converted)
	}
	err = present(cmd, list, func(out io.Writer) error { return printDownloaded(out, list) })
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
			place = m.Prefix + ".*"
		}
		if _, err := fmt.Fprintf(out, "%s: %s%s: %s\n", m.Model, what, size, place); err != nil {
			return err
		}
	}
	return nil
}

// recordActivations records what converted models compute, where that was not done before and a
// runtime is there.
func recordActivations(ctx context.Context, con *console, models []savedmodels.SavedModel) error {
	progress := con.Start("recording activations", unitModels, 0)
	defer progress.End()
	err := tfconvrnn.RecordActivations(ctx, models, func(done, total int) { progress.Set(int64(done), int64(total)) })
	if err != nil && tfconvrnn.RuntimeError() != nil {
		con.Note("the TensorFlow runtime is not installed, so the models were not tried; \"%s verify\" does it later",
			program)
		return nil
	}
	return err
}

const unitModels terminal.Unit = "models"
