package discover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// netlink is a socket to the kernel's tables of neighbours and routes (rtnetlink(7)), in the network namespace of the thread
// that opened it. It is for one goroutine.
type netlink struct {
	file *os.File
	fd   int
	seq  uint32
	buf  []byte
}

func openNetlink() (*netlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	// The kernel answers within the call that asks; the limit is there so that a surprise can't keep anybody waiting.
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000})
	n := &netlink{file: os.NewFile(uintptr(fd), "netlink"), fd: fd, buf: make([]byte, 32<<10)}
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

func (n *netlink) close() error { return n.file.Close() }

// do sends one message and hands the messages of the answer to each, which may be nil. The error is the kernel's.
func (n *netlink) do(typ, flags uint16, payload []byte, each func(syscall.NetlinkMessage)) error {
	n.seq++
	b := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(payload))
	binary.NativeEndian.PutUint32(b, uint32(cap(b)))
	binary.NativeEndian.PutUint16(b[4:], typ)
	binary.NativeEndian.PutUint16(b[6:], flags|unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(b[8:], n.seq)
	// Who asks for one neighbour waits for nobody, and asks on the way from a request to its reply.
	quick := typ == unix.RTM_GETNEIGH && flags == 0 && lockless()
	if err := n.send(append(b, payload...), quick); err != nil {
		return err
	}
	for {
		size, err := n.receive(quick)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		messages, err := syscall.ParseNetlinkMessage(n.buf[:size])
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.Header.Seq != n.seq {
				continue // of a question that was given up
			}
			if end, err := lastOf(m); end {
				return err
			}
			if each != nil {
				each(m)
			}
			if flags&(unix.NLM_F_DUMP|unix.NLM_F_ACK) == 0 {
				return nil
			}
		}
	}
}

