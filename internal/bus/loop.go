package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	firstDelay = 100 * time.Millisecond
	maxDelay   = 5 * time.Second
)

// Run connects and keeps the connection until ctx ends, then sends what is queued, publishes Last (a second for both), disconnects
// and returns nil. If the broker does not acknowledge Last it cuts the connection instead, so that the broker publishes the last will.
// Losing the broker is not an error: Run tries again, with jitter, after 100 ms at first and 5 s at most. It runs once.
func (c *Client) Run(ctx context.Context) error {
	if !c.begin() {
		return errors.New("run MQTT client: it was run before")
	}
	stop, handled := make(chan struct{}), make(chan struct{})
	go func() { // ended and waited for below
		defer close(handled)
		c.handle(stop)
	}()
	l := loop{c: c}
	for ctx.Err() == nil {
		s, err := c.connect(ctx)
		if err == nil {
			err = l.serve(ctx, s)
		}
		if ctx.Err() != nil {
			break
		}
		l.failed(err)
		if c.cfg.once {
			break
		}
		pause(ctx, delay(l.failures))
	}
	close(stop)
	c.end()
	<-handled
	return nil
}

// loop is what Run remembers from one connection to the next.
type loop struct {
	c        *Client
	failures int  // in a row, up to a connection that lasted
	short    bool // the last connection did not last
}

// serve uses a connection until it is lost, and returns why, or until ctx ends.
func (l *loop) serve(ctx context.Context, s *session) error {
	c := l.c
	if err := c.adopt(ctx, s); err != nil {
		s.abort()
		return err
	}
	l.connected()
	if c.cfg.OnUp != nil {
		c.cfg.OnUp()
	}
	c.out.attach(s)
	c.spawn(func() { c.sendAll(s) })
	c.spawn(func() { c.settleAll(s) })
	stable := time.NewTimer(stableAfter)
	defer stable.Stop()
	for {
		select {
		case <-ctx.Done():
			c.shutdown(s)
			return nil
		case <-stable.C:
			l.lasted()
		case <-s.down:
			return l.lost(s)
		}
	}
}

// adopt makes s the connection and brings its subscriptions back.
func (c *Client) adopt(ctx context.Context, s *session) error {
	release, err := c.hold(ctx) // who holds it on a lost connection is about to release it
	if err != nil {
		return err
	}
	defer release()
	if !c.use(s) {
		return s.lost()
	}
	var no refusedError
	c.mark(s)
	switch err := s.subscribe(ctx, c.wanted(nil)); {
	case errors.As(err, &no):
		c.log.Warn("broker refused a subscription", "topics", no.filters)
		if c.cfg.OnDown != nil {
			c.cfg.OnDown(fmt.Errorf("subscribe: %w", err))
		}
	case err != nil:
		return fmt.Errorf("subscribe again: %w", err)
	}
	c.tell(s, no)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cur != s {
		return s.lost()
	}
	c.ready = true
	c.out.admit()
	close(c.up)
	return nil
}

// use makes s the connection, unless it has ended.
func (c *Client) use(s *session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-s.down:
		return false
	default:
	}
	c.cur = s
	return true
}

// drop forgets the connection s; mu is held.
func (c *Client) drop(s *session, err error) {
	if c.cur != s {
		return
	}
	c.cur, c.why = nil, err
	if c.ready {
		c.ready = false
		c.up = make(chan struct{})
	}
}

// lost takes leave of a connection that has ended and returns why it did, naming the topic that may be the reason (M8).
func (l *loop) lost(s *session) error {
	c := l.c
	topic, sure := s.conn.suspect()
	err := s.err
	if err == nil {
		err = errCut
	}
	culprit := ""
	if sure && errors.Is(err, errClosed) {
		culprit = topic
	}
	if c.out.detach(culprit, !l.short) {
		c.log.Error("message is given up: the broker closes the connection for it", "topic", topic)
	}
	c.sayDropped()
	switch {
	case sure:
		return fmt.Errorf("connection to %s lost: %w, with %q unacknowledged", c.at.url, err, topic)
	case topic != "" && errors.Is(err, errClosed):
		return fmt.Errorf("connection to %s lost: %w; last published on %q", c.at.url, err, topic)
	}
	return fmt.Errorf("connection to %s lost: %w", c.at.url, err)
}

// shutdown ends a connection cleanly.
func (c *Client) shutdown(s *session) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	drain, cancelDrain := context.WithTimeout(ctx, stopTimeout/2)
	defer cancelDrain()
	c.out.drain(drain, s)
	var err error
	for _, m := range c.last() {
		err = errors.Join(err, s.publish(ctx, m))
	}
	c.out.detach("", false) // nobody gives paho more: it may hold up who does while it ends
	c.mu.Lock()
	c.drop(s, nil)
	c.mu.Unlock()
	if err != nil {
		c.log.Warn("last messages were not acknowledged", "err", err)
		s.abort()
	} else {
		s.close()
	}
	c.log.Info("disconnected from the broker")
}

// last returns what is published on a clean stop.
func (c *Client) last() (out []Message) {
	if c.cfg.Stops != nil {
		for _, m := range c.cfg.Stops() {
			if m.check() == nil {
				out = append(out, m)
			}
		}
	}
	return append(out, c.cfg.Last...)
}

// connected logs a connection; during a row of short ones only for who debugs.
func (l *loop) connected() {
	if l.short {
		l.c.log.Debug("connected to the broker again")
		return
	}
	l.c.log.Info("connected to the broker")
	l.short = true // until it has lasted
}

// lasted ends a row of failures.
func (l *loop) lasted() {
	if l.failures > 1 {
		l.c.log.Info("connection to the broker lasts")
	}
	l.failures, l.short = 0, false
}

// failed logs the first failure of a row as a warning, and reports every one.
func (l *loop) failed(err error) {
	c := l.c
	c.mu.Lock()
	c.why = err
	c.mu.Unlock()
	if l.failures++; l.failures == 1 {
		c.log.Warn("no connection to the broker, trying again", "err", err)
	} else {
		c.log.Debug("still no connection to the broker", "err", err, "attempts", l.failures)
	}
	if c.cfg.OnDown != nil {
		c.cfg.OnDown(err)
	}
}

// delay returns how long to wait after the n-th failure in a row: half to all of 100 ms, doubled each time up to 5 s.
func delay(n int) time.Duration {
	d := maxDelay
	if n < 7 { // 100 ms << 6 is more than 5 s
		d = min(d, firstDelay<<max(n-1, 0))
	}
	return d/2 + rand.N(d/2)
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// begin reports whether Run may run.
func (c *Client) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.started
	c.started = true
	return first
}

// end refuses new work and waits for what is being done.
func (c *Client) end() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.work.Wait()
	close(c.stopped)
}

// spawn runs f on a goroutine that Run waits for; false after the end of Run.
func (c *Client) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.work.Go(f)
	return true
}

// session returns the present connection.
func (c *Client) session() (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.cur != nil:
		return c.cur, nil
	case c.ended:
		return nil, ErrStopped
	case c.why != nil:
		return nil, fmt.Errorf("%w: %w", ErrNotConnected, c.why)
	}
	return nil, ErrNotConnected
}

// unreachable wraps err with the reason of the last failure.
func (c *Client) unreachable(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why == nil {
		return fmt.Errorf("wait for broker %s: %w", c.at.url, err)
	}
	return fmt.Errorf("wait for broker %s: %w: %w", c.at.url, err, c.why)
}
