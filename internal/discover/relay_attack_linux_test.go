package discover

import (
	"crypto/cipher"
	"crypto/ed25519"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/internal/trust"
)

// attacker sends to a relay from the test's own network.
type attacker struct {
	n     *routed
	b     *bed
	relay netip.Addr
	conn  *net.UDPConn
	seq   uint32
}

func (n *routed) attack(b *bed, i byte, local string) *attacker {
	n.t.Helper()
	relay := netip.AddrFrom4([4]byte{10, 78, 0, 10 + i})
	conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(local)}, net.UDPAddrFromAddrPort(netip.AddrPortFrom(relay, Port)))
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = conn.Close() })
	return &attacker{n: n, b: b, relay: relay, conn: conn}
}

// ticket returns a ticket that the relay takes unless change spoils it.
func (a *attacker) ticket(change func(*ticket)) ticket {
	a.seq++
	t := ticket{relayHead: relayHead{Sweep: 77, Seq: a.seq, Time: time.Now()}, Requester: netip.MustParseAddr("10.77.0.1"),
		Relay: a.relay, Network: netip.MustParsePrefix("10.78.0.0/16")}
	if change != nil {
		change(&t)
	}
	return t
}

func (a *attacker) sign(k trust.Key, change func(*ticket)) []byte {
	a.n.t.Helper()
	b, err := a.ticket(change).sign(k)
	if err != nil {
		a.n.t.Fatal(err)
	}
	return b
}

// mute sends a datagram that must come to the end want, without a byte leaving the relay.
func (a *attacker) mute(what string, want outcome, b []byte) {
	a.n.t.Helper()
	a.n.sent(a.relay.String())
	before := a.b.r.Stats()[want.String()]
	send(a.n.t, a.conn, b)
	a.b.await(want, before+1)
	if back := receive(a.n.t, a.conn, 10*time.Millisecond); back != nil {
		a.n.t.Errorf("%s: %d bytes came back", what, len(back))
	}
	if to := a.n.sent(a.relay.String()); len(to) > 0 {
		a.n.t.Errorf("%s: the relay has sent to %v", what, to)
	}
}

// session gets an offer and returns what an operator has then.
func (a *attacker) session() (o offer, orders, batches cipher.AEAD) {
	t := a.n.t
	t.Helper()
	send(t, a.conn, a.sign(a.n.op, nil))
	b := receive(t, a.conn, patience)
	o, secret := a.read(b)
	orders, batches, err := relayKeys(secret, o.Sweep, o.Nonce)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > ticketSize {
		t.Errorf("offer has %d bytes, more than its ticket", len(b))
	}
	return o, orders, batches
}

// read opens an offer, and returns the secret that is shared with its host too.
func (a *attacker) read(b []byte) (offer, Secret) {
	t := a.n.t
	t.Helper()
	h, err := parseRelayHead(b)
	if err != nil {
		t.Fatalf("offer %x: %v", b, err)
	}
	key, err := offerKey(h, b)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := share(a.n.op, key, public(a.n.op), key)
	if err != nil {
		t.Fatal(err)
	}
	box, err := seal(secret, h.Sweep)
	if err != nil {
		t.Fatal(err)
	}
	o, err := openOffer(h, b, box)
	if err != nil {
		t.Fatal(err)
	}
	return o, secret
}

func TestRelayAttacks(t *testing.T) { t.Parallel(); inNamespace(t, relayAttacks) }

func relayAttacks(t *testing.T) {
	n := newRouted(t)
	ip(t, "addr add 10.77.0.2/24 brd + dev lan0")
	var operators atomic.Pointer[Operators]
	all := obeying(n.op)
	operators.Store(&all)
	b := n.host(1, func(c *ResponderConfig) {
		c.Operators = func(id [8]byte) (ed25519.PublicKey, bool) { return (*operators.Load())(id) }
	})
	n.host(2, nil)
	a, other := n.attack(b, 1, "10.77.0.1"), n.attack(b, 1, "10.77.0.2")
	off, open := n.host(3, func(c *ResponderConfig) { c.Relay = false }), n.host(4, func(c *ResponderConfig) { c.Open = true })

	badTickets(a, other)
	n.attack(off, 3, "10.77.0.1").notRelay("a host that does not relay")
	n.attack(open, 4, "10.77.0.1").notRelay("an open host")
	flips(a)
	badOrders(a)

	// The operator is removed while a sweep is relayed.
	o, orders, _ := a.session()
	nobody := obeying()
	operators.Store(&nobody)
	b.r.Reload(nil, false, false, nobody, nil)
	a.mute("order of a removed operator", noOperator, a.order(orders, order{request: a.request(o, nil)}))
	a.mute("ticket of a removed operator", noOperator, a.sign(n.op, nil))
}

