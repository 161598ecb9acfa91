package recordings_test

import (
	"context"
	"fmt"
	"log"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/recordings"
)

// How well each layer explains recordings, over time, as compare fit prints and writes it.
func Example() {
	comparison := recordings.Comparison{
		Features: "features.nc", Data: "neural.nc",
		Selection: recordings.Selection{Regions: []string{"IT"}},
		Out:       "scores.nc", // for xarray
	}
	result, err := comparison.Fit(context.Background(),
		compare.FitOptions{Mapping: compare.PLS{}, Stratify: "object_name"})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range result.Scores {
		fmt.Println(s.Layer, *s.TimeBinStart, s.Score, s.Ceiled)
	}
}
