package main

import (
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// FuzzPresentationFlags gives anything to the flags of presentations.
func FuzzPresentationFlags(f *testing.F) {
	f.Add("default", "0", "0", "published", "", "", "0", "0")
	f.Add("custom", "20", "6", "gray", "", "", "", "")
	f.Add("", "", "", "127,0,255", "0,200", "100,300", "400", "2")
	f.Add("constant", "9223372036854775807", "-1", "#a0b0c0", "9223372036854775800", "-10", "-9223372036854775808", "-1")
	f.Add("neural", "x", "", "#12345", "1,,2", "5", "1e3", "")
	model, err := savedmodels.Lookup("ugrnn_shallow")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, name, times, off, blank, onMS, offMS, totalMS, perImage string) {
		flags := &presentationFlags{}
		cmd := &cobra.Command{Use: "x", SilenceUsage: true}
		flags.register(cmd)
		for flag, value := range map[string]string{
			"presentation": name, "times": times, "image-off": off, "blank": blank, "on-ms": onMS, "off-ms": offMS,
			"total-ms": totalMS, "frames-per-image": perImage,
		} {
			if value != "" && cmd.Flags().Set(flag, value) != nil {
				return
			}
		}
		p, err := flags.presentation(cmd, model, tfconvrnn.Preprocessing{})
		if err != nil {
			return
		}
		resolved, err := p.Resolve(model)
		if err != nil {
			require.ErrorIs(t, err, tfconvrnn.ErrPresentation)
			return
		}
		require.LessOrEqual(t, len(resolved.Schedule(3)), 1000)
	})
}
