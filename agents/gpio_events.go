package agents

import (
	"slices"
	"sync"

	"rollcall/reports"
)

// gpioEventsMost is how many edges wait for a runner that is late.
const gpioEventsMost = 256

// gpioEvents passes edges on from the chip's goroutines, which must not block, to the runner. When too many wait, an edge goes
// that a later one of the same input supersedes: the last edge of an input is never lost.
type gpioEvents struct {
	out  chan reports.Reading
	wake chan struct{}
	quit chan struct{}
	done chan struct{}

	mu      sync.Mutex
	queue   []reports.Reading
	dropped uint64
	closed  bool
}

func newGPIOEvents() *gpioEvents {
	e := &gpioEvents{out: make(chan reports.Reading), wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	go e.run() // until close, which waits for it
	return e
}

// put queues a reading. It never blocks.
func (e *gpioEvents) put(r reports.Reading) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	if len(e.queue) >= gpioEventsMost {
		e.thin(r.Path)
	}
	e.queue = append(e.queue, r)
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// thin drops the oldest reading that a later one, or the next of the path, supersedes. Where every reading is the last of its
// input there are no more of them than inputs, and nothing is dropped.
func (e *gpioEvents) thin(next string) {
	last := map[string]int{next: len(e.queue)}
	for i, r := range e.queue {
		last[r.Path] = max(i, last[r.Path])
	}
	for i, r := range e.queue {
		if last[r.Path] > i {
			e.queue = slices.Delete(e.queue, i, i+1)
			e.dropped++
			return
		}
	}
}

// keep drops the waiting readings of all paths but those for which ok returns true.
func (e *gpioEvents) keep(ok func(path string) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue = slices.DeleteFunc(e.queue, func(r reports.Reading) bool { return !ok(r.Path) })
}

func (e *gpioEvents) next() (reports.Reading, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) == 0 {
		return reports.Reading{}, false
	}
	r := e.queue[0]
	e.queue = slices.Delete(e.queue, 0, 1)
	return r, true
}

func (e *gpioEvents) run() {
	defer close(e.done)
	defer close(e.out)
	for {
		r, ok := e.next()
		if !ok {
			select {
			case <-e.wake:
				continue
			case <-e.quit:
				return
			}
		}
		select {
		case e.out <- r:
		case <-e.quit:
			return
		}
	}
}

// close ends the delivery and closes out. It may be called twice, one call after the other.
func (e *gpioEvents) close() {
	e.mu.Lock()
	first := !e.closed
	e.closed = true
	e.mu.Unlock()
	if first {
		close(e.quit)
	}
	<-e.done
}
