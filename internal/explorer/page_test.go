package explorer_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/explorer"
	"github.com/tfconvrnn/go/internal/explorer/npm"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// extracted computes a picture by the library.
func extracted(t testing.TB, e *engine, name string, p tfconvrnn.Presentation) *tfconvrnn.Features {
	images, err := tfconvrnn.ReadImages("../../testdata/pictures/" + name)
	require.NoError(t, err)
	f, err := e.loaded[model].Extract(t.Context(), images, tfconvrnn.AllTimesteps(), tfconvrnn.BatchSize(1),
		tfconvrnn.WithPresentation(p), tfconvrnn.Logits())
	require.NoError(t, err)
	return f
}

// step runs a part of a test, which fails by itself.
func (b *tab) step(name string, f func(t *testing.T)) {
	whole := b.TB
	defer func() { b.TB = whole }()
	whole.(*testing.T).Run(name, func(t *testing.T) {
		b.TB = t
		f(t)
	})
	if whole.Failed() {
		whole.FailNow() // what follows builds on it
	}
}

// drop drops a file on an element.
func (b *tab) drop(selector, path string) {
	b.Helper()
	path, err := filepath.Abs(path)
	require.NoError(b, err)
	at := b.box(selector)
	data := &input.DragData{Items: []*input.DragDataItem{}, Files: []string{path}, DragOperationsMask: 1}
	for _, kind := range []input.DispatchDragEventType{"dragEnter", "dragOver", "drop"} {
		call(b, input.DispatchDragEvent, input.DispatchDragEventParams{Type: kind, X: at.X + at.Width/2,
			Y: at.Y + at.Height/2, Data: data})
	}
}

// drag drags the mouse from one place to another.
func (b *tab) drag(fromX, fromY, toX, toY float64) {
	b.Helper()
	mouse := func(kind input.DispatchMouseEventType, x, y float64, buttons int64) {
		p := input.DispatchMouseEventParams{Type: kind, X: x, Y: y, Buttons: buttons}
		if kind != "mouseMoved" {
			p.ClickCount = 1
		}
		if kind != "mouseMoved" || buttons != 0 {
			p.Button = "left"
		}
		call(b, input.DispatchMouseEvent, p)
	}
	mouse("mouseMoved", fromX, fromY, 0)
	mouse("mousePressed", fromX, fromY, 1)
	for i := 1; i <= 5; i++ {
		f := float64(i) / 5
		mouse("mouseMoved", fromX+f*(toX-fromX), fromY+f*(toY-fromY), 1)
	}
	mouse("mouseReleased", toX, toY, 0)
}

// move moves the mouse.
func (b *tab) move(x, y float64) {
	b.Helper()
	call(b, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: "mouseMoved", X: x, Y: y})
}

// episodes returns what the timeline of a condition says to who listens.
func (b *tab) episodes(condition string) []int {
	b.Helper()
	return evaluate[[]int](b, fmt.Sprintf(
		`[...document.querySelectorAll("[data-condition=%s] .edge")].map((e) => Number(e.getAttribute("aria-valuenow")))`,
		condition))
}

