package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"

	"rollcall/internal/census"
)

// way is a socket of a sweep on one local address, and whom it asks.
type way struct {
	conn    *net.UDPConn
	iface   iface
	local   netip.Addr
	bits    int
	targets []netip.AddrPort
	late    bool // the first request goes out by another way to the same interface
	// Whose replies are right: those of an address asked, and at a broadcast those of its network; all from the port asked.
	single   map[netip.AddrPort]bool
	networks map[uint16][]netip.Prefix

	relay  *relayPath // nil: it leads straight to the hosts
	claims *claims    // by replies that come on it; nil: nobody is believed

	opened time.Time // when the sweep's first request left, if that was with the tickets or is to be made up for; see begun

	gap  time.Duration // between two datagrams, where many hosts are asked one by one
	last time.Time     // when the last one went out
}

// open finds out whom to ask and opens a socket on each local address that is needed for it.
func (s *sweep) open(list []iface) error {
	var err error
	if len(s.c.To) > 0 {
		err = s.openTo(list)
	} else if len(s.c.Subnets) == 0 {
		err = s.openBroadcast(list)
	} else {
		return nil // see openSubnets
	}
	if err == nil && len(s.ways) == 0 {
		err = errors.New("no interface to ask on: none is up with an IPv4 network; name addresses to ask instead")
		if len(s.stats.Warnings) > 0 {
			err = fmt.Errorf("no interface to ask on: %s", strings.Join(s.stats.Warnings, "; "))
		}
	}
	return err
}

// openBroadcast asks the directed broadcast address of each network that this machine is in.
func (s *sweep) openBroadcast(list []iface) error {
	for _, name := range s.c.Interfaces {
		if !slices.ContainsFunc(list, func(f iface) bool { return f.Name == name }) {
			s.warn(fmt.Sprintf("interface %q: there is none of this name", name))
		}
	}
	for _, f := range list {
		named := slices.Contains(s.c.Interfaces, f.Name)
		if len(s.c.Interfaces) > 0 && !named {
			continue
		}
		if why := f.unusable(named); why != "" {
			if named {
				s.warn(fmt.Sprintf("interface %q: %s", f.Name, why))
			}
			continue
		}
		s.openInterface(list, f)
	}
	return nil
}

// limited is the broadcast address of whatever link a datagram leaves by.
var limited = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// openInterface asks everybody on an interface: by the directed broadcast address of each of its networks, by the address of
// all where a network has none, at the other end of a point-to-point link, and by IPv6 a moment later, so that a host which has
// both is known by its IPv4 address.
func (s *sweep) openInterface(list []iface, f iface) {
	port := uint16(s.c.Port)
	asked := false
	add := func(local, to netip.Addr, network netip.Prefix) {
		w, err := s.wayFrom(list, local)
		if err != nil {
			s.warn(fmt.Sprintf("interface %q: %v", f.Name, err))
			return
		}
		w.add(netip.AddrPortFrom(to, port), network)
		asked = true
	}
	peers := f.peers()
	for _, l := range peers {
		add(l.local, l.peer, netip.Prefix{})
	}
	for _, p := range f.Prefixes {
		if f.Flags&net.FlagBroadcast == 0 {
			break
		}
		if b, ok := broadcastOf(p); ok {
			add(p.Addr(), b, p)
		} else if !slices.ContainsFunc(peers, func(l link) bool { return l.local == p.Addr() }) {
			add(p.Addr(), limited, netip.PrefixFrom(netip.IPv4Unspecified(), 0)) // there is no network that answers could be of
		}
	}
	if err := s.openSix(f, asked); err != nil {
		s.warn(fmt.Sprintf("interface %q: IPv6: %v", f.Name, err))
	}
}

