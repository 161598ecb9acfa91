package extraction_test

import (
	"context"
	"fmt"
	"log"
	"slices"
	"sync"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/recordings"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// The features of a folder of pictures, in a Zarr store.
func ExampleRun() {
	result, err := extraction.Run(context.Background(), &extraction.Request{
		Recipe: extraction.Recipe{
			Model: "ugrnn_intermediate", Layers: []string{"conv9", "conv10"}, Output: "features.zarr", Format: features.Zarr,
		},
		Inputs: stimuli.Options{Inputs: []string{"pictures/"}},
	}, extraction.RunOptions{Resume: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Output, result.Layout.Rows)
}

// The stimuli of a CSV table, shown for 100 ms of 260, as a netCDF file for Brain-Score.
func ExampleRun_table() {
	_, err := extraction.Run(context.Background(), &extraction.Request{
		Recipe: extraction.Recipe{
			Model: "ugrnn_intermediate", Layers: []string{"conv10"}, Presentation: tfconvrnn.Custom(26, 10),
			Output: "features.nc", Format: features.NetCDF, OnError: "skip",
		},
		Inputs: stimuli.Options{Inputs: []string{"stimuli.csv"}, Columns: []string{"category"}},
	}, extraction.RunOptions{
		Skipped: func(f extraction.FailedStimulus) { log.Printf("%s: %s", f.Stimulus, f.Error) },
	})
	if err != nil {
		log.Fatal(err)
	}
}

// A plan that two workers compute, here two goroutines of one process that share a model; in a
// cluster each opens the plan and loads the model by itself.
func ExampleCreate() {
	if err := planWorkFinish(context.Background(), "set.plan"); err != nil {
		log.Fatal(err)
	}
}

func planWorkFinish(ctx context.Context, name string) error {
	request := &extraction.Request{
		Recipe: extraction.Recipe{Model: "timedecay_shallow", Weights: "seeded:1", Output: "set.zarr"},
		Inputs: stimuli.Options{Inputs: []string{"stimuli.csv"}},
	}
	model, err := request.Load(ctx)
	if err != nil {
		return err
	}
	defer model.Close()
	request.Loaded = model
	if err := extraction.Create(ctx, name, request, false); err != nil {
		return err
	}
	plan, err := extraction.Open(ctx, name)
	if err != nil {
		return err
	}
	defer plan.Close()
	if err := plan.Start(ctx, extraction.RunOptions{}); err != nil {
		return err
	}
	var group sync.WaitGroup
	failed := make([]error, 2)
	for shard := range failed {
		group.Go(func() { failed[shard] = work(ctx, plan, model, shard, len(failed)) })
	}
	group.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	finished, err := plan.Finish(ctx, nil)
	if err == nil {
		fmt.Println(finished.Stimuli, "stimuli in", plan.Output)
	}
	return err
}

func work(ctx context.Context, plan *extraction.Plan, model *tfconvrnn.Model, shard, of int) error {
	worker, err := plan.NewWorker(ctx, model, extraction.WorkerOptions{})
	if err != nil {
		return err
	}
	defer worker.Close()
	first, end, err := plan.Shard(shard, of)
	if err != nil {
		return err
	}
	chunks, err := plan.Missing(ctx, first, end)
	if err != nil {
		return err
	}
	return worker.Work(ctx, slices.Values(chunks), nil)
}

// How well a model explains recordings, without a file of its features.
func ExampleDraft_Deferred() {
	if err := explain(context.Background(), "neural.nc"); err != nil {
		log.Fatal(err)
	}
}

func explain(ctx context.Context, data string) error {
	request := &extraction.Request{
		Recipe: extraction.Recipe{Model: "timedecay_shallow", Weights: "seeded:1", Layers: []string{"conv5"},
			AllTimesteps: true, Output: "conv5.npz", Format: features.NPZ},
		Inputs: stimuli.Options{Inputs: []string{"stimuli.csv"}},
	}
	draft, err := extraction.Prepare(ctx, request)
	if err != nil {
		return err
	}
	defer draft.Close()
	model, err := request.Load(ctx)
	if err != nil {
		return err
	}
	defer model.Close()
	computed, remove, err := draft.Deferred(ctx, model, extraction.DeferredOptions{})
	if err != nil {
		return err
	}
	defer computed.Close()
	comparison := recordings.Comparison{Features: request.Model, Opened: computed, Data: data, Out: "scores.json"}
	if _, err := comparison.Similarity(ctx, compare.AlignmentOptions{Matrix: true}); err != nil {
		return err
	}
	return remove()
}
