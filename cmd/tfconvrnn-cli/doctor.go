package main

import (
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/doctor"
)

func newDoctor() *cobra.Command {
	var asJSON, verify, gpuKernels, report bool
	var store string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out what is wrong with the set-up",
		Long: `Look at everything that extraction needs: the TensorFlow runtime, the processor,
the cache directory, the store of converted models, disk space. Says what is wrong
and what to do. Exits with code 4 if nothing can be extracted.

With --report, print in Markdown what someone needs to know whom you tell of a bug:
versions, system, processor, limits, the runtime with its checksums, devices, converted
models. Environment variables are shown only if they are known to hold no secrets, and
the home directory is written ~. Read it before you paste it.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if gpuKernels {
				return runGPUKernels(cmd, asJSON)
			}
			o := doctor.Options{Program: program, Store: store, Verify: verify}
			findings := doctor.Diagnose(cmd.Context(), o)
			var err error
			if report {
				sections := doctor.NewReport(cmd.Context(), o, findings)
				err = present(cmd, asJSON, sections, sections.Print)
			} else {
				err = present(cmd, asJSON, findings, findings.Print)
			}
			if err != nil {
				return err
			}
			if findings.Failed() {
				return silentError{exitMissing}
			}
			return nil
		},
	}
	addStore(cmd, &store)
	cmd.Flags().BoolVar(&verify, "verify", false,
		"also read the runtime's libraries and converted models and compare their checksums")
	cmd.Flags().BoolVar(&gpuKernels, "gpu-kernels",
		false, "instead show that all models' graphs would run wholly on a GPU, from the kernels that TensorFlow's GPU build lists")
	cmd.Flags().BoolVar(&report, "report", false, "print a report to paste into a bug report")
	addJSON(cmd, &asJSON)
	return cmd
}

// runGPUKernels tells for every op of every model's graphs whether the GPU build has a GPU
// kernel.
func runGPUKernels(cmd *cobra.Command, asJSON bool) error {
	result, err := doctor.GPUKernels(cmd.Context(), program)
	if err != nil {
		return err
	}
	if err = present(cmd, asJSON, result, result.Print); err == nil && !result.Ready {
		return silentError{exitFailure}
	}
	return err
}
