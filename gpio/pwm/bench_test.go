package pwm

import (
	"io"
	"math"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/gpio"
)

// recorder is a line that writes down when it was driven, to what value.
type recorder struct {
	gpio.Line
	edges chan edge
}

type edge struct {
	value int
	time  time.Time
}

func (r *recorder) SetValue(v int) error {
	err := r.Line.SetValue(v)
	select {
	case r.edges <- edge{v, time.Now()}:
	default: // all that is wanted is there
	}
	return err
}

// figures say how good pulses are.
type figures struct {
	periods  int
	took     time.Duration
	shortest time.Duration
	duty     float64         // of all
	widths   []time.Duration // how much pulses are longer or shorter than they are to be, in order
	lengths  []time.Duration // how much periods are, in order
	duties   []float64       // how much the duties of single periods are off, in order
}

// measure makes so many periods on a line of the chip and looks at them.
func measure(tb testing.TB, chip gpio.Chip, offset, periods int, o Options) figures {
	tb.Helper()
	l, err := chip.Request(offset, gpio.LineOptions{Output: true})
	if err != nil {
		tb.Fatal(err)
	}
	r := &recorder{l, make(chan edge, 2*periods+1)}
	ch, err := Software(r, o)
	if err != nil {
		tb.Fatal(err)
	}
	edges := make([]edge, 0, cap(r.edges))
	for range cap(r.edges) {
		edges = append(edges, <-r.edges)
	}
	for _, c := range []io.Closer{ch, l, chip} {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	}
	return evaluate(tb, edges, o)
}

func evaluate(tb testing.TB, edges []edge, o Options) figures {
	tb.Helper()
	on := active(o.Initial, o.Period)
	f := figures{shortest: o.Period}
	var high time.Duration
	for ; len(edges) > 2; edges = edges[2:] {
		if edges[0].value != 1 || edges[1].value != 0 || edges[2].value != 1 {
			tb.Fatalf("period %d: values %v, want 1, 0, 1", f.periods, edges[:3])
		}
		width, length := edges[1].time.Sub(edges[0].time), edges[2].time.Sub(edges[0].time)
		f.periods++
		f.took += length
		f.shortest = min(f.shortest, width)
		high += width
		f.widths = append(f.widths, (width - on).Abs())
		f.lengths = append(f.lengths, (length - o.Period).Abs())
		f.duties = append(f.duties, math.Abs(float64(width)/float64(length)-o.Initial))
	}
	f.duty = float64(high) / float64(f.took)
	slices.Sort(f.widths)
	slices.Sort(f.lengths)
	slices.Sort(f.duties)
	return f
}

// quantile returns a value of a sorted list.
func quantile[T any](list []T, q float64) T { return list[int(q*float64(len(list)-1))] }

// report puts the figures into the benchmark's line: the duty of all, what single duties are off (percent points), and what
// pulses and periods are off (microseconds).
func (f figures) report(b *testing.B, o Options) {
	b.Helper()
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	b.ReportMetric(100*(f.duty-o.Initial), "duty-error-%")
	for _, q := range []struct {
		name string
		q    float64
	}{{"p50", 0.5}, {"p99", 0.99}, {"max", 1}} {
		b.ReportMetric(100*quantile(f.duties, q.q), "duty-"+q.name+"-%")
		b.ReportMetric(us(quantile(f.widths, q.q)), "pulse-"+q.name+"-µs")
		b.ReportMetric(us(quantile(f.lengths, q.q)), "period-"+q.name+"-µs")
	}
}

// load is what the machine has to do beside.
type load struct {
	name  string
	begin func(b *testing.B) (end func())
}

func loads() []load {
	return []load{
		{"idle", func(*testing.B) func() { return func() {} }},
		{"goroutines", busyGoroutines},
		{"processes", busyProcesses},
	}
}

// busyGoroutines keeps every core busy from within this program, which is the worst: the runtime lets each run for 10 ms.
func busyGoroutines(*testing.B) func() {
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !stop.Load() {
			}
		})
	}
	return func() {
		stop.Store(true)
		wg.Wait()
	}
}

// busyProcesses keeps every core busy with another program.
func busyProcesses(b *testing.B) func() {
	b.Helper()
	var started []*exec.Cmd
	for range runtime.NumCPU() {
		c := exec.Command("sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			b.Fatal(err)
		}
		started = append(started, c)
	}
	return func() {
		for _, c := range started {
			if err := c.Process.Kill(); err != nil {
				b.Error(err)
			}
			_ = c.Wait() // says that it was killed
		}
	}
}

// BenchmarkSoftware makes a period at 100 Hz and 50 % an iteration, on a chip in memory and, where the kernel has gpio-sim, on
// that: in a guest of the lab, or by root. Give it time: -benchtime 10s is 1000 periods.
func BenchmarkSoftware(b *testing.B) {
	for _, c := range benchChips() {
		for _, l := range loads() {
			b.Run(c.name+"/"+l.name, func(b *testing.B) {
				o := Options{Period: 10 * time.Millisecond, Initial: 0.5}
				chip, offset := c.open(b)
				defer l.begin(b)()
				b.ResetTimer()
				f := measure(b, chip, offset, max(2, b.N), o)
				b.StopTimer()
				f.report(b, o)
			})
		}
	}
}

type benchChip struct {
	name string
	open func(b *testing.B) (chip gpio.Chip, offset int)
}
