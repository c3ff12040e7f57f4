package discover

import (
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
)

// Limits of a relay.
var (
	ticketEach = pace{20.0 / 60, 20}    // tickets of one requester, a second: 20 a minute
	ticketAll  = pace{60.0 / 60, 60}    // of all
	orderPace  = pace{250, 500}         // requests that are sent on, of one sweep: as many as hosts take from one requester
	batchPace  = pace{4 << 20, 1 << 20} // bytes that go back, a second
)

const (
	maxRelayed    = 8               // sweeps relayed at a time
	relayIdle     = 5 * time.Second // without an order
	relayLife     = time.Minute     // of one sweep
	relayYield    = time.Second     // after which a sweep of the same operator from elsewhere may take the place of an idle one
	relayMost     = 64 << 20        // bytes that go back in one sweep
	relayedOrders = 256             // that may wait
	relayHeld     = 128 << 10       // bytes of replies that wait for the requester to show that it is where it says
	shownFor      = 10 * time.Minute
	maxShown      = 256
)

// shownAt is an address at which an operator has shown that he is, by ordering with what only an offer says that was sent there.
type shownAt struct {
	operator [8]byte
	addr     netip.Addr
}

// relays are the sweeps that this host relays, one an operator. They belong to the goroutine of Run.
type relays struct {
	ctx      context.Context
	running  *sync.WaitGroup // of the sessions' goroutines
	sessions map[[8]byte]*relaySession
	rate     *limiter
	shown    *recent[shownAt, time.Time]                  // when last
	yield    time.Duration                                // see relayYield
	listen   func(local netip.Addr) (*net.UDPConn, error) // opens the socket of a link
}

func newRelays() relays {
	return relays{sessions: map[[8]byte]*relaySession{}, rate: newLimiter(ticketEach, ticketAll), yield: relayYield, shown: newRecent[shownAt, time.Time](shownFor, maxShown),
		listen: func(local netip.Addr) (*net.UDPConn, error) { return listenFor(local, 0) }}
}

// start has sessions end with ctx and be waited for by running.
func (r *relays) start(ctx context.Context, running *sync.WaitGroup) { r.ctx, r.running = ctx, running }

// relaying reports whether a datagram comes from here, on behalf of an operator who is elsewhere.
func (r *relays) relaying(from netip.AddrPort) bool {
	for _, s := range r.sessions {
		if slices.ContainsFunc(s.links, func(l *sessionLink) bool { return l.at == from }) {
			return true
		}
	}
	return false
}

// relay handles a datagram about relaying.
func (r *Responder) relay(d *datagram) (outcome, error) {
	h, err := parseRelayHead(d.b)
	set := r.settings.Load()
	switch {
	case err == errTooLong:
		return tooLong, nil
	case err == errVersion:
		return unknown, nil
	case err != nil:
		return malformed, err
	case set.open || !r.c.Relay || r.relays.ctx == nil:
		return noRelay, nil
	case h.Kind == kindTicket:
		return r.ticket(d, set)
	case h.Kind == kindOrder:
		return r.order(d, h, set)
	}
	return unknown, nil // what a relay says is not for another one
}

// order hands an order on to its session.
func (r *Responder) order(d *datagram, h relayHead, set *settings) (outcome, error) {
	s := r.relays.sessions[h.Operator]
	switch {
	case s == nil || s.sweep != h.Sweep || s.ended():
		return noRelay, nil
	case s.requester != d.src:
		return wrongSource, nil
	case r.authority.find(set.operators, h.Operator) == nil || s.set != set:
		s.end()
		return noOperator, nil
	}
	select {
	case s.orders <- slices.Clone(d.b):
		return answered, nil
	default:
		return busy, nil
	}
}

// ticket checks a ticket and answers it. Whatever is wrong with it, nothing is said.
func (r *Responder) ticket(d *datagram, set *settings) (outcome, error) {
	t, err := parseTicket(d.b)
	if err != nil {
		return malformed, err
	}
	op := r.authority.find(set.operators, t.Operator)
	if op == nil {
		return noOperator, nil
	}
	d.operator = op
	skew := d.at.Sub(t.Time)
	key := r.hash(d.src.Addr(), t.Sweep, t.Seq, append([]byte("ticket"), t.Operator[:]...))
	_, known := r.replay.get(key, d.at)
	switch {
	case skew > maxSkew || skew < -maxSkew || !r.authority.timely(op, t.Time):
		return clock, nil
	case known:
		return replayed, nil
	}
	f, o := r.admitTicket(d, t, set)
	switch {
	case o != answered:
		return o, nil
	case !ticketTagged(d.b, op.tagger):
		return forged, nil
	case !r.authority.allow(f.Index, d.at):
		return rate, nil
	case !signedBy(d.b, op.key):
		return forged, nil
	}
	r.replay.put(key, struct{}{}, d.at)
	if !r.relays.rate.allow(d.src.Addr(), d.at) { // only here, so that nobody uses up another's allowance
		return rate, nil
	}
	if skew < -startMargin {
		r.authority.floors.raise(op.id, t.Time.UnixMilli())
	}
	return r.take(d, t, op, set)
}

