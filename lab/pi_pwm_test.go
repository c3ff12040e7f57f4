package lab

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// edge is when a line was driven to a level.
type edge struct {
	at   time.Duration
	high bool
}

// wave is what the edges of a line say of its modulation.
type wave struct {
	cycles               int
	duty                 float64       // high time of all cycles, in percent
	dutyP99              float64       // how far the duty of a single cycle is off the wanted, in points, 99th percentile
	jitterP50, jitterP99 time.Duration // how far periods are off the wanted
	jitterMax            time.Duration
}

// waveOf measures whole cycles, from rising edge to rising edge, against a wanted period and duty in percent.
func waveOf(edges []edge, period time.Duration, duty float64) (w wave) {
	var jitter []time.Duration
	var off []float64
	var high, all time.Duration
	for i := 0; i+2 < len(edges); i++ {
		up, down, next := edges[i], edges[i+1], edges[i+2]
		if !up.high || down.high || !next.high {
			continue
		}
		on, took := down.at-up.at, next.at-up.at
		high, all = high+on, all+took
		jitter = append(jitter, (took - period).Abs())
		off = append(off, math.Abs(100*float64(on)/float64(took)-duty))
	}
	if w.cycles = len(jitter); w.cycles == 0 {
		return w
	}
	slices.Sort(jitter)
	slices.Sort(off)
	w.duty = 100 * float64(high) / float64(all)
	w.dutyP99 = off[len(off)*99/100]
	w.jitterP50, w.jitterP99, w.jitterMax = jitter[len(jitter)/2], jitter[len(jitter)*99/100], jitter[len(jitter)-1]
	return w
}

func TestWaveOf(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	edges := []edge{{0, false}, {10 * ms, true}, {15 * ms, false}, {20 * ms, true}, {24500 * time.Microsecond, false}, {26 * ms, true}, {36 * ms, false}}
	want := wave{cycles: 2, duty: 59.375, dutyP99: 25, jitterP50: 4 * ms, jitterP99: 4 * ms, jitterMax: 4 * ms}
	if got := waveOf(edges, 10*ms, 50); got != want {
		t.Errorf("waveOf = %+v, want %+v", got, want)
	}
	if got := waveOf(edges[:3], 10*ms, 50); got != (wave{}) {
		t.Errorf("waveOf of no cycle = %+v, want nothing", got)
	}
}

// BenchmarkPiPWM measures software modulation at 100 Hz and 50 %, from the kernel's own trace of the line: with nothing else to do, and
// with another program that computes all the time beside it, on the one processor that a virtual Pi has.
func BenchmarkPiPWM(b *testing.B) {
	for _, loaded := range []bool{false, true} {
		b.Run(fmt.Sprintf("load=%t", loaded), func(b *testing.B) {
			h := benchPi(b, "    pwm: {fan: {pin: GPIO18, period: 10ms, initial: 50, driver: software}}\n")
			if loaded {
				h.Start(false, "sh", "-c", "while :; do :; done")
			}
			for range b.N {
				var edges []edge
				for line := range strings.Lines(help(b, h, "pwm", 30*time.Second, 0)) {
					var e edge
					if _, err := fmt.Sscanf(line, "edge %d %t", &e.at, &e.high); err == nil {
						edges = append(edges, e)
					}
				}
				w := waveOf(edges, 10*time.Millisecond, 50)
				if w.cycles < 1000 {
					b.Fatalf("%d cycles in 30 s", w.cycles)
				}
				b.ReportMetric(float64(w.cycles), "cycles")
				b.ReportMetric(w.duty, "%duty")
				b.ReportMetric(w.dutyP99, "points-off-p99")
				b.ReportMetric(float64(w.jitterP50.Microseconds()), "µs-jitter-p50")
				b.ReportMetric(float64(w.jitterP99.Microseconds()), "µs-jitter-p99")
				b.ReportMetric(float64(w.jitterMax.Microseconds()), "µs-jitter-max")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}
