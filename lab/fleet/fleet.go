// Package fleet is a simulated fleet: any number of virtual hosts behind one real socket, which answer sweeps with the codec and
// the rules of real hosts, each from an address of its own, over links that lose, delay and double datagrams. Some can be
// stopped, or have a wrong clock.
//
// It is for measuring sweeps of more hosts than there is room for as processes. With an operator every host has a key of its own
// and seals its replies, with the real descriptions of services; the one thing that is shared is the check of the operator's
// signature, which is made once for each datagram: a real host has a processor of its own for that.
package fleet

import (
	"container/heap"
	"context"
	"crypto/cipher"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"rollcall/internal/census"
	"rollcall/internal/discover"
	"rollcall/lab/loss"
)

// Config says what the fleet is.
type Config struct {
	Listen string     // address and port of the socket: "0.0.0.0:37030"
	Hosts  int        // 1 to 65,000
	Base   netip.Addr // host i answers from the address i after it, which must be this machine's; not valid: from the socket's
	// Loss returns how the links lose datagrams, anew for each sweep; nil: they don't.
	Loss      func() loss.Model
	Delay     time.Duration // mean of the exponential one-way delay of a link
	Duplicate float64       // probability that a reply comes twice
	Stopped   int           // the first so many hosts never answer
	BadClock  int           // the last so many hosts are an hour off
	Services  int           // of each host
	// Operator is the only one whom the hosts answer, sealed; nil: they are open and answer anyone.
	Operator ed25519.PublicKey
	Bare     bool // answer every datagram at once with 400 bytes, for the floor of measurements
	Seed     uint64
}

// Stats are counts since the start.
type Stats struct{ Requests, Replies, Lost uint64 }

// Fleet is a fleet that runs.
type Fleet struct {
	c     Config
	conn  *net.UDPConn
	cards []*discover.Card
	from  [][]byte // control message with the source address of each host
	ids   []discover.ID
	seals []*discover.Sealer // of each host; empty: they are open
	start time.Time
	sign  []chan job // to those who seal, by host

	requests, replies, lost atomic.Uint64

	// What follows belongs to the goroutine of Run.
	rnd    *rand.Rand
	sweeps map[key]*sweep
	order  []key // of sweeps, the oldest first
	queue  events
	wake   time.Time
	out    []byte
}

// key names a sweep of one requester, or one request of a watch, each of which stands for itself.
type key struct {
	from netip.AddrPort
	id   uint64
	seq  uint32 // 0: of a sweep
}

// sweep is what the hosts remember of a sweep.
type sweep struct {
	key
	loss  loss.Model
	hosts []census.Attendance
	boxes []cipher.AEAD // of each host, which only the sealer of the host touches; nil: not made yet
	sign  bool          // the last request asked for signatures

	salt   uint64          // of spread
	spread []census.Spread // of each host, in the last round heard of; empty: none was
}

// spreadOf returns the hashes of a host in the round of a request: the same for all its copies and ranges.
func (s *sweep) spreadOf(q *discover.Request, ids []discover.ID, i int) census.Spread {
	if len(s.spread) == 0 || s.salt != q.Salt {
		s.salt, s.spread = q.Salt, s.spread[:0]
		for _, id := range ids {
			s.spread = append(s.spread, census.SpreadOf(q.Sweep, q.Salt, id))
		}
	}
	return s.spread[i]
}

// keptSweeps is how many sweeps are remembered.
const keptSweeps = 32

// event is something that happens at a host later: a request comes in, or a reply is due or has passed its link.
type event struct {
	at    time.Time
	host  int
	sweep *sweep
	ask   *discover.Request // that comes in
	size  int               // of it
	reply []byte            // that has passed the link
}

