package discover

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rollcall/reports"
)

// atATime is how many datagrams a host reads with one system call. What costs it most of a datagram is to be woken and to ask the
// kernel for it, and a round of a sweep is several that come together.
const atATime = 32

// For how long a host that is flooded lets datagrams gather at least: more as long as the socket has plenty of room for them.
const gatherLeast = 250 * time.Microsecond

// yieldAfter is for how long a host that is flooded does not give way to other goroutines: to do so wakes another thread, and Go's runtime
// looks after who has not for 10 ms (forcePreemptNS of its proc.go).
const yieldAfter = 8 * time.Millisecond

// receiver is the socket of a host that serves, taken out of the hands of package net: what Go's poller watches wakes a thread for
// each datagram, whether somebody reads or not, and costs a flooded host more than all else together. It reads the datagrams as
// many as are there at once. But for close, control and sender it is for one goroutine.
type receiver struct {
	file     *os.File // which is in blocking mode, so that the poller does not watch it
	raw      syscall.RawConn
	six      bool
	messages [atATime]message
	vectors  [atATime]unix.Iovec
	sources  [atATime]unix.RawSockaddrInet6 // of either family
	control  [atATime][128]byte
	bytes    [atATime][reports.MaxRequest + 1]byte
	more     bool // there may be some that need no waiting for
	n        int
	err      error
	do       func(fd uintptr)
	span     time.Duration // to gather for
	awake    time.Duration // for which it has gathered since it gave way to others

	// What a read waits for: an epoll instance that watches the socket, of which it tells once and no more until it is asked again, and a timer.
	ready  *os.File
	told   syscall.RawConn
	look   func(ep uintptr) bool
	forget func(fd uintptr)
	fd     int // the socket
	armed  bool
	events [2]unix.EpollEvent
	timer  *os.File
	clock  syscall.RawConn
	spec   unix.ItimerSpec
	set    func(fd uintptr)
	until  time.Time // for which the timer is set; zero: it is not
	rang   bool
}

// ofTimer is what the epoll instance says of the timer, and not of the socket.
const ofTimer = 1

// message is struct mmsghdr of recvmmsg(2).
type message struct {
	header unix.Msghdr
	size   uint32
}

// newReceiver takes the socket over from conn, which it closes.
func newReceiver(conn *net.UDPConn) (*receiver, error) {
	file, err := detach(conn)
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	r := &receiver{file: file, raw: raw, six: isSix(conn), span: gatherLeast}
	for i := range r.messages {
		h := &r.messages[i].header
		r.vectors[i].Base = &r.bytes[i][0]
		r.vectors[i].SetLen(len(r.bytes[i]))
		h.Iov, h.Name, h.Control = &r.vectors[i], (*byte)(unsafe.Pointer(&r.sources[i])), &r.control[i][0]
		h.SetIovlen(1)
	}
	r.do = r.receive
	if err := r.watch(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return r, nil
}

// detach returns the socket of conn, in blocking mode, and closes conn.
func detach(conn *net.UDPConn) (*os.File, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	cerr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(cerr, err); err == nil {
		err = conn.Close() // which takes it out of the poller
	}
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd) // nothing was to be kept
		}
		return nil, fmt.Errorf("take over the socket: %w", err)
	}
	return os.NewFile(uintptr(fd), "discovery socket"), nil
}

// close ends a read that waits, and all later ones with net.ErrClosed.
func (r *receiver) close() error {
	return errors.Join(r.ready.Close(), r.timer.Close(), r.file.Close())
}

// sender returns what sends by this socket.
func (r *receiver) sender() *sender { return senderOn(r.raw, r.six) }

// join joins the IPv6 group on an interface.
func (r *receiver) join(index int) (err error) {
	m := unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(index)}
	cerr := r.raw.Control(func(fd uintptr) { err = unix.SetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &m) })
	return errors.Join(cerr, err)
}

// read waits until there are datagrams, and returns how many it has read; that may be none. A read that has waited until the time
// until, if that is not zero, fails with os.ErrDeadlineExceeded.
func (r *receiver) read(until time.Time) (int, error) {
	for i := range r.messages {
		h := &r.messages[i].header
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(len(r.control[i]))
	}
	if !r.more {
		if err := r.wait(until); err != nil {
			return 0, err
		}
	}
	r.n, r.err = 0, nil
	if r.raw.Control(r.do) != nil {
		return 0, net.ErrClosed
	}
	return r.n, r.err
}

