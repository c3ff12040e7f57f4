package output_test

import (
	"strings"
	"testing"
	"time"

	"rollcall/gpio/output"
)

// replacement is a bank, what happens to it, and the set-up that replaces it.
type replacement struct {
	name     string
	old      []output.Spec
	groups   []output.Group
	steps    []step
	at       time.Duration
	specs    []output.Spec
	regroup  []output.Group
	keep     string // names with spaces between, new=old of those that are renamed
	then     []step
	until    time.Duration
	want     string // changes after the replacement
	refused  string
	of       string
	at0, end output.State // of it, right after the replacement and at the end
}

func (p replacement) run(t *testing.T) {
	t.Parallel()
	b, err := output.New(p.old, p.groups, epoch())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	r := &runner{t: t, b: b}
	do := func(steps []step) {
		for _, s := range steps {
			r.to(s.at)
			if err := s.do(r.b, after(s.at)); err != nil {
				t.Fatalf("step at %v: %v", s.at, err)
			}
			r.due(after(s.at))
		}
	}
	do(p.steps)
	r.to(p.at)
	keep := map[string]output.Was{}
	for _, name := range strings.Fields(p.keep) {
		name, old, renamed := strings.Cut(name, "=")
		if !renamed {
			old = name
		}
		keep[name] = output.Was{Name: old, Kept: true}
	}
	before := b.State(p.of)
	n, err := b.Replace(p.specs, p.regroup, keep, after(p.at))
	if got := b.State(p.of); got != before {
		t.Errorf("State of the old bank = %+v, want it unchanged: %+v", got, before)
	}
	if p.refused != "" {
		if err == nil || err.Error() != p.refused {
			t.Errorf("Replace = %v, want %s", err, p.refused)
		}
		return
	}
	if err != nil {
		t.Fatalf("Replace: %v", err)
	}
	if got := n.State(p.of); got != p.at0 {
		t.Errorf("State(%q) after Replace = %+v, want %+v", p.of, got, p.at0)
	}
	r.b, r.log = n, nil
	r.due(after(p.at))
	do(p.then)
	r.to(p.until)
	if got := strings.Join(r.log, ", "); got != p.want {
		t.Errorf("changes:\n got %s\nwant %s", got, p.want)
	}
	if got := n.State(p.of); got != p.end {
		t.Errorf("State(%q) at the end = %+v, want %+v", p.of, got, p.end)
	}
}

func runReplacements(t *testing.T, all []replacement) {
	t.Helper()
	for _, p := range all {
		t.Run(p.name, p.run)
	}
}

