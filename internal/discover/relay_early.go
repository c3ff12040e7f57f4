package discover

import (
	"net/netip"
	"time"

	"rollcall/internal/census"
)

// earlyOrder is what was sent to a relay with its ticket: the first request of the sweep, as an early order. A relay that knows such
// orders sends it at once, so that the first replies come back with the offer. One that does not, or whose network is another one by
// now, passes it over, and it is ordered again when the offer is here.
type earlyOrder struct {
	link relayLink
	at   time.Time
	seq  uint32 // of the order
}

// opening returns the sweep's first request. The sweep begins with it.
func (rc *recruiting) opening(w *way) census.Ask {
	s := rc.s
	if s.first == nil {
		s.census = census.New(s.plan(append(s.ways[:len(s.ways):len(s.ways)], w), recruitFirst))
		asks, _, _ := s.census.Next(0)
		s.first = &asks[0] // the first one of a sweep is due at once
	}
	return *s.first
}

// able reports whether a host can be sent an early order: if its key is known, its MAC, and which network it is in.
func (rc *recruiting) able(k Known) bool {
	prefix := netip.PrefixFrom(k.At.Addr(), k.Bits)
	_, wide := broadcastOf(prefix)
	_, known := rc.s.opener.known(k.ID)
	return k.Bits > 0 && prefix.IsValid() && wide && known && k.MAC != [6]byte{}
}

// order sends a known host the first request after its ticket. It must be able.
func (rc *recruiting) order(k Known) error {
	key, _ := rc.s.opener.known(k.ID)
	l := relayLink{Prefix: netip.PrefixFrom(k.At.Addr(), k.Bits), MAC: k.MAC}
	relay := &carried{at: k.At, conn: rc.c.conn, head: relayHead{Kind: kindOrder, Early: true, Sweep: rc.s.c.ID, Operator: rc.s.c.Key.ID(), Seq: rc.early[k.At].seq}}
	secret, err := share(rc.s.c.Key, key, rc.s.opener.own, key)
	if err != nil {
		return err
	}
	if relay.orders, _, err = relayKeys(secret, rc.s.c.ID, [16]byte{}); err != nil {
		return err
	}
	w := relay.way(earlyLink, l)
	b, err := rc.s.encode(rc.s.question(w, rc.opening(w)))
	if err != nil {
		return err
	}
	o := earlyOrder{link: l, at: time.Now()}
	if err := relay.order(order{link: earlyLink, request: b}); err != nil {
		return nil // what was wrong with it has been said of the ticket
	}
	o.seq = relay.head.Seq
	rc.early[k.At] = o
	rc.s.stats.Sent++
	rc.s.stats.SentBytes += len(b)
	return nil
}

// begun tells the algorithm how far away the hosts are, if the first request went out with the tickets, and sends it on those ways on
// which it did not. It returns false if nobody has taken it: then the sweep begins anew.
func (s *sweep) begun() (bool, error) {
	var rest []*way
	for _, w := range s.ways {
		if w.opened.IsZero() {
			rest = append(rest, w)
		}
	}
	if s.first == nil || len(rest) == len(s.ways) {
		s.first = nil
		return false, nil
	}
	now := time.Now()
	s.census.Arrived(s.relayTrip(), now.Sub(s.start))
	for _, w := range rest {
		w.opened = now
	}
	return true, s.askOn(rest, *s.first)
}

// lag returns how much later than the sweep says a request was sent on a way.
func (s *sweep) lag(w *way, seq uint32) time.Duration {
	if s.first == nil || seq != s.first.Seq {
		return 0
	}
	return w.opened.Sub(s.start)
}
