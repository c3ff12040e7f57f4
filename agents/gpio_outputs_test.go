package agents

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/gpio"
	"rollcall/reports"
)

// What outputs do when the broker is gone, and when it is back.
func TestGPIOFailsafe(t *testing.T) {
	gpioBubble(t, `outputs:
  off:   {pin: 2, failsafe: {after: 60s}}
  on:    {pin: 3, failsafe: {after: 30s, value: on}}
  hold:  {pin: 4, failsafe: {after: 10s, value: hold}}
  none:  {pin: 5}
`, func(s *gpioStage) {
		for _, name := range []string{"off", "hold", "none"} {
			s.do("output/"+name, true)
		}
		s.pass(time.Hour)
		s.wantLevels(2, 1, 3, 0, 4, 1, 5, 1)
		s.wantValue("failsafe", "OFF")
		s.link.set(false)
		s.pass(9 * time.Second)
		s.link.set(true) // in time
		s.pass(time.Hour)
		s.wantTold("")
		s.link.set(false)
		s.pass(10 * time.Second)
		s.wantTold("failsafe ON")
		s.pass(20 * time.Second)
		s.wantTold("output/on ON")
		s.pass(30 * time.Second)
		s.wantTold("output/off OFF")
		s.wantLevels(2, 0, 3, 1, 4, 1, 5, 1)
		s.link.set(true) // nothing moves by itself
		s.pass(time.Hour)
		s.wantLevels(2, 0, 3, 1, 4, 1, 5, 1)
		s.wantValue("failsafe", "ON")
		s.do("output/off", true)
		s.do("output/on", false)
		s.told()
		s.wantValue("failsafe", "OFF")
		if log := s.log.String(); !strings.Contains(log, "why=failsafe") {
			t.Errorf("log %s", log)
		}
	})
}

// A failsafe watches the status of the client that controls the output, and may demand that commands are renewed.
func TestGPIOFailsafeWatchAndRenew(t *testing.T) {
	gpioBubble(t, "outputs: {w: {pin: 2, failsafe: {after: 5s, watch: house/status}}, r: {pin: 3, failsafe: {after: 5s, renew: true}}}", func(s *gpioStage) {
		s.link.say("house/status", "online")
		s.do("output/w", true)
		s.do("output/r", true)
		s.pass(4 * time.Second)
		s.do("output/r", true) // renewed
		s.pass(4 * time.Second)
		s.wantLevels(2, 1, 3, 1)
		s.pass(time.Second)
		s.wantLevels(2, 1, 3, 0)
		s.wantTold("output/r OFF, failsafe ON")
		for _, word := range []string{"offline", "", " Offline\n"} {
			s.do("output/w", true)
			s.link.say("house/status", "online")
			s.pass(time.Minute)
			s.wantLevels(2, 1)
			s.link.say("house/status", word)
			s.pass(5 * time.Second)
			s.wantLevels(2, 0)
		}
		s.setup("outputs: {w: {pin: 2}}")
		if len(s.link.subs) != 0 || s.link.watch != nil {
			t.Error("what no failsafe needs is still watched")
		}
		s.setup("outputs: {w: {pin: 2, failsafe: {after: 5s, watch: house/status}}}")
		if err := s.agent.Close(); err != nil || len(s.link.subs) != 0 || s.link.watch != nil {
			t.Errorf("Close: %v, or the watches are still there", err)
		}
	})
}

