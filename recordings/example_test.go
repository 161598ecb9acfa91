package recordings_test

import (
	"context"
	"fmt"
	"log"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/recordings"
)

// How well each layer explains recordings, over time, as compare fit prints it.
func Example() {
	ctx := context.Background()
	f, err := recordings.OpenFeatures("features.nc")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	a, err := recordings.Open("neural.nc", recordings.Layout{})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	r, err := recordings.Select(a, recordings.Selection{Regions: []string{"IT"}})
	if err != nil {
		log.Fatal(err)
	}
	fits, err := compare.FitOverTime(ctx, f, r, compare.FitOptions{Mapping: compare.PLS{}, Stratify: "object_name"})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range fits.Scores {
		fmt.Println(s.Layer, s.Bin, s.Score.Center, s.Ceiled)
	}
	result := &compare.Result{Analysis: "fit", Features: "features.nc", Data: "neural.nc"}
	result.Add(fits, true)
	if err := recordings.Describe(ctx, result, f, r); err != nil {
		log.Fatal(err)
	}
	if err := recordings.WriteResult("scores.nc", result); err != nil {
		log.Fatal(err)
	}
}