func TestReplaceKeeps(t *testing.T) {
	t.Parallel()
	a := func(r output.Rules) []output.Spec { return []output.Spec{spec("a", r)} }
	safe := output.Rules{Failsafe: &output.Failsafe{After: 10 * sec, Action: output.FailsafeOff}}
	done := output.State{Why: "pulse"}
	maxed := output.State{MaxedOut: true, Why: "max_on"}
	runReplacements(t, []replacement{
		{name: "a timer", old: a(output.Rules{}), steps: []step{set(0, "a", true, 5*sec)}, at: sec, specs: a(output.Rules{}), keep: "a",
			until: time.Hour, want: "5s -a pulse", of: "a", at0: output.State{On: true, Until: after(5 * sec), Why: "command"}, end: done},
		{name: "a pattern", old: a(output.Rules{}), steps: []step{blink(0, "a", "alert")}, at: sec, specs: a(output.Rules{}), keep: "a",
			until: 2 * sec, want: "1.6s +a blink", of: "a", at0: output.State{Pattern: "alert", Why: "command"},
			end: output.State{On: true, Pattern: "alert", Why: "command"}},
		{name: "max_on counts on", old: a(output.Rules{MaxOn: 10 * sec}), steps: []step{on(0, "a")}, at: 5 * sec,
			specs: a(output.Rules{MaxOn: 8 * sec}), keep: "a", until: time.Hour, want: "8s -a max_on", of: "a",
			at0: output.State{On: true, Until: after(8 * sec), Why: "command"}, end: maxed},
		{name: "max_on that is over already", old: a(output.Rules{}), steps: []step{on(0, "a")}, at: 5 * sec,
			specs: a(output.Rules{MaxOn: 2 * sec}), keep: "a", until: time.Hour, want: "5s -a max_on", of: "a",
			at0: output.State{On: true, MaxedOut: true, Why: "max_on"}, end: maxed},
		{name: "a failsafe that has acted and is another now", old: a(output.Rules{Failsafe: &output.Failsafe{After: sec, Action: output.FailsafeOn}}),
			steps: []step{link(0, "a", false)}, at: 5 * sec, specs: a(output.Rules{Failsafe: &output.Failsafe{After: 10 * sec, Action: output.FailsafeOff}}), keep: "a",
			until: time.Hour, want: "10s -a failsafe", of: "a", at0: output.State{On: true, Why: "failsafe"}, end: output.State{Failsafe: true, Why: "failsafe"}},
		{name: "a failsafe that has acted and is the same, but for its time", old: a(safe), steps: []step{on(0, "a"), link(sec, "a", false), link(30*sec, "a", true)},
			at: time.Minute, specs: a(output.Rules{Failsafe: &output.Failsafe{After: 20 * sec, Action: output.FailsafeOff}}), keep: "a",
			until: time.Hour, want: "", of: "a", at0: output.State{Failsafe: true, Why: "failsafe"}, end: output.State{Failsafe: true, Why: "failsafe"}},
		{name: "the link", old: a(output.Rules{}), steps: []step{on(0, "a"), link(sec, "a", false)}, at: 5 * sec, specs: a(safe), keep: "a",
			until: time.Hour, want: "11s -a failsafe", of: "a", at0: output.State{On: true, Why: "command"},
			end: output.State{Failsafe: true, Why: "failsafe"}},
		{name: "no failsafe any more", old: a(safe), steps: []step{on(0, "a"), link(sec, "a", false)}, at: 15 * sec, specs: a(output.Rules{}),
			keep: "a", until: time.Hour, of: "a", at0: output.State{Why: "failsafe"}, end: output.State{Why: "failsafe"}},
		{name: "single now", old: a(output.Rules{}), steps: []step{on(0, "a")}, at: 5 * sec,
			specs: a(output.Rules{Single: true, Pulse: 2 * sec}), keep: "a", until: time.Hour, want: "7s -a pulse", of: "a",
			at0: output.State{On: true, Until: after(7 * sec), Why: "command"}, end: done},
		{name: "single now, with a timer", old: a(output.Rules{}), steps: []step{set(0, "a", true, 6*sec)}, at: 5 * sec,
			specs: a(output.Rules{Single: true, Pulse: 2 * sec}), keep: "a", until: time.Hour, want: "6s -a pulse", of: "a",
			at0: output.State{On: true, Until: after(6 * sec), Why: "command"}, end: done},
		{name: "single now, blinking", old: a(output.Rules{}), steps: []step{blink(0, "a", "alert")}, at: 500 * ms,
			specs: a(output.Rules{Single: true, Pulse: 2 * sec}), keep: "a", until: time.Hour, want: "500ms -a command", of: "a",
			at0: output.State{On: true, Why: "command"}, end: output.State{Why: "command"}},
		{name: "Spec.On is not looked at", old: a(output.Rules{}), at: sec, specs: []output.Spec{{Name: "a", On: true}}, keep: "a",
			until: time.Hour, of: "a"},
		{name: "changed: begins anew", old: a(output.Rules{}), steps: []step{set(0, "a", true, 5*sec)}, at: sec, specs: a(output.Rules{}),
			until: time.Hour, of: "a"},
		{name: "changed, on and on: max_on counts on", old: a(output.Rules{}), steps: []step{on(0, "a")}, at: 5 * sec,
			specs: []output.Spec{{Name: "a", On: true, Rules: output.Rules{MaxOn: 8 * sec}}}, until: time.Hour, want: "8s -a max_on",
			of: "a", at0: output.State{On: true, Until: after(8 * sec)}, end: maxed},
		{name: "changed, off and on: max_on begins", old: a(output.Rules{}), at: 5 * sec,
			specs: []output.Spec{{Name: "a", On: true, Rules: output.Rules{MaxOn: 8 * sec}}}, until: time.Hour, want: "13s -a max_on",
			of: "a", at0: output.State{On: true, Until: after(13 * sec)}, end: maxed},
		{name: "renamed: timer and max_on go on", old: a(output.Rules{MaxOn: 10 * sec}), steps: []step{set(0, "a", true, 5*sec)}, at: sec,
			specs: []output.Spec{spec("z", output.Rules{MaxOn: 3 * sec})}, keep: "z=a", until: time.Hour, want: "3s -z max_on", of: "z",
			at0: output.State{On: true, Until: after(3 * sec), Why: "command"}, end: maxed},
		{name: "removed", old: a(output.Rules{}), steps: []step{on(0, "a")}, at: sec, specs: []output.Spec{spec("b", output.Rules{})},
			until: time.Hour, of: "a"},
		{name: "kept, of the old only", old: a(output.Rules{}), specs: []output.Spec{spec("b", output.Rules{})}, keep: "a",
			refused: `output "a" cannot be kept: it is not in both set-ups`},
		{name: "kept, of the new only", old: a(output.Rules{}), specs: []output.Spec{spec("b", output.Rules{})}, keep: "b",
			refused: `output "b" cannot be kept: it is not in both set-ups`},
		{name: "bad rules", old: a(output.Rules{}), specs: a(output.Rules{Single: true}), keep: "a",
			refused: `output "a": single needs a pulse`},
	})
}