func TestGPIOPWM(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &gpioStage{gpioBench: newGPIOBench(t), start: time.Now(), link: &gpioFakeLink{up: true, subs: map[string]func([]byte){}}}
		s.with = Deps{Link: s.link, Root: gpioPWMChip(t, 2)}
		s.begin("pwm: {a: {pin: 18, driver: pwmchip0/0, initial: 20, period: 500us, polarity: inverted, fade: 10s, min: 10, max: 90, failsafe: {after: 5s, value: on, watch: house/status}}}\n" +
			"servos: {v: {pin: 19, driver: pwmchip0/1, max_angle: 90, min_angle: -90, min_pulse: 500us, max_pulse: 2500us, period: 25ms}}")
		s.link.say("house/status", "online")
		want := func(channel, period, duty, polarity string) {
			t.Helper()
			if got := s.pwm(channel); got != period+" "+duty+" "+polarity+" 1" {
				t.Errorf("after %v: %s: %s, want %s %s %s 1", time.Since(s.start), channel, got, period, duty, polarity)
			}
		}
		want("pwm0", "500000", "130000", "inversed") // 10 + 20 × 0.8 percent of 500 µs
		want("pwm1", "25000000", "0", "normal")      // no pulses yet
		s.wantValue("pwm/a", "20")
		s.wantDo("70", "pwm/a", 70.0) // half the way takes half of 10 s
		s.wantValue("pwm/a", "70")
		s.pass(2500 * time.Millisecond)
		want("pwm0", "500000", "230000", "inversed") // at 45
		s.pass(2500 * time.Millisecond)
		want("pwm0", "500000", "330000", "inversed")
		s.wantDo("0", "pwm/a", 0.0, "fade", "1s")
		s.pass(500 * time.Millisecond)
		s.wantDo("100", "pwm/a", 100.0, "fade", json.Number("2")) // from 35
		s.pass(time.Second)
		want("pwm0", "500000", "320000", "inversed") // at 67.5
		s.pass(time.Second)
		want("pwm0", "500000", "450000", "inversed")
		s.wantDo("0", "pwm/a", 0.0, "fade", "1ms")
		s.pass(time.Second)
		want("pwm0", "500000", "0", "inversed")
		s.wantTold("")

		s.link.say("house/status", "offline")
		s.pass(5 * time.Second)
		s.wantTold("pwm/a 100, failsafe ON")
		want("pwm0", "500000", "450000", "inversed")
		s.wantDo("50", "pwm/a", 50.0, "fade", "1ms")
		s.wantTold("failsafe OFF")

		s.wantDo("-90", "servo/v", -90.0)
		want("pwm1", "25000000", "500000", "normal")
		s.wantDo("0", "servo/v", 0.0)
		want("pwm1", "25000000", "1500000", "normal")
		s.pass(time.Second)
		s.setup("pwm: {a: {pin: 18, driver: pwmchip0/0, period: 500us, polarity: inverted}}") // another shape: in place
		want("pwm0", "500000", "250000", "inversed")
		s.wantValue("pwm/a", "50")
		if err := s.agent.Close(); err != nil {
			t.Error(err)
		}
		for _, file := range []string{"pwm0/duty_cycle", "pwm1/duty_cycle"} {
			if got := s.pwmFile(file); got != "0" {
				t.Errorf("%s after Close: %s, want 0", file, got)
			}
		}
	})
}

// A line without a channel of the hardware is modulated by software.
func TestGPIOPWMBySoftware(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	a := b.open("chip: pinctrl-bcm2835\npwm: {x: {pin: 5, period: 2ms, initial: 50}, y: {pin: 6, polarity: inverted, driver: software}, z: {pin: 7, safe: 100}}\nservos: {v: {pin: 8, initial: 90}}")
	b.chip().Drive(7, 0)
	if b.chip().Level(6) != 1 {
		t.Error("an inverted output that is off is not high")
	}
	edges := make(chan int, 100)
	stop := b.chip().Watch(5, func(c changeOf) {
		select {
		case edges <- c.Level:
		default:
		}
	})
	defer stop()
	for want := range 20 {
		select {
		case <-edges:
		case <-time.After(time.Minute):
			t.Fatalf("no more than %d edges", want)
		}
	}
	p, _ := a.Describe().Point("pwm/x")
	if !strings.Contains(p.Help, "by software every 2ms") || p.Unit != "%" || *p.Max != 100 || strings.Join(p.Args, " ") != "fade" {
		t.Errorf("pwm/x: %+v", p)
	}
	if p, _ = a.Describe().Point("servo/v"); p.Unit != "°" || *p.Min != 0 || *p.Max != 180 {
		t.Errorf("servo/v: %+v", p)
	}
	if got := gpioLevel(t, a, "servo/v"); got != "90" {
		t.Errorf("servo/v = %s, want 90", got)
	}
	for _, bad := range []string{"output/x", "output/y"} {
		if _, err := a.Apply(t.Context(), reports.Command{Verb: "control", Value: []byte(`{"verb":"toggle","path":"` + bad + `"}`)}); err == nil {
			t.Errorf("toggle %s", bad)
		}
	}
	if _, err := a.Apply(t.Context(), reports.Command{Verb: "control", Value: []byte(`{"verb":"toggle","path":"pwm/x"}`)}); err == nil || err.Error() != "pwm/x is modulated, not switched" {
		t.Errorf("toggle pwm/x: %v", err)
	}
	high := make(chan int, 10)
	stopZ := b.chip().Watch(7, func(c changeOf) { high <- c.Level })
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	b.chip().Wait()
	stopZ()
	if got := <-high; got != 1 { // its safe value, before it is let go to the 0 outside
		t.Errorf("output with safe: 100 is left as %d", got)
	}
	if b.chip().Level(5) != 0 || b.held() != "" {
		t.Errorf("level %d, held %s after Close", b.chip().Level(5), b.held())
	}
}