// openSix asks the group of all hosts on an interface by IPv6.
func (s *sweep) openSix(f iface, late bool) error {
	local, ok := f.own6()
	if !ok || !f.joinable() {
		return nil
	}
	conn, err := listenSix(f, local.Addr())
	if late && errors.Is(err, syscall.EADDRNOTAVAIL) {
		return nil // the kernel is still finding out whether the address is free; hosts are asked by IPv4
	}
	if err != nil {
		return err
	}
	w := &way{conn: conn, iface: f, local: local.Addr(), bits: local.Bits(), late: late, single: map[netip.AddrPort]bool{}, networks: map[uint16][]netip.Prefix{}}
	for _, p := range append([]netip.Prefix{netip.MustParsePrefix("fe80::/10")}, f.Six...) {
		w.add(netip.AddrPortFrom(group.WithZone(f.Name), uint16(s.c.Port)), p)
	}
	s.ways = append(s.ways, w)
	return nil
}

// openTo asks the addresses of To.
func (s *sweep) openTo(list []iface) error {
	var targets []target
	for _, text := range s.c.To {
		to, err := parseTarget(text, uint16(s.c.Port))
		if err != nil {
			return err
		}
		targets = append(targets, to)
	}
	for _, to := range targets {
		if err := s.openTarget(list, to); err != nil {
			s.warn(fmt.Sprintf("ask %v: %v", to, err))
		}
	}
	s.ways = slices.DeleteFunc(s.ways, func(w *way) bool {
		if len(w.targets) > 0 {
			return false
		}
		_ = w.conn.Close() // nothing was sent on it
		return true
	})
	return nil
}

// openTarget asks one address, or each address of a network.
func (s *sweep) openTarget(list []iface, to target) error {
	local, err := route(netip.AddrPortFrom(to.first(), to.port))
	if err != nil {
		return err
	}
	w, err := s.wayFrom(list, local)
	if err != nil {
		return fmt.Errorf("from %v: %w", local, err)
	}
	if len(s.c.Interfaces) > 0 && !slices.Contains(s.c.Interfaces, w.iface.Name) {
		return fmt.Errorf("it lies behind interface %q, which is not among those named", w.iface.Name)
	}
	if !to.network.IsValid() {
		network := s.machine.broadcasts[to.addr]
		if to.addr == limited {
			network = netip.PrefixFrom(local, w.bits)
		}
		w.add(netip.AddrPortFrom(to.addr, to.port), network)
		return nil
	}
	w.gap = paceGap
	for a := to.first(); to.network.Contains(a); a = a.Next() {
		_, broadcast := s.machine.broadcasts[a]
		if last := !to.network.Contains(a.Next()); broadcast || (last && to.network.Bits() < 31) {
			continue
		}
		w.add(netip.AddrPortFrom(a, to.port), netip.Prefix{})
	}
	s.c.Wait += time.Duration(len(w.targets)) * census.RangeCopies * w.gap // the requests take as long as that
	return nil
}

// wayFrom returns the way from the local address, opening it if need be.
func (s *sweep) wayFrom(list []iface, local netip.Addr) (*way, error) {
	for _, w := range s.ways {
		if w.local == local.WithZone("") && (local.Zone() == "" || local.Zone() == w.iface.Name) {
			return w, nil
		}
	}
	conn, err := s.listenFrom(list, local)
	if err != nil {
		return nil, err
	}
	w := &way{conn: conn, bits: local.BitLen(), single: map[netip.AddrPort]bool{}, networks: map[uint16][]netip.Prefix{}}
	for _, f := range list {
		for _, p := range append(f.Prefixes[:len(f.Prefixes):len(f.Prefixes)], f.Six...) {
			if (p.Addr() == local.WithZone("") && (local.Zone() == "" || local.Zone() == f.Name)) || (local.IsLoopback() && p.Contains(local)) {
				w.iface, w.bits = f, p.Bits()
			}
		}
	}
	w.local = local.WithZone("")
	s.ways = append(s.ways, w)
	return w, nil
}

// listenFrom opens a socket on a local address.
func (s *sweep) listenFrom(list []iface, local netip.Addr) (*net.UDPConn, error) {
	if local.Is4() {
		return listenFor(local, s.c.buffer)
	}
	for _, f := range list {
		for _, p := range f.Six {
			if p.Addr() == local.WithZone("") && (local.Zone() == "" || local.Zone() == f.Name) {
				return listenSix(f, p.Addr())
			}
		}
	}
	return nil, fmt.Errorf("no interface has the address %v", local)
}

