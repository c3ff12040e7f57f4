package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

const (
	minAcceptDelay = 5 * time.Millisecond
	maxAcceptDelay = time.Second
	spareConns     = 64 // connections beyond MaxClients that may be on their way to CONNECT or out
	maxFromOne     = 64 // connections of one address that is not trusted, with and without CONNECT
)

// listen opens all addresses or none.
func listen(addrs []string) ([]net.Listener, error) {
	// A peer that has lost its power or network is noticed after a minute, however long its keep alive is.
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}}
	var open []net.Listener
	for _, addr := range addrs {
		l, err := lc.Listen(context.Background(), network(addr), addr)
		if err != nil {
			for _, o := range open {
				_ = o.Close() // the error that counts is the other one
			}
			var op *net.OpError
			if errors.As(err, &op) {
				err = op.Err
			}
			return nil, fmt.Errorf("listen on %q: %w", addr, err)
		}
		open = append(open, l)
	}
	return open, nil
}

// network returns tcp4 for an IPv4 address: with tcp, 0.0.0.0 opens the IPv6 addresses of the machine too.
func network(addr string) string {
	if a, err := netip.ParseAddrPort(addr); err == nil && a.Addr().Is4() {
		return "tcp4"
	}
	return "tcp"
}

// accept serves the connections of a listener until it is closed. Other errors, such as too many open files, pass: it waits
// a little and goes on.
func (b *Broker) accept(ctx context.Context, l net.Listener, guests bool) {
	var delay time.Duration
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			if err == nil {
				_ = c.Close()
			}
			return
		}
		if err != nil {
			delay = min(max(2*delay, minAcceptDelay), maxAcceptDelay)
			if n, ok := b.faults.allow("accept"); ok {
				b.log.Warn("cannot accept connections", "addr", l.Addr(), "err", err, "suppressed", n)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(delay):
			}
			continue
		}
		delay = 0
		b.startOn(c, l, guests)
	}
}

// startOn serves a connection in a goroutine of its own, unless there are too many.
func (b *Broker) startOn(raw net.Conn, l net.Listener, guest bool) {
	wrapped, identify := b.wrap(raw, l)
	c := newConn(wrapped, b.patience)
	c.identify, c.peer.Guest = identify, guest
	b.start(c, l.Addr().String())
}

// start is startOn for a connection that speaks TLS already where it is to.
func (b *Broker) start(c *conn, listener string) {
	other := !b.trusts(c)
	c.slots = b.slots.of(!other)
	why, ok := b.admit(c, other, listener)
	if ok {
		return
	}
	_ = c.Close()
	if why != "" {
		b.turned.Add(1)
		b.logTurned(c, why)
	}
}

// admit serves a connection, or says why there is no room for it; "" means that the broker is closed.
func (b *Broker) admit(c *conn, other bool, listener string) (why string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return "", false
	}
	if why := b.full(c, other); why != "" {
		return why, false
	}
	b.conns[c] = struct{}{}
	if other {
		b.others++
		b.crowd[c.addr.Addr()]++
	}
	b.wg.Go(func() {
		b.serve(c, listener)
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.conns, c)
		if other {
			b.leave(c.addr.Addr())
		}
	})
	return "", true
}

// full says why there is no room for a connection; "" is none. b.mu is held.
func (b *Broker) full(c *conn, other bool) string {
	switch {
	case other && b.crowd[c.addr.Addr()] >= maxFromOne:
		return "too many connections from one address"
	case len(b.conns) >= b.config.MaxClients+spareConns, other && b.others >= b.config.MaxClients-b.config.MaxClients/4:
		return "too many connections"
	}
	return ""
}

// leave counts a connection that is not trusted out. b.mu is held.
func (b *Broker) leave(from netip.Addr) {
	b.others--
	if b.crowd[from]--; b.crowd[from] == 0 {
		delete(b.crowd, from)
	}
}

// logTurned says once a minute that connections are turned away.
func (b *Broker) logTurned(c *conn, why string) {
	if n, ok := b.faults.allow(why); ok {
		b.log.Warn(why, "peer", c.addr, "max", b.config.MaxClients, "max_from_one", maxFromOne, "suppressed", n)
	}
}

// serve serves a connection to its end, whatever that is.
func (b *Broker) serve(c *conn, listener string) {
	defer close(c.done)
	defer func() {
		_ = c.Close()
		c.flushers.Wait()
		c.endLarge()
		c.release()
	}()
	defer b.guard(c, "end of connection")
	defer b.finish(c)
	defer b.guard(c, "connection") // M1: runs before finish, which cleans up after the crash
	if err := b.shake(c); err != nil {
		if n, ok := b.faults.allow("handshake"); ok {
			b.log.Warn("TLS connection refused", "peer", c.addr, "err", err, "suppressed", n)
		}
		return
	}
	if err := b.server.EstablishConnection(listener, c); err != nil {
		b.log.Debug("connection ended", "peer", c.addr, "client", c.peer.ClientID, "err", err)
	}
}
