package census

import (
	"testing"
	"time"

	"rollcall/lab/loss"
)

// TestLulledHost has a host look at what has come once in 3 ms only, as one does that is flooded: no sweep may end before it has answered.
// With 5 ms one of a thousand does, with 20 ms more than half.
func TestLulledHost(t *testing.T) { t.Parallel(); notTooEarly(t, 3*time.Millisecond, 0) }

// TestShedHost has a host look once in 2 ms, and take but the first request and one of six, by their numbers, as one does that is flooded
// for longer. If the first one is not taken for certain, two of a thousand sweeps end too early; if each of four is left to chance, one of
// twenty.
func TestShedHost(t *testing.T) { t.Parallel(); notTooEarly(t, 2*time.Millisecond, 6) }

// TestStrictlyShedHost has it take one of four of all, where a flood looks like first requests, in a network of which so many answer at once
// that few requests are enough for the others.
func TestStrictlyShedHost(t *testing.T) {
	t.Parallel()
	const n = 300
	for i := range long(6) * 5 {
		w := world{n: n, loss: loss.Independent(0), lull: 2 * time.Millisecond, shed: 4, strict: true, configure: func(c *Config) {
			c.Most = 65_534
			for k := 1; k < n; k++ {
				c.Known = append(c.Known, idOf(k))
			}
		}}
		if got := w.run(uint64(i)); got.Complete && got.heard+len(got.Missing) < n {
			t.Errorf("seed %d: heard %d: %+v", i, got.heard, got.Result)
		}
	}
}

// notTooEarly sweeps when all are known but the host that is hard to hear.
func notTooEarly(t *testing.T, lull time.Duration, shed uint32) {
	for _, n := range []int{1, 3, 10, 100} {
		for _, lost := range []float64{0, 0.1} {
			for i := range long(6) * 20 {
				w := world{n: n, known: n - 1, loss: loss.Independent(lost), lull: lull, shed: shed,
					configure: func(c *Config) {
						c.Most, c.Known = smallNetwork, nil
						for k := 1; k < n; k++ {
							c.Known = append(c.Known, idOf(k))
						}
					}}
				if got := w.run(uint64(i)); got.Complete && got.heard+len(got.Missing) < n {
					t.Errorf("%d hosts, loss %v, seed %d: heard %d: %+v", n, lost, i, got.heard, got.Result)
				}
			}
		}
	}
}
