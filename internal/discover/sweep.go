package discover

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/census"
)

const (
	defaultWait = 5 * time.Second
	secondAfter = 120 * time.Millisecond // the second copy of a request in the original form
	allHosts    = 65_536                 // more are not told apart
)

// Sweep asks and calls found for each host once, as it answers, from one goroutine. It ends by itself soon after the last
// answer, when it has computed that fewer than census.Delta hosts are to be expected that it has not heard; at the latest at
// Wait, and after a second where nobody answers at all. What it is sure of stands in the SweepStats. The error is for a request
// that could not be sent at all.
//
// Answers by way of a broker are not seen here; who asks for them with Legacy must wait for them himself. With Legacy alone the
// question is put twice, and the end is a quarter of Wait after the second.
func Sweep(ctx context.Context, c SweepConfig, found func(Answer)) (SweepStats, error) {
	if err := c.check(); err != nil {
		return SweepStats{}, err
	}
	list, err := interfaces()
	if err != nil {
		return SweepStats{ID: c.ID}, err
	}
	s := newSweep(c, list, found)
	defer s.close()
	if err := s.open(list); err != nil {
		return s.stats, err
	}
	if err := s.openSubnets(ctx); err != nil {
		return s.stats, err
	}
	err = s.run(ctx)
	s.stats.Elapsed = time.Since(s.start)
	return s.stats, err
}

// newSweep returns a sweep on a machine with these interfaces.
func newSweep(c SweepConfig, list []iface, found func(Answer)) *sweep {
	s := &sweep{c: c, found: found, machine: machineOf(list), hosts: map[ID]*heard{}, known: map[ID]netip.AddrPort{},
		answered: map[netip.AddrPort]bool{}, raw: make(chan []packet, 256), in: make(chan []packet, 256),
		cookies: map[netip.AddrPort][]byte{}, awaited: map[netip.AddrPort]time.Time{}, stats: SweepStats{ID: c.ID, PMiss: 1}}
	if c.Key != nil {
		s.opener, s.introduce = newOpener(c), len(c.Expect) == 0
	}
	if s.introduce {
		s.claims = &claims{sweep: c.ID}
	}
	for _, k := range c.Expect {
		s.known[k.ID] = k.At
	}
	if n := len(c.Expect); c.Key != nil && n <= maxHostTags && hostTagsSize(n) <= s.filterRoom() { // else no request has room for all
		s.paired = s.opener.paired(c.Expect)
	}
	return s
}

// sweep is one sweep under way. Everything but in belongs to the goroutine of Sweep.
type sweep struct {
	c       SweepConfig
	found   func(Answer)
	machine machine
	stats   SweepStats
	ways    []*way
	in      chan []packet
	stop    func()
	readers sync.WaitGroup

	census       *census.Sweep
	first        *census.Ask // the first request, if it went out with tickets
	ahead        [][]packet  // that came before everything was ready for them
	start        time.Time   // when the first request went out
	second       time.Time   // when the question in the original form is put again; zero: it was, or is not to be
	retry        time.Time   // when missing pages are asked for again
	hosts        map[ID]*heard
	known        map[ID]netip.AddrPort
	answered     map[netip.AddrPort]bool // addresses asked one by one that have
	unsent       unsent
	partial      int // hosts of which pages are missing
	pageRequests int

	claims    *claims       // nil: hosts are known from earlier, whose replies are opened at once
	raw       chan []packet // to be opened
	opening   atomic.Int32  // batches of which that is being done
	opener    *opener       // nil: without a key
	introduce bool          // hosts are to sign, for some are not known
	paired    []Secret      // shared with the hosts that are known
	cookies   map[netip.AddrPort][]byte
	awaited   map[netip.AddrPort]time.Time // until when the answers of hosts that were asked again are waited for
	wondering bool                         // hosts were asked about their clocks
}

