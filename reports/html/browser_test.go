package html_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"rollcall/reports"
	"rollcall/reports/html"
	"rollcall/reports/reportstest"
)

// patience is how long all that a test does in one page may take; alone it takes a second.
const patience = 2 * time.Minute

// tab is a page in a real browser, with what went wrong in it and what it asked the network for.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	wrong    []string
	requests []string
}

// chromium starts the browser that all tabs of the test are in.
func chromium(t *testing.T) context.Context {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("Chromium is missing (apt-get install chromium)")
	}
	home := t.TempDir() // where it leaves what it would leave in the user's
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.UserDataDir(t.TempDir()),
		chromedp.Env("HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home))
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience) // not t.Context: it ends before the browser is closed
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil { // and wait for the browser, which has files in the folder of the test
			t.Error(err)
		}
	})
	return ctx
}

// open shows the page of a cluster in a tab, in which a call of evil is remembered.
func open(t *testing.T, browser context.Context, c reports.Cluster) *tab {
	t.Helper()
	b, err := html.Face().Write(c)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cluster.html")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	p := &tab{t: t, ctx: ctx}
	p.must(chromedp.Do(ctx))
	p.must(chromedp.Listen(ctx, p.heard))
	call(p, network.Enable, network.EnableParams{})
	call(p, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: "window.evil = () => { window.free = true }; window.violations = []; " +
		"document.addEventListener('securitypolicyviolation', (e) => violations.push(e.violatedDirective + ' ' + e.sourceFile))"})
	url := "file://" + file
	p.must(chromedp.Do(ctx, chromedp.Navigate(url)))
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, w := range p.wrong {
			t.Errorf("the page says %s", w)
		}
		if others := slices.DeleteFunc(p.requests, func(u string) bool { return u == url }); len(others) > 0 {
			t.Errorf("the page asks for %q", others)
		}
	})
	return p
}

func (p *tab) heard(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p.wrong = append(p.wrong, e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		p.wrong = append(p.wrong, string(e.Type))
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	}
}

func (p *tab) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// call runs a command of the browser's protocol.
func call[P, R any](p *tab, command cdp.Command[P, R], params P) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, command, params)
	p.must(err)
}

// eval returns what a script returns.
func eval[T any](p *tab, script string) T {
	p.t.Helper()
	out, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	p.must(err)
	return out
}

// view sets the window and the colours, and keeps a picture in ROLLCALL_SCREENSHOTS for a person to look at.
func (p *tab) view(name string, wide int, colours string) {
	p.t.Helper()
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: colours}}})
	call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: int64(wide), Height: 900, DeviceScaleFactor: 1, Mobile: wide < 600})
	dir := os.Getenv("ROLLCALL_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	p.must(err)
	p.must(os.WriteFile(filepath.Join(dir, name+"-"+colours+".png"), png, 0o644))
}

// tooWide returns the elements that reach beyond the window or the picture that they stand in.
const tooWide = `[...document.querySelectorAll("body *:not(thead):not(thead *)")].filter((e) => {
	const r = e.getBoundingClientRect();
	if (e.closest("svg") && e.tagName === "text") { const s = e.closest("svg").getBoundingClientRect(); return r.right > s.right + 1; }
	return r.width > 0 && (r.right > innerWidth + 1 || r.left < -1);
}).map((e) => e.tagName + " " + e.textContent.slice(0, 40)).concat(document.documentElement.scrollWidth > innerWidth ? ["the page"] : [])`

// faint returns the texts whose contrast with what is behind them is less than WCAG 2.2 (1.4.3) wants.
const faint = `(() => {
	const parse = (c) => c.match(/[\d.]+/g).map(Number);
	const light = (c) => { const [r, g, b] = parse(c).slice(0, 3).map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 }); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
	const back = (e) => { for (; e; e = e.parentElement) {
		const c = e.tagName === "a" && e.querySelector("rect") ? getComputedStyle(e.querySelector("rect")).fill : getComputedStyle(e).backgroundColor;
		if ((parse(c)[3] ?? 1) > 0) return c } return "rgb(255,255,255)" };
	const seen = {};
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n; n = walker.nextNode();) {
		const e = n.parentElement;
		if (!n.textContent.trim() || !e.getClientRects().length || e.closest("script")) continue;
		const style = getComputedStyle(e), colour = e.closest("svg") ? style.fill : style.color;
		const [a, b] = [light(colour), light(back(e))].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
		if (ratio < 4.5) seen[e.tagName + "." + e.className + " " + ratio.toFixed(2) + " " + colour + " on " + back(e)] = true;
	}
	return Object.keys(seen);
})()`

