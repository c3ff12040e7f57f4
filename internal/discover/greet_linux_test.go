package discover

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"
)

func TestGreet(t *testing.T) { t.Parallel(); inNamespace(t, greetings) }

// greetings runs in a namespace with nothing in it: a host that says what it must, and one that keeps its peace.
func greetings(t *testing.T) {
	ip(t, "link set lo up")
	ip(t, "link add lan0 type bridge")
	ip(t, "link set lan0 addrgenmode none")
	ip(t, "addr add 10.77.0.1/24 brd + dev lan0")
	ip(t, "addr add fe80::1/64 dev lan0 nodad")
	ip(t, "link set lan0 up")
	type heard struct {
		h    Hello
		from netip.AddrPort
	}
	got := make(chan heard, 100)
	conn, err := ListenHello(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { Hellos(conn, func(h Hello, from netip.AddrPort) { got <- heard{h, from} }) })
	defer func() { _ = conn.Close(); wg.Wait() }()
	key := newKey(t, "host")
	quiet := newBed(t, "127.0.0.1:0", nil)
	quiet.r.Update(testHost(2, "quiet"))
	quiet.start()
	b := newBed(t, "0.0.0.0:37030", func(c *ResponderConfig) { c.Hello, c.Key = true, key })
	b.r.Update(testHost(1, "pi1"))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	wg.Go(func() { _ = b.r.Run(ctx) })
	// await returns the next hello with this number from that address.
	await := func(seq uint32, from string) Hello {
		t.Helper()
		deadline := time.After(2*patience + helloLeast)
		for {
			select {
			case g := <-got:
				if g.h.Host != testHost(1, "").ID || !g.h.Key.Equal(public(key)) || g.from.Port() != Port {
					t.Errorf("heard %+v from %v", g.h, g.from)
				}
				if g.h.Seq == seq && g.from.Addr().WithZone("").String() == from {
					return g.h
				}
			case <-deadline:
				t.Fatalf("no hello %d from %s", seq, from)
			}
		}
	}
	if h := await(1, "10.77.0.1"); h.Bye || !h.Open || h.MAC == [6]byte{} || h.Age < time.Hour-time.Minute {
		t.Errorf("hello = %+v", h)
	}
	await(1, "fe80::1")
	ip(t, "addr add 10.78.0.1/24 brd + dev lan0")
	await(2, "10.78.0.1")
	cancel()
	if h := await(3, "10.77.0.1"); !h.Bye {
		t.Errorf("last hello = %+v, want a BYE", h)
	}
}
