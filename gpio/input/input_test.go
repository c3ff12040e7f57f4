package input

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// began is when the inputs of tests are made, and boot what the kernel's clock shows then.
var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const boot = 1000 * time.Hour

const ms = time.Millisecond

// step is a call at a time since began.
type step struct {
	at   time.Duration
	call string // rise, fall, read on, read off or tick
	seq  uint32 // of an edge; 0: the next
	late time.Duration
	want Outcome
	next time.Duration // -1: never
}

// runSteps makes the calls and checks what comes of each.
func runSteps(t *testing.T, i *Input, steps []step) {
	t.Helper()
	seq := i.Seq()
	for n, s := range steps {
		var got Outcome
		now := began.Add(s.at + s.late)
		switch s.call {
		case "rise", "fall":
			seq++
			if s.seq != 0 {
				seq = s.seq
			}
			got = i.Edge(s.call == "rise", boot+s.at, seq, now)
		case "read on", "read off":
			got = i.Read(s.call == "read on", now)
		case "tick":
			got = i.Tick(now)
		default:
			t.Fatalf("step %d: %q is no call", n, s.call)
		}
		if diff := cmp.Diff(s.want, got); diff != "" {
			t.Errorf("step %d, %s at %v: -want +got:\n%s", n, s.call, s.at, diff)
		}
		next := time.Duration(-1)
		if at := i.Next(); !at.IsZero() {
			next = at.Sub(began)
		}
		if next != s.next {
			t.Errorf("step %d, %s at %v: next is due at %v, want %v", n, s.call, s.at, next, s.next)
		}
	}
}

