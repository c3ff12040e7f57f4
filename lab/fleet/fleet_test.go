package fleet

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"rollcall/internal/discover"
	"rollcall/internal/trust"
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
	return sweepAs(t, f, discover.SweepConfig{Expect: expect})
}

func sweepAs(t *testing.T, f *Fleet, c discover.SweepConfig) (map[discover.ID]discover.Answer, discover.SweepStats) {
	t.Helper()
	got := map[discover.ID]discover.Answer{}
	c.To, c.Port, c.Sealed = []string{"127.255.255.255"}, int(f.Addr().Port()), true
	stats, err := discover.Sweep(t.Context(), c, func(a discover.Answer) { got[a.Host.ID] = a })
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

// TestSealedFleet has hosts that obey one operator: each has a key of its own, and is silent for anyone else.
func TestSealedFleet(t *testing.T) {
	t.Parallel()
	const n = 50
	var keys [2]trust.Key
	for i := range keys {
		var err error
		if keys[i], err = trust.NewKey("op"); err != nil {
			t.Fatal(err)
		}
	}
	f := start(t, Config{Hosts: n, Services: 2, Operator: keys[0].Public().Key, Loss: func() loss.Model { return loss.Independent(0.1) }})
	got, stats := sweepAs(t, f, discover.SweepConfig{Key: keys[0]})
	met := map[discover.ID]ed25519.PublicKey{}
	different := map[string]bool{}
	var known []discover.Known
	for id, a := range got {
		met[id], different[string(a.Host.Key)] = a.Host.Key, true
		known = append(known, discover.Known{ID: id, At: a.From})
	}
	if len(got) != n || len(different) != n || !stats.Complete {
		t.Fatalf("found %d hosts with %d keys, %+v, want %d", len(got), len(different), stats, n)
	}
	a := got[f.ID(1)]
	if a.Host.Open || a.Host.Hostname != "virtual00001" || len(a.Host.Services) != 2 || a.Host.Services[1].Points == 0 || a.Host.Services[1].Digest == [8]byte{} {
		t.Errorf("host 1 says %+v", a.Host)
	}
	got, stats = sweepAs(t, f, discover.SweepConfig{Key: keys[0], Expect: known, Known: func(id discover.ID) (ed25519.PublicKey, bool) { k, ok := met[id]; return k, ok }})
	if len(got) != n || !stats.Complete || len(stats.Changed) != 0 {
		t.Errorf("found %d hosts again, %+v, want %d", len(got), stats, n)
	}
	for name, c := range map[string]discover.SweepConfig{"another operator": {Key: keys[1]}, "nobody": {}} {
		c.Wait = 100 * time.Millisecond
		if got, _ := sweepAs(t, f, c); len(got) != 0 {
			t.Errorf("%s: found %d hosts, want none", name, len(got))
		}
	}
}

// A datagram to the address of one host reaches that host alone.
func TestFleetTellsHostsApart(t *testing.T) {
	t.Parallel()
	f := start(t, Config{Hosts: 20})
	got := map[discover.ID]bool{}
	_, err := discover.Sweep(t.Context(), discover.SweepConfig{To: []string{"127.64.0.7"}, Port: int(f.Addr().Port()), Sealed: true},
		func(a discover.Answer) { got[a.Host.ID] = true })
	if err != nil || len(got) != 1 || !got[f.ID(6)] {
		t.Errorf("a sweep of one address found %v, %v, want host 6", got, err)
	}
	if s := f.Stats(); s.Replies > 2 {
		t.Errorf("%d replies of 20 hosts to one who was asked, want 1", s.Replies)
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
