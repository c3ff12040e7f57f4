package bus

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

const (
	sendLimit = 10_000      // messages that Send remembers
	sendBytes = 8 << 20     // of their topics and payloads; one that is longer waits alone
	window    = 64          // messages of the outbox that wait for their PUBACK
	strikes   = 3           // connections that a message may end before it is given up
	sayEvery  = time.Minute // how often it is logged that messages were dropped
)

// outbox holds what Keep and Send were given until the broker has it.
type outbox struct {
	mu    sync.Mutex
	owner *session // the session that sends; nil while there is none
	open  bool     // a connection may be given messages of Offer
	seq   uint64   // order of calls over both queues

	queue []*item          // of Send and Offer, not handed over
	bytes int64            // of queue
	kept  map[string]*item // of Keep, the newest of each topic
	fresh []*item          // of kept, not handed over to owner
	out   []*item          // handed over to owner, not acknowledged

	suspect string // topic that the last connections were lost with
	strikes int
	idle    []chan struct{} // closed when nothing is left to send

	dropped atomic.Uint64 // of Send and Offer
	lost    uint64        // of dropped: queue was full, and that has not been logged
	said    time.Time     // when it was logged
}

// item is a message on its way. It is guarded by outbox.mu; once it is handed over its message does not change any more.
type item struct {
	m     Message
	kept  bool
	seq   uint64
	first uint64 // of kept: seq of the first Keep on its topic
	fresh bool   // of kept: in outbox.fresh
	off   bool   // of kept: given up
	brief bool   // of Offer: lost with the connection
}

// inflight is an item that paho has.
type inflight struct {
	it  *item
	tok paho.Token
}

func (o *outbox) keep(m Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	old := o.kept[m.Topic]
	if old != nil && old.fresh {
		old.m = m // nobody has it yet
		return
	}
	o.seq++
	it := &item{m: m, kept: true, seq: o.seq, first: o.seq}
	if old != nil {
		it.first = old.first
	}
	o.kept[m.Topic] = it
	if o.owner != nil {
		it.fresh = true
		o.fresh = append(o.fresh, it)
		o.signal()
	}
}

func (o *outbox) send(m Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.push(&item{m: m})
}

// push queues a message of Send or Offer.
func (o *outbox) push(it *item) {
	o.seq++
	it.seq = o.seq
	o.queue = append(o.queue, it)
	o.bytes += it.m.size()
	o.trim()
	o.signal()
}

// trim drops the oldest of a full queue.
func (o *outbox) trim() {
	n := 0
	for len(o.queue)-n > sendLimit || o.bytes > sendBytes && len(o.queue)-n > 1 {
		o.bytes -= o.queue[n].m.size()
		n++
	}
	clear(o.queue[:n])
	o.queue = o.queue[n:]
	o.dropped.Add(uint64(n))
	o.lost += uint64(n)
}

// unsaid returns how many messages a full queue has lost since that was logged, once a minute.
func (o *outbox) unsaid(now time.Time) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lost == 0 || now.Sub(o.said) < sayEvery {
		return 0
	}
	n := o.lost
	o.lost, o.said = 0, now
	return n
}

// sayDropped logs what a full queue has lost. It holds no lock: the log may lead back here.
func (c *Client) sayDropped() {
	if n := c.out.unsaid(time.Now()); n > 0 {
		c.log.Warn("messages dropped: too many wait for the broker", "dropped", n, "max", sendLimit, "max_bytes", sendBytes)
	}
}

func (o *outbox) signal() {
	if o.owner == nil {
		return
	}
	select {
	case o.owner.wake <- struct{}{}:
	default: // it has been woken already
	}
}

// attach lets s send: first everything kept, in the order of the first Keep of each topic, then the queue.
func (o *outbox) attach(s *session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.owner = s
	o.fresh = o.fresh[:0]
	for topic, it := range o.kept {
		if it.off {
			continue
		}
		again := &item{m: it.m, kept: true, first: it.first, fresh: true}
		again.m.QoS = 1
		o.kept[topic] = again
		o.fresh = append(o.fresh, again)
	}
	slices.SortFunc(o.fresh, func(a, b *item) int { return cmp.Compare(a.first, b.first) })
	o.signal()
}

