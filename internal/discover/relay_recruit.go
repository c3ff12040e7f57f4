package discover

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// How relays are looked for.
const (
	ticketsAtOnce = 3                      // known hosts that are asked first; whoever takes the ticket first relays
	recruitFirst  = 150 * time.Millisecond // until more are asked; twice as long each time
	recruitLast   = 2 * time.Second        // until known hosts are given up
	recruitMore   = 100 * time.Millisecond // for further relays when there is one, beside twice its round trip
	recruitRange  = 600 * time.Millisecond // for the last of a range to answer
	rangePasses   = 2
	offersEach    = 4                    // offers that are opened from one address
	parkedPart    = 4                    // of its round trip, for which an offer waits for that of a host which has the first request already
	parkedLeast   = 2 * time.Millisecond // that it does
)

// recruiting is the search for relays of one sweep.
type recruiting struct {
	s      *sweep
	c      *carrier
	seq    uint32
	sent   map[uint32]sentTicket
	opened map[netip.AddrPort]int
	early  map[netip.AddrPort]earlyOrder // that went out with tickets, by relay
	parked []*carried                    // that wait for one with an early order to be first
	until  time.Time                     // that wait ends
}

type sentTicket struct {
	to      netip.AddrPort
	at      time.Time
	network netip.Prefix
}

// openSubnets finds a relay in each network of Subnets.
func (s *sweep) openSubnets(ctx context.Context) error {
	if len(s.c.Subnets) == 0 {
		return nil
	}
	conn, err := listenFor(netip.IPv4Unspecified(), s.c.buffer)
	if err != nil {
		return err
	}
	s.start = time.Now()
	rc := &recruiting{s: s, c: &carrier{conn: conn, sessions: map[netip.AddrPort]*carried{}}, sent: map[uint32]sentTicket{}, opened: map[netip.AddrPort]int{}, early: map[netip.AddrPort]earlyOrder{}}
	for _, n := range s.c.Subnets {
		if err := rc.recruit(ctx, n); err != nil {
			s.warn(fmt.Sprintf("network %v: %v", n, err))
		}
	}
	if len(rc.c.sessions) > 0 {
		return conn.SetReadDeadline(time.Time{})
	}
	if err := conn.Close(); err != nil || len(s.ways) > 0 {
		return err
	}
	return errors.New(strings.Join(s.stats.Warnings, "; "))
}

// recruit finds relays for a network: among the hosts that are known there, or else by asking address after address.
func (rc *recruiting) recruit(ctx context.Context, network netip.Prefix) error {
	if err := rc.known(ctx, network); err != nil || rc.found(network) {
		return err
	}
	size := math.Pow(2, float64(32-network.Bits()))
	if size > maxRange {
		return fmt.Errorf("no host is known there that relays, and %.0f addresses are too many to be asked one by one (%d): name a smaller network", size, maxRange)
	}
	for range rangePasses {
		if err := rc.walk(ctx, network); err != nil || rc.found(network) || ctx.Err() != nil {
			return err
		}
	}
	return errors.New("no host there relays for this key: see that udpmon runs there, that its authorized_operators has the key, and that the clocks agree within 30s")
}

// found reports whether there is a relay in the network.
func (rc *recruiting) found(network netip.Prefix) bool {
	return slices.ContainsFunc(rc.s.ways, func(w *way) bool { return w.relay != nil && network.Contains(w.local) })
}

// candidates returns the known hosts of the network that no relay covers, those first that can be sent early orders, and of them
// those that this sweep's hash puts first.
func (rc *recruiting) candidates(network netip.Prefix) (out []Known) {
	place := map[netip.AddrPort]uint64{}
	for _, k := range append(slices.Clone(rc.s.c.Relays), rc.s.c.Expect...) {
		if !k.At.IsValid() || !network.Contains(k.At.Addr()) || rc.s.covered(k.At.Addr()) || place[k.At] != 0 {
			continue
		}
		h := fnv.New64a()
		_, _ = h.Write(append(binary.BigEndian.AppendUint64(nil, rc.s.c.ID), k.ID[:]...)) // never fails
		place[k.At] = h.Sum64() | 1
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b Known) int {
		if able := rc.able(a); able != rc.able(b) {
			if able {
				return -1
			}
			return 1
		}
		return cmp.Compare(place[a.At], place[b.At])
	})
	return out
}

// known asks known hosts, three first, until each of them is in the network of a relay or it is no use any longer.
func (rc *recruiting) known(ctx context.Context, network netip.Prefix) error {
	until := time.Now().Add(recruitLast)
	most := ticketsAtOnce
	try := 0
	for wait := recruitFirst; ctx.Err() == nil; wait *= 2 {
		list := rc.candidates(network)
		now := time.Now()
		if len(list) == 0 || !now.Before(until) {
			return nil
		}
		if err := rc.ask(list, most, try, network); err != nil {
			return err
		}
		most *= 2
		try++
		before := len(rc.c.sessions)
		end := now.Add(wait)
		if end.After(until) {
			end = until
		}
		for rc.until = end; len(rc.c.sessions) == before && rc.await(ctx, rc.until); {
		}
		rc.unpark()
		if len(rc.c.sessions) > before {
			most, wait = ticketsAtOnce, recruitFirst/2
			until = time.Now().Add(recruitMore + 2*rc.s.relayTrip())
		}
	}
	return nil
}

