package output_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rollcall/gpio/output"
)

const (
	ms  = time.Millisecond
	sec = time.Second
)

// epoch is when every test begins.
func epoch() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// step is something that happens to a bank.
type step struct {
	at time.Duration
	do func(b *output.Bank, now time.Time) error
}

func set(at time.Duration, name string, on bool, d time.Duration) step {
	return step{at, func(b *output.Bank, now time.Time) error { return b.Set(name, on, d, now) }}
}

func on(at time.Duration, name string) step  { return set(at, name, true, 0) }
func off(at time.Duration, name string) step { return set(at, name, false, 0) }

func pulse(at time.Duration, name string, d time.Duration) step {
	return step{at, func(b *output.Bank, now time.Time) error { return b.Pulse(name, d, now) }}
}

func blink(at time.Duration, name, pattern string) step {
	return step{at, func(b *output.Bank, now time.Time) error {
		p, ok := output.FindPattern(pattern)
		if !ok {
			return fmt.Errorf("no pattern %q", pattern)
		}
		return b.Blink(name, p, now)
	}}
}

func link(at time.Duration, name string, up bool) step {
	return step{at, func(b *output.Bank, now time.Time) error { b.Link(name, up, now); return nil }}
}

// scenario is a set-up, what happens to it, and every change that comes of it, as "at +name why" or "at -name why".
type scenario struct {
	name   string
	specs  []output.Spec
	groups []output.Group
	steps  []step
	until  time.Duration
	want   string // changes with commas between
	state  output.State
	of     string // whose state is compared, at the end; "" for none
}

// spec is an output with rules.
func spec(name string, r output.Rules) output.Spec { return output.Spec{Name: name, Rules: r} }

// since returns a time as it is after epoch, or "" for the zero time.
func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Sub(epoch()).String()
}

// after returns the time that is d after epoch.
func after(d time.Duration) time.Time { return epoch().Add(d) }

// runner does what a caller does: it calls Due after each step and at each Next, and writes down what it is told.
type runner struct {
	t   *testing.T
	b   *output.Bank
	log []string
}

// due calls Due twice; the second must be empty, and Next must be in the future.
func (r *runner) due(now time.Time) {
	r.t.Helper()
	for _, c := range r.b.Due(now) {
		sign := "-"
		if c.On {
			sign = "+"
		}
		r.log = append(r.log, fmt.Sprintf("%s %s%s %s", since(now), sign, c.Name, c.Why))
		if got := r.b.State(c.Name).On; got != c.On {
			r.t.Errorf("State(%q).On = %v after %v", c.Name, got, c)
		}
	}
	if again := r.b.Due(now); len(again) > 0 {
		r.t.Errorf("Due at %s again = %v, want nothing", since(now), again)
	}
	if next := r.b.Next(); !next.IsZero() && !next.After(now) {
		r.t.Errorf("Next at %s = %s, want later", since(now), since(next))
	}
}

// to calls Due at every Next up to and at d.
func (r *runner) to(d time.Duration) {
	r.t.Helper()
	for n := 0; ; n++ {
		next := r.b.Next()
		if next.IsZero() || next.After(after(d)) {
			break
		}
		if n > 1000 {
			r.t.Fatalf("Next has not come to an end after %d calls, at %s", n, since(next))
		}
		r.due(next)
	}
	r.due(after(d))
}

func (s scenario) run(t *testing.T) {
	t.Parallel()
	b, err := output.New(s.specs, s.groups, epoch())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	r := &runner{t: t, b: b}
	for _, st := range s.steps {
		r.to(st.at)
		if err := st.do(b, after(st.at)); err != nil {
			t.Fatalf("step at %v: %v", st.at, err)
		}
		r.due(after(st.at))
	}
	r.to(s.until)
	if got := strings.Join(r.log, ", "); got != s.want {
		t.Errorf("changes:\n got %s\nwant %s", got, s.want)
	}
	if s.of != "" {
		if got := b.State(s.of); got != s.state {
			t.Errorf("State(%q) = %+v, want %+v", s.of, got, s.state)
		}
	}
}

