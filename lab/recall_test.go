package lab

import (
	"fmt"
	"testing"
	"time"
)

// The small forms of BenchmarkRealHosts, BenchmarkManyHosts and BenchmarkLaptops: every sweep hears every host, whatever the links lose.

func TestSweepsHearEveryone(t *testing.T) {
	Need(t, "nft")
	const n, times = 10, 3
	l := NewLAN(t, n+1)
	key, file := newOperator(t, l)
	for i := 1; i <= n; i++ {
		l.Boot(i, HostConfig{Extra: obeying(file), Agents: "  hostsensor: {}\n"})
	}
	p := newLaptop(t, l, n+1, n, key)
	eventually(t, []string{fmt.Sprintf("%d services", n)}, func() []string {
		s, err := p.sweep(false)
		if err != nil {
			t.Fatal(err)
		}
		return []string{fmt.Sprintf("%d services", s.services)}
	})
	for _, all := range []bool{false, true} {
		for _, lost := range []float64{0, 0.1, 0.3} {
			l.Lose(lost, all)
			s := p.sweeps(t, fmt.Sprintf("%d hosts, loss %g, all frames %v", n, lost, all), times, func() { l.Forget(n) })
			if s.whole != times {
				t.Errorf("not all hosts were heard in every sweep: %v", s)
			}
			t.Log(s)
		}
	}
	l.Lose(0, true)
	if _, err := p.sweep(true); err != nil { // and remember them
		t.Fatal(err)
	}
	if s := p.sweeps(t, "known", times, func() {}); s.whole != times {
		t.Errorf("not all known hosts were heard in every sweep: %v", s)
	}
}

func TestSweepOfStrangersCausesNoARP(t *testing.T) {
	Need(t)
	const n, times = 60, 3
	l := NewLAN(t, n+1)
	key, _ := newOperator(t, l)
	l.respond(n, key.Public().Key)
	p := newLaptop(t, l, n+1, n, key)
	arp := countARP(t, l)
	s := p.sweeps(t, fmt.Sprintf("%d hosts", n), times, func() {
		l.Forget(n)
		arp.since(t)
	})
	frames := arp.since(t)
	if s.whole != times || frames != 0 {
		t.Errorf("%v, %d ARP frames, want all hosts heard and no frame", s, frames)
	}
	t.Log(s)
}

// Several laptops that sweep at once disturb nobody: each hears every host, and no host says more than it may.
func TestLaptopsAtOnce(t *testing.T) {
	Need(t)
	const n, laptops = 10, 5
	l := NewLAN(t, n+laptops)
	key, _ := newOperator(t, l)
	l.respond(n, key.Public().Key)
	got := make([]swept1, laptops)
	before := l.sent(n)
	start := time.Now()
	atOnce(laptops, func(i int) {
		var err error
		if got[i], err = newLaptop(t, l, n+1+i, n, key).sweep(false); err != nil {
			t.Error(err)
		}
	})
	took := time.Since(start)
	for i, s := range got {
		if s.heard != n {
			t.Errorf("laptop %d heard %d hosts, want %d: %+v", i, s.heard, n, s.stats)
		}
	}
	for i, bytes := range l.sent(n) {
		if rate := float64(bytes-before[i]) / max(took.Seconds(), 1); rate > 64_000 {
			t.Errorf("host %d sent %.0f bytes a second, want 64,000 at most", i+1, rate)
		}
	}
}
