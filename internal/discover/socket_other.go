//go:build !linux

package discover

import (
	"net"
	"net/netip"
)

// network is what the discovery socket listens on: IPv4. On other systems one socket for both does not take broadcasts.
const network = "udp4"

// pinned says that a datagram can be told which interface to leave by.
const pinned = false

// forceBuffers does nothing: only Linux can go beyond its limit.
func forceBuffers(*net.UDPConn) {}

// noting runs send.
func noting(_ *net.UDPConn, _ bool, send func() error) error { return send() }

// sender sends replies.
type sender struct {
	conn *net.UDPConn
	sure bool // means nothing here
}

func newSender(conn *net.UDPConn) (*sender, error) { return &sender{conn: conn}, nil }

// by has it send by the socket of r from now on.
func (s *sender) by(r *receiver) { s.conn = r.conn }

func (s *sender) send(b, oob []byte, to netip.AddrPort) error {
	_, _, err := s.conn.WriteMsgUDPAddrPort(b, oob, to)
	return err
}
