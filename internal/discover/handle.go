package discover

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/ipv4"

	"rollcall/reports"
)

// datagram is what came in, with where and when.
type datagram struct {
	b, oob []byte
	src    netip.AddrPort
	at     time.Time

	iface int        // it came in on, once arrival was called
	dst   netip.Addr // it was sent to
}

// handle does what a datagram asks for. Only its cheapest checks are made before it is known to be in one of the two forms.
func (r *Responder) handle(d *datagram) (outcome, error) {
	d.src = netip.AddrPortFrom(d.src.Addr().Unmap(), d.src.Port())
	if bytes.HasPrefix(d.b, []byte(magic)) {
		return r.sealed(d)
	}
	if trimmed := bytes.TrimLeft(d.b, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		return r.original(d)
	}
	if len(d.b) > reports.MaxRequest {
		return tooLong, nil
	}
	return malformed, nil
}

// sealed handles a request in the sealed form, in the order of PROTOCOL.md §2.
func (r *Responder) sealed(d *datagram) (outcome, error) {
	q, size, err := parseRequestHeader(d.b)
	switch {
	case errors.Is(err, errTooLong):
		return tooLong, nil
	case errors.Is(err, errVersion):
		return unknown, nil
	case err != nil:
		return malformed, err
	case q.Signed:
		return signed, nil
	}
	set, said := r.settings.Load(), r.said.Load()
	if !set.open {
		return notOpen, nil
	}
	if said == nil {
		return notReady, nil
	}
	if skew := d.at.Sub(q.Time); skew > maxSkew || skew < -maxSkew {
		return clock, nil
	}
	src := d.src.Addr()
	key := r.hash(src, q.Sweep, q.Seq, nil)
	if _, seen := r.replay.get(key, d.at); seen {
		return replayed, nil
	}
	f, o := r.arrival(d, set)
	switch {
	case o != answered:
		return o, nil
	case !f.onLink(src, r.machine.isOwn):
		return offLink, nil
	case q.Requester.IsValid() && q.Requester != src:
		return wrongSource, nil
	case !r.sealedRate.allow(src, d.at):
		return rate, nil
	}
	if err := q.parseBody(d.b, size); err != nil {
		return malformed, err
	}
	r.replay.put(key, struct{}{}, d.at)
	if int(q.Page) >= len(said.data) || !q.selects(said.id, said.lower) {
		return unselected, nil
	}
	return r.answer(d, &q, said, f)
}

// answer sends the page asked for, then hands the request on to be published.
func (r *Responder) answer(d *datagram, q *Request, said *pages, f iface) (outcome, error) {
	key := r.hash(d.src.Addr(), q.Sweep, 0, nil)
	state, known := r.sweeps.get(key, d.at)
	if !known {
		state.first = q.Seq
	}
	state.tx++
	out := r.buf[:copy(r.buf[:], said.data[q.Page])]
	reply := Reply{Sweep: q.Sweep, Round: q.Round, Seq: q.Seq, First: state.first, Tx: state.tx, MAC: said.mac,
		Age: d.at.Sub(said.started)}
	if len(f.MAC) == len(reply.MAC) {
		copy(reply.MAC[:], f.MAC)
	}
	to := d.src
	if q.ReplyPort != 0 {
		to = netip.AddrPortFrom(to.Addr(), q.ReplyPort)
	}
	oob := r.source(d, f)
	reply.Delay = r.c.Now().Sub(d.at)
	reply.patch(out)
	err := r.reply(out, oob, to)
	asked := state.asked
	state.asked = true
	r.sweeps.put(key, state, d.at)
	if !asked {
		r.handOn(d, q, said, f)
	}
	if err != nil {
		return sendFailed, err
	}
	return answered, nil
}

// handOn puts a sealed request that was answered in the queue of those to be published.
func (r *Responder) handOn(d *datagram, q *Request, said *pages, f iface) {
	if q.BrokerPort == 0 && r.c.LocalReplyTo == "" {
		return
	}
	src := d.src.Addr()
	j := job{
		request: reports.Request{Cmd: "status", ReplyTo: r.c.LocalReplyTo, Topic: r.c.LocalTopic,
			ID: reports.ID(strconv.FormatUint(q.Sweep, 10)), Monitor: r.monitor(d, said, f)},
		from: d.src, own: r.machine.isOwn(src), sealed: true,
	}
	j.key = r.hash(src, 0, 0, []byte(j.request.ID))
	if q.BrokerPort != 0 {
		at := netip.AddrPortFrom(src, q.BrokerPort)
		j.request.ReplyTo, j.request.Topic = at.String(), q.Topic
		j.endpoint = Endpoint{Addr: at}
		if r.foreign(q.Topic) {
			r.drop(badTopic, d, q.Topic)
			return
		}
	}
	if !j.own && !r.askRate.allow(src, d.at) {
		r.drop(destination, d, "")
		return
	}
	j.wait = publishDelay()
	if !enqueue(r.jobs, j) {
		r.drop(busy, d, "")
	}
}

