package output_test

import (
	"testing"
	"time"

	"rollcall/gpio/output"
)

// shutter returns two outputs that are interlocked with a dead time.
func shutter(dead time.Duration) ([]output.Spec, []output.Group) {
	return []output.Spec{spec("up", output.Rules{}), spec("down", output.Rules{})},
		[]output.Group{{Names: []string{"up", "down"}, Dead: dead}}
}

func TestInterlock(t *testing.T) {
	t.Parallel()
	two, dead := shutter(500 * ms)
	_, none := shutter(0)
	three := []output.Spec{spec("a", output.Rules{}), spec("b", output.Rules{}), spec("c", output.Rules{})}
	ring := []output.Group{{Names: []string{"a", "b"}, Dead: 100 * ms}, {Names: []string{"b", "c"}, Dead: 300 * ms}, {Names: []string{"a", "b"}, Dead: 200 * ms}}
	all3 := []output.Group{{Names: []string{"a", "b", "c"}, Dead: sec}}
	limited := []output.Spec{spec("up", output.Rules{MaxOn: 10 * sec}), spec("down", output.Rules{MaxOn: 10 * sec})}
	runAll(t, []scenario{
		{name: "no dead time, offs first", specs: two, groups: none, steps: []step{on(0, "down"), on(sec, "up"), on(2*sec, "down")}, until: time.Hour,
			want: "0s +down command, 1s -down interlock, 1s +up command, 2s -up interlock, 2s +down command",
			of:   "up", state: output.State{Why: "interlock"}},
		{name: "the start counts as an off", specs: two, groups: dead, steps: []step{on(0, "up")}, until: time.Hour, want: "500ms +up command"},
		{name: "starts on", specs: []output.Spec{{Name: "up", On: true}, {Name: "down"}}, groups: dead,
			steps: []step{on(sec, "down")}, until: time.Hour, want: "1s -up interlock, 1.5s +down command"},
		{name: "dead time", specs: two, groups: dead, steps: []step{on(sec, "up"), on(2*sec, "down")}, until: time.Hour,
			want: "1s +up command, 2s -up interlock, 2.5s +down command", of: "down", state: output.State{On: true, Why: "command"}},
		{name: "dead time counts from the off", specs: two, groups: dead, until: time.Hour,
			steps: []step{on(sec, "up"), off(2*sec, "up"), on(2200*ms, "down"), off(5*sec, "down"), on(6*sec, "up")},
			want:  "1s +up command, 2s -up command, 2.5s +down command, 5s -down command, 6s +up command"},
		{name: "pending", specs: two, groups: dead, steps: []step{on(sec, "up"), on(2*sec, "down")}, until: 2400 * ms,
			want: "1s +up command, 2s -up interlock", of: "down", state: output.State{Pending: true, Until: after(2500 * ms), Why: "command"}},
		{name: "pending is dropped by its own off", specs: two, groups: dead, until: time.Hour,
			steps: []step{on(sec, "up"), on(2*sec, "down"), off(2100*ms, "down")}, want: "1s +up command, 2s -up interlock",
			of: "down", state: output.State{Why: "command"}},
		{name: "pending is dropped by the other's on", specs: two, groups: dead, until: time.Hour,
			steps: []step{on(sec, "up"), on(2*sec, "down"), on(2100*ms, "up")},
			want:  "1s +up command, 2s -up interlock, 2.1s +up command", of: "down", state: output.State{Why: "interlock"}},
		{name: "pending is not dropped by the other's off", specs: two, groups: dead, until: time.Hour,
			steps: []step{on(sec, "up"), on(2*sec, "down"), off(2100*ms, "up")},
			want:  "1s +up command, 2s -up interlock, 2.5s +down command"},
		{name: "pending is not put off by an on again", specs: two, groups: dead, until: time.Hour,
			steps: []step{on(sec, "up"), on(2*sec, "down"), on(2100*ms, "down"), on(2400*ms, "down")},
			want:  "1s +up command, 2s -up interlock, 2.5s +down command"},
		{name: "a time counts from when it is on", specs: two, groups: dead, until: time.Hour,
			steps: []step{on(sec, "up"), set(2*sec, "down", true, 3*sec)},
			want:  "1s +up command, 2s -up interlock, 2.5s +down command, 5.5s -down pulse"},
		{name: "max_on counts from when it is on", specs: limited, groups: dead, until: time.Hour,
			steps: []step{on(sec, "up"), on(2*sec, "down")},
			want:  "1s +up command, 2s -up interlock, 2.5s +down command, 12.5s -down max_on",
			of:    "down", state: output.State{MaxedOut: true, Why: "max_on"}},
		{name: "the other's timer ends", specs: two, groups: dead, until: time.Hour,
			steps: []step{set(sec, "up", true, 10*sec), on(2*sec, "down")},
			want:  "1s +up command, 2s -up interlock, 2.5s +down command"},
		{name: "the other's timer that would switch on ends", specs: two, groups: dead, until: time.Hour,
			steps: []step{set(sec, "up", false, 10*sec), on(2*sec, "down")}, want: "2s +down command",
			of: "up", state: output.State{Why: "interlock"}},
		{name: "a timer that switches on is an on", specs: two, groups: dead, until: time.Hour,
			steps: []step{on(sec, "up"), set(2*sec, "down", false, 3*sec)},
			want:  "1s +up command, 5s -up interlock, 5.5s +down pulse"},
		{name: "blinking ends while lit", specs: two, groups: dead, until: time.Hour,
			steps: []step{blink(sec, "up", "alert"), on(1200*ms, "down")},
			want:  "1s +up blink, 1.2s -up interlock, 1.7s +down command", of: "up", state: output.State{Why: "interlock"}},
		{name: "blinking ends in its pause, dead time from the last off", specs: two, groups: dead, until: time.Hour,
			steps: []step{blink(sec, "up", "heartbeat"), on(1700*ms, "down"), on(10*sec, "up")},
			want:  "1s +up blink, 1.5s -up blink, 2s +down command, 10s -down interlock, 10.5s +up command"},
		{name: "blinking long in its pause", specs: two, groups: dead, until: time.Hour,
			steps: []step{blink(sec, "up", "heartbeat"), on(100*sec, "down")},
			want:  "1s +up blink, 1.5s -up blink, 1m40s +down command", of: "up", state: output.State{Why: "interlock"}},
		{name: "blinking waits, then begins lit", specs: two, groups: dead, until: 3200 * ms,
			steps: []step{on(sec, "up"), blink(2*sec, "down", "alert")},
			want:  "1s +up command, 2s -up interlock, 2.5s +down blink, 3.1s -down blink"},
		{name: "blinking waits", specs: two, groups: dead, until: 2200 * ms,
			steps: []step{on(sec, "up"), blink(2*sec, "down", "alert")}, want: "1s +up command, 2s -up interlock",
			of: "down", state: output.State{Pending: true, Until: after(2500 * ms), Pattern: "alert", Why: "command"}},
		{name: "three in turn", specs: three, groups: all3, until: time.Hour,
			steps: []step{on(2*sec, "a"), on(3*sec, "b"), on(3500*ms, "c")},
			want:  "2s +a command, 3s -a interlock, 4s +c command", of: "b", state: output.State{Why: "interlock"}},
		{name: "two groups, the longer dead time", specs: three, groups: ring, until: time.Hour,
			steps: []step{on(2*sec, "a"), on(3*sec, "c"), on(4*sec, "b"), on(5*sec, "a"), on(6*sec, "b"), on(7*sec, "c")},
			want: "2s +a command, 3s +c command, 4s -a interlock, 4s -c interlock, 4.3s +b command, 5s -b interlock, " +
				"5.2s +a command, 6s -a interlock, 6.2s +b command, 7s -b interlock, 7.3s +c command"},
	})
}

