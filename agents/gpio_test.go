package agents

import (
	"bytes"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

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
	with  Deps                      // link and root
}

func newGPIOBench(t *testing.T) *gpioBench {
	b := &gpioBench{t: t, chips: map[string]*gpiotest.Chip{}, dir: t.TempDir()}
	b.chips["pinctrl-bcm2835"] = gpiotest.New("pinctrl-bcm2835", 54)
	return b
}

func (b *gpioBench) chip() *gpiotest.Chip { return b.chips["pinctrl-bcm2835"] }

func (b *gpioBench) deps() Deps {
	return Deps{Service: "gpio", StateDir: b.dir, Link: b.with.Link, Root: b.with.Root, Log: slog.New(slog.NewTextHandler(&b.log, nil)),
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
	b.t.Cleanup(func() { _ = a.Close() })
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

// gpioEngine has the engine of an agent call f.
func gpioEngine(t *testing.T, a *gpioAgent, f func()) {
	t.Helper()
	if err := a.do(t.Context(), f); err != nil {
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
	case <-time.After(time.Minute):
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
		"input/asked":  {reports.Get, "10s", "Line 8 (GPIO8, pin24) of pinctrl-bcm2835"},
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
		{`{"verb":"dance","path":"output/x"}`, ">2 >3 5", "OFF ON", `verb "dance" is not known; known are blink, pulse, release, toggle`, reports.CodeUnsupported},
		{`{"verb":""}`, ">2 >3 5", "OFF ON", `verb "" is not known; known are blink, pulse, release, toggle`, reports.CodeUnsupported},
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
	a := b.open("chip: pinctrl-bcm2835\ninputs: {chatter: {pin: 5}, once: {pin: 6}, end: {pin: 7}}")
	b.chip().Drive(5, 1) // is already on its way out of the queue
	b.chip().Wait()
	b.chip().Drive(6, 1)
	b.chip().Wait()
	for i := range 2*gpioEventsMost + 1 {
		b.chip().Drive(5, i%2)
		b.chip().Wait()
	}
	for _, offset := range []int{5, 7} {
		b.chip().Drive(offset, 1)
		b.chip().Wait()
	}
	last := map[string]string{}
	for last["input/end"] != "ON" {
		path, value, ok := strings.Cut(gpioNext(t, a), " ")
		if !ok {
			t.Fatalf("%s after %v, want what waits up to the last", path, last)
		}
		last[path] = value
	}
	if last["input/chatter"] != "ON" || last["input/once"] != "ON" {
		t.Errorf("last events %v, want ON of each", last)
	}
	gpioEngine(t, a, func() {
		if a.queue.dropped == 0 || len(a.queue.readings) > gpioEventsMost {
			t.Errorf("%d dropped, %d wait", a.queue.dropped, len(a.queue.readings))
		}
	})
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
	if len(a.Describe().Points) != 2+gpioOwnPoints {
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
			a, err := newGPIO(gpioOptions{Chip: chip}, Deps{Service: "gpio"})
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if err == nil || !strings.HasPrefix(err.Error(), "set up: chip: ") {
				t.Errorf("chip %q: error %v, want one that begins with set up: chip:", chip, err)
			}
		}
	})
	t.Run("default is the header's", func(t *testing.T) {
		t.Parallel()
		for _, label := range gpio.HeaderLabels() {
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
		if want := `set up: chip: no chip is named and there is none of a Raspberry Pi's header: no chip "pinctrl-rp1"; nothing is set up until `; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	})
}

// A pin that stands twice is refused before anything runs, as far as the words tell.
func TestGPIOPinTwiceInTheConfiguration(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ chip, a, b, want string }{
		{"sim", "5", "GPIO5", `outputs.b.pin: "GPIO5" is line 5, which output/a has already`},
		{"", "pin22", "25", `outputs.b.pin: "25" is line 25, which output/a has already`},
		{"pinctrl-rp1", "gpio5", "GPIO5", `outputs.b.pin: "GPIO5" is line 5, which output/a has already`},
		{"gpiochip3", "LED", "led", `outputs.b.pin: "led" is led, which output/a has already`},
		{"gpiochip3", "5", "GPIO5", ""}, // on another chip GPIO5 may be the name of any line
		{"sim", "5", "6", ""},
	} {
		doc := "chip: " + strconv.Quote(test.chip) + "\noutputs:\n  a: {pin: " + strconv.Quote(test.a) + "}\n  b: {pin: " + strconv.Quote(test.b) + "}\n"
		node, err := config.ParseNode("r.yaml", []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		err = node.Decode(new(gpioOptions))
		if got := fmt.Sprint(err); (test.want == "" && err != nil) || (test.want != "" && got != "r.yaml:4: "+test.want) {
			t.Errorf("%v: Decode = %s, want %s", test, got, test.want)
		}
	}
}

// gpioOwnPoints is how many points the service itself has: lost, failsafe, chip, inputs, outputs.
const gpioOwnPoints = 5
