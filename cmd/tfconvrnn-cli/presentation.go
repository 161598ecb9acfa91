package main

import (
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/timeline"
	"github.com/tfconvrnn/go/tfconvrnn"
)

type presentationShow struct {
	presentationFlags
	model  string
	frames int
	png    string
	force  bool
}

func newPresentationShow() *cobra.Command {
	p := &presentationShow{}
	cmd := &cobra.Command{Use: "show --model MODEL [flags]", RunE: p.run}
	p.presentationFlags.register(cmd)
	flags := cmd.Flags()
	addModel(cmd, &p.model)
	addCount(cmd, &p.frames, "images", 0, 0,
		"number of images of the sequence that is drawn with --frames-per-image (default: as many as can be seen)")
	flags.StringVar(&p.png, "png", "", "draw the timeline to a PNG `FILE` too")
	flags.BoolVar(&p.force, "force", false, "replace an existing file")
	addJSON(cmd)
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
	if err := checkFile("--png", p.png, "timeline.png", p.force); err != nil {
		return err
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
	return present(cmd, t, t.Print)
}
