package census

import (
	"math/rand/v2"
	"testing"
	"time"

	"rollcall/lab/loss"
)

// unknown returns a sweep of an open network in which nobody is known. A request has room for so many bytes of filter.
func unknown(room int) *Sweep {
	return New(Config{Sweep: 1, Open: true, Most: smallNetwork, Filter: room, Limit: 5 * time.Second, Salt: rand.Uint64})
}

// asksOf runs a sweep in which so many hosts answer the first request after answerTime and nothing else is heard but what late tells of, and
// returns what it asks and when it ends.
func asksOf(s *Sweep, hosts int, late func(a Ask, now time.Duration)) (all []Ask, end time.Duration) {
	for now := time.Duration(0); ; {
		asks, wake, done := s.Next(now)
		if done {
			return all, now
		}
		for _, a := range asks {
			all = append(all, a)
			if a.Seq == 1 {
				now += answerTime
				for i := range hosts {
					s.Hear(Heard{ID: idOf(i), Seq: 1, First: 1, Tx: 1}, now)
				}
				wake = now
			} else if late != nil {
				late(a, now)
			}
		}
		now = max(now, wake)
	}
}

const answerTime = time.Millisecond

// rounds returns the requests of each round, and its salt.
func rounds(asks []Ask) (copies map[uint16]int, salts map[uint16]uint64, last uint16) {
	copies, salts = map[uint16]int{}, map[uint16]uint64{}
	for _, a := range asks {
		copies[a.Round]++
		salts[a.Round], last = a.Salt, a.Round
	}
	return copies, salts, last
}

// TestSameQuestion has nobody answer after the first round: hosts are to know the requests that follow by their salt. But where a filter
// hides one of a thousand, and somebody may be unheard, it is to hide another each time.
func TestSameQuestion(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ hosts, room int }{{1, 1200}, {3, 1200}, {3, 20}, {20, 1200}, {100, 1200}} {
		asks, _ := asksOf(unknown(tt.room), tt.hosts, nil)
		_, salts, last := rounds(asks)
		if last < 5 || salts[1] == salts[2] || (salts[last] == salts[last-1]) != (tt.room == 1200) {
			t.Errorf("%d hosts, room for %d bytes: salts of %d rounds: %x", tt.hosts, tt.room, last, salts)
		}
	}
}

// TestEnoughOfSecondRound has the first request after the first round answered, or none: where something gets lost, the rest of the copies
// would wake those for nothing who have answered.
func TestEnoughOfSecondRound(t *testing.T) {
	t.Parallel()
	asks, _ := asksOf(unknown(1200), 100, nil)
	none, _, _ := rounds(asks)
	s := unknown(1200)
	asks, _ = asksOf(s, 100, func(a Ask, now time.Duration) {
		if a.Round == 2 {
			s.Hear(Heard{ID: idOf(200), Seq: a.Seq, First: 2, Tx: 1}, now)
		}
	})
	some, salts, _ := rounds(asks)
	if none[2] != quietCopies || some[2] != blindCopies || salts[3] == salts[2] {
		t.Errorf("%d and %d copies of round 2, want %d where nobody answers and %d else; salts %x", none[2], some[2], quietCopies, blindCopies, salts)
	}
}

// known returns a sweep of a network in which so many hosts are known.
func known(hosts, most int) *Sweep {
	c := Config{Sweep: 1, Open: true, Most: most, Filter: 1200, Limit: 5 * time.Second, Salt: rand.Uint64}
	for i := range hosts {
		c.Known = append(c.Known, idOf(i))
	}
	return New(c)
}

// TestKnownAtOnce has all who are known answer the first request: the others are asked from there on, with as many requests as it takes and
// no more, which hosts know for the same question; and who may be slow has his time.
func TestKnownAtOnce(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 10, 100} {
		s, second := known(n, smallNetwork), time.Duration(0)
		s.c.Late = true
		asks, end := asksOf(s, n, func(a Ask, now time.Duration) {
			if a.Round == 2 && a.First {
				second = now
			}
		})
		copies, salts, last := rounds(asks)
		if second != answerTime || copies[1] != 1 || copies[2] != LeastAsks-1 {
			t.Errorf("%d hosts: %d copies of round 1 and %d of round 2, which begins at %v, want 1, %d and %v", n, copies[1], copies[2], second, LeastAsks-1, answerTime)
		}
		different := map[uint64]bool{}
		for round := uint16(2); round <= last; round++ {
			different[salts[round]] = true
		}
		if len(different) > 2 || n >= 10 && len(different) > 1 {
			t.Errorf("%d hosts: later rounds have %d salts", n, len(different))
		}
		if !s.Result().Complete || end < soonest {
			t.Errorf("%d hosts: ends at %v with %+v, want it complete, %v at the earliest", n, end, s.Result(), soonest)
		}
	}
}

