package main

import (
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/timeline"
	"github.com/tfconvrnn/go/tfconvrnn"
)

func newPresentation() *cobra.Command {
	return group("presentation", "Show how stimuli are presented", newPresentationShow())
}

type presentationShow struct {
	presentationFlags
	model  string
	frames int
	png    string
	force  bool
	asJSON bool
}

func newPresentationShow() *cobra.Command {
	p := &presentationShow{}
	cmd := &cobra.Command{
		Use:   "show --model MODEL [flags]",
		Short: "Draw a presentation's timeline, with each layer's first driven timestep",
		Long: `Draw a presentation's timeline: a row for the stimulus, and one for each layer that
shows from which timestep on the stimulus can have reached it. Before that a layer
responds to nothing but the blank and the zeros that the network starts from.

  #  the image is shown (1, 2, 3, … for the images of a sequence)
  .  the blank is shown; the layer is not yet driven
  =  the layer is driven`,
		Example: `  ` + program + ` presentation show --model ugrnn_intermediate --presentation neural
  ` + program + ` presentation show --model rgc_shallow --on-ms 0,200 --off-ms 100,300 --total-ms 400 --png timeline.png`,
		Args: usageArgs(cobra.NoArgs),
		RunE: p.run,
	}
	p.presentationFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&p.model, "model", "", "name of the `MODEL`; see \""+program+" models\"")
	flags.IntVar(&p.frames, "images", 0,
		"number of images of the sequence that is drawn with --frames-per-image (default: as many as can be seen)")
	flags.StringVar(&p.png, "png", "", "draw the timeline to a PNG `FILE` too")
	flags.BoolVar(&p.force, "force", false, "replace an existing file")
	addJSON(cmd, &p.asJSON)
	_ = cmd.RegisterFlagCompletionFunc("model", completeModels)
	return cmd
}

func (p *presentationShow) run(cmd *cobra.Command, _ []string) error {
	flags := modelFlags{model: p.model}
	model, err := flags.lookup()
	if err != nil {
		return err
	}
	shown, err := p.presentation(cmd, model, tfconvrnn.Preprocessing{})
	if err != nil {
		return err
	}
	if p.frames < 0 {
		return usagef("--images %d: a sequence has at least 1 image", p.frames)
	}
	if p.png != "" {
		if err := checkFileName("--png", p.png, "timeline.png"); err != nil {
			return err
		}
		if err := checkOutput(p.png, p.force); err != nil {
			return err
		}
	}
	t := timeline.New(model, shown, p.frames)
	if p.png != "" {
		data, err := t.PNG()
		if err != nil {
			return err
		}
		if err := atomicfile.Write(p.png, data); err != nil {
			return err
		}
	}
	return present(cmd, p.asJSON, t, t.Print)
}
