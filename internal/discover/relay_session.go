package discover

import (
	"context"
	"crypto/cipher"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
)

// relaySession is one sweep that is relayed for an operator. Its own goroutine sends what is ordered and what came in; one more
// for each link reads. Nothing is ever sent to anybody but the requester and on the links; and to the requester, as long as it has
// not shown that it is where it says, no more than came from there.
type relaySession struct {
	r         *Responder
	set       *settings // in force when it began; with others it ends
	sweep     uint64
	operator  [8]byte
	requester netip.AddrPort
	source    []byte // control message for what goes to the requester
	nonce     [16]byte
	began     time.Time
	links     []*sessionLink
	last      atomic.Int64 // when the last order came, in Unix nanoseconds
	trusted   bool         // the operator has shown a while ago that he is where the requester is
	proved    atomic.Bool  // he has in this sweep: he has ordered with what the offer says
	credit    atomic.Int64 // bytes that came more than went back, while he has not

	orders  chan []byte
	replies chan entry
	done    chan struct{} // closed when it is over
	stop    context.CancelFunc

	// What follows belongs to the goroutine of the session.
	send     func(b, oob []byte, to netip.AddrPort) error
	down, up cipher.AEAD // open orders, seal batches
	early    cipher.AEAD // opens orders of before the offer
	seen     seen
	seq      uint32
	batch    []byte   // entries that wait
	held     [][]byte // full batches that wait until the requester has shown where it is
	out      []byte
	ordered  bucket
	told     bucket
	total    int // bytes that went back
}

// sessionLink is a network that is relayed to.
type sessionLink struct {
	iface  iface
	prefix netip.Prefix
	to     netip.Addr // the broadcast address
	conn   *net.UDPConn
	at     netip.AddrPort
}

// start runs the session until it is over or ctx ends.
func (s *relaySession) start(ctx context.Context, running *sync.WaitGroup) {
	inner, cancel := context.WithTimeout(ctx, relayLife)
	s.stop = cancel
	var readers sync.WaitGroup
	for i, l := range s.links {
		readers.Go(func() { s.read(inner, i, l) })
	}
	running.Go(func() {
		defer cancel()
		s.serve(inner)
		close(s.done)
		for _, l := range s.links {
			_ = l.conn.Close() // nothing was to be kept
		}
		cancel()
		readers.Wait()
	})
}

// end has the session end; it does not wait for that.
func (s *relaySession) end() { s.stop() }

// ended reports whether the session is over.
func (s *relaySession) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// serve works orders and replies off until the session is over.
func (s *relaySession) serve(ctx context.Context) {
	idle := time.NewTimer(relayIdle)
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
			return
		case e := <-s.replies:
			s.add(e)
			if len(s.replies) == 0 {
				s.flush() // what comes while this is sent is the next batch
			}
		case b := <-s.orders:
			more, err := s.obey(b)
			if err != nil {
				s.r.tally.note(malformed, s.r.c.Now(), func() any { return s.requester.String() + ": " + err.Error() })
				continue
			}
			if !more {
				return
			}
			s.last.Store(s.r.c.Now().UnixNano())
			idle.Reset(relayIdle)
		}
		if s.r.settings.Load() != s.set || s.total > relayMost {
			return
		}
	}
}

// errOrder says that a relay does not send what it was ordered to.
var errOrder = errors.New("order is not for a request of this sweep on a link of this host")

// obey does what an order says, and returns false if that is to end.
func (s *relaySession) obey(b []byte) (more bool, err error) {
	h, err := parseRelayHead(b)
	if err != nil {
		return true, err
	}
	o, err := s.unseal(h, b)
	switch {
	case err != nil:
		return true, err
	case h.Early:
		s.credit.Add(int64(len(b)))
	case !s.proved.Swap(true):
		s.release()
	}
	if len(o.request) == 0 && !h.Early {
		return false, nil
	}
	now := s.r.c.Now()
	l, err := s.fits(o, h.Early, now)
	if err != nil {
		return true, err
	}
	if s.ordered = orderPace.fill(s.ordered, now); s.ordered.tokens < 1 {
		s.r.tally.note(rate, now, func() any { return s.requester.String() })
		return true, nil
	}
	s.ordered.tokens--
	to := l.to
	if o.to.IsValid() {
		to = o.to
	}
	if err := l.send(o.request, netip.AddrPortFrom(to, s.port())); err != nil {
		s.r.tally.note(sendFailed, now, func() any { return err })
		return true, nil
	}
	s.r.tally.note(relayed, now, nil)
	return true, nil
}

// unseal reads an order that did not come before.
func (s *relaySession) unseal(h relayHead, b []byte) (order, error) {
	box := s.down
	if h.Early {
		box = s.early
	}
	body, err := openRelay(b, box)
	if err != nil {
		return order{}, err
	}
	if !s.seen.add(h.Seq) {
		return order{}, errors.New("order came before")
	}
	return parseOrder(body)
}

