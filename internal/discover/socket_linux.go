package discover

import (
	"cmp"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

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
// up on ARP, and a reader that waits for room there answers nobody. It is for one goroutine. Its system calls are raw ones (see receive).
type sender struct {
	raw    syscall.RawConn
	six    bool
	sure   bool                  // the next datagram goes to a neighbour who is in the kernel's table: no tellErrors, nor word of a full queue
	to     unix.RawSockaddrInet6 // of either family
	vector unix.Iovec
	header unix.Msghdr
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
	s.header.Name, s.header.Iov = (*byte)(unsafe.Pointer(&s.to)), &s.vector
	s.header.SetIovlen(1)
	s.do = func(fd uintptr) bool {
		if !s.sure {
			tellErrors(fd, s.six, true)
			defer tellErrors(fd, s.six, false)
		}
		for {
			_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&s.header)), unix.MSG_DONTWAIT)
			if s.err = nil; errno != 0 {
				s.err = errno
			}
			if errno != unix.EINTR && !others(s.err) {
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
func tellErrors(fd uintptr, six, on bool) {
	value := uint32(0)
	if on {
		value = 1
	}
	set := func(level, option uintptr) {
		_, _, _ = unix.RawSyscall6(unix.SYS_SETSOCKOPT, fd, level, option, uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value), 0)
	}
	set(unix.SOL_IP, unix.IP_RECVERR) // without it, drops are silent as they always were
	if six {
		set(unix.SOL_IPV6, unix.IPV6_RECVERR)
	}
	if !on {
		size := uint32(unsafe.Sizeof(value))
		_, _, _ = unix.RawSyscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_ERROR, uintptr(unsafe.Pointer(&value)),
			uintptr(unsafe.Pointer(&size)), 0) // which clears it
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
	tell := func(on bool) { _ = raw.Control(func(fd uintptr) { tellErrors(fd, six, on) }) } // see tellErrors
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
	var bigEndian *uint16
	if s.six {
		s.to = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: to.Addr().As16()} // the interface is in oob
		bigEndian, s.header.Namelen = &s.to.Port, unix.SizeofSockaddrInet6
	} else {
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.to))
		*four = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().As4()}
		bigEndian, s.header.Namelen = &four.Port, unix.SizeofSockaddrInet4
	}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(bigEndian))[:], to.Port())
	s.vector.Base, s.header.Control = unsafe.SliceData(b), unsafe.SliceData(oob)
	s.vector.SetLen(len(b))
	s.header.SetControllen(len(oob))
	err := s.raw.Write(s.do)
	s.sure, s.vector.Base, s.header.Control = false, nil, nil
	return cmp.Or(err, s.err)
}
