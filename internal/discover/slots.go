package discover

import (
	"container/heap"
	"crypto/cipher"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"rollcall/internal/census"
)

// sweepState is what a host remembers of one sweep of one requester.
type sweepState struct {
	census.Attendance
	sweep uint64
	asked bool        // the request was handed on for publishing
	known bool        // replies need no ARP
	box   cipher.AEAD // seals them; nil: open

	// Of the last request that was for this host:
	to        netip.AddrPort
	source    []byte // control message
	mac       [6]byte
	operator  *operator
	introduce bool
	queued    bool // in slots
}

// maxSlots bounds the sweeps whose replies wait for their slots.
const maxSlots = 4096

// slots are the sweeps whose replies wait, the next one first.
type slots []*sweepState

// Len, Less, Swap, Push and Pop are heap.Interface.
func (s slots) Len() int { return len(s) }

// Less reports whether one reply is due before another.
func (s slots) Less(i, j int) bool {
	a, _ := s[i].Due()
	b, _ := s[j].Due()
	return a.Before(b)
}

// Swap swaps two.
func (s slots) Swap(i, j int) { s[i], s[j] = s[j], s[i] }

// Push adds one.
func (s *slots) Push(x any) { *s = append(*s, x.(*sweepState)) }

// Pop takes the last one.
func (s *slots) Pop() any {
	last := len(*s) - 1
	x := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return x
}

// note takes a request into the account of its sweep, whether it is for this host or not.
func (r *Responder) note(d *datagram, q *Request) *sweepState {
	at := uint32(0)
	if q.Changed > 0 {
		at = q.Seq // each request of a watch stands for itself
	}
	key := r.hash(d.src.Addr(), q.Sweep, at, d.asker())
	state, known := r.sweeps.get(key, d.at)
	if !known {
		state = &sweepState{sweep: q.Sweep}
	}
	r.sweeps.put(key, state, d.at)
	state.Hear(q.Seq, len(d.b))
	return state
}

// meantFor returns answered if the request is for this host; heard is true if it is not because the requester has heard it.
func meantFor(q *Request, said *pages, spread census.Spread, state *census.Attendance, now time.Time) (o outcome, heard bool) {
	call := q.call()
	switch {
	case q.Changed > 0 && q.watches(said, spread, now) && wanted(q.Want, said.labels):
		return answered, false
	case q.Changed > 0:
		return unselected, false
	case !call.InRange(spread) || int(q.Page) >= len(said.data):
		return unselected, false
	case call.Heard(spread):
		return unselected, true
	case !wanted(q.Want, said.labels):
		return unselected, false
	case q.Page == 0 && !state.Open(q.Round):
		return repeated, false
	}
	return answered, false
}

// attend answers a request that is to be believed and that is for this host: a further page at once, else in the slot that the
// round has for the host.
func (r *Responder) attend(d *datagram, q *Request, said *pages, f iface, slot uint64, state *sweepState) (outcome, error) {
	if !state.known {
		state.known = r.introduce(d, q, f)
	}
	state.to, state.source, state.mac = d.src, r.source(d, f), said.mac
	if q.ReplyPort != 0 {
		state.to = netip.AddrPortFrom(d.src.Addr(), q.ReplyPort)
	}
	if len(f.MAC) == len(state.mac) {
		copy(state.mac[:], f.MAC)
	}
	state.operator, state.introduce = d.operator, q.Introduce
	if !state.asked {
		state.asked = true
		defer r.handOn(d, q, said, f)
	}
	if q.Page > 0 {
		return r.page(d, q, said, state)
	}
	return r.plan(d, q, slot, state)
}

// page answers a request for a further page.
func (r *Responder) page(d *datagram, q *Request, said *pages, state *sweepState) (outcome, error) {
	if !state.Afford(state.size(said.data[q.Page])) {
		return excessive, nil
	}
	turn := census.Turn{Round: q.Round, Seq: q.Seq, Tx: state.Tx, Delay: r.c.Now().Sub(d.at)}
	if err := r.transmit(said.data[q.Page], said, state, turn); err != nil {
		return sendFailed, err
	}
	return answered, nil
}

// plan sets the reply down for its slot, and sends it if that is now.
func (r *Responder) plan(d *datagram, q *Request, slot uint64, state *sweepState) (outcome, error) {
	if len(r.slots) >= maxSlots && !state.queued {
		return busy, nil
	}
	if !state.Plan(q.Round, q.Seq, q.Window, slot, q.Copies, d.at) {
		return repeated, nil
	}
	err := r.say(state, d.at)
	switch _, waits := state.Due(); {
	case state.queued:
		heap.Init(&r.slots) // its place may be another
	case waits:
		state.queued = true
		heap.Push(&r.slots, state)
	}
	if err != nil {
		return sendFailed, err
	}
	return answered, nil
}

// say sends the reply of a sweep if it is due.
func (r *Responder) say(state *sweepState, now time.Time) error {
	at, waits := state.Due()
	if !waits || at.After(now) {
		return nil
	}
	said := r.said.Load()
	turn, ok := state.Take(state.size(said.data[0]), r.c.Now())
	if !ok {
		r.tally.note(excessive, now, func() any { return state.to.String() })
		return nil
	}
	if err := r.transmit(said.data[0], said, state, turn); err != nil {
		state.Failed(state.size(said.data[0]), r.c.Now())
		return err
	}
	return nil
}

// size returns how many bytes the reply with a page has at most.
func (s *sweepState) size(page []byte) int {
	if s.operator == nil {
		return len(page)
	}
	return min(len(page)+sealOverhead+signatureSize, maxReply)
}

// transmit sends a page, sealed for whom it is to be. All replies of the sealed form but challenges leave from here.
func (r *Responder) transmit(page []byte, said *pages, state *sweepState, turn census.Turn) error {
	out := r.buf[:copy(r.buf[:], page)]
	reply := Reply{Sweep: state.sweep, Round: turn.Round, Seq: turn.Seq, First: state.First, Tx: turn.Tx, MAC: state.mac,
		Delay: turn.Delay, Age: r.c.Now().Sub(said.started)}
	if !state.known {
		out[7] |= byte(FlagNoNeighbour)
	}
	reply.patch(out)
	if state.operator == nil {
		return r.reply(out, state.source, state.to)
	}
	var err error
	if state.box == nil {
		if state.box, err = r.authority.box(state.operator, state.sweep); err != nil {
			return err
		}
	}
	if out, err = r.authority.seal(r.sealBuf[:], out, state.box, state.introduce); err != nil {
		return err
	}
	r.replies.sure = state.known
	return r.reply(out, state.source, state.to)
}

// due sends the replies whose slots have come, and has the socket wake the reader for the next one; an idle host has none to
// be woken for.
func (r *Responder) due(now time.Time) {
	for len(r.slots) > 0 {
		state := r.slots[0]
		at, waits := state.Due()
		if waits && at.After(now) {
			break
		}
		if err := r.say(state, now); err != nil {
			r.tally.note(sendFailed, now, func() any { return state.to.String() + ": " + err.Error() })
		}
		if _, waits := state.Due(); waits {
			heap.Fix(&r.slots, 0)
		} else {
			state.queued = false
			heap.Pop(&r.slots)
		}
	}
	r.wake = time.Time{}
	if len(r.slots) > 0 {
		at, _ := r.slots[0].Due()
		r.wake = time.Now().Add(at.Sub(r.c.Now()))
	}
}

// timedOut reports whether err says that the next slot has come.
func timedOut(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed)
}
