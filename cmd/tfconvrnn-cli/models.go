package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	terminal "github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/savedmodels"
)

func newModels() *cobra.Command {
	var installed, asJSON bool
	var dir string
	cmd := &cobra.Command{
		Use:   "models",
		Short: "List the published models, with their accuracies, or the converted ones",
		Long: `List the 20 published models: recurrent cell, layers, decoder, default
presentation, trained parameters and published ImageNet accuracies. With
--installed, list the converted models of the store.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if installed {
				return printInstalled(cmd.OutOrStdout(), dir, asJSON)
			}
			models := savedmodels.Catalogue()
			return present(cmd, asJSON, models, func(out io.Writer) error { return printModels(out, models) })
		},
	}
	cmd.Flags().BoolVar(&installed, "installed", false, "list the converted models of the store")
	addStore(cmd, &dir)
	addJSON(cmd, &asJSON)
	return cmd
}

func printModels(out io.Writer, models []savedmodels.Model) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MODEL\tCELL\tLAYERS\tDECODER\tTIMESTEPS\tIMAGE OFF\tPARAMETERS\tTOP-1 %\tTOP-5 %")
	for _, m := range models {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%d\t%s\t%s\t%.2f\t%.2f\n", m.Name, m.Cell, len(m.Layers), m.Decoder,
			m.Default.Times, imageOff(m.Default), terminal.ShortCount(m.Parameters), m.Top1, m.Top5)
	}
	return table.Flush()
}

// imageOff names the timestep at which the image goes off.
func imageOff(p savedmodels.Presentation) string {
	if p.ImageOff >= p.Times {
		return "never"
	}
	return fmt.Sprint(p.ImageOff)
}

func printInstalled(out io.Writer, dir string, asJSON bool) error {
	store, err := savedmodels.Open(dir)
	if err != nil {
		return err
	}
	found, err := store.List()
	if err != nil {
		return err
	}
	list := []savedmodels.Description{} // not null in JSON
	for _, m := range found {
		described, err := m.Describe()
		if err != nil {
			return err
		}
		list = append(list, described)
	}
	if asJSON {
		return printJSON(out, list)
	}
	if len(list) == 0 {
		fmt.Fprintf(out, "no converted models in %s\n", store.Dir())
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MODEL\tWEIGHTS\tTIMESTEPS\tVARIANT\tSIZE\tDIRECTORY")
	for _, m := range list {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\n", m.Model, m.Weights, m.Times, m.Variant,
			humanize.Bytes(uint64(m.Bytes)), m.Dir)
	}
	return table.Flush()
}