// original handles a request in the original form. It is never answered by UDP, for any answer would be longer than it.
func (r *Responder) original(d *datagram) (outcome, error) {
	set, said := r.settings.Load(), r.said.Load()
	trimmed := bytes.TrimSpace(d.b)
	switch {
	case len(d.b) > reports.MaxRequest:
		return tooLong, nil
	case !set.legacy:
		return legacyOff, nil
	case said == nil:
		return notReady, nil
	case trimmed[len(trimmed)-1] != '}' || !bytes.Contains(trimmed, []byte(`"cmd"`)):
		return malformed, nil // without a token of the sender's being spent
	}
	src := d.src.Addr()
	f, o := r.arrival(d, set)
	switch {
	case o != answered:
		return o, nil
	case !f.onLink(src, r.machine.isOwn) && !set.guard.covers(src):
		return offLink, nil
	case !r.jsonRate.allow(src, d.at):
		return rate, nil
	}
	q, err := reports.ParseRequest(d.b)
	if err != nil {
		return malformed, err
	}
	if r.foreign(q.Topic) {
		return badTopic, errors.New(q.Topic)
	}
	to, err := parseReplyTo(q.ReplyTo)
	if err != nil {
		return guarded, err
	}
	return r.takeOriginal(d, q, to, set, r.monitor(d, said, f))
}

// takeOriginal queues a request in the original form that is well-formed, unless it was queued before.
func (r *Responder) takeOriginal(d *datagram, q reports.Request, to replyTo, set *settings, m reports.Monitor) (outcome, error) {
	src := d.src.Addr()
	own := r.machine.isOwn(src)
	j := job{request: q, from: d.src, own: own, to: to, guard: set.guard}
	j.request.Monitor = m // whatever the network said of it
	if q.ID == "" {
		if !r.noID.add(r.hash(src, 0, 0, d.b), struct{}{}, d.at) {
			return duplicate, nil
		}
	} else if j.key = r.hash(src, 0, 0, []byte(q.ID)); !r.published.add(j.key, d.at) {
		return duplicate, nil
	}
	queue := r.jobs
	if to.name != "" {
		queue = r.names
	}
	o := accepted
	if !own && !r.askRate.allow(src, d.at) {
		o = destination
	} else if !enqueue(queue, j) {
		o = busy
	}
	if o != accepted {
		r.published.drop(j.key)
	}
	return o, nil
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

// foreign reports whether the topic lies below the name of another host.
func (r *Responder) foreign(topic string) bool {
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

// arrival learns on which interface the datagram came in; o is answered if that is one to be answered on.
func (r *Responder) arrival(d *datagram, set *settings) (f iface, o outcome) {
	if d.iface == 0 {
		var cm ipv4.ControlMessage
		if err := cm.Parse(d.oob); err != nil {
			return f, offLink
		}
		d.iface = cm.IfIndex
		d.dst, _ = netip.AddrFromSlice(cm.Dst)
		d.dst = d.dst.Unmap()
	}
	f, ok := r.list[d.iface]
	if !ok || !f.onLink(d.src.Addr(), r.machine.isOwn) {
		r.refresh(d.at, tableRetry) // an interface or address may be new
		if f, ok = r.list[d.iface]; !ok {
			return f, offLink
		}
	}
	if len(set.interfaces) > 0 && !slices.Contains(set.interfaces, f.Name) {
		return f, otherIface
	}
	return f, answered
}

// refresh lists the interfaces anew if the list is older than age. It is done as datagrams come, after they were answered if
// it can be, so that an idle host does nothing.
func (r *Responder) refresh(now time.Time, age time.Duration) {
	if d := now.Sub(r.listed); d >= 0 && d < age {
		return
	}
	r.listed = now
	list, err := r.ifaces()
	if err != nil {
		return // the old list is the best that there is
	}
	r.machine = machineOf(list)
	r.list = make(map[int]iface, len(list))
	for _, f := range list {
		r.list[f.Index] = f
	}
	clear(r.sources)
}

// local returns this host's address as the requester sees it: the one that it sent to, or the one in its network.
func (r *Responder) local(d *datagram, f iface) netip.Addr {
	if d.dst.IsValid() && r.machine.isOwn(d.dst) && r.machine.connectable(d.dst) {
		return d.dst
	}
	if p, ok := f.facing(d.src.Addr()); ok {
		return p.Addr()
	}
	if len(f.Prefixes) > 0 {
		return f.Prefixes[0].Addr()
	}
	return netip.Addr{}
}

type sourceKey struct {
	iface int
	addr  netip.Addr
}

// source returns the control message that makes a reply leave by the interface that the request came in on, and from the
// address that it was sent to.
func (r *Responder) source(d *datagram, f iface) []byte {
	key := sourceKey{f.Index, r.local(d, f)}
	if oob, ok := r.sources[key]; ok {
		return oob
	}
	cm := ipv4.ControlMessage{}
	if key.addr.IsValid() {
		cm.Src = key.addr.AsSlice()
	}
	if f.Flags&net.FlagLoopback == 0 && !r.machine.isOwn(d.src.Addr()) {
		cm.IfIndex = f.Index
	}
	oob := cm.Marshal()
	if len(r.sources) < maxSources {
		r.sources[key] = oob
	}
	return oob
}
