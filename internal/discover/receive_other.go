//go:build !linux

package discover

import (
	"net"
	"time"

	"rollcall/reports"
)

// atATime is how many datagrams a host reads with one system call.
const atATime = 1

// receiver is the socket of a host that serves. It reads datagrams one at a time.
type receiver struct {
	conn  *net.UDPConn
	until time.Time
	last  datagram
	bytes [reports.MaxRequest + 1]byte
	oob   [128]byte
}

func newReceiver(conn *net.UDPConn) (*receiver, error) { return &receiver{conn: conn}, nil }

// close ends a read that waits, and all later ones.
func (r *receiver) close() error { return r.conn.Close() }

// sender returns what sends by this socket.
func (r *receiver) sender() *sender { return &sender{conn: r.conn} }

// join joins the IPv6 group on an interface.
func (r *receiver) join(index int) error { return joining(r.conn)(index) }

// read waits until there is a datagram, or until the time until if that is not zero.
func (r *receiver) read(until time.Time) (int, error) {
	if until != r.until {
		r.until = until
		_ = r.conn.SetReadDeadline(until) // only a closed socket refuses; the read will see
	}
	n, on, _, src, err := r.conn.ReadMsgUDPAddrPort(r.bytes[:], r.oob[:])
	if err != nil {
		return 0, err
	}
	r.last = datagram{b: r.bytes[:n], oob: r.oob[:on], src: src}
	return 1, nil
}

// gather does nothing: the poller is woken for each datagram, whether somebody reads or not.
func (*receiver) gather(time.Time, time.Duration) {}

// datagram returns the one that read has read; its bytes are good until the next read.
func (r *receiver) datagram(int) (datagram, error) { return r.last, nil }
