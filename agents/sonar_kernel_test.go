//go:build linux

package agents

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/gpio"
	"rollcall/reports"
)

// sonarBank is the bank of the lab's Raspberry Pi as the outside world has it, with what is wired to the two lines.
type sonarBank struct {
	t   *testing.T
	dir string
}

func newSonarBank(t *testing.T) sonarBank {
	t.Helper()
	found, _ := filepath.Glob("/sys/devices/platform/gpio-sim.*/gpiochip*/sim_gpio24") // the pattern is no bad one
	if os.Getenv("ROLLCALL_GUEST") != "1" {
		t.Skip("needs the lab's bank of gpio-sim; run by make lab")
	}
	if len(found) == 0 {
		t.Fatal("no gpio-sim in a guest of the lab")
	}
	b := sonarBank{t, filepath.Dir(found[0])}
	b.pull(0)
	return b
}

// pull drives Echo.
func (b sonarBank) pull(level int) {
	b.t.Helper()
	word := map[int]string{0: "pull-down", 1: "pull-up"}[level]
	if err := os.WriteFile(filepath.Join(b.dir, "sim_gpio24", "pull"), []byte(word), 0); err != nil {
		b.t.Error(err)
	}
}

// sonarTold is the kernel's chip, with a word to the test when Trig has been set. The pulse is too short for one who only looks.
type sonarTold struct {
	gpio.Chip
	set func(level int)
}

// Request returns the kernel's line.
func (c sonarTold) Request(offset int, o gpio.LineOptions) (gpio.Line, error) {
	l, err := c.Chip.Request(offset, o)
	if err != nil || !o.Output {
		return l, err
	}
	return sonarTrig{l, c.set}, nil
}

type sonarTrig struct {
	gpio.Line
	set func(level int)
}

// SetValue sets the kernel's line.
func (l sonarTrig) SetValue(level int) error {
	err := l.Line.SetValue(level)
	l.set(level)
	return err
}

// open opens the kernel's chip; when Trig was seen high from outside and has been set low, it says so.
func (b sonarBank) open(triggered chan<- struct{}) func(string) (gpio.Chip, error) {
	was := false
	return func(name string) (gpio.Chip, error) {
		chip, err := gpio.Open(name)
		return sonarTold{chip, func(level int) {
			value, err := os.ReadFile(filepath.Join(b.dir, "sim_gpio23", "value"))
			if err != nil || strings.TrimSpace(string(value)) != strconv.Itoa(level) {
				b.t.Errorf("Trig was set to %d and is %q, %v", level, value, err)
			}
			if was && level == 0 {
				triggered <- struct{}{}
			}
			was = level == 1
		}}, err
	}
}

// interrupts returns how many edges of Echo the kernel has timed.
func (b sonarBank) interrupts() int {
	b.t.Helper()
	table, err := os.ReadFile("/proc/interrupts")
	if err != nil {
		b.t.Error(err)
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 2 && f[len(f)-1] == "rollcall-sonar" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				b.t.Error(err)
			}
			return n
		}
	}
	return 0
}

// sonarSpan is between which times an edge was made: before it was asked for, and after the kernel had timed it.
type sonarSpan struct{ before, after time.Time }

// edge makes an edge of Echo.
func (b sonarBank) edge(level int) sonarSpan {
	n := b.interrupts()
	s := sonarSpan{before: time.Now()}
	b.pull(level)
	for deadline := s.before.Add(time.Minute); b.interrupts() == n && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	s.after = time.Now()
	return s
}

// sonarPlayed is an echo that a test has made.
type sonarPlayed struct{ up, down sonarSpan }

// bounds returns how long the echo was at least and at most.
func (p sonarPlayed) bounds() (least, most time.Duration) {
	return p.down.before.Sub(p.up.after), p.down.after.Sub(p.up.before)
}

// measure plays an echo and returns what the agent makes of it.
func (b sonarBank) measure(a *sonar, echo time.Duration, triggered <-chan struct{}) ([]reports.Reading, sonarPlayed, error) {
	stop, done := make(chan struct{}), make(chan sonarPlayed, 1)
	go func() { // until the sensor was triggered, or the test gives up
		var p sonarPlayed
		select {
		case <-stop:
		case <-triggered:
			p.up = b.edge(1)
			<-time.After(echo - time.Since(p.up.before))
			p.down = b.edge(0)
		}
		done <- p
	}()
	readings, err := a.SampleAll(b.t.Context(), []string{"distance", "echo"})
	close(stop)
	return readings, <-done, err
}

// TestKernelSonar plays the echo on a real kernel's lines. How long it was is known within what passes between asking for an edge
// and seeing that the kernel has timed it: the distance must lie within that. A guest that was stalled meanwhile plays it again.
func TestKernelSonar(t *testing.T) {
	const stalled, tries = 2 * time.Millisecond, 50
	b := newSonarBank(t)
	triggered := make(chan struct{}, 1)
	a := startSonar(t, "{chip: pinctrl-bcm2835, trigger: GPIO23, echo: GPIO24, samples: 1, temperature: 20}", Deps{OpenChip: b.open(triggered)})
	for _, echo := range []time.Duration{3 * time.Millisecond, 8 * time.Millisecond, 20 * time.Millisecond} {
		for try := 1; ; try++ {
			readings, p, err := b.measure(a, echo, triggered)
			least, most := p.bounds()
			if try < tries && (least < echo-stalled || most > echo+stalled) {
				continue
			}
			if err != nil || len(readings) != 2 || readings[0].Stale {
				t.Errorf("%v, played %v to %v: %+v, %v", echo, least, most, readings, err)
				break
			}
			got := readings[0].Value.(float64)
			t.Logf("try %d: echo of %v to %v: %v µs, %v m", try, least, most, readings[1].Value, got)
			if l, m := sonarDistance(least, 20), sonarDistance(most, 20); got < l-0.0001 || got > m+0.0001 {
				t.Errorf("distance %v m, want %.4f to %.4f", got, l, m)
			}
			break
		}
	}
}

// TestKernelSonarSilent has nobody play an echo, and one who holds it high.
func TestKernelSonarSilent(t *testing.T) {
	b := newSonarBank(t)
	a := startSonar(t, "{chip: pinctrl-bcm2835, trigger: GPIO23, echo: GPIO24, samples: 1}", Deps{})
	for level, want := range []string{"no sensor answers on GPIO24", "GPIO24 is high before"} {
		b.pull(level)
		if r, err := a.Sample(t.Context(), "distance"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("held at %d: %+v, %v, want %q", level, r, err, want)
		}
	}
	b.pull(0)
}

// TestKernelDHT22 reads by edges where no sensor is: the kernel does all that is asked of it, and the line is let go in the end.
func TestKernelDHT22(t *testing.T) {
	b := newSonarBank(t)
	if err := os.WriteFile(filepath.Join(b.dir, "sim_gpio4", "pull"), []byte("pull-up"), 0); err != nil {
		t.Fatal(err)
	}
	a, err := iioStart(t, dht22Factory(), "{driver: edges, chip: pinctrl-bcm2835, pin: GPIO4}", Deps{Service: "dht22"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.(Sampler).Sample(t.Context(), "temperature")
	if err == nil {
		t.Errorf("without a sensor: %+v, want an error", r)
	}
	t.Logf("without a sensor: %v", err)
	if value, err := os.ReadFile(filepath.Join(b.dir, "sim_gpio4", "value")); err != nil || strings.TrimSpace(string(value)) != "1" {
		t.Errorf("the line is %q, %v, want it let go", value, err)
	}
}
