package output_test

import (
	"strings"
	"testing"
	"time"

	"rollcall/gpio/output"
)

// failed reports that a line is stuck.
func failed(at time.Duration, name string, on bool) step {
	return step{at, func(b *output.Bank, now time.Time) error { b.Failed(name, on, now); return nil }}
}

func TestFailed(t *testing.T) {
	t.Parallel()
	plain := []output.Spec{spec("a", output.Rules{})}
	two, dead := shutter(500 * ms)
	vent := []output.Spec{spec("a", output.Rules{Failsafe: &output.Failsafe{After: sec, Action: output.FailsafeOn}})}
	blip := []output.Spec{spec("a", output.Rules{Single: true, Pulse: 100 * ms, Failsafe: vent[0].Rules.Failsafe})}
	long := []output.Spec{spec("a", output.Rules{MaxOn: 10 * sec})}
	runAll(t, []scenario{
		{name: "on: it stays off", specs: plain, steps: []step{on(0, "a"), failed(0, "a", false)}, until: time.Hour,
			want: "0s +a command", of: "a", state: output.State{Why: "failed"}},
		{name: "on with a time: no timer", specs: plain, steps: []step{set(0, "a", true, sec), failed(0, "a", false)}, until: time.Hour,
			want: "0s +a command", of: "a", state: output.State{Why: "failed"}},
		{name: "on, but it is on", specs: plain, steps: []step{on(0, "a"), failed(0, "a", true)}, until: time.Hour,
			want: "0s +a command", of: "a", state: output.State{On: true, Why: "command"}},
		{name: "off is tried again", specs: plain, until: time.Hour,
			steps: []step{on(0, "a"), off(sec, "a"), failed(sec, "a", true), failed(2*sec, "a", true)},
			want:  "0s +a command, 1s -a command, 2s -a command, 3s -a command", of: "a", state: output.State{Why: "command"}},
		{name: "off failed: it is on", specs: plain, steps: []step{on(0, "a"), off(sec, "a"), failed(sec, "a", true)}, until: 1900 * ms,
			want: "0s +a command, 1s -a command", of: "a", state: output.State{On: true, Why: "command"}},
		{name: "off failed, on: nothing to tell", specs: plain, until: time.Hour,
			steps: []step{on(0, "a"), off(sec, "a"), failed(sec, "a", true), on(1500*ms, "a")},
			want:  "0s +a command, 1s -a command", of: "a", state: output.State{On: true, Why: "command"}},
		{name: "off failed, off: told at once", specs: plain, until: time.Hour,
			steps: []step{on(0, "a"), off(sec, "a"), failed(sec, "a", true), off(1500*ms, "a")},
			want:  "0s +a command, 1s -a command, 1.5s -a command"},
		{name: "off of a blinking one ends it", specs: plain, steps: []step{blink(0, "a", "alert"), failed(600*ms, "a", true)}, until: time.Hour,
			want: "0s +a blink, 600ms -a blink, 1.6s -a blink", of: "a", state: output.State{Why: "blink"}},
		{name: "on of a blinking one ends it", specs: plain, steps: []step{blink(0, "a", "alert"), failed(1600*ms, "a", false)}, until: time.Hour,
			want: "0s +a blink, 600ms -a blink, 1.6s +a blink", of: "a", state: output.State{Why: "failed"}},
		{name: "on of a failsafe is tried again", specs: vent, steps: []step{link(0, "a", false), failed(sec, "a", false)}, until: time.Hour,
			want: "1s +a failsafe, 2s +a failsafe", of: "a", state: output.State{On: true, Failsafe: true, Why: "failsafe"}},
		{name: "on of a failsafe waits", specs: vent, steps: []step{link(0, "a", false), failed(sec, "a", false)}, until: 1500 * ms,
			want: "1s +a failsafe", of: "a", state: output.State{Pending: true, Until: after(2 * sec), Failsafe: true, Why: "failsafe"}},
		{name: "on of a failsafe, a pulse shorter than Retry", specs: blip, steps: []step{link(0, "a", false), failed(sec, "a", false)},
			until: time.Hour, want: "1s +a failsafe, 2s +a failsafe, 2.1s -a pulse", of: "a",
			state: output.State{Failsafe: true, Why: "pulse"}},
		{name: "off before Due could say so", specs: plain, until: time.Hour, want: "0s +a command", of: "a", state: output.State{Why: "command"},
			steps: []step{on(0, "a"), {sec, func(b *output.Bank, now time.Time) error {
				err := b.Set("a", false, 0, now)
				b.Failed("a", false, now)
				return err
			}}}},
		{name: "interlock: an on that failed counts as an off", specs: two, groups: dead, until: time.Hour,
			steps: []step{on(sec, "up"), failed(sec, "up", false), on(1200*ms, "down")}, want: "1s +up command, 1.5s +down command"},
		{name: "max_on", specs: long, steps: []step{on(0, "a"), failed(10*sec, "a", true)}, until: time.Hour,
			want: "0s +a command, 10s -a max_on, 11s -a max_on", of: "a", state: output.State{MaxedOut: true, Why: "max_on"}},
		{name: "max_on counts over an off that failed", specs: long, until: time.Hour,
			steps: []step{on(0, "a"), off(8*sec, "a"), failed(8*sec, "a", true), on(8500*ms, "a")},
			want:  "0s +a command, 8s -a command, 10s -a max_on"},
		{name: "stuck on for nothing", specs: plain, steps: []step{failed(0, "a", true)}, until: time.Hour, want: "1s -a failed"},
		{name: "nobody", specs: plain, steps: []step{failed(0, "b", true), link(0, "b", false)}, until: time.Hour, want: ""},
		{name: "interlock: the other's on is dropped", specs: two, groups: dead, until: time.Hour,
			steps: []step{on(sec, "up"), on(2*sec, "down"), failed(2*sec, "up", true)},
			want:  "1s +up command, 2s -up interlock, 3s -up interlock", of: "down", state: output.State{Why: "interlock"}},
		{name: "interlock: an on while it is stuck tries the off, and waits for it", specs: two, groups: dead, until: time.Hour,
			steps: []step{on(sec, "up"), off(2*sec, "up"), failed(2*sec, "up", true), on(2200*ms, "down")},
			want:  "1s +up command, 2s -up command, 2.2s -up command, 2.7s +down command"},
		{name: "interlock: found on beside the other", specs: two, groups: dead, until: time.Hour,
			steps: []step{on(sec, "up"), failed(5*sec, "down", true)},
			want:  "1s +up command, 5s -up interlock, 6s -down failed", of: "up", state: output.State{Why: "interlock"}},
	})
}

