package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/ipv4"
)

// way is a socket of a sweep on one local address, and whom it asks.
type way struct {
	conn    *net.UDPConn
	iface   iface
	local   netip.Addr
	bits    int
	targets []netip.AddrPort
	// Whose replies are right: those of an address asked, and at a broadcast those of its network; all from the port asked.
	single   map[netip.AddrPort]bool
	networks map[uint16][]netip.Prefix
}

// open finds out whom to ask and opens a socket on each local address that is needed for it.
func (s *sweep) open(list []iface) error {
	var err error
	if len(s.c.To) > 0 {
		err = s.openTo(list)
	} else {
		err = s.openBroadcast(list)
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
		for _, p := range f.Prefixes {
			b, ok := broadcastOf(p)
			if !ok {
				continue
			}
			w, err := s.wayFrom(list, p.Addr())
			if err != nil {
				s.warn(fmt.Sprintf("interface %q: %v", f.Name, err))
				continue
			}
			w.add(netip.AddrPortFrom(b, uint16(s.c.Port)), p)
		}
	}
	return nil
}

// openTo asks the addresses of To.
func (s *sweep) openTo(list []iface) error {
	var targets []netip.AddrPort
	for _, text := range s.c.To {
		to, err := parseTarget(text, uint16(s.c.Port))
		if err != nil {
			return err
		}
		targets = append(targets, to)
	}
	for _, to := range targets {
		local, err := route(to)
		if err != nil {
			s.warn(fmt.Sprintf("ask %v: %v", to, err))
			continue
		}
		w, err := s.wayFrom(list, local)
		if err != nil {
			s.warn(fmt.Sprintf("ask %v from %v: %v", to, local, err))
			continue
		}
		if len(s.c.Interfaces) > 0 && !slices.Contains(s.c.Interfaces, w.iface.Name) {
			s.warn(fmt.Sprintf("ask %v: it lies behind interface %q, which is not among those named", to, w.iface.Name))
			continue
		}
		network := s.machine.broadcasts[to.Addr()]
		if limited := netip.AddrFrom4([4]byte{255, 255, 255, 255}); to.Addr() == limited {
			network = netip.PrefixFrom(local, w.bits)
		}
		w.add(to, network)
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

// parseTarget reads an IPv4 address with or without a port.
func parseTarget(s string, port uint16) (netip.AddrPort, error) {
	to, err := netip.ParseAddrPort(s)
	if err != nil {
		a, aerr := netip.ParseAddr(s)
		if aerr != nil {
			return to, fmt.Errorf("%q is neither an address nor an address and port", s)
		}
		to = netip.AddrPortFrom(a, port)
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	switch {
	case !to.Addr().Is4():
		return to, fmt.Errorf("%q: only IPv4 addresses can be asked", s)
	case to.Addr().IsUnspecified() || to.Addr().IsMulticast():
		return to, fmt.Errorf("%q is not the address of a host or a network", s)
	case to.Port() == 0:
		return to, fmt.Errorf("%q: port 0 can't be asked", s)
	}
	return to, nil
}

// wayFrom returns the way from the local address, opening it if need be.
func (s *sweep) wayFrom(list []iface, local netip.Addr) (*way, error) {
	for _, w := range s.ways {
		if w.local == local {
			return w, nil
		}
	}
	conn, err := listenFor(local)
	if err != nil {
		return nil, err
	}
	w := &way{conn: conn, local: local, bits: 32, single: map[netip.AddrPort]bool{}, networks: map[uint16][]netip.Prefix{}}
	for _, f := range list {
		for _, p := range f.Prefixes {
			if p.Addr() == local || (local.IsLoopback() && p.Contains(local)) {
				w.iface, w.bits = f, p.Bits()
			}
		}
	}
	s.ways = append(s.ways, w)
	return w, nil
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
	return w.single[from] ||
		slices.ContainsFunc(w.networks[from.Port()], func(p netip.Prefix) bool { return p.Contains(from.Addr()) })
}

// send sends one datagram; a broadcast leaves by the way's own interface even where two are in the same network.
func (w *way) send(b []byte, to netip.AddrPort) error {
	var oob []byte
	if pinned && w.iface.Flags&net.FlagBroadcast != 0 && len(w.networks) > 0 {
		oob = (&ipv4.ControlMessage{IfIndex: w.iface.Index}).Marshal()
	}
	_, _, err := w.conn.WriteMsgUDPAddrPort(withTail(b), oob, to)
	return err
}

// read hands on what comes in until the socket is closed.
func (w *way) read(ctx context.Context, in chan<- packet) {
	const maxErrors = 100 // in a row
	buf := make([]byte, MaxRequest+1)
	for failed := 0; ; {
		n, from, err := w.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil || failed > maxErrors {
			return
		}
		if err != nil {
			failed++ // an ICMP message about a datagram sent before, or one that was too long: it concerns no other
			continue
		}
		failed = 0
		p := packet{way: w, from: netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), at: time.Now(), b: slices.Clone(buf[:n])}
		select {
		case in <- p:
		case <-ctx.Done():
			return
		}
	}
}
