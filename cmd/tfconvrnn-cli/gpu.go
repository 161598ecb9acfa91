package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// gpuFlags say how a GPU is used.
type gpuFlags struct {
	numbers string
	tf32    bool
	memory  string
}

func (f *gpuFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.numbers, "gpu", "", "`NUMBERS` of GPUs, such as 0 or 0,1: short for --device gpu:0,gpu:1")
	flags.BoolVar(&f.tf32, "tf32", false, "let the GPU compute in TensorFloat-32: faster, and less exact")
	f.registerMemory(cmd)
}

func (f *gpuFlags) registerMemory(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.memory, "gpu-memory", "",
		"most GPU memory to take, as a `SIZE` such as 8GiB, or \"all\" to reserve all at once (default: as needed)")
}

// devices returns what --device and --gpu name: the CPU, or GPUs.
func (f *gpuFlags) devices(device string) (tfconvrnn.Devices, error) {
	if f.numbers != "" { // run_model.py: the numbers of the GPUs
		if device != string(tfconvrnn.CPU) {
			return nil, usagef("give --device or --gpu, not both")
		}
		device = "gpu:" + strings.ReplaceAll(strings.ReplaceAll(f.numbers, " ", ""), ",", ",gpu:")
	}
	devices, err := tfconvrnn.ParseDevices(device)
	if err != nil {
		return nil, usage(err)
	}
	return devices, nil
}

// options returns the library's options for what --device and --gpu name.
func (f *gpuFlags) options(device string) ([]tfconvrnn.Option, error) {
	devices, err := f.devices(device)
	if err != nil {
		return nil, err
	}
	options := []tfconvrnn.Option{tfconvrnn.WithDevices(devices...)}
	if devices[0] == tfconvrnn.CPU {
		if f.tf32 || f.memory != "" {
			return nil, usagef("--tf32 and --gpu-memory are for GPUs; add --device gpu")
		}
		return options, nil
	}
	if f.tf32 {
		options = append(options, tfconvrnn.WithTF32())
	}
	switch f.memory {
	case "":
	case "all":
		options = append(options, tfconvrnn.WithGPUMemoryReserved())
	default:
		size, err := humanize.ParseBytes(f.memory)
		if err != nil || size > math.MaxInt64 {
			return nil, usagef("--gpu-memory %q is no size; write for example 8GiB, or all", f.memory)
		}
		options = append(options, tfconvrnn.WithGPUMemoryLimit(int64(size)))
	}
	return options, nil
}

// halvedMessage says that a chosen batch found no memory.
func halvedMessage(to int, err error) string {
	why, _, _ := strings.Cut(err.Error(), "\n") // TensorFlow adds hints for Python
	return fmt.Sprintf("%s; it goes on with %s at once, as --batch %d does", why, plural(to, "stimulus"), to)
}

// sayHalved warns when a chosen batch finds no memory and is halved.
func sayHalved(c *console) func(from, to int, err error) {
	return func(_, to int, err error) { c.warnNotice(halvedMessage(to, err)) }
}