func TestReplaceGroups(t *testing.T) {
	t.Parallel()
	two, dead := shutter(sec)
	downOn := []output.Spec{two[0], {Name: "down", On: true}}
	gate := []output.Spec{two[0], {Name: "gate", On: true}}
	gates := []output.Group{{Names: []string{"up", "gate"}, Dead: sec}}
	is := output.State{On: true, Why: "command"}
	interlocked := output.State{Why: "interlock"}
	runReplacements(t, []replacement{
		{name: "the dead time goes on", old: two, groups: dead, steps: []step{on(2*sec, "up"), on(3*sec, "down")}, at: 3500 * ms,
			specs: two, regroup: dead, keep: "up down", until: time.Hour, want: "4s +down command", of: "down",
			at0: output.State{Pending: true, Until: after(4 * sec), Why: "command"}, end: is},
		{name: "a longer dead time", old: two, groups: dead, steps: []step{on(2*sec, "up"), on(3*sec, "down")}, at: 3500 * ms,
			specs: two, regroup: []output.Group{{Names: []string{"up", "down"}, Dead: 3 * sec}}, keep: "up down", until: time.Hour,
			want: "6s +down command", of: "down", at0: output.State{Pending: true, Until: after(6 * sec), Why: "command"}, end: is},
		{name: "no group any more", old: two, groups: dead, steps: []step{on(2*sec, "up")}, at: 3 * sec, specs: two, keep: "up down",
			then: []step{on(4*sec, "down")}, until: time.Hour, want: "4s +down command", of: "up", at0: is, end: is},
		{name: "a new group of two that are on: the last commanded stays", old: two, steps: []step{on(2*sec, "down"), on(3*sec, "up")},
			at: 4 * sec, specs: two, regroup: dead, keep: "up down", until: time.Hour, want: "4s -down interlock", of: "down",
			at0: output.State{On: true, Why: "interlock"}, end: interlocked},
		{name: "a new group, the other way round", old: two, steps: []step{on(2*sec, "up"), on(3*sec, "down")},
			at: 4 * sec, specs: two, regroup: dead, keep: "up down", until: time.Hour, want: "4s -up interlock", of: "up",
			at0: output.State{On: true, Why: "interlock"}, end: interlocked},
		{name: "a new group of two commanded at once: the first stays", old: two, steps: []step{on(2*sec, "up"), on(2*sec, "down")},
			at: 4 * sec, specs: two, regroup: dead, keep: "up down", until: time.Hour, want: "4s -down interlock", of: "up",
			at0: is, end: is},
		{name: "a new group with one that is stuck on", old: two, at: 3 * sec, specs: two, regroup: dead, keep: "up down", until: time.Hour,
			steps: []step{on(sec, "up"), off(2500*ms, "up"), failed(2500*ms, "up", true), on(2600*ms, "down")},
			want:  "3s -down interlock, 3.5s -up command", of: "down", at0: output.State{On: true, Why: "interlock"}, end: interlocked},
		{name: "a new one may start on", old: two, groups: dead, at: 3 * sec, specs: gate, regroup: gates, keep: "up", until: time.Hour,
			of: "gate", at0: output.State{On: true}, end: output.State{On: true}},
		{name: "the dead time from a changed one", old: two, groups: dead, steps: []step{on(2*sec, "up")}, at: 3 * sec,
			specs: two, regroup: dead, keep: "down", then: []step{on(3100*ms, "down")}, until: time.Hour,
			want: "4s +down command", of: "down", end: is},
		{name: "start on beside one that is on", old: two, groups: dead, steps: []step{on(2*sec, "up")}, at: 3 * sec, specs: gate,
			regroup: gates, keep: "up", refused: `output "gate" cannot start on: "up" is on, and they are interlocked`},
		{name: "start on beside one that waits", old: two, groups: dead, steps: []step{on(2*sec, "down"), on(3*sec, "up")}, at: 3500 * ms,
			specs: gate, regroup: gates, keep: "up", refused: `output "gate" cannot start on: "up" is to go on, and they are interlocked`},
		{name: "start on beside one that blinks", old: two, groups: dead, steps: []step{blink(2*sec, "up", "heartbeat")}, at: 20 * sec,
			specs: gate, regroup: gates, keep: "up", refused: `output "gate" cannot start on: "up" is to go on, and they are interlocked`},
		{name: "start on too soon", old: two, groups: dead, steps: []step{on(2*sec, "up"), off(3*sec, "up")}, at: 3500 * ms, specs: gate,
			regroup: gates, keep: "up", refused: `output "gate" cannot start on: "up" was on less than 1s ago, and they are interlocked`},
		{name: "start on late enough", old: two, groups: dead, steps: []step{on(2*sec, "up"), off(3*sec, "up")}, at: 4 * sec, specs: gate,
			regroup: gates, keep: "up", until: time.Hour, of: "gate", at0: output.State{On: true}, end: output.State{On: true}},
		{name: "start on as a changed one goes off", old: two, groups: dead, steps: []step{on(2*sec, "up")}, at: 3 * sec, specs: downOn,
			regroup: dead, keep: "", refused: `output "down" cannot start on: "up" was on until now, and they are interlocked`},
		{name: "renamed: start on too soon", old: two, groups: dead, steps: []step{on(2*sec, "up"), off(3*sec, "up")}, at: 3500 * ms,
			specs: []output.Spec{spec("auf", output.Rules{}), {Name: "gate", On: true}}, regroup: []output.Group{{Names: []string{"auf", "gate"}, Dead: sec}},
			keep: "auf=up", refused: `output "gate" cannot start on: "auf" was on less than 1s ago, and they are interlocked`},
		{name: "renamed, changed places", old: two, groups: dead, steps: []step{on(2*sec, "up"), on(3*sec, "down")}, at: 3500 * ms, specs: two,
			regroup: dead, keep: "up=down down=up", until: time.Hour, want: "4s +up command", of: "up",
			at0: output.State{Pending: true, Until: after(4 * sec), Why: "command"}, end: is},
		{name: "start on both", old: nil, at: sec, specs: []output.Spec{{Name: "up", On: true}, downOn[1]}, regroup: dead,
			refused: `output "up" cannot start on: "down" is on, and they are interlocked`},
	})
}
