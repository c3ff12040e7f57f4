package discover

import (
	"bytes"
	"crypto/cipher"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// starter sends early orders as an operator or as somebody who would like to be one.
type starter struct {
	*attacker
	sweep  uint64
	from   netip.Addr
	offer  offer
	early  cipher.AEAD
	orders cipher.AEAD
	boxed  cipher.AEAD // opens batches
	spent  int         // bytes sent
	got    int         // bytes that came back
	heard  map[netip.Addr]bool
}

// start has a ticket answered.
func (a *attacker) start(sweep uint64, from string) *starter {
	t := a.n.t
	t.Helper()
	s := &starter{attacker: a, sweep: sweep, from: netip.MustParseAddr(from), heard: map[netip.Addr]bool{}}
	var b []byte
	var h relayHead
	for deadline := time.Now().Add(patience); h.Kind != kindOffer; {
		if b == nil {
			if time.Now().After(deadline) {
				t.Fatalf("no offer; outcomes %v", nonzero(a.b.r.Stats()))
			}
			s.say(a.sign(a.n.op, func(t *ticket) { t.Sweep, t.Requester = sweep, s.from }))
		}
		b = receive(t, a.conn, 4*time.Second) // a session that was ended may not have noticed yet, or still have sent something
		h, _ = parseRelayHead(b)
	}
	s.got = len(b)
	var secret Secret
	s.offer, secret = a.read(b)
	var err error
	if s.orders, s.boxed, err = relayKeys(secret, sweep, s.offer.Nonce); err == nil {
		s.early, _, err = relayKeys(secret, sweep, [16]byte{})
	}
	if err != nil || !s.offer.Early {
		t.Fatalf("offer %+v, %v; want one that says it takes early orders", s.offer, err)
	}
	return s
}

// asks returns a request as the operator signs it.
func (s *starter) asks(change func(*Request)) []byte {
	return s.request(s.offer, func(q *Request) {
		q.Sweep = s.sweep
		if change != nil {
			change(q)
		}
	})
}

// sealed returns an order.
func (s *starter) sealed(early bool, box cipher.AEAD, o order) []byte {
	s.seq++
	return sealRelay(nil, relayHead{Kind: kindOrder, Early: early, Sweep: s.sweep, Seq: s.seq, Time: time.Now(), Operator: s.n.op.ID()}, o.append(nil), box)
}

// say sends a datagram, which counts for what may come back.
func (s *starter) say(b []byte) {
	s.n.t.Helper()
	s.spent += len(b)
	send(s.n.t, s.conn, b)
}

// take takes the next batch, and returns false if none comes in that time.
func (s *starter) take(within time.Duration) bool {
	t := s.n.t
	t.Helper()
	b := receive(t, s.conn, within)
	if b == nil {
		return false
	}
	if h, err := parseRelayHead(b); err != nil || h.Sweep != s.sweep || h.Kind != kindBatch {
		return err == nil // of the sweep before, or to a ticket sent twice
	}
	s.got += len(b)
	body, err := openRelay(b, s.boxed)
	if err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	list, err := parseBatch(body)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		s.heard[e.from] = true
	}
	return true
}

// all takes batches until all hosts were heard.
func (s *starter) all(what string, hosts int) {
	s.n.t.Helper()
	for len(s.heard) < hosts {
		if !s.take(patience) {
			s.n.t.Fatalf("%s: %d of %d hosts were heard; outcomes %v", what, len(s.heard), hosts, nonzero(s.b.r.Stats()))
		}
	}
}

func TestEarlyOrders(t *testing.T) { t.Parallel(); inNamespace(t, earlyOrders) }

