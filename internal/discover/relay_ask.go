package discover

import (
	"context"
	"crypto/cipher"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Relay is a host that has asked its own networks in a sweep, because they were named and this machine is in none of them.
type Relay struct {
	Host     ID
	Hostname string
	At       netip.AddrPort
	Networks []netip.Prefix // that it asked, each with its own address there
	Known    bool           // its key is known; requests for one that is not name no MAC, so that its networks must ask for it by ARP
	RTT      time.Duration  // from the ticket to the offer
}

// relayRate is how many replies a second come by way of a relay at most.
const relayRate = 5000

// carrier is the socket of a sweep to its relays.
type carrier struct {
	conn     *net.UDPConn
	sessions map[netip.AddrPort]*carried
}

// carried is a relay that has made an offer. It belongs to the goroutine of Sweep, but for what read uses.
type carried struct {
	at              netip.AddrPort
	offer           offer
	orders, batches cipher.AEAD
	conn            *net.UDPConn
	head            relayHead // of orders
	known           bool
	rtt             time.Duration
	early           earlyOrder // that went out with the ticket
	seen            seen       // of batches; the reader's
	ways            []*way
}

// relayPath is how a way leads through a relay.
type relayPath struct {
	relay   *carried
	link    int      // of the offer
	carrier *carrier // nil: another way reads for this one
}

// send has the relay send a request to a host, or to everybody if that is where it goes.
func (p *relayPath) send(b []byte, to netip.AddrPort) error {
	o := order{link: p.link, request: b}
	if broadcast, _ := broadcastOf(p.relay.offer.Links[p.link].Prefix); to.Addr() != broadcast {
		o.to = to.Addr()
	}
	return p.relay.order(o)
}

// order sends an order.
func (c *carried) order(o order) error {
	c.head.Seq++
	c.head.Time = time.Now()
	b := sealRelay(nil, c.head, o.append(nil), c.orders)
	if len(b) > MaxRequest {
		return fmt.Errorf("order of %d bytes: %w", len(b), errTooLong)
	}
	_, err := c.conn.WriteToUDPAddrPort(b, c.at)
	return err
}

// dismiss tells the relay that it is not needed, or no longer. If that is lost it finds out by itself.
func (c *carried) dismiss() { _ = c.order(order{}) }

// read hands on what relays send until the socket is closed.
func (c *carrier) read(ctx context.Context, in chan<- []packet) {
	const maxErrors = 100 // in a row
	buf := make([]byte, batchMax+1)
	for failed := 0; failed < maxErrors; {
		n, from, err := c.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		if err != nil {
			failed++ // an ICMP message about a datagram sent before; it concerns no other
			continue
		}
		failed = 0
		list, err := c.packets(buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), time.Now())
		if err != nil || len(list) == 0 {
			continue // it is of nobody who was asked; what is in it would not be believed either
		}
		select {
		case in <- list:
		case <-ctx.Done():
			return
		}
	}
}

// packets returns the replies in a batch, as if they had come straight from the hosts.
func (c *carrier) packets(b []byte, from netip.AddrPort, at time.Time) ([]packet, error) {
	h, err := parseRelayHead(b)
	if err != nil {
		return nil, err
	}
	relay := c.sessions[from]
	if relay == nil || h.Kind != kindBatch || h.Sweep != relay.head.Sweep {
		return nil, errors.New("datagram is of no relay of this sweep")
	}
	body, err := openRelay(b, relay.batches)
	if err != nil {
		return nil, err
	}
	if !relay.seen.add(h.Seq) {
		return nil, errors.New("batch came before")
	}
	entries, err := parseBatch(body)
	if err != nil {
		return nil, err
	}
	var out []packet
	for _, e := range entries {
		for _, w := range relay.ways {
			if w.relay.link == e.link {
				out = append(out, packet{way: w, from: netip.AddrPortFrom(e.from, from.Port()), at: at, b: e.reply})
			}
		}
	}
	return out, nil
}

