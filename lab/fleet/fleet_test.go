package fleet

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"rollcall/internal/discover"
	"rollcall/lab/loss"
)

// start runs a fleet on the loopback network, where every address is this machine's.
func start(t *testing.T, c Config) *Fleet {
	t.Helper()
	c.Listen, c.Base = "0.0.0.0:0", netip.MustParseAddr("127.64.0.0")
	f, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return f
}

func sweepOf(t *testing.T, f *Fleet, expect []discover.Known) (map[discover.ID]discover.Answer, discover.SweepStats) {
	t.Helper()
	got := map[discover.ID]discover.Answer{}
	stats, err := discover.Sweep(t.Context(), discover.SweepConfig{To: []string{"127.255.255.255"}, Port: int(f.Addr().Port()), Sealed: true,
		Expect: expect}, func(a discover.Answer) { got[a.Host.ID] = a })
	if err != nil {
		t.Fatal(err)
	}
	return got, stats
}

func TestFleetIsSwept(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"one":    {Hosts: 1, Services: 3},
		"lossy":  {Hosts: 200, Services: 1, Loss: func() loss.Model { return loss.Independent(0.2) }},
		"bursts": {Hosts: 100, Loss: func() loss.Model { return loss.NewPacketBursts(0.1, 4) }},
		"slow":   {Hosts: 100, Delay: 3 * time.Millisecond, Duplicate: 0.3},
		"1000":   {Hosts: 1000, Services: 2},
		"paged":  {Hosts: 3, Services: 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, c)
			got, stats := sweepOf(t, f, nil)
			// A page that is asked for again since it is late comes twice, and the second is of no use.
			if len(got) != c.Hosts || !stats.Complete || stats.Wrong != 0 && name != "paged" {
				t.Fatalf("found %d of %d, %+v, fleet %+v", len(got), c.Hosts, stats, f.Stats())
			}
			a := got[f.ID(0)]
			if a.From.Addr() != netip.MustParseAddr("127.64.0.1") || a.Host.Hostname != "virtual00000" || len(a.Host.Services) != c.Services {
				t.Errorf("host 0 is %q at %v with %d services", a.Host.Hostname, a.From, len(a.Host.Services))
			}
		})
	}
}

// TestStoppedHostsAreMissed has hosts that were known and are silent: stopped, or with a clock that is an hour off.
func TestStoppedHostsAreMissed(t *testing.T) {
	t.Parallel()
	const n, stopped, off = 50, 2, 1
	f := start(t, Config{Hosts: n, Stopped: stopped, BadClock: off})
	var known []discover.Known
	for i := range n {
		at := netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("127.64.0.%d", i+1)), f.Addr().Port())
		known = append(known, discover.Known{ID: f.ID(i), At: at})
	}
	got, stats := sweepOf(t, f, known)
	if len(got) != n-stopped-off || !stats.Complete || len(stats.Missing) != stopped+off || stats.Missing[0] != f.ID(0) || stats.Missing[2] != f.ID(n-1) ||
		stats.Elapsed > time.Second {
		t.Errorf("found %d, %+v, want %d, and the three others missing within a second", len(got), stats, n-stopped-off)
	}
}

func TestFleetRefuses(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{Listen: "127.0.0.1:0"}); err == nil {
		t.Error("New() without hosts = nil, want an error")
	}
	if _, err := New(Config{Listen: "nonsense", Hosts: 1}); err == nil {
		t.Error("New() on nonsense = nil, want an error")
	}
}
