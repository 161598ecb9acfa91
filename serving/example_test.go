package serving_test

import (
	"context"
	"log"
	"os/signal"
	"syscall"

	"github.com/tfconvrnn/go/serving"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// A service of one model on this machine, until SIGTERM.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	model, err := tfconvrnn.Load("rgc_shallow", tfconvrnn.WithWeights("seeded:1"))
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	service, err := serving.New([]string{model.Info().Name}, serving.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()
	if err := service.Add(ctx, model); err != nil {
		log.Fatal(err)
	}
	// Service is an http.Handler as well, for a server of one's own.
	if err := service.Serve(ctx, serving.Listening{HTTP: "127.0.0.1:8080", GRPC: "127.0.0.1:8081"}); err != nil {
		log.Fatal(err)
	}
}
