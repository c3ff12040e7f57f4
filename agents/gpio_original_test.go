package agents

import (
	"strings"
	"testing"

	"rollcall/reports"
)

func gpioControlBlock(t *testing.T, a *gpioAgent, block string) error {
	t.Helper()
	_, err := a.Apply(t.Context(), reports.Command{Verb: "control", Value: []byte(block)})
	return err
}

// The original's blocks, and parts of a set-up document, add to the set-up and change what they name; all else is left alone.
func TestGPIOBlocks(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open("chip: pinctrl-bcm2835\noutputs: {stays: {pin: 2, initial: on}, goes: {pin: 3, max_on: 1h}}\ninputs: {in: {pin: 5}}")
	history := len(b.chip().History(2))
	if a.Renewed() {
		t.Error("it was renewed before")
	}
	if err := gpioControlBlock(t, a, "output\n  name pump_drive\n  pin  25\n  init 0\n  pull down\n  single\n\ninput\n name in\n pin 6\n scan 2\n\npwm\nname fan\npin 18\ninit 30\nperiod 2000\npol inv\n"); err != nil {
		t.Fatal(err)
	}
	if !a.Renewed() || a.Renewed() {
		t.Error("it was not renewed once")
	}
	if got, want := b.held(), ">2 >3 6 >18 >25"; got != want || len(b.chip().History(2)) != history {
		t.Errorf("held %s, want %s; %d changes", got, want, len(b.chip().History(2))-history)
	}
	if p, ok := a.Describe().Point("input/in"); !ok || p.Poll.String() != "2s" {
		t.Errorf("input/in: %+v", p)
	}
	if err := gpioControlBlock(t, a, "inputs: {in: {scan: 0}}"); err != nil {
		t.Fatal(err)
	}
	if err := gpioControlBlock(t, a, `{"outputs":{"in":{"pin":6,"initial":"on"}},"interlocks":[["in","goes"]],"id":3}`); err != nil {
		t.Fatal(err)
	}
	want := `chip: pinctrl-bcm2835
outputs:
  goes:
    pin: "3"
    max_on: "1h0m0s"
  in:
    pin: "6"
    initial: "on"
  pump_drive:
    pin: "25"
    initial: "off"
    pull: down
    single: true
  stays:
    pin: "2"
    initial: "on"
pwm:
  fan:
    pin: "18"
    initial: 30
    period: "2ms"
    polarity: inverted
interlocks:
  - - in
    - goes
`
	if got := gpioDoc(t, a); got != want || !a.Renewed() {
		t.Errorf("set-up\n%swant\n%s", got, want)
	}
	for block, want := range map[string]string{
		"output\n name x": "control:1: output x: pin is missing",
		"output\n name x\n pin 9\n\noutput\n name y\n pin 99":       `control:5: outputs.y.pin: pin "99": pinctrl-bcm2835 has the lines 0 to 53`,
		"output\n name x\n pin 9\n\noutput\n name y\n pin 2":        `control:5: outputs.y.pin: "2" is line 2, which output/stays has already`,
		"input\n name goes\n pin 3":                                 "control:1: output/goes has max_on, which as input it can't have: send a set-up",
		"output\n name x\n pin 9\n single\n init 1":                 "control:1: outputs.x.initial: a one-shot output (single) begins off",
		`{"outputs":{"x":{"pin":99}}}`:                              `control:1: outputs.x.pin: pin "99": pinctrl-bcm2835 has the lines 0 to 53`,
		"outputs:\n  x: {pin: 9}\nchip: other":                      "control:3: chip: another chip needs a whole set-up",
		"outputs:\n  x: {pin: 9}\n  y: {pin: 9}":                    `control:3: outputs.y.pin: "9" is line 9, which output/x has already`,
		"outputs:\n  x: {pin: 9, colour: red}":                      "control:2: outputs.x.colour: unknown key; ",
		"inputs:\n  fresh: {pin: 9}\ninterlocks: [[fresh, goes]]\n": `control:3: interlocks[0][0]: "fresh" is no output`,
	} {
		held, doc := b.held(), gpioDoc(t, a)
		err := gpioControlBlock(t, a, block)
		if err == nil || !strings.HasPrefix(err.Error(), want) || b.held() != held || gpioDoc(t, a) != doc || a.Renewed() {
			t.Errorf("%q: %v, held %s, want %s", block, err, b.held(), want)
		}
	}
	setup, held := gpioDoc(t, a), b.held()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	a = b.open("chip: pinctrl-bcm2835") // it was saved
	if gpioDoc(t, a) != setup || b.held() != held {
		t.Errorf("after a restart: held %s", b.held())
	}
}

