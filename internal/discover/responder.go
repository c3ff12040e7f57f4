package discover

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/reports"
)

// Limits of a responder. Twenty laptops that sweep at once send 40 requests and as many for further pages. The limits of the
// sealed form are far above that, since anyone on the link can use up the allowance of a laptop by sending in its name, and an
// answer costs little and is shorter than its question.
var (
	sealedEach = pace{250, 500}       // sealed requests of one source, a second
	sealedAll  = pace{1000, 2000}     // of all
	jsonEach   = pace{20, 80}         // JSON to be parsed, of one source
	jsonAll    = pace{400, 800}       // of all
	askEach    = pace{20.0 / 60, 20}  // requests to be published, of one source: 20 a minute
	askAll     = pace{300.0 / 60, 60} // of all
	brokerEach = pace{20.0 / 60, 20}  // requests whose answers go to one address
)

const (
	maxSkew    = 30 * time.Second // of the requester's clock and ours
	replayAge  = 2 * maxSkew
	replayCap  = 65_536 // more than sealedAll lets through in replayAge
	onceAge    = time.Minute
	onceCap    = 4096
	noIDAge    = time.Second
	jobQueue   = 256
	lookups    = 4                // names looked up at a time
	tableAge   = 10 * time.Second // of the list of interfaces, after which a host lists them anew when it has nothing else to do
	tableMost  = time.Minute      // or else while it is asked
	tableRetry = time.Second
)

// ResponderConfig says how a host answers.
type ResponderConfig struct {
	Conn       *net.UDPConn // from Listen; Run takes it over, and closes it
	Interfaces []string     // answer only what comes in on these; empty: all
	Legacy     bool         // obey requests in the original form
	Open       bool         // obey unsigned sealed requests
	// Operators are those who may ask a host that is not open; nil: nobody. It is called from one goroutine and must not block.
	Operators Operators
	// Key is the host's, with which it seals its replies to operators; nil: it has none, and is silent unless it is open.
	Key Key
	// Floors is the file that keeps a restart from being a chance for old requests; "": none.
	Floors string
	Guard  *Guard
	Passes *Passes

	// Publish is given each request that was obeyed, checked and enriched, once per requester and id, to be published on
	// reports.ReportTopic. from is where it came from; own is true when that is this machine itself. It must not block. It is
	// called from one goroutine.
	Publish func(r reports.Request, from netip.AddrPort, own bool)
	// Swept is told the id of each request that this machine itself has broadcast, before Publish is given the request; nil for
	// never. It is called from the same goroutine and must not block.
	Swept   func(id reports.ID)
	Relay   bool          // ask this host's networks for operators who are elsewhere and have signed for it; only where it is not open
	Hello   bool          // say HELLO at the start and when an address is new, and BYE at the end, to HelloPort of every network
	ExtAddr func() string // the public address, "" when unknown; nil for never
	// KnownHost reports whether the name is that of another host, below which answers must not be published; nil for never.
	// It must not block and is called from one goroutine.
	KnownHost func(name string) bool
	// Local is the broker endpoint ("127.0.0.1:1883") and topic that answers of programs which know only the original form are
	// asked to go to when a sealed request names no broker of the requester. "": such requests are not published.
	LocalReplyTo, LocalTopic string
	// Brokers returns the addresses of the broker of this host, if that is another machine, which no requester may take the place
	// of; nil for as long as they are not known. A nil Brokers says that there are none. It is called from one goroutine.
	Brokers func() []netip.Addr
	// Within runs f in the network of Conn, and fails if it can't, for a program that speaks for hosts in several network namespaces, none
	// of which relays; NewResponder is called there anyway. nil: there is one network.
	Within func(f func()) error
	Now    func() time.Time
	Log    *slog.Logger
}