// add makes a relay's links ways of the sweep, but for those of networks that another relay asks already. It returns false if
// there are none.
func (s *sweep) addRelay(c *carrier, relay *carried) bool {
	used := Relay{Host: relay.offer.Host, Hostname: relay.offer.Name, At: relay.at, Known: relay.known, RTT: relay.rtt}
	for i, l := range relay.offer.Links {
		if s.covered(l.Prefix.Addr()) {
			continue
		}
		sent := l
		if !relay.known {
			sent.MAC = [6]byte{} // whoever answered there is not to get a neighbour of his choice installed
		}
		w := relay.way(i, sent)
		if len(c.sessions) == 0 && len(relay.ways) == 0 {
			w.relay.carrier = c
		}
		s.ways, relay.ways = append(s.ways, w), append(relay.ways, w)
		used.Networks = append(used.Networks, l.Prefix)
	}
	if len(relay.ways) == 0 {
		return false
	}
	c.sessions[relay.at] = relay
	s.stats.Relays = append(s.stats.Relays, used)
	return true
}

// way returns the way to a link of the relay.
func (c *carried) way(i int, l relayLink) *way {
	to, _ := broadcastOf(l.Prefix) // there is one, see openOffer
	w := &way{conn: c.conn, iface: c.offer.iface(l), local: l.Prefix.Addr(), bits: l.Prefix.Bits(), relay: &relayPath{relay: c, link: i},
		single: map[netip.AddrPort]bool{}, networks: map[uint16][]netip.Prefix{}}
	w.add(netip.AddrPortFrom(to, c.at.Port()), l.Prefix)
	if c.known && c.offer.Early && c.early.link == l {
		w.opened = c.early.at
	}
	return w
}

// covered reports whether a relay asks the network of that address.
func (s *sweep) covered(a netip.Addr) bool {
	for _, w := range s.ways {
		if w.relay != nil && w.iface.Prefixes[0].Contains(a) {
			return true
		}
	}
	return false
}

// relayTrip returns the longest of the times from here to a relay and back.
func (s *sweep) relayTrip() (longest time.Duration) {
	for _, r := range s.stats.Relays {
		longest = max(longest, r.RTT)
	}
	return longest
}

// openOffer checks and opens an offer that came from an address that got a ticket of this sweep.
func (s *sweep) openOffer(b []byte, h relayHead, from netip.AddrPort) (*carried, error) {
	key, err := offerKey(h, b)
	if err != nil {
		return nil, err
	}
	secret, err := share(s.c.Key, key, s.opener.own, key)
	if err != nil {
		return nil, err
	}
	box, err := seal(secret, s.c.ID)
	if err != nil {
		return nil, err
	}
	o, err := openOffer(h, b, box)
	if err != nil {
		return nil, err
	}
	known, ok := s.opener.known(o.Host)
	switch {
	case ok && !known.Equal(key):
		s.changed(KeyChange{Host: o.Host, Hostname: o.Name, From: from, Now: key})
		return nil, errKeyChanged
	case !ok && (!h.Signed || !ed25519.Verify(key, b[:len(b)-signatureSize], b[len(b)-signatureSize:])):
		return nil, errNotIntroduced
	}
	relay := &carried{at: from, offer: o, known: ok, head: relayHead{Kind: kindOrder, Sweep: s.c.ID, Operator: s.c.Key.ID()}}
	relay.orders, relay.batches, err = relayKeys(secret, s.c.ID, o.Nonce)
	return relay, err
}

// checkSubnets refuses networks that no relay can be asked for.
func (c *SweepConfig) checkSubnets() error {
	for _, n := range c.Subnets {
		switch {
		case !n.IsValid() || !n.Addr().Is4() || n != n.Masked() || n.Bits() < 8 || n.Bits() > 30:
			return fmt.Errorf("%v is not an IPv4 network such as 10.9.0.0/16", n)
		case c.Key == nil || !c.Sealed || c.Legacy || c.BrokerPort != 0:
			return errors.New("a network behind a router is asked in the sealed form, with a key, and answers come by UDP")
		}
	}
	return nil
}
