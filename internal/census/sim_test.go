package census

import (
	"container/heap"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"rollcall/lab/loss"
)

// world is one sweep in virtual time.
type world struct {
	n         int
	known     int           // of them
	lull      time.Duration // host 0 looks at what has come but once in so long, as somebody has it do who sends it needless requests
	shed      uint32        // host 0, which is flooded, takes but the first and one of so many requests, by their numbers; 0: all
	strict    bool          // and the first one as the others
	loss      loss.Model
	sending   time.Duration // that a datagram to everyone takes to be sent
	buffer    int           // replies that fit the requester's socket; 0: any number
	service   time.Duration
	opening   time.Duration // that it takes to open a reply, one after the other; 0: no time, and nobody is believed before
	forged    int           // in the names of the last so many hosts somebody else answers the first request
	resolve   bool          // hosts have to resolve the requester's address
	deaf      map[int]bool
	far       time.Duration         // there and back, beside what it takes on a network
	early     bool                  // the first request is sent before it is known how far that is
	six       int                   // the first so many hosts hear only what is for those that are asked late
	late      map[int]time.Duration // hosts that are silent before
	limit     time.Duration
	configure func(*Config)
}

// outcome is how it went.
type outcome struct {
	Result
	heard         int
	last, ends    time.Duration
	replies       int
	requestBytes  int
	maxReplies    int
	lostInBuffer  int
	bytesOverSpot int // hosts that sent more than they got
}