// fits checks that an order is for a request that this host could have sent itself, in this sweep of this operator: signed for
// its address on the link that it returns. What is no such request no relay sends, whoever orders it; so no relay ever relays for a
// relay.
func (s *relaySession) fits(o order, early bool, now time.Time) (*sessionLink, error) {
	q, err := ParseRequest(o.request)
	if err != nil {
		return nil, err
	}
	if early {
		if o.link != earlyLink {
			return nil, errOrder
		}
		o.link = slices.IndexFunc(s.links, func(l *sessionLink) bool { return l.prefix.Addr() == q.Requester })
	}
	if o.link < 0 || o.link >= len(s.links) {
		return nil, errOrder
	}
	l := s.links[o.link]
	mac := l.iface.MAC.String() == net.HardwareAddr(q.MAC[:]).String() || q.MAC == [6]byte{}
	skew := now.Sub(q.Time)
	switch {
	case !q.Signed || q.Operator != s.operator || q.Sweep != s.sweep || len(o.request)%2 != 0:
		return nil, errOrder
	case q.Requester != l.prefix.Addr() || int(q.PrefixLen) != l.prefix.Bits() || !mac || q.ReplyPort != 0 || q.BrokerPort != 0:
		return nil, errOrder
	case skew > maxSkew || skew < -maxSkew:
		return nil, errors.New("request is not of now")
	case o.to.IsValid() && !l.iface.connects(o.to):
		return nil, errOrder
	}
	return l, nil
}

// port is where hosts are asked: where this one is.
func (s *relaySession) port() uint16 { return s.r.c.Conn.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// send sends a request on the link, to a host or to everybody.
func (l *sessionLink) send(b []byte, to netip.AddrPort) error {
	_, _, err := l.conn.WriteMsgUDPAddrPort(withTail(b), (&ipv4.ControlMessage{IfIndex: l.iface.Index}).Marshal(), to)
	return err
}

// read hands on the replies that come in on a link until its socket is closed.
func (s *relaySession) read(ctx context.Context, link int, l *sessionLink) {
	const maxErrors = 100 // in a row
	buf := make([]byte, maxReply+1)
	for failed := 0; failed < maxErrors; {
		n, from, err := l.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		if err != nil {
			failed++
			continue
		}
		failed = 0
		src := netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if !s.isReply(buf[:n], src, l) {
			s.r.tally.note(malformed, s.r.c.Now(), func() any { return src.String() + ": no reply to what was relayed" })
			continue
		}
		select {
		case s.replies <- entry{link: link, from: src.Addr(), reply: append([]byte(nil), buf[:n]...)}:
		case <-ctx.Done():
			return
		}
	}
}

// isReply reports whether a datagram can be a host's reply in this sweep. What it says is for the operator alone.
func (s *relaySession) isReply(b []byte, from netip.AddrPort, l *sessionLink) bool {
	return isReply(b, s.sweep) && len(b) <= maxReply && from.Port() == s.port() && (from.Addr() == l.prefix.Addr() || l.iface.connects(from.Addr()))
}

// add puts a reply into the batch.
func (s *relaySession) add(e entry) {
	if len(s.batch)+entryHead+len(e.reply) > batchMax-relayOut {
		if s.flush(); len(s.batch) > 0 {
			s.hold()
		}
	}
	s.batch = e.append(s.batch)
}

// relayOut is how many bytes a batch has more than the replies in it.
const relayOut = relayHeader + sealNonce + sealTag

// hold lays the batch by that may not be sent yet.
func (s *relaySession) hold() {
	if len(s.held) >= relayHeld/batchMax {
		s.r.tally.note(excessive, s.r.c.Now(), func() any { return s.requester.String() })
	} else {
		s.held = append(s.held, s.batch)
	}
	s.batch = nil
}

// release sends what waited for the requester to show where it is.
func (s *relaySession) release() {
	s.flush()
	for _, b := range s.held {
		s.batch = b
		s.flush()
	}
	s.held = nil
}

// flush sends the batch to the requester, if that may have so much.
func (s *relaySession) flush() {
	size := int64(relayOut + len(s.batch))
	shown := s.trusted || s.proved.Load()
	if len(s.batch) == 0 || !shown && s.credit.Load() < size {
		return
	}
	if !shown {
		s.credit.Add(-size)
	}
	now := s.r.c.Now()
	s.seq++
	s.out = sealRelay(s.out, relayHead{Kind: kindBatch, Sweep: s.sweep, Operator: s.operator, Time: now, Seq: s.seq}, s.batch, s.up)
	s.batch = s.batch[:0]
	if s.told = batchPace.fill(s.told, now); s.told.tokens < float64(len(s.out)) {
		s.r.tally.note(excessive, now, func() any { return s.requester.String() })
		return
	}
	s.told.tokens -= float64(len(s.out))
	s.total += len(s.out)
	if err := s.send(s.out, s.source, s.requester); err != nil {
		s.r.tally.note(sendFailed, now, func() any { return s.requester.String() + ": " + err.Error() })
	}
}
