package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Offer sends m while there is a connection, in order with what Keep and Send are given, and forgets it with the connection:
// what the broker has not acknowledged by then is not sent again. It is for news that are worthless when they are late. It never
// blocks, and may be called from OnUp and from the handlers of a Direct client. The error says that m is not legal, or that there
// is no connection (ErrNotConnected); nil does not mean that the broker has it.
func (c *Client) Offer(m Message) error {
	if err := m.check(); err != nil {
		return err
	}
	if !c.Connected() || !c.out.offer(m) {
		return publishError(m.Topic, ErrNotConnected)
	}
	c.sayDropped()
	return nil
}

// offer queues m for the present connection, if there is one.
func (o *outbox) offer(m Message) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open {
		return false
	}
	o.push(&item{m: m, brief: true})
	return true
}

// admit lets Offer queue messages, until detach.
func (o *outbox) admit() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open = true
}

// forget drops what Offer has queued.
func (o *outbox) forget(items []*item) []*item {
	return slices.DeleteFunc(items, func(it *item) bool {
		if it.brief {
			o.dropped.Add(1)
		}
		return it.brief
	})
}

// Listen receives messages that match the filter, at QoS 1, now and after every reconnect, until stop is called. Unlike
// Subscribe it never waits for the broker, so it may be called from everywhere, also from the handlers of a Direct client.
// answer is called with nil each time that the broker has granted the subscription, and with its refusal each time that it has
// not (the next reconnect asks again); it must not block. stop does not wait: a message that is on its way may still reach the
// handler.
func (c *Client) Listen(filter string, handler func(Message), answer func(error)) (stop func(), err error) {
	if handler == nil || answer == nil {
		return nil, errors.New("listen: want a handler and an answer")
	}
	if err := checkFilter(filter); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	sub := &subscription{filters: []string{filter}, qos: 1, handler: handler, direct: c.cfg.Direct, answer: answer}
	if s := c.register(sub); s != nil {
		c.spawn(func() { c.request(s, sub) })
	}
	return func() { c.leave(sub) }, nil
}

// request subscribes sub on the connection s.
func (c *Client) request(s *session, sub *subscription) {
	select {
	case c.wire <- struct{}{}:
	case <-s.down:
		return // the next connection asks for all
	}
	defer func() { <-c.wire }()
	if !slices.Contains(*c.subs.Load(), sub) {
		return
	}
	err := s.subscribe(context.Background(), c.wanted(sub.filters)) // bounded by ackTimeout
	if errors.Is(err, ErrLost) || errors.Is(err, ErrNotConnected) || errors.Is(err, ErrStopped) {
		return
	}
	if _, no := errors.AsType[refusedError](err); err != nil && !no {
		_ = s.conn.fail(fmt.Errorf("subscribe to %q: %w", sub.filters, err)) // a new connection asks again
		return
	}
	sub.told(err)
}

// mark notes that the subscriptions are asked for on s; who calls it holds wire.
func (c *Client) mark(s *session) {
	for _, sub := range *c.subs.Load() {
		sub.on = s
	}
}

// tell gives those who want to know it the broker's answer to the subscriptions that were asked for on s.
func (c *Client) tell(s *session, no refusedError) {
	for _, sub := range *c.subs.Load() {
		if sub.on != s {
			continue
		}
		var err error
		if len(sub.filters) == 1 && slices.Contains(no.filters, sub.filters[0]) {
			err = refusedError{sub.filters}
		}
		sub.told(err)
	}
}

// told hands on the broker's answer.
func (s *subscription) told(err error) {
	if s.answer == nil {
		return
	}
	if err != nil {
		err = fmt.Errorf("subscribe: %w", err)
	}
	s.answer(err)
}