// New opens the socket.
func New(c Config) (*Fleet, error) {
	if c.Hosts < 1 || c.Hosts > 65_000 {
		return nil, fmt.Errorf("%d hosts are not from 1 to 65,000", c.Hosts)
	}
	conn, err := discover.Listen(c.Listen)
	if err != nil {
		return nil, err
	}
	f := &Fleet{c: c, conn: conn, start: time.Now(), rnd: rand.New(rand.NewPCG(c.Seed, 1)), sweeps: map[key]*sweep{}}
	known, err := descriptions()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	addr := c.Base
	for i := range c.Hosts {
		if addr.IsValid() {
			addr = addr.Next()
		}
		h := host(i, c, known, addr)
		card, err := discover.NewCard(h)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		f.cards, f.from, f.ids = append(f.cards, card), append(f.from, sourceControl(addr)), append(f.ids, h.ID)
	}
	if c.Operator != nil {
		if f.seals, err = keys(c.Hosts, c.Operator); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return f, nil
}

// ID returns the id of host i.
func (f *Fleet) ID(i int) discover.ID { return f.ids[i] }

// Addr returns the socket's address.
func (f *Fleet) Addr() netip.AddrPort { return f.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Stats returns the counts. It may be called from any goroutine.
func (f *Fleet) Stats() Stats { return Stats{f.requests.Load(), f.replies.Load(), f.lost.Load()} }

// Run answers until ctx ends, and returns nil then. It can run once.
func (f *Fleet) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = f.conn.Close() }) // nothing was to be kept
	defer stop()
	defer f.startSealers()()
	buf, oob := make([]byte, 2048), make([]byte, 128)
	for {
		f.due(time.Now())
		n, on, _, src, err := f.conn.ReadMsgUDPAddrPort(buf, oob)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, net.ErrClosed):
			return err
		case err == nil:
			f.requests.Add(1)
			f.take(buf[:n], netip.AddrPortFrom(src.Addr().Unmap(), src.Port()), destination(oob[:on]), time.Now())
		}
	}
}

// asked returns whose links carry a datagram to the address: the host's that has it, or everyone's.
func (f *Fleet) asked(to netip.Addr) (first, after int) {
	first, after = f.c.Stopped, f.c.Hosts-f.c.BadClock
	if !to.Is4() || !f.c.Base.Is4() {
		return first, after
	}
	a, b := to.As4(), f.c.Base.As4()
	i := int(binary.BigEndian.Uint32(a[:])) - int(binary.BigEndian.Uint32(b[:])) - 1
	if i < 0 || i >= f.c.Hosts {
		return first, after
	}
	return max(i, first), min(i+1, after)
}

// take has the links carry a datagram.
func (f *Fleet) take(b []byte, from netip.AddrPort, to netip.Addr, now time.Time) {
	if f.c.Bare {
		for i := range f.cards {
			f.send(i, make([]byte, bareReply), from)
		}
		return
	}
	q, err := f.parse(b)
	if err != nil {
		return
	}
	k := key{from: from, id: q.Sweep}
	if q.Changed > 0 {
		k.seq = q.Seq
	}
	s := f.sweep(k)
	s.sign = q.Introduce
	for i, after := f.asked(to); i < after; i++ {
		switch {
		case s.loss != nil && s.loss.Lost(i, false, now.Sub(f.start), f.rnd):
			f.lost.Add(1)
		case f.c.Delay > 0:
			heap.Push(&f.queue, event{at: now.Add(f.delay()), host: i, sweep: s, ask: &q, size: len(b)})
		default:
			f.hear(i, s, &q, len(b), now)
		}
	}
}

// bareReply is the length of a reply of a bare fleet, in bytes.
const bareReply = 400

func (f *Fleet) delay() time.Duration { return time.Duration(f.rnd.ExpFloat64() * float64(f.c.Delay)) }

// sweep returns what is remembered of a sweep.
func (f *Fleet) sweep(k key) *sweep {
	if s := f.sweeps[k]; s != nil {
		return s
	}
	s := &sweep{key: k, hosts: make([]census.Attendance, f.c.Hosts)}
	if f.c.Loss != nil {
		s.loss = f.c.Loss()
	}
	if len(f.seals) > 0 {
		s.boxes = make([]cipher.AEAD, f.c.Hosts)
	}
	f.sweeps[k], f.order = s, append(f.order, k)
	if len(f.order) > keptSweeps {
		delete(f.sweeps, f.order[0])
		f.order = f.order[1:]
	}
	return s
}

