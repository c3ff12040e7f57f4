package gpiotest

import (
	"slices"
	"sync"

	"rollcall/gpio"
)

// post delivers calls in the order in which they were sent, from one goroutine, which lives while there is anything to deliver.
type post struct {
	mu      sync.Mutex
	cond    sync.Cond // a call has returned
	queue   []letter
	running bool
	calling *box
}

type letter struct {
	to   *box
	call func()
}

// box is one receiver. All of it is under post.mu.
type box struct {
	waiting int
	stopped bool
}

// send queues a call. A receiver that is late loses its oldest, as it does with the kernel.
func (p *post) send(to *box, call func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to.stopped {
		return
	}
	if to.waiting == gpio.EventBuffer {
		oldest := slices.IndexFunc(p.queue, func(l letter) bool { return l.to == to })
		p.queue = slices.Delete(p.queue, oldest, oldest+1)
		to.waiting--
	}
	to.waiting++
	p.queue = append(p.queue, letter{to, call})
	if !p.running {
		p.running = true
		go p.deliver() // ends when the queue is empty; stop waits for the call that is running, wait for all
	}
}

func (p *post) deliver() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) > 0 {
		next := p.queue[0]
		p.queue = slices.Delete(p.queue, 0, 1)
		next.to.waiting--
		p.calling = next.to
		p.mu.Unlock()
		next.call()
		p.mu.Lock()
		p.calling = nil
		p.cond.Broadcast()
	}
	p.running = false
	p.cond.Broadcast()
}

// stop drops what waits for the receiver and waits for its call that is running.
func (p *post) stop(to *box) {
	p.mu.Lock()
	defer p.mu.Unlock()
	to.stopped = true
	p.queue = slices.DeleteFunc(p.queue, func(l letter) bool { return l.to == to })
	for p.calling == to {
		p.cond.Wait()
	}
}

// wait waits until all is delivered.
func (p *post) wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.running {
		p.cond.Wait()
	}
}
