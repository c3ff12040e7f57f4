package discover

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"rollcall/internal/census"
)

// wayToOne returns a way to one host, and what reads the next request there.
func wayToOne(t *testing.T) (w *way, next func() Request) {
	t.Helper()
	listen := func() *net.UDPConn {
		conn, err := listenFor(netip.MustParseAddr("127.0.0.1"), 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	host := listen()
	w = &way{conn: listen(), local: netip.MustParseAddr("127.0.0.1"), bits: 8, single: map[netip.AddrPort]bool{}, networks: map[uint16][]netip.Prefix{}}
	w.add(host.LocalAddr().(*net.UDPAddr).AddrPort(), netip.Prefix{})
	return w, func() Request {
		t.Helper()
		buf := make([]byte, MaxRequest+1)
		_ = host.SetReadDeadline(time.Now().Add(patience)) // an open socket takes one
		n, err := host.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := cutTail(buf[:n])
		q, err := ParseRequest(b)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
}

// A known host that is silent may have another clock. Every host checks the signature of a request that asks about clocks, and checks
// few a second; so not all copies of a round ask.
func TestFewCopiesAskAboutClocks(t *testing.T) {
	t.Parallel()
	w, host := wayToOne(t)
	s := newSweep(SweepConfig{ID: 1, Sealed: true, Key: newKey(t, "op"), Expect: []Known{{ID: ID{9}}}}, nil, func(Answer) {})
	s.ways = []*way{w}
	s.census = census.New(census.Config{Sweep: 1, Open: true, Limit: time.Hour, Salt: func() uint64 { return 1 }})
	asks := func(round uint16) (asking int) {
		const copies = census.MaxCopies
		for i := range copies {
			if err := s.ask(census.Ask{Round: round, Seq: uint32(round)*copies + uint32(i), Copy: i, First: i == 0}); err != nil {
				t.Fatal(err)
			}
			if host().Clock {
				asking++
			}
		}
		return asking
	}
	for _, others := range []bool{false, true} { // have answered
		first := uint16(2)
		if others {
			first = 3 // most who are silent are so for a loss
			s.census.Hear(census.Heard{ID: ID{8}}, 0)
		}
		for round := uint16(1); round <= lastWondering+1; round++ {
			want := wonderingCopies
			if round < first || round > lastWondering {
				want = 0
			}
			if got := asks(round); got != want {
				t.Errorf("round %d, others have answered %v: %d copies ask about clocks, want %d", round, others, got, want)
			}
		}
	}
}