// admitTicket checks where a ticket came from and was sent to: it names both.
func (r *Responder) admitTicket(d *datagram, t ticket, set *settings) (f iface, o outcome) {
	if d.iface == 0 && !r.control(d) {
		return f, offLink
	}
	f, ok := r.list[d.iface]
	if !ok || !r.machine.isOwn(d.dst) {
		r.refresh(d.at, tableRetry) // an interface or address may be new
		f, ok = r.list[d.iface]
	}
	switch {
	case !ok || !r.machine.isOwn(d.dst) || !r.machine.connectable(d.dst) || !r.machine.connectable(d.src.Addr()):
		return f, offLink
	case len(set.interfaces) > 0 && !slices.Contains(set.interfaces, f.Name):
		return f, otherIface
	case t.Requester != d.src.Addr() || t.Relay != d.dst:
		return f, wrongSource
	}
	return f, answered
}

// take begins a session for a ticket that is good, if there are links to relay to, and makes an offer. A ticket that comes again
// in the same sweep, as it does when the offer was lost, gets the same one.
func (r *Responder) take(d *datagram, t ticket, op *operator, set *settings) (outcome, error) {
	said := r.said.Load()
	if said == nil {
		return notReady, nil
	}
	s := r.relays.sessions[op.id]
	if s == nil || s.ended() || s.sweep != t.Sweep || s.requester != d.src {
		if s != nil && !s.ended() && s.requester.Addr() != d.src.Addr() && d.at.Sub(time.Unix(0, s.last.Load())) < r.relays.yield {
			return busy, nil
		}
		var o outcome
		var err error
		if s, o, err = r.begin(d, t, op, set); s == nil {
			return o, err
		}
	}
	out := offer{relayHead: relayHead{Sweep: t.Sweep, Operator: op.id, Time: d.at, Seq: t.Seq}, Host: said.id, Name: said.name, Nonce: s.nonce, Links: s.offered(), Early: true}
	box, err := r.authority.box(op, t.Sweep)
	if err != nil {
		return sendFailed, err
	}
	private := r.authority.key.Private()
	if !t.Signed {
		private = nil
	}
	b, err := out.marshal(box, r.authority.own, private)
	if err == nil {
		err = r.reply(b, s.source, d.src)
	}
	if err != nil {
		return sendFailed, err
	}
	s.credit.Add(int64(len(d.b) - len(b)))
	return answered, nil
}

// begin opens a session in the place of the operator's last one.
func (r *Responder) begin(d *datagram, t ticket, op *operator, set *settings) (*relaySession, outcome, error) {
	for id, s := range r.relays.sessions {
		if s.proved.Load() {
			r.relays.shown.put(shownAt{id, s.requester.Addr()}, time.Unix(0, s.last.Load()), d.at)
		}
		if id == op.id {
			s.end()
		}
		if s.ended() {
			delete(r.relays.sessions, id)
		}
	}
	if len(r.relays.sessions) >= maxRelayed {
		return nil, busy, nil
	}
	s := &relaySession{r: r, set: set, sweep: t.Sweep, operator: op.id, requester: d.src, began: d.at,
		source: (&ipv4.ControlMessage{Src: d.dst.AsSlice()}).Marshal(),
		orders: make(chan []byte, relayedOrders), replies: make(chan entry, relayedOrders), done: make(chan struct{})}
	rand.Read(s.nonce[:]) //nolint:errcheck // never fails, by its documentation
	s.last.Store(d.at.UnixNano())
	at, ok := r.relays.shown.get(shownAt{op.id, d.src.Addr()}, d.at)
	s.trusted = ok && d.at.Sub(at) <= shownFor
	if op.secret == nil {
		if _, err := r.authority.box(op, t.Sweep); err != nil {
			return nil, sendFailed, err
		}
	}
	var err error
	if s.down, s.up, err = relayKeys(*op.secret, t.Sweep, s.nonce); err != nil {
		return nil, sendFailed, err
	}
	if s.early, _, err = relayKeys(*op.secret, t.Sweep, [16]byte{}); err != nil {
		return nil, sendFailed, err
	}
	s.send = r.in.sender().send
	for _, f := range r.list {
		if len(set.interfaces) == 0 || slices.Contains(set.interfaces, f.Name) {
			s.open(f, t.Network, set)
		}
	}
	if len(s.links) == 0 {
		return nil, unselected, nil
	}
	r.relays.sessions[op.id] = s
	s.start(r.relays.ctx, r.relays.running)
	r.tally.say(relaying, strconv.FormatUint(t.Sweep, 10)+" for "+d.src.String())
	return s, answered, nil
}

// offered returns the links of a session as they stand in an offer.
func (s *relaySession) offered() (out []relayLink) {
	for _, l := range s.links {
		link := relayLink{Prefix: l.prefix}
		if len(l.iface.MAC) == len(link.MAC) {
			copy(link.MAC[:], l.iface.MAC)
		}
		out = append(out, link)
	}
	return out
}

// open adds the links of f that lie in the network. One that can't be used is left out: the operator sees which there are.
func (s *relaySession) open(f iface, network netip.Prefix, set *settings) {
	if f.unusable(slices.Contains(set.interfaces, f.Name)) != "" || f.Flags&net.FlagBroadcast == 0 {
		return
	}
	for _, p := range f.Prefixes {
		to, ok := broadcastOf(p)
		if !ok || !network.Contains(p.Addr()) || len(s.links) == maxLinks {
			continue
		}
		conn, err := s.r.relays.listen(p.Addr())
		if err != nil {
			continue
		}
		s.links = append(s.links, &sessionLink{iface: f, prefix: p, to: to, conn: conn,
			at: conn.LocalAddr().(*net.UDPAddr).AddrPort()})
	}
}
