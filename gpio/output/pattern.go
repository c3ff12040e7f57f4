package output

import "time"

// Pattern is how an output blinks: lit first, then paused, again and again. With no Pause it is steadily on, with no Lit off.
type Pattern struct {
	Name       string
	Lit, Pause time.Duration
}

// MinPhase is the shortest lit phase or pause of a pattern that is not steady.
const MinPhase = 10 * time.Millisecond

// Patterns returns the patterns that have a name, with Janitoo's times; but that on, lit for 0.5 s in 300 there, is steady here.
func Patterns() []Pattern {
	const ms = time.Millisecond
	return []Pattern{
		{"off", 0, 1000 * ms},
		{"on", 500 * ms, 0},
		{"blink", 600 * ms, 2500 * ms},
		{"heartbeat", 500 * ms, 300_000 * ms},
		{"info", 600 * ms, 60_000 * ms},
		{"notify", 600 * ms, 10_000 * ms},
		{"warning", 600 * ms, 5000 * ms},
		{"alert", 600 * ms, 1000 * ms},
	}
}

// FindPattern returns the pattern of this name. Janitoo's info1 and info2, which it accepts but does not list, are info.
func FindPattern(name string) (Pattern, bool) {
	if name == "info1" || name == "info2" {
		name = "info"
	}
	for _, p := range Patterns() {
		if p.Name == name {
			return p, true
		}
	}
	return Pattern{}, false
}

// lit tells whether the pattern is lit when it has run for so long.
func (p Pattern) lit(ran time.Duration) bool {
	return ran%(p.Lit+p.Pause) < p.Lit
}

// turn returns how long the pattern will have run when it next changes.
func (p Pattern) turn(ran time.Duration) time.Duration {
	period := p.Lit + p.Pause
	began := ran - ran%period
	if ran-began < p.Lit {
		return began + p.Lit
	}
	return began + period
}
