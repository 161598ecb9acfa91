package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/respond"
	"github.com/tfconvrnn/go/internal/version"
)

type respondCommand struct {
	runFlags
	stdio  bool
	shared int
}

func newRespond() *cobra.Command {
	r := &respondCommand{}
	cmd := &cobra.Command{Use: "respond --stdio --model MODEL [flags]", RunE: r.run}
	r.modelFlags.register(cmd)
	r.presentationFlags.register(cmd)
	r.registerPictures(cmd)
	cmd.Flags().BoolVar(&r.stdio, "stdio", false, "speak over standard input and output")
	cmd.Flags().IntVar(&r.shared, "shared-memory", -1,
		"file descriptor `NUMBER` of a memory file, sealed against shrinking, in which images may lie")
	return cmd
}

func (r *respondCommand) run(cmd *cobra.Command, _ []string) error {
	if !r.stdio {
		return usagef("say over what: --stdio is the only way")
	}
	info, preprocessing, presentation, err := r.shown(cmd)
	if err != nil {
		return err
	}
	if presentation, err = presentation.Resolve(info); err != nil {
		return err
	}
	c := commandConsole(cmd)
	model, err := loadModel(cmd, c, &r.modelFlags, presentation.Times(info))
	if err != nil {
		return err
	}
	server := &respond.Server{
		Model: model, Presentation: presentation, Preprocessing: preprocessing, BatchSize: r.batch, Version: version.Version,
		OnHalved: sayHalved(c),
		Fail: func(err error) respond.Failure {
			return respond.Failure{Message: describe(err), Code: exitCode(context.Background(), err)}
		},
	}
	if r.shared >= 0 {
		server.Shared = &respond.SharedMemory{FD: r.shared}
	}
	// The model is not closed: a computation whose answer nobody awaits would be waited for.
	return server.Serve(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
}
