package discover

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"rollcall/internal/census"
	"rollcall/reports"
)

// datagram is what came in, with where and when.
type datagram struct {
	b, oob []byte
	src    netip.AddrPort
	at     time.Time

	iface int        // it came in on, once arrival was called
	dst   netip.Addr // it was sent to

	framed   bool // its frame came from the MAC that it names
	verified bool // it is of an operator of this host, by his signature or by the host tag
	operator *operator
}

// handle does what a datagram asks for. Only its cheapest checks are made before it is known to be in one of the two forms.
func (r *Responder) handle(d *datagram) (outcome, error) {
	d.src = netip.AddrPortFrom(d.src.Addr().Unmap().WithZone(""), d.src.Port()) // the zone is d.iface
	if bytes.HasPrefix(d.b, []byte(magic)) {
		return r.sealed(d)
	}
	if trimmed := bytes.TrimLeft(d.b, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		if d.src.Addr().Is6() {
			return offLink, nil // the original form is IPv4
		}
		return r.original(d)
	}
	if len(d.b) > reports.MaxRequest {
		return tooLong, nil
	}
	return malformed, nil
}

// sealed handles a request in the sealed form, in the order of PROTOCOL.md §2.
func (r *Responder) sealed(d *datagram) (outcome, error) {
	if isRelay(d.b) {
		return r.relay(d)
	}
	tail := false
	d.b, tail = cutTail(d.b)
	d.framed = tail && r.gate.framed.Load()
	set := r.settings.Load()
	if r.needless.again(d, set) {
		r.wokenAgain(d, set)
		return unselected, nil
	}
	q, size, err := parseRequestHeader(d.b)
	switch {
	case errors.Is(err, errTooLong):
		return tooLong, nil
	case errors.Is(err, errVersion):
		return unknown, nil
	case err != nil:
		return malformed, err
	}
	said := r.said.Load()
	if !set.open {
		return r.closed(d, &q, size, set, said)
	}
	if said == nil {
		return notReady, nil
	}
	if skew := d.at.Sub(q.Time); skew > maxSkew || skew < -maxSkew {
		return clock, nil
	}
	key := r.hash(d.src.Addr(), q.Sweep, q.Seq, nil)
	if _, seen := r.replay.get(key, d.at); seen {
		return replayed, nil
	}
	f, o := r.place(d, &q, set)
	switch {
	case o != answered:
		return o, nil
	case !r.sealedRate.allow(d.src.Addr(), d.at):
		return rate, nil
	}
	if err := q.parseBody(d.b, size); err != nil {
		return malformed, err
	}
	r.replay.put(key, struct{}{}, d.at)
	state, spread := r.note(d, &q), census.SpreadOf(q.Sweep, q.Salt, said.id)
	switch o, heard := meantFor(&q, said, spread, &state.Attendance, d.at); {
	case heard:
		state.Cancel()
		r.heardBy(d, &q, spread, set)
		return o, nil
	case o != answered:
		return o, nil
	}
	return r.attend(d, &q, said, f, spread.Slot, state)
}

// place checks where a sealed request came from; o is answered if that is right.
func (r *Responder) place(d *datagram, q *Request, set *settings) (f iface, o outcome) {
	src := d.src.Addr()
	f, o = r.arrival(d, set)
	switch {
	case o != answered:
		return f, o
	case !f.onLink(src, r.machine.isOwn):
		return f, offLink
	case q.Requester.IsValid() && q.Requester != src:
		return f, wrongSource
	}
	return f, answered
}

// introduce has the kernel know where the requester is, if the request is one to believe in that, and reports whether it does.
func (r *Responder) introduce(d *datagram, q *Request, f iface) bool {
	src := d.src.Addr()
	if !d.verified || !d.framed || q.Requester != src || r.machine.isOwn(src) {
		return r.machine.isOwn(src) || r.introducer.look(f, src).known
	}
	in := r.introducer.introduce(f, src, q.MAC, r.machine, r.macs, d.at)
	switch {
	case in.refused != "":
		r.tally.note(strangers, d.at, func() any { return in.refused })
	case in.changed:
		r.tally.say(installed, src.String()+" is at "+net.HardwareAddr(q.MAC[:]).String()+" on "+f.Name)
	}
	return in.known
}

