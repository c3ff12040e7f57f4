package discover

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/net/ipv6"
)

// group is the IPv6 group that hosts join on every link ("RCL1"), MAC 33:33:52:43:4c:31. Requests to it leave with the greatest
// hop limit, and are answered only if they come with it, which no router lets happen.
var group = netip.MustParseAddr("ff02::5243:4c31")

const maxHops = 255

// isSix reports whether the socket is an IPv6 one; on Linux such a one for all addresses takes IPv4 as well.
func isSix(conn *net.UDPConn) bool {
	a, ok := conn.LocalAddr().(*net.UDPAddr)
	return ok && a.AddrPort().Addr().Is6() && !a.AddrPort().Addr().Is4In6()
}

// joinable reports whether the group can be joined on f.
func (f iface) joinable() bool {
	return f.Flags&net.FlagMulticast != 0 && f.Flags&net.FlagUp != 0 && len(f.Six) > 0
}

// own6 returns the IPv6 address of f that others on the link reach it at, best the one of the link.
func (f iface) own6() (netip.Prefix, bool) {
	for _, p := range f.Six {
		if p.Addr().IsLinkLocalUnicast() {
			return p, true
		}
	}
	if len(f.Six) > 0 {
		return f.Six[0], true
	}
	return netip.Prefix{}, false
}

// facing6 returns the IPv6 address of f that a host at a sees.
func (f iface) facing6(a netip.Addr) (netip.Addr, bool) {
	if !a.IsLinkLocalUnicast() {
		for _, p := range f.Six {
			if p.Contains(a) {
				return p.Addr(), true
			}
		}
	}
	p, ok := f.own6()
	return p.Addr(), ok
}

// join joins the group, by member, on interfaces where it is not joined yet; joined holds the indexes of those where it is. An interface
// that has come to be, or has got its first IPv6 address, is joined the next time. Where that fails IPv4 still serves.
func join(member func(index int) error, list []iface, joined map[int]bool) {
	there := map[int]bool{}
	for _, f := range list {
		there[f.Index] = true
		if joined[f.Index] || !f.joinable() {
			continue
		}
		joined[f.Index] = member(f.Index) == nil
	}
	for index := range joined {
		if !there[index] {
			delete(joined, index) // the kernel has given up the membership with the interface
		}
	}
}

// joining returns what joins the group by a socket; one of IPv4 joins nothing.
func joining(conn *net.UDPConn) func(index int) error {
	if !isSix(conn) {
		return func(int) error { return errors.ErrUnsupported }
	}
	p := ipv6.NewPacketConn(conn)
	return func(index int) error {
		return p.JoinGroup(&net.Interface{Index: index}, &net.UDPAddr{IP: group.AsSlice()})
	}
}

// listenSix opens the socket of a sweep on an IPv6 address of f.
func listenSix(f iface, local netip.Addr) (*net.UDPConn, error) {
	if local.IsLinkLocalUnicast() {
		local = local.WithZone(f.Name)
	}
	conn, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
	if err != nil {
		return nil, err
	}
	enlarge(conn)
	p := ipv6.NewPacketConn(conn)
	_ = p.SetHopLimit(maxHops) // what can't be set makes the hosts silent, which the sweep shows
	_ = p.SetMulticastHopLimit(maxHops)
	_ = p.SetMulticastLoopback(true) // this machine is a host too
	_ = p.SetMulticastInterface(&net.Interface{Index: f.Index, Name: f.Name})
	return conn, nil
}