// gpioPWMChip makes the files of a PWM chip, channels already exported.
func gpioPWMChip(t *testing.T, channels int) (root string) {
	root = t.TempDir()
	chip := filepath.Join(root, "sys/class/pwm/pwmchip0")
	write := func(name, text string) {
		file := filepath.Join(chip, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("npwm", string(rune('0'+channels)))
	write("export", "")
	write("unexport", "")
	for i := range channels {
		for name, text := range map[string]string{"period": "0", "duty_cycle": "0", "polarity": "normal", "enable": "0"} {
			write("pwm"+string(rune('0'+i))+"/"+name, text)
		}
	}
	return root
}

func (s *gpioStage) pwmFile(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.with.Root, "sys/class/pwm/pwmchip0", name))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// pwm returns what stands in the files of a channel.
func (s *gpioStage) pwm(channel string) string {
	s.t.Helper()
	return s.pwmFile(channel+"/period") + " " + s.pwmFile(channel+"/duty_cycle") + " " + s.pwmFile(channel+"/polarity") + " " + s.pwmFile(channel+"/enable")
}

// An output whose wiring changes but not its direction keeps its state, its timers, and its level without a glitch.
func TestGPIOReconfigured(t *testing.T) {
	gpioBubble(t, "outputs: {x: {pin: 2}, y: {pin: 3, initial: on}}", func(s *gpioStage) {
		s.wantDo("ON", "output/x", true, "for", "10s")
		changes := len(s.chip().History(2)) + len(s.chip().History(3))
		s.pass(5 * time.Second)
		s.setup("outputs: {x: {pin: 2, pull: up, drive: open-source, label: X}, y: {pin: 3, initial: off, drive: open-source}}")
		s.setup("outputs: {x: {pin: 2, max_on: 1h}, z: {pin: 3}}")
		if got := len(s.chip().History(2)) + len(s.chip().History(3)); got != changes {
			t.Errorf("%d changes, want none", got-changes)
		}
		s.wantValue("output/z", "ON")
		s.pass(4999 * time.Millisecond)
		s.wantLevels(2, 1)
		s.pass(time.Millisecond)
		s.wantLevels(2, 0)
		s.setup("outputs: {x: {pin: 2, pull: up}}\ninputs: {z: {pin: 3}}") // with its direction, a line begins anew
		s.wantValue("input/z", "OFF")
		info, err := s.chip().Info()
		if err != nil || info.Lines[2].Bias != gpio.PullUp || info.Lines[3].Output {
			t.Errorf("lines %+v, %v", info.Lines[2:4], err)
		}
	})
}

// A kernel without reconfiguration has the line let go for a moment; all else is as it should be.
func TestGPIOOldKernel(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	b.chip().Lack(gpio.FeatureReconfigure)
	b.chip().Drive(9, 1)
	a := b.open("chip: pinctrl-bcm2835\noutputs: {k: {pin: 9, initial: keep}, x: {pin: 2, initial: on}}")
	if b.chip().Level(9) != 1 || gpioLevel(t, a, "output/k") != "ON" {
		t.Error("the level was not kept")
	}
	if err := a.Setup(t.Context(), []byte("outputs: {k: {pin: 9, initial: keep, pull: up}, x: {pin: 2, pull: up}}")); err != nil || gpioLevel(t, a, "output/x") != "ON" {
		t.Errorf("%v, x = %s", err, gpioLevel(t, a, "output/x"))
	}
}

// The chip is shown whole, used and free.
func TestGPIOChipPoint(t *testing.T) {
	t.Parallel()
	b := newGPIOBench(t)
	b.chip().Hog(4, "w1")
	a := b.open("chip: pinctrl-bcm2835\noutputs: {x: {pin: 25}}\ninputs: {y: {pin: 22}}")
	r, err := a.Sample(t.Context(), "chip")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(r.Value)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{"name":"pinctrl-bcm2835","label":"pinctrl-bcm2835","lines":[`, `{"offset":2,"name":"GPIO2","pin":3,"direction":"in","used":false}`,
		`{"offset":25,"name":"GPIO25","pin":22,"direction":"out","consumer":"rollcall-gpio","used":true,"ours":true,"path":"output/x"}`,
		`{"offset":22,"name":"GPIO22","pin":15,"direction":"in","consumer":"rollcall-gpio","used":true,"ours":true,"path":"input/y"}`,
		`{"offset":4,"name":"GPIO4","pin":7,"direction":"in","consumer":"w1","used":true}`, `{"offset":53,"name":"GPIO53","direction":"in","used":false}]}`} {
		if !strings.Contains(string(doc), want) {
			t.Errorf("chip %s\nhas no %s", doc, want)
		}
	}
}
