package discover

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// lookupTimeout is how long a name of a stranger may take.
const lookupTimeout = time.Second

// maxLookup is how many addresses of one name are looked at.
const maxLookup = 64

// Guard decides whose broker a request may have answers sent to (PROTOCOL.md §1). It is safe for concurrent use.
//
// What it can't prevent: whoever can send from a neighbour's address can make this host connect to that neighbour, at the
// port of his choice and at the rate that the responder allows (20 times a minute for each neighbour). Such a connection
// carries no credentials and says only what the host tells anyone.
type Guard struct {
	addrs    map[netip.Addr]bool
	prefixes []netip.Prefix
	names    map[string]bool
	resolver Resolver
	ifaces   func() ([]iface, error)
}

// Resolver looks names up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Endpoint is a broker that was checked: an address and no name, so that it can't come to mean another one later.
type Endpoint struct {
	Addr netip.AddrPort
	TLS  bool
}

// NewGuard returns a guard that allows the requester itself and the names, addresses and CIDRs of allowed. A nil resolver is
// net.DefaultResolver.
func NewGuard(allowed []string, resolver Resolver) (*Guard, error) {
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	g := &Guard{addrs: map[netip.Addr]bool{}, names: map[string]bool{}, resolver: resolver, ifaces: interfaces}
	for _, s := range allowed {
		if err := g.allow(s); err != nil {
			return nil, fmt.Errorf("reply_to %q: %w", s, err)
		}
	}
	return g, nil
}

func (g *Guard) allow(s string) error {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil || p.Addr().Is4In6() {
			return fmt.Errorf("not a CIDR such as 192.168.1.0/24")
		}
		g.prefixes = append(g.prefixes, p.Masked())
		return nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		if a = a.Unmap(); !unicast(a) || a.Zone() != "" {
			return fmt.Errorf("not the address of one machine")
		}
		g.addrs[a] = true
		return nil
	}
	name, err := parseName(s)
	if err != nil {
		return err
	}
	g.names[name] = true
	return nil
}

// Check returns the one endpoint that replyto may mean for a request that came from src, or an error. It may look a name up
// and so take a second.
//
// A name is looked up once; only the address that was checked is returned, so an answer that changes afterwards changes
// nothing. A name that has no address at all means the requester, for many networks have no name service.
func (g *Guard) Check(ctx context.Context, replyto string, src netip.Addr) (Endpoint, error) {
	t, err := parseReplyTo(replyto)
	if err != nil {
		return Endpoint{}, err
	}
	return g.check(ctx, t, src)
}

func (g *Guard) check(ctx context.Context, t replyTo, src netip.Addr) (Endpoint, error) {
	list, err := g.ifaces()
	if err != nil {
		return Endpoint{}, err
	}
	m := machineOf(list)
	src = src.Unmap().WithZone("")
	if !m.connectable(src) {
		return Endpoint{}, fmt.Errorf("requester %v is not the address of one machine", src)
	}
	var addr netip.Addr
	if t.name == "" {
		addr, err = g.address(m, t.addr, src)
	} else {
		addr, err = g.name(ctx, m, t.name, src)
	}
	if err != nil {
		return Endpoint{}, err
	}
	return Endpoint{Addr: netip.AddrPortFrom(addr, t.port), TLS: t.tls}, nil
}

// address checks a replyto that is an address.
func (g *Guard) address(m machine, a, src netip.Addr) (netip.Addr, error) {
	switch {
	case a == src:
		return a, nil
	case !m.connectable(a):
		return a, fmt.Errorf("replyto %v is not the address of one machine", a)
	case m.isOwn(src) && m.isOwn(a):
		return a, nil
	case a.IsLoopback():
		return a, fmt.Errorf("replyto %v is this machine itself, the requester %v is not", a, src)
	case g.listed(m, a):
		return a, nil
	}
	return a, fmt.Errorf("replyto %v is neither the requester %v nor in reply_to", a, src)
}

// listed reports whether the address is in reply_to. This machine's own counts only if it stands there by itself: a CIDR names
// the neighbours, and answers written to our own broker on a stranger's word could be read as commands by our own services.
func (g *Guard) listed(m machine, a netip.Addr) bool {
	if g.addrs[a] {
		return true
	}
	return !m.isOwn(a) && g.inPrefix(a)
}

func (g *Guard) inPrefix(a netip.Addr) bool {
	for _, p := range g.prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// name checks a replyto that is a name.
func (g *Guard) name(ctx context.Context, m machine, name string, src netip.Addr) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := g.resolver.LookupNetIP(ctx, "ip", name)
	if err != nil || len(addrs) == 0 {
		return src, nil
	}
	addrs = slices.Clone(addrs[:min(len(addrs), maxLookup)])
	for i, a := range addrs {
		addrs[i] = a.Unmap().WithZone("")
		if addrs[i] == src {
			return src, nil
		}
	}
	for _, a := range addrs {
		if m.isOwn(src) && m.isOwn(a) {
			return src, nil // Debian gives a host's own name the address 127.0.1.1
		}
	}
	for _, a := range addrs {
		if m.connectable(a) && !a.IsLoopback() && (g.names[name] || g.listed(m, a)) {
			return a, nil
		}
	}
	return src, fmt.Errorf("replyto %q is %v: neither the requester %v nor in reply_to", name, addrs[:min(len(addrs), 4)], src)
}

// covers reports whether the address stands in reply_to as an address or in a CIDR. It looks nothing up.
func (g *Guard) covers(a netip.Addr) bool { return g.addrs[a] || g.inPrefix(a) }
