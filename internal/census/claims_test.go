package census

import (
	"testing"
	"time"

	"rollcall/lab/loss"
)

// TestClaims lets replies take their time to be opened: the second round is sent meanwhile, and asks those alone in whose names none has
// come. Where some of them were somebody else's, everyone is heard all the same.
func TestClaims(t *testing.T) {
	t.Parallel()
	const n = 100
	for name, tt := range map[string]struct {
		lost   float64
		forged int
	}{
		"none lost":             {0, 0},
		"some lost":             {0.1, 0},
		"many lost":             {0.3, 0},
		"one forged":            {0.1, 1},
		"as many as are forged": {0.1, n},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(6) {
				w := world{n: n, loss: loss.Independent(tt.lost), forged: tt.forged, opening: 500 * time.Microsecond,
					configure: func(c *Config) { c.Most = smallNetwork }}
				got := w.run(seed)
				if got.heard < n || !got.Complete {
					t.Errorf("seed %d: heard %d of %d: %+v", seed, got.heard, n, got.Result)
				}
			}
		})
	}
}

// TestSecondRoundDoesNotWait looks at a sweep whose first replies come at once and are opened late.
func TestSecondRoundDoesNotWait(t *testing.T) {
	t.Parallel()
	s := New(Config{Sweep: 1, Open: true, Most: smallNetwork, Limit: 5 * time.Second, Filter: 1200, Salt: func() uint64 { return 7 }})
	next := func(at time.Duration) (round uint16) {
		asks, _, done := s.Next(at)
		if done {
			t.Fatalf("sweep is over at %v", at)
		}
		if len(asks) > 0 {
			round = asks[0].Round
		}
		return round
	}
	next(0)
	for i := range crowd {
		s.Claim(idOf(i), time.Millisecond)
	}
	s.Claim(idOf(0), time.Millisecond) // it has sent two
	s.Socket(0, false, true)
	now := time.Millisecond
	for next(now) != 2 {
		if now += time.Millisecond; now > 50*time.Millisecond {
			t.Fatal("no second round, though all that is left is to open replies")
		}
	}
	if got := len(s.ids); got != crowd {
		t.Errorf("%d hosts in the filter, want %d", got, crowd)
	}
	for i := range crowd {
		if i > 0 && !s.Hear(Heard{ID: idOf(i), Seq: 1, First: 1, Tx: 1}, time.Millisecond) {
			t.Errorf("host %d is not heard for the first time", i)
		}
		s.Settle(idOf(i))
	}
	for range 20 { // whatever is sent, nothing ends: host 0's second reply is to be opened
		now += 100 * time.Millisecond
		s.Next(now)
	}
	if s.cur.number != 2 {
		t.Fatalf("round %d, want the second one to wait for what is to be opened", s.cur.number)
	}
	s.Settle(idOf(0))
	if s.heard[idOf(0)] || len(s.ids) != crowd-1 || s.fresh != crowd-1 {
		t.Errorf("a host is heard in whose name others have answered: %d of them", len(s.ids))
	}
	s.Socket(0, false, false)
	s.Next(now)
	if got := len(s.done); got != 1 {
		t.Errorf("%d rounds count, want the first one alone", got)
	}
}

// TestFirstRoundEnds has somebody claim a new host every 3 ms, each of which is found out 1 ms later: the others are asked again all the same.
func TestFirstRoundEnds(t *testing.T) {
	t.Parallel()
	s := New(Config{Sweep: 1, Open: true, Most: smallNetwork, Limit: 5 * time.Second, Filter: 1200, Salt: func() uint64 { return 7 }})
	var open []ID
	for now, n := time.Duration(0), 0; ; now += time.Millisecond {
		asks, _, done := s.Next(now)
		if len(asks) > 0 && asks[0].Round > 1 {
			return
		}
		if done || now > 500*time.Millisecond {
			t.Fatalf("no second round at %v, after %d claims: %+v", now, n, s.Result())
		}
		for _, id := range open {
			s.Settle(id)
		}
		open = nil
		if now%(3*time.Millisecond) == 0 {
			n++
			s.Claim(idOf(1000+n), now)
			open = append(open, idOf(1000+n))
		}
		s.Socket(0, false, len(open) > 0)
	}
}

// TestForgedClaimsHideNobody has everybody's name claimed who may not have heard the first request: the round that left them out is no reason
// to end.
func TestForgedClaimsHideNobody(t *testing.T) {
	t.Parallel()
	for _, make := range []func() loss.Model{
		func() loss.Model { return loss.NewPacketBursts(0.1, 4) },
		func() loss.Model { return loss.NewPacketBursts(0.02, 4) },
		func() loss.Model { return loss.NewTimeBursts(0.1, 5*time.Millisecond) },
	} {
		wrong, sweeps := 0, long(40)
		for i := range uint64(sweeps) {
			seed := 130 + i // of these, 142, 147 and 162 of the first and 133 of the last model ended too early
			w := world{n: 60, loss: make(), forged: 60, opening: 500 * time.Microsecond, configure: func(c *Config) { c.Most = smallNetwork }}
			if got := w.run(seed); got.Complete && got.heard < 60 {
				wrong++
			}
		}
		if wrong > sweeps/1000 {
			t.Errorf("%d of %d sweeps missed a host and said that they were complete", wrong, sweeps)
		}
	}
}

// TestRangeBelievesNobody: where each address is asked a few times at most, no round is lost to who is only claimed.
func TestRangeBelievesNobody(t *testing.T) {
	t.Parallel()
	s := New(Config{Sweep: 1, Open: true, Range: true, Most: smallNetwork, Limit: 5 * time.Second, Filter: 1200, Salt: func() uint64 { return 7 }})
	s.Next(0)
	s.Claim(idOf(1), time.Millisecond)
	if n := s.Hosts(); n != 0 {
		t.Errorf("%d hosts are believed, want none", n)
	}
	if s.Socket(0, false, true); !s.waiting(s.cur) {
		t.Error("the round does not wait for what is to be opened")
	}
}
