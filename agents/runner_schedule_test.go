package agents

import (
	"slices"
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := newSchedule(now.Add(-4*time.Second), func() float64 { return 0.5 })
	s.set("a", 10*time.Second, now)
	s.set("b", 10*time.Second, now)
	s.set("c", time.Minute, now)
	s.set("once", 0, now)

	first := s.due(now)
	if len(first) != 3 || !slices.Equal(first[0].paths, []string{"a", "b"}) || first[0].every != 10*time.Second {
		t.Fatalf("due at the start = %+v, want a and b together, c, once", first)
	}
	if again := s.due(now); len(again) != 0 {
		t.Errorf("due twice = %+v, want nothing", again)
	}
	if got, want := s.next(), now.Add(6*time.Second); got != want {
		t.Errorf("next = %v, want %v: with the beat", got, want)
	}
	second := s.next()
	if b := s.due(second); len(b) != 1 || !slices.Equal(b[0].paths, []string{"a", "b"}) {
		t.Errorf("due = %+v, want a and b", b)
	}
	if got, want := s.next(), second.Add(10*time.Second); got != want {
		t.Errorf("next = %v, want %v", got, want)
	}
	lag := s.next().Add(time.Second) // a busy machine: this one late, the next one not
	if b := s.due(lag); len(b) != 1 || s.next() != second.Add(20*time.Second) {
		t.Errorf("due a second late = %+v, next %v, want a and b, and then %v", b, s.next(), second.Add(20*time.Second))
	}
	late := second.Add(time.Hour) // a machine that slept: once, and not for every time that was missed
	if b := s.due(late); len(b) != 2 {
		t.Errorf("due after an hour = %+v, want two batches", b)
	}
	if !s.next().After(late) {
		t.Errorf("next = %v, want later than %v", s.next(), late)
	}
}

// TestScheduleInStep wants services that start at any time, with any intervals, to be due at the same moments, each after no less than
// half and no more than one and a half of its interval.
func TestScheduleInStep(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	beat := newBeat(start, 0.3)
	if got, want := beat, start.Add(-18*time.Minute); got != want {
		t.Errorf("beat = %v, want %v", got, want)
	}
	const every = 2 * time.Second
	for offset := time.Duration(0); offset < 3*every; offset += 77 * time.Millisecond {
		s, now := newSchedule(beat, func() float64 { return 0 }), start.Add(offset)
		s.set("slow", every, now)
		s.set("fast", every/4, now)
		s.due(now)
		if p := s.points["slow"]; p.due.Sub(beat)%every != 0 || p.due.Sub(now) < every/2 || p.due.Sub(now) > every/2*3 {
			t.Errorf("started at %v: due %v after it, %v after the beat", offset, p.due.Sub(now), p.due.Sub(beat)%every)
		}
		if fast := s.points["fast"].due; s.points["slow"].due.Sub(fast)%(every/4) != 0 {
			t.Errorf("started at %v: the slow is due %v after the fast", offset, s.points["slow"].due.Sub(fast))
		}
	}
}

func TestScheduleBacksOffAndComesBackInStep(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := newSchedule(now, func() float64 { return 1 })
	s.set("good", time.Second, now)
	s.set("bad", time.Second, now)
	s.due(now)
	var waits []time.Duration
	for range 8 {
		s.failed("bad", now)
		waits = append(waits, s.points["bad"].due.Sub(now))
	}
	want := []time.Duration{2, 4, 8, 10, 10, 10, 10, 10}
	for i := range want {
		if waits[i] != want[i]*time.Second {
			t.Errorf("wait after failure %d = %v, want %v", i+1, waits[i], want[i]*time.Second)
		}
	}
	s.ok("bad", now.Add(time.Minute))
	s.due(now.Add(time.Minute))
	if s.points["bad"].due != s.points["good"].due {
		t.Errorf("after its recovery the point is due at %v, the other of its interval at %v", s.points["bad"].due, s.points["good"].due)
	}
	s.set("once", 0, now)
	s.due(now)
	s.failed("once", now)
	if s.points["once"].due.IsZero() {
		t.Error("a point that is read once is not tried again after a failure")
	}
}

// TestScheduleWakesAll has the source of three points come back: the one that notices has the others looked at, which then need not wait
// for the end of a back-off of their own.
func TestScheduleWakesAll(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := newSchedule(now, func() float64 { return 1 })
	for _, path := range []string{"a", "b", "c"} {
		s.set(path, 20*time.Second, now)
	}
	s.due(now)
	for range 5 {
		s.failed("a", now)
		s.failed("b", now)
	}
	if wait := s.points["a"].due.Sub(now); wait != time.Minute {
		t.Errorf("a point that is polled every 20 s waits %v, want 1m", wait)
	}
	healthy := s.points["c"].due
	now = now.Add(15 * time.Second)
	s.ok("b", now)
	if got := s.due(now); len(got) != 1 || !slices.Equal(got[0].paths, []string{"a"}) {
		t.Errorf("due once another is back: %v, want a", got)
	}
	if s.points["c"].due != healthy {
		t.Error("a point that has not failed is looked at, too")
	}
	s.failed("a", now) // for another reason: its back-off goes on
	if wait := s.points["a"].due.Sub(now); wait != time.Minute {
		t.Errorf("then it waits %v, want 1m", wait)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1000: time.Minute} {
		if got := backoff(time.Second, n, backoffMost, 1); got != want {
			t.Errorf("backoff(1s, %d) = %v, want %v", n, got, want)
		}
		if got := backoff(time.Second, n, backoffMost, 0); got != want*3/4 {
			t.Errorf("backoff(1s, %d) with the least jitter = %v, want %v", n, got, want*3/4)
		}
	}
	if got := backoff(time.Hour, 3, backoffMost, 1); got != time.Hour {
		t.Errorf("backoff of an hourly poll = %v, want 1h", got)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	var f faults
	steps := []struct {
		do   func() bool
		news bool
		want string
	}{
		{func() bool { return f.set("a", "A") }, true, "A"},
		{func() bool { return f.set("a", "A") }, false, "A"},
		{func() bool { return f.set("b", "B") }, true, "B (and 1 more)"},
		{func() bool { return f.set("a", "A2") }, true, "A2 (and 1 more)"},
		{func() bool { return f.clear("a") }, true, "B"},
		{func() bool { return f.clear("a") }, false, "B"},
		{func() bool { f.keep(func(string) bool { return false }); return true }, true, ""},
	}
	for i, s := range steps {
		if got := s.do(); got != s.news || f.text() != s.want {
			t.Errorf("step %d: news %v, text %q, want %v, %q", i, got, f.text(), s.news, s.want)
		}
	}
}
