package lab

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// The figures of docs/benchmarks.md about sweeps of hosts that obey an operator: signed, sealed, with what their agents describe.

var sweepsEach = flag.Int("sweeps", 0, "how often each case of the benchmarks of sweeps is swept; 0: as often as docs/benchmarks.md says")

func times(full int) int {
	if *sweepsEach > 0 {
		return *sweepsEach
	}
	return full
}

// floorOf measures the floor (see floor) from host i: the median and the 90th percentile.
func floorOf(b *testing.B, l *LAN, i, hosts, runs int) series {
	b.Helper()
	s := series{name: "floor", want: hosts}
	for k := range runs + 3 {
		<-time.After(*benchEvery)
		var d time.Duration
		var err error
		if inside := Inside(l.NS(i), func() { d, err = floorOn(l.Bits, hosts) }); inside != nil {
			b.Fatal(inside)
		}
		if k >= 3 && err == nil {
			s.last = append(s.last, ms(d))
		}
	}
	fmt.Printf("floor of %d hosts: %.2f (%.2f) ms, %d of %d complete\n", hosts, quantile(s.last, 0.5), quantile(s.last, 0.9), len(s.last), runs)
	return s
}

// bootAll boots hosts 1 to n, each with udpmon and agentd, and waits until a sweep finds all their services.
func (p *laptop) bootAll(t testing.TB, n int, file string) {
	t.Helper()
	for i := 1; i <= n; i++ {
		p.l.Boot(i, HostConfig{Extra: obeying(file)})
	}
	for deadline := time.Now().Add(time.Minute); ; {
		s, err := p.sweep(false)
		if err == nil && s.services == 2*n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("found %d services of %d hosts, %v", s.services, s.heard, err)
		}
	}
}

// settle waits until the hosts have told the programs of the original form of the last sweep, which they do within 0.8 s, so that a sweep
// is not measured beside that: as between the sweeps of somebody who looks at what they say.
func settle() { <-time.After(time.Second) }

// table prints rows: the log of a benchmark is cut off after ten lines.
func table(rows ...series) {
	fmt.Println(seriesHead)
	for _, s := range rows {
		fmt.Println(s)
	}
}

