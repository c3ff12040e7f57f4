package discover

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestRecent(t *testing.T) {
	t.Parallel()
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	r := newRecent[int, string](time.Minute, 4)
	if !r.add(1, "one", at(0)) || r.add(1, "two", at(1)) {
		t.Error("add() of the same key twice did not return true, then false")
	}
	if v, ok := r.get(1, at(59)); !ok || v != "one" {
		t.Errorf("get() after 59 s = %q, %v, want one", v, ok)
	}
	if _, ok := r.get(1, at(61)); !ok {
		t.Error("get() after 61 s: gone; it may be there for up to two minutes")
	}
	if _, ok := r.get(1, at(122)); ok {
		t.Error("get() after two minutes: still there")
	}
	for i := range 100_000 {
		r.put(i, "", at(130))
	}
	if n := len(r.cur) + len(r.prev); n > 8 {
		t.Errorf("%d keys are kept, want at most 8", n)
	}
	if _, ok := r.get(99_999, at(130)); !ok {
		t.Error("the newest key is gone")
	}
	r.drop(99_999)
	if _, ok := r.get(99_999, at(130)); ok {
		t.Error("a dropped key is there")
	}
	if !r.add(5, "", at(-1000)) || r.add(5, "", at(-1000)) {
		t.Error("after the clock was set back nothing is remembered")
	}
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	now := time.Now()
	count := func(l *limiter, src netip.Addr, tries int, at time.Time) (n int) {
		for range tries {
			if l.allow(src, at) {
				n++
			}
		}
		return n
	}
	a, b, c := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	l := newLimiter(pace{10, 20}, pace{15, 30})
	for _, tt := range []struct {
		name  string
		src   netip.Addr
		after time.Duration
		want  int
	}{
		{"burst of one source", a, 0, 20},
		{"rest of all for the next", b, 0, 10},
		{"nothing for the third", c, 0, 0},
		{"a second later", a, time.Second, 10},
		{"what all have left", b, time.Second, 5},
		{"clock set back", a, -time.Hour, 0},
		{"much later", a, time.Hour, 20},
	} {
		if got := count(l, tt.src, 100, now.Add(tt.after)); got != tt.want {
			t.Errorf("%s: %d of 100 allowed, want %d", tt.name, got, tt.want)
		}
	}
	many := newLimiter(pace{1, 5}, pace{1000, 1e6})
	for i := range 100_000 {
		many.allow(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if n := len(many.sources.cur) + len(many.sources.prev); n > 2*maxSources {
		t.Errorf("%d sources are remembered, want at most %d", n, 2*maxSources)
	}
}

func TestReplayCacheHoldsWhatTheLimiterLetsThrough(t *testing.T) {
	t.Parallel()
	if most := sealedAll.burst + sealedAll.rate*replayAge.Seconds(); most > replayCap {
		t.Errorf("in %v up to %v requests pass, the cache holds %d", replayAge, most, replayCap)
	}
}

func TestTallyLogsOnceAMinute(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	log := slog.New(slog.NewTextHandler(&text, nil))
	tl := &tally{lines: make(chan logLine, outcomes)}
	now := time.Now()
	for i := range 130 {
		tl.note(malformed, now.Add(time.Duration(i)*time.Second), func() any { return i })
		tl.note(answered, now, nil)
	}
	tl.note(guarded, now, func() any { return "x" })
	close(tl.lines)
	for l := range tl.lines {
		l.write(log)
	}
	for _, want := range []string{"outcome=malformed count=1 example=0\n", "outcome=malformed count=60 example=60\n",
		"outcome=malformed count=60 example=120\n", "outcome=guard count=1 example=x\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, text.String())
		}
	}
	if n := strings.Count(text.String(), "\n"); n != 4 {
		t.Errorf("%d lines were logged, want 4:\n%s", n, text.String())
	}
	if got := tl.all(); got["malformed"] != 130 || got["answered"] != 130 || got["guard"] != 1 || len(got) != int(outcomes) {
		t.Errorf("counts = %v", got)
	}
}

func TestTallyDoesNotBlockOnTheLog(t *testing.T) {
	t.Parallel()
	tl := &tally{lines: make(chan logLine)} // nobody listens
	now := time.Now()
	for range 10 {
		tl.note(rate, now, func() any { return "x" })
	}
	if got := tl.all()["rate"]; got != 10 || tl.unlogged[rate].Load() != 10 {
		t.Errorf("counted %d, %d of them yet to be logged, want 10 and 10", got, tl.unlogged[rate].Load())
	}
}
