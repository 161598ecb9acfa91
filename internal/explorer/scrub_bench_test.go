package explorer_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/explorer"
)

// BenchmarkScrub scrubs back and forth through 26 timesteps of all layers of ugrnn_intermediate, a timestep each frame,
// for five seconds, and reports the frames a second that the browser shows. Without a GPU it draws with the processor.
func BenchmarkScrub(b *testing.B) {
	address, _ := newPage(b, explorer.Options{}, "ugrnn_intermediate")
	page := openTab(b, address)
	page.choose("#preset-A", "neural")
	page.settle()
	require.Equal(b, "250", evaluate[string](page, `document.getElementById("scrub").getAttribute("aria-valuemax")`))
	require.Equal(b, 11, evaluate[int](page, `document.querySelectorAll(".layer").length`))
	for b.Loop() {
		got := evaluate[struct{ Frames, Seconds, Slow float64 }](page, fmt.Sprintf(`(async () => {
			const scrub = document.getElementById("scrub");
			const gaps = [];
			let key = "ArrowRight";
			const began = performance.now();
			let last = began;
			for (let now = began; now - began < %d; ) {
				now = await new Promise(requestAnimationFrame);
				gaps.push(now - last);
				last = now;
				const at = scrub.getAttribute("aria-valuenow");
				if (at === "250") key = "ArrowLeft";
				if (at === "0") key = "ArrowRight";
				scrub.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
			}
			gaps.sort((a, b) => a - b);
			return { Frames: gaps.length, Seconds: (last - began) / 1000, Slow: gaps[Math.floor(gaps.length * 0.95)] };
		})()`, 5000))
		b.ReportMetric(got.Frames/got.Seconds, "frames/s")
		b.ReportMetric(got.Slow, "p95-ms/frame")
	}
}
