package census

import (
	"testing"
	"time"
)

// TestUnsentRoundsDontCount has a sweep that can send nothing: it must not end by saying that it has heard all.
func TestUnsentRoundsDontCount(t *testing.T) {
	t.Parallel()
	for _, unsent := range []bool{false, true} {
		salt := uint64(0)
		s := New(Config{Sweep: 1, Open: true, Limit: 5 * time.Second, Filter: 1200, Salt: func() uint64 { salt++; return salt }})
		heard := false
		for now := time.Duration(0); ; {
			asks, wake, done := s.Next(now)
			if done {
				break
			}
			for _, a := range asks {
				if unsent && a.Round > 0 {
					s.Unsent()
				}
				if !heard && a.Round > 0 {
					s.Hear(Heard{ID: ID{1}, Seq: a.Seq, First: a.Seq, Tx: 1}, now)
					heard = true
				}
			}
			now = max(wake, now+time.Millisecond)
		}
		if r := s.Result(); r.Complete == unsent {
			t.Errorf("unsent %v: complete %v (%s)", unsent, r.Complete, r.Why)
		}
	}
}
