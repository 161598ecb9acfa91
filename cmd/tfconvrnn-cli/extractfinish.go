package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/extraction"
)

func newExtractStatus() *cobra.Command {
	var name string
	var asJSON, check bool
	cmd := &cobra.Command{
		Use:   "status --plan PLAN [--check]",
		Short: "Say how far a plan is",
		Long: `Say how many chunks of a plan are done and missing, how fast the last 200 were, and how
long the others will take at that rate. The rate is that of the time in which at least one
worker computed one of them: pauses do not count. --check reads all that is there and compares checksums.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan, err := openPlan(cmd.Context(), name)
			if err != nil {
				return err
			}
			defer plan.Close()
			status, err := plan.Status(cmd.Context(), check)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), status)
			}
			printStatus(cmd, status)
			return nil
		},
	}
	addPlan(cmd, &name)
	cmd.Flags().BoolVar(&check, "check", false, "read everything and compare checksums")
	addJSON(cmd, &asJSON)
	return cmd
}

func printStatus(cmd *cobra.Command, s *extraction.Status) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s → %s\n", s.Plan, s.Output)
	if s.Sealed != nil {
		fmt.Fprintf(out, "sealed: %s in %s, manifest %s\n", plural(s.Sealed.Stimuli, "stimulus"), partsOf(s.Sealed),
			s.Sealed.Manifest)
		return
	}
	corrupt := ""
	if s.Checked {
		corrupt = fmt.Sprintf(", %d corrupt", s.Corrupt)
	}
	fmt.Fprintf(out, "%s: %d done, %d missing%s\n", plural(s.Chunks, "chunk"), s.Done, s.Missing, corrupt)
	fmt.Fprintf(out, "%s: %d done", plural(s.Stimuli, "stimulus"), s.StimuliDone)
	if s.StimuliPerSecond > 0 {
		left := time.Duration(s.SecondsLeft * float64(time.Second)).Round(time.Second)
		fmt.Fprintf(out, ", %.2f/s, %s left at that rate", s.StimuliPerSecond, left)
	}
	fmt.Fprintln(out)
	if s.Matrices > 0 {
		fmt.Fprintf(out, "Gram matrices: %d of %d made\n", s.MatricesDone, s.Matrices)
	}
	if s.Corrupt > 0 {
		fmt.Fprintf(out, "extract finish will discard the corrupt chunks; then run extract work again\n")
	}
}

// partsOf says what a sealed output is made of.
func partsOf(s *extraction.Seal) string {
	if s.Matrices > 0 {
		return matrices(s.Matrices)
	}
	return plural(s.Chunks, "chunk")
}

// finishReport is what extract finish prints.
type finishReport struct {
	Plan   string `json:"plan"`
	Output string `json:"output"`
	extraction.Seal
	Already bool                        `json:"already_sealed,omitempty"`
	Skipped []extraction.FailedStimulus `json:"skipped,omitempty"`
}

func newExtractFinish() *cobra.Command {
	var name string
	var asJSON, quiet, wait bool
	cmd := &cobra.Command{
		Use:   "finish --plan PLAN",
		Short: "Verify what was computed of a plan, and seal the store",
		Long: `Read and verify every chunk of a plan, write the stimuli's columns and all metadata, and
seal the store: manifest.sha256 lists the SHA-256 of every file (sha256sum -c reads it),
sealed.json holds that of the list. Only then the store has its name.

Of a plan of Gram matrices it also makes those that are missing, and then removes the
features, unless the plan was made with --keep-features.

Where chunks are missing or damaged nothing is sealed, and the message says what to do.
Finishing twice is harmless.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := commandConsole(cmd, quiet)
			plan, err := openPlan(cmd.Context(), name)
			if err != nil {
				return err
			}
			defer plan.Close()
			if wait {
				waiting := c.start("waiting for", unitChunks, int64(plan.Chunks()))
				err := plan.Wait(cmd.Context(), func(n int) { waiting.set(int64(n), int64(plan.Chunks())) })
				waiting.end()
				if err != nil {
					return err
				}
			}
			parts := int64(plan.Chunks() + plan.Matrices())
			progress := c.start("verifying", unitChunks, parts)
			finished, err := plan.Finish(cmd.Context(), func(n int) { progress.set(int64(n), parts) })
			progress.end()
			if err != nil {
				return err
			}
			r := &finishReport{Plan: name, Output: plan.Output, Seal: finished.Seal, Already: finished.Already,
				Skipped: finished.Skipped}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), r)
			}
			out := cmd.OutOrStdout()
			word := "sealed"
			if r.Already {
				word = "sealed before"
			}
			fmt.Fprintf(out, "%s: %s: %s in %s, %s, manifest %s\n", r.Output, word, plural(r.Stimuli, "stimulus"),
				partsOf(&r.Seal), plural(r.Files, "file"), r.Manifest)
			if finished.SkippedCount > 0 {
				fmt.Fprintf(out, "%s could not be read; see the mask \"valid\"\n", plural(finished.SkippedCount, "stimulus"))
			}
			return nil
		},
	}
	addPlan(cmd, &name)
	cmd.Flags().BoolVar(&wait, "wait", false, "first wait until all chunks are there")
	addQuiet(cmd, &quiet)
	addJSON(cmd, &asJSON)
	return cmd
}