// Responder answers requests on one socket.
type Responder struct {
	c        ResponderConfig
	settings atomic.Pointer[settings]
	said     atomic.Pointer[pages]
	tally    tally

	update  sync.Mutex // of edition
	edition uint16

	published once
	jobs      chan job // to the publisher
	names     chan job // to the goroutines that look names up

	// What follows belongs to the goroutine of Run.
	seed       maphash.Seed
	ifaces     func() ([]iface, error)
	list       map[int]iface
	machine    machine
	listed     time.Time // when list was made
	replies    *sender
	reply      func(b, oob []byte, to netip.AddrPort) error // sends, never waits
	buf        [maxReply]byte
	sealBuf    [MaxRequest]byte
	authority  *authority
	sources    map[sourceKey][]byte
	replay     *recent[uint64, struct{}]
	sweeps     *recent[uint64, *sweepState]
	slots      slots
	came       came      // the last datagram
	pending    []job     // to be published later
	wake       time.Time // of the next slot: until then a read may wait
	in         *receiver // from Run on
	flood      surge
	gate       gate
	noID       *recent[uint64, struct{}]
	sealedRate *limiter
	jsonRate   *limiter
	askRate    *limiter
	paid       *recent[uint64, struct{}] // sealed requests, by id, that took a token of askRate for both forms
	brokerRate *limiter                  // the publisher's
	six        bool                      // the socket takes IPv6 too
	links      *os.File                  // tells of changes of addresses; nil: nothing does
	stale      atomic.Bool               // list is of before such a change
	introducer *introducer
	macs       []net.HardwareAddr // this machine's
	relays     relays
	needless   needless
}

// settings is what Reload replaces.
type settings struct {
	interfaces   []string
	legacy, open bool
	guard        *Guard
	operators    Operators
}

// once remembers what was published, for all goroutines.
type once struct {
	mu   sync.Mutex
	seen *recent[uint64, struct{}]
}

func (o *once) add(key uint64, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen.add(key, struct{}{}, now)
}

func (o *once) has(key uint64, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.seen.get(key, now)
	return ok
}

func (o *once) drop(key uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen.drop(key)
}

// NewResponder checks the configuration.
func NewResponder(c ResponderConfig) (*Responder, error) {
	switch {
	case c.Conn == nil:
		return nil, errors.New("responder needs a connection")
	case c.Publish == nil:
		return nil, errors.New("responder needs a Publish function")
	case c.Guard == nil || c.Passes == nil:
		return nil, errors.New("responder needs a guard and passes")
	case c.LocalReplyTo != "":
		if _, err := parseReplyTo(c.LocalReplyTo); err != nil {
			return nil, err
		}
		if err := reports.ValidTopic(c.LocalTopic); err != nil {
			return nil, err
		}
	}
	if c.Within != nil && c.Relay {
		return nil, errors.New("responder of another network namespace can't relay")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	replies, err := newSender(c.Conn) // until Run takes the socket over
	if err != nil {
		return nil, err
	}
	raw, err := c.Conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &Responder{
		c: c, seed: maphash.MakeSeed(), ifaces: interfaces, replies: replies, reply: replies.send, sources: map[sourceKey][]byte{},
		published:  once{seen: newRecent[uint64, struct{}](onceAge, onceCap)},
		jobs:       make(chan job, jobQueue),
		names:      make(chan job, jobQueue/4),
		replay:     newRecent[uint64, struct{}](replayAge, replayCap),
		sweeps:     newRecent[uint64, *sweepState](onceAge, onceCap),
		noID:       newRecent[uint64, struct{}](noIDAge, onceCap),
		sealedRate: newLimiter(sealedEach, sealedAll),
		jsonRate:   newLimiter(jsonEach, jsonAll),
		askRate:    newLimiter(askEach, askAll),
		paid:       newRecent[uint64, struct{}](onceAge, onceCap),
		brokerRate: newLimiter(brokerEach, askAll),
		six:        isSix(c.Conn), links: openLinks(),
		introducer: newIntroducer(c.Brokers), relays: newRelays(), gate: gate{raw: raw},
		edition: uint16(rand.Uint32()), // so that it is another one after a restart
	}
	if c.Within != nil {
		r.ifaces = func() (list []iface, err error) {
			if werr := c.Within(func() { list, err = interfaces() }); werr != nil {
				return nil, werr
			}
			return list, err
		}
	}
	r.authority = newAuthority(c.Key, c.Floors, c.Now())
	r.tally.lines = make(chan logLine, outcomes)
	r.Reload(c.Interfaces, c.Legacy, c.Open, c.Operators, c.Guard)
	return r, nil
}

// Update replaces what the host says of itself; the replies are encoded here, once, not per request. Until the first Update
// the host is silent. A part of h that may not stand in a reply is left out and logged.
func (r *Responder) Update(h Host) {
	r.update.Lock()
	defer r.update.Unlock()
	old := r.said.Load()
	p, err := encodePages(h, r.edition)
	if p != nil && !p.same(old) {
		r.edition++ // a sweep that has some of the pages begins again
		p, err = encodePages(h, r.edition)
	}
	if p != nil {
		if p.changed = r.c.Now(); old != nil && old.edition == p.edition && old.started.Equal(p.started) {
			p.changed = old.changed
		}
	}
	if err != nil {
		r.c.Log.Error("host can't say all of itself", "host", h.Hostname, "err", err)
	}
	if p != nil {
		r.said.Store(p)
	}
}

// Reload replaces interfaces, legacy, open, operators and guard, after a change of the configuration. A nil guard leaves the
// present one.
func (r *Responder) Reload(interfaces []string, legacy, open bool, operators Operators, g *Guard) {
	if g == nil {
		g = r.settings.Load().guard
	}
	set := &settings{interfaces, legacy, open, g, operators}
	r.settings.Store(set)
	r.gate.renew(set)
}

// Stats returns how many datagrams have come to which end, by outcome: "answered", "published", "malformed", "too_long",
// "off_link", "replayed", "clock", "rate", "guard", "legacy_off", ….
func (r *Responder) Stats() map[string]uint64 {
	r.gate.dropped(&r.tally)
	return r.tally.all()
}

// Run answers until ctx ends, and returns nil then. It can run once.
func (r *Responder) Run(ctx context.Context) error {
	if err := r.open(); err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.publisher(inner) })
	for range lookups {
		wg.Go(func() { r.lookup(inner) })
	}
	ready := make(chan struct{})
	wg.Go(func() {
		r.greet(inner, ready)
		_ = r.in.close() // nothing was to be kept
	})
	<-ready
	r.relays.start(inner, &wg)
	r.refresh(r.c.Now(), tableAge)
	err := r.read()
	cancel()
	wg.Wait()
	r.introducer.close()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// open takes the socket over.