func TestEdges(t *testing.T) {
	t.Parallel()
	on, off, same := Outcome{Changed: true, Level: true}, Outcome{Changed: true}, Outcome{Level: true}
	counted := Outcome{Changed: true, Level: true, Counted: true}
	tests := map[string]struct {
		o     Options
		level bool
		steps []step
	}{
		"without a debounce": {Options{}, false, []step{
			{at: 1 * ms, call: "rise", want: on, next: -1}, {at: 2 * ms, call: "tick", want: same, next: -1},
			{at: 3 * ms, call: "fall", want: off, next: -1}, {at: 3 * ms, call: "rise", want: on, next: -1}}},
		// PEERS.md §2.6, defect 5: the last edge of a bounce was lost, and the state stuck.
		"bounce ends on the true level": {Options{Settle: 5 * ms}, false, []step{
			{at: 1 * ms, call: "rise", next: 6 * ms}, {at: 2 * ms, call: "fall", next: -1}, {at: 3 * ms, call: "rise", next: 8 * ms},
			{at: 7 * ms, call: "tick", next: 8 * ms}, {at: 8 * ms, call: "tick", want: on, next: -1},
			{at: 20 * ms, call: "fall", want: same, next: 25 * ms}, {at: 21 * ms, call: "rise", want: same, next: -1},
			{at: 22 * ms, call: "fall", want: same, next: 27 * ms}, {at: 30 * ms, call: "tick", want: off, next: -1}}},
		"what settled is told with the next edge if no tick came": {Options{Settle: 5 * ms, Count: true}, false, []step{
			{at: 1 * ms, call: "rise", next: 6 * ms}, {at: 6 * ms, call: "fall", late: 100 * ms, want: counted, next: 11 * ms},
			{at: 11*ms - 1, call: "rise", late: 100 * ms, want: same, next: -1}}},
		"the kernel's times count, not when they are told": {Options{Settle: 5 * ms, Count: true}, false, []step{
			{at: 1 * ms, call: "rise", late: 50 * ms, next: 56 * ms}, {at: 5 * ms, call: "fall", late: 60 * ms, next: -1},
			{at: 20 * ms, call: "rise", late: 60 * ms, next: 75 * ms}, // known to be no more than 50 ms late
			{at: 26 * ms, call: "fall", late: 54 * ms, want: counted, next: 81 * ms},
			{at: 40 * ms, call: "rise", want: off, next: 45 * ms}, // known to be told at once
			{at: 45 * ms, call: "tick", want: counted, next: -1}}},
		"rising edges are counted": {Options{Count: true}, true, []step{
			{at: 1 * ms, call: "fall", want: off, next: -1}, {at: 2 * ms, call: "rise", want: counted, next: -1},
			{at: 3 * ms, call: "rise", want: Outcome{Level: true, Counted: true, Reread: true}, next: -1},
			{at: 4 * ms, call: "fall", want: off, next: -1}, {at: 5 * ms, call: "fall", want: Outcome{Reread: true}, next: -1}}},
		"lost edges": {Options{}, false, []step{
			{at: 1 * ms, call: "rise", want: on, next: -1},
			{at: 2 * ms, call: "fall", seq: 5, want: Outcome{Changed: true, Lost: 3, Reread: true}, next: -1},
			{at: 3 * ms, call: "fall", seq: 7, want: Outcome{Lost: 1, Reread: true}, next: -1},
			{at: 3 * ms, call: "read off", next: -1},
			{at: 4 * ms, call: "rise", want: on, next: -1}}},
		"a line requested anew": {Options{Seq: 100}, false, []step{
			{at: 1 * ms, call: "rise", want: on, next: -1}, {at: 2 * ms, call: "fall", seq: 1, want: off, next: -1},
			{at: 3 * ms, call: "rise", want: on, next: -1}}},
		"first edges that were lost": {Options{}, false, []step{
			{at: 1 * ms, call: "rise", seq: 4, want: Outcome{Changed: true, Level: true, Lost: 3, Reread: true}, next: -1}}},
		"a scan": {Options{Count: true}, false, []step{
			{at: 1 * ms, call: "read off", next: -1}, {at: 2 * ms, call: "read on", want: counted, next: -1},
			{at: 3 * ms, call: "read on", want: same, next: -1}, {at: 4 * ms, call: "read off", want: off, next: -1}}},
		// PEERS.md §2.6, defect 4: what was polled was not debounced.
		"a scan with a debounce": {Options{Settle: 5 * ms, Count: true}, false, []step{
			{at: 1 * ms, call: "read on", next: 6 * ms}, {at: 2 * ms, call: "read off", next: -1}, {at: 3 * ms, call: "read on", next: 8 * ms},
			{at: 5 * ms, call: "read on", next: 8 * ms}, {at: 9 * ms, call: "read on", want: counted, next: -1}}},
		"a read overtakes an edge": {Options{Count: true}, false, []step{
			{at: 0, call: "rise", want: Outcome{Changed: true, Level: true, Counted: true, Reread: true}, next: -1}, {at: 1 * ms, call: "fall", want: off, next: -1},
			{at: 5 * ms, call: "read on", want: counted, next: -1},
			{at: 4 * ms, call: "rise", late: 2 * ms, want: same, next: -1}, // the same edge
			{at: 7 * ms, call: "fall", want: off, next: -1}, {at: 8 * ms, call: "rise", want: counted, next: -1}}},
		"a read is newer than the edges that it overtakes": {Options{}, false, []step{
			{at: 1 * ms, call: "rise", want: on, next: -1}, {at: 5 * ms, call: "read on", want: same, next: -1},
			{at: 3 * ms, call: "fall", late: 3 * ms, want: Outcome{Changed: true, Reread: true}, next: -1},
			{at: 6 * ms, call: "read on", want: on, next: -1},
			{at: 4 * ms, call: "rise", late: 3 * ms, want: same, next: -1}}},
		"edges that only reads saw are not waited for": {Options{}, false, []step{
			{at: 1 * ms, call: "rise", want: on, next: -1}, {at: 2 * ms, call: "fall", want: off, next: -1},
			{at: 3 * ms, call: "read on", want: on, next: -1}, {at: 4 * ms, call: "read off", want: off, next: -1},
			{at: 5 * ms, call: "rise", want: on, next: -1}, {at: 7 * ms, call: "read on", want: same, next: -1},
			{at: 6 * ms, call: "fall", late: 2 * ms, want: Outcome{Changed: true, Reread: true}, next: -1}}},
		"a clock that goes back": {Options{Settle: 5 * ms}, false, []step{
			{at: 10 * ms, call: "rise", next: 15 * ms}, {at: 5 * ms, call: "fall", next: -1}, {at: 4 * ms, call: "rise", next: 15 * ms},
			{at: 3 * ms, call: "tick", next: 15 * ms}, {at: 15 * ms, call: "tick", want: on, next: -1}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runSteps(t, New(test.o, test.level, began), test.steps)
		})
	}
}

