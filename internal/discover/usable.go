package discover

import (
	"net"
	"net/netip"
	"slices"
)

// Interface is a network interface of this machine as a sweep sees it.
type Interface struct {
	Name       string
	Networks   []netip.Prefix // IPv4: this machine's addresses, each with the length of its network's prefix
	Broadcasts []netip.Addr   // that a sweep asks
	Six        bool           // a sweep asks by IPv6 as well
	Down       bool
	Unusable   string // why a sweep does not use it, "" if it does
}

// Interfaces returns the interfaces of this machine but the loopback, in the system's order. Those of the names are judged as ones
// that the user has asked for.
func Interfaces(named ...string) ([]Interface, error) {
	list, err := interfaces()
	if err != nil {
		return nil, err
	}
	var out []Interface
	for _, f := range list {
		if f.Flags&net.FlagLoopback != 0 {
			continue
		}
		i := Interface{Name: f.Name, Networks: f.Prefixes, Down: f.Flags&net.FlagUp == 0, Unusable: f.unusable(slices.Contains(named, f.Name))}
		for _, p := range f.Prefixes {
			if b, ok := broadcastOf(p); ok && f.Flags&net.FlagBroadcast != 0 {
				i.Broadcasts = append(i.Broadcasts, b)
			}
		}
		_, six := f.own6()
		i.Six = six && f.joinable()
		out = append(out, i)
	}
	return out, nil
}

// Reaches reports whether the address is that of another machine on the interface's own networks.
func (i Interface) Reaches(a netip.Addr) bool {
	return slices.ContainsFunc(i.Networks, func(p netip.Prefix) bool { return p.Contains(a) })
}
