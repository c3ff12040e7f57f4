package discover

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rollcall/reports"
)

// atATime is how many datagrams a host reads with one system call. What costs it most of a datagram is to be woken and to ask the
// kernel for it, and a round of a sweep is several that come together.
const atATime = 32

// receiver reads the datagrams of a socket, as many as are there at once. It is for one goroutine.
type receiver struct {
	raw      syscall.RawConn
	messages [atATime]message
	vectors  [atATime]unix.Iovec
	sources  [atATime]unix.RawSockaddrInet6 // of either family
	control  [atATime][128]byte
	bytes    [atATime][reports.MaxRequest + 1]byte
	n        int
	err      error
	do       func(fd uintptr) bool
}

// message is struct mmsghdr of recvmmsg(2).
type message struct {
	header unix.Msghdr
	size   uint32
}

func newReceiver(conn *net.UDPConn) (*receiver, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &receiver{raw: raw}
	for i := range r.messages {
		h := &r.messages[i].header
		r.vectors[i].Base = &r.bytes[i][0]
		r.vectors[i].SetLen(len(r.bytes[i]))
		h.Iov, h.Name, h.Control = &r.vectors[i], (*byte)(unsafe.Pointer(&r.sources[i])), &r.control[i][0]
		h.SetIovlen(1)
	}
	r.do = func(fd uintptr) bool {
		for {
			n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.messages)), atATime, unix.MSG_DONTWAIT, 0, 0)
			switch errno {
			case 0:
				r.n, r.err = int(n), nil
				return true
			case unix.EINTR:
			case unix.EAGAIN:
				return false
			default:
				r.err = errno
				return true
			}
		}
	}
	return r, nil
}

// read waits until there are datagrams, and returns how many it has read.
func (r *receiver) read() (int, error) {
	for i := range r.messages {
		h := &r.messages[i].header
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(len(r.control[i]))
	}
	r.n, r.err = 0, nil
	if err := r.raw.Read(r.do); err != nil {
		return 0, err
	}
	return r.n, r.err
}

// datagram returns one of those that read has read; its bytes are good until the next read.
func (r *receiver) datagram(i int) (d datagram, err error) {
	m := &r.messages[i]
	d.b, d.oob = r.bytes[i][:m.size], r.control[i][:m.header.Controllen]
	switch a := &r.sources[i]; a.Family {
	case unix.AF_INET:
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
		d.src = netip.AddrPortFrom(netip.AddrFrom4(four.Addr), port(&four.Port))
	case unix.AF_INET6:
		addr := netip.AddrFrom16(a.Addr)
		if a.Scope_id != 0 && !addr.Is4In6() {
			addr = addr.WithZone(strconv.Itoa(int(a.Scope_id)))
		}
		d.src = netip.AddrPortFrom(addr, port(&a.Port))
	default:
		return d, errors.New("datagram is from an address of another family")
	}
	return d, nil
}

// port returns the port number that stands in network order.
func port(p *uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(p))
	return uint16(b[0])<<8 | uint16(b[1])
}