// hear has a host take a request.
func (f *Fleet) hear(i int, s *sweep, q *discover.Request, size int, now time.Time) {
	a := &s.hosts[i]
	a.Hear(q.Seq, size)
	spread := s.spreadOf(q, f.ids, i)
	answer, heard := f.cards[i].Asked(q, spread, a, now)
	switch {
	case heard:
		a.Cancel()
		return
	case !answer:
		return
	case q.Page > 0:
		if a.Afford(f.size(i, q.Page)) {
			f.reply(i, s, q.Page, census.Turn{Round: q.Round, Seq: q.Seq, Tx: a.Tx}, now)
		}
		return
	}
	if a.Plan(q.Round, q.Seq, q.Window, spread.Slot, q.Copies, now) {
		f.say(i, s, now)
	}
}

// say sends the reply of a host if it is due, and notes when to come again.
func (f *Fleet) say(i int, s *sweep, now time.Time) {
	a := &s.hosts[i]
	at, waits := a.Due()
	if waits && !at.After(now) {
		if turn, ok := a.Take(f.size(i, 0), now); ok {
			f.reply(i, s, 0, turn, now)
		}
		at, waits = a.Due()
	}
	if waits {
		heap.Push(&f.queue, event{at: at, host: i, sweep: s})
	}
}

// reply has the link carry a reply.
func (f *Fleet) reply(i int, s *sweep, page uint8, turn census.Turn, now time.Time) {
	f.replies.Add(1)
	copies := 1
	if f.rnd.Float64() < f.c.Duplicate {
		copies = 2
	}
	f.out = f.cards[i].Reply(f.out[:0], page, discover.Reply{Sweep: s.id, Round: turn.Round, Seq: turn.Seq, First: s.hosts[i].First, Tx: turn.Tx,
		Delay: turn.Delay, Age: now.Sub(f.start)})
	for range copies {
		switch {
		case s.loss != nil && s.loss.Lost(i, true, now.Sub(f.start), f.rnd):
			f.lost.Add(1)
		case f.c.Delay > 0:
			heap.Push(&f.queue, event{at: now.Add(f.delay()), host: i, sweep: s, reply: append([]byte(nil), f.out...)})
		default:
			f.pass(i, s, f.out)
		}
	}
}

func (f *Fleet) send(i int, b []byte, to netip.AddrPort) {
	_, _, _ = f.conn.WriteMsgUDPAddrPort(b, f.from[i], to) // a reply that can't be sent is one that is lost
}

// due does what is to be done by now, and has the socket wake the reader for the next thing.
func (f *Fleet) due(now time.Time) {
	for len(f.queue) > 0 && !f.queue[0].at.After(now) {
		e := heap.Pop(&f.queue).(event)
		switch {
		case e.ask != nil:
			f.hear(e.host, e.sweep, e.ask, e.size, now)
		case e.reply != nil:
			f.pass(e.host, e.sweep, e.reply)
		default:
			if at, waits := e.sweep.hosts[e.host].Due(); waits && !at.After(now) {
				f.say(e.host, e.sweep, now)
			}
		}
	}
	wake := time.Time{}
	if len(f.queue) > 0 {
		wake = f.queue[0].at
	}
	if wake != f.wake {
		f.wake = wake
		_ = f.conn.SetReadDeadline(wake) // only a closed socket refuses; the reader will see
	}
}

// events is a heap of what is to come, the next first.
type events []event

// Len is heap.Interface.
func (e events) Len() int { return len(e) }

// Less is heap.Interface.
func (e events) Less(i, j int) bool { return e[i].at.Before(e[j].at) }

// Swap is heap.Interface.
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }

// Push is heap.Interface.
func (e *events) Push(x any) { *e = append(*e, x.(event)) }

// Pop is heap.Interface.
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = event{}
	*e = (*e)[:last]
	return x
}