// receive is what read does with the socket. As all system calls on the way from a request to its reply it is a raw one, which never waits:
// at the first of the others in a program that has slept, Go's runtime has a thread woken that looks after those that wait (sysmon of its
// proc.go), every 20 µs for as long as the program is awake. In a hundred hosts at once that was a fifth of what they did.
func (r *receiver) receive(fd uintptr) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.messages)), atATime, unix.MSG_DONTWAIT, 0, 0)
	r.more = errno != unix.EAGAIN
	switch errno {
	case 0:
		r.n, r.more = int(n), n == atATime
	case unix.EINTR, unix.EAGAIN:
	default:
		r.err = errno
	}
}

// watch has an epoll instance of its own watch the socket and a timer, and Go's poller watch that. The timer is the kernel's: to set one of
// Go's has its runtime wake another thread to wait for it, and a host sets one for each sweep.
func (r *receiver) watch() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("watch the socket: %w", err)
		}
	}()
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	if err != nil {
		_ = unix.Close(ep) // nothing was to be kept
		return err
	}
	r.timer = os.NewFile(uintptr(timer), "timer of the discovery socket")
	cerr := r.raw.Control(func(fd uintptr) {
		r.fd = int(fd)
		err = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, r.fd, &unix.EpollEvent{})
	})
	err = errors.Join(cerr, err, unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, timer, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: ofTimer}),
		unix.SetNonblock(ep, true))
	if err != nil {
		_ = unix.Close(ep) // likewise
		return errors.Join(err, r.timer.Close())
	}
	r.ready = os.NewFile(uintptr(ep), "watch of the discovery socket")
	r.told, err = r.ready.SyscallConn()
	if err == nil {
		r.clock, err = r.timer.SyscallConn()
	}
	r.look = r.happened
	r.forget = func(fd uintptr) { tellErrors(fd, r.six, false) }
	r.set = func(fd uintptr) {
		unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&r.spec)), 0, 0, 0)
	}
	return err
}

// wait waits for a datagram. That it returns does not mean that there is one.
func (r *receiver) wait(until time.Time) error {
	if until != r.until {
		r.until = until
		r.spec = unix.ItimerSpec{} // none
		if !until.IsZero() {
			r.spec.Value = unix.NsecToTimespec(max(1, int64(time.Until(until))))
		}
		_ = r.clock.Control(r.set) // only a closed one refuses, which is seen below
	}
	if r.told.Read(r.look) != nil {
		return net.ErrClosed
	}
	rang := r.rang
	if r.rang = false; rang && r.armed {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// happened reports whether a datagram has come since the last one that was waited for, or the timer has rung.
func (r *receiver) happened(ep uintptr) bool {
	if !r.armed {
		r.events[0] = unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT}
		_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, ep, unix.EPOLL_CTL_MOD, uintptr(r.fd), uintptr(unsafe.Pointer(&r.events)), 0, 0)
		r.armed = errno == 0
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, ep, uintptr(unsafe.Pointer(&r.events)), uintptr(len(r.events)), 0, 0, 0)
	if errno != 0 {
		r.armed = false
		return true
	}
	for _, e := range r.events[:n] {
		if e.Fd == ofTimer {
			r.rang, r.until = true, time.Time{}
			continue
		}
		if r.armed = false; e.Events&unix.EPOLLERR != 0 {
			_ = r.raw.Control(r.forget) // an error that came in between the two of tellErrors: it is told of for as long as it is there
		}
	}
	return r.rang || !r.armed
}

// gather lets datagrams gather, for so long at most, and until the time until if that is not zero: a thread that is woken a few hundred
// times a second instead of for each of 50,000 datagrams costs a third. The more of the socket's room was taken when it ended, the shorter
// it is the next time.
func (r *receiver) gather(until time.Time, most time.Duration) {
	span := min(r.span, most)
	if !until.IsZero() {
		span = min(span, time.Until(until))
	}
	if span <= 0 {
		return
	}
	if r.awake += span; r.awake >= yieldAfter {
		r.awake = 0
		runtime.Gosched() // who runs on and on has the runtime look after it every 20 µs, which costs more than all that comes
	}
	t := unix.NsecToTimespec(int64(span))
	_ = unix.Nanosleep(&t, nil) // shorter if a signal comes
	switch s := memInfoOf(r.raw); {
	case s.queued > s.buffer/4:
		r.span = max(span/2, gatherLeast)
	case s.queued < s.buffer/8 && span == min(r.span, most):
		r.span = min(2*span, most)
	}
	r.more = true
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
