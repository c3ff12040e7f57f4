package bus

import (
	"sync/atomic"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// Bounds of what waits for the handlers.
const (
	inboxLimit = 4096    // messages
	inboxBytes = 8 << 20 // of topics and payloads
)

// inbox holds received messages until the handlers have time for them.
type inbox struct {
	queue  chan Message
	bytes  atomic.Int64
	missed atomic.Uint64
	full   atomic.Bool // has been logged since the queue was empty
}

// receive is called by paho for every message, in order, and must not block: paho reads, acknowledges and ends on this path.
func (c *Client) receive(_ paho.Client, pm paho.Message) {
	m := Message{Topic: pm.Topic(), Payload: pm.Payload(), QoS: pm.Qos(), Retained: pm.Retained()}
	if err := checkTopic(m.Topic); err != nil {
		c.log.Debug("received message is not legal", "err", err)
		return
	}
	for _, s := range *c.subs.Load() {
		if s.direct && s.wants(m.Topic) {
			s.handler(m)
		}
	}
	if c.cfg.Direct {
		return // all are direct
	}
	size := m.size()
	if n := c.in.bytes.Add(size); n <= inboxBytes || n == size {
		select {
		case c.in.queue <- m:
			return
		default:
		}
	}
	c.in.bytes.Add(-size)
	missed := c.in.missed.Add(1)
	if c.in.full.CompareAndSwap(false, true) {
		c.log.Warn("handlers are too slow, messages are dropped", "topic", m.Topic, "missed", missed)
	}
}

// handle calls the handlers, one at a time, until stop is closed.
func (c *Client) handle(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case m := <-c.in.queue:
			if c.in.bytes.Add(-m.size()) == 0 {
				c.in.full.Store(false)
			}
			for _, s := range *c.subs.Load() {
				if !s.direct && s.wants(m.Topic) {
					s.handler(m)
				}
			}
		}
	}
}

func (m Message) size() int64 { return int64(len(m.Topic) + len(m.Payload)) }