func earlyOrders(t *testing.T) {
	n := newRouted(t)
	ip(t, "addr add 10.77.0.2/24 brd + dev lan0")
	var services []Service // so that one reply is nearly as long as a request
	for i := range 18 {
		services = append(services, Service{Name: fmt.Sprintf("service-%d", i), Function: strings.Repeat("f", 24), Digest: [8]byte{byte(i)}})
	}
	const hosts = 3
	var beds []*bed
	for i := byte(1); i <= hosts; i++ {
		b := n.host(i, nil)
		b.r.Update(closedHost(i, fmt.Sprintf("far%d", i), services...))
		beds = append(beds, b)
	}
	a := n.attack(beds[0], 1, "10.77.0.1")
	a.mute("early order without a ticket", noRelay, sealRelay(nil, relayHead{Kind: kindOrder, Early: true, Sweep: 77, Seq: 1, Time: time.Now(), Operator: n.op.ID()}, make([]byte, 60), nonceBox(t)))

	a.start(76, "10.77.0.1").refused()
	s := a.start(77, "10.77.0.1")
	elsewhere := n.attack(beds[0], 1, "10.77.0.2")
	elsewhere.mute("early order from another address", wrongSource, s.sealed(true, s.early, order{link: earlyLink, request: s.asks(nil)}))

	// It is sent on before the offer is known to have been read; but no more comes back than was sent.
	first := s.sealed(true, s.early, order{link: earlyLink, request: s.asks(nil)})
	s.say(first)
	for _, b := range beds {
		b.await(answered, 1)
	}
	for s.take(100 * time.Millisecond) {
	}
	if s.got > s.spent || len(s.heard) == hosts {
		t.Errorf("%d bytes with %d of %d hosts came back for %d bytes before the address was proved, want no more and not all", s.got, len(s.heard), hosts, s.spent)
	}
	a.mute("early order that came before", malformed, first)
	// An order with what the offer says proves that it was read, and what was held comes.
	s.say(s.sealed(false, s.orders, order{request: s.asks(nil)}))
	s.all("after an order", hosts)
	if s.got <= s.spent-len(first) {
		t.Errorf("%d bytes came for %d: the test's replies are too short to show anything", s.got, s.spent)
	}

	// So in the next sweep from there it is known, and from elsewhere it is not.
	s.say(s.sealed(false, s.orders, order{}))
	next := a.start(78, "10.77.0.1")
	next.say(next.sealed(true, next.early, order{link: earlyLink, request: next.asks(nil)}))
	next.all("in the next sweep", hosts)
	next.say(next.sealed(false, next.orders, order{}))
	other := elsewhere.start(79, "10.77.0.2")
	other.say(other.sealed(true, other.early, order{link: earlyLink, request: other.asks(nil)}))
	beds[1].await(answered, 4)
	beds[2].await(answered, 4)
	for other.take(100 * time.Millisecond) {
	}
	if other.got > other.spent || len(other.heard) == hosts {
		t.Errorf("from elsewhere: %d bytes with %d hosts came back for %d", other.got, len(other.heard), other.spent)
	}
}

// refused sends early orders that the relay is not to obey.
func (s *starter) refused() {
	good := s.asks(nil)
	for what, b := range map[string][]byte{
		"sealed with the key of the offer":   s.sealed(true, s.orders, order{link: earlyLink, request: good}),
		"that does not say so":               s.sealed(false, s.early, order{link: earlyLink, request: good}),
		"that names a link":                  s.sealed(true, s.early, order{request: good}),
		"to end":                             s.sealed(true, s.early, order{link: earlyLink}),
		"for an address that is not its own": s.sealed(true, s.early, order{link: earlyLink, request: s.asks(func(q *Request) { q.Requester = netip.MustParseAddr("10.78.0.254") })}),
		"for another MAC":                    s.sealed(true, s.early, order{link: earlyLink, request: s.asks(func(q *Request) { q.MAC[5]++ })}),
		"for another network":                s.sealed(true, s.early, order{link: earlyLink, request: s.asks(func(q *Request) { q.PrefixLen = 25 })}),
		"of another sweep":                   s.sealed(true, s.early, order{link: earlyLink, request: s.asks(func(q *Request) { q.Sweep = 80 })}),
		"of long ago":                        s.sealed(true, s.early, order{link: earlyLink, request: s.asks(func(q *Request) { q.Time = time.Now().Add(-time.Minute) })}),
		"to a host elsewhere":                s.sealed(true, s.early, order{link: earlyLink, to: netip.MustParseAddr("10.77.0.1"), request: good}),
		"to send what is not signed":         s.sealed(true, s.early, order{link: earlyLink, request: mustMarshal(s.n.t, Request{Sweep: s.sweep, Seq: 1, Time: time.Now(), Requester: s.relay, PrefixLen: 24})}),
		"to send an early order":             s.sealed(true, s.early, order{link: earlyLink, request: s.sealed(true, s.early, order{link: earlyLink, request: good[:1200]})[:1200]}),
	} {
		s.mute("early order "+what, malformed, b)
	}
	for _, kind := range []relayKind{kindTicket, kindOffer, kindBatch} {
		b := sealRelay(nil, relayHead{Kind: kind, Early: true, Sweep: s.sweep, Seq: 1, Time: time.Now(), Operator: s.n.op.ID()}, make([]byte, 60), s.early)
		s.mute(fmt.Sprintf("kind %d with the flag of early orders", kind), unknown, b)
	}
}

func TestSweepBeginsWithTheTicket(t *testing.T) { t.Parallel(); inNamespace(t, earlySweeps) }