func TestSeqWrapsAround(t *testing.T) {
	t.Parallel()
	tests := []struct{ last, seq, lost uint32 }{
		{0, 0, 0}, {0, 1, 0}, {0, 2, 1}, {5, 6, 0}, {5, 9, 3}, {5, 5, 0}, {5, 4, 0}, {1 << 30, 1, 0},
		{math.MaxUint32, 0, 0}, {math.MaxUint32, 1, 1}, {math.MaxUint32 - 1, math.MaxUint32, 0}, {math.MaxUint32 - 2, 3, 5},
		{0, math.MaxInt32 + 1, math.MaxInt32}, {0, math.MaxInt32 + 2, 0},
	}
	for _, test := range tests {
		i := New(Options{Seq: test.last}, false, began)
		got := i.Edge(true, boot+1, test.seq, began.Add(1))
		want := Outcome{Changed: true, Level: true, Lost: test.lost, Reread: test.lost > 0}
		if diff := cmp.Diff(want, got); diff != "" || i.Seq() != test.seq {
			t.Errorf("edge %d after %d: Seq = %d, -want +got:\n%s", test.seq, test.last, i.Seq(), diff)
		}
	}
}

func TestPresses(t *testing.T) {
	t.Parallel()
	on, off, same := Outcome{Changed: true, Level: true}, Outcome{Changed: true}, Outcome{Level: true}
	press := func(o Outcome, p string) Outcome {
		o.Press = p
		return o
	}
	both := Options{Long: 1000 * ms, Double: 400 * ms}
	tests := map[string]struct {
		o     Options
		level bool
		steps []step
	}{
		"none are asked for": {Options{}, false, []step{{at: 1 * ms, call: "rise", want: on, next: -1}, {at: 5000 * ms, call: "fall", want: off, next: -1}}},
		"single where no double click is asked for": {Options{Long: 1000 * ms}, false, []step{
			{at: 10 * ms, call: "rise", want: on, next: 1010 * ms}, {at: 60 * ms, call: "fall", want: press(off, Single), next: -1}}},
		"single once it can be no double click": {both, false, []step{
			{at: 10 * ms, call: "rise", want: on, next: 1010 * ms}, {at: 60 * ms, call: "fall", want: off, next: 410 * ms},
			{at: 409 * ms, call: "tick", next: 410 * ms}, {at: 410 * ms, call: "tick", want: press(Outcome{}, Single), next: -1}}},
		"single held longer than a double click takes": {both, false, []step{
			{at: 10 * ms, call: "rise", want: on, next: 1010 * ms}, {at: 410 * ms, call: "fall", want: press(off, Single), next: -1}}},
		"single held where no long press is asked for": {Options{Double: 400 * ms}, false, []step{
			{at: 10 * ms, call: "rise", want: on, next: -1}, {at: 9000 * ms, call: "fall", want: press(off, Single), next: -1}}},
		"double": {both, false, []step{
			{at: 10 * ms, call: "rise", want: on, next: 1010 * ms}, {at: 60 * ms, call: "fall", want: off, next: 410 * ms},
			{at: 409 * ms, call: "rise", want: press(on, Double), next: -1}, {at: 3000 * ms, call: "fall", want: off, next: -1}}},
		"two singles": {both, false, []step{
			{at: 10 * ms, call: "rise", want: on, next: 1010 * ms}, {at: 60 * ms, call: "fall", want: off, next: 410 * ms},
			{at: 410 * ms, call: "rise", want: press(on, Single), next: 1410 * ms}, {at: 450 * ms, call: "fall", want: off, next: 810 * ms},
			{at: 900 * ms, call: "tick", want: press(Outcome{}, Single), next: -1}}},
		"three are a double and a single": {both, false, []step{
			{at: 10 * ms, call: "rise", want: on, next: 1010 * ms}, {at: 60 * ms, call: "fall", want: off, next: 410 * ms},
			{at: 110 * ms, call: "rise", want: press(on, Double), next: -1}, {at: 160 * ms, call: "fall", want: off, next: -1},
			{at: 210 * ms, call: "rise", want: on, next: 1210 * ms}, {at: 260 * ms, call: "fall", want: off, next: 610 * ms},
			{at: 610 * ms, call: "tick", want: press(Outcome{}, Single), next: -1}}},
		"long is told while it lasts": {both, false, []step{
			{at: 10 * ms, call: "rise", want: on, next: 1010 * ms}, {at: 1010 * ms, call: "tick", want: press(same, Long), next: -1},
			{at: 1100 * ms, call: "fall", want: off, next: -1}, {at: 1150 * ms, call: "rise", want: on, next: 2150 * ms}}},
		"long, and no tick came": {both, false, []step{
			{at: 10 * ms, call: "rise", want: on, next: 1010 * ms}, {at: 1010 * ms, call: "fall", want: press(off, Long), next: -1}}},
		"two at once, and no tick came": {both, false, []step{
			{at: 10 * ms, call: "rise", want: on, next: 1010 * ms}, {at: 60 * ms, call: "fall", want: off, next: 410 * ms},
			{at: 500 * ms, call: "rise", late: 3000 * ms, want: press(on, Single), next: 1500 * ms},
			{at: 1600 * ms, call: "fall", late: 2000 * ms, want: press(off, Long), next: -1}}},
		"two at once of one call": {Options{Settle: 50 * ms, Long: 100 * ms, Double: 90 * ms}, false, []step{
			{at: 10 * ms, call: "rise", next: 60 * ms}, {at: 61 * ms, call: "fall", want: on, next: 111 * ms},
			{at: 112 * ms, call: "rise", want: press(off, Single), next: 162 * ms},
			{at: 300 * ms, call: "tick", want: press(on, Long), next: -1}}},
		"held at the start is no press": {both, true, []step{
			{at: 5000 * ms, call: "tick", want: same, next: -1}, {at: 6000 * ms, call: "fall", want: off, next: -1}}},
		"bounce does not make it long": {Options{Settle: 10 * ms, Long: 1000 * ms}, false, []step{
			{at: 10 * ms, call: "rise", next: 20 * ms}, {at: 20 * ms, call: "tick", want: on, next: 1010 * ms},
			{at: 1005 * ms, call: "fall", want: same, next: 1015 * ms}, {at: 1014 * ms, call: "tick", want: same, next: 1015 * ms},
			{at: 1015 * ms, call: "tick", want: press(off, Single), next: -1}}},
		"bounce does not end a long one": {Options{Settle: 10 * ms, Long: 1000 * ms}, false, []step{
			{at: 10 * ms, call: "rise", next: 20 * ms}, {at: 20 * ms, call: "tick", want: on, next: 1010 * ms},
			{at: 1005 * ms, call: "fall", want: same, next: 1015 * ms}, {at: 1012 * ms, call: "rise", want: press(same, Long), next: -1}}},
		"a double click that settles late": {Options{Settle: 10 * ms, Double: 400 * ms}, false, []step{
			{at: 10 * ms, call: "rise", next: 20 * ms}, {at: 60 * ms, call: "fall", want: on, next: 70 * ms},
			{at: 100 * ms, call: "tick", want: off, next: 410 * ms}, {at: 409 * ms, call: "rise", next: 419 * ms},
			{at: 415 * ms, call: "tick", next: 419 * ms}, {at: 419 * ms, call: "tick", want: press(on, Double), next: -1}}},
		"the release was lost": {Options{Long: 1000 * ms}, false, []step{
			{at: 10 * ms, call: "rise", want: on, next: 1010 * ms},
			{at: 60 * ms, call: "rise", seq: 3, want: Outcome{Level: true, Lost: 1, Reread: true, Press: Single}, next: 1060 * ms},
			{at: 90 * ms, call: "fall", want: press(off, Single), next: -1}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runSteps(t, New(test.o, test.level, began), test.steps)
		})
	}
}

func TestTwoPressesAreToldOneAfterTheOther(t *testing.T) {
	t.Parallel()
	i := New(Options{Double: 400 * ms}, false, began)
	i.told = []string{Single, Long}
	runSteps(t, i, []step{
		{at: 7 * ms, call: "read off", want: Outcome{Press: Single}, next: 0},
		{at: 8 * ms, call: "tick", want: Outcome{Press: Long}, next: -1},
		{at: 9 * ms, call: "tick", next: -1},
	})
}