// What a scientist does on the page from beginning to end, with the values of the library.
func TestPage(t *testing.T) {
	address, e := newPage(t, explorer.Options{}, model, "simplernn_shallow")
	b := openTab(t, address)
	b.settle()
	require.Empty(t, b.complaints())
	assert.Contains(t, evaluate[string](b, `document.getElementById("notice").innerText`), "Untrained weights")
	b.keep("light")

	b.step("drop a picture", func(t *testing.T) {
		b.drop("[data-condition=A] .zone", "../../testdata/pictures/rocket.jpg")
		b.wait(`document.querySelector("[data-condition=A] .caption").innerText.includes("rocket.jpg")`)
		b.wait(`performance.getEntriesByName("preview").length > 0`)
		preview := evaluate[float64](b, `performance.getEntriesByName("preview")[0].duration`)
		t.Logf("the preview came %.0f ms after the drop", preview)
		b.settle()
		assert.Contains(t, evaluate[string](b, `document.querySelector("[data-condition=A] .caption").innerText`),
			"JPEG, 640 × 427")
		// The picture on the page is the one that the model sees.
		images, err := tfconvrnn.ReadImages("../../testdata/pictures/rocket.jpg")
		require.NoError(t, err)
		want, err := images[0].Frames[0].Pixels()
		require.NoError(t, err)
		got := evaluate[[]int](b,
			`(() => { const c = document.createElement("canvas"); c.width = c.height = 224; const x = c.getContext("2d");
			x.drawImage(document.querySelector("[data-condition=A] .seen"), 0, 0); return [...x.getImageData(0, 0, 224, 224).data].filter((_, i) => i % 4 < 3); })()`)
		require.Len(t, got, len(want))
		for i := range want {
			require.InDelta(t, want[i]*255, float64(got[i]), 0.01)
		}
		b.drop("[data-condition=A] .zone", "page_test.go")
		b.wait(`document.querySelector("[data-condition=A] .error") !== null`)
		said := evaluate[string](b, `document.querySelector("[data-condition=A] .error").innerText`)
		assert.Contains(t, said, "page_test.go")
		require.Len(t, b.complaints(), 1) // Chromium logs the refusal itself
		b.do(chromedp.Click(`[data-condition=A] [data-picture="chelsea.png"]`))
		b.settle()
		assert.True(t, evaluate[bool](b, `document.querySelector("[data-condition=A] .error") === null`))
	})

	b.step("drag an episode", func(t *testing.T) {
		assert.Equal(t, []int{0, 120}, b.episodes("A"))
		track := b.box("[data-condition=A] .track")
		step := track.Width / 16
		b.drag(track.X+12*step, track.Y+20, track.X+6.1*step, track.Y+20) // the edge at 120 ms
		assert.Equal(t, []int{0, 60}, b.episodes("A"))
		b.drag(track.X+9.5*step, track.Y+20, track.X+11.5*step, track.Y+20) // a new one
		assert.Equal(t, []int{0, 60, 90, 120}, b.episodes("A"))
		b.settle()
		command := evaluate[string](b, `document.querySelector("#take pre").innerText`)
		assert.Contains(t, command, "--on-ms 0,90 \\\n    --off-ms 60,120 \\\n    --total-ms 160")
		assert.Contains(t, command, "testdata/pictures/chelsea.png")
		b.script(`document.querySelector("[data-condition=A] .edge").focus()`)
		b.do(chromedp.KeyEvent(kb.ArrowRight))
		assert.Equal(t, []int{10, 60, 90, 120}, b.episodes("A"))
		b.script(`document.querySelector('[data-condition=A] [data-episode="1"]').focus()`)
		b.do(chromedp.KeyEvent(kb.Delete))
		assert.Equal(t, []int{10, 60}, b.episodes("A"))
		for range 4 {
			b.do(chromedp.Click("#undo"))
		}
		assert.Equal(t, []int{0, 120}, b.episodes("A"))
		b.do(chromedp.Click("#redo"))
		assert.Equal(t, []int{0, 60}, b.episodes("A"))
		b.settle()
	})

	want := extracted(t, e, "chelsea.png", tfconvrnn.Episodes(16, tfconvrnn.Episode{On: 0, Off: 6}))
	b.step("scrub", func(t *testing.T) {
		now := func() string {
			return evaluate[string](b, `document.getElementById("scrub").getAttribute("aria-valuetext")`)
		}
		scrub := b.box("#scrub")
		b.drag(scrub.X+scrub.Width*0.1, scrub.Y+10, scrub.X+scrub.Width*4.5/16, scrub.Y+10)
		assert.Equal(t, "40 milliseconds, picture on", now())
		b.do(chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight))
		assert.Equal(t, "60 milliseconds, blank", now())
		b.do(chromedp.KeyEvent(kb.Home), chromedp.KeyEvent(" "))
		b.wait(`document.getElementById("scrub").getAttribute("aria-valuenow") === "150"`) // it plays to the end
		b.do(chromedp.KeyEvent(kb.Home))
		for range 7 {
			b.do(chromedp.KeyEvent(kb.ArrowRight))
		}
		assert.Equal(t, "70 milliseconds, blank", now())
		conv3, err := want.Layer("conv3")
		require.NoError(t, err)
		var sum float64
		for _, v := range conv3.At(0, 7) {
			sum += float64(v)
		}
		b.wait(fmt.Sprintf(
			`Math.abs(Number(document.querySelector("[data-layer=conv3] .now").textContent.replace("−", "-")) - %g) < 1e-3`,
			sum/float64(conv3.Size())))
		assert.Equal(t, "driven since 20 ms",
			evaluate[string](b, `document.querySelector("[data-layer=conv3] .driven").textContent`))
	})

	b.step("hover and pin", func(t *testing.T) { b.hoverAndPin(t, want) })
	b.step("take away", func(t *testing.T) { b.takeAway(t, want) })
	require.Empty(t, b.complaints())
	b.step("axe in light and dark", func(t *testing.T) {
		b.axe(t)
		b.show(1440, 1000, "dark")
		b.keep("dark")
		b.axe(t)
	})

	b.step("a layer on the whole screen", func(t *testing.T) { b.wholeScreen(t, want) })

	b.step("compare", func(t *testing.T) {
		b.do(chromedp.Click("#compare"))
		b.wait(`document.querySelectorAll("#similarity td").length > 0`)
		b.settle()
		assert.Len(t, b.episodes("B"), 2)
		assert.Equal(t, 6*16, evaluate[int](b, `document.querySelectorAll("#similarity td").length`))
		cell := `document.querySelectorAll("#similarity tbody tr")[4].querySelectorAll("td")[2].textContent`
		assert.Equal(t, "1.00", evaluate[string](b, cell)) // nothing drives it yet
		b.wait(`document.querySelectorAll("[data-layer=conv2] .strip:not([hidden])").length === 3`)
		b.choose("#similarity-kind", "correlation curves")
		b.wait(`document.querySelectorAll(".curve-names li").length === 6 && document.querySelector("#similarity .uplot") !== null`)
		assert.Contains(t, evaluate[string](b, `document.querySelector("#similarity .chart .unseen").textContent`),
			"conv1 is greatest at")
		assert.True(t, evaluate[bool](b, `document.querySelector("#similarity .heat-box").offsetHeight === 0`))
		b.keep("compare-curves")
		b.choose("#similarity-kind", "correlation")
		b.script("scrollTo(0, 0)")
		b.keep("compare-dark")
		b.axe(t)
		b.show(1440, 1000, "light")
		// Two models of one picture: channels do not correspond.
		b.choose("#model-B", "simplernn_shallow")
		b.settle()
		b.wait(`document.getElementById("similarity-about").innerText.includes("do not correspond")`)
		b.choose("#preset-B", "neural")
		b.settle()
		assert.Equal(t, "250",
			evaluate[string](b, `document.getElementById("scrub").getAttribute("aria-valuemax")`)) // the longer of the two
		b.keep("compare-models")
		assert.Equal(t, 2,
			evaluate[int](b, `document.querySelectorAll("[data-layer=conv3] .strip:not([hidden])").length`)) // and no difference
	})

	b.step("a phone", func(t *testing.T) {
		b.show(390, 844, "light")
		assert.LessOrEqual(t, evaluate[int](b, `document.documentElement.scrollWidth`), 390)
		b.axe(t)
		b.script(`scrollTo(0, 0)`)
		b.keep("phone-top")
		b.script(`document.getElementById("clock").scrollIntoView()`)
		b.settle()
		b.keep("phone")
		b.script(`document.querySelector('[aria-label="Enlarge conv2"]').click()`)
		b.wait(`document.getElementById("full").open && document.body.dataset.maps === "there"`)
		b.keep("phone-whole-screen")
		b.do(chromedp.KeyEvent(kb.Escape))
	})
	assert.Empty(t, b.complaints())
}

