package explorer_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/explorer"
)

// policy is the strictest that the page is served with.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// newPage serves models with seeded weights and returns the address, and the engine.
func newPage(t testing.TB, options explorer.Options, names ...string) (string, *engine) {
	t.Helper()
	e := newEngine(t, names...)
	x := explorer.New(e, options)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		x.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.Close()
		x.Close()
	})
	return server.URL, e
}

// tab is a tab of a browser.
type tab struct {
	testing.TB
	ctx context.Context

	mu sync.Mutex
	// wrong is what the browser complains of.
	wrong []string
}

// openTab starts Chromium. It skips the test where there is none, unless CI=true.
func openTab(t testing.TB, address string) *tab {
	t.Helper()
	program := os.Getenv("TFCONVRNN_CHROMIUM")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil && program == "" {
			program = found
		}
	}
	if program == "" {
		require.NotEqual(t, "true", os.Getenv("CI"), "Chromium is not installed")
		t.Skip("Chromium is not installed; TFCONVRNN_CHROMIUM names one that lies elsewhere")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoFirstRun, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("hide-scrollbars", false))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	allocated, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	b := &tab{TB: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning ||
				e.Type == runtime.ConsoleAPICalledTypeAssert {
				var texts []string
				for _, argument := range e.Args {
					texts = append(texts, string(argument.Value)+argument.Description)
				}
				b.complain("console: %s", strings.Join(texts, " "))
			}
		case *runtime.EventExceptionThrown:
			b.complain("exception: %s", e.ExceptionDetails.Text+" "+e.ExceptionDetails.Exception.Description)
		case *log.EventEntryAdded:
			if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
				b.complain("log: %s %s", e.Entry.Text, e.Entry.URL)
			}
		case *network.EventRequestWillBeSent:
			if u := e.Request.URL; !strings.HasPrefix(u, address+"/") && !strings.HasPrefix(u, "data:") &&
				!strings.HasPrefix(u, "blob:"+address) {
				b.complain("a request to %s", u)
			}
		}
	}))
	call(b, log.Enable, cdp.Empty{})
	call(b, network.Enable, network.EnableParams{})
	call(b, runtime.Enable, cdp.Empty{})
	b.do(chromedp.EmulateViewport(1440, 1000), chromedp.Navigate(address+"/"))
	b.wait(`document.body.dataset.maps === "there"`)
	return b
}

func (b *tab) complain(format string, arguments ...any) {
	b.mu.Lock()
	b.wrong = append(b.wrong, fmt.Sprintf(format, arguments...))
	b.mu.Unlock()
}

// complaints returns what the browser has complained of since the last call.
func (b *tab) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	wrong := b.wrong
	b.wrong = nil
	return wrong
}

// limit bounds what a test waits for the browser.
const limit = time.Minute

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	require.NoError(b, chromedp.Do(ctx, steps...))
}

// call runs a command of the protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], parameters P) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	_, err := chromedp.Call(ctx, command, parameters)
	require.NoError(b, err)
}

// evaluate returns the value of JavaScript, which may be a promise.
func evaluate[T any](b *tab, script string) T {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	require.NoError(b, err, "%.300s", script)
	return value
}

// script runs JavaScript.
func (b *tab) script(text string) {
	b.Helper()
	evaluate[chromedp.Void](b, text)
}

// choose chooses from a select as a person does.
func (b *tab) choose(selector, value string) {
	b.Helper()
	b.script(
		fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.value = %q; e.dispatchEvent(new Event("change", { bubbles: true })); })()`,
			selector, value))
}

// wait waits until JavaScript is true.
func (b *tab) wait(script string) {
	b.Helper()
	deadline := time.Now().Add(time.Minute)
	for !evaluate[bool](b, script) {
		if time.Now().After(deadline) {
			b.keep("failed")
			require.Fail(b, "it does not become true: "+script, "%v %s", b.complaints(),
				evaluate[string](b, "document.body.innerText.slice(0, 2000)"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// settle waits until everything is computed and drawn.
func (b *tab) settle() {
	b.Helper()
	time.Sleep(250 * time.Millisecond) // what was changed is sent after a moment
	b.wait(`document.body.dataset.runs === "there" && document.body.dataset.maps === "there"`)
	b.script("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")
}

// keep writes a picture of the page into the folder that TFCONVRNN_SCREENSHOTS names.
func (b *tab) keep(name string) {
	b.Helper()
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	require.NoError(b, err)
	require.NotEmpty(b, picture)
	if dir := os.Getenv("TFCONVRNN_SCREENSHOTS"); dir != "" {
		require.NoError(b, os.MkdirAll(dir, 0o777))
		require.NoError(b, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o666))
	}
}

// show sets the size of the window, and light or dark.
func (b *tab) show(width, height int64, theme string) {
	b.Helper()
	b.do(chromedp.EmulateViewport(width, height))
	call(b, emulation.SetEmulatedMedia,
		emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}})
	b.settle()
}

// box is where an element is.
type box struct{ X, Y, Width, Height float64 }

func (b *tab) box(selector string) box {
	b.Helper()
	return evaluate[box](b,
		fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.scrollIntoView({ block: "center" }); const r = e.getBoundingClientRect();
		return { X: r.x, Y: r.y, Width: r.width, Height: r.height }; })()`, selector))
}

// downloads makes the browser save what is downloaded in a folder.
func (b *tab) downloads() string {
	b.Helper()
	dir := b.TempDir()
	_, err := chromedp.CallBrowser(b.ctx, browser.SetDownloadBehavior,
		browser.SetDownloadBehaviorParams{Behavior: browser.SetDownloadBehaviorBehaviorAllow, DownloadPath: dir})
	require.NoError(b, err)
	return dir
}

// saved waits for a download.
func (b *tab) saved(dir, name string) []byte {
	b.Helper()
	path := filepath.Join(dir, name)
	require.Eventually(b, func() bool {
		_, err := os.Stat(path)
		return err == nil
	}, 30*time.Second, 20*time.Millisecond, name)
	time.Sleep(time.Second) // Chromium drops a download that begins while the one before is being put away
	content, err := os.ReadFile(path)
	require.NoError(b, err)
	return content
}
