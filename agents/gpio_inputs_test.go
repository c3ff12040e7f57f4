package agents

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/gpio"
	"rollcall/reports"
)

// A kernel that can't debounce leaves it to the service, which ends on the true level (PEERS.md §2.6, 5) and says so.
func TestGPIODebounceBySoftware(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &gpioStage{gpioBench: newGPIOBench(t), start: time.Now()}
		s.chip().Lack(gpio.FeatureDebounce)
		s.begin("inputs: {x: {pin: 5, debounce: 10ms}, polled: {pin: 6, debounce: 10ms, on_change: false, scan: 1s}}")
		p, _ := s.agent.Describe().Point("input/x")
		if want := "debounced for 10ms by the service, since the kernel can't"; !strings.Contains(p.Help, want) {
			t.Errorf("help %q, want %q", p.Help, want)
		}
		for i := range 7 { // ends on 1
			s.chip().Drive(5, (i+1)%2)
			s.pass(time.Millisecond)
		}
		s.wantTold("")
		s.wantValue("input/x", "OFF")
		s.pass(10 * time.Millisecond)
		s.wantTold("input/x ON")
		s.wantValue("input/x", "ON")
		s.chip().Drive(6, 1)
		s.wantValue("input/polled", "OFF") // read for the first time
		s.pass(10 * time.Millisecond)
		s.wantValue("input/polled", "ON")
	})
}

func TestGPIOCount(t *testing.T) {
	const options = "inputs: {water: {pin: 5, as: meter, debounce: 0s}, other: {pin: 6, count: true}}"
	gpioBubble(t, options, func(s *gpioStage) {
		pulses := func(n int, every time.Duration) {
			for range n {
				s.chip().Drive(5, 0) // a meter is active low
				s.pass(every / 2)
				s.chip().Drive(5, 1)
				s.pass(every / 2)
			}
		}
		s.chip().Drive(5, 1)
		s.told()
		pulses(25, 100*time.Millisecond)
		s.pass(time.Second)
		s.wantValue("count/water", "25")
		s.wantValue("total/water", "25")
		s.wantValue("input/water", "OFF")
		told := strings.Split(s.told(), ", ")
		if n := len(told); n < 6 || n > 15 || !slices.Contains(told, "count/water 25") || !slices.Contains(told, "total/water 25") || strings.Contains(fmt.Sprint(told), "input/water") {
			t.Errorf("told %d things: %v", n, told)
		}
		s.wantDo("1000", "total/water", int64(1000))
		pulses(5, time.Second)
		s.wantValue("count/water", "30")
		s.wantValue("total/water", "1005")
		s.pass(time.Minute)
		s.wantValue("rate/water", "0")
		if told := s.told(); !strings.HasSuffix(told, "rate/water 0") {
			t.Errorf("told %s, want the rate of 0 at the end", told)
		}
		s.wantDo(`error: "input/none" is no output and no input`, "total/none", int64(1))
		pulses(3, time.Second)
		s.pass(20 * time.Second) // a power cut costs no more than 10 s of it
		s.kill()
		s.begin(options)
		s.wantValue("total/water", "1008")
		s.wantValue("count/water", "0")
		pulses(2, time.Second)
		if err := s.agent.Close(); err != nil { // a clean stop costs nothing
			t.Error(err)
		}
		s.begin(options)
		s.wantValue("total/water", "1010")
		s.setup("inputs: {water: {pin: 5, as: meter, debounce: 0s, label: Water}}")
		s.wantValue("total/water", "1010")
	})
}