// detach ends sending. What Send gave and the broker has not acknowledged is queued again, what Offer gave is dropped. A topic that several connections
// running have been lost with is given up: true is returned. Kept ones get another chance after a connection that lasted.
func (o *outbox) detach(suspect string, lasted bool) (givenUp bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.owner, o.open = nil, false
	var again []*item
	for _, it := range o.out {
		if !it.kept {
			again = append(again, it)
		}
	}
	o.queue = o.forget(append(again, o.queue...))
	o.out, o.fresh, o.bytes = nil, nil, 0
	for _, it := range o.queue {
		o.bytes += it.m.size()
	}
	for _, it := range o.kept {
		it.fresh, it.off = false, it.off && !lasted
	}
	if suspect != o.suspect {
		o.suspect, o.strikes = suspect, 0
	}
	o.strikes++
	if suspect != "" && o.strikes >= strikes {
		givenUp = o.giveUp(suspect)
		o.suspect, o.strikes = "", 0
	}
	o.trim()
	o.settle()
	return givenUp
}

// giveUp removes what would be sent on topic first.
func (o *outbox) giveUp(topic string) bool {
	if it := o.kept[topic]; it != nil && !it.off {
		it.off = true
		return true
	}
	i := slices.IndexFunc(o.queue, func(it *item) bool { return it.m.Topic == topic })
	if i < 0 {
		return false
	}
	o.bytes -= o.queue[i].m.size()
	o.queue = slices.Delete(o.queue, i, i+1)
	o.dropped.Add(1)
	return true
}

// next returns what s shall send next, or nil. ok is false when another session sends.
func (o *outbox) next(s *session) (it *item, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.owner != s {
		return nil, false
	}
	switch {
	case len(o.fresh) > 0 && (len(o.queue) == 0 || o.fresh[0].seq < o.queue[0].seq):
		it, o.fresh = o.fresh[0], o.fresh[1:]
		it.fresh = false
	case len(o.queue) > 0:
		it, o.queue = o.queue[0], o.queue[1:]
		o.bytes -= it.m.size()
	default:
		return nil, true
	}
	o.out = append(o.out, it)
	return it, true
}

// acked notes that the broker has what s sent.
func (o *outbox) acked(s *session, it *item) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.owner != s {
		return
	}
	if i := slices.Index(o.out, it); i >= 0 {
		o.out = slices.Delete(o.out, i, i+1)
	}
	if it.kept && len(it.m.Payload) == 0 && o.kept[it.m.Topic] == it {
		delete(o.kept, it.m.Topic)
	}
	if it.m.Topic == o.suspect {
		o.suspect, o.strikes = "", 0
	}
	o.settle()
}

// settle tells those who wait that nothing is left.
func (o *outbox) settle() {
	if len(o.queue)+len(o.fresh)+len(o.out) > 0 {
		return
	}
	for _, ch := range o.idle {
		close(ch)
	}
	o.idle = nil
}

// drain waits until everything has been sent and acknowledged.
func (o *outbox) drain(ctx context.Context, s *session) {
	ch := make(chan struct{})
	o.mu.Lock()
	o.idle = append(o.idle, ch)
	o.settle()
	o.mu.Unlock()
	select {
	case <-ch:
	case <-ctx.Done():
	case <-s.down:
	}
}

// sendAll hands over the outbox to paho until s is down.
func (c *Client) sendAll(s *session) {
	for {
		it, ok := c.out.next(s)
		if !ok {
			return
		}
		if it == nil {
			select {
			case <-s.wake:
				continue
			case <-s.down:
				return
			}
		}
		token := s.start(it.m)
		runtime.Gosched() // the message goes before what waits for its acknowledgement
		select {
		case s.acks <- inflight{it, token}:
		case <-s.down:
			return
		}
	}
}

// settleAll notes what has been acknowledged until s is down.
func (c *Client) settleAll(s *session) {
	for {
		select {
		case <-s.down:
			return
		case f := <-s.acks:
			select {
			case <-f.tok.Done():
			case <-s.down:
				return
			}
			if err := f.tok.Error(); err != nil {
				_ = s.conn.fail(publishError(f.it.m.Topic, err)) // a new connection sends it again
				return
			}
			c.out.acked(s, f.it)
		}
	}
}
