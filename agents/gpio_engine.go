package agents

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"rollcall/gpio"
	"rollcall/reports"
)

// gpioCall is a call of the runner.
type gpioCall struct {
	f    func()
	done chan struct{}
}

// errGPIOClosed answers what comes after Close.
var errGPIOClosed = reports.Errorf(reports.CodeOffline, "the agent was closed")

// do has the engine call f and waits for it.
func (a *gpioAgent) do(ctx context.Context, f func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := gpioCall{f, make(chan struct{})}
	select {
	case a.calls <- c:
	case <-a.done:
		return errGPIOClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	<-c.done // with no regard to ctx: what was begun is carried out, and the answer has to say how
	return nil
}

// run is the engine.
func (a *gpioAgent) run() {
	defer close(a.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		out, first := a.queue.head(a.out)
		select {
		case c := <-a.calls:
			a.absorb()
			c.f()
			if a.closed {
				a.last()
				close(c.done)
				return
			}
			a.work() // the runner is to have all that changed before the answer
			close(c.done)
		case <-a.inbox.wake:
			a.absorb()
			a.work()
		case out <- first:
			a.queue.pop()
			continue
		case <-timer.C:
			a.work()
		}
		if next := a.next(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(time.Until(next), 0))
		}
	}
}

// last gives the runner what it has room for, and ends the events.
func (a *gpioAgent) last() {
	if a.gone {
		return
	}
	for {
		out, first := a.queue.head(a.out)
		select {
		case out <- first:
			a.queue.pop()
		default:
			close(a.out)
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
		case l.hold == nil:
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
	if a.gone {
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
	if a.gone {
		return
	}
	a.gone = true
	err = fmt.Errorf("chip %s: %w", a.present.name, err)
	a.why.Store(&err)
	a.queue = gpioQueue{}
	close(a.out)
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
	i.ring()
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
		a.edge(e)
	}
	for _, e := range last { // the gap before it tells how many are lost
		a.edge(e)
	}
	for topic, up := range ups {
		a.linked(topic, up)
	}
	if gone {
		a.unplugged(gpio.ErrGone)
	}
}
