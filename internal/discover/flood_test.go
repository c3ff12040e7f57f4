package discover

import (
	"testing"
	"time"
)

// A flood is what comes by the thousand and is good for nothing; a sweep of many hosts, and a burst after a long silence, are none.
func TestSurge(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		every time.Duration // between two datagrams
		count int
		want  bool
	}{
		"50,000 a second":    {20 * time.Microsecond, 2000, true},
		"3,000 a second":     {333 * time.Microsecond, 200, true},
		"1,100 a second":     {900 * time.Microsecond, 1000, false},
		"a burst":            {0, 500, false},
		"one a second":       {time.Second, 100, false},
		"a clock that jumps": {-time.Hour, 100, false},
	} {
		var s surge
		now := time.Now()
		for range tt.count {
			if s.add(1, now) {
				s.judge(0, now)
			}
			now = now.Add(tt.every)
		}
		if s.on != tt.want {
			t.Errorf("%s: flood = %v, want %v", name, s.on, tt.want)
		}
		if now = now.Add(time.Minute); !s.add(1, now) || s.judge(0, now) || s.on {
			t.Errorf("%s: it does not end", name)
		}
	}
}

// Of a flood that goes on a part is read, however those that pass are chosen; all is once it is over, and in a burst.
func TestShed(t *testing.T) {
	t.Parallel()
	const chance, all, none = -1, 1, 0
	for name, tt := range map[string]struct {
		pace   float64 // a second
		span   time.Duration
		passes float64 // share of those that come while some are dropped; chance: as many as are to
		want   uint32  // one of so many is read at the end
	}{
		"50,000 a second":            {50_000, time.Second, chance, 6},
		"20,000 a second":            {20_000, time.Second, chance, 3},
		"a million a second":         {1e6, time.Second, chance, shedMost},
		"of which all pass":          {50_000, 5 * time.Second, all, shedStrict},
		"of which none pass":         {50_000, 5 * time.Second, none, 6},
		"9,000 a second":             {9_000, 5 * time.Second, chance, 1},
		"a sweep":                    {1100, 5 * time.Second, chance, 1},
		"a burst of 3,000 datagrams": {75_000, 40 * time.Millisecond, chance, 1},
	} {
		f, now, dropped, left, changes, strict := surge{}, time.Now(), uint64(0), 0.0, 0, false
		step := func(pace float64) {
			const tick = time.Millisecond
			now = now.Add(tick)
			share := 1.0
			if f.of > 1 {
				if share = tt.passes; share == chance {
					share = 1 / float64(f.of)
				}
			}
			left += pace * tick.Seconds() * share
			n := int(left)
			left -= float64(n)
			dropped += uint64(pace * tick.Seconds() * (1 - share))
			if f.add(n, now) && f.judge(dropped, now) {
				changes++
			}
			strict = strict || f.strict
		}
		step(0)
		for range tt.span / time.Millisecond {
			step(tt.pace)
		}
		if max(f.of, 1) != tt.want {
			t.Errorf("%s: one of %d is read, want %d", name, f.of, tt.want)
		}
		if most := int(tt.span/shedTurn) + shedMost; changes > most {
			t.Errorf("%s: what the kernel drops was changed %d times, want %d at most", name, changes, most)
		}
		if want := tt.passes == all; strict != want {
			t.Errorf("%s: first requests are dropped too: %v, want %v", name, strict, want)
		}
		for range 2 * floodSpan / time.Millisecond {
			step(0)
		}
		if f.of > 1 || f.on {
			t.Errorf("%s: it does not end", name)
		}
	}
}