func (a *attacker) notRelay(what string) {
	a.n.t.Helper()
	a.mute(what, noRelay, a.sign(a.n.op, nil))
}

// badTickets sends tickets that nobody is to have anything of.
func badTickets(a, other *attacker) {
	t, op := a.n.t, a.n.op
	stranger := newKey(t, "stranger")
	a.mute("ticket of nobody who is obeyed", noOperator, a.sign(stranger, nil))
	b := a.sign(stranger, nil)
	id := op.ID()
	copy(b[16:], id[:])
	a.mute("ticket signed by somebody else", forged, b)
	b = a.sign(op, nil)
	b[len(b)-1] ^= 1
	a.mute("ticket with a good tag and a bad signature", forged, b)
	a.mute("ticket of half a minute ago", clock, a.sign(op, func(t *ticket) { t.Time = time.Now().Add(-31 * time.Second) }))
	a.mute("ticket of a time to come", clock, a.sign(op, func(t *ticket) { t.Time = time.Now().Add(31 * time.Second) }))
	a.mute("ticket of before the start", clock, a.sign(op, func(t *ticket) { t.Time = time.UnixMilli(1) }))
	a.mute("ticket that names a third address", wrongSource, a.sign(op, func(t *ticket) { t.Requester = netip.MustParseAddr("10.77.0.9") }))
	other.mute("ticket of another address", wrongSource, a.sign(op, nil))
	a.mute("ticket for another host", wrongSource, a.sign(op, func(t *ticket) { t.Relay = netip.MustParseAddr("10.78.0.12") }))
	a.mute("ticket for a network that the host is not in", unselected, a.sign(op, func(t *ticket) { t.Network = netip.MustParsePrefix("10.79.0.0/16") }))
	good := a.sign(op, nil)
	a.mute("ticket that is too long", malformed, append(slices.Clone(good), 0))
	a.mute("ticket that is too short", malformed, good[:len(good)-1])
	a.mute("ticket of 1,401 bytes", tooLong, append(slices.Clone(good), make([]byte, MaxRequest+1-ticketSize)...))
	for _, kind := range []relayKind{kindOffer, kindBatch} {
		a.mute("what a relay says", unknown, sealRelay(nil, relayHead{Kind: kind, Sweep: 77, Seq: 1, Time: time.Now(), Operator: op.ID()}, make([]byte, 60), nonceBox(t)))
	}
	a.mute("order without a ticket", noRelay, sealRelay(nil, relayHead{Kind: kindOrder, Sweep: 77, Seq: 1, Time: time.Now(), Operator: op.ID()}, make([]byte, 60), nonceBox(t)))

	send(t, a.conn, good)
	if back := receive(t, a.conn, patience); back == nil {
		t.Fatalf("no offer to a good ticket: %v", nonzero(a.b.r.Stats()))
	}
	a.mute("ticket that came before", replayed, good)
	other.mute("ticket of the same operator from elsewhere meanwhile", busy, a.sign(op, func(t *ticket) {
		t.Sweep, t.Requester = 78, netip.MustParseAddr("10.77.0.2")
	}))
}

// flips sends a good ticket with each of its bytes changed.
func flips(a *attacker) {
	t := a.n.t
	a.n.sent(a.relay.String())
	before := count(a.b)
	const some = 32 // at a time, which any socket has room for
	for i := range ticketSize {
		if i%some == 0 {
			a.await(before + uint64(i))
		}
		b := a.sign(a.n.op, func(t *ticket) { t.Seq += 1000 })
		b[i] ^= 1 << (i % 8)
		send(t, a.conn, b)
	}
	a.await(before + ticketSize)
	if back := receive(t, a.conn, 10*time.Millisecond); back != nil {
		t.Errorf("ticket with a bit changed: %d bytes came back", len(back))
	}
	if to := a.n.sent(a.relay.String()); len(to) > 0 {
		t.Errorf("ticket with a bit changed: the relay has sent to %v", to)
	}
}

// await waits until the relay has taken so many datagrams.
func (a *attacker) await(n uint64) {
	a.n.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for count(a.b) < n {
		select {
		case <-tick.C:
		case <-deadline:
			a.n.t.Fatalf("%d of %d datagrams came", count(a.b), n)
		}
	}
}

// count returns how many datagrams a host has taken.
func count(b *bed) (n uint64) {
	for _, v := range b.r.Stats() {
		n += v
	}
	return n
}

// request returns a request as an operator signs it for a relay.
func (a *attacker) request(o offer, change func(*Request)) []byte {
	a.n.t.Helper()
	a.seq++
	l := o.Links[0]
	q := Request{Sweep: 77, Seq: a.seq, Round: uint16(a.seq), Time: time.Now(), Requester: l.Prefix.Addr(), MAC: l.MAC, PrefixLen: uint8(l.Prefix.Bits()), Copies: 1}
	if change != nil {
		change(&q)
	}
	return mustSign(a.n.t, q, a.n.op)
}

