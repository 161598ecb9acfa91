// Command tfconvrnn-cli extracts features of images from the published ConvRNNs.
//
//	tfconvrnn-cli runtime install
//	tfconvrnn-cli extract --model ugrnn_intermediate --weights seeded:1 --layers conv9,conv10 --out features.npz PICTURES…
//
// Each command is a file of this package: it turns flags into one call of the
// library and prints what that returns. Results go to standard output or to files,
// progress and warnings to standard error. "tfconvrnn-cli help exit-codes" lists
// the exit codes.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/tfconvrnn/go/internal/libtf"
	_ "github.com/tfconvrnn/go/internal/libtf/onearena" // keeps memory from growing as a run goes on
)

// garbagePercent is how much garbage may lie, in percent of the memory in use, unless
// GOGC says so: Go's heap is small beside TensorFlow's memory, and cheap to collect.
const garbagePercent = 20

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	if os.Getenv("TF_CPP_MIN_LOG_LEVEL") == "" { // else the user wants to see it all
		libtf.LoadQuietly()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks to stop and tidy up; with the handler gone, a second
	// one kills.
	context.AfterFunc(ctx, stop)
	os.Exit(Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
