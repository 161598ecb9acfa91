package features_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/tfconvrnn/go/features"
)

// writeExample writes features of two stimuli, which are the timestep plus the number of
// the stimulus in tenths.
func writeExample(ctx context.Context, path string) error {
	timesteps := []int{9, 10, 11, 12, 13, 14, 15, 16}
	layout := &features.Layout{
		Rows: 2, Model: "example", Identifier: "example", StimulusSet: "two",
		Streamed: []features.Streamed{{
			Name: "conv9", DataType: features.Float32, RowShape: []int{len(timesteps), 1, 1, 2},
			Dimensions: []string{"timestep", "height", "width", "channel"},
			Layer:      &features.Layer{Region: "IT", Timesteps: timesteps},
		}},
		Columns: []features.Column{{Name: "stimulus_id", Values: []string{"cat.png", "dog.png"}}},
	}
	writer, err := features.Create(path, features.NetCDF, layout, features.Options{})
	if err != nil {
		return err
	}
	defer writer.Abort() // without effect after Finish
	for stimulus := range layout.Rows {
		var row []float32
		for _, t := range timesteps {
			v := float32(t) + float32(stimulus)/10
			row = append(row, v, -v)
		}
		if err := writer.WriteRows(0, stimulus, row); err != nil {
			return err
		}
	}
	return writer.Finish(ctx)
}

// Opening an output and taking one layer at 100–150 ms, a stimulus at a time.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "features")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	path := filepath.Join(dir, "features.nc")
	if err := writeExample(ctx, path); err != nil {
		log.Fatal(err)
	}

	store, err := features.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	conv9, err := store.Layer("conv9")
	if err != nil {
		log.Fatal(err)
	}
	timesteps := conv9.Between(100, 150)
	fmt.Println(conv9.Region, conv9.Shape, timesteps)
	for i, id := range store.Stimuli() {
		values, err := store.Read(ctx, "conv9", i, 1, timesteps)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(id, values)
	}
	// Output:
	// IT [1 1 2] [10 11 12 13 14]
	// cat.png [10 -10 11 -11 12 -12 13 -13 14 -14]
	// dog.png [10.1 -10.1 11.1 -11.1 12.1 -12.1 13.1 -13.1 14.1 -14.1]
}
