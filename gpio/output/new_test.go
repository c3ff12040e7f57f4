package output_test

import (
	"testing"
	"time"

	"rollcall/gpio/output"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	ab := []output.Spec{{Name: "a"}, {Name: "b"}}
	safe := func(f output.Failsafe) []output.Spec {
		return []output.Spec{{Name: "a", Rules: output.Rules{Failsafe: &f}}, {Name: "b", Rules: output.Rules{Failsafe: &f}}}
	}
	one := func(r output.Rules) []output.Spec { return []output.Spec{{Name: "a", Rules: r}} }
	group := func(dead time.Duration, names ...string) []output.Group {
		return []output.Group{{Names: names, Dead: dead}}
	}
	for _, tt := range []struct {
		name   string
		specs  []output.Spec
		groups []output.Group
		want   string
	}{
		{"no name", []output.Spec{{}}, nil, `an output has no name`},
		{"twice", []output.Spec{{Name: "a"}, {Name: "a"}}, nil, `output "a" is there twice`},
		{"max_on", one(output.Rules{MaxOn: -1}), nil, `output "a": max_on is -1ns, must not be negative`},
		{"pulse", one(output.Rules{Pulse: -1}), nil, `output "a": pulse is -1ns, must not be negative`},
		{"pulse and max_on", one(output.Rules{Pulse: 2 * sec, MaxOn: sec}), nil, `output "a": pulse 2s is longer than max_on 1s`},
		{"single", one(output.Rules{Single: true}), nil, `output "a": single needs a pulse`},
		{"after", safe(output.Failsafe{After: -1}), nil, `output "a": failsafe after is -1ns, must be more than 0`},
		{"renew", safe(output.Failsafe{Renew: true}), nil, `output "a": failsafe after is 0s, must be more than 0`},
		{"action", safe(output.Failsafe{Action: 3}), nil, `output "a": failsafe has no action 3`},
		{"group of one", ab, group(0, "a"), `interlock ["a"] needs two outputs or more`},
		{"group of none", ab, group(0, "a", "c"), `interlock ["a" "c"]: there is no output "c"`},
		{"group of the same", ab, group(0, "a", "b", "a"), `interlock ["a" "b" "a"]: output "a" is there twice`},
		{"dead", ab, group(-1, "a", "b"), `interlock ["a" "b"]: dead time is -1ns, must not be negative`},
		{"both on", []output.Spec{{Name: "a", On: true}, {Name: "b", On: true}}, group(0, "a", "b"),
			`outputs "a" and "b" are interlocked, only one can start on`},
		{"failsafes", safe(output.Failsafe{Action: output.FailsafeOn}), group(0, "a", "b"),
			`interlock ["a" "b"]: outputs "a" and "b" both have failsafe on`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if b, err := output.New(tt.specs, tt.groups, epoch()); err == nil || err.Error() != tt.want {
				t.Errorf("New = %v, %v, want %s", b, err, tt.want)
			}
		})
	}
}

