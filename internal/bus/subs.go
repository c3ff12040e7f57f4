package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// filtersPerPacket bounds a SUBSCRIBE; brokers have limits of their own.
const filtersPerPacket = 100

// refused is the code of a filter in SUBACK that the broker does not grant.
const refused = 0x80

var errNoSuback = errors.New("broker sent no SUBACK in time")

// subscription is a handler and what it wants.
type subscription struct {
	filters []string
	qos     byte
	handler func(Message)
	direct  bool // called by receive, not after the inbox
	answer  func(error)
	on      *session // the last one that it was there before; who holds wire may touch it
}

func (s *subscription) wants(topic string) bool {
	for _, f := range s.filters {
		if matches(f, topic) {
			return true
		}
	}
	return false
}

// refusedError names the filters that the broker refused (BROKERS.md P3).
type refusedError struct{ filters []string }

func (e refusedError) Error() string {
	quoted := make([]string, len(e.filters))
	for i, f := range e.filters {
		quoted[i] = fmt.Sprintf("%q", f)
	}
	return "broker refused " + strings.Join(quoted, ", ")
}

// Subscribe receives messages that match the filters, now and after every reconnect. Handlers of one client are called one
// at a time, in the order of arrival, and may call Publish, Keep, Send and Subscribe. While there is a connection it waits for
// the SUBACK and returns an error that names the filters that the broker refused (BROKERS.md P3); then, or when ctx ends first,
// it has subscribed to nothing. Without a connection, or if that is lost meanwhile, it returns nil and subscribes as soon as
// there is one. A refusal on a later reconnect is logged and reported to OnDown.
//
// Up to 4,096 messages and 8 MiB wait for the handlers; when those are too slow, what arrives is dropped, counted (Missed) and
// logged, although the broker has got its acknowledgement. Another subscription to the same messages makes the broker send its
// retained ones again, to every handler that matches.
func (c *Client) Subscribe(ctx context.Context, qos byte, handler func(Message), filters ...string) error {
	if handler == nil || len(filters) == 0 {
		return errors.New("subscribe: want a handler and a filter")
	}
	if qos > 1 {
		return fmt.Errorf("subscribe: QoS is %d, want 0 or 1", qos)
	}
	for _, f := range filters {
		if err := checkFilter(f); err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
	}
	sub := &subscription{filters: slices.Clone(filters), qos: qos, handler: handler, direct: c.cfg.Direct}
	err := c.add(ctx, sub)
	if errors.Is(err, ErrLost) || errors.Is(err, ErrNotConnected) {
		return nil
	}
	return err
}

// Unsubscribe ends the subscriptions that were made for this filter alone. It does not wait: a message that is on its way
// may still reach the handler.
func (c *Client) Unsubscribe(filter string) {
	for _, s := range *c.subs.Load() {
		if !s.direct && len(s.filters) == 1 && s.filters[0] == filter {
			c.leave(s)
		}
	}
}

// Request publishes m, waits for the first message on the topic reply for which match returns true (nil for any), and returns
// it. It subscribes before it publishes, and needs a connection. If that is lost after m was acknowledged it goes on waiting,
// since the answer may come after the reconnect. match is called on the receiving path, beside the handlers: it must be quick.
// So a handler may call Request.
func (c *Client) Request(ctx context.Context, m Message, reply string, match func(Message) bool) (Message, error) {
	if err := checkFilter(reply); err != nil {
		return Message{}, fmt.Errorf("request: %w", err)
	}
	got := make(chan Message, 1)
	sub := &subscription{filters: []string{reply}, qos: 1, direct: true, handler: func(m Message) {
		if match != nil && !match(m) {
			return
		}
		select {
		case got <- m:
		default: // only the first counts
		}
	}}
	if err := c.add(ctx, sub); err != nil {
		c.remove(sub)
		return Message{}, err
	}
	defer c.leave(sub)
	if err := c.Publish(ctx, m); err != nil {
		return Message{}, err
	}
	select {
	case answer := <-got:
		return answer, nil
	case <-c.stopped:
		return Message{}, fmt.Errorf("wait for an answer on %q: %w", reply, ErrStopped)
	case <-ctx.Done():
		return Message{}, fmt.Errorf("wait for an answer on %q: %w", reply, ctx.Err())
	}
}

