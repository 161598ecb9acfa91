package tfconvrnn

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/internal/disk"
)

// ParseBlank reads a blank as people write it: published (or ""), gray, black, white,
// R,G,B with each 0 … 255, #rrggbb, or the path of a picture, which p prepares. Errors
// about a colour wrap ErrPresentation; those about a picture are of reading it.
func ParseBlank(text string, p Preprocessing) (Blank, error) {
	if blank, ok, err := ParseColorBlank(text); ok || err != nil {
		return blank, err
	}
	stimuli, err := ReadImagesAs(p, text)
	if err != nil {
		return Blank{}, fmt.Errorf("blank %q is neither published, gray, black, white, R,G,B, #rrggbb nor a picture: %w",
			text, err)
	}
	blank := ImageBlank("image("+stimuli[0].ID+")", stimuli[0].Frames[0])
	if blank.file, err = disk.SHA256(context.Background(), text); err != nil {
		return Blank{}, fmt.Errorf("blank %q: %w", text, err)
	}
	return blank, nil
}

// ParseColorBlank is ParseBlank for a blank of one colour. It is not ok for what must be
// a picture. The error wraps ErrPresentation.
func ParseColorBlank(text string) (blank Blank, ok bool, err error) {
	color := func(r, g, b float64) (Blank, bool, error) {
		blank, err := ColorBlank(r, g, b)
		return blank, err == nil, err
	}
	switch text {
	case "published", "":
		return PublishedBlank(), true, nil
	case "gray", "grey":
		return color(0.5, 0.5, 0.5)
	case "black":
		return color(0, 0, 0)
	case "white":
		return color(1, 1, 1)
	}
	if rgb, err := hex.DecodeString(strings.TrimPrefix(text, "#")); err == nil && len(text) == 7 && len(rgb) == 3 {
		return color(float64(rgb[0])/255, float64(rgb[1])/255, float64(rgb[2])/255)
	}
	parts := strings.Split(text, ",")
	if len(parts) != 3 {
		return Blank{}, false, nil
	}
	var rgb [3]float64
	for i, part := range parts {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || !(v >= 0 && v <= 255) {
			return Blank{}, false, fmt.Errorf("%w: blank %s: each of R,G,B must be 0 … 255", ErrPresentation, text)
		}
		rgb[i] = v / 255
	}
	return color(rgb[0], rgb[1], rgb[2])
}

// A Device is what a model computes on: CPU, or GPU with its number.
type Device string

// CPU is the processor, with all its cores.
const CPU Device = "cpu"

// GPU returns the device of the GPU that the driver numbers so, from 0.
func GPU(number int) Device { return Device("gpu:" + strconv.Itoa(number)) }

// number returns which GPU a device is; not ok for the CPU. The error wraps ErrOption.
func (d Device) number() (n int, ok bool, err error) {
	if d == CPU {
		return 0, false, nil
	}
	kind, number, numbered := strings.Cut(string(d), ":")
	if kind != "gpu" {
		return 0, false, fmt.Errorf(
			"%w: unknown device %q; there are cpu, gpu and gpu:<number>, or several such as gpu:0,gpu:1", ErrOption, string(d))
	}
	if numbered {
		if n, err = strconv.Atoi(number); err != nil || n < 0 || n > maxGPU {
			return 0, false, fmt.Errorf("%w: device %q: the number of a GPU is 0, 1, …; several are gpu:0,gpu:1", ErrOption,
				string(d))
		}
	}
	return n, true, nil
}

// Devices are what a model computes on together: the CPU alone, or GPUs, each once.
type Devices []Device

// ParseDevices reads devices as people write them: cpu, gpu (the first), gpu:<number>, or
// several GPUs as gpu:0,gpu:1. The error wraps ErrOption.
func ParseDevices(text string) (Devices, error) {
	var devices Devices
	for _, name := range strings.Split(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			devices = append(devices, Device(name))
		}
	}
	return devices, devices.check()
}

// check says whether devices can be used together. The error wraps ErrOption.
func (list Devices) check() error {
	if len(list) == 0 {
		return fmt.Errorf("%w: no device is named; there are cpu, gpu and gpu:<number>", ErrOption)
	}
	seen := map[Device]bool{}
	for _, d := range list {
		n, gpu, err := d.number()
		switch {
		case err != nil:
			return err
		case !gpu && len(list) > 1:
			return fmt.Errorf(
				"%w: devices %s: several devices are several GPUs, such as gpu:0,gpu:1; one session on the CPU takes all its cores",
				ErrOption, list)
		case gpu:
			d = GPU(n)
		}
		if seen[d] {
			return fmt.Errorf("%w: devices %s: %s is named twice", ErrOption, list, d)
		}
		seen[d] = true
	}
	return nil
}

// String returns what ParseDevices reads, or "".
func (list Devices) String() string {
	names := make([]string, len(list))
	for i, d := range list {
		names[i] = string(d)
	}
	return strings.Join(names, ",")
}

// MarshalText returns String's.
func (list Devices) MarshalText() ([]byte, error) { return []byte(list.String()), nil }

// UnmarshalText is ParseDevices, but "" are no devices.
func (list *Devices) UnmarshalText(text []byte) (err error) {
	if *list = nil; len(text) > 0 {
		*list, err = ParseDevices(string(text))
	}
	return err
}