func earlySweeps(t *testing.T) {
	n := newRouted(t)
	const hosts = 4
	var beds []*bed
	for i := byte(1); i <= hosts; i++ {
		beds = append(beds, n.host(i, nil))
	}
	network := netip.MustParsePrefix("10.78.0.0/24")
	wire := wireSocket(t, "lan0", unix.ETH_P_ALL)
	found, stats := n.sweep(SweepConfig{Known: knows(n.keys)}, "10.78.0.11")
	if len(found) != hosts || !stats.Complete {
		t.Fatalf("%d hosts, %+v; outcomes %v", len(found), stats, nonzero(beds[0].r.Stats()))
	}
	for _, a := range found {
		if a.Bits != network.Bits() {
			t.Errorf("answer of %s: prefix of %d bits, want %d", a.Host.Hostname, a.Bits, network.Bits())
		}
	}
	for _, c := range []struct {
		name   string
		change func(*Known)
		early  bool // an order goes out
		taken  bool
	}{
		{"nothing changed", func(*Known) {}, true, true},
		{"network unknown", func(k *Known) { k.Bits = 0 }, false, false},
		{"MAC unknown", func(k *Known) { k.MAC = [6]byte{} }, false, false},
		{"key unknown", func(k *Known) { k.ID[0]++ }, false, false},
		{"network changed", func(k *Known) { k.Bits = 25 }, true, false},
		{"MAC changed", func(k *Known) { k.MAC[5]++ }, true, false},
	} {
		datagramsOn(t, wire)
		k := Known{ID: found[1].Host.ID, At: found[1].From, Bits: found[1].Bits}
		copy(k.MAC[:], found[1].Host.MAC)
		c.change(&k)
		relay := beds[1].r
		refused, again := relay.Stats()[malformed.String()], beds[2].r.Stats()[replayed.String()]
		got, stats := n.sweep(SweepConfig{Known: knows(n.keys), Relays: []Known{k}})
		if len(got) != hosts || !stats.Complete || stats.RequestLoss != 0 || len(stats.Relays) != 1 || stats.Wrong != 0 {
			t.Errorf("%s: %d hosts, %+v, want all, complete, and nothing lost", c.name, len(got), stats)
		}
		said := datagramsOn(t, wire)
		early := 0
		for _, b := range said {
			if isRelay(b) && b[6] == byte(kindOrder) && b[7] == relayFlagEarly {
				early++
			}
		}
		if c.early != (early > 0) {
			t.Errorf("%s: %d of %d datagrams are early orders", c.name, early, len(said))
		}
		if n := relay.Stats()[malformed.String()] - refused; (n > 0) != (c.early && !c.taken) {
			t.Errorf("%s: %d orders were refused: %+v", c.name, n, stats.Relays)
		}
		if n := beds[2].r.Stats()[replayed.String()] - again; n != 0 && early <= 1 { // more were sent where the offer took long
			t.Errorf("%s: a host got %d requests twice", c.name, n)
		}
	}
}

func TestEarlyRepliesWaitForOtherRelays(t *testing.T) { t.Parallel(); inNamespace(t, earlyAndSlow) }

// earlyAndSlow sweeps two networks, of which one has nobody in it any longer: what comes from the other while its relay is looked
// for counts.
func earlyAndSlow(t *testing.T) {
	n := newRouted(t)
	const hosts = 3
	for i := byte(1); i <= hosts; i++ {
		n.host(i, nil)
	}
	found, _ := n.sweep(SweepConfig{Known: knows(n.keys)}, "10.78.0.11")
	if len(found) != hosts {
		t.Fatalf("%d hosts answered, want %d", len(found), hosts)
	}
	k := Known{ID: found[0].Host.ID, At: found[0].From, Bits: found[0].Bits}
	copy(k.MAC[:], found[0].Host.MAC)
	got, stats := gather(t, SweepConfig{Sealed: true, Key: n.op, Known: knows(n.keys), Wait: patience, Subnets: []netip.Prefix{netip.MustParsePrefix("10.78.0.0/16")},
		Relays: []Known{k, {ID: ID{9}, At: netip.MustParseAddrPort("10.78.5.9:37030")}}})
	if len(got) != hosts || !stats.Complete || stats.ReplyLoss != 0 || stats.RequestLoss != 0 || len(stats.Relays) != 1 {
		t.Errorf("%d hosts, %+v, want %d and nothing lost", len(got), stats, hosts)
	}
}

// datagramsOn returns the UDP datagrams that have passed.
func datagramsOn(t *testing.T, fd int) (out [][]byte) {
	t.Helper()
	buf := make([]byte, 2000)
	for {
		size, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EAGAIN) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		const ether, udp = 14, 17
		if p := buf[ether:size]; len(p) >= 28 && buf[12] == 8 && buf[13] == 0 && p[9] == udp {
			out = append(out, bytes.Clone(p[28:]))
		}
	}
}