// The original's map of pins is the whole set-up.
func TestGPIOPinMaps(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open("chip: pinctrl-bcm2835\noutputs: {gone: {pin: 2, initial: on}, FP_Led_2: {pin: 4, initial: on}}")
	history := len(b.chip().History(4))
	if err := a.Setup(t.Context(), []byte(`{"FP_Switch_1":{"Pin":23,"Dir":"Input","PD":"PullUp"}, "FP_Led_2":{"Pin":4,"Dir":"Output","Value":"1"}, "FP_Led_3":{"Pin":5,"Dir":"Output","Type":"OC","Value":"1"}}`)); err != nil {
		t.Fatal(err)
	}
	if a.Renewed() {
		t.Error("Setup is known to the runner without Renewed")
	}
	if got := b.held(); got != ">4 >5 23" || len(b.chip().History(4)) != history {
		t.Errorf("held %s, %d changes of what stays", got, len(b.chip().History(4))-history)
	}
	if got := gpioLevel(t, a, "input/FP_Switch_1"); got != "ON" {
		t.Errorf("the switch is %s, want ON by its pull-up", got)
	}
	if doc := gpioDoc(t, a); !strings.Contains(doc, "drive: open-drain") || !strings.Contains(doc, "chip: pinctrl-bcm2835") {
		t.Errorf("set-up\n%s", doc)
	}
	for doc, want := range map[string]string{
		`{"a":{"Pin":23,"Dir":"Sideways"}}`:                                                     "setup:1: a.Dir: ",
		"{\"a\":{\"Pin\":23,\"Dir\":\"Input\"},\n\"b\":{\"Pin\":77,\"Dir\":\"Input\"}}":         `setup:2: inputs.b.pin: pin "77": pinctrl-bcm2835 has the lines 0 to 53`,
		"{\"a\":{\"Pin\":23,\"Dir\":\"Input\"},\n\"b\":{\"Pin\":\"GPIO23\",\"Dir\":\"Input\"}}": `setup:2: inputs.b.pin: "GPIO23" is line 23, which input/a has already`,
	} {
		held := b.held()
		if err := a.Setup(t.Context(), []byte(doc)); err == nil || !strings.HasPrefix(err.Error(), want) || reports.CodeOf(err) != reports.CodeBadSetup || b.held() != held {
			t.Errorf("%s: %v, held %s, want %s", doc, err, b.held(), want)
		}
	}
}

// A set of inputs or outputs turns the direction of what it names, and saves that.
func TestGPIOTurn(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open("chip: pinctrl-bcm2835\noutputs: {o: {pin: 2, active_low: true, label: O}, p: {pin: 3}, q: {pin: 4}, r: {pin: 7}}\ninputs: {i: {pin: 5, pull: up}, b: {pin: 6}}\ninterlocks: [[q, r]]")
	for _, step := range []struct {
		path string
		v    any
		held string
		err  string
		want string
	}{
		{"inputs", []any{"o", "i"}, "2 >3 >4 5 6 >7", "", `["b","i","o"]`},
		{"outputs", "[i, b]", "2 >3 >4 >5 >6 >7", "", `["b","i","p","q","r"]`},
		{"outputs", "o", ">2 >3 >4 >5 >6 >7", "", `["b","i","o","p","q","r"]`},
		{"outputs", "o, p", ">2 >3 >4 >5 >6 >7", "", `["b","i","o","p","q","r"]`},
		{"inputs", []any{"o", "none"}, ">2 >3 >4 >5 >6 >7", `"none" is no output and no input`, ""},
		{"inputs", "q", ">2 >3 >4 >5 >6 >7", `interlocks[0][0]: "q" is no output`, ""},
		{"inputs", 7.5, ">2 >3 >4 >5 >6 >7", `item 1 of the list: name "7.5": `, ""},
	} {
		r, err := a.Apply(t.Context(), reports.Command{Verb: "set", Path: step.path, Value: step.v})
		if (step.err == "") != (err == nil) || err != nil && !strings.HasPrefix(err.Error(), step.err) || b.held() != step.held {
			t.Errorf("set %s %v: %v, held %s, want %s, held %s", step.path, step.v, err, b.held(), step.err, step.held)
		}
		if got := reports.FormatValue(r.Value); err == nil && got != step.want {
			t.Errorf("set %s %v = %s, want %s", step.path, step.v, got, step.want)
		}
		if a.Renewed() != (err == nil) {
			t.Errorf("set %s %v: renewed is wrong", step.path, step.v)
		}
	}
	if b.chip().Level(2) != 1 { // off, and still active low
		t.Error("the output that was turned back is not off")
	}
	if doc := gpioDoc(t, a); !strings.Contains(doc, "label: O") || !strings.Contains(doc, "pull: up") {
		t.Errorf("set-up\n%s", doc)
	}
}
