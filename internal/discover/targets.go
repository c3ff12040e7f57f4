package discover

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// paceGap is the time between two hosts that are asked one by one. Each that is not there is an entry in this machine's table of
// neighbours for three seconds; by default that holds 1,024.
const paceGap = 2 * time.Millisecond

// maxRange is how many addresses of a network can be asked one by one: those of a /20.
const maxRange = 4096

// target is what an element of To means: an address, or all addresses of a network.
type target struct {
	addr    netip.Addr
	network netip.Prefix // valid: instead of addr
	port    uint16
}

// String returns what the target was made from.
func (t target) String() string {
	if t.network.IsValid() {
		return t.network.String()
	}
	return netip.AddrPortFrom(t.addr, t.port).String()
}

// first returns the address to ask first.
func (t target) first() netip.Addr {
	if !t.network.IsValid() {
		return t.addr
	}
	if t.network.Bits() < 31 {
		return t.network.Addr().Next()
	}
	return t.network.Addr()
}

// parseTarget reads an address with or without a port, or an IPv4 network as 10.1.2.0/24.
func parseTarget(s string, port uint16) (target, error) {
	if strings.Contains(s, "/") {
		return parseRange(s, port)
	}
	to, err := netip.ParseAddrPort(s)
	if err != nil {
		a, aerr := netip.ParseAddr(s)
		if aerr != nil {
			return target{}, fmt.Errorf("%q is neither an address nor an address and port", s)
		}
		to = netip.AddrPortFrom(a, port)
	}
	a := to.Addr().Unmap()
	switch {
	case a.IsUnspecified() || a.IsMulticast():
		return target{}, fmt.Errorf("%q is not the address of a host or a network", s)
	case a.IsLinkLocalUnicast() && a.Is6() && a.Zone() == "":
		return target{}, fmt.Errorf("%q needs the interface behind it: fe80::1%%eth0", s)
	case to.Port() == 0:
		return target{}, fmt.Errorf("%q: port 0 can't be asked", s)
	}
	return target{addr: a, port: to.Port()}, nil
}

func parseRange(s string, port uint16) (target, error) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || !p.Addr().Is4():
		return target{}, fmt.Errorf("%q is not an IPv4 network such as 10.1.2.0/24", s)
	case 1<<(32-p.Bits()) > maxRange:
		return target{}, fmt.Errorf("%q has more than %d addresses", s, maxRange)
	}
	return target{network: p.Masked(), port: port}, nil
}