// runAll runs the scenarios side by side.
func runAll(t *testing.T, all []scenario) {
	t.Helper()
	for _, s := range all {
		t.Run(s.name, s.run)
	}
}

func TestTimers(t *testing.T) {
	t.Parallel()
	plain := []output.Spec{spec("a", output.Rules{})}
	pulsed := []output.Spec{spec("a", output.Rules{Pulse: 2 * sec})}
	single := []output.Spec{spec("a", output.Rules{Pulse: 2 * sec, Single: true})}
	runAll(t, []scenario{
		{name: "on, off", specs: plain, steps: []step{on(0, "a"), off(sec, "a")}, until: time.Hour,
			want: "0s +a command, 1s -a command", of: "a", state: output.State{Why: "command"}},
		{name: "on twice is told once", specs: plain, steps: []step{on(0, "a"), on(sec, "a")}, until: time.Hour,
			want: "0s +a command", of: "a", state: output.State{On: true, Why: "command"}},
		{name: "off when off", specs: plain, steps: []step{off(0, "a")}, until: time.Hour, want: ""},
		{name: "on for", specs: plain, steps: []step{set(0, "a", true, 5*sec)}, until: time.Hour,
			want: "0s +a command, 5s -a pulse", of: "a", state: output.State{Why: "pulse"}},
		{name: "off for", specs: []output.Spec{{Name: "a", On: true}}, steps: []step{set(sec, "a", false, 5*sec)}, until: time.Hour,
			want: "1s -a command, 6s +a pulse", of: "a", state: output.State{On: true, Why: "pulse"}},
		{name: "on for is replaced by on", specs: plain, steps: []step{set(0, "a", true, 5*sec), on(sec, "a")}, until: time.Hour,
			want: "0s +a command", of: "a", state: output.State{On: true, Why: "command"}},
		{name: "on for is replaced by a longer one", specs: plain, until: 4 * sec,
			steps: []step{set(0, "a", true, 2*sec), set(sec, "a", true, 5*sec)},
			want:  "0s +a command", of: "a", state: output.State{On: true, Until: after(6 * sec), Why: "command"}},
		{name: "off for is replaced by on and off", specs: plain, until: time.Hour,
			steps: []step{set(0, "a", false, 5*sec), on(sec, "a"), off(2*sec, "a")}, want: "1s +a command, 2s -a command"},
		{name: "toggled to and fro", specs: plain, until: time.Hour,
			steps: []step{set(0, "a", true, 3*sec), set(sec, "a", false, 3*sec), set(2*sec, "a", true, 3*sec), set(3*sec, "a", false, 3*sec)},
			want:  "0s +a command, 1s -a command, 2s +a command, 3s -a command, 6s +a pulse"},
		{name: "own pulse", specs: pulsed, steps: []step{pulse(0, "a", 0)}, until: time.Hour, want: "0s +a command, 2s -a pulse"},
		{name: "pulse with a time", specs: pulsed, steps: []step{pulse(0, "a", 70*ms)}, until: time.Hour,
			want: "0s +a command, 70ms -a pulse"},
		{name: "pulses overlap", specs: pulsed, steps: []step{pulse(0, "a", 0), pulse(1500*ms, "a", 0)}, until: time.Hour,
			want: "0s +a command, 3.5s -a pulse"},
		{name: "pulse of what is on", specs: pulsed, steps: []step{on(0, "a"), pulse(sec, "a", 0)}, until: time.Hour,
			want: "0s +a command, 3s -a pulse"},
		{name: "pulse is replaced by on", specs: pulsed, steps: []step{pulse(0, "a", 0), on(sec, "a")}, until: time.Hour,
			want: "0s +a command"},
		{name: "single", specs: single, steps: []step{on(0, "a")}, until: time.Hour, want: "0s +a command, 2s -a pulse"},
		{name: "single again", specs: single, steps: []step{on(0, "a"), on(sec, "a")}, until: time.Hour,
			want: "0s +a command, 3s -a pulse"},
		{name: "single with a time", specs: single, steps: []step{set(0, "a", true, sec)}, until: time.Hour,
			want: "0s +a command, 1s -a pulse"},
		{name: "single off for", specs: single, steps: []step{set(0, "a", false, 3*sec)}, until: time.Hour,
			want: "3s +a pulse, 5s -a pulse"},
		{name: "single starts on", specs: []output.Spec{{Name: "a", On: true, Rules: single[0].Rules}}, until: time.Hour,
			want: "2s -a pulse"},
		{name: "single by a steady pattern", specs: single, steps: []step{blink(0, "a", "on")}, until: time.Hour,
			want: "0s +a command, 2s -a pulse"},
	})
}