// send hands a message to the kernel, which does what it says within the call: a raw one if it is quick (see receiver.receive).
func (n *netlink) send(b []byte, quick bool) error {
	if !quick {
		return unix.Sendto(n.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	if _, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(n.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// receive reads messages into buf, and returns their size.
func (n *netlink) receive(quick bool) (int, error) {
	if quick {
		size, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(n.fd), uintptr(unsafe.Pointer(&n.buf[0])), uintptr(len(n.buf)), unix.MSG_DONTWAIT, 0, 0)
		if errno == 0 {
			return int(size), nil
		}
	} // a surprise
	size, _, err := unix.Recvfrom(n.fd, n.buf, 0)
	return size, err
}

// lockless reports whether the kernel looks a neighbour up without the lock under which networks are configured (rtnl_mutex): where others
// hold it for a second, whoever waits in a raw system call has everything else of his program wait too. Seen on 6.18, where a lookup takes no
// longer while links come and go by the thousand, which others wait 1.6 ms for; it is not known since when.
var lockless = sync.OnceValue(func() bool {
	var u unix.Utsname
	var major, minor int
	if unix.Uname(&u) != nil {
		return false
	}
	n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor) // others have no version
	return n == 2 && (major > 6 || major == 6 && minor >= 18)
})

// lastOf reports whether a message ends an answer, and with which error.
func lastOf(m syscall.NetlinkMessage) (bool, error) {
	switch m.Header.Type {
	case unix.NLMSG_DONE:
		return true, nil
	case unix.NLMSG_ERROR:
		if len(m.Data) < 4 {
			return true, errors.New("netlink: error message is cut off")
		}
		if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
			return true, syscall.Errno(-code)
		}
		return true, nil
	}
	return false, nil
}

// attribute returns a routing attribute, padded (rtnetlink(3)).
func attribute(typ uint16, value []byte) []byte {
	b := make([]byte, 4, 4+len(value)+3)
	binary.NativeEndian.PutUint16(b, uint16(4+len(value)))
	binary.NativeEndian.PutUint16(b[2:], typ)
	b = append(b, value...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

// ndmsg returns the fixed part of a message about a neighbour (rtnetlink(7)) with its address.
func ndmsg(index int, addr netip.Addr, state uint16) []byte {
	b := make([]byte, 12)
	b[0] = unix.AF_INET6
	if addr.Is4() {
		b[0] = unix.AF_INET
	}
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint16(b[8:], state)
	return append(b, attribute(unix.NDA_DST, addr.AsSlice())...)
}

// neighbour returns what the kernel knows of an address on an interface; ok is false if it has no entry.
func (n *netlink) neighbour(index int, addr netip.Addr) (e neighbour, ok bool, err error) {
	err = n.do(unix.RTM_GETNEIGH, 0, ndmsg(index, addr, 0), func(m syscall.NetlinkMessage) {
		if m.Header.Type != unix.RTM_NEWNEIGH || len(m.Data) < 12 {
			return
		}
		e.state, ok = binary.NativeEndian.Uint16(m.Data[8:]), true
		eachAttribute(m.Data[12:], func(typ uint16, value []byte) {
			if typ == unix.NDA_LLADDR && len(value) == len(e.mac) {
				e.mac = [6]byte(value)
			}
		})
	})
	if errors.Is(err, unix.ENOENT) {
		return neighbour{}, false, nil
	}
	return e, ok, err
}

// install puts a neighbour into the table, as one that was just heard; it ages out by itself. With replace an entry that is
// there is overwritten, without it that is an error.
func (n *netlink) install(index int, addr netip.Addr, mac [6]byte, replace bool) error {
	flags := uint16(unix.NLM_F_ACK | unix.NLM_F_CREATE | unix.NLM_F_EXCL)
	if replace {
		flags = unix.NLM_F_ACK | unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	}
	return n.do(unix.RTM_NEWNEIGH, flags, append(ndmsg(index, addr, nudReachable), attribute(unix.NDA_LLADDR, mac[:])...), nil)
}

// gateways returns the routers that this machine's routes name.
func (n *netlink) gateways() ([]netip.Addr, error) {
	var out []netip.Addr
	add := func(b []byte) {
		if a, ok := netip.AddrFromSlice(b); ok {
			out = append(out, a.Unmap())
		}
	}
	err := n.do(unix.RTM_GETROUTE, unix.NLM_F_DUMP, make([]byte, unix.SizeofRtMsg), func(m syscall.NetlinkMessage) {
		if m.Header.Type == unix.RTM_NEWROUTE && len(m.Data) >= unix.SizeofRtMsg {
			eachGateway(m.Data[unix.SizeofRtMsg:], add)
		}
	})
	return out, err
}

// eachGateway finds the gateways in the attributes of a route, or of one of its next hops.
func eachGateway(b []byte, add func([]byte)) {
	eachAttribute(b, func(typ uint16, value []byte) {
		switch typ {
		case unix.RTA_GATEWAY:
			add(value)
		case unix.RTA_VIA: // family, address: a gateway of another family than the route
			if len(value) > 2 {
				add(value[2:])
			}
		case unix.RTA_MULTIPATH: // struct rtnexthop and attributes, one behind the other
			for len(value) >= unix.SizeofRtNexthop {
				size := int(binary.NativeEndian.Uint16(value))
				if size < unix.SizeofRtNexthop || size > len(value) {
					return
				}
				eachGateway(value[unix.SizeofRtNexthop:size], add)
				value = value[min(len(value), (size+3)&^3):]
			}
		}
	})
}

// eachAttribute walks over routing attributes and stops at one that is cut off.
func eachAttribute(b []byte, f func(typ uint16, value []byte)) {
	for len(b) >= 4 {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			return
		}
		const typeMask = 0x3fff // NLA_TYPE_MASK of linux/netlink.h
		f(binary.NativeEndian.Uint16(b[2:])&typeMask, b[4:size])
		b = b[min(len(b), (size+3)&^3):]
	}
}