// packet is a datagram that came in.
type packet struct {
	way  *way
	from netip.AddrPort
	at   time.Time
	b    []byte

	claimed bool  // the algorithm was told whose it says that it is
	reply   Reply // parsed and opened
	err     error
}

// sealed reports whether it is a reply that is to be opened.
func (p *packet) sealed() bool { return p.err == nil && p.reply.Flags&FlagSealed != 0 }

// run asks and listens until the end.
func (s *sweep) run(ctx context.Context) error {
	readers, cancel := context.WithCancel(ctx)
	s.stop = cancel
	s.startOpeners(readers)
	for _, w := range s.ways {
		if w.relay == nil {
			w.claims = s.claims
		}
		s.readers.Go(func() { w.read(readers, s.raw) })
	}
	if s.start.IsZero() { // else it began with the tickets
		s.start = time.Now()
	}
	switch begun, err := s.begun(); {
	case err != nil:
		return err
	case !begun:
		s.census = census.New(s.plan(s.ways, s.relayTrip()))
	}
	for _, list := range s.ahead {
		s.raw <- list
	}
	if !s.c.Sealed {
		return s.runOriginal(ctx)
	}
	err := s.rounds(ctx)
	s.flush()
	s.conclude(ctx.Err() != nil)
	return err
}

// plan returns what the algorithm has to know to ask on these ways, which are relays that far away if that is not 0.
func (s *sweep) plan(ways []*way, trip time.Duration) census.Config {
	c := census.Config{Sweep: s.c.ID, Limit: s.c.Wait, Salt: rand.Uint64, Rate: census.DefaultRate, Filter: s.filterRoom()}
	for id := range s.known {
		c.Known = append(c.Known, id)
	}
	var nets []netip.Prefix
	for _, w := range ways {
		c.Open = c.Open || len(w.networks) > 0 || w.gap > 0
		c.Range = c.Range || w.gap > 0
		c.Late = c.Late || w.late
		if w.gap == 0 {
			c.Singles += len(w.single)
		}
		nets = append(nets, slices.Concat(slices.Collect(maps.Values(w.networks))...)...)
		c.Wireless = c.Wireless || wireless(w.iface.Name)
		size := cmp.Or(memInfo(w.conn).buffer, defaultBuffer)
		if fits := size / bytesPerReply; c.Buffer == 0 || fits < c.Buffer {
			c.Buffer = fits
		}
		if size <= 2*defaultBuffer { // the kernel doubles what it is asked for
			c.Rate = census.SmallRate
		}
	}
	if c.Wireless {
		c.Rate = census.WirelessRate
	}
	if trip > 0 {
		c.Rate, c.Trip = min(c.Rate, relayRate), trip
	}
	c.Most = room(nets)
	return c
}

// rounds does what the algorithm says until it is done and all pages are here.
func (s *sweep) rounds(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s.readSockets()
		s.hearClaims()
		now := time.Now()
		asks, wake, done := s.census.Next(now.Sub(s.start))
		for _, a := range asks {
			if err := s.ask(a); err != nil {
				return err
			}
		}
		if n := len(asks); n > 0 && asks[n-1].To == (ID{}) {
			s.census.Sent(time.Since(s.start))
		}
		next := s.start.Add(wake)
		if s.partial > 0 {
			if !now.Before(s.retry) {
				s.retryPages(now)
			}
			if done || s.retry.Before(next) {
				next = s.retry
			}
		}
		if !s.second.IsZero() {
			if !now.Before(s.second) {
				s.again()
			} else if done || s.second.Before(next) {
				next = s.second
			}
		}
		for from, until := range s.awaited {
			if done && now.Before(until) {
				next = until
			} else if !now.Before(until) {
				delete(s.awaited, from)
			}
		}
		if done && s.second.IsZero() && (s.partial == 0 && len(s.awaited) == 0 || now.Sub(s.start) >= s.c.Wait) {
			return nil
		}
		timer.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return nil
		case list := <-s.in:
			s.takeAll(list)
		case <-timer.C:
		}
	}
}