func TestMaxOn(t *testing.T) {
	t.Parallel()
	max := []output.Spec{spec("a", output.Rules{MaxOn: 10 * sec})}
	maxed := output.State{MaxedOut: true, Why: "max_on"}
	short := output.Pattern{Name: "long", Lit: 20 * sec, Pause: sec}
	runAll(t, []scenario{
		{name: "on", specs: max, steps: []step{on(sec, "a")}, until: time.Hour,
			want: "1s +a command, 11s -a max_on", of: "a", state: maxed},
		{name: "until", specs: max, steps: []step{on(sec, "a")}, until: 5 * sec,
			want: "1s +a command", of: "a", state: output.State{On: true, Until: after(11 * sec), Why: "command"}},
		{name: "on again and again", specs: max, until: 60 * sec, want: "0s +a command, 10s -a max_on", of: "a", state: maxed,
			steps: []step{on(0, "a"), on(3*sec, "a"), on(6*sec, "a"), on(9*sec, "a"), on(9999*ms, "a")}},
		{name: "for longer", specs: max, steps: []step{set(0, "a", true, time.Minute)}, until: time.Hour,
			want: "0s +a command, 10s -a max_on", of: "a", state: maxed},
		{name: "for as long", specs: max, steps: []step{set(0, "a", true, 10*sec)}, until: time.Hour,
			want: "0s +a command, 10s -a pulse", of: "a", state: output.State{Why: "pulse"}},
		{name: "pulses one after the other", specs: max, until: time.Hour, want: "0s +a command, 10s -a max_on", of: "a", state: maxed,
			steps: []step{pulse(0, "a", 6*sec), pulse(5*sec, "a", 6*sec)}},
		{name: "off begins anew", specs: max, steps: []step{on(0, "a"), off(9*sec, "a"), on(9*sec+ms, "a")}, until: time.Hour,
			want: "0s +a command, 9s -a command, 9.001s +a command, 19.001s -a max_on", of: "a", state: maxed},
		{name: "on after it", specs: max, steps: []step{on(0, "a"), on(12*sec, "a")}, until: 13 * sec,
			want: "0s +a command, 10s -a max_on, 12s +a command", of: "a",
			state: output.State{On: true, Until: after(22 * sec), Why: "command"}},
		{name: "starts on", specs: []output.Spec{{Name: "a", On: true, Rules: output.Rules{MaxOn: sec}}}, until: time.Hour,
			want: "1s -a max_on", of: "a", state: maxed},
		{name: "blinking counts its pauses", specs: max, steps: []step{blink(0, "a", "alert")}, until: time.Hour, of: "a", state: maxed,
			want: "0s +a blink, 600ms -a blink, 1.6s +a blink, 2.2s -a blink, 3.2s +a blink, 3.8s -a blink, 4.8s +a blink, " +
				"5.4s -a blink, 6.4s +a blink, 7s -a blink, 8s +a blink, 8.6s -a blink, 9.6s +a blink, 10s -a max_on"},
		{name: "blinking until a pause", specs: max, steps: []step{blink(0, "a", "notify")}, until: time.Hour, of: "a", state: maxed,
			want: "0s +a blink, 600ms -a blink"},
		{name: "on in a pause wins no time", specs: max, steps: []step{blink(0, "a", "notify"), on(8*sec, "a")}, until: time.Hour, of: "a", state: maxed,
			want: "0s +a blink, 600ms -a blink, 8s +a command, 10s -a max_on"},
		{name: "a lit phase that is too long", specs: max, until: time.Hour, want: "0s +a blink, 10s -a max_on", of: "a", state: maxed,
			steps: []step{{0, func(b *output.Bank, now time.Time) error { return b.Blink("a", short, now) }}}},
		{name: "blinking goes on from on", specs: max, until: 11 * sec,
			steps: []step{on(0, "a"), {9 * sec, func(b *output.Bank, now time.Time) error { return b.Blink("a", short, now) }}},
			want:  "0s +a command, 10s -a max_on", of: "a", state: maxed},
	})
}