// What the server has forgotten is computed again, unless that would make it forget another thing that is looked at.
func TestForgottenRuns(t *testing.T) {
	const timestep = 4 * (56*56*64 + 28*28*128 + 14*14*256 + 7*7*256 + 4*4*512 + 1000)
	address, _ := newPage(t, explorer.Options{Memory: 17 * timestep}, model) // one run of 16 timesteps
	b := openTab(t, address)
	b.settle()
	b.do(chromedp.Click(`[data-condition=A] [data-picture="coffee.png"]`)) // the server forgets chelsea
	b.settle()
	b.do(chromedp.Click("#undo"))
	b.settle()
	b.choose("[data-how=count]", "32")
	b.wait(`document.querySelector("[data-layer=conv5] .note").innerText.startsWith("32 of 512")`)
	b.complaints() // Chromium logs what is gone
	b.do(chromedp.Click("#compare"))
	b.wait(`document.querySelector(".status .error") !== null`)
	assert.Contains(t, evaluate[string](b, `document.querySelector(".status .error").innerText`),
		"no memory for all that is looked at")
	asked := len(b.complaints())
	time.Sleep(time.Second)
	assert.LessOrEqual(t, len(b.complaints()), 10, "it goes on asking, after %d times", asked)
}

func (b *tab) hoverAndPin(t *testing.T, want *tfconvrnn.Features) {
	conv2, err := want.Layer("conv2")
	require.NoError(t, err)
	canvas := b.box("[data-layer=conv2] canvas.maps")
	// In the second map, row 10, column 20.
	x, y := canvas.X+60+(20+0.5)*2, canvas.Y+(10+0.5)*2
	b.move(x, y)
	b.wait(`document.getElementById("tip").innerText.includes("row 10, column 20, 70 ms") && !document.getElementById("tip").innerText.includes("≈")`)
	said := evaluate[[]string](b, `document.getElementById("tip").innerText.split("\n").filter((l) => l.trim())`)
	value, err := strconv.ParseFloat(said[0], 32)
	require.NoError(t, err, "%q", said)
	channel, err := strconv.Atoi(strings.TrimPrefix(said[1], "conv2 channel "))
	require.NoError(t, err, "%q", said)
	assert.Equal(t, conv2.At(0, 7)[(10*28+20)*conv2.Shape[2]+channel], float32(value)) // to the last bit
	b.drag(x, y, x, y)
	b.wait(`document.querySelectorAll("#units li").length === 1`)
	b.wait(`document.querySelectorAll("[data-layer=conv2] .strip:not([hidden]) .marks i").length === 1`)
	assert.Contains(t, evaluate[string](b, `document.querySelector("#units li").innerText`),
		fmt.Sprintf("conv2 channel %d, row 10, column 20", channel))
	// By name, without a mouse.
	b.choose("#pin-layer", "conv5")
	b.choose("#pin-channel", "500")
	b.choose("#pin-row", "3")
	b.do(chromedp.Click(".pin-form button"))
	b.wait(`document.querySelectorAll("#units li").length === 2`)
	b.move(5, 5)
}

