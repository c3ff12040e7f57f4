package agents

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rollcall/config"
	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
	"rollcall/reports"
)

// gpioBench is an agent's surroundings: chips in memory by name, a folder for set-ups, a log.
type gpioBench struct {
	t     *testing.T
	chips map[string]*gpiotest.Chip
	dir   string
	log   bytes.Buffer
	fail  func(gpio.Chip) gpio.Chip // wraps every chip that is opened
}

func newGPIOBench(t *testing.T) *gpioBench {
	b := &gpioBench{t: t, chips: map[string]*gpiotest.Chip{}, dir: t.TempDir()}
	b.chips["pinctrl-bcm2835"] = gpiotest.New("pinctrl-bcm2835", 54)
	return b
}

func (b *gpioBench) chip() *gpiotest.Chip { return b.chips["pinctrl-bcm2835"] }

func (b *gpioBench) deps() Deps {
	return Deps{Service: "gpio", StateDir: b.dir, Log: slog.New(slog.NewTextHandler(&b.log, nil)),
		OpenChip: func(name string) (gpio.Chip, error) {
			chip, ok := b.chips[name]
			if !ok {
				return nil, fmt.Errorf("no chip %q", name)
			}
			if b.fail != nil {
				return b.fail(chip.Open()), nil
			}
			return chip.Open(), nil
		}}
}