// BenchmarkRealHosts sweeps 10 and 100 hosts, each with its own udpmon and agentd: whom nobody knows, whose keys are known, and who are
// on the list of the sweep before; with lossy links, and with lossy links and nobody's hardware address known.
func BenchmarkRealHosts(b *testing.B) {
	Need(b, "nft")
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			l := NewLAN(b, n+1)
			key, file := newOperator(b, l)
			p := newLaptop(b, l, n+1, n, key)
			p.bootAll(b, n, file)
			for i := 1; i <= n; i++ {
				l.Start(i, false, os.Args[0], "-test.run", "^TestBenchHelper$", "-role", "echo").WaitLine("echoing", patience)
			}
			<-time.After(2 * time.Second) // what start-up left to do
			for range b.N {
				f := floorOf(b, l, n+1, n, times(100))
				rows := []series{p.sweeps(b, fmt.Sprintf("%d, nobody known", n), times(150), settle)}
				for _, lost := range []float64{0.1, 0.3} {
					l.Lose(lost, false)
					rows = append(rows, p.sweeps(b, fmt.Sprintf("%d, nobody known, %.0f %%", n, lost*100), times(150), settle))
				}
				for _, lost := range []float64{0.1, 0.3} {
					l.Lose(lost, true)
					rows = append(rows, p.sweeps(b, fmt.Sprintf("%d, no hardware address known, every kind of frame %.0f %%", n, lost*100), times(100), func() { settle(); l.Forget(n + 1) }))
				}
				l.Lose(0, true)
				q := newLaptop(b, l, n+1, n, key)
				if _, err := q.sweep(true); err != nil {
					b.Fatal(err)
				}
				known := q.sweeps(b, fmt.Sprintf("%d, known", n), times(100), settle)
				table(append(rows, known)...)
				b.ReportMetric(quantile(f.last, 0.5), "ms-floor")
				b.ReportMetric(quantile(rows[0].last, 0.5)/quantile(f.last, 0.5), "last/floor")
				b.ReportMetric(quantile(known.last, 0.5)/quantile(f.last, 0.5), "known/floor")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// BenchmarkManyHosts sweeps 1,000 hosts in network namespaces whom nobody has talked to, and counts the ARP frames that it causes; the floor is
// of those that know each other's hardware addresses.
func BenchmarkManyHosts(b *testing.B) {
	Need(b)
	const n = 1000
	l := NewLAN(b, n+1)
	l.ManyNeighbours(4 * n) // a laptop at two addresses, and what the laptop knows
	key, _ := newOperator(b, l)
	for _, closed := range []bool{false, true} {
		b.Run(fmt.Sprintf("closed=%v", closed), func(b *testing.B) {
			p := newLaptop(b, l, n+1, n, key)
			operator := key.Public().Key
			if !closed {
				operator = nil
			}
			r := l.respond(n, operator)
			defer r.Stop()
			f := floorOf(b, l, n+1, n, times(20))
			arp := countARP(b, l) // not the floor's
			for range b.N {
				frames := 0
				cold := func() {
					frames += arp.since(b)
					settle()
					l.Forget(n + 1)
					arp.since(b)
				}
				rows := []series{p.sweeps(b, fmt.Sprintf("%d, nobody known, closed %v", n, closed), times(10), cold)}
				if closed {
					q := newLaptop(b, l, n+1, n, key)
					if _, err := q.sweep(true); err != nil {
						b.Fatal(err)
					}
					rows = append(rows, q.sweeps(b, fmt.Sprintf("%d, known", n), times(10), cold))
				}
				table(rows...)
				s := rows[len(rows)-1]
				b.ReportMetric(float64(frames+arp.since(b)), "ARP-frames")
				b.ReportMetric(quantile(s.last, 0.5), "ms-last")
				b.ReportMetric(quantile(s.last, 0.5)/quantile(f.last, 0.5), "last/floor")
				b.ReportMetric(float64(s.whole)/float64(s.all), "recall")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// BenchmarkLaptops has 20 laptops sweep at once, and one alone before. With 100 hosts, which then look at 50,000 datagrams, it would
// measure the bed's processors: fleetctl measure --laptops 20 is for that.
func BenchmarkLaptops(b *testing.B) {
	Need(b)
	const laptops = 20
	for _, n := range []int{10} {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			l := NewLAN(b, n+laptops)
			l.ManyNeighbours(4 * n * laptops)
			key, _ := newOperator(b, l)
			l.respond(n, key.Public().Key)
			// udpsrv ends before it would collect its garbage for the first time. These laptops do so between the sweeps.
			defer debug.SetGCPercent(debug.SetGCPercent(-1))
			all := make([]*laptop, laptops)
			for i := range all {
				all[i] = newLaptop(b, l, n+1+i, n, key)
				if _, err := all[i].sweep(true); err != nil {
					b.Fatal(err)
				}
			}
			f, many := floorOf(b, l, n+1, n, times(20)), series{}
			for range times(20) {
				took, errs := make([]time.Duration, laptops), make([]error, laptops)
				atOnce(laptops, func(i int) {
					if err := Inside(l.NS(n+1+i), func() { took[i], errs[i] = floorOn(l.Bits, n) }); err != nil {
						errs[i] = err
					}
				})
				for i, d := range took {
					if errs[i] == nil { // a floor does not ask twice
						many.last = append(many.last, ms(d))
					}
				}
			}
			fmt.Printf("floors of %d laptops at once: %.2f (%.2f) ms, %d of %d complete\n", laptops, quantile(many.last, 0.5), quantile(many.last, 0.9),
				len(many.last), laptops*times(20))
			b.ReportMetric(quantile(many.last, 0.5)/quantile(f.last, 0.5), "floors/floor")
			for range b.N {
				alone := all[0].sweeps(b, fmt.Sprintf("%d hosts, one laptop", n), times(20), runtime.GC)
				together := series{name: fmt.Sprintf("%d hosts, %d laptops", n, laptops), want: n}
				var worst float64
				for range times(20) {
					runtime.GC()
					got, errs, sent := make([]swept1, laptops), make([]error, laptops), l.sent(n)
					start := time.Now()
					atOnce(laptops, func(i int) { got[i], errs[i] = all[i].sweep(false) })
					took := max(time.Since(start), time.Second)
					for i, after := range l.sent(n) {
						worst = max(worst, float64(after-sent[i])/took.Seconds())
					}
					for i := range got {
						if errs[i] != nil {
							b.Fatal(errs[i])
						}
						together.add(b, got[i])
					}
					<-time.After(4 * time.Second) // a host checks 50 signatures a second, and 150 at once
				}
				table(alone, together)
				b.ReportMetric(worst/1000, "kB/s-of-a-host")
				b.ReportMetric(quantile(together.last, 0.5)/quantile(alone.last, 0.5), "last/alone")
				b.ReportMetric(quantile(together.returned, 0.5)/quantile(alone.returned, 0.5), "returns/alone")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}