func TestBlink(t *testing.T) {
	t.Parallel()
	plain := []output.Spec{spec("a", output.Rules{})}
	all := []scenario{
		{name: "off", specs: plain, steps: []step{on(0, "a"), blink(sec, "a", "off")}, until: time.Hour,
			want: "0s +a command, 1s -a command", of: "a", state: output.State{Why: "command"}},
		{name: "on", specs: plain, steps: []step{blink(0, "a", "on")}, until: time.Hour,
			want: "0s +a command", of: "a", state: output.State{On: true, Why: "command"}},
		{name: "replaced by off while lit", specs: plain, steps: []step{blink(0, "a", "alert"), off(500*ms, "a")}, until: time.Hour,
			want: "0s +a blink, 500ms -a command"},
		{name: "replaced by on in a pause", specs: plain, steps: []step{blink(0, "a", "alert"), on(700*ms, "a")}, until: time.Hour,
			want: "0s +a blink, 600ms -a blink, 700ms +a command"},
		{name: "replaced by another", specs: plain, steps: []step{blink(0, "a", "heartbeat"), blink(sec, "a", "alert")}, until: 2 * sec,
			want: "0s +a blink, 500ms -a blink, 1s +a blink, 1.6s -a blink", of: "a", state: output.State{Pattern: "alert", Why: "command"}},
		{name: "begins anew from on", specs: plain, steps: []step{on(0, "a"), blink(10*sec, "a", "alert")}, until: 11 * sec,
			want: "0s +a command, 10.6s -a blink", of: "a", state: output.State{Pattern: "alert", Why: "command"}},
		{name: "replaced by a time", specs: plain, until: time.Hour,
			steps: []step{blink(0, "a", "alert"), set(100*ms, "a", true, sec)}, want: "0s +a blink, 1.1s -a pulse"},
	}
	for name, times := range map[string][2]time.Duration{
		"blink": {600 * ms, 2500 * ms}, "heartbeat": {500 * ms, 300 * sec}, "info": {600 * ms, 60 * sec},
		"notify": {600 * ms, 10 * sec}, "warning": {600 * ms, 5 * sec}, "alert": {600 * ms, sec},
	} {
		lit, period := times[0], times[0]+times[1]
		all = append(all, scenario{name: name, specs: plain, steps: []step{blink(0, "a", name)}, until: 2*period + lit/2,
			want: fmt.Sprintf("0s +a blink, %v -a blink, %v +a blink, %v -a blink, %v +a blink", lit, period, period+lit, 2*period),
			of:   "a", state: output.State{On: true, Pattern: name, Why: "command"}})
	}
	runAll(t, all)
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	var names []string
	for _, p := range output.Patterns() {
		names = append(names, p.Name)
		if got, ok := output.FindPattern(p.Name); !ok || got != p {
			t.Errorf("FindPattern(%q) = %v, %v, want %v", p.Name, got, ok, p)
		}
	}
	if got, want := strings.Join(names, " "), "off on blink heartbeat info notify warning alert"; got != want {
		t.Errorf("Patterns = %s, want %s", got, want)
	}
	for _, alias := range []string{"info1", "info2"} {
		if got, ok := output.FindPattern(alias); !ok || got.Name != "info" {
			t.Errorf("FindPattern(%q) = %v, %v, want info", alias, got, ok)
		}
	}
	if got, ok := output.FindPattern("disco"); ok {
		t.Errorf("FindPattern(disco) = %v, want none", got)
	}
}

// nothing only has Due called.
func nothing(at time.Duration) step {
	return step{at, func(*output.Bank, time.Time) error { return nil }}
}

