package broker

import (
	"net"
	"net/netip"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
)

const (
	connectTimeout = 10 * time.Second // from the connection to CONNECT
	writeTimeout   = 5 * time.Second  // for one write to a client
)

// conn is a connection as mochi sees it. Its fields belong to the goroutine that serves it; others may read them once the
// client is known to the broker.
type conn struct {
	net.Conn
	addr    netip.AddrPort
	peer    Peer
	client  *mqtt.Client // set when the session is established
	will    mqtt.Will    // Flag says that there is one
	clean   bool         // DISCONNECT has been received
	release func()       // lets go of the client ID, see sessions
	done    chan struct{}
}

func newConn(raw net.Conn) *conn {
	c := &conn{Conn: raw, release: func() {}, done: make(chan struct{})}
	if a, ok := raw.RemoteAddr().(*net.TCPAddr); ok {
		c.addr = a.AddrPort()
		c.addr = netip.AddrPortFrom(c.addr.Addr().Unmap(), c.addr.Port())
	}
	c.peer.Addr = c.addr
	_ = raw.SetReadDeadline(time.Now().Add(connectTimeout)) // fails only on a closed connection, as the next Read will
	return c
}

// SetDeadline is what mochi calls for the keep alive. Only reads wait for the client; writes have their own limit.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// Write writes p within 5 s or closes the connection: mochi holds the client's lock meanwhile, which stalls everybody who
// publishes to it, and would go on after a part of a frame.
func (c *conn) Write(p []byte) (int, error) {
	err := c.SetWriteDeadline(time.Now().Add(writeTimeout))
	n := 0
	if err == nil {
		n, err = c.Conn.Write(p)
	}
	if err != nil {
		_ = c.Close()
	}
	return n, err
}
