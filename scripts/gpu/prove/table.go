package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// printTable prints a line for each step, then what golden outputs and speeds there are.
func printTable(out io.Writer, lines []line) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "check\tstate\tseconds\tresult")
	for _, l := range lines {
		fmt.Fprintf(table, "%s\t%s\t%.0f\t%s\n", l.Name, l.State, l.Seconds, l.Summary)
	}
	_ = table.Flush()
	printGolden(out, lines)
	printSpeeds(out, lines)
}

// printGolden prints the worst error of every golden file, the largest first.
func printGolden(out io.Writer, lines []line) {
	worst := map[string]float64{}
	for _, l := range lines {
		for file, values := range l.Values {
			if of, ok := values.(map[string]any); ok && of["check"] == "golden" {
				worst[file], _ = of["worst"].(float64)
			}
		}
	}
	if len(worst) == 0 {
		return
	}
	files := slices.SortedFunc(maps.Keys(worst), func(a, b string) int {
		if worst[a] != worst[b] {
			return map[bool]int{true: -1, false: 1}[worst[a] > worst[b]]
		}
		return map[bool]int{true: -1, false: 1}[a < b]
	})
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\ngolden output\tworst error, of RMS")
	for _, file := range files {
		fmt.Fprintf(table, "%s\t%.1e\n", file, worst[file])
	}
	_ = table.Flush()
}

// printSpeeds prints what was measured of each model and batch, beside the roofline.
func printSpeeds(out io.Writer, lines []line) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	head := "\nmeasured\tbatch\timages/s\ttimes the published way\tof the peak\tpeak, GFLOP/s\tmemory, GB/s\n"
	for _, l := range lines {
		v := l.Values
		if _, ok := v["images_per_second"]; !ok {
			continue
		}
		fmt.Fprint(table, head)
		head = ""
		number := func(name, format string, scale float64) string {
			if n, ok := v[name].(float64); ok {
				return fmt.Sprintf(format, scale*n)
			}
			return "-"
		}
		fmt.Fprintf(table, "%s\t%v\t%s\t%s\t%s\t%s\t%s\n", l.Name, v["batch"], number("images_per_second", "%.4g", 1),
			number("ratio", "%.2f", 1),
			number("of_peak", "%.0f %%", 100), number("gemm_gflops", "%.0f", 1), number("memory_gb_per_second", "%.0f", 1))
	}
	_ = table.Flush()
}
