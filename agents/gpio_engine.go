package agents

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"rollcall/gpio"
	"rollcall/reports"
)

// errGPIOClosed answers what comes after Close.
var errGPIOClosed = reports.Errorf(reports.CodeOffline, "the agent was closed")

// do calls f for the runner while nobody else has the agent. What f has done is on its way to the runner when do returns.
func (a *gpioAgent) do(ctx context.Context, f func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return errGPIOClosed
	}
	a.deadline, _ = ctx.Deadline()
	a.absorb()
	f()
	if !a.closed {
		a.work()
	}
	a.nudge()
	return nil
}

// nudge wakes the engine if it has to do something sooner than it knows of. The caller has the agent.
func (a *gpioAgent) nudge() {
	next := a.next()
	if a.closed || a.ended || len(a.queue.readings) > 0 || !next.IsZero() && (a.armed.IsZero() || next.Before(a.armed)) {
		a.inbox.ring()
	}
}

// run is the engine: it does what is due when nobody calls.
func (a *gpioAgent) run() {
	defer close(a.done)
	defer close(a.out)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		over, out, first := a.tend(timer)
		if over {
			return
		}
		select {
		case <-a.inbox.wake:
		case out <- first.reading:
			a.sent(first)
		case <-timer.C:
		}
	}
}

// tend does what is due, and returns what is to be sent where, or that all is over. The timer is set to when it is due again.
func (a *gpioAgent) tend(timer *time.Timer) (over bool, out chan<- reports.Reading, first gpioQueued) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.act()
	if a.closed || a.ended {
		a.last()
		return true, nil, first
	}
	if a.armed = a.next(); a.armed.IsZero() {
		timer.Stop()
	} else {
		timer.Reset(max(time.Until(a.armed), 0))
	}
	out, first = a.queue.head(a.out)
	return false, out, first
}

// act takes in what was left in the inbox and does what is due. A panic ends the events, and the runner makes the agent anew. The
// caller has the agent.
func (a *gpioAgent) act() {
	defer func() {
		if v := recover(); v != nil {
			a.log.Error("engine panicked", "err", v, "stack", string(debug.Stack()))
			a.end(fmt.Errorf("panic: %v", v))
		}
	}()
	if !a.closed && !a.ended {
		a.absorb()
		runtime.Gosched() // lets what has come reach the runner before what is due
		a.work()
	}
}

// edge takes an edge from the chip's goroutine, which must not wait: if somebody has the agent it stays in the inbox.
func (a *gpioAgent) edge(hold *gpioHold, e gpio.Event) {
	a.inbox.edge(hold, e)
	if !a.mu.TryLock() {
		a.inbox.ring()
		return
	}
	defer a.mu.Unlock()
	a.act()
	a.nudge()
}

// sent takes a reading off the queue that the runner has.
func (a *gpioAgent) sent(q gpioQueued) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue.sent(q)
}

// last gives the runner what it has room for.
func (a *gpioAgent) last() {
	for {
		out, first := a.queue.head(a.out)
		select {
		case out <- first.reading:
			a.queue.sent(first)
		default:
			return
		}
	}
}

// stamp returns the time of a reading: when it came, or, if a later one was given out since, right after that. So what the engine
// did or learnt first is older, and the runner never takes the older for the newer. For what is read from a line it is taken
// before.
func (a *gpioAgent) stamp(came time.Time) time.Time {
	if !came.After(a.clock) {
		came = a.clock.Add(1)
	}
	a.clock = came
	return came
}

// work does what is due, and tells of what has changed.
func (a *gpioAgent) work() {
	a.drive()
	for _, l := range a.present.lines {
		switch {
		case !l.hold.held():
		case l.sense != nil:
			a.tick(l)
		case l.fade != nil:
			a.fadeOn(l)
		}
	}
	a.tell()
	a.saveDue()
}

// next returns when work is to be called again, or the zero time for never.
func (a *gpioAgent) next() time.Time {
	var at time.Time
	if a.bank != nil {
		at = a.bank.Next()
	}
	for _, l := range a.present.lines {
		at = earlier(at, l.next())
	}
	return earlier(at, a.saver.next())
}

// put gives the runner a reading: at once if there is room, since it is to have what a command has done before the answer.
func (a *gpioAgent) put(path string, value any, came time.Time) {
	r := reports.Reading{Path: path, Value: value, Time: a.stamp(came)}
	if a.ended {
		return
	}
	if len(a.queue.readings) == 0 {
		select {
		case a.out <- r:
			return
		default:
		}
	}
	a.queue.put(r)
}

// failed looks at an error of a line for the sign that the chip is gone.
func (a *gpioAgent) failed(err error) error {
	if errors.Is(err, gpio.ErrGone) {
		a.unplugged(err)
	}
	return err
}

// unplugged ends the events, so that the runner makes the agent anew until the chip is back.
func (a *gpioAgent) unplugged(err error) {
	a.gone = true
	if a.ended {
		return
	}
	a.end(fmt.Errorf("chip %s: %w", a.present.name, err))
}

// end has the engine end the events because of err.
func (a *gpioAgent) end(err error) {
	a.ended = true
	a.why.Store(&err)
	a.queue = gpioQueue{}
}

// gpioEdgesMost is how many edges wait for an engine that is busy: some seconds of 8,000 a second.
const gpioEdgesMost = 1 << 15

// gpioSeen is an edge as it came.
type gpioSeen struct {
	hold  *gpioHold
	event gpio.Event
	at    time.Time
}

// gpioInbox is where those who must not wait leave what they have for the engine.
type gpioInbox struct {
	wake chan struct{}

	mu    sync.Mutex
	edges []gpioSeen
	spare []gpioSeen             // the last batch, for its memory
	last  map[*gpioHold]gpioSeen // the last edge of each line that found no room
	ups   map[string]bool        // who is there: by watched topic, and the broker under ""
	gone  bool
}

// edge leaves an edge.
func (i *gpioInbox) edge(hold *gpioHold, e gpio.Event) {
	seen := gpioSeen{hold, e, time.Now()}
	i.mu.Lock()
	if len(i.edges) < gpioEdgesMost {
		i.edges = append(i.edges, seen)
	} else {
		if i.last == nil {
			i.last = map[*gpioHold]gpioSeen{}
		}
		i.last[hold] = seen
	}
	i.mu.Unlock()
}

// up leaves word of who is there.
func (i *gpioInbox) up(topic string, up bool) {
	i.mu.Lock()
	if i.ups == nil {
		i.ups = map[string]bool{}
	}
	i.ups[topic] = up
	i.mu.Unlock()
	i.ring()
}

// unplugged leaves word that the chip is gone.
func (i *gpioInbox) unplugged() {
	i.mu.Lock()
	i.gone = true
	i.mu.Unlock()
	i.ring()
}

func (i *gpioInbox) ring() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// take returns all that was left. The edges are good until the next take.
func (i *gpioInbox) take() (edges []gpioSeen, last map[*gpioHold]gpioSeen, ups map[string]bool, gone bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	edges, last, ups, gone = i.edges, i.last, i.ups, i.gone
	i.edges, i.spare = i.spare[:0], i.edges
	i.last, i.ups, i.gone = nil, nil, false
	return edges, last, ups, gone
}

// absorb takes in what was left in the inbox.
func (a *gpioAgent) absorb() {
	edges, last, ups, gone := a.inbox.take()
	for _, e := range edges {
		a.took(e)
	}
	for _, e := range last { // the gap before it tells how many are lost
		a.took(e)
	}
	for topic, up := range ups {
		a.linked(topic, up)
	}
	if gone {
		a.unplugged(gpio.ErrGone)
	}
}
