package main

import (
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/doctor"
)

func newDoctor() *cobra.Command {
	var verify, gpuKernels, report bool
	var store string
	cmd := &cobra.Command{
		Use: "doctor",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if gpuKernels {
				return runGPUKernels(cmd)
			}
			o := doctor.Options{Program: program, Store: store, Verify: verify}
			findings := doctor.Diagnose(cmd.Context(), o)
			var err error
			if report {
				sections := doctor.NewReport(cmd.Context(), o, findings)
				err = present(cmd, sections, sections.Print)
			} else {
				err = present(cmd, findings, findings.Print)
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
	addJSON(cmd)
	return cmd
}

// runGPUKernels tells for every op of every model's graphs whether the GPU build has a GPU
// kernel.
func runGPUKernels(cmd *cobra.Command) error {
	result, err := doctor.GPUKernels(cmd.Context(), program)
	if err != nil {
		return err
	}
	if err = present(cmd, result, result.Print); err == nil && !result.Ready {
		return silentError{exitFailure}
	}
	return err
}