func (a *attacker) order(box cipher.AEAD, o order) []byte {
	a.seq++
	return sealRelay(nil, relayHead{Kind: kindOrder, Sweep: 77, Seq: a.seq, Time: time.Now(), Operator: a.n.op.ID()}, o.append(nil), box)
}

// badOrders has a session and orders what no relay is to send.
func badOrders(a *attacker) {
	t := a.n.t
	o, orders, batches := a.session()
	for what, request := range map[string][]byte{
		"a ticket":                 a.sign(a.n.op, func(t *ticket) { t.Relay = netip.MustParseAddr("10.78.0.12") }),
		"an order":                 a.order(orders, order{request: a.request(o, nil)}),
		"what is no request":       []byte(`{"cmd":"status","replyto":"10.78.0.9","topic":"/x"}`),
		"a request of nobody":      mustMarshal(t, Request{Sweep: 77, Seq: 1, Time: time.Now(), Requester: o.Links[0].Prefix.Addr(), PrefixLen: 24}),
		"another sweep":            a.request(o, func(q *Request) { q.Sweep = 78 }),
		"an address not its own":   a.request(o, func(q *Request) { q.Requester = netip.MustParseAddr("10.78.0.254") }),
		"a MAC not its own":        a.request(o, func(q *Request) { q.MAC[5]++ }),
		"another network":          a.request(o, func(q *Request) { q.PrefixLen = 8 }),
		"answers to another port":  a.request(o, func(q *Request) { q.ReplyPort = 53 }),
		"answers to a broker":      a.request(o, func(q *Request) { q.BrokerPort, q.Topic = 1883, "/x" }),
		"a request of long ago":    a.request(o, func(q *Request) { q.Time = time.Now().Add(-time.Minute) }),
		"a request cut off":        a.request(o, nil)[:600],
		"a request with a tail":    append(a.request(o, nil), 0),
		"a request of another key": mustSign(t, Request{Sweep: 77, Seq: 1, Time: time.Now(), Requester: o.Links[0].Prefix.Addr(), PrefixLen: 24, MAC: o.Links[0].MAC}, newKey(t, "x")),
	} {
		a.mute("order to send "+what, malformed, a.order(orders, order{request: request}))
	}
	good := a.request(o, nil)
	for what, ord := range map[string]order{
		"to a host elsewhere":       {to: netip.MustParseAddr("10.77.0.1"), request: good},
		"to the broadcast address":  {to: netip.MustParseAddr("10.78.0.255"), request: good},
		"to a group":                {to: netip.MustParseAddr("224.0.0.1"), request: good},
		"on a link that is not one": {link: 1, request: good},
	} {
		a.mute("order "+what, malformed, a.order(orders, ord))
	}
	a.mute("order with another key", malformed, a.order(batches, order{request: good}))
	first := a.order(orders, order{request: good})
	send(t, a.conn, first)
	if back := receive(t, a.conn, patience); back == nil {
		t.Fatalf("no replies to a good order: %v", nonzero(a.b.r.Stats()))
	}
	for receive(t, a.conn, 50*time.Millisecond) != nil {
	}
	a.mute("order that came before", malformed, first)
	before := a.b.r.Stats()[relayed.String()]
	elsewhere := a.n.attack(a.b, 1, "10.77.0.2")
	elsewhere.mute("order from another address", wrongSource, a.order(orders, order{request: a.request(o, nil)}))
	if n := a.b.r.Stats()[relayed.String()]; n != before {
		t.Errorf("%d requests were sent on, want none more than %d", n, before)
	}
	a.floods()
}

// floods has everybody answer to the relay who should not: nothing of it goes on to the requester.
func (a *attacker) floods() {
	t := a.n.t
	links := a.b.r.relays.sessions // read while nothing is sent to the host: its goroutine waits
	for _, s := range links {
		for _, l := range s.links {
			conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(l.at))
			if err != nil {
				t.Fatal(err)
			}
			reply, err := Reply{Host: ID{1}, Sweep: 77, Pages: 1, Seq: 1, First: 1, Tx: 1, Body: ReplyBody{Hostname: "evil"}}.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			a.n.sent(a.relay.String())
			before := a.b.r.Stats()[malformed.String()]
			send(t, conn, reply) // by way of the router, from another port, from another network
			send(t, conn, []byte("RCL1"))
			send(t, conn, make([]byte, 1400))
			a.b.await(malformed, before+3)
			if to := a.n.sent(a.relay.String()); len(to) > 0 {
				t.Errorf("replies from elsewhere: the relay has sent to %v", to)
			}
			_ = conn.Close() // nothing was to be kept
		}
	}
}