// The page is looked at in one browser, which takes longer to start than all else.
func TestPage(t *testing.T) {
	t.Parallel()
	browser := chromium(t)
	for name, c := range map[string]reports.Cluster{"usual": reportstest.Cluster(2, 2), "hostile": reportstest.Hostile(), "long": long(), "empty": {}} {
		t.Run("look/"+name, func(t *testing.T) { look(t, open(t, browser, c), name, c) })
	}
	t.Run("hostile", func(t *testing.T) {
		c := reportstest.Hostile()
		hostile(t, open(t, browser, c), c)
	})
	t.Run("filter and copy", func(t *testing.T) { filterAndCopy(t, open(t, browser, reportstest.Cluster(3, 2))) })
}

// look sees that nothing reaches too far and all can be read, wide and on a phone, by day and by night.
func look(t *testing.T, p *tab, name string, c reports.Cluster) {
	eval[chromedp.Void](p, `document.querySelectorAll("details").forEach((d, i) => { d.open = d.open || i % 3 === 0 || i < 4 })`)
	for _, colours := range []string{"light", "dark"} {
		for kind, wide := range map[string]int{"wide": 1400, "phone": 390} {
			p.view(name+"-"+kind, wide, colours)
			if got := eval[[]string](p, tooWide); len(got) > 0 {
				t.Errorf("%s: %d elements reach too far: %.300q", kind, len(got), got)
			}
			if got := eval[[]string](p, faint); len(got) > 0 {
				t.Errorf("%s, %s: too little contrast: %q", kind, colours, got)
			}
		}
	}
	back := eval[string](p, "getComputedStyle(document.body).backgroundColor")
	p.view(name+"-wide", 1400, "light")
	if other := eval[string](p, "getComputedStyle(document.body).backgroundColor"); other == back {
		t.Errorf("light and dark are both %s", back)
	}
	points := 0
	for _, h := range c.Hosts {
		for _, s := range h.Services {
			points += len(s.Points)
		}
	}
	if got := eval[int](p, `document.querySelectorAll("tbody").length`); got != points {
		t.Errorf("%d points are shown, want %d", got, points)
	}
	if got := eval[int](p, `document.querySelectorAll("figure svg").length`); got != len(c.Hosts) {
		t.Errorf("%d hosts are drawn, want %d", got, len(c.Hosts))
	}
}

// long returns a cluster in which every name is as long as it may be.
func long() reports.Cluster {
	name, path := strings.Repeat("W", reports.MaxName), strings.Repeat("m", reports.MaxPath)
	p := reports.Point{Path: path, Type: reports.Float, Access: reports.Get | reports.Set | reports.Event, Label: strings.Repeat("word ", 60), Help: strings.Repeat("x", 600), Unit: strings.Repeat("u", 80), Poll: 1e9}
	s := reports.HostService{Service: reports.Service{Name: name, Function: name, Version: path, Simulated: true, Points: []reports.Point{p}}, Described: true, Status: reports.Offline,
		Error: strings.Repeat("e", 500), Values: map[string]string{path: strings.Repeat("9", 70)}}
	return reports.NewCluster([]reports.Host{{Name: name, ID: "1234567890abcdef", IPAddr: "fe80::1234:5678:9abc:def0", Model: path, Services: []reports.HostService{s}}})
}

