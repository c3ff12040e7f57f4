package agents

import (
	"os"
	"testing"

	"rollcall/reports"
)

const gpioFuzzSetup = "chip: pinctrl-bcm2835\noutputs: {o: {pin: 2, max_on: 1s}, l: {pin: 3, as: led}, a: {pin: 4}, b: {pin: 5}}\ninputs: {i: {pin: 6, count: true}}\n" +
	"servos: {s: {pin: 8, driver: software}}\npwm: {p: {pin: 9, driver: software}}\ninterlocks: [[a, b]]\n"

// gpioFuzz has an agent take a command, which it must refuse with a code and nothing changed, or carry out; in the end all is
// described validly, and the set-up that is in force can be printed and taken again with nothing changed.
func gpioFuzz(t *testing.T, command func(t *testing.T, a *gpioAgent) (changes bool, err error)) {
	b := newGPIOBench(t)
	if dir, err := os.MkdirTemp("/dev/shm", "rollcall-fuzz"); err == nil { // memory, where there is some: a disk takes its time to sync
		b.dir = dir
		t.Cleanup(func() { _ = os.RemoveAll(dir) }) // best effort
	}
	a := b.open(gpioFuzzSetup)
	before, held := gpioDoc(t, a), b.held()
	changes, err := command(t, a)
	if err != nil && (gpioDoc(t, a) != before || b.held() != held) {
		t.Errorf("refused with %v, but the set-up is\n%sheld %s", err, gpioDoc(t, a), b.held())
	}
	if err != nil && reports.CodeOf(err) == "" {
		t.Errorf("%v has no code", err)
	}
	if !changes && gpioDoc(t, a) != before {
		t.Errorf("set-up\n%s", gpioDoc(t, a))
	}
	service := a.Describe()
	service.Name = "gpio"
	if err := service.Validate(); err != nil {
		t.Error(err)
	}
	if b.chip().Level(4)+b.chip().Level(5) > 1 && gpioDoc(t, a) == before {
		t.Error("interlocked outputs are on together")
	}
	doc := gpioDoc(t, a)
	if err := a.Setup(t.Context(), []byte(doc)); err != nil || gpioDoc(t, a) != doc {
		t.Errorf("its own set-up\n%sis taken with %v as\n%s", doc, err, gpioDoc(t, a))
	}
}

// FuzzGPIOControl sends control blocks of all kinds.
func FuzzGPIOControl(f *testing.F) {
	for _, doc := range []string{`{"verb":"pulse","path":"output/o","for":"2s"}`, "verb: blink\npath: output/l\npattern: alert", `{"verb":"release"}`, `{"verb":"toggle","path":"output/a"}`,
		"output\n  name pump_drive\n  pin  25\n  init 0\n  pull down\n  single\n", "input\nname i\npin 7\non_change /a/b\nscan 1\n---\npwm\nname p\npin 9\ninit 50\n",
		"outputs: {x: {pin: 10}}", `{"outputs":{"o":{"pin":2,"max_on":"5s"}},"interlocks":[]}`, "inputs: {a: {pin: 4}}", "dead_time: 1s", `{"verb":"pulse","path":"output/o","for":1e300}`,
		"servos: {o: {pin: 2, driver: software}}", "", "[]", "verb: [x]"} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		gpioFuzz(t, func(t *testing.T, a *gpioAgent) (bool, error) {
			_, err := a.Apply(t.Context(), reports.Command{Verb: "control", Value: doc})
			return true, err
		})
	})
}

// FuzzGPIOPins sends the original's maps of pins as set-ups.
func FuzzGPIOPins(f *testing.F) {
	for _, doc := range []string{`{"FP_Switch_1":{"Pin":23,"Dir":"Input","PD":"PullUp"}, "FP_Led_2":{"Pin":4,"Dir":"Output","Type":"OC","Value":"1"}}`,
		`{"o":{"Pin":"GPIO2","Direction":"out"}}`, `{"a":{"Pin":99,"Dir":"Input"}}`, `{"a":{"Dir":"PWM","Pin":7,"Value":"50"}}`, "a: {Pin: 2, Dir: Output}", `{"a":{"Pin":2}}`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		gpioFuzz(t, func(t *testing.T, a *gpioAgent) (bool, error) { return true, a.Setup(t.Context(), doc) })
	})
}

// FuzzGPIOSet sends payloads of sets the way the runner does.
func FuzzGPIOSet(f *testing.F) {
	for _, s := range [][2]string{{"output/o", "ON"}, {"output/a", `{"value":"ON","for":"5s"}`}, {"output/b", `{"value":1,"for":2.5}`}, {"blink/l", "heartbeat"}, {"pwm/p", `{"value":50,"fade":"1s"}`},
		{"servo/s", "90"}, {"servo/s", `{"value":1e1,"fade":3}`}, {"total/i", "12"}, {"inputs", "[o, l]"}, {"outputs", `["i"]`}, {"inputs", `{"value":["a"],"id":1}`}, {"output/o", `{"value":true,"for":"-1s"}`}} {
		f.Add(s[0], []byte(s[1]))
	}
	f.Fuzz(func(t *testing.T, path string, payload []byte) {
		gpioFuzz(t, func(t *testing.T, a *gpioAgent) (bool, error) {
			c, err := reports.ParseCommand("set", path, payload)
			if err != nil {
				return false, err
			}
			p, ok := a.Describe().Point(path)
			if !ok || !p.Access.Has(reports.Set) {
				return false, nil
			}
			if c.Value, err = p.ParseValue(c.Value); err != nil {
				return false, err
			}
			r, err := a.Apply(t.Context(), c)
			if err == nil && r.Path != path {
				t.Errorf("set %s %s: reading of %q", path, payload, r.Path)
			}
			return p.Type == reports.JSON, err
		})
	})
}
