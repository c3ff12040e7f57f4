package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Frame is a datagram that passed on a network, between whomever.
type Frame struct {
	At        time.Time
	Interface string         // "" where it is not known
	From, To  netip.AddrPort // To is not valid where it is not known
	Data      []byte
}

// Ear hears the datagrams of discovery.
type Ear struct {
	// Limits says in plain words what is not heard; "" if everything is that passes this machine's interfaces.
	Limits string

	frames []*frameSocket
	conns  []*net.UDPConn
}

// NewEar opens what hears discovery on a port, and the hellos of the port above, on these interfaces; none: on every one that a
// sweep would use. With CAP_NET_RAW it hears what passes, whoever it is for. Without, it hears what is sent to everybody, as far as
// no other program of this machine has the ports. The caller calls Run, which closes it.
func NewEar(ctx context.Context, names []string, port uint16) (*Ear, error) {
	list, err := interfaces()
	if err != nil {
		return nil, err
	}
	var on []iface
	for _, f := range list {
		if named := slices.Contains(names, f.Name); named || len(names) == 0 && f.unusable(false) == "" {
			on = append(on, f)
		}
	}
	for _, n := range names {
		if !slices.ContainsFunc(on, func(f iface) bool { return f.Name == n }) {
			return nil, fmt.Errorf("interface %q: there is none of this name", n)
		}
	}
	if len(on) == 0 {
		return nil, errors.New("no network interface to listen on; name one")
	}
	e := &Ear{}
	for _, f := range on {
		s, err := openFrames(f, port)
		if err != nil {
			e.close()
			return e.withSockets(ctx, on, port, err)
		}
		e.frames = append(e.frames, s)
	}
	return e, nil
}

// withSockets is for who may not see frames, and why that is.
func (e *Ear) withSockets(ctx context.Context, list []iface, port uint16, why error) (*Ear, error) {
	*e = Ear{}
	var failed []string
	for _, p := range []uint16{port, port + 1} {
		c := net.ListenConfig{Control: shared}
		conn, err := c.ListenPacket(ctx, network, fmt.Sprintf(":%d", p))
		if err != nil {
			failed = append(failed, fmt.Sprintf("port %d is another program's (%v)", p, err))
			continue
		}
		udp := conn.(*net.UDPConn)
		join(joining(udp), list, map[int]bool{})
		e.conns = append(e.conns, udp)
	}
	if len(e.conns) == 0 {
		return nil, fmt.Errorf("hear discovery: %w; %s", why, strings.Join(failed, "; "))
	}
	e.Limits = fmt.Sprintf("only what is sent to everybody is heard, on all interfaces, and no reply: frames need CAP_NET_RAW (%v)", why)
	if len(failed) > 0 {
		e.Limits += "; not heard: " + strings.Join(failed, "; ")
	}
	return e, nil
}

// Run calls heard for each datagram, from one goroutine at a time, until ctx ends, and returns nil then.
func (e *Ear) Run(ctx context.Context, heard func(Frame)) error {
	var mu sync.Mutex
	one := func(f Frame) {
		mu.Lock()
		defer mu.Unlock()
		heard(f)
	}
	stop := context.AfterFunc(ctx, e.close)
	defer stop()
	defer e.close()
	var wg sync.WaitGroup
	errs := make(chan error, len(e.frames)+len(e.conns))
	for _, s := range e.frames {
		wg.Go(func() { errs <- s.read(one) })
	}
	for _, c := range e.conns {
		wg.Go(func() { errs <- readSocket(c, one) })
	}
	err := <-errs // the first that ends, ends all
	e.close()
	wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (e *Ear) close() {
	for _, s := range e.frames {
		s.close()
	}
	for _, c := range e.conns {
		_ = c.Close() // nothing was to be kept
	}
}

// readSocket hears what comes to a socket.
func readSocket(conn *net.UDPConn, heard func(Frame)) error {
	const maxErrors = 100 // in a row
	buf := make([]byte, 1<<16)
	var last error
	for failed := 0; failed < maxErrors; {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if last = err; errors.Is(err, net.ErrClosed) {
				break
			}
			failed++
			continue
		}
		failed = 0
		to := netip.AddrPortFrom(netip.Addr{}, conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())
		heard(Frame{At: time.Now(), From: netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), To: to, Data: slices.Clone(buf[:n])})
	}
	return last
}

// parseFrame reads an IP packet and returns its datagram; false if it is none of UDP in one piece.
func parseFrame(b []byte) (f Frame, ok bool) {
	const (
		udp     = 17
		udpHead = 8
	)
	if len(b) == 0 {
		return f, false
	}
	head := 0
	var src, dst netip.Addr
	switch v := b[0] >> 4; {
	case v == 4 && len(b) >= 20:
		head = int(b[0]&15) * 4
		size := int(b[2])<<8 | int(b[3])
		if fragment := int(b[6]&0x3f)<<8 | int(b[7]); b[9] != udp || fragment != 0 || size > len(b) || head < 20 || size < head+udpHead {
			return f, false
		}
		b = b[:size]
		src, dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	case v == 6 && len(b) >= 40:
		head = 40
		size := head + (int(b[4])<<8 | int(b[5]))
		if b[6] != udp || size > len(b) || size < head+udpHead {
			return f, false
		}
		b = b[:size]
		src, dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	default:
		return f, false
	}
	port := func(at int) uint16 { return uint16(b[head+at])<<8 | uint16(b[head+at+1]) }
	size := int(port(4))
	if size < udpHead || head+size > len(b) {
		return f, false
	}
	f.Data = slices.Clone(b[head+udpHead : head+size])
	f.From, f.To = netip.AddrPortFrom(src, port(0)), netip.AddrPortFrom(dst, port(2))
	return f, true
}
