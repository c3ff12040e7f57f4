package discover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"rollcall/internal/census"
)

// WatchConfig says whom to watch.
type WatchConfig struct {
	// SweepConfig says whom to ask, and how. A watch is in the sealed form; Wait, Legacy, ReplyTo, Topic, BrokerPort and Expect
	// are of no account.
	SweepConfig
	Cycle time.Duration // in which each host is asked; 0: 25 s
	Beat  time.Duration // between two requests; 0: 1 s
	Hosts []Answer      // that were heard in the last sweep
	Lost  []ID          // hosts that were not: they are lost if they stay silent
	Since time.Duration // how long ago that sweep began
	Loss  float64       // the share of requests that it got no answer to

	// These are called from the goroutine of Run. Gone is for a host that has stayed silent, Seen for one that is new, or not as
	// it was when Seen was last called.
	Seen     func(Answer)
	Gone     func(ID)
	Distrust func(KeyChange) // of a host that is not believed; nil: it is left out
	Warn     func(string)    // of what does not go well; nil: nobody is told
}

// WatchStats says what a watch has done.
type WatchStats struct {
	Requests, RequestBytes int // datagrams sent
	Replies, Wrong         int // datagrams that came in; Wrong: no reply to a request of the watch
	Drops                  uint32
}

// ErrNetworkChanged is the end of a watch on a machine whose addresses have changed: it would ask on networks that are no more.
var ErrNetworkChanged = errors.New("the machine's network has changed")

const (
	lookAfter   = 2500 * time.Millisecond // hosts that say hello and are not heard are asked alone
	maxErrands  = 1024
	maxErrand   = 5    // times that a page is asked for
	moveAfter   = 1.5  // cycles, after which a host that answers from another address has moved
	restartSlip = 5    // seconds by which the start of a host's monitor, as we reckon it, may vary
	beatsPerMap = 5    // beats between two looks at the machine's own addresses
	lookBacklog = 64   // hellos
	windowRate  = 0.25 // share of what the socket takes in a second
)

// Watch follows the hosts of the networks with one request a second in all. It belongs to one goroutine, but for Look and
// Forget.
type Watch struct {
	c       WatchConfig
	s       *sweep
	w       *census.Watch
	targets []watchTarget
	hosts   map[ID]*watchedHost
	errands []errand // requests to single hosts that wait for their turn
	looks   chan errand
	six     map[ID]time.Time // hosts that were heard by IPv6 only, and when first
	single  uint32           // number of the last errand's request
	stats   WatchStats
	list    string // the machine's networks
}

// watchTarget is an address that is asked.
type watchTarget struct {
	way *way
	to  netip.AddrPort
}

// watchedHost is what is known of a host.
type watchedHost struct {
	heard
	at time.Time // when it was heard from its address last
}

// errand is a request to one host.
type errand struct {
	id    ID
	to    netip.AddrPort
	way   *way
	page  uint8
	tries int
	since time.Time // an answer that came later makes it needless
	after time.Time // when it is to be done
	gone  bool      // it has said bye: no request
}

// NewWatch opens the sockets of a watch. The caller calls Run, which closes them.
func NewWatch(c WatchConfig) (*Watch, error) {
	c.Sealed, c.Legacy, c.Expect = true, false, nil
	if err := c.check(); err != nil {
		return nil, err
	}
	if len(c.Subnets) > 0 {
		return nil, errors.New("networks behind routers can't be watched")
	}
	if c.Warn == nil {
		c.Warn = func(string) {}
	}
	if c.Distrust == nil {
		c.Distrust = func(KeyChange) {}
	}
	list, err := interfaces()
	if err != nil {
		return nil, err
	}
	w := &Watch{c: c, s: newSweep(c.SweepConfig, list, nil), hosts: map[ID]*watchedHost{}, six: map[ID]time.Time{}, looks: make(chan errand, lookBacklog),
		single: census.UnicastSeq}
	w.list = w.networks(list)
	w.s.introduce = false
	if err := w.s.open(list); err != nil {
		w.s.close()
		return nil, err
	}
	for _, text := range w.s.stats.Warnings {
		c.Warn(text)
	}
	for _, way := range w.s.ways {
		for _, to := range way.targets {
			w.targets = append(w.targets, watchTarget{way, to})
		}
	}
	plan := w.s.plan(w.s.ways, 0)
	w.w = census.NewWatch(census.WatchConfig{Sweep: w.s.c.ID, Salt: rand.Uint64(), Targets: len(w.targets), Cycle: c.Cycle, Beat: c.Beat,
		Room: w.s.filterRoom() - watchOverhead, Rate: windowRate * plan.Rate, Lost: c.Loss, Since: c.Since})
	for _, a := range c.Hosts {
		w.know(a)
	}
	for _, id := range c.Lost {
		w.w.Add(id, 0, -1)
	}
	return w, nil
}

