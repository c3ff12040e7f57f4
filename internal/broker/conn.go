package broker

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
)

const (
	quickWrite = 2 * time.Millisecond // for a write that others may be waiting for
	writeChunk = 32 << 10
	maxPending = 1 << 20 // bytes that a slow client is behind before others wait for it
)

// patience says how long a client may take.
type patience struct {
	connect time.Duration // from the connection to CONNECT
	write   time.Duration // to take writeChunk
	stall   time.Duration // the same while somebody waits for it
	large   time.Duration // to send a large packet
}

func defaultPatience() patience {
	return patience{connect: 5 * time.Second, write: 5 * time.Second, stall: 2 * time.Second, large: 10 * time.Second}
}

// conn is a connection as mochi sees it. Its upper fields belong to the goroutine that serves it; others may read them once
// the client is known to the broker.
type conn struct {
	net.Conn
	patience
	addr      netip.AddrPort
	peer      Peer
	tls       *tls.Conn // nil: without TLS
	identify  func(tls.ConnectionState) string
	identity  atomic.Pointer[string] // for other goroutines
	looking   bool                   // holds retained.index, while mochi works off a subscription
	refused   bool                   // the publish that is worked off is to be answered with a refusal
	client    *mqtt.Client           // set when the session is established
	will      mqtt.Will              // Flag says that there is one
	clean     bool                   // DISCONNECT has been received
	keepAlive time.Duration          // 0: for ever
	release   func()                 // lets go of the client ID, see sessions
	alias     alias                  // of the packet that is being worked off
	done      chan struct{}
	frames    frames
	readErr   error         // what came cannot be read on
	slots     chan struct{} // for large packets, shared with others
	hasSlot   bool          // for one

	closing   chan struct{} // closed by Close
	closeOnce sync.Once

	mu       sync.Mutex
	pending  []byte // written by mochi, but not yet to the socket
	flushing bool
	err      error
	room     sync.Cond    // pending has become shorter
	waiters  atomic.Int32 // for room
	flushers sync.WaitGroup
}

func newConn(raw net.Conn, p patience) *conn {
	c := &conn{Conn: raw, patience: p, release: func() {}, done: make(chan struct{}), closing: make(chan struct{})}
	c.room.L = &c.mu
	c.tls, _ = raw.(*tls.Conn)
	if a, ok := raw.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		c.addr = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	c.peer.Addr = c.addr
	if a, ok := raw.LocalAddr().(*net.TCPAddr); ok {
		c.peer.Local = a.AddrPort()
	}
	_ = raw.SetReadDeadline(time.Now().Add(p.connect)) // fails only on a closed connection, as the next Read will
	return c
}

// Close closes the connection, whoever reads, writes or waits.
func (c *conn) Close() error {
	c.closeOnce.Do(func() { close(c.closing) })
	if c.tls != nil {
		return c.tls.NetConn().Close() // without the goodbye of TLS, which would wait for whoever does not read
	}
	return c.Conn.Close()
}

// SetDeadline is what mochi calls for the keep alive; its t is too early for short and very long ones. Only reads wait for
// the client; writes have their own limits.
func (c *conn) SetDeadline(time.Time) error {
	if c.keepAlive == 0 {
		return c.SetReadDeadline(time.Time{})
	}
	return c.SetReadDeadline(time.Now().Add(c.keepAlive + c.keepAlive/2))
}

// Write gives p to the socket, or keeps it for a while if the client does not take it at once: mochi holds the client's lock
// meanwhile, which stalls everybody who publishes to it. It waits when maxPending is reached. A client that takes nothing
// for 5 s, or for 2 s while others wait, loses the connection.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := p
	quick := quickWrite
	if c.tls != nil { // TLS can't go on after a write that was cut short
		quick = c.write
	}
	if !c.flushing && c.err == nil && (c.tls == nil || c.client == nil) { // until there is a client nobody else waits
		n, err := c.writeWithin(p, quick)
		if err == nil {
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			c.fail(err)
		}
		rest = p[n:]
	}
	if c.full(rest) {
		c.waiters.Add(1)
		_ = c.SetWriteDeadline(time.Now().Add(c.stall)) // of the write that is going on
		for c.full(rest) {
			c.room.Wait()
		}
		c.waiters.Add(-1)
	}
	if c.err != nil {
		return 0, c.err
	}
	c.pending = append(c.pending, rest...)
	if !c.flushing {
		c.flushing = true
		c.flushers.Go(c.flush)
	}
	return len(p), nil
}

// full reports whether p has to wait.
func (c *conn) full(p []byte) bool {
	return c.err == nil && len(c.pending) > 0 && len(c.pending)+len(p) > maxPending
}

// flush writes what is pending and ends when nothing is left or the connection is gone.
func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.pending) > 0 && c.err == nil {
		out := c.pending
		c.pending = nil
		c.mu.Unlock()
		var err error
		for len(out) > 0 && err == nil {
			n, d := min(len(out), writeChunk), c.write
			if c.waiters.Load() > 0 {
				d = c.stall
			}
			_, err = c.writeWithin(out[:n], d)
			out = out[n:]
		}
		c.mu.Lock()
		if err != nil {
			c.fail(err)
		}
		c.room.Broadcast()
	}
	c.flushing = false
}

func (c *conn) writeWithin(p []byte, d time.Duration) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(d)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// fail ends the connection: a frame may have been cut in two, after which nothing makes sense. c.mu is held.
func (c *conn) fail(err error) {
	c.err = err
	_ = c.Close()
}