// wholeScreen looks at a layer on the whole screen, without a mouse but for the values.
func (b *tab) wholeScreen(t *testing.T, want *tfconvrnn.Features) {
	b.script(`document.querySelector('[aria-label="Enlarge conv2"]').focus()`)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.wait(`document.getElementById("full").open && document.body.dataset.maps === "there"`)
	b.wait(`document.querySelector("#full canvas.maps").height > 200`)
	assert.Contains(t, evaluate[string](b, `document.querySelector("#full .note").innerText`), "64 of 128 channels")
	b.keep("whole-screen")
	b.axe(t)
	b.choose("[data-full=size]", "224")
	b.choose("[data-full=count]", "0")
	b.wait(`document.querySelector("#full .note").innerText.includes("128 of 128") && document.body.dataset.maps === "there"`)
	b.script(`document.querySelector("#full input[type=range]").focus()`)
	b.do(chromedp.KeyEvent(kb.ArrowRight))
	b.wait(`document.getElementById("scrub").getAttribute("aria-valuenow") === "80"`)
	canvas := b.box("#full canvas.maps")
	// In the second map, row 3, column 20.
	b.script(`document.querySelector("#full .full-body").scrollTo(0, 0)`)
	canvas.Y = evaluate[float64](b, `document.querySelector("#full canvas.maps").getBoundingClientRect().y`)
	b.move(canvas.X+228+20.5*8, canvas.Y+3.5*8)
	b.wait(`document.getElementById("tip").innerText.includes("row 3, column 20, 80 ms") && !document.getElementById("tip").innerText.includes("≈")`)
	said := evaluate[[]string](b, `document.getElementById("tip").innerText.split("\n").filter((l) => l.trim())`)
	value, err := strconv.ParseFloat(said[0], 32)
	require.NoError(t, err, "%q", said)
	channel, err := strconv.Atoi(strings.TrimPrefix(said[1], "conv2 channel "))
	require.NoError(t, err, "%q", said)
	conv2, err := want.Layer("conv2")
	require.NoError(t, err)
	assert.Equal(t, conv2.At(0, 8)[(3*28+20)*conv2.Shape[2]+channel], float32(value))
	b.do(chromedp.KeyEvent(kb.Escape))
	b.wait(`!document.getElementById("full").open && document.getElementById("tip").hidden`)
	assert.Equal(t, "Enlarge conv2", evaluate[string](b, `document.activeElement.getAttribute("aria-label")`))
	b.settle()
	b.move(5, 5)
}

