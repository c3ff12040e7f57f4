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
			for seed := range uint64(20) {
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
