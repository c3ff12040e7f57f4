package discover

import (
	"net/netip"
	"testing"
	"time"

	"rollcall/internal/trust"
)

// offered has the offer of a relay at that address, with one link of the same address, come to the search for relays.
func offered(t *testing.T, rc *recruiting, host trust.Key, at netip.AddrPort, early bool) {
	t.Helper()
	s := rc.s
	rc.seq++
	rc.sent[rc.seq] = sentTicket{to: at, at: time.Now(), network: rc.s.c.Subnets[0]}
	secret, err := share(host, public(s.c.Key), public(s.c.Key), public(host))
	if err != nil {
		t.Fatal(err)
	}
	box, err := seal(secret, s.c.ID)
	if err != nil {
		t.Fatal(err)
	}
	o := offer{relayHead: relayHead{Sweep: s.c.ID, Operator: s.c.Key.ID(), Time: time.Now(), Seq: rc.seq}, Host: ID{at.Addr().As4()[3]}, Name: "pi",
		Nonce: [16]byte{1}, Links: []relayLink{{netip.PrefixFrom(at.Addr(), 16), [6]byte{2}}}, Early: early}
	b, err := o.marshal(box, public(host), host.Private())
	if err != nil {
		t.Fatal(err)
	}
	rc.take(b, at, time.Now())
}

// An offer waits a moment for that of the host that has the first request already, whichever comes first.
func TestOfferWaitsForEarlyRelay(t *testing.T) {
	t.Parallel()
	first, second := netip.MustParseAddrPort("127.1.0.4:9"), netip.MustParseAddrPort("127.1.0.5:9")
	keys := map[ID]trust.Key{{4}: newKey(t, "first"), {5}: newKey(t, "second")}
	for _, c := range []struct {
		name   string
		offers []netip.AddrPort
		takes  bool // early orders
		bits   int  // that the first was believed to have
		relay  netip.AddrPort
		begun  bool
	}{
		{"it comes last", []netip.AddrPort{second, first}, true, 16, first, true},
		{"it comes first", []netip.AddrPort{first, second}, true, 16, first, true},
		{"it never comes", []netip.AddrPort{second}, true, 16, second, false},
		{"of an older version", []netip.AddrPort{second, first}, false, 16, first, false},
		{"in another network now", []netip.AddrPort{second, first}, true, 24, first, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn, err := listenFor(netip.IPv4Unspecified(), 0)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conf := SweepConfig{ID: 7, Sealed: true, Key: newKey(t, "op"), Known: knows(keys), Subnets: []netip.Prefix{netip.MustParsePrefix("127.1.0.0/16")}}
			if err := conf.check(); err != nil {
				t.Fatal(err)
			}
			s := newSweep(conf, nil, func(Answer) {})
			s.start = time.Now()
			rc := &recruiting{s: s, c: &carrier{conn: conn, sessions: map[netip.AddrPort]*carried{}}, sent: map[uint32]sentTicket{},
				opened: map[netip.AddrPort]int{}, early: map[netip.AddrPort]earlyOrder{}, until: time.Now().Add(time.Hour)}
			if err := rc.order(Known{ID: ID{4}, At: first, Bits: c.bits, MAC: [6]byte{2}}); err != nil {
				t.Fatal(err)
			}
			for i, at := range c.offers {
				offered(t, rc, keys[ID{at.Addr().As4()[3]}], at, c.takes)
				if i == 0 && at == second && (len(rc.c.sessions) > 0 || time.Until(rc.until) > time.Minute) {
					t.Errorf("offer of another one is taken at once: %d relays, %v to wait", len(rc.c.sessions), time.Until(rc.until))
				}
			}
			rc.unpark()
			if len(s.stats.Relays) != 1 || s.stats.Relays[0].At != c.relay || s.stats.Wrong != 0 {
				t.Fatalf("%+v, want the relay %v", s.stats, c.relay)
			}
			if begun := !s.ways[0].opened.IsZero(); begun != c.begun {
				t.Errorf("the sweep has begun by way of %v: %v, want %v", c.relay, begun, c.begun)
			}
			if begun, err := s.begun(); err != nil || begun != c.begun || begun == (s.first == nil) {
				t.Errorf("begun() = %v, %v, want %v", begun, err, c.begun)
			}
		})
	}
}
