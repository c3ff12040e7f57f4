package input

import (
	"testing"
	"time"
)

// BenchmarkEdge takes the edges of a counted and debounced line, 1,000 rising ones a second.
func BenchmarkEdge(b *testing.B) {
	i := New(Options{Settle: 100 * time.Microsecond, Count: true, Long: time.Second, Double: 300 * ms}, false, began)
	n, at := uint32(0), time.Duration(0)
	for b.Loop() {
		n, at = n+1, at+500*time.Microsecond
		i.Edge(n%2 == 1, boot+at, n, began.Add(at))
	}
	if want := uint64(n / 2); i.Count(began).Count != want {
		b.Errorf("counted %d, want %d", i.Count(began).Count, want)
	}
}