// add adds an address to ask; network is valid if it is the broadcast address of that network.
func (w *way) add(to netip.AddrPort, network netip.Prefix) {
	if slices.Contains(w.targets, to) {
		return
	}
	w.targets = append(w.targets, to)
	if network.IsValid() {
		w.networks[to.Port()] = append(w.networks[to.Port()], network)
		return
	}
	w.single[to] = true
}

// asked reports whether a reply from there can be one to what was asked on this way.
func (w *way) asked(from netip.AddrPort) bool {
	bare := from.Addr().WithZone("")
	return w.single[from] ||
		slices.ContainsFunc(w.networks[from.Port()], func(p netip.Prefix) bool { return p.Contains(bare) })
}

// bitsOf returns the length of the prefix of the IPv4 network that was asked and that the address is in, or 0.
func (w *way) bitsOf(from netip.AddrPort) int {
	for _, p := range w.networks[from.Port()] {
		if from.Addr().Is4() && p.Bits() > 0 && p.Contains(from.Addr()) {
			return p.Bits()
		}
	}
	return 0
}

// send sends one datagram; a broadcast leaves by the way's own interface even where two are in the same network, and one that
// this machine's routes forbid leaves for the address of all.
func (w *way) send(b []byte, to netip.AddrPort) error {
	if w.relay != nil {
		return w.relay.send(b, to)
	}
	b = withTail(b)
	if w.gap > 0 {
		if wait := time.Until(w.last.Add(w.gap)); wait > 0 {
			<-time.After(wait)
		}
		w.last = time.Now()
	}
	var oob []byte
	if pinned && to.Addr().Is4() && w.iface.Flags&net.FlagBroadcast != 0 && len(w.networks) > 0 {
		oob = (&ipv4.ControlMessage{IfIndex: w.iface.Index}).Marshal()
	}
	return noting(w.conn, to.Addr().Is6(), func() error {
		_, _, err := w.conn.WriteMsgUDPAddrPort(b, oob, to)
		if err != nil && oob != nil && !w.single[to] && to.Addr() != limited {
			_, _, err = w.conn.WriteMsgUDPAddrPort(b, oob, netip.AddrPortFrom(limited, to.Port()))
		}
		return err
	})
}

// batch is how many datagrams are read by one system call.
const batch = 64

// read hands on what comes in until the socket is closed.
func (w *way) read(ctx context.Context, in chan<- []packet) {
	if w.relay != nil {
		if w.relay.carrier != nil {
			w.relay.carrier.read(ctx, in)
		}
		return
	}
	const maxErrors = 100 // in a row
	conn := ipv4.NewPacketConn(w.conn)
	messages := make([]ipv4.Message, batch)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, MaxRequest+1)}
	}
	for failed := 0; ; {
		n, err := conn.ReadBatch(messages, 0)
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil || failed > maxErrors {
			return
		}
		if err != nil {
			failed++ // an ICMP message about a datagram sent before, or one that was too long: it concerns no other
			continue
		}
		failed = 0
		list := w.packets(messages[:n], time.Now())
		w.claims.note(list)
		select {
		case in <- list:
		case <-ctx.Done():
			return
		}
	}
}

// packets returns copies of what came in.
func (w *way) packets(messages []ipv4.Message, at time.Time) []packet {
	size := 0
	for _, m := range messages {
		size += m.N
	}
	slab := make([]byte, 0, size)
	list := make([]packet, 0, len(messages))
	for _, m := range messages {
		from, ok := m.Addr.(*net.UDPAddr)
		if !ok {
			continue // not to be thought of
		}
		start := len(slab)
		slab = append(slab, m.Buffers[0][:m.N]...)
		src := from.AddrPort()
		list = append(list, packet{way: w, from: netip.AddrPortFrom(src.Addr().Unmap(), src.Port()), at: at, b: slab[start:len(slab):len(slab)]})
	}
	return list
}