// TestLate calls Due long after Next.
func TestLate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		rules output.Rules
		steps []step
		late  time.Duration
		want  string
	}{
		{"a timer that ended", output.Rules{}, []step{set(0, "a", true, sec)}, 20 * sec, "0s +a command, 20s -a pulse"},
		{"a pulse counts from the ON", output.Rules{Single: true, Pulse: sec}, []step{set(0, "a", false, sec)}, 20 * sec,
			"20s +a pulse, 21s -a pulse"},
		{"a command after the end of the timer", output.Rules{}, []step{set(0, "a", true, sec), on(2*sec, "a")}, time.Hour,
			"0s +a command"},
		{"blinking skips to where it is", output.Rules{}, []step{blink(0, "a", "alert"), off(16700*ms, "a")}, time.Hour,
			"0s +a blink, 16.7s -a command"},
		{"blinking keeps its beat", output.Rules{}, []step{blink(0, "a", "alert"), nothing(700 * ms), nothing(1700 * ms), nothing(2100 * ms),
			nothing(2200 * ms), off(2300*ms, "a")}, time.Hour, "0s +a blink, 700ms -a blink, 1.7s +a blink, 2.2s -a blink"},
		{"the longest time holds against a command", output.Rules{MaxOn: sec}, []step{on(0, "a"), on(2*sec, "a")}, time.Hour,
			"0s +a command, 2s -a max_on"},
		{"failsafe before the link came back", output.Rules{Failsafe: &output.Failsafe{After: sec, Action: output.FailsafeOff}},
			[]step{on(0, "a"), link(0, "a", false), link(2*sec, "a", true)}, time.Hour, "0s +a command, 2s -a failsafe"},
		{"failsafe, then the timer", output.Rules{Failsafe: &output.Failsafe{After: sec, Action: output.FailsafeOn}},
			[]step{link(0, "a", false), set(0, "a", true, 3*sec)}, time.Hour, "0s +a command"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, err := output.New([]output.Spec{spec("a", tt.rules)}, nil, epoch())
			if err != nil {
				t.Fatal(err)
			}
			r := &runner{t: t, b: b}
			for _, s := range tt.steps {
				if err := s.do(b, after(s.at)); err != nil {
					t.Fatal(err)
				}
				r.due(after(s.at))
			}
			r.due(after(tt.late))
			r.to(tt.late + time.Hour)
			if got := strings.Join(r.log, ", "); got != tt.want {
				t.Errorf("changes:\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestTimeBackwards gives times that are before earlier ones.
func TestTimeBackwards(t *testing.T) {
	t.Parallel()
	b, err := output.New([]output.Spec{spec("a", output.Rules{})}, nil, epoch())
	if err != nil {
		t.Fatal(err)
	}
	b.Due(after(10 * sec))
	if err := b.Set("a", true, 5*sec, after(sec)); err != nil {
		t.Fatal(err)
	}
	if got, want := b.Next(), after(10*sec); got != want {
		t.Errorf("Next before Due = %s, want %s", since(got), since(want))
	}
	if got := b.Due(after(2 * sec)); len(got) != 1 || !got[0].On {
		t.Errorf("Due = %v, want the ON", got)
	}
	if got, want := b.Next(), after(15*sec); got != want {
		t.Errorf("Next = %s, want %s", since(got), since(want))
	}
}

// TestNextIsNotPast asks for Next after a command that came too late to be more than cut short.
func TestNextIsNotPast(t *testing.T) {
	t.Parallel()
	b, err := output.New([]output.Spec{{Name: "a", On: true, Rules: output.Rules{MaxOn: sec}}}, nil, epoch())
	if err != nil {
		t.Fatal(err)
	}
	if err := on(0, "a").do(b, after(5*sec)); err != nil {
		t.Fatal(err)
	}
	if got, want := b.Next(), after(5*sec); got != want {
		t.Errorf("Next = %s, want %s", since(got), since(want))
	}
	if got, want := b.Due(after(5*sec)), (output.Change{Name: "a", Why: "max_on"}); len(got) != 1 || got[0] != want {
		t.Errorf("Due = %v, want %v", got, want)
	}
}