// TestKnownFewCopies has ten known hosts answer the first request: the rounds after the third ask twice, and oftener where something was lost,
// somebody was not known, or so few answered that they say little of losses.
func TestKnownFewCopies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		hosts int    // of those known, that answer the first request
		also  *Heard // answers the second
		want  int
	}{
		{"nothing lost", 10, nil, fewCopies},
		{"few", 3, nil, knownCopies},
		{"a request lost", 10, &Heard{ID: idOf(10), Seq: 2, First: 2, Tx: 1}, knownCopies},
		{"a reply lost", 10, &Heard{ID: idOf(10), Seq: 2, First: 1, Tx: 2}, knownCopies},
		{"one not known", 10, &Heard{ID: idOf(99), Seq: 2, First: 1, Tx: 1}, knownCopies},
	} {
		all := tt.hosts
		if tt.also != nil && tt.also.ID == idOf(all) {
			all++
		}
		s := known(all, smallNetwork)
		s.c.Late = true
		asks, _ := asksOf(s, tt.hosts, func(a Ask, now time.Duration) {
			if a.Seq == 2 && tt.also != nil {
				s.Hear(*tt.also, now)
			}
		})
		copies, _, last := rounds(asks)
		for round := uint16(4); round < last; round++ { // the last one may be cut short
			if copies[round] != tt.want {
				t.Errorf("%s: %d copies of round %d, want %d", tt.name, copies[round], round, tt.want)
			}
		}
		if last < 5 || !s.Result().Complete {
			t.Errorf("%s: %d rounds, %+v", tt.name, last, s.Result())
		}
	}
}

// TestProbesOfEach has many known hosts be gone: each is asked by unicast as often as one would be, whatever of the round is spared.
func TestProbesOfEach(t *testing.T) {
	t.Parallel()
	const n, gone = 100, 20
	s, to := known(n, smallNetwork), map[ID]int{}
	for now := time.Duration(0); ; {
		asks, wake, done := s.Next(now)
		if done {
			break
		}
		for _, a := range asks {
			if a.To != (ID{}) {
				to[a.To]++
			}
			for i := gone; i < n && a.Seq == 1; i++ {
				s.Hear(Heard{ID: idOf(i), Seq: 1, First: 1, Tx: 1}, now+time.Millisecond)
			}
		}
		now = max(now+time.Millisecond, wake)
	}
	for i := range gone {
		if got := to[idOf(i)]; got != Probes {
			t.Errorf("host %d was asked %d times, want %d", i, got, Probes)
		}
	}
}

// TestPartsAreAllAsked has more hosts answer than one filter holds, and one of the first part in the second round: the others of that
// round are asked as well.
func TestPartsAreAllAsked(t *testing.T) {
	t.Parallel()
	s, asked := known(400, 65_534), map[uint64]int{}
	for now := time.Duration(0); ; {
		asks, wake, done := s.Next(now)
		if done {
			break
		}
		for _, a := range asks {
			if a.Round == 2 && a.To == (ID{}) {
				asked[a.Lo]++
			}
			for i := 0; i < 3000 && a.Seq == 1; i++ {
				s.Hear(Heard{ID: idOf(i), Seq: 1, First: 1, Tx: 1}, now+time.Millisecond)
			}
			if a.Seq == 2 {
				s.Hear(Heard{ID: idOf(5000), Seq: 2, First: 1, Tx: 1}, now)
			}
		}
		now = max(now+time.Millisecond, wake)
	}
	for lo, n := range asked {
		if n != asked[0] || len(asked) < 2 {
			t.Errorf("part from %x was asked %d times, the first one %d times, of %d", lo, n, asked[0], len(asked))
		}
	}
}

// TestFewRequests holds a sweep to what it costs the network where nothing gets lost: what it waits for at the end is that a burst of losses
// would have ended, and to ask on and on meanwhile tells it no more.
func TestFewRequests(t *testing.T) {
	t.Parallel()
	for _, n := range []int{10, 100} {
		w := world{n: n, loss: loss.Independent(0), configure: func(c *Config) { c.Most = smallNetwork }}
		sum, ends := 0, time.Duration(0)
		const sweeps = 20
		for seed := range uint64(sweeps) {
			got := w.run(seed)
			sum += got.requestBytes / simRequest
			ends = max(ends, got.ends)
		}
		if got := sum / sweeps; got > 70 {
			t.Errorf("%d hosts: %d requests a sweep, want 70 at most (105 to 165 without a pace)", n, got)
		}
		if ends > 80*time.Millisecond {
			t.Errorf("%d hosts: a sweep took %v, want 80 ms at most", n, ends)
		}
	}
}

// TestSlowCrowd has a sample show that there are many hosts, of whom few have answered when the first round is over, and none is lost: the
// others are slow, and are not to answer the second round eight times each, all at once. Nobody is waited for who does not come at all.
func TestSlowCrowd(t *testing.T) {
	t.Parallel()
	const sampled, quick = 60, 100
	s := New(Config{Sweep: 1, Open: true, Buffer: 6553, Filter: 1200, Limit: 5 * time.Second, Salt: rand.Uint64})
	heard := 0
	hear := func(hosts int, a Ask, now time.Duration) {
		for ; heard < hosts; heard++ {
			s.Hear(Heard{ID: idOf(heard), Seq: a.Seq, First: 1, Tx: 1}, now)
		}
	}
	var second, third Ask
	end := time.Duration(0)
	for now := end; ; end = now {
		asks, wake, done := s.Next(now)
		if done {
			break
		}
		for _, a := range asks {
			switch now += time.Millisecond; {
			case a.Round == 0:
				hear(sampled, a, now)
			case a.Round == 1:
				hear(quick, a, now)
			case a.Round == 2 && a.First:
				second = a
			case a.Round == 3 && a.First:
				third = a
			}
		}
		now = max(now, wake)
	}
	if second.Copies > 2 || second.Window == 0 {
		t.Errorf("round 2: each is to answer %d times, within %v, want twice at most and not at once", second.Copies, second.Window)
	}
	if third.Copies != quietCopies || third.Window != 0 || end > time.Second {
		t.Errorf("round 3: each is to answer %d times, within %v, and the sweep ends after %v, want %d times, at once and soon", third.Copies, third.Window, end, quietCopies)
	}
}