// networks returns, as text, the networks of the interfaces that are asked on.
func (w *Watch) networks(list []iface) string {
	var out []string
	for _, f := range list {
		if f.unusable(slices.Contains(w.c.Interfaces, f.Name)) == "" {
			out = append(out, fmt.Sprint(f.Index, f.Name, f.Prefixes, f.Six, f.Links))
		}
	}
	return strings.Join(out, "\n")
}

// watchOverhead is what the keys of a watch take of a request's body.
const watchOverhead = 12

// know takes in a host of the last sweep.
func (w *Watch) know(a Answer) {
	way, target := w.wayTo(a.From)
	w.w.Add(a.Host.ID, a.Edition, target)
	h := &watchedHost{at: time.Now()}
	h.answer, h.edition, h.told, h.way = a, a.Edition, true, way
	w.hosts[a.Host.ID] = h
}

// wayTo returns the way to an address, and the target by which it is asked; nil and -1 if there is none.
func (w *Watch) wayTo(at netip.AddrPort) (*way, int) {
	for i, t := range w.targets {
		if t.way.asked(at) && w.through(t, at) {
			return t.way, i
		}
	}
	return nil, -1
}

// through reports whether the host at that address, which can answer on the way of the target, hears what is sent to that.
func (w *Watch) through(t watchTarget, at netip.AddrPort) bool {
	if t.to == at {
		return true
	}
	network, ok := w.s.machine.broadcasts[t.to.Addr()]
	return !t.way.single[t.to] && t.to.Port() == at.Port() && (!ok || network.Contains(at.Addr()))
}

// Look has a host asked soon that has said hello from that address. It does not block and may be called from any goroutine.
func (w *Watch) Look(id ID, from netip.AddrPort) { w.tell(errand{id: id, to: from}) }

// Forget takes a host out that has said bye. It does not block and may be called from any goroutine.
func (w *Watch) Forget(id ID) { w.tell(errand{id: id, gone: true}) }

// tell hands an errand to Run; where there are too many, the host is asked in its turn.
func (w *Watch) tell(e errand) {
	select {
	case w.looks <- e:
	default:
	}
}

// Run watches until ctx ends, and returns nil then. It can run once.
func (w *Watch) Run(ctx context.Context) (WatchStats, error) {
	defer w.s.close()
	readers, cancel := context.WithCancel(ctx)
	defer cancel()
	w.s.stop = cancel
	w.s.startOpeners(readers)
	for _, way := range w.s.ways {
		w.s.readers.Go(func() { way.read(readers, w.s.raw) })
	}
	w.s.start = time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for beats := 0; ; {
		w.takeWaiting()
		now := time.Now()
		sent, wake, err := w.next(now)
		if sent {
			if beats++; beats%beatsPerMap == 0 || err != nil {
				if list, lerr := interfaces(); lerr == nil && w.networks(list) != w.list {
					return w.stats, ErrNetworkChanged
				}
			}
		}
		timer.Reset(time.Until(w.s.start.Add(wake)))
		select {
		case <-ctx.Done():
			return w.stats, nil
		case <-timer.C:
		case list := <-w.s.in:
			for _, p := range list {
				w.take(p)
			}
		case e := <-w.looks:
			w.look(e)
		}
	}
}

// next does what is to be done by now, and returns when it is to be called again.
func (w *Watch) next(now time.Time) (sent bool, wake time.Duration, err error) {
	at := now.Sub(w.s.start)
	if e, ok := w.errand(now); ok && w.w.Instead(at) {
		w.run(e)
	}
	drops := uint32(0)
	for _, way := range w.s.ways {
		drops += memInfo(way.conn).drops
	}
	w.w.Dropped(drops)
	w.stats.Drops = drops
	b, sent, lost, wake := w.w.Next(at)
	for _, id := range lost {
		delete(w.hosts, id)
		w.c.Gone(id)
	}
	if sent {
		err = w.send(b)
	}
	return sent, wake, err
}

