package tfconvrnn_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// The common path: load a model, extract features of pictures. Seeded weights are
// untrained; leave the option out for the trained ones.
func ExampleLoad() {
	if err := tfconvrnn.RuntimeError(); err != nil {
		log.Fatal(err) // it says how to get libtensorflow
	}
	model, err := tfconvrnn.Load("ugrnn_shallow", tfconvrnn.WithWeights("seeded:1"))
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	stimuli, err := tfconvrnn.ReadImages("../testdata/pictures/astronaut.png", "../testdata/pictures/chelsea.png")
	if err != nil {
		log.Fatal(err)
	}
	features, err := model.Extract(context.Background(), stimuli, tfconvrnn.Layers("conv4", "conv5"), tfconvrnn.Logits())
	if err != nil {
		log.Fatal(err)
	}
	for _, layer := range features.Layers {
		fmt.Println(layer.Name, layer.Shape, layer.Milliseconds)
	}
	conv5, err := features.Layer("conv5")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(conv5.At(0, 10)), "values of the astronaut at 100 ms")
}

// Many pictures in constant memory: read when they are needed, handed out in
// batches, those that cannot be read skipped.
func ExampleModel_Stream() {
	model, err := tfconvrnn.Load("ugrnn_shallow", tfconvrnn.WithWeights("seeded:1"))
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	var stimuli []tfconvrnn.Stimulus
	for _, path := range os.Args[1:] {
		picture, err := tfconvrnn.FileImage(path, tfconvrnn.Preprocessing{})
		if err != nil {
			log.Fatal(err)
		}
		stimuli = append(stimuli, tfconvrnn.Stimulus{ID: path, Frames: []*tfconvrnn.Image{picture}})
	}
	err = model.Stream(context.Background(), slices.Values(stimuli), func(batch *tfconvrnn.Batch) error {
		for i, stimulus := range batch.Stimuli {
			if batch.Failed[i] != nil {
				continue
			}
			values, err := batch.Feature(0, 0, i) // conv5 at its first reported timestep
			if err != nil {
				return err
			}
			fmt.Println(stimulus.ID, len(values)) // values are valid only until here
		}
		return nil
	}, tfconvrnn.Layers("conv5"), tfconvrnn.WithPresentation(tfconvrnn.Neural()),
		tfconvrnn.OnError(func(index int, s tfconvrnn.Stimulus, err error) error {
			log.Printf("%s: %v", s.ID, err)
			return nil
		}))
	if err != nil {
		log.Fatal(err)
	}
}

// A film: each frame is shown for two timesteps, then the blank.
func ExampleSequence() {
	model, err := tfconvrnn.Load("rgc_shallow", tfconvrnn.WithWeights("seeded:1"))
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	frames, err := tfconvrnn.ReadImages("../testdata/pictures/coffee.png", "../testdata/pictures/rocket.jpg")
	if err != nil {
		log.Fatal(err)
	}
	film := tfconvrnn.Stimulus{ID: "film"}
	for _, f := range frames {
		film.Frames = append(film.Frames, f.Frames...)
	}
	features, err := model.Extract(context.Background(), []tfconvrnn.Stimulus{film},
		tfconvrnn.Layers("conv3"), tfconvrnn.WithPresentation(tfconvrnn.Sequence(10, 2)), tfconvrnn.AllTimesteps())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(features.Provenance.Presentation)
}

func ExampleEpisodes() {
	// On from 50 to 100 ms and from 150 to 200 ms, of 300 ms.
	p := tfconvrnn.Episodes(30, tfconvrnn.Episode{On: 5, Off: 10}, tfconvrnn.Episode{On: 15, Off: 20})
	fmt.Println(p)
	fmt.Println(p.Schedule(1))
	// Output:
	// episodes(times=30,on=5,off=10,on=15,off=20),blank=published
	// [-1 -1 -1 -1 -1 0 0 0 0 0 -1 -1 -1 -1 -1 0 0 0 0 0 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1]
}