// try makes the agent of options in YAML.
func (b *gpioBench) try(options string) (*gpioAgent, error) {
	b.t.Helper()
	var o gpioOptions
	node, err := config.ParseNode("rollcall.yaml", []byte(options))
	if err == nil {
		err = node.Decode(&o)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	a, err := newGPIO(o, b.deps())
	if err == nil {
		b.t.Cleanup(func() { _ = a.Close() })
	}
	return a, err
}

func (b *gpioBench) open(options string) *gpioAgent {
	b.t.Helper()
	a, err := b.try(options)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// held returns the offsets of the lines that are held, with > for outputs.
func (b *gpioBench) held() string {
	b.t.Helper()
	info, err := b.chip().Info()
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, l := range info.Lines {
		switch {
		case l.Used && l.Output:
			out = append(out, fmt.Sprintf(">%d", l.Offset))
		case l.Used:
			out = append(out, fmt.Sprint(l.Offset))
		}
	}
	return strings.Join(out, " ")
}

func gpioLevel(t *testing.T, a *gpioAgent, path string) string {
	t.Helper()
	r, err := a.Sample(t.Context(), path)
	if err != nil {
		return "error: " + err.Error()
	}
	return reports.FormatValue(r.Value)
}

func gpioSet(t *testing.T, a *gpioAgent, path string, on bool) {
	t.Helper()
	if _, err := a.Apply(t.Context(), reports.Command{Verb: "set", Path: path, Value: on}); err != nil {
		t.Fatal(err)
	}
}

// gpioNext returns the next event, or says that none came.
func gpioNext(t *testing.T, a *gpioAgent) string {
	t.Helper()
	select {
	case r, ok := <-a.Events():
		if !ok {
			return "closed"
		}
		return r.Path + " " + reports.FormatValue(r.Value)
	case <-time.After(5 * time.Second):
		return "nothing"
	}
}

func TestGPIOInitial(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		initial  string
		outside  int
		activeLo bool
		level    int
	}{
		{"off", 1, false, 0}, {`"off"`, 1, false, 0}, {"false", 1, false, 0}, {"0", 1, false, 0}, {"Off", 1, false, 0}, {`"0"`, 1, false, 0},
		{"on", 0, false, 1}, {`"on"`, 0, false, 1}, {"true", 0, false, 1}, {"1", 0, false, 1}, {"ON", 0, false, 1}, {"'1'", 0, false, 1},
		{"", 1, false, 0}, {"off", 0, true, 1}, {"on", 1, true, 0},
		{"keep", 0, false, 0}, {"keep", 1, false, 1}, {"keep", 0, true, 0}, {"keep", 1, true, 1},
	} {
		b := newGPIOBench(t)
		b.chip().Drive(25, tt.outside)
		a := b.open(fmt.Sprintf("chip: pinctrl-bcm2835\noutputs: {x: {pin: 25, initial: %s, active_low: %v}}", tt.initial, tt.activeLo))
		if got := b.chip().Level(25); got != tt.level {
			t.Errorf("initial: %s with %d outside and active_low: %v: level %d, want %d", tt.initial, tt.outside, tt.activeLo, got, tt.level)
		}
		want := "OFF"
		if (tt.level == 1) != tt.activeLo {
			want = "ON"
		}
		if got := gpioLevel(t, a, "output/x"); got != want {
			t.Errorf("initial: %s: sample %s, want %s", tt.initial, got, want)
		}
	}
}

// Each key of the set-up has an effect.
func TestGPIOKeys(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	c := b.chip()
	c.Drive(9, 0)
	a := b.open(`
chip: pinctrl-bcm2835
outputs:
  plain:  {pin: 2}
  drain:  {pin: GPIO3, drive: open-drain, pull: up, initial: on}
  source: {pin: 4, drive: open-source, pull: up}
inputs:
  up:     {pin: pin29, pull: up}
  down:   {pin: 6, pull: down, active_low: true}
  scan:   {pin: 7, scan: 250ms, on_change: false}
  asked:  {pin: 8, on_change: false}
  rise:   {pin: 9, edge: rising}
  fall:   {pin: 10, edge: falling, scan: 1s}
  slow:   {pin: 11, debounce: 20ms}
`)
	for path, want := range map[string]string{"output/plain": "OFF", "output/drain": "ON", "output/source": "ON" /* pulled up */, "input/up": "ON",
		"input/down": "ON", "input/scan": "OFF"} {
		if got := gpioLevel(t, a, path); got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
	for path, want := range map[string]struct {
		access reports.Access
		poll   string
		help   string
	}{
		"output/plain": {reports.Get | reports.Set, "0s", "Line 2 (GPIO2, pin3) of pinctrl-bcm2835"},
		"output/drain": {reports.Get | reports.Set, "0s", "Line 3 (GPIO3, pin5) of pinctrl-bcm2835, pull up, open-drain"},
		"input/up":     {reports.Get, "0s", "Line 5 (GPIO5, pin29) of pinctrl-bcm2835, pull up"},
		"input/down":   {reports.Get, "0s", "Line 6 (GPIO6, pin31) of pinctrl-bcm2835, active low, pull down"},
		"input/scan":   {reports.Get, "250ms", "Line 7 (GPIO7, pin26) of pinctrl-bcm2835"},
		"input/rise":   {reports.Event, "0s", "Line 9 (GPIO9, pin21) of pinctrl-bcm2835"},
		"input/fall":   {reports.Get, "1s", "Line 10 (GPIO10, pin19) of pinctrl-bcm2835"},
	} {
		p, ok := a.Describe().Point(path)
		if !ok || p.Type != reports.Bool || p.Access != want.access || p.Poll.String() != want.poll || p.Help != want.help {
			t.Errorf("%s: %+v, want %+v", path, p, want)
		}
	}
	service := a.Describe()
	service.Name = "gpio"
	if err := service.Validate(); err != nil {
		t.Error(err)
	}
	for _, edge := range []struct{ line, level int }{{7, 1}, {8, 1}, {9, 1}, {9, 0}, {9, 1}, {10, 1}, {10, 0}, {6, 1}, {11, 1}} {
		c.Drive(edge.line, edge.level)
	}
	for _, want := range []string{"input/rise ON", "input/rise ON", "input/fall OFF", "input/down OFF", "input/slow ON"} {
		if got := gpioNext(t, a); got != want {
			t.Errorf("event %s, want %s", got, want)
		}
	}
}

func TestGPIODebounce(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open("chip: pinctrl-bcm2835\ninputs: {slow: {pin: 5, debounce: 1m}, quick: {pin: 6}}")
	b.chip().Drive(5, 1)
	b.chip().Drive(6, 1)
	if got := gpioNext(t, a); got != "input/quick ON" {
		t.Errorf("first event %s, want that of the input without debounce", got)
	}
	if got := gpioLevel(t, a, "input/slow"); got != "OFF" {
		t.Errorf("bouncing input = %s, want OFF", got)
	}
}

func TestGPIOSet(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open("chip: pinctrl-bcm2835\noutputs: {x: {pin: 2}, low: {pin: 3, active_low: true}, drain: {pin: 4, drive: open-drain, pull: up}}\ninputs: {in: {pin: 5}}")
	for _, step := range []struct {
		path  string
		on    bool
		line  int
		level int
	}{{"output/x", true, 2, 1}, {"output/x", true, 2, 1}, {"output/x", false, 2, 0}, {"output/low", true, 3, 0}, {"output/low", false, 3, 1}, {"output/drain", true, 4, 1}} {
		r, err := a.Apply(t.Context(), reports.Command{Verb: "set", Path: step.path, Value: step.on})
		if err != nil || r.Path != step.path || r.Value != step.on || b.chip().Level(step.line) != step.level {
			t.Errorf("set %s %v: %+v, %v, level %d, want level %d", step.path, step.on, r, err, b.chip().Level(step.line), step.level)
		}
	}
	b.chip().Drive(4, 0) // someone else pulls the open drain down
	for _, tt := range []struct {
		c    reports.Command
		code string
		text string
	}{
		{reports.Command{Verb: "set", Path: "output/drain", Value: true}, reports.CodeDevice, "output/drain was set ON but the line reads OFF: something else drives it"},
		{reports.Command{Verb: "set", Path: "input/in", Value: true}, reports.CodeReadOnly, "input/in is an input"},
		{reports.Command{Verb: "set", Path: "output/y", Value: true}, reports.CodeUnknown, `"output/y" is no output and no input`},
		{reports.Command{Verb: "set", Path: "output/x", Value: "ON"}, reports.CodeUnsupported, "gpio: set with a string is not known"},
		{reports.Command{Verb: "dance", Path: "output/x", Value: true}, reports.CodeUnsupported, "gpio: dance with a bool is not known"},
	} {
		_, err := a.Apply(t.Context(), tt.c)
		if err == nil || err.Error() != tt.text || reports.CodeOf(err) != tt.code {
			t.Errorf("%+v: %v (%s), want %s (%s)", tt.c, err, reports.CodeOf(err), tt.text, tt.code)
		}
	}
}

func TestGPIOControl(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open("chip: pinctrl-bcm2835\noutputs: {x: {pin: 2}, y: {pin: 3}}\ninputs: {in: {pin: 5}}")
	for _, tt := range []struct{ block, held, levels, err, code string }{
		{`{"verb":"toggle","path":"output/x","id":7,"reply":"/a"}`, ">2 >3 5", "ON OFF", "", ""},
		{"verb: toggle\npath: output/x\n", ">2 >3 5", "OFF OFF", "", ""},
		{`{"verb":"Toggle","path":"output/y"}`, ">2 >3 5", "OFF ON", "", ""},
		{`{"verb":"toggle","path":"input/in"}`, ">2 >3 5", "OFF ON", "input/in is an input", reports.CodeReadOnly},
		{`{"verb":"toggle"}`, ">2 >3 5", "OFF ON", `"" is no output and no input`, reports.CodeUnknown},
		{`{"verb":"blink","path":"output/x"}`, ">2 >3 5", "OFF ON", `verb "blink" is not known; known are release, toggle`, reports.CodeUnsupported},
		{`{"verb":""}`, ">2 >3 5", "OFF ON", `verb "" is not known; known are release, toggle`, reports.CodeUnsupported},
		{"verb: toggle\npaht: output/x", ">2 >3 5", "OFF ON", `control:2: paht: unknown key; did you mean "path"?`, reports.CodeBadPayload},
		{"[1,", ">2 >3 5", "OFF ON", "control:1: ", reports.CodeBadPayload},
		{"&a [*a]", ">2 >3 5", "OFF ON", "control:1: ", reports.CodeBadPayload},
		{`{"verb":"release","path":"output/z"}`, ">2 >3 5", "OFF ON", `"output/z" is no output and no input`, reports.CodeUnknown},
		{`{"verb":"release","path":"output/x"}`, ">3 5", "error: output/x was released; set-up takes it again ON", "", ""},
		{`{"verb":"release","path":"output/x"}`, ">3 5", "error: output/x was released; set-up takes it again ON", "output/x was released; set-up takes it again", reports.CodeOffline},
		{`{"verb":"release"}`, "", "error: output/x was released; set-up takes it again error: output/y was released; set-up takes it again", "", ""},
		{`{"verb":"release"}`, "", "error: output/x was released; set-up takes it again error: output/y was released; set-up takes it again", "", ""},
	} {
		_, err := a.Apply(t.Context(), reports.Command{Verb: "control", Value: []byte(tt.block)})
		text := ""
		if err != nil {
			text = err.Error()
		}
		if !strings.HasPrefix(text, tt.err) || (tt.err == "") != (err == nil) || reports.CodeOf(err) != tt.code {
			t.Errorf("control %s: error %v (%s), want %s (%s)", tt.block, err, reports.CodeOf(err), tt.err, tt.code)
		}
		if got := gpioLevel(t, a, "output/x") + " " + gpioLevel(t, a, "output/y"); b.held() != tt.held || got != tt.levels {
			t.Errorf("after control %s: held %q, levels %s, want %q, %s", tt.block, b.held(), got, tt.held, tt.levels)
		}
	}
	doc, err := a.CurrentSetup()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Setup(t.Context(), doc); err != nil || b.held() != ">2 >3 5" {
		t.Errorf("setup after release: %v, held %q", err, b.held())
	}
}

// Edges that come while nobody listens are thinned out, but the last one of each input is there.
func TestGPIOEventsKeepLast(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open("chip: pinctrl-bcm2835\ninputs: {chatter: {pin: 5}, once: {pin: 6}}")
	b.chip().Drive(6, 1)
	b.chip().Wait()
	for i := range 2*gpioEventsMost + 1 {
		b.chip().Drive(5, 1-i%2)
		b.chip().Wait()
	}
	b.chip().Drive(6, 0)
	b.chip().Wait()
	chatter := "nothing"
	for got := gpioNext(t, a); got != "input/once OFF"; got = gpioNext(t, a) {
		if got == "nothing" || got == "closed" {
			t.Fatal(got)
		}
		if strings.HasPrefix(got, "input/chatter") {
			chatter = got
		}
	}
	if chatter != "input/chatter ON" {
		t.Errorf("last of the input that chatters: %s, want its level", chatter)
	}
	a.events.mu.Lock()
	defer a.events.mu.Unlock()
	if a.events.dropped == 0 || len(a.events.queue) > gpioEventsMost {
		t.Errorf("%d dropped, %d wait", a.events.dropped, len(a.events.queue))
	}
}

func TestGPIOClose(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open("chip: pinctrl-bcm2835\noutputs: {x: {pin: 2, initial: on}}\ninputs: {in: {pin: 5}}")
	b.chip().Drive(5, 1) // nobody listens
	b.chip().Wait()
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	if b.held() != "" || b.chip().Level(2) != 0 {
		t.Errorf("after Close: held %q, level %d, want none and the 0 of a free line", b.held(), b.chip().Level(2))
	}
	for got := range a.Events() {
		t.Logf("event %v was on its way", got)
	}
	if _, err := a.Sample(t.Context(), "output/x"); reports.CodeOf(err) != reports.CodeOffline {
		t.Errorf("sample after Close: %v, want code %s", err, reports.CodeOffline)
	}
	if len(a.Describe().Points) != 2 {
		t.Error("Describe after Close")
	}
	b.chip().Drive(5, 0)
	b.chip().Wait()
}

func TestGPIOChips(t *testing.T) {
	t.Parallel()
	t.Run("sim is asked for in words", func(t *testing.T) {
		t.Parallel()
		a, err := newGPIO(gpioOptions{Chip: "sim", Outputs: map[string]gpioOutput{"x": {Pin: "27"}}}, Deps{Service: "gpio"})
		if err != nil {
			t.Fatal(err)
		}
		gpioSet(t, a, "output/x", true)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("and nothing else is it", func(t *testing.T) {
		t.Parallel()
		for _, chip := range []string{"simm", "SIM", "gpiochip-none", "/dev/none"} {
			_, err := newGPIO(gpioOptions{Chip: chip}, Deps{Service: "gpio"})
			if err == nil || !strings.HasPrefix(err.Error(), "set up: chip: ") {
				t.Errorf("chip %q: error %v, want one that begins with set up: chip:", chip, err)
			}
		}
	})
	t.Run("default is the header's", func(t *testing.T) {
		t.Parallel()
		for _, label := range gpioHeaderChips {
			b := newGPIOBench(t)
			b.chips = map[string]*gpiotest.Chip{"other": gpiotest.New("other", 8), label: gpiotest.New(label, 28)}
			a := b.open("outputs: {x: {pin: pin22}}")
			if doc, err := a.CurrentSetup(); err != nil || !strings.Contains(string(doc), "chip: "+label) {
				t.Errorf("set-up %s, %v, want chip %s", doc, err, label)
			}
			if b.chips[label].Level(25) != 0 || a.present.name != label {
				t.Errorf("chip %s", a.present.name)
			}
		}
	})
	t.Run("none is an error", func(t *testing.T) {
		t.Parallel()
		b := newGPIOBench(t)
		b.chips = map[string]*gpiotest.Chip{"other": gpiotest.New("other", 8)}
		_, err := b.try("outputs: {x: {pin: 2}}")
		if want := `set up: chip: no chip is named and there is none of a Raspberry Pi's header: no chip "pinctrl-rp1"`; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})
}

// gpioFaults is a chip whose k-th request fails, counted from 1; 0: none does.
type gpioFaults struct {
	gpio.Chip
	mu       sync.Mutex
	k        int
	requests int
}

func (f *gpioFaults) Request(offset int, o gpio.LineOptions) (gpio.Line, error) {
	f.mu.Lock()
	f.requests++
	fail := f.requests == f.k
	f.mu.Unlock()
	if fail {
		return nil, &gpio.RequestError{Chip: "faulty", Line: gpio.LineInfo{Offset: offset}, Err: syscall.EIO}
	}
	return f.Chip.Request(offset, o)
}

// arm lets the k-th request from now on fail.
func (f *gpioFaults) arm(k int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.k, f.requests = k, 0
}

const gpioBefore = `
chip: pinctrl-bcm2835
outputs:
  stays:    {pin: 2, initial: on}
  turned:   {pin: 3, initial: on}
  becomes:  {pin: 4, initial: on}
  goes:     {pin: 7, initial: on}
inputs:
  held:     {pin: 5, pull: up}
  gone:     {pin: 6, pull: up}
`

const gpioAfter = `
outputs:
  stays:    {pin: GPIO2, initial: off}
  turned:   {pin: 3, initial: keep, active_low: true}
  held:     {pin: 5, initial: keep}
  fresh:    {pin: 8, initial: on}
  kept:     {pin: 9, initial: keep}
inputs:
  becomes:  {pin: 4}
  new:      {pin: 10}
`

func TestGPIOSetupApplies(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	b.chip().Drive(9, 1)
	a := b.open(gpioBefore)
	before := map[int][]gpiotest.Change{2: b.chip().History(2), 5: b.chip().History(5)}
	if err := a.Setup(t.Context(), []byte(gpioAfter)); err != nil {
		t.Fatal(err)
	}
	if got, want := b.held(), ">2 >3 4 >5 >8 >9 10"; got != want {
		t.Errorf("held %s, want %s", got, want)
	}
	for path, want := range map[string]string{"output/stays": "ON", "output/turned": "OFF", "output/held": "ON", "output/fresh": "ON",
		"output/kept": "ON", "input/becomes": "OFF", "input/new": "OFF", "output/goes": `error: "output/goes" is no output and no input`} {
		if got := gpioLevel(t, a, path); got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
	for line, want := range before { // neither was touched, and a kept level has no glitch
		if diff := cmp.Diff(want, b.chip().History(line)); diff != "" {
			t.Errorf("levels of line %d (-before +after):\n%s", line, diff)
		}
	}
	if b.chip().Level(3) != 1 {
		t.Error("keep did not keep the level where active_low changed")
	}
}

// A set-up that fails at any line, or can't be saved, leaves all as it was; and what it does not touch has not even flickered.
func TestGPIOSetupRollsBack(t *testing.T) {
	t.Parallel()
	for k := 1; ; k++ {
		b := newGPIOBench(t)
		var faults *gpioFaults
		b.fail = func(c gpio.Chip) gpio.Chip { faults = &gpioFaults{Chip: c}; return faults }
		b.chip().Drive(9, 1)
		a := b.open(gpioBefore)
		gpioSet(t, a, "output/turned", false)
		gpioSet(t, a, "output/turned", true)
		describe, setup, held := a.Describe(), gpioDoc(t, a), b.held()
		untouched := map[int]int{2: 0, 6: 0, 7: 0}
		for line := range untouched {
			untouched[line] = len(b.chip().History(line))
		}
		faults.arm(k)
		err := a.Setup(t.Context(), []byte(gpioAfter))
		if err == nil {
			if k < 8 {
				t.Errorf("set-up succeeded although request %d was to fail", k)
			}
			return
		}
		if !errors.Is(err, syscall.EIO) || strings.Contains(err.Error(), "\n") {
			t.Errorf("request %d: error %v, want one line with EIO", k, err)
		}
		if got := b.held(); got != held {
			t.Errorf("request %d: held %s, want %s", k, got, held)
		}
		if diff := cmp.Diff(describe, a.Describe()); diff != "" {
			t.Errorf("request %d: description (-before +after):\n%s", k, diff)
		}
		if got := gpioDoc(t, a); got != setup {
			t.Errorf("request %d: set-up\n%swant\n%s", k, got, setup)
		}
		for _, path := range []string{"output/stays", "output/turned", "output/becomes", "output/goes", "input/held", "input/gone"} {
			if got := gpioLevel(t, a, path); got != "ON" {
				t.Errorf("request %d: %s = %s, want ON", k, path, got)
			}
		}
		for line, want := range untouched {
			if got := len(b.chip().History(line)); got != want {
				t.Errorf("request %d: line %d flickered: %v", k, line, b.chip().History(line))
			}
		}
		if _, err := os.Stat(a.file()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("request %d: something was saved: %v", k, err)
		}
		b.chip().Drive(6, 0) // edges still come, those of a line that was taken and given back too
		b.chip().Drive(5, 0)
		for _, want := range []string{"input/gone OFF", "input/held OFF"} {
			if got := gpioNext(t, a); got != want {
				t.Errorf("request %d: event %s, want %s", k, got, want)
			}
		}
	}
}

func gpioDoc(t *testing.T, a *gpioAgent) string {
	t.Helper()
	doc, err := a.CurrentSetup()
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

func TestGPIOSetupNotSaved(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	b.dir = filepath.Join(b.dir, "state")
	a := b.open(gpioBefore)
	if err := os.WriteFile(b.dir, nil, 0o600); err != nil { // a file where the folder is to be
		t.Fatal(err)
	}
	held, setup := b.held(), gpioDoc(t, a)
	err := a.Setup(t.Context(), []byte(gpioAfter))
	if err == nil || !strings.HasPrefix(err.Error(), "save set-up: ") || reports.CodeOf(err) != reports.CodeDevice {
		t.Errorf("error %v (%s), want one about saving", err, reports.CodeOf(err))
	}
	if b.held() != held || gpioDoc(t, a) != setup || gpioLevel(t, a, "output/turned") != "ON" {
		t.Errorf("held %s, want %s; turned = %s", b.held(), held, gpioLevel(t, a, "output/turned"))
	}
	a.deps.StateDir = ""
	if err := a.Setup(t.Context(), []byte("{}")); err == nil || err.Error() != "setup: there is no state_dir to save it in" || b.held() != held {
		t.Errorf("without state_dir: %v, held %s", err, b.held())
	}
}

func TestGPIOSetupRefused(t *testing.T) {
	t.Parallel()
	laughs := "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
	for doc, want := range map[string]string{
		"outputs:\n  x: {pin: 2}\ninput: {}":                              `setup:3: input: unknown key; did you mean "inputs"?`,
		"outputs:\n  x: {pin: 2, inital: on}":                             `setup:2: outputs.x.inital: unknown key; did you mean "initial"?`,
		"outputs:\n  x: {pin: 2}\n  x: {pin: 3}":                          "setup:3: ",
		"outputs:\n  x: {pin: 2}\ninputs:\n  x: {pin: 3}":                 "setup:4: inputs.x: there is an output of the same name",
		"outputs:\n  x: {pin: 2}\n  y:\n    pin: 2":                       `setup:4: outputs.y.pin: "2" is line 2, which output/x has already`,
		"outputs:\n  x: {pin: GPIO25}\ninputs:\n  y:\n    pin: pin22":     `setup:5: inputs.y.pin: "pin22" is line 25, which output/x has already`,
		"outputs:\n  x: {pin: 25}\ninputs:\n  y: {pin: gpio25}":           `setup:4: inputs.y.pin: "gpio25" is line 25, which output/x has already`,
		"outputs:\n  x:\n    pin: 99":                                     `setup:3: outputs.x.pin: pin "99": pinctrl-bcm2835 has the lines 0 to 53`,
		"outputs:\n  x: {pin: pin1}":                                      `setup:2: outputs.x.pin: pin "pin1": is 3.3 V power, not a line`,
		"outputs:\n  x: {pin: -1}":                                        "setup:2: outputs.x.pin: ",
		"outputs:\n  x: {}":                                               "setup:2: outputs.x: pin is missing",
		"outputs:\n  x: {pin: [2]}":                                       "setup:2: outputs.x.pin: a list stands where a text is wanted",
		"outputs:\n  x: {pin: 2, initial: maybe}":                         `setup:2: outputs.x.initial: "maybe" is not off, on or keep`,
		"outputs:\n  x: {pin: 2, initial: 2}":                             `setup:2: outputs.x.initial: "2" is not off, on or keep`,
		"outputs:\n  x: {pin: 2, pull: sideways}":                         `setup:2: outputs.x.pull: "sideways" is not up, down or none`,
		"outputs:\n  x: {pin: 2, drive: hard}":                            `setup:2: outputs.x.drive: "hard" is not push-pull, open-drain or open-source`,
		"outputs:\n  x: {pin: 2, active_low: maybe}":                      `setup:2: outputs.x.active_low: "maybe" is not true or false`,
		"outputs:\n  x: {pin: 2, scan: 1s}":                               "setup:2: outputs.x.scan: unknown key; ",
		"inputs:\n  x: {pin: 2, initial: on}":                             "setup:2: inputs.x.initial: unknown key; ",
		"inputs:\n  x: {pin: 2, edge: left}":                              `setup:2: inputs.x.edge: "left" is not both, rising or falling`,
		"inputs:\n  x: {pin: 2, edge: both, on_change: false}":            "setup:2: inputs.x.edge: no edge is told of with on_change: false",
		"inputs:\n  x: {pin: 2, scan: 1ms}":                               "setup:2: inputs.x.scan: 1ms is too often, at least 10ms or 0 is needed",
		"inputs:\n  x: {pin: 2, debounce: 1h}":                            "setup:2: inputs.x.debounce: 1h0m0s is too long, at most 1m0s is possible",
		"inputs:\n  x: {pin: 2, debounce: -1s}":                           `setup:2: inputs.x.debounce: duration "-1s" is negative`,
		"inputs:\n  x: {pin: 2, debounce: 5}":                             `setup:2: inputs.x.debounce: "5" is not a duration like 500ms, 10s or 1h30m`,
		"inputs:\n  a/b: {pin: 2}":                                        "setup:2: inputs.a/b: ",
		"inputs:\n  x: {pin: 17}":                                         `setup:2: inputs.x.pin: line 17 is held by "spi0 CS0"`,
		"chip: nowhere":                                                   `setup:1: chip: no chip "nowhere"`,
		"inputs: {}\nchip: nowhere":                                       `setup:2: chip: no chip "nowhere"`,
		"":                                                                "setup: the document is empty; {} gives all lines back",
		"# nothing":                                                       "setup: the document is empty; {} gives all lines back",
		"just words":                                                      "setup:1: ",
		"[]":                                                              "setup:1: ",
		"outputs:\n  x: &p {pin: 2}\n  y: *p":                             "setup:2: ",
		laughs:                                                            "setup:1: ",
		"outputs: {x: {pin: 2}}\n---\noutputs: {}":                        "setup:",
		"outputs: {x: {pin: !!binary Mg==}}":                              "setup:1: ",
		"outputs: {" + strings.Repeat("a", 65) + ": {pin: 2}}":            "setup:1: outputs.",
		strings.Repeat("{a: ", 40) + strings.Repeat("}", 40):              "setup:1: ",
		"outputs: {x: {pin: 2}, y: {pin: 3}, z: {pin: 2, initial: keep}}": `setup:1: outputs.z.pin: "2" is line 2, which output/x has already`,
	} {
		b := newGPIOBench(t)
		b.chip().Hog(17, "spi0 CS0")
		a := b.open(gpioBefore)
		setup, held := gpioDoc(t, a), b.held()
		err := a.Setup(t.Context(), []byte(doc))
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("setup %.60q: error %v, want %s", doc, err, want)
		}
		if reports.CodeOf(err) != reports.CodeBadSetup {
			t.Errorf("setup %.60q: code %s, want %s", doc, reports.CodeOf(err), reports.CodeBadSetup)
		}
		if gpioDoc(t, a) != setup || b.held() != held {
			t.Errorf("setup %.60q: it was applied", doc)
		}
	}
}

func TestGPIOSetupEmptyMap(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open(gpioBefore)
	b.chip().Drive(6, 0)
	b.chip().Wait()
	if err := a.Setup(t.Context(), []byte("{}")); err != nil || b.held() != "" || len(a.Describe().Points) != 0 {
		t.Errorf("setup {}: %v, held %s, %d points", err, b.held(), len(a.Describe().Points))
	}
	if got := gpioDoc(t, a); got != "chip: pinctrl-bcm2835\n" {
		t.Errorf("set-up %q", got)
	}
}

func TestGPIOSetupOtherChip(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	other := gpiotest.New("other", 8)
	b.chips["other"], b.chips["gpiochip0"] = other, b.chip()
	a := b.open(gpioBefore)
	history := len(b.chip().History(2))
	if err := a.Setup(t.Context(), []byte(gpioBefore+"\n")); err != nil {
		t.Fatal(err)
	}
	if err := a.Setup(t.Context(), []byte(strings.Replace(gpioBefore, "pinctrl-bcm2835", "gpiochip0", 1))); err != nil {
		t.Fatal(err)
	}
	if got := len(b.chip().History(2)); got != history {
		t.Error("the same chip by another name: an output flickered")
	}
	if err := a.Setup(t.Context(), []byte("{chip: other, outputs: {stays: {pin: 9}}}")); err == nil || b.held() == "" {
		t.Errorf("a set-up that the other chip can't have: %v, held %q", err, b.held())
	}
	if err := a.Setup(t.Context(), []byte("{chip: other, outputs: {stays: {pin: 2, initial: on}}}")); err != nil {
		t.Fatal(err)
	}
	if b.held() != "" || other.Level(2) != 1 || gpioLevel(t, a, "output/stays") != "ON" {
		t.Errorf("old chip holds %q, line 2 of the new one is %d", b.held(), other.Level(2))
	}
}

// A set-up over MQTT survives a restart and goes before the configuration.
func TestGPIORestart(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open(gpioBefore)
	if !strings.Contains(b.log.String(), `level=INFO msg="set-up of the configuration is in force"`) {
		t.Errorf("log: %s", b.log.String())
	}
	if err := a.Setup(t.Context(), []byte("outputs: {pump: {pin: 25, initial: on}}\ninputs: {door: {pin: 22, pull: up, scan: 1s}}")); err != nil {
		t.Fatal(err)
	}
	setup, describe := gpioDoc(t, a), a.Describe()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = b.open(gpioBefore)
	if gpioDoc(t, a) != setup || b.held() != "22 >25" || gpioLevel(t, a, "output/pump") != "ON" {
		t.Errorf("after a restart: held %s, set-up\n%swant\n%s", b.held(), gpioDoc(t, a), setup)
	}
	if diff := cmp.Diff(describe, a.Describe()); diff != "" {
		t.Errorf("description (-before +after):\n%s", diff)
	}
	if want := "saved set-up is in force"; !strings.Contains(b.log.String(), want) || !strings.Contains(b.log.String(), a.file()) {
		t.Errorf("log %s, want %q with the file", b.log.String(), want)
	}
	if info, err := os.Stat(a.file()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("saved file: %v, %v", info, err)
	}
}

// A saved set-up that can't be brought into force is refused, with the file and the way out; the configuration's, which may
// be for another wiring, is not applied.
func TestGPIOSavedSetupRefused(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		"outputs: {x: {pin: 99}}":         `:1: outputs.x.pin: pin "99": pinctrl-bcm2835 has the lines 0 to 53`,
		"outputs:\n  x: {pin: 2, max: 3}": ":2: outputs.x.max: unknown key; ",
		"\x00\x00\x00":                    ":1: ",
		"outputs: {x: {p":                 ":1: ",
		"":                                " is empty",
		"inputs: {x: {pin: 17}}":          `:1: inputs.x.pin: line 17 is held by "spi0 CS0"`,
		"chip: nowhere":                   `:1: chip: no chip "nowhere"`,
	} {
		b := newGPIOBench(t)
		b.chip().Hog(17, "spi0 CS0")
		if !strings.HasPrefix(doc, "chip") && !strings.HasPrefix(doc, "\x00") && doc != "" {
			doc = "chip: pinctrl-bcm2835\n" + doc
			want = strings.Replace(strings.Replace(want, ":2:", ":3:", 1), ":1:", ":2:", 1)
		}
		file := filepath.Join(b.dir, "gpio.setup.yaml")
		if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := b.try(gpioBefore)
		if err == nil || !strings.HasPrefix(err.Error(), "saved set-up: "+file+want) ||
			!strings.HasSuffix(err.Error(), "; nothing is set up until the file is put right, or removed for the set-up of the configuration") {
			t.Errorf("saved %q: error %v, want %s", doc, err, file+want)
		}
		if b.held() != "17" {
			t.Errorf("saved %q: held %s", doc, b.held())
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if _, err := b.try(gpioBefore); err != nil {
			t.Errorf("after the file was removed: %v", err)
		}
	}
}

func TestGPIOSavedSetupUnreadable(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	if err := os.Mkdir(filepath.Join(b.dir, "gpio.setup.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := b.try(gpioBefore); err == nil || !strings.HasPrefix(err.Error(), "read saved set-up: ") || b.held() != "" {
		t.Errorf("error %v, held %q", err, b.held())
	}
}

// Describe may be called at any time.
func TestGPIODescribeWhileSetup(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open(gpioBefore)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-a.Events():
			default:
				if n := len(a.Describe().Points); n != 6 && n != 7 {
					t.Errorf("%d points", n)
				}
			}
		}
	})
	for i := range 20 {
		b.chip().Drive(10, i%2)
		if err := a.Setup(t.Context(), []byte([]string{gpioAfter, gpioBefore}[i%2])); err != nil {
			t.Error(err)
		}
	}
	close(done)
	wg.Wait()
}

// FuzzGPIOSetup checks that a document is refused with nothing changed or applied in full, and that the set-up then in force
// can be printed, read and applied again with nothing changed.
func FuzzGPIOSetup(f *testing.F) {
	for _, doc := range []string{gpioBefore, gpioAfter, "{}", "", "outputs: {x: {pin: 2, initial: off}}", "outputs: {x: {pin: '2', initial: 0}}",
		`{"inputs":{"door":{"pin":"pin22","pull":"down","on_change":true,"debounce":"5ms","scan":"0s","edge":"both"}}}`,
		"inputs: {x: {pin: 2, edge: rising, on_change: yes}}", "chip: sim", "outputs: {on: {pin: 3}, off: {pin: 4}}", "a: &a [*a]", "outputs: {1e3: {pin: 7}}",
		"outputs: {x: {pin: 0x2, drive: open-drain, pull: none}}", "inputs: {x: {pin: 2, scan: 10ms, on_change: ~}}", "inputs: {null: {pin: 1}}"} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		b := newGPIOBench(t)
		a := b.open(gpioBefore)
		before, held := gpioDoc(t, a), b.held()
		err := a.Setup(t.Context(), doc)
		if err != nil {
			if gpioDoc(t, a) != before || b.held() != held {
				t.Errorf("refused with %v, but set-up\n%sheld %s", err, gpioDoc(t, a), b.held())
			}
			if code := reports.CodeOf(err); code != reports.CodeBadSetup {
				t.Errorf("%v has code %s", err, code)
			}
		}
		service := a.Describe()
		service.Name = "gpio"
		if err := service.Validate(); err != nil {
			t.Error(err)
		}
		present, held, describe := gpioDoc(t, a), b.held(), a.Describe()
		var changes []int
		for i := range 54 {
			changes = append(changes, len(b.chip().History(i)))
		}
		if err := a.Setup(t.Context(), []byte(present)); err != nil {
			t.Fatalf("own set-up\n%sis refused: %v", present, err)
		}
		if gpioDoc(t, a) != present || b.held() != held || cmp.Diff(describe, a.Describe()) != "" {
			t.Errorf("set-up\n%smakes\n%s", present, gpioDoc(t, a))
		}
		for i := range 54 {
			if got := len(b.chip().History(i)); got != changes[i] {
				t.Errorf("line %d flickered when nothing changed", i)
			}
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		again := b.open("chip: pinctrl-bcm2835") // and so does a restart
		if err == nil && gpioDoc(t, again) != present {
			t.Errorf("set-up\n%safter a restart is\n%s", present, gpioDoc(t, again))
		}
	})
}

func TestFactories(t *testing.T) {
	t.Parallel()
	var names []string
	for _, f := range All() {
		names = append(names, f.Name)
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			if f.Doc == "" || strings.Contains(f.Doc, "\n") || !strings.HasSuffix(f.Doc, ".") {
				t.Errorf("doc %q is not one sentence", f.Doc)
			}
			if f.Defaults() == f.Defaults() {
				t.Error("Defaults gives the same options twice")
			}
			for _, doc := range []string{f.Example} {
				o := f.Defaults()
				node, err := config.ParseNode("example", []byte(doc))
				if err == nil {
					err = node.Decode(o)
				}
				if err != nil {
					t.Fatal(err)
				}
				a, err := f.New(o, Deps{Service: f.Name, StateDir: t.TempDir()})
				if err != nil {
					t.Fatal(err)
				}
				service := a.Describe()
				service.Name = f.Name
				if err := service.Validate(); err != nil || service.Function != f.Name || len(service.Points) == 0 {
					t.Errorf("service %+v: %v", service, err)
				}
				if err := a.Close(); err != nil {
					t.Error(err)
				}
			}
			for _, key := range config.Keys("", f.Defaults()) {
				if key.Doc == "" {
					t.Errorf("%s has no doc", key.Path)
				}
			}
		})
	}
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("names %v are not sorted or not unique", names)
	}
}