func TestFailsafe(t *testing.T) {
	t.Parallel()
	with := func(f output.Failsafe, r output.Rules) []output.Spec {
		r.Failsafe = &f
		return []output.Spec{spec("a", r)}
	}
	hold := with(output.Failsafe{After: 10 * sec}, output.Rules{})
	safe := with(output.Failsafe{After: 10 * sec, Action: output.FailsafeOff}, output.Rules{})
	vent := with(output.Failsafe{After: 10 * sec, Action: output.FailsafeOn}, output.Rules{})
	renew := with(output.Failsafe{After: 10 * sec, Action: output.FailsafeOff, Renew: true}, output.Rules{})
	runAll(t, []scenario{
		{name: "none", specs: []output.Spec{spec("a", output.Rules{})}, steps: []step{on(0, "a"), link(sec, "a", false)}, until: time.Hour,
			want: "0s +a command", of: "a", state: output.State{On: true, Why: "command"}},
		{name: "off", specs: safe, steps: []step{on(0, "a"), link(sec, "a", false)}, until: time.Hour,
			want: "0s +a command, 11s -a failsafe", of: "a", state: output.State{Failsafe: true, Why: "failsafe"}},
		{name: "off when off", specs: safe, steps: []step{link(sec, "a", false)}, until: time.Hour,
			want: "", of: "a", state: output.State{Failsafe: true, Why: "failsafe"}},
		{name: "on", specs: vent, steps: []step{link(sec, "a", false)}, until: time.Hour,
			want: "11s +a failsafe", of: "a", state: output.State{On: true, Failsafe: true, Why: "failsafe"}},
		{name: "on replaces a timer", specs: vent, steps: []step{link(0, "a", false), set(5*sec, "a", true, 20*sec)}, until: time.Hour,
			want: "5s +a command", of: "a", state: output.State{On: true, Failsafe: true, Why: "failsafe"}},
		{name: "hold", specs: hold, steps: []step{on(0, "a"), link(sec, "a", false)}, until: time.Hour,
			want: "0s +a command", of: "a", state: output.State{On: true, Failsafe: true, Why: "command"}},
		{name: "hold lets timers run", specs: hold, steps: []step{set(0, "a", true, 15*sec), link(sec, "a", false)}, until: time.Hour,
			want: "0s +a command, 15s -a pulse", of: "a", state: output.State{Failsafe: true, Why: "pulse"}},
		{name: "hold ends with the link's return", specs: hold, steps: []step{on(0, "a"), link(sec, "a", false), link(20*sec, "a", true)},
			until: time.Hour, want: "0s +a command", of: "a", state: output.State{On: true, Why: "command"}},
		{name: "hold again", specs: hold, until: time.Hour, want: "", of: "a", state: output.State{Failsafe: true},
			steps: []step{link(sec, "a", false), link(20*sec, "a", true), link(30*sec, "a", false)}},
		{name: "off stays until a command", specs: safe, steps: []step{on(0, "a"), link(sec, "a", false), link(20*sec, "a", true)},
			until: time.Hour, want: "0s +a command, 11s -a failsafe", of: "a", state: output.State{Failsafe: true, Why: "failsafe"}},
		{name: "a command ends it", specs: safe, until: time.Hour,
			steps: []step{on(0, "a"), link(sec, "a", false), link(20*sec, "a", true), on(21*sec, "a")},
			want:  "0s +a command, 11s -a failsafe, 21s +a command", of: "a", state: output.State{On: true, Why: "command"}},
		{name: "a command without the link counts anew", specs: safe, until: time.Hour,
			steps: []step{on(0, "a"), link(sec, "a", false), on(20*sec, "a")},
			want:  "0s +a command, 11s -a failsafe, 20s +a command, 30s -a failsafe"},
		{name: "the last command counts", specs: safe, steps: []step{link(sec, "a", false), on(6*sec, "a")}, until: time.Hour,
			want: "6s +a command, 16s -a failsafe"},
		{name: "flapping, never long enough", specs: safe, until: 30 * sec, want: "0s +a command",
			steps: []step{on(0, "a"), link(sec, "a", false), link(10999*ms, "a", true), link(11*sec, "a", false), link(20*sec, "a", true)},
			of:    "a", state: output.State{On: true, Why: "command"}},
		{name: "flapping, long enough in the end", specs: safe, until: time.Hour, want: "0s +a command, 23s -a failsafe",
			steps: []step{on(0, "a"), link(sec, "a", false), link(5*sec, "a", true), link(13*sec, "a", false), link(14*sec, "a", false),
				link(22*sec, "a", false)}},
		{name: "up while up", specs: safe, steps: []step{on(0, "a"), link(sec, "a", true), link(2*sec, "a", true)}, until: time.Hour,
			want: "0s +a command"},
		{name: "ends blinking", specs: safe, steps: []step{link(0, "a", false), blink(9500*ms, "a", "heartbeat")}, until: time.Hour,
			want: "9.5s +a blink, 10s -a blink", of: "a", state: output.State{Failsafe: true, Why: "failsafe"}},
		{name: "at once", specs: with(output.Failsafe{Action: output.FailsafeOff}, output.Rules{}), until: time.Hour,
			steps: []step{on(0, "a"), link(sec, "a", false)}, want: "0s +a command, 1s -a failsafe"},
		{name: "renew: not renewed", specs: renew, steps: []step{on(sec, "a")}, until: time.Hour,
			want: "1s +a command, 11s -a failsafe", of: "a", state: output.State{Failsafe: true, Why: "failsafe"}},
		{name: "renew: renewed", specs: renew, steps: []step{on(sec, "a"), on(10*sec, "a"), on(19*sec, "a"), off(25*sec, "a")}, until: 34 * sec,
			want: "1s +a command, 25s -a command", of: "a", state: output.State{Why: "command"}},
		{name: "renew: the start counts", specs: []output.Spec{{Name: "a", On: true, Rules: renew[0].Rules}}, until: time.Hour,
			want: "10s -a failsafe"},
		{name: "renew: the link is no command", specs: renew, until: time.Hour, want: "0s +a command, 10s -a failsafe",
			steps: []step{on(0, "a"), link(sec, "a", false), link(5*sec, "a", true)}, of: "a",
			state: output.State{Failsafe: true, Why: "failsafe"}},
		{name: "renew and hold", specs: with(output.Failsafe{After: sec, Renew: true}, output.Rules{}), until: time.Hour, want: "0s +a command",
			steps: []step{on(0, "a"), link(5*sec, "a", false), link(6*sec, "a", true)}, of: "a",
			state: output.State{On: true, Failsafe: true, Why: "command"}},
		{name: "on keeps max_on", specs: with(output.Failsafe{After: sec, Action: output.FailsafeOn}, output.Rules{MaxOn: sec}), until: time.Hour,
			steps: []step{link(0, "a", false)}, want: "1s +a failsafe, 2s -a max_on", of: "a",
			state: output.State{Failsafe: true, MaxedOut: true, Why: "max_on"}},
		{name: "on of a single is a pulse", until: time.Hour, steps: []step{link(0, "a", false)}, want: "1s +a failsafe, 3s -a pulse",
			specs: with(output.Failsafe{After: sec, Action: output.FailsafeOn}, output.Rules{Single: true, Pulse: 2 * sec})},
	})
}