// add registers sub and, on a connection, waits for the SUBACK. After ErrLost and ErrNotConnected sub is registered and will
// be subscribed to later; after any other error it is not.
func (c *Client) add(ctx context.Context, sub *subscription) error {
	release, err := c.hold(ctx)
	if err != nil {
		return fmt.Errorf("subscribe to %q: %w", sub.filters, err)
	}
	defer release()
	s := c.register(sub)
	if s == nil {
		return fmt.Errorf("subscribe to %q: %w", sub.filters, ErrNotConnected)
	}
	err = s.subscribe(ctx, c.wanted(sub.filters))
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrLost) && !errors.Is(err, ErrNotConnected) {
		c.leave(sub)
	}
	return fmt.Errorf("subscribe: %w", err)
}

// hold waits for the right to send SUBSCRIBE and UNSUBSCRIBE, so that they reach the broker in the order of the registry.
func (c *Client) hold(ctx context.Context) (release func(), err error) {
	select {
	case c.wire <- struct{}{}:
		return func() { <-c.wire }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// register adds sub and returns the connection that it has to be subscribed on, if any.
func (c *Client) register(sub *subscription) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	subs := append(slices.Clone(*c.subs.Load()), sub)
	c.subs.Store(&subs)
	return c.cur
}

func (c *Client) remove(sub *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	subs := slices.DeleteFunc(slices.Clone(*c.subs.Load()), func(s *subscription) bool { return s == sub })
	c.subs.Store(&subs)
}

// leave removes sub and, in the background, unsubscribes from what nobody else wants.
func (c *Client) leave(sub *subscription) {
	c.remove(sub)
	c.spawn(func() {
		ctx, cancel := context.WithTimeout(context.Background(), ackTimeout)
		defer cancel()
		release, err := c.hold(ctx)
		if err != nil {
			return
		}
		defer release()
		wanted := c.wanted(nil)
		unwanted := slices.DeleteFunc(slices.Clone(sub.filters), func(f string) bool { _, ok := wanted[f]; return ok })
		s, err := c.session()
		if err != nil || len(unwanted) == 0 {
			return
		}
		if _, err := s.do(ctx, func() paho.Token { return s.cli.Unsubscribe(unwanted...) }); err != nil {
			c.log.Debug("unsubscribe", "topics", unwanted, "err", err) // harmless: what comes finds no handler
		}
	})
}

// wanted returns the highest QoS that any subscription wants of each of the filters, of all for nil.
func (c *Client) wanted(filters []string) map[string]byte {
	all := make(map[string]byte)
	for _, s := range *c.subs.Load() {
		for _, f := range s.filters {
			if filters == nil || slices.Contains(filters, f) {
				all[f] = max(all[f], s.qos)
			}
		}
	}
	return all
}

// subscribe sends SUBSCRIBE and checks the codes in SUBACK, which may take ackTimeout.
func (s *session) subscribe(ctx context.Context, filters map[string]byte) error {
	ctx, cancel := context.WithTimeoutCause(ctx, ackTimeout, errNoSuback)
	defer cancel()
	var bad []string
	part := make(map[string]byte)
	flush := func() error {
		if len(part) == 0 {
			return nil
		}
		ask := part
		part = make(map[string]byte)
		tok, err := s.do(ctx, func() paho.Token { return s.cli.SubscribeMultiple(ask, nil) })
		if errors.Is(err, context.DeadlineExceeded) {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		codes := tok.(*paho.SubscribeToken).Result()
		for f := range ask {
			if code, ok := codes[f]; !ok || code >= refused {
				bad = append(bad, f)
			}
		}
		return nil
	}
	for f, qos := range filters {
		if part[f] = qos; len(part) == filtersPerPacket {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if len(bad) > 0 {
		slices.Sort(bad)
		return refusedError{bad}
	}
	return nil
}
