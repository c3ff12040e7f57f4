package output_test

import (
	"testing"
	"time"

	"rollcall/gpio/output"
)

// What was on in a bank before has its max_on and its failsafe count from then, also if it had to wait for its interlock.
func TestBegan(t *testing.T) {
	t.Parallel()
	rules := output.Rules{MaxOn: 10 * sec}
	before := output.Spec{Name: "a", On: true, Rules: rules, Since: epoch().Add(-8 * sec), Commanded: epoch().Add(-5 * sec)}
	waits := before
	waits.On = false
	renewed := output.Spec{Name: "a", On: true, Commanded: epoch().Add(-5 * sec),
		Rules: output.Rules{Failsafe: &output.Failsafe{After: 6 * sec, Action: output.FailsafeOff, Renew: true}}}
	resume := func(at time.Duration) step {
		return step{at, func(b *output.Bank, now time.Time) error { return b.Resume("a", now) }}
	}
	mates := []output.Group{{Names: []string{"a", "b"}, Dead: sec}}
	maxed := output.State{MaxedOut: true, Why: "max_on"}
	runAll(t, []scenario{
		{name: "on since before", specs: []output.Spec{before}, until: time.Hour, want: "2s -a max_on", of: "a", state: maxed},
		{name: "on again", specs: []output.Spec{before}, steps: []step{off(sec, "a"), on(sec+ms, "a")}, until: time.Hour,
			want: "1s -a command, 1.001s +a command, 11.001s -a max_on", of: "a", state: maxed},
		{name: "waits", specs: []output.Spec{waits, spec("b", output.Rules{})}, groups: mates, steps: []step{resume(0)}, until: time.Hour,
			want: "1s +a command, 2s -a max_on", of: "a", state: maxed},
		{name: "waits too long", specs: []output.Spec{waits, spec("b", output.Rules{})}, groups: mates, steps: []step{resume(1500 * ms), off(1600*ms, "a")}, until: time.Hour,
			want: "1.5s +a command, 1.6s -a command"},
		{name: "over before it may", specs: []output.Spec{waits, spec("b", output.Rules{})}, groups: []output.Group{{Names: []string{"a", "b"}, Dead: 3 * sec}},
			steps: []step{resume(0)}, until: time.Hour, want: "", of: "a", state: maxed},
		{name: "renewed before", specs: []output.Spec{renewed}, until: time.Hour, want: "1s -a failsafe", of: "a",
			state: output.State{Failsafe: true, Why: "failsafe"}},
	})
	b, err := output.New([]output.Spec{before}, nil, epoch())
	if err != nil {
		t.Fatal(err)
	}
	if since, commanded := b.Began("a"); !since.Equal(before.Since) || !commanded.Equal(before.Commanded) {
		t.Errorf("began %s and %s, want %s and %s", since, commanded, before.Since, before.Commanded)
	}
	if since, commanded := b.Began("b"); !since.IsZero() || !commanded.IsZero() {
		t.Errorf("no output began %s and %s", since, commanded)
	}
}