func (r *Responder) open() (err error) {
	r.gate.mu.Lock()
	defer r.gate.mu.Unlock()
	if r.in, err = newReceiver(r.c.Conn); err != nil {
		if r.links != nil {
			_ = r.links.Close() // nothing was read
		}
		r.introducer.close()
		return err
	}
	r.replies.by(r.in)
	r.gate.by(r.in)
	return nil
}

// read handles datagrams until the socket is closed. Other errors of a datagram socket are about one datagram, or pass.
func (r *Responder) read() error {
	const maxErrors = 100 // in a row
	for failed := 0; ; {
		r.due(r.c.Now())
		r.handDue(time.Now())
		n, err := r.in.read(r.until())
		if timedOut(err) {
			now := r.c.Now()
			if r.weigh(0, now); len(r.slots) == 0 {
				r.refresh(now, tableAge)
			}
			continue
		}
		if err != nil {
			r.tally.note(readFailed, r.c.Now(), func() any { return err })
			if failed++; errors.Is(err, net.ErrClosed) || failed > maxErrors {
				return err
			}
			continue
		}
		failed = 0
		r.takeAll(n)
		if r.flood.on && n < atATime {
			r.in.gather(r.wake, r.flood.lull())
		}
	}
}

// takeAll handles the datagrams that were read.
func (r *Responder) takeAll(n int) {
	now, set, bad := r.c.Now(), r.settings.Load(), n // nothing is learned under settings that are gone
	for i := range n {
		d, err := r.in.datagram(i)
		if err != nil {
			r.tally.note(readFailed, now, func() any { return err })
			continue
		}
		d.at = now
		src := d.src
		o, why := r.handle(&d)
		if o.good() {
			bad--
		} else {
			r.gate.learn(&d, o, set)
		}
		r.tally.note(o, now, func() any {
			if why != nil {
				return src.String() + ": " + why.Error()
			}
			return src.String()
		})
	}
	r.weigh(bad, now)
	if r.stale.CompareAndSwap(true, false) {
		r.refresh(now, 0)
	}
	r.refresh(now, tableMost)
}

// until returns how long a read may wait: until the next slot, until the next request is to be published, and in a flood until it is seen
// whether that goes on. Zero: for ever.
func (r *Responder) until() (at time.Time) {
	times := [...]time.Time{r.wake, r.pendingDue(), {}}
	if r.flood.of > 1 {
		times[2] = r.flood.began.Add(2 * floodSpan)
	}
	for _, t := range times {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}
