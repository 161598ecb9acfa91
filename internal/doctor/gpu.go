package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/internal/cuda"
	"github.com/tfconvrnn/go/internal/gpukernels"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tfpb"
	"github.com/tfconvrnn/go/internal/unroll"
	"github.com/tfconvrnn/go/internal/zoo"
)

// cudaFindings says whether models can run on a GPU. Without one that is no fault.
func cudaFindings(program string) Findings {
	loaded := libtf.Loaded()
	if loaded == nil {
		return nil
	}
	state := cuda.Look(filepath.Dir(loaded.Path()))
	gpuBuild, err := gpukernels.IsGPUBuild()
	if err != nil {
		return Findings{{"CUDA", Warning, err.Error(), ""}}
	}
	var words []string
	if gpuBuild {
		words = append(words, "GPU build of TensorFlow")
	} else {
		words = append(words, "CPU build of TensorFlow")
	}
	if state.Driver != "" {
		words = append(words, "driver "+state.Driver)
	} else {
		words = append(words, "no NVIDIA driver")
	}
	words = append(words, console.Plural(len(state.Devices), "GPU device"))
	if len(state.Models) > 0 {
		words = append(words, strings.Join(state.Models, " and "))
	}
	if state.Restricted {
		words = append(words, fmt.Sprintf("CUDA_VISIBLE_DEVICES=%q", state.Visible))
	}
	if len(state.Missing) > 0 && (gpuBuild || state.HasDriver()) {
		words = append(words, "not found: "+strings.Join(state.Missing, " "))
	}
	if folders := libraryFolders(state); gpuBuild && folders != "" {
		words = append(words, "libraries from "+folders)
	}
	f := Finding{Name: "CUDA", State: Info, Detail: strings.Join(words, ", ")}
	switch {
	case gpuBuild && state.Problem() == "":
		f.State = OK
	case gpuBuild && state.Driver != "":
		f.State, f.Remedy = Warning, state.Problem()+cudaRemedy(program, state)
	case !gpuBuild && state.HasDriver():
		f.Remedy = "to compute on the GPU run " + program + " runtime install --gpu"
	}
	return Findings{f}
}

// libraryFolders lists where CUDA's libraries were found, each folder once.
func libraryFolders(state cuda.State) string {
	var folders []string
	for _, name := range cuda.Libraries {
		if dir := state.Found[name]; dir != "" && strings.HasPrefix(name, "libcu") && !slices.Contains(folders, dir) {
			folders = append(folders, dir)
		}
	}
	return strings.Join(folders, ", ")
}

// cudaRemedy says how to get missing libraries of CUDA.
func cudaRemedy(program string, state cuda.State) string {
	if len(state.Missing) == 0 {
		return ""
	}
	text := ": run " + program + " runtime install --gpu --with-cuda"
	if len(state.Elsewhere) > 0 {
		text += ", or, to use those, " + program + " runtime install --gpu --cuda-from " + state.Elsewhere[0]
	}
	return text
}

// A KernelReport says which operations of the models' graphs have GPU kernels.
type KernelReport struct {
	// Source says where the list of kernels is from.
	Source string        `json:"source"`
	Graphs []GraphReport `json:"graphs"`
	// Ready says that no operation of any graph falls back to the CPU.
	Ready bool `json:"ready"`
}

// A GraphReport is what of a graph runs where.
type GraphReport struct {
	Model     string             `json:"model"`
	Variant   string             `json:"plan"`
	Precision string             `json:"precision"`
	Report    *gpukernels.Report `json:"report"`
}

// gpuPrecisions are those in which graphs may compute on a GPU.
var gpuPrecisions = []struct {
	name  string
	dtype tfpb.DataType
}{{"float32", tfpb.DataType_DT_FLOAT}, {"float16", tfpb.DataType_DT_HALF}, {"bfloat16", tfpb.DataType_DT_BFLOAT16}}

// GPUKernels tells for every op of every model's graphs whether the GPU build has a GPU kernel.
// The GPU build need not be the one in use, nor a GPU be there.
func GPUKernels(ctx context.Context, program string) (*KernelReport, error) {
	kernels, source, err := gpuKernelRegistry(program)
	if err != nil {
		return nil, err
	}
	result := &KernelReport{Source: source, Ready: true}
	for _, m := range zoo.Models() {
		for _, variant := range []unroll.Variant{unroll.Plain, unroll.LightCone} {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			times := max(convert.DefaultTimes, m.Default.Times)
			unrolled := unroll.Unroll(m, times, variant, unroll.Options{MatMulPixels: convert.DefaultMatMulPixels})
			def, fetches := gpukernels.Hot(unrolled)
			for _, p := range gpuPrecisions {
				report, err := gpukernels.Audit(gpukernels.InPrecision(def, p.dtype), fetches, kernels)
				if err != nil {
					return nil, fmt.Errorf("%s, variant %s: %w", m.Name, variant, err)
				}
				result.Graphs = append(result.Graphs, GraphReport{m.Name, string(variant), p.name, report})
				result.Ready = result.Ready && len(report.Fallbacks()) == 0 && len(unexpectedStalls(report)) == 0
			}
		}
	}
	return result, nil
}

