package agents

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"rollcall/gpio/output"
	"rollcall/reports"
)

// The time of an output that has a max_on, or whose commands must be renewed, goes on while nobody runs the service: a process that
// is killed and started again must not give it another max_on each time. So what is saved of the outputs says how long these were on.

// gpioClock is a moment by the clocks that go on without us.
type gpioClock struct {
	Boot string `yaml:"boot" json:"boot,omitempty"` // which start of the kernel; "": not known
	Up   int64  `yaml:"up_ms" json:"up_ms"`         // how long it runs, suspended or not
	Wall int64  `yaml:"wall_ms" json:"wall_ms"`     // of the day, since 1970; it can be set
}

// gpioClockNow reads the clocks: proc(5) has the time since the boot in seconds, with two decimals.
func gpioClockNow(root string) gpioClock {
	c := gpioClock{Wall: time.Now().UnixMilli()}
	boot, err := os.ReadFile(filepath.Join(root, "/proc/sys/kernel/random/boot_id"))
	if err != nil {
		return c
	}
	uptime, err := os.ReadFile(filepath.Join(root, "/proc/uptime"))
	if err != nil {
		return c
	}
	word, _, _ := strings.Cut(string(uptime), " ")
	if seconds, err := strconv.ParseFloat(word, 64); err == nil {
		c.Boot, c.Up = strings.TrimSpace(string(boot)), int64(seconds*1000)
	}
	return c
}

// since returns how long ago a moment was, and whether the kernel was started meanwhile, or may have been. Time that did not pass
// by any clock is not known: ok is false.
func (c gpioClock) since(before gpioClock) (ago time.Duration, booted, ok bool) {
	ms := c.Wall - before.Wall
	booted = c.Boot == "" || c.Boot != before.Boot
	if !booted {
		ms = c.Up - before.Up
	}
	const most = int64(gpioMostTime / time.Millisecond)
	return time.Duration(min(max(ms, 0), most)) * time.Millisecond, booted, ms >= 0
}

// gpioAge is how long an output was on when it was saved, and how long ago it was commanded.
type gpioAge struct {
	For       reports.Duration `yaml:"for" json:"for"`
	Commanded reports.Duration `yaml:"commanded" json:"commanded"`
}

// gpioBegan is an output of the run before: since when it was on, and when it was commanded.
type gpioBegan struct {
	since, commanded time.Time // both zero: nobody knows
	booted           bool
}

// aged reports whether it is an output that can begin on and whose time is limited.
func (l *gpioLine) aged() bool {
	return l.out != nil && l.out.Initial != gpioOff && (l.out.MaxOn > 0 || l.out.Failsafe != nil && l.out.Failsafe.Renew)
}

// over reports whether an output would have gone off if the run before had gone on; if nobody knows, it would have.
func (o *gpioOutput) over(was gpioBegan, now time.Time) bool {
	f := o.Failsafe
	return was.since.IsZero() || o.MaxOn > 0 && now.Sub(was.since) >= time.Duration(o.MaxOn) ||
		f != nil && f.Renew && f.Value != gpioStay && f.Value != gpioWordOn && now.Sub(was.commanded) >= time.Duration(f.After)
}

// ages returns how long the outputs of these lines are on whose time is limited. Before a set-up is in force, they are those of
// the run before.
func (a *gpioAgent) ages(lines []*gpioLine, bank *output.Bank, now time.Time) map[string]gpioAge {
	ages := map[string]gpioAge{}
	add := func(name string, since, commanded time.Time) {
		if !since.IsZero() {
			ages[name] = gpioAge{reports.Duration(now.Sub(since)), reports.Duration(now.Sub(commanded))}
		}
	}
	if bank == nil {
		for name, was := range a.kept.began {
			add(name, was.since, was.commanded)
		}
		return ages
	}
	for _, l := range lines {
		if l.aged() && (l.restored() || !a.closed || l.out.Safe == gpioSafeKeep) { // what a stop has left off begins anew
			since, commanded := bank.Began(l.name)
			if l.later {
				since, commanded = l.began.since, l.began.commanded
			}
			add(l.name, since, commanded)
		}
	}
	return ages
}

// gpioBegin returns since when the outputs of the run before are on, by what was saved of it.
func gpioBegin(ages map[string]gpioAge, saved *gpioClock, clock gpioClock) map[string]gpioBegan {
	began := map[string]gpioBegan{}
	for name, age := range ages {
		was := gpioBegan{booted: true}
		if saved != nil {
			ago, booted, known := clock.since(*saved)
			if was.booted = booted; known {
				now := time.Now().Add(-ago)
				was.since, was.commanded = now.Add(-time.Duration(age.For)), now.Add(-time.Duration(age.Commanded))
			}
		}
		began[name] = was
	}
	return began
}

// runs takes note of whether an output with a time is on that is not to be restored: the next run is to know of it before anybody
// relies on its time.
func (k *gpioKept) runs(name string, on bool) {
	if k.running[name] == on {
		return
	}
	if k.running == nil {
		k.running = map[string]bool{}
	}
	k.running[name], k.dirty = on, true
	if on && k.urgent.IsZero() {
		k.urgent = time.Now()
	}
}