// No meter begins at 0 unnoticed.
func TestGPIOTotalsDamaged(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	file := filepath.Join(b.dir, "gpio.totals.json")
	if err := os.WriteFile(file, []byte(`{"version":1,"to`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.open("chip: pinctrl-bcm2835\ninputs: {x: {pin: 5}}").Close(); err != nil { // who does not count does not mind
		t.Error(err)
	}
	b.open("chip: pinctrl-bcm2835\ninputs: {x: {pin: 5, count: true}}")
	if log := b.log.String(); !strings.Contains(log, "meters begin at 0") || !strings.Contains(log, file) {
		t.Errorf("the log does not name %s: %s", file, log)
	}
}

func TestGPIOPress(t *testing.T) {
	gpioBubble(t, "inputs: {b: {pin: 5, as: button}, plain: {pin: 6, pull: up}, long: {pin: 7, long_press: 2s, on_change: false}, own: {pin: 8, as: button, pull: down, debounce: 0s, double_click: 0s}}", func(s *gpioStage) {
		press := func(line, on int, held time.Duration) {
			s.chip().Drive(line, on)
			s.pass(held)
			s.chip().Drive(line, 1-on)
			s.pass(50 * time.Millisecond)
		}
		p, _ := s.agent.Describe().Point("press/b")
		if p.Access != reports.Event || strings.Join(p.Options, " ") != "single double long" {
			t.Errorf("press/b: %+v", p)
		}
		if p, _ = s.agent.Describe().Point("press/long"); strings.Join(p.Options, " ") != "single long" {
			t.Errorf("press/long: %+v", p)
		}
		s.told()
		press(5, 0, 100*time.Millisecond)
		s.pass(time.Second)
		s.wantTold("input/b ON, input/b OFF, press/b single")
		press(5, 0, 100*time.Millisecond)
		press(5, 0, 100*time.Millisecond)
		s.pass(time.Second)
		s.wantTold("input/b ON, input/b OFF, input/b ON, press/b double, input/b OFF")
		press(5, 0, 1500*time.Millisecond)
		s.pass(time.Second)
		s.wantTold("input/b ON, press/b long, input/b OFF")
		press(5, 0, 10*time.Millisecond) // a bounce
		s.pass(time.Second)
		s.wantTold("")
		press(7, 1, 3*time.Second)
		s.wantTold("press/long long")
		press(8, 1, 100*time.Millisecond) // pulled down it is active high
		s.wantTold("input/own ON, input/own OFF, press/own single")
	})
}

// Edges are told on a topic of one's choice as well.
func TestGPIOOnChangeTopic(t *testing.T) {
	gpioBubble(t, "", func(s *gpioStage) {
		s.setup("inputs: {x: {pin: 5, on_change: /house/door}, y: {pin: 6, on_change: house/bell, edge: falling}, z: {pin: 7, on_change: yes}}")
		for _, edge := range [][2]int{{5, 1}, {6, 1}, {6, 0}, {7, 1}, {5, 0}} {
			s.chip().Drive(edge[0], edge[1])
			s.pass(time.Millisecond)
		}
		s.wantTold("input/x ON, input/y OFF, input/z ON, input/x OFF")
		if got, want := strings.Join(s.link.published, ", "), "/house/door ON, house/bell OFF, /house/door OFF"; got != want {
			t.Errorf("published %s, want %s", got, want)
		}
		err := s.agent.Setup(s.t.Context(), []byte("inputs:\n  x: {pin: 5, on_change: /pi/gpio/set/output/x}"))
		if err == nil || !strings.HasPrefix(err.Error(), "setup:2: inputs.x.on_change: topic ") {
			t.Errorf("a topic of ours: %v", err)
		}
	})
}

// An edge that was lost is counted, and the input read again.
func TestGPIOLostEdges(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open("chip: pinctrl-bcm2835\ninputs: {x: {pin: 5, count: true}, y: {pin: 6}}")
	made := gpioEdgesMost + 4000
	gpioEngine(t, a, func() { // the engine is busy meanwhile
		for i := range made {
			b.chip().Drive(5, (i+1)%2)
			if i%100 == 0 {
				b.chip().Wait() // the chip itself loses none
			}
		}
		b.chip().Drive(6, 1)
		b.chip().Wait()
	})
	gpioEngine(t, a, func() {}) // takes them in
	lost := 0
	gpioEngine(t, a, func() { lost = int(a.lost) })
	if want := 4000 - 1; lost != want { // the newest of those without room is not lost
		t.Errorf("%d lost, want %d", lost, want)
	}
	for path, want := range map[string]string{"lost": fmt.Sprint(4000 - 1), "input/x": "OFF", "input/y": "ON", "count/x": fmt.Sprint(gpioEdgesMost / 2)} {
		if got := gpioLevel(t, a, path); got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
	last := map[string]string{}
	for len(last) < 5 || last["input/y"] == "" || last["lost"] == "" {
		next := gpioNext(t, a)
		path, value, ok := strings.Cut(next, " ")
		if !ok {
			t.Fatalf("%s; %v", next, last)
		}
		last[path] = value
	}
}

// 1,000 edges a second on each of 8 inputs are all counted, while outputs are switched.
func TestGPIOCountsAll(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	doc := "chip: pinctrl-bcm2835\noutputs: {o: {pin: 20}}\ninputs:\n"
	for i := range 8 {
		doc += fmt.Sprintf("  c%d: {pin: %d, count: true}\n", i, i)
	}
	a := b.open(doc)
	var readers, drivers sync.WaitGroup
	readers.Go(func() {
		for range a.Events() {
		}
	})
	const edges = 4000
	for i := range 8 {
		drivers.Go(func() {
			for e := range edges {
				b.chip().Drive(i, (e+1)%2)
				if e%64 == 0 {
					b.chip().Wait() // the kernel's buffer is no matter here
				}
			}
		})
	}
	for i := range 100 {
		gpioSet(t, a, "output/o", i%2 == 0)
	}
	drivers.Wait()
	b.chip().Wait()
	for i := range 8 {
		if got := gpioLevel(t, a, fmt.Sprintf("count/c%d", i)); got != fmt.Sprint(edges/2) {
			t.Errorf("c%d counted %s, want %d; lost %s", i, got, edges/2, gpioLevel(t, a, "lost"))
		}
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	readers.Wait()
}

// A chip that is unplugged ends the events, with the reason.
func TestGPIOUnplugged(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{"inputs: {x: {pin: 5}}", "outputs: {x: {pin: 5}}"} {
		b := newGPIOBench(t)
		a := b.open("chip: pinctrl-bcm2835\n" + doc)
		b.chip().Unplug()
		_, _ = a.Apply(t.Context(), reports.Command{Verb: "set", Path: "output/x", Value: true}) // an output alone is noticed when it is used
		for got := gpioNext(t, a); got != "closed"; got = gpioNext(t, a) {
			if got == "nothing" {
				t.Fatalf("%s: the events go on", doc)
			}
		}
		if err := a.Err(); err == nil || !strings.Contains(err.Error(), "pinctrl-bcm2835") || !strings.Contains(err.Error(), gpio.ErrGone.Error()) {
			t.Errorf("%s: Err() = %v", doc, err)
		}
		if got := gpioLevel(t, a, "input/x"); !strings.HasPrefix(got, "error: ") {
			t.Errorf("%s: sample %s", doc, got)
		}
		if err := a.Close(); err != nil {
			t.Errorf("%s: Close: %v", doc, err)
		}
	}
}

// A panic of the engine ends the events, with the reason, and the outputs can still be left safe.
func TestGPIOEnginePanics(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open("chip: pinctrl-bcm2835\noutputs: {x: {pin: 5, initial: on}}")
	a.mu.Lock()
	bank := a.bank
	a.bank = nil
	a.mu.Unlock()
	a.inbox.ring()
	for got := gpioNext(t, a); got != "closed"; got = gpioNext(t, a) {
		if got == "nothing" {
			t.Fatal("the events go on")
		}
	}
	if err := a.Err(); err == nil || !strings.Contains(err.Error(), "panic") {
		t.Errorf("Err() = %v", err)
	}
	a.mu.Lock()
	a.bank = bank
	a.mu.Unlock()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if b.chip().Level(5) != 0 {
		t.Error("the output was left on")
	}
}

// Presets set classes and defaults.
func TestGPIOPresets(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open(`
chip: pinctrl-bcm2835
outputs:
  r: {pin: 2, as: relay, label: Boiler}
  l: {pin: 3, as: led}
  v: {pin: 4, as: valve}
inputs:
  b: {pin: 5, as: button}
  p: {pin: 6, as: pir}
  d: {pin: 7, as: door}
  k: {pin: 8, as: leak}
  m: {pin: 9, as: meter}
`)
	for path, want := range map[string]string{
		"output/r": "Boiler|switch|Line 2 (GPIO2, pin3) of pinctrl-bcm2835", "output/l": "l|light|Line 3 (GPIO3, pin5) of pinctrl-bcm2835",
		"output/v": "v|valve|Line 4 (GPIO4, pin7) of pinctrl-bcm2835",
		"input/b":  "b||Line 5 (GPIO5, pin29) of pinctrl-bcm2835, active low, pull up", "input/p": "p|motion|Line 6 (GPIO6, pin31) of pinctrl-bcm2835, pull down",
		"input/d": "d|door|Line 7 (GPIO7, pin26) of pinctrl-bcm2835, pull up", "input/k": "k|moisture|Line 8 (GPIO8, pin24) of pinctrl-bcm2835, active low, pull up",
		"input/m": "m||Line 9 (GPIO9, pin21) of pinctrl-bcm2835, active low, pull up",
	} {
		p, ok := a.Describe().Point(path)
		if got := p.Label + "|" + p.Class + "|" + p.Help; !ok || got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	for path, want := range map[string]string{"input/b": "OFF", "input/p": "OFF", "input/d": "ON" /* open */, "input/k": "OFF", "input/m": "OFF"} {
		if got := gpioLevel(t, a, path); got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
	info, err := b.chip().Info()
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[int]time.Duration{5: 20 * time.Millisecond, 6: 0, 7: 50 * time.Millisecond, 8: 100 * time.Millisecond, 9: 5 * time.Millisecond} {
		if got := info.Lines[line].Debounce; got != want {
			t.Errorf("line %d is debounced for %v, want %v", line, got, want)
		}
	}
}