// send sends a beat.
func (w *Watch) send(b census.Beat) error {
	t := w.targets[b.Target]
	if h := w.hosts[b.To]; h != nil {
		t = watchTarget{cmp.Or(h.way, t.way), h.answer.From}
	}
	q := w.request(t.way, b.Seq)
	q.Window, q.Lo, q.Hi, q.Salt, q.Filter, q.FilterHashes = b.Window.Truncate(time.Microsecond), b.Lo, b.Hi, b.Salt, b.Filter, b.Hashes
	q.Changed = b.Changed.Truncate(time.Millisecond)
	for _, id := range b.Names {
		q.Names = append(q.Names, id)
	}
	q.Clock = w.c.Key != nil && b.To != ID{}
	err := w.transmit(q, t)
	if err != nil {
		w.w.Unsent()
	}
	return err
}

// request returns what all requests of the watch have in common.
func (w *Watch) request(way *way, seq uint32) Request {
	q := w.s.request(way)
	q.Seq, q.Round = seq, 1
	return q
}

// transmit sends a request.
func (w *Watch) transmit(q Request, t watchTarget) error {
	w.s.wondering = q.Clock
	b, err := w.s.encode(q)
	if err == nil {
		err = t.way.send(b, t.to)
	}
	if err != nil {
		err = fmt.Errorf("ask %v from %v on %s: %w", t.to, t.way.local, t.way.iface.Name, err)
		w.c.Warn(err.Error())
		return err
	}
	w.stats.Requests++
	w.stats.RequestBytes += len(b)
	return nil
}

// look takes in what was said unasked.
func (w *Watch) look(e errand) {
	if e.gone {
		w.w.Forget(e.id)
		delete(w.hosts, e.id)
		return
	}
	if h := w.hosts[e.id]; h != nil && h.answer.From.Addr() == e.to.Addr() {
		e.to = h.answer.From
	}
	way, target := w.wayTo(e.to)
	if way == nil {
		return
	}
	w.w.Look(e.id, target)
	now := time.Now()
	w.add(errand{id: e.id, to: e.to, way: way, tries: maxErrand - 1, since: now, after: now.Add(lookAfter)})
}

// add adds an errand, once.
func (w *Watch) add(e errand) {
	same := func(o errand) bool { return o.id == e.id && o.page == e.page }
	if len(w.errands) < maxErrands && !slices.ContainsFunc(w.errands, same) {
		w.errands = append(w.errands, e)
	}
}

// errand returns the next errand that is to be done and not done yet.
func (w *Watch) errand(now time.Time) (errand, bool) {
	w.errands = slices.DeleteFunc(w.errands, func(e errand) bool { return e.tries >= maxErrand || w.needless(e) })
	for _, e := range w.errands {
		if !now.Before(e.after) {
			return e, true
		}
	}
	return errand{}, false
}

// needless reports whether what an errand is for has come.
func (w *Watch) needless(e errand) bool {
	h := w.hosts[e.id]
	if e.page == 0 {
		return h != nil && h.at.After(e.since)
	}
	return h == nil || int(e.page) >= len(h.pages) || h.pages[e.page] != nil
}

// run does an errand, and has it wait for its answer.
func (w *Watch) run(e errand) {
	w.single++
	q := w.request(e.way, w.single)
	q.Round = uint16(w.single)
	if q.Page = e.page; e.page == 0 {
		q.Lo, q.Hi, q.Names, q.Changed = 1, 1, []ID{e.id}, time.Millisecond // of nobody else
		q.Cookie, q.Clock = w.s.cookies[e.to], w.c.Key != nil
	}
	_ = w.transmit(q, watchTarget{e.way, e.to}) // Warn was told, and it is tried again
	i := slices.IndexFunc(w.errands, func(o errand) bool { return o.id == e.id && o.page == e.page })
	w.errands = slices.Delete(w.errands, i, i+1)
	e.tries++
	w.errands = append(w.errands, e)
}