// TestFailedList fails the OFF of a list in which the ON of the other follows.
func TestFailedList(t *testing.T) {
	t.Parallel()
	specs, groups := shutter(0)
	specs = append(specs, spec("lamp", output.Rules{}))
	b, err := output.New(specs, groups, epoch())
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{t: t, b: b}
	if err := on(0, "up").do(b, epoch()); err != nil {
		t.Fatal(err)
	}
	r.due(epoch())
	for _, s := range []step{on(sec, "down"), on(sec, "lamp")} {
		if err := s.do(b, after(s.at)); err != nil {
			t.Fatal(err)
		}
	}
	list := b.Due(after(sec))
	want := []output.Change{{Name: "up", Why: "interlock"}, {Name: "down", On: true, Why: "command"}, {Name: "lamp", On: true, Why: "command"}}
	if len(list) != 3 || list[0] != want[0] || list[1] != want[1] || list[2] != want[2] {
		t.Fatalf("Due = %v, want %v", list, want)
	}
	b.Failed("up", true, after(sec))
	for name, want := range map[string]bool{"up": true, "down": false, "lamp": true} {
		if got := b.State(name).On; got != want {
			t.Errorf("State(%q).On after Failed = %v, want %v", name, got, want)
		}
	}
	r.log = nil
	r.to(time.Hour)
	if got, want := strings.Join(r.log, ", "), "1s -down interlock, 2s -up interlock"; got != want {
		t.Errorf("changes after it:\n got %s\nwant %s", got, want)
	}
}