// gpuKernelRegistry asks the GPU build of TensorFlow: the one that the environment
// names, or else the one in the cache. Without one it takes the recorded kernels.
func gpuKernelRegistry(program string) (registry gpukernels.Registry, source string, err error) {
	path := os.Getenv(libtf.Env)
	if path == "" {
		dir, err := cachedir.Runtime(libtf.Version, cachedir.GPU)
		if err != nil {
			return nil, "", err
		}
		if _, err := os.Stat(dir); err == nil {
			path = dir
		}
	}
	if path != "" {
		loaded, err := libtf.Load(path)
		if err != nil {
			return nil, "", err
		}
		gpuBuild, err := gpukernels.IsGPUBuild()
		if err != nil {
			return nil, "", err
		}
		if gpuBuild {
			registry, err := gpukernels.FromRuntime(gpukernels.KnownOps())
			return registry, loaded.Path() + " (TensorFlow " + loaded.Version() + ")", err
		}
	}
	registry, err = gpukernels.Recorded()
	return registry, "the list recorded from TensorFlow " + libtf.Version + "; to ask a GPU build itself run " + program +
		" runtime install --gpu first", err
}

func unexpectedStalls(r *gpukernels.Report) []gpukernels.Copy {
	var list []gpukernels.Copy
	for _, c := range r.Stalls() {
		if gpukernels.ExpectedStall(c) == "" {
			list = append(list, c)
		}
	}
	return list
}

// Print shows the ops of all graphs together; faults with the graph they are in.
func (r KernelReport) Print(out io.Writer) error {
	fmt.Fprintf(out, "GPU kernels from %s\n", r.Source)
	type row struct {
		place gpukernels.Place
		nodes int
	}
	rows := map[string]*row{}
	var names []string
	var faults []error
	for _, g := range r.Graphs {
		where := g.Model + ", variant " + g.Variant + ", " + g.Precision
		for _, use := range g.Report.Uses {
			if rows[use.Name()] == nil {
				rows[use.Name()] = &row{place: use.Place}
				names = append(names, use.Name())
			}
			rows[use.Name()].nodes += use.Nodes
		}
		for _, use := range g.Report.Fallbacks() {
			faults = append(faults, fmt.Errorf("%s: %s (%s) has no GPU kernel", where, use.Name(),
				console.Plural(use.Nodes, "operation")))
		}
		for _, c := range unexpectedStalls(g.Report) {
			faults = append(faults, fmt.Errorf("%s: %s goes back from the GPU to %s", where, c.From, c.To))
		}
	}
	headings := map[gpukernels.Place]string{
		gpukernels.OnGPU:  "On the GPU:",
		gpukernels.OnHost: "In host memory on purpose, by the GPU kernels themselves (shapes, axes, small indices, handles):",
		gpukernels.OnCPU:  "Without a GPU kernel:",
	}
	sort.Strings(names)
	for _, place := range []gpukernels.Place{gpukernels.OnGPU, gpukernels.OnHost, gpukernels.OnCPU} {
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		heading := false
		for _, name := range names {
			if rows[name].place != place {
				continue
			}
			if !heading {
				fmt.Fprintf(table, "\n%s\n", headings[place])
				heading = true
			}
			op, types, _ := strings.Cut(name, " ")
			fmt.Fprintf(table, "  %s\t%s\t%d\n", op, types, rows[name].nodes)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if err := r.printModels(out); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s checked: ", console.Plural(len(r.Graphs), "graph"))
	if err := errors.Join(faults...); err != nil {
		_, err = fmt.Fprintf(out, "not ready\n%v\n", err)
		return err
	}
	_, err := fmt.Fprintln(out, "nothing falls back to the CPU")
	return err
}

// printModels counts the operations of every graph by where they are.
func (r KernelReport) printModels(out io.Writer) error {
	fmt.Fprintf(out, "\nOperations of each graph, in every precision:\n")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  model\tvariant\ton the GPU\tin host memory\twithout a GPU kernel")
	last := ""
	for _, g := range r.Graphs {
		counts := map[gpukernels.Place]int{}
		for _, use := range g.Report.Uses {
			counts[use.Place] += use.Nodes
		}
		row := fmt.Sprintf("  %s\t%s\t%d\t%d\t%d", g.Model, g.Variant, counts[gpukernels.OnGPU], counts[gpukernels.OnHost],
			counts[gpukernels.OnCPU])
		if row == last { // another precision
			continue
		}
		last = row
		fmt.Fprintln(table, row)
	}
	return table.Flush()
}