func TestFailsafeInterlock(t *testing.T) {
	t.Parallel()
	specs := []output.Spec{
		spec("open", output.Rules{Failsafe: &output.Failsafe{After: 10 * sec, Action: output.FailsafeOn}}),
		spec("close", output.Rules{Failsafe: &output.Failsafe{After: 12 * sec, Action: output.FailsafeOff}}),
	}
	groups := []output.Group{{Names: []string{"open", "close"}, Dead: sec}}
	runAll(t, []scenario{
		{name: "on switches the other off", specs: specs, groups: groups, until: time.Hour,
			steps: []step{on(2*sec, "close"), link(3*sec, "open", false), link(3*sec, "close", false)},
			want:  "2s +close command, 13s -close interlock, 14s +open failsafe", of: "close",
			state: output.State{Failsafe: true, Why: "failsafe"}},
		{name: "a command to the other ends it, and it does not come back", specs: specs, groups: groups, until: 24 * sec,
			steps: []step{link(3*sec, "open", false), on(13*sec+500*ms, "close")},
			want:  "13s +open failsafe, 13.5s -open interlock, 14.5s +close command", of: "open",
			state: output.State{Failsafe: true, Why: "interlock"}},
	})
	impatient := []output.Spec{spec("open", output.Rules{}),
		spec("close", output.Rules{Failsafe: &output.Failsafe{After: 500 * ms, Action: output.FailsafeOff, Renew: true}})}
	runAll(t, []scenario{
		{name: "off drops what waits", specs: impatient, groups: groups, until: time.Hour,
			steps: []step{on(2*sec, "open"), on(3*sec, "close")}, want: "2s +open command, 3s -open interlock",
			of: "close", state: output.State{Failsafe: true, Why: "failsafe"}},
	})
}