// ask sends tickets to the first so many hosts, and with one of them the sweep's first request.
func (rc *recruiting) ask(list []Known, most, try int, network netip.Prefix) error {
	list = list[:min(most, len(list))]
	if next := try % len(list); rc.able(list[next]) { // the last one may be gone
		list[0], list[next] = list[next], list[0]
	}
	for i, k := range list {
		if err := rc.ticket(k.At, network); err != nil {
			return err
		}
		if i > 0 || !rc.able(k) {
			continue
		}
		if err := rc.order(k); err != nil {
			return err
		}
	}
	return nil
}

// walk sends a ticket to each address of the network that no relay covers, one after the other.
func (rc *recruiting) walk(ctx context.Context, network netip.Prefix) error {
	for a := network.Addr().Next(); network.Contains(a.Next()); a = a.Next() {
		if rc.s.covered(a) || rc.s.machine.isOwn(a) {
			continue
		}
		if err := rc.ticket(netip.AddrPortFrom(a, uint16(rc.s.c.Port)), network); err != nil {
			return err
		}
		next := time.Now().Add(paceGap)
		for rc.await(ctx, next) {
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	end := time.Now().Add(recruitRange)
	for !rc.found(network) && rc.await(ctx, end) {
	}
	return nil
}

// ticket sends a ticket to one address. That it can't be sent is an error only for want of a way there.
func (rc *recruiting) ticket(to netip.AddrPort, network netip.Prefix) error {
	local, err := route(to)
	if err != nil {
		return err
	}
	rc.seq++
	t := ticket{relayHead: relayHead{Sweep: rc.s.c.ID, Seq: rc.seq, Time: time.Now(), Signed: true}, Requester: local.Unmap(), Relay: to.Addr(), Network: network}
	b, err := t.sign(rc.s.c.Key)
	if err != nil {
		return err
	}
	rc.sent[rc.seq] = sentTicket{to: to, at: time.Now(), network: network}
	if _, err := rc.c.conn.WriteToUDPAddrPort(b, to); err != nil {
		rc.s.warn(fmt.Sprintf("ask %v: %v", to, err))
		return nil
	}
	rc.s.stats.Sent++
	rc.s.stats.SentBytes += len(b)
	return nil
}

// await takes the next datagram that comes until then, and returns false if none does.
func (rc *recruiting) await(ctx context.Context, until time.Time) bool {
	const slice = 50 * time.Millisecond // so that ctx is looked at
	buf := make([]byte, MaxRequest+1)
	for ctx.Err() == nil {
		now := time.Now()
		if !now.Before(until) {
			return false
		}
		if err := rc.c.conn.SetReadDeadline(now.Add(min(slice, until.Sub(now)))); err != nil {
			return false
		}
		n, from, err := rc.c.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return false
		}
		if err == nil {
			rc.take(buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), time.Now())
		}
		return true
	}
	return false
}

// take looks at a datagram that may be an offer.
func (rc *recruiting) take(b []byte, from netip.AddrPort, now time.Time) {
	s := rc.s
	s.stats.Received++
	h, err := parseRelayHead(b)
	t := rc.sent[h.Seq]
	switch {
	case err != nil:
	case h.Kind == kindBatch:
		var list []packet
		if list, err = rc.c.packets(b, from, now); len(list) > 0 && len(s.ahead) < cap(s.raw) {
			s.ahead = append(s.ahead, list)
		}
	case h.Kind != kindOffer || h.Sweep != s.c.ID || t.to != from:
		err = errors.New("it is no offer to a ticket of this sweep")
	case rc.opened[from] >= offersEach:
		err = errors.New("too many offers from there")
	case rc.c.sessions[from] != nil || slices.ContainsFunc(rc.parked, func(c *carried) bool { return c.at == from }):
		return // the same again
	default:
		rc.opened[from]++
		err = rc.accept(b, h, t, now)
	}
	if err != nil {
		s.stats.Wrong++
		s.c.Log.Debug("drop datagram", "from", from, "err", err)
	}
}

// accept takes an offer, or declines it if its networks are asked already.
func (rc *recruiting) accept(b []byte, h relayHead, t sentTicket, now time.Time) error {
	relay, err := rc.s.openOffer(b, h, t.to)
	if err != nil {
		return err
	}
	relay.conn, relay.rtt = rc.c.conn, now.Sub(t.at)
	if slices.ContainsFunc(relay.offer.Links, func(l relayLink) bool { return !t.network.Contains(l.Prefix.Addr()) }) {
		return errors.New("offer has a link that was not asked for")
	}
	var ordered bool
	if relay.early, ordered = rc.early[relay.at]; ordered {
		relay.head.Seq = relay.early.seq
	} else if rc.awaited(t.network) {
		rc.parked = append(rc.parked, relay)
		if end := now.Add(max(relay.rtt/parkedPart, parkedLeast)); end.Before(rc.until) {
			rc.until = end
		}
		return nil
	}
	rc.add(relay)
	return nil
}

// add takes a relay, or declines it if its networks are asked already.
func (rc *recruiting) add(relay *carried) {
	if !rc.s.addRelay(rc.c, relay) {
		relay.dismiss()
	}
}

// unpark takes the relays that have waited.
func (rc *recruiting) unpark() {
	for _, relay := range rc.parked {
		rc.add(relay)
	}
	rc.parked = nil
}

// awaited reports whether a host of the network may offer still that has the first request already.
func (rc *recruiting) awaited(network netip.Prefix) bool {
	for at := range rc.early {
		if network.Contains(at.Addr()) && !rc.s.covered(at.Addr()) {
			return true
		}
	}
	return false
}
