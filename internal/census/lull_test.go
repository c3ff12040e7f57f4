package census

import (
	"testing"
	"time"

	"rollcall/lab/loss"
)

// TestLulledHost has somebody keep a host from looking at once at what comes (discover's lull of 2 ms): no sweep may end before it has
// answered. With 20 ms, a quarter of them did.
func TestLulledHost(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3, 10, 100} {
		for _, lost := range []float64{0, 0.1} {
			for i := range long(6) * 20 {
				w := world{n: n, known: n - 1, loss: loss.Independent(lost), lull: 2 * time.Millisecond,
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
