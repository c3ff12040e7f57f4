package agents

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rollcall/gpio/gpiotest"
	"rollcall/reports"
)

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
		"outputs:\n  x: {pin: 2, initial: maybe}":                         `setup:2: outputs.x.initial: "maybe" is not off, on, keep or restore`,
		"outputs:\n  x: {pin: 2, initial: 2}":                             `setup:2: outputs.x.initial: "2" is not off, on, keep or restore`,
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
		"inputs:\n  x: {pin: 17}":                                         `setup:2: inputs.x.pin: line 17 of pinctrl-bcm2835 is held by "spi0 CS0"`,
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
	if err := a.Setup(t.Context(), []byte("{}")); err != nil || b.held() != "" || len(a.Describe().Points) != gpioOwnPoints {
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
	if want := "saved set-up is in force"; !strings.Contains(b.log.String(), want) || !strings.Contains(b.log.String(), a.file(gpioSetupFile)) {
		t.Errorf("log %s, want %q with the file", b.log.String(), want)
	}
	if info, err := os.Stat(a.file(gpioSetupFile)); err != nil || info.Mode().Perm() != 0o600 {
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
		"inputs: {x: {pin: 17}}":          `:1: inputs.x.pin: line 17 of pinctrl-bcm2835 is held by "spi0 CS0"`,
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
			!strings.HasSuffix(err.Error(), "; nothing is set up until a good one is sent (udpsrv setup HOST/gpio -f FILE), or the file is put right, or removed for the set-up of the configuration") {
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
				if n := len(a.Describe().Points); n != 6+gpioOwnPoints && n != 7+gpioOwnPoints {
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