// hostile sees that nothing that hosts say runs, is fetched or is a link; all of it is there to be read.
func hostile(t *testing.T, p *tab, c reports.Cluster) {
	eval[chromedp.Void](p, `document.querySelectorAll("details").forEach((d) => { d.open = true })`)
	if eval[bool](p, "!!window.free") {
		t.Error("a script of a host has run")
	}
	if got := eval[[]string](p, "window.violations"); len(got) > 0 {
		t.Errorf("the page breaks its own policy: %q", got)
	}
	if got := eval[[]string](p, `[...document.querySelectorAll("a")].map((a) => a.getAttribute("href")).filter((h) => !/^#[A-Za-z0-9_\/-]+$/.test(h))`); len(got) > 0 {
		t.Errorf("links %q", got)
	}
	if got := eval[[]string](p, `[...new Set([...document.querySelectorAll("*")].map((e) => e.tagName.toLowerCase()))].sort()`); slices.Contains(got, "img") || slices.Contains(got, "evil") || slices.Contains(got, "iframe") {
		t.Errorf("elements %q", got)
	}
	if got := eval[int](p, `document.querySelectorAll("script").length`); got != 1 {
		t.Errorf("%d scripts", got)
	}
	if got := eval[[]string](p, `[...document.querySelectorAll("*")].flatMap((e) => [...e.attributes].map((a) => a.name)).filter((n) => n.startsWith("on") || n === "style")`); len(got) > 0 {
		t.Errorf("attributes %q", got)
	}
	shown := eval[string](p, "document.body.innerText")
	for _, h := range c.Hosts {
		if e := reports.OneLine(h.Services[0].Error); !strings.Contains(shown, "Last error: "+e) {
			t.Errorf("%q is not shown as it is", e)
		}
	}
}

// filterAndCopy finds points as a person does, and copies a command.
func filterAndCopy(t *testing.T, p *tab) {
	visible := func(what string) []string {
		return eval[[]string](p, `[...document.querySelectorAll("`+what+`")].filter((e) => e.checkVisibility()).map((e) => e.id || e.querySelector("code").textContent)`)
	}
	type shown struct{ hosts, services, points int }
	for _, c := range []struct {
		words string
		want  shown
	}{{"pi001", shown{1, 2, 22}}, {"temperature", shown{3, 6, 6}}, {"pi002 service1 PUMP", shown{1, 1, 1}}, {"nothing like it", shown{}}, {"", shown{4, 7, 66}}} { // everything is shown last
		words, want := c.words, c.want
		eval[chromedp.Void](p, `{ const f = document.getElementById("filter"); f.value = "`+words+`"; f.dispatchEvent(new Event("input")) }`)
		if got := (shown{len(visible(".host")), len(visible(".service")), len(visible("tbody"))}); got != want {
			t.Errorf("filter %q shows %v, want %v", words, got, want)
		}
		if got := len(visible("figure")); got != want.hosts {
			t.Errorf("filter %q shows %d pictures, want %d", words, got, want.hosts)
		}
		if got := eval[bool](p, `document.getElementById("none").hidden`); got != (want.hosts > 0) {
			t.Errorf("filter %q: the word that nothing is found is hidden: %v", words, got)
		}
	}
	call(p, page.BringToFront, cdp.Empty{})
	at := eval[struct{ X, Y float64 }](p, `(() => {
		const button = document.querySelector("#pi000 li:nth-child(2) button");
		button.closest("details").open = true;
		button.scrollIntoView({block: "center"});
		const r = button.getBoundingClientRect();
		window.copied = new Promise((done) => new MutationObserver(() => button.textContent === "Copied" && done(true)).observe(button, {childList: true}));
		return {x: r.x + r.width / 2, y: r.y + r.height / 2};
	})()`)
	for _, kind := range []input.DispatchMouseEventType{"mousePressed", "mouseReleased"} {
		call(p, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: kind, X: at.X, Y: at.Y, Button: "left", ClickCount: 1})
	}
	eval[bool](p, "window.copied")
	// What was copied can be pasted.
	eval[bool](p, `{ const f = document.getElementById("filter"); f.value = ""; f.focus(); true }`)
	call(p, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: "keyDown", Key: "v", Code: "KeyV", Modifiers: 2, Commands: []string{"paste"}})
	if got, want := eval[string](p, `document.getElementById("filter").value`), "udpsrv set pi000/service0/count 12"; got != want {
		t.Errorf("copied %q, want %q", got, want)
	}
}