// takeAll takes these datagrams and those that are waiting: what has come must be known before it is decided what to ask.
func (s *sweep) takeAll(list []packet) {
	const most = 64 // batches; then see what is to be sent
	for n := 1; ; n++ {
		s.hearClaims() // before it is told that they are settled
		for _, p := range list {
			s.take(p)
		}
		if n == most {
			return
		}
		select {
		case list = <-s.in:
		default:
			return
		}
	}
}

// conclude writes into the statistics what the algorithm is sure of.
func (s *sweep) conclude(interrupted bool) {
	r := s.census.Result()
	s.stats.Complete, s.stats.Why, s.stats.PMiss = r.Complete, r.Why, r.PMiss
	for _, id := range r.Missing {
		s.stats.Missing = append(s.stats.Missing, id)
	}
	s.stats.Rounds, s.stats.RequestLoss, s.stats.ReplyLoss, s.stats.Drops = r.Rounds, r.RequestLoss, r.ReplyLoss, r.Drops
	s.stats.Unasked = s.unsent.all()
	if why := s.unsent.why(s.stats.Unasked); why != "" {
		s.stats.Complete, s.stats.PMiss = false, 1
		s.stats.Why = strings.TrimPrefix(s.stats.Why+"; "+why, "; ")
	}
	if interrupted {
		s.stats.Complete, s.stats.Why = false, "interrupted"
	}
	if r.Drops > 0 {
		s.warn(fmt.Sprintf("%d answers were dropped by this machine's socket, which made the sweep slower: sysctl -w net.core.rmem_max=%d gives it more room",
			r.Drops, socketBuffer))
	}
}

// readSockets has the algorithm know how many replies the sockets had no room for, and whether some are not read yet.
func (s *sweep) readSockets() {
	total, unread := uint32(0), false
	for _, w := range s.ways {
		if w.relay != nil && w.relay.carrier == nil {
			continue // it shares the socket of another
		}
		state := memInfo(w.conn)
		total += state.drops
		unread = unread || state.queued > 0
	}
	unopened := len(s.raw)+int(s.opening.Load())+len(s.in) > 0
	s.census.Socket(total, unread || unopened && s.claims.full(), unopened)
}

// runOriginal puts the question in the original form, whose answers do not come here.
func (s *sweep) runOriginal(ctx context.Context) error {
	if err := s.askOriginal(); err != nil {
		return err
	}
	if !pause(ctx, min(secondAfter, s.c.Wait/4)) {
		return nil
	}
	s.again()
	pause(ctx, s.c.Wait/4)
	return nil
}

// again puts the question in the original form for the second time.
func (s *sweep) again() {
	s.second = time.Time{}
	if err := s.askOriginal(); err != nil {
		s.warn(err.Error())
	}
}

// pause waits, and returns false if ctx has ended before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// warn keeps a warning, once.
func (s *sweep) warn(text string) {
	for _, w := range s.stats.Warnings {
		if w == text {
			return
		}
	}
	s.stats.Warnings = append(s.stats.Warnings, text)
}

// close ends the readers and gives back the sockets.
func (s *sweep) close() {
	if s.stop != nil {
		s.stop()
	}
	for _, w := range s.ways {
		if w.relay != nil && w.relay.relay.ways[0] == w {
			w.relay.relay.dismiss()
		}
	}
	for _, w := range s.ways {
		_ = w.conn.Close() // nothing was to be kept
	}
	s.readers.Wait()
}

// room returns how many hosts the networks have addresses for, or 0 if that says nothing. Hosts that have IPv6 only count for
// nothing: there are few without the other.
func room(nets []netip.Prefix) int {
	n := 0
	slices.SortFunc(nets, netip.Prefix.Compare)
	for _, p := range slices.Compact(nets) {
		if p.Addr().Is4() {
			n += max(1<<min(32-p.Bits(), 16)-2, 1)
		}
	}
	return n
}
