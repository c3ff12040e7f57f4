//go:build !linux

package discover

import (
	"net"

	"rollcall/reports"
)

// atATime is how many datagrams a host reads with one system call.
const atATime = 1

// receiver reads the datagrams of a socket, one at a time.
type receiver struct {
	conn  *net.UDPConn
	last  datagram
	bytes [reports.MaxRequest + 1]byte
	oob   [128]byte
}

func newReceiver(conn *net.UDPConn) (*receiver, error) { return &receiver{conn: conn}, nil }

// read waits until there is a datagram.
func (r *receiver) read() (int, error) {
	n, on, _, src, err := r.conn.ReadMsgUDPAddrPort(r.bytes[:], r.oob[:])
	if err != nil {
		return 0, err
	}
	r.last = datagram{b: r.bytes[:n], oob: r.oob[:on], src: src}
	return 1, nil
}

// datagram returns the one that read has read; its bytes are good until the next read.
func (r *receiver) datagram(int) (datagram, error) { return r.last, nil }
