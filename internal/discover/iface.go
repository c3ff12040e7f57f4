package discover

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// iface is a network interface with its addresses.
type iface struct {
	Index    int
	Name     string
	Flags    net.Flags
	MAC      net.HardwareAddr
	Addrs    []netip.Addr   // all of them, IPv6 as well
	Prefixes []netip.Prefix // the IPv4 addresses, each with the length of its network's prefix
	Six      []netip.Prefix // the IPv6 addresses, likewise
	Links    []link         // of a point-to-point interface: who is at its two ends
	Part     bool           // it has no IPv4 address of its own and is part of a bridge or the like
}

// link is a point-to-point link: its two ends, IPv4.
type link struct{ local, peer netip.Addr }

// virtual are the beginnings of the names of interfaces that lead to containers, virtual machines and tunnels; a sweep leaves
// them out unless they are named.
var virtual = []string{"docker", "veth", "tun", "virbr", "podman", "cni"}

// interfaces returns the interfaces of this machine.
func interfaces() ([]iface, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	var out []iface
	for _, i := range list {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it went away since it was listed
		}
		f := iface{Index: i.Index, Name: i.Name, Flags: i.Flags, MAC: i.HardwareAddr}
		for _, a := range addrs {
			p, ok := prefixOf(a)
			if !ok {
				continue
			}
			f.Addrs = append(f.Addrs, p.Addr())
			if p.Addr().Is4() {
				f.Prefixes = append(f.Prefixes, p)
			} else {
				f.Six = append(f.Six, p)
			}
		}
		out = append(out, f)
	}
	addLinks(out)
	return out, nil
}

// prefixOf returns the address and prefix length of an interface address.
func prefixOf(a net.Addr) (netip.Prefix, bool) {
	n, ok := a.(*net.IPNet)
	if !ok {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if !ok || size == 0 {
		return netip.Prefix{}, false
	}
	if addr = addr.Unmap(); addr.Is4() && size == 128 {
		bits -= 96
	}
	p := netip.PrefixFrom(addr, bits)
	return p, p.IsValid()
}

// broadcastOf returns the directed broadcast address of the IPv4 network that p lies in. Networks of one or two addresses
// (/32, and /31 by RFC 3021) have none.
func broadcastOf(p netip.Prefix) (netip.Addr, bool) {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return netip.Addr{}, false
	}
	a := p.Addr().As4()
	host := uint32(1)<<(32-p.Bits()) - 1
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])|host)
	return netip.AddrFrom4(a), true
}

// unicast reports whether a can be the address of one machine: not unspecified, multicast, broadcast or reserved.
func unicast(a netip.Addr) bool {
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
		return false
	}
	if !a.Is4() {
		return true
	}
	first := a.As4()[0]
	return first != 0 && first < 240 // RFC 1122 §3.2.1.3: 0/8 is this network; 240/4 reserved, with 255.255.255.255
}

// onLink reports whether src can be the sender of a datagram that came in on f: an address of one of its networks and neither
// their first nor their broadcast address; on the loopback interface, this machine's own.
func (f iface) onLink(src netip.Addr, own func(netip.Addr) bool) bool {
	if !unicast(src) {
		return false
	}
	if f.Flags&net.FlagLoopback != 0 {
		return src.IsLoopback() || own(src)
	}
	if src.IsLoopback() {
		return false
	}
	return f.connects(src)
}

// connects reports whether a is the address of another machine on the link of f.
func (f iface) connects(a netip.Addr) bool {
	if a.Is4() {
		_, ok := f.facing(a)
		return ok
	}
	return unicast(a) && (a.IsLinkLocalUnicast() || slices.ContainsFunc(f.Six, func(p netip.Prefix) bool { return p.Contains(a) }))
}

// facing returns the address of f in the network that a lies in.
func (f iface) facing(a netip.Addr) (netip.Prefix, bool) {
	for _, p := range f.Prefixes {
		if !p.Contains(a) {
			continue
		}
		b, ok := broadcastOf(p)
		if ok && (a == b || a == p.Masked().Addr()) {
			return netip.Prefix{}, false
		}
		return p, true
	}
	for _, l := range f.Links {
		if l.peer == a {
			return netip.PrefixFrom(l.local, 32), true
		}
	}
	return netip.Prefix{}, false
}

// unusable returns why a sweep can't use f, or "". named is true when the user asked for it by name.
func (f iface) unusable(named bool) string {
	switch {
	case f.Flags&net.FlagUp == 0:
		return "it is down"
	case f.Flags&net.FlagLoopback != 0:
		return "it is the loopback"
	case !named && slices.ContainsFunc(virtual, func(v string) bool { return strings.HasPrefix(f.Name, v) }):
		return "it is virtual"
	case f.Part && len(f.Prefixes) == 0:
		return "it is part of another"
	case len(f.Prefixes) == 0 && len(f.Six) == 0:
		return "it has no address"
	case f.Flags&(net.FlagBroadcast|net.FlagMulticast) == 0 && len(f.peers()) == 0:
		return "it has neither broadcast nor multicast, and it is not known who is at its other end: name hosts to ask"
	}
	return ""
}

// peers returns who is at the other end of a point-to-point interface, each with our own address: as the kernel says, or the
// other address of a network of two.
func (f iface) peers() []link {
	if f.Flags&net.FlagPointToPoint == 0 {
		return nil
	}
	out := slices.Clone(f.Links)
	for _, p := range f.Prefixes {
		if p.Bits() != 30 && p.Bits() != 31 {
			continue
		}
		first := p.Masked().Addr()
		if p.Bits() == 30 { // the first and the last are the network and its broadcast address
			first = first.Next()
		}
		peer := first
		if peer == p.Addr() {
			peer = first.Next()
		}
		if l := (link{p.Addr(), peer}); !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}

// machine is what this machine's addresses are.
type machine struct {
	own        map[netip.Addr]bool
	broadcasts map[netip.Addr]netip.Prefix // directed broadcast addresses, with the network
}

func machineOf(list []iface) machine {
	m := machine{own: map[netip.Addr]bool{}, broadcasts: map[netip.Addr]netip.Prefix{}}
	for _, f := range list {
		for _, a := range f.Addrs {
			m.own[a] = true
		}
		for _, p := range f.Prefixes {
			if b, ok := broadcastOf(p); ok {
				m.broadcasts[b] = p
			}
		}
	}
	return m
}

// isOwn reports whether a is an address of this machine.
func (m machine) isOwn(a netip.Addr) bool { return a.IsLoopback() || m.own[a] }

// connectable reports whether a can be one other machine, or this one.
func (m machine) connectable(a netip.Addr) bool {
	_, broadcast := m.broadcasts[a]
	return unicast(a) && !broadcast
}