type event struct {
	at   time.Duration
	host int  // that hears the request, or sends
	ask  *Ask // request on its way; nil: the host's timer, or a reply on its way
	r    *Heard

	claimed time.Duration // when the reply came, which is opened now; 0: it comes
	forged  bool
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

const (
	simRequest = 1300
	simReply   = 400
)

// oneWay is half a round trip: 0.6 ms at the median, 3 ms at the 99th percentile of two.
func oneWay(rnd *rand.Rand) time.Duration {
	return time.Duration(0.3 * math.Exp(0.8*rnd.NormFloat64()) * float64(time.Millisecond))
}

func idOf(i int) ID {
	var id ID
	binary.BigEndian.PutUint64(id[:], uint64(i)+1)
	return id
}

// first returns what the requester is told of the first request that a host heard: nothing of those who were not asked before.
func (w world) first(i int, h *Attendance) uint32 {
	if i < w.six {
		return 0
	}
	return h.First
}

// run runs the sweep.
func (w world) run(seed uint64) outcome {
	rnd := rand.New(rand.NewPCG(seed, 1))
	c := Config{Sweep: rnd.Uint64(), Open: true, Buffer: 6553, Filter: 1200, Limit: 5 * time.Second, Salt: rnd.Uint64}
	if w.limit > 0 {
		c.Limit = w.limit
	}
	for i := range w.known {
		c.Known = append(c.Known, idOf(i))
	}
	if w.configure != nil {
		w.configure(&c)
	}
	s := New(c)
	hosts := make([]Attendance, w.n)
	replies := make([]int, w.n)
	salts, spreads := make([]uint64, w.n), make([]Spread, w.n) // of the round that each heard last
	out := outcome{}
	phase := time.Duration(rnd.Float64() * float64(w.lull))
	sheds := func(i int, seq uint32, now time.Duration) bool {
		const turn = 100 * time.Millisecond // after which it takes others
		return i == 0 && w.shed > 0 && (seq > 1 || w.strict) && (seq+uint32((seed+uint64(now/turn))*0x9e3779b97f4a7c15>>32))%w.shed != 0
	}
	var q events
	epoch := time.Unix(0, 0)
	free := time.Duration(0)                // when the requester has read all that came
	opened, unopened := time.Duration(0), 0 // when it has opened it, and how many it has not
	timer := func(i int, now time.Duration) {
		if at, ok := hosts[i].Due(); ok {
			heap.Push(&q, event{at: max(at.Sub(epoch), now), host: i})
		}
	}
	hear := func(i int, a *Ask, now time.Duration) {
		h := &hosts[i]
		h.Hear(a.Seq, simRequest)
		if salts[i] != a.Salt {
			salts[i], spreads[i] = a.Salt, SpreadOf(c.Sweep, a.Salt, idOf(i))
		}
		sp := spreads[i]
		switch {
		case !a.InRange(sp):
		case a.Heard(sp):
			h.Cancel()
		default:
			if h.Plan(a.Round, a.Seq, a.Window, sp.Slot, a.Copies, epoch.Add(now)) {
				timer(i, now)
			}
		}
	}
	now := time.Duration(0)
	send := func(asks []Ask) {
		for _, a := range asks {
			if out.requestBytes += simRequest; a.To == (ID{}) {
				now += w.sending
			}
			if a.Seq == 1 {
				for i := w.n - w.forged; i < w.n; i++ {
					heap.Push(&q, event{at: now + 2*oneWay(rnd), r: &Heard{ID: idOf(i)}, forged: true})
				}
			}
			for i := range w.n {
				if a.To != (ID{}) && a.To != idOf(i) || w.deaf[i] || i < w.six && !a.Late || now < w.late[i] || sheds(i, a.Seq, now) || w.loss.Lost(i, false, now, rnd) {
					continue
				}
				at := now + w.far/2 + oneWay(rnd)
				if i == 0 && w.lull > 0 {
					at = (at/w.lull+1)*w.lull + phase
				}
				heap.Push(&q, event{at: at, host: i, ask: &a})
			}
		}
	}
	if w.early {
		asks, _, _ := s.Next(0)
		send(asks)
		now = w.far
		s.Arrived(w.far, now)
	}
	next := func() { // the next event
		e := heap.Pop(&q).(event)
		now = max(now, e.at)
		switch {
		case e.ask != nil:
			hear(e.host, e.ask, now)
		case e.r != nil && w.opening > 0 && e.claimed == 0:
			s.Claim(e.r.ID, now)
			opened = max(opened, now) + w.opening
			unopened++
			s.Socket(uint32(out.lostInBuffer), false, true)
			e.at, e.claimed = opened, now
			heap.Push(&q, e)
		case e.r != nil:
			came := now
			if w.opening > 0 {
				unopened--
				s.Socket(uint32(out.lostInBuffer), false, unopened > 0)
				came = e.claimed
			}
			if !e.forged && s.Hear(*e.r, came) {
				out.heard++
				out.last = now
			}
			s.Settle(e.r.ID)
		default:
			h := &hosts[e.host]
			at, ok := h.Due()
			if !ok || at.Sub(epoch) > now {
				break // cancelled, or another timer is for it
			}
			if t, ok := h.Take(simReply, epoch.Add(now)); ok {
				replies[e.host]++
				if !w.loss.Lost(e.host, true, now, rnd) {
					at := now + w.far/2 + oneWay(rnd)
					if waiting := free - at; w.buffer > 0 && waiting > time.Duration(w.buffer)*w.service {
						out.lostInBuffer++
						s.Socket(uint32(out.lostInBuffer), false, unopened > 0)
					} else {
						free = max(free, at) + w.service
						heap.Push(&q, event{at: free, host: e.host,
							r: &Heard{ID: idOf(e.host), Seq: t.Seq, First: w.first(e.host, h), Tx: t.Tx, Delay: t.Delay, Resolved: w.resolve, Late: e.host < w.six}})
					}
				}
			}
			timer(e.host, now)
		}
	}
	for {
		asks, wake, done := s.Next(now)
		if done {
			out.ends = now
			break
		}
		if send(asks); now > wake {
			wake = now
			s.Sent(now)
		}
		came := false
		for len(q) > 0 && q[0].at <= now { // what came meanwhile
			next()
			came = true
		}
		if came {
			continue
		}
		if len(q) == 0 || q[0].at >= wake {
			now = max(wake, now)
			continue
		}
		next()
	}
	for i := range hosts {
		out.replies += replies[i]
		if hosts[i].out > hosts[i].in {
			out.bytesOverSpot++
		}
	}
	if w.n > 0 {
		out.maxReplies = slices.Max(replies)
	}
	out.Result = s.Result()
	return out
}
