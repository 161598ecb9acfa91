package tfconvrnn_test

import (
	"context"
	"fmt"
	"iter"
	"log"
	"path/filepath"

	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Features of two photographs, with untrained weights that need no download.
func Example() {
	model, err := tfconvrnn.Load("ugrnn_intermediate", tfconvrnn.WithWeights("seeded:1"))
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	images, err := tfconvrnn.ReadImages("../testdata/pictures/astronaut.png", "../testdata/pictures/chelsea.png")
	if err != nil {
		log.Fatal(err)
	}
	features, err := model.Extract(context.Background(), images, tfconvrnn.Layers("conv9", "conv10"), tfconvrnn.Logits())
	if err != nil {
		log.Fatal(err)
	}
	conv9, err := features.Layer("conv9")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(conv9.Timesteps, conv9.Shape, len(conv9.Data))
}

// A folder of any size, in constant memory.
func ExampleModel_Stream() {
	model, err := tfconvrnn.Load("rgc_shallow", tfconvrnn.WithWeights("seeded:1"))
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	var stimuli iter.Seq[tfconvrnn.Stimulus] = func(yield func(tfconvrnn.Stimulus) bool) {
		paths, _ := filepath.Glob("../testdata/pictures/*.png")
		for _, path := range paths {
			image, err := tfconvrnn.FileImage(path, tfconvrnn.Preprocessing{})
			if err != nil {
				log.Fatal(err)
			}
			if !yield(tfconvrnn.Stimulus{ID: filepath.Base(path), Frames: []*tfconvrnn.Image{image}}) {
				return
			}
		}
	}
	err = model.Stream(context.Background(), stimuli, func(b *tfconvrnn.Batch) error {
		for i, s := range b.Stimuli {
			conv5, err := b.Feature(0, 0, i) // the first layer asked for, at its first timestep
			if err != nil {
				return err
			}
			fmt.Println(s.ID, conv5[:3])
		}
		return nil
	}, tfconvrnn.Layers("conv5"), tfconvrnn.WithPresentation(tfconvrnn.Neural()))
	if err != nil {
		log.Fatal(err)
	}
}

// Pictures that cannot be read are skipped, and named.
func ExampleOnError() {
	if err := tfconvrnn.RuntimeError(); err != nil {
		log.Fatal(err) // it says how to get libtensorflow
	}
	model, err := tfconvrnn.Load("rgc_shallow", tfconvrnn.WithWeights("seeded:1"))
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	var stimuli []tfconvrnn.Stimulus
	for _, path := range []string{"../testdata/pictures/coffee.png", "no such picture.png"} {
		image, err := tfconvrnn.FileImage(path, tfconvrnn.Preprocessing{})
		if err != nil {
			log.Fatal(err)
		}
		stimuli = append(stimuli, tfconvrnn.Stimulus{ID: path, Frames: []*tfconvrnn.Image{image}})
	}
	skip := tfconvrnn.OnError(func(index int, s tfconvrnn.Stimulus, err error) error {
		log.Printf("stimulus %d (%s) is skipped: %v", index, s.ID, err)
		return nil
	})
	features, err := model.Extract(context.Background(), stimuli, tfconvrnn.Layers("conv5"), skip)
	if err != nil {
		log.Fatal(err)
	}
	for i, failed := range features.Failed {
		fmt.Println(features.Stimuli[i], failed == nil)
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

// Two flashes of an image, seen by a model that was trained with one.
func ExampleEpisodes() {
	model, err := savedmodels.Lookup("ugrnn_intermediate")
	if err != nil {
		log.Fatal(err)
	}
	presentation, err := tfconvrnn.Episodes(8, tfconvrnn.Episode{On: 0, Off: 2},
		tfconvrnn.Episode{On: 5, Off: 6}).Resolve(model)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(presentation)
	fmt.Println(presentation.Schedule(1)) // the number of the frame, or -1 for the blank
	// Output:
	// episodes(times=8,on=0,off=2,on=5,off=6),blank=published
	// [0 0 -1 -1 -1 0 -1 -1]
}

func ExampleOutputs() {
	model, err := savedmodels.Lookup("ugrnn_intermediate")
	if err != nil {
		panic(err)
	}
	presentation, layers, err := tfconvrnn.Outputs(model, tfconvrnn.Layers("conv5", "conv10"),
		tfconvrnn.WithPresentation(tfconvrnn.Neural()))
	if err != nil {
		panic(err)
	}
	fmt.Println(presentation)
	for _, l := range layers {
		fmt.Println(l.Name, l.Shape, len(l.Timesteps), "timesteps from", l.Milliseconds[0], "ms")
	}
	// Output:
	// neural(times=26,on=0,off=10),blank=published
	// conv5 [28 28 128] 21 timesteps from 50 ms
	// conv10 [4 4 512] 16 timesteps from 100 ms
}