// handOn has a sealed request that was answered be published later.
func (r *Responder) handOn(d *datagram, q *Request, said *pages, f iface) {
	if q.BrokerPort == 0 && r.c.LocalReplyTo == "" || d.src.Addr().Is6() && q.BrokerPort != 0 {
		return // the original form is IPv4: a broker is named by the copy of the request that comes by that
	}
	src := d.src.Addr()
	j := job{
		request: reports.Request{Cmd: "status", ReplyTo: r.c.LocalReplyTo, Topic: r.c.LocalTopic,
			ID: reports.ID(strconv.FormatUint(q.Sweep, 10)), Monitor: r.monitor(d, said, f)},
		from: d.src, own: r.machine.isOwn(src), wide: r.broadcast(d) && !r.relays.relaying(d.src), sealed: true,
	}
	j.key = r.hash(src, 0, 0, []byte(j.request.ID))
	if anyKey := r.hash(netip.Addr{}, 0, 0, []byte(j.request.ID)); src.Is4() {
		r.published.add(anyKey, d.at)
	} else if j.key = anyKey; r.published.has(anyKey, d.at) {
		return // it came by IPv4 too
	}
	if q.BrokerPort != 0 {
		at := netip.AddrPortFrom(src, q.BrokerPort)
		j.request.ReplyTo, j.request.Topic = at.String(), q.Topic
		j.endpoint = Endpoint{Addr: at}
		if r.foreign(q.Topic) {
			r.drop(badTopic, d, q.Topic)
			return
		}
	}
	if !j.own && !r.published.has(j.key, d.at) { // else the original form has paid for both
		if !r.askRate.allow(src, d.at) {
			r.drop(destination, d, "")
			return
		}
		r.paid.put(j.key, struct{}{}, d.at)
	}
	if len(r.pending) == maxPending {
		r.drop(busy, d, "")
		return
	}
	j.due = time.Now().Add(publishDelay(q.BrokerPort == 0))
	r.pending = append(r.pending, j)
}

// mayAsk reports whether the source may have a request of the original form published: if its sealed form has paid for it,
// which counts once, or if there is a token left.
func (r *Responder) mayAsk(src netip.Addr, key uint64, now time.Time) bool {
	if _, ok := r.paid.get(key, now); ok && key != 0 {
		r.paid.drop(key)
		return true
	}
	return r.askRate.allow(src, now)
}

// enqueue hands a job on without waiting, and returns false if the queue is full.
func enqueue(queue chan job, j job) bool {
	select {
	case queue <- j:
		return true
	default:
		return false
	}
}

// drop counts an outcome that is not the last one of its datagram.
func (r *Responder) drop(o outcome, d *datagram, why string) {
	r.tally.note(o, d.at, func() any { return d.src.String() + " " + strconv.Quote(why) })
}

// monitor returns what this host adds to a request.
func (r *Responder) monitor(d *datagram, said *pages, f iface) reports.Monitor {
	m := reports.Monitor{Hostname: said.name}
	if a := r.local(d, f); a.IsValid() {
		m.IPAddr = a.String()
	}
	if r.c.ExtAddr != nil {
		m.ExtAddr = r.c.ExtAddr()
	}
	return m
}

// foreign reports whether the topic lies below the name of another host, or is one that programs act upon: an answer on /udp/report
// would be a request of its own, with the same replyto, and one on a topic for commands a command.
func (r *Responder) foreign(topic string) bool {
	if reports.ValidReply(topic) != nil {
		return true
	}
	if r.c.KnownHost == nil {
		return false
	}
	first, _, _ := strings.Cut(strings.TrimLeft(topic, "/"), "/")
	return r.c.KnownHost(first)
}

// hash makes one key of what identifies a request. The seed is this process's own, so that nobody can make two collide.
func (r *Responder) hash(src netip.Addr, sweep uint64, seq uint32, text []byte) uint64 {
	var in [28]byte
	a := src.As16()
	copy(in[:], a[:])
	binary.BigEndian.PutUint64(in[16:], sweep)
	binary.BigEndian.PutUint32(in[24:], seq)
	var h maphash.Hash
	h.SetSeed(r.seed)
	h.Write(in[:])
	h.Write(text)
	return h.Sum64()
}
