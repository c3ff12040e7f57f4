package discover

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// network is what the discovery socket listens on: IPv4 and IPv6.
const network = "udp"

// pinned says that a datagram can be told which interface to leave by.
const pinned = true

// forceBuffers goes beyond net.core.rmem_max, which needs CAP_NET_ADMIN.
func forceBuffers(conn *net.UDPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer)
	})
}

// sender sends without ever waiting: replies to addresses that nobody has stay in the socket's buffer until the kernel gives
// up on ARP, and a reader that waits for room there answers nobody. It is for one goroutine.
type sender struct {
	raw    syscall.RawConn
	six    bool
	to4    unix.SockaddrInet4
	to6    unix.SockaddrInet6
	to     unix.Sockaddr
	b, oob []byte
	err    error
	do     func(fd uintptr) bool
}

func newSender(conn *net.UDPConn) (*sender, error) {
	raw, err := conn.SyscallConn()
	return senderOn(raw, isSix(conn)), err
}

// senderOn returns what sends by a socket, which is an IPv6 one if six.
func senderOn(raw syscall.RawConn, six bool) *sender {
	s := &sender{raw: raw, six: six}
	s.do = func(fd uintptr) bool {
		tellErrors(int(fd), s.six, true)
		defer tellErrors(int(fd), s.six, false)
		for {
			_, s.err = unix.SendmsgN(int(fd), s.b, s.oob, s.to, unix.MSG_DONTWAIT)
			if !errors.Is(s.err, unix.EINTR) && !others(s.err) {
				return true
			}
		}
	}
	return s
}

// by has it send by the socket of r from now on.
func (s *sender) by(r *receiver) { s.raw = r.raw }

// tellErrors has the kernel say, while it is on, that a datagram was dropped because the table of neighbours or the queue of
// the interface was full; else it does not. It is on while something is sent and no longer, because it has the errors of others
// queued up too: those that came meanwhile are forgotten, else the next datagram would not be sent for them.
func tellErrors(fd int, six, on bool) {
	value := 0
	if on {
		value = 1
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVERR, value) // without it, drops are silent as they always were
	if six {
		_ = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVERR, value)
	}
	if !on {
		_, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR) // which clears it
	}
}

// others reports whether a datagram was not sent because of what became of another one.
func others(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }

// noting runs send, which sends on conn, with tellErrors.
func noting(conn *net.UDPConn, six bool, send func() error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	tell := func(on bool) { _ = raw.Control(func(fd uintptr) { tellErrors(int(fd), six, on) }) } // see tellErrors
	tell(true)
	defer tell(false)
	err = send()
	for range 2 {
		if others(err) {
			err = send()
		}
	}
	return err
}

func (s *sender) send(b, oob []byte, to netip.AddrPort) error {
	if s.six {
		s.to6 = unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()} // the interface is in oob
		s.to = &s.to6
	} else {
		s.to4 = unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
		s.to = &s.to4
	}
	s.b, s.oob = b, oob
	if err := s.raw.Write(s.do); err != nil {
		return err
	}
	return s.err
}