func (b *tab) takeAway(t *testing.T, want *tfconvrnn.Features) {
	dir := b.downloads()
	click := func(selector string) {
		b.script(fmt.Sprintf(`document.querySelector(%q).click()`, selector))
	}
	click(`#take a[href$=".npz"]`)
	path := filepath.Join(dir, model+"-chelsea.npz")
	b.saved(dir, filepath.Base(path))
	file, err := features.OpenArrays(path)
	require.NoError(t, err)
	defer file.Close()
	for i := range want.Layers {
		array, err := file.Array(want.Layers[i].Name)
		require.NoError(t, err)
		got, err := array.Float32s(0, 1)
		require.NoError(t, err)
		require.Equal(t, want.Layers[i].Data, got, want.Layers[i].Name)
	}
	click(`[aria-label="Mean response of conv4 as CSV"]`)
	rows, err := csv.NewReader(bytes.NewReader(b.saved(dir, "conv4-mean.csv"))).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 17)
	assert.Equal(t, []string{"timestep", "ms", "mean", "standard deviation"}, rows[0])
	mean, err := strconv.ParseFloat(rows[8][2], 64)
	require.NoError(t, err)
	var sum float64
	for _, v := range want.Layers[3].At(0, 7) {
		sum += float64(v)
	}
	assert.InDelta(t, sum/float64(want.Layers[3].Size()), mean, 1e-9)
	click(`[aria-label="Time courses of pinned units as CSV"]`)
	rows, err = csv.NewReader(bytes.NewReader(b.saved(dir, "units.csv"))).ReadAll()
	require.NoError(t, err)
	value, err := strconv.ParseFloat(rows[8][3], 32)
	require.NoError(t, err)
	assert.Equal(t, want.Layers[4].At(0, 7)[(3*4+0)*512+500], float32(value))
	for what, name := range map[string]string{
		"Mean response of conv4": "conv4-mean", "Feature maps of conv2": "conv2-maps-70ms",
		"Classes over time of A":       "classes-A-" + model,
		"Time courses of pinned units": "units",
	} {
		click(fmt.Sprintf(`[aria-label="%s as SVG"]`, what))
		drawn := xml.NewDecoder(bytes.NewReader(b.saved(dir, name+".svg")))
		elements := 0
		for {
			token, err := drawn.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, name)
			if _, ok := token.(xml.StartElement); ok {
				elements++
			}
		}
		assert.Greater(t, elements, 4, name)
		click(fmt.Sprintf(`[aria-label="%s as PNG"]`, what))
		picture, err := png.Decode(bytes.NewReader(b.saved(dir, name+".png")))
		require.NoError(t, err, name)
		assert.Greater(t, picture.Bounds().Dx(), 600, name)
		if dir := os.Getenv("TFCONVRNN_SCREENSHOTS"); dir != "" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "figure-"+name+".png"), b.saved(filepath.Dir(path), name+".png"),
				0o666))
		}
	}
}

// axeCore finds what keeps people from using a page.
var axeCore = npm.Package{
	Name:      "axe-core@4.14.1",
	Integrity: "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
}

// axe fails the test for what axe-core finds serious.
func (b *tab) axe(t *testing.T) {
	t.Helper()
	if !evaluate[bool](b, `"axe" in window`) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		files, err := axeCore.Files(ctx, "axe.min.js")
		if err != nil && os.Getenv("CI") != "true" {
			t.Logf("SKIPPED: the page was not looked at by axe-core: %v", err)
			return
		}
		require.NoError(t, err)
		b.script(string(files[0]))
	}
	type violation struct {
		ID, Impact, Help string
		Nodes            []struct{ HTML, FailureSummary string }
	}
	found := evaluate[[]violation](
		b, `axe.run().then((r) => r.violations.map(({ id, impact, help, nodes }) => ({ id, impact, help, nodes: nodes.map(({ html, failureSummary }) => ({ html, failureSummary })) })))`)
	passed := evaluate[int](b, `axe.run().then((r) => r.passes.length)`)
	assert.Greater(t, passed, 20)
	for _, v := range found {
		text, err := json.MarshalIndent(v, "", " ")
		require.NoError(t, err)
		if v.Impact == "serious" || v.Impact == "critical" {
			assert.Fail(t, v.ID, "%s", text)
		} else {
			t.Logf("axe: %s", text)
		}
	}
}