// TestCommandRefused also finds that what is refused changes nothing: the timer that runs goes on.
func TestCommandRefused(t *testing.T) {
	t.Parallel()
	b, err := output.New([]output.Spec{{Name: "a"}, {Name: "one", Rules: output.Rules{Single: true, Pulse: 5 * sec}}}, nil, epoch())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "one"} {
		if err := b.Set(name, true, 5*sec, epoch()); err != nil {
			t.Fatal(err)
		}
	}
	b.Due(epoch())
	blink := func(name string, p output.Pattern) error { return b.Blink(name, p, after(sec)) }
	for _, tt := range []struct {
		got  error
		want string
	}{
		{b.Set("c", true, 0, after(sec)), `there is no output "c"`},
		{b.Set("a", false, -1, after(sec)), `output "a": time is -1ns, must not be negative`},
		{b.Set("one", true, 5*sec+1, after(sec)), `output "one" is single: it can't be on for 5.000000001s, its pulse is 5s`},
		{b.Pulse("one", 6*sec, after(sec)), `output "one" is single: it can't be on for 6s, its pulse is 5s`},
		{b.Pulse("c", 0, after(sec)), `there is no output "c"`},
		{b.Pulse("a", 0, after(sec)), `output "a" has no pulse of its own: say how long`},
		{b.Pulse("a", -1, after(sec)), `output "a": time is -1ns, must not be negative`},
		{blink("c", output.Pattern{Name: "x", Lit: sec, Pause: sec}), `there is no output "c"`},
		{blink("a", output.Pattern{}), `output "a": no pattern is lit for 0s and paused for 0s`},
		{blink("a", output.Pattern{Name: "x", Lit: sec, Pause: -1}), `output "a": no pattern is lit for 1s and paused for -1ns`},
		{blink("a", output.Pattern{Lit: sec, Pause: sec}), `output "a": the pattern has no name`},
		{blink("a", output.Pattern{Name: "x", Lit: ms, Pause: sec}),
			`output "a": pattern "x" is lit for 1ms and paused for 1s, at least 10ms each are needed`},
		{blink("one", output.Pattern{Name: "x", Lit: sec, Pause: sec}), `output "one" is single, it cannot blink`},
	} {
		if tt.got == nil || tt.got.Error() != tt.want {
			t.Errorf("got error %v, want %s", tt.got, tt.want)
		}
	}
	for _, name := range []string{"a", "one"} {
		want := output.State{On: true, Until: after(5 * sec), Why: "command"}
		if got := b.State(name); got != want {
			t.Errorf("State(%q) = %+v, want %+v", name, got, want)
		}
	}
	if got := b.State("c"); got != (output.State{}) {
		t.Errorf("State of nobody = %+v, want the zero State", got)
	}
}

// TestNewTakesACopy changes what New was given.
func TestNewTakesACopy(t *testing.T) {
	t.Parallel()
	f := output.Failsafe{After: sec, Action: output.FailsafeOff}
	specs := []output.Spec{{Name: "a", On: true, Rules: output.Rules{Failsafe: &f}}}
	b, err := output.New(specs, nil, epoch())
	if err != nil {
		t.Fatal(err)
	}
	f.After, specs[0].Name = time.Hour, "b"
	b.Link("a", false, epoch())
	if got, want := b.Next(), after(sec); got != want {
		t.Errorf("Next = %s, want %s", since(got), since(want))
	}
}

// TestFinally finds what outputs are to be once their timers have ended.
func TestFinally(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		steps []step
		want  bool
	}{
		{"start", nil, false},
		{"on", []step{on(0, "a")}, true},
		{"off", []step{on(0, "a"), off(sec, "a")}, false},
		{"on for a time", []step{set(0, "a", true, sec)}, false},
		{"off for a time", []step{set(0, "a", false, sec)}, true},
		{"that has ended", []step{set(0, "a", false, sec), off(2*sec, "b")}, true},
		{"of a one-shot", []step{set(0, "one", false, sec)}, false},
		{"blinking, in its pause", []step{blink(0, "a", "alert"), off(sec, "b")}, true},
		{"waiting", []step{on(0, "b"), on(sec, "a")}, true},
		{"waiting for a pulse", []step{on(0, "b"), pulse(sec, "a", sec)}, false},
		{"dropped", []step{on(0, "a"), on(sec, "b")}, false},
		{"maxed out", []step{on(0, "max"), off(6*sec, "b")}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, err := output.New([]output.Spec{spec("a", output.Rules{}), spec("b", output.Rules{}), spec("one", output.Rules{Single: true, Pulse: sec}),
				spec("max", output.Rules{MaxOn: 5 * sec})}, []output.Group{{Names: []string{"a", "b"}, Dead: sec}}, epoch())
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range tt.steps {
				if err := s.do(b, epoch().Add(s.at)); err != nil {
					t.Fatal(err)
				}
				b.Due(epoch().Add(s.at))
			}
			if got := b.Finally("a") || b.Finally("one") || b.Finally("max"); got != tt.want {
				t.Errorf("Finally = %v, want %v", got, tt.want)
			}
			if b.Finally("none") {
				t.Error("Finally of none = true")
			}
		})
	}
}
