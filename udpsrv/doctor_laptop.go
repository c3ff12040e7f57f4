package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"rollcall/internal/discover"
)

// interfaces looks at the network interfaces.
func (x *exam) interfaces() {
	all, err := discover.Interfaces(x.asking.interfaces...)
	if err != nil {
		x.unseen("interface", "this machine", "", "%v", err)
		return
	}
	asked := map[string]bool{}
	for _, name := range x.asking.interfaces {
		asked[name] = true
	}
	var idle []discover.Interface
	for _, i := range all {
		named := asked[i.Name]
		delete(asked, i.Name)
		switch {
		case len(x.asking.interfaces) > 0 && !named:
		case i.Unusable == "":
			x.ifaces = append(x.ifaces, i)
			x.fine("interface", i.Name, "%s", usesOf(i))
		case named:
			x.wrong("interface", i.Name, raise(i), "%s", i.Unusable)
		default:
			idle = append(idle, i)
		}
	}
	for name := range asked {
		x.wrong("interface", name, "ip link", "there is no interface of this name")
	}
	for _, i := range idle {
		switch {
		case len(x.ifaces) == 0 && len(x.asking.interfaces) == 0 && len(x.to) == 0:
			x.wrong("interface", i.Name, raise(i), "%s, and no other interface can be used", i.Unusable)
		case i.Down || len(i.Networks) > 0:
			x.add(isNote, "interface", i.Name, "", "not used: %s", i.Unusable)
		}
	}
	if len(all) == 0 {
		x.wrong("interface", "this machine", "ip link", "it has no network interface but the loopback")
	}
}

// usesOf says what a sweep does on an interface.
func usesOf(i discover.Interface) string {
	var parts []string
	for _, p := range i.Networks {
		parts = append(parts, p.String())
	}
	for _, b := range i.Broadcasts {
		parts = append(parts, "asks "+b.String())
	}
	if i.Six {
		parts = append(parts, "asks by IPv6")
	}
	return "up, " + strings.Join(parts, ", ")
}

// raise is the line that makes an interface usable.
func raise(i discover.Interface) string {
	switch {
	case i.Down:
		return "sudo ip link set " + i.Name + " up"
	case len(i.Networks) == 0:
		return "sudo dhclient " + i.Name
	}
	return "udpsrv sweep --interface " + i.Name
}

// ephemeral is a port as the kernel gives it to a socket that asks for none.
const ephemeral = 45678

// firewall looks at this machine's packet filter: whether requests go out, and answers come in.
func (x *exam) firewall(ctx context.Context) {
	var err error
	if x.fw, err = x.filter(ctx); err != nil {
		x.unseen("firewall", "this machine", x.asRoot(), "its rules can't be read: %v", err)
		return
	}
	if x.fw == nil {
		return
	}
	before := len(x.found)
	for _, i := range x.ifaces {
		for _, network := range i.Networks {
			x.judge(i.Name, "requests to hosts", datagram(false, i.Name, network, ephemeral, x.port), x.port, false)
			x.judge(i.Name, "answers of hosts, which are none to an address that was asked", datagram(true, i.Name, network, x.port, ephemeral), x.port, true)
		}
	}
	if len(x.found) == before && len(x.ifaces) > 0 {
		x.fine("firewall", "this machine", "requests go out, and answers from port %d come in", x.port)
	}
}

// judge tells of a datagram that does not pass this machine's packet filter.
func (x *exam) judge(iface, what string, p fwPacket, port int, from bool) (passes sureness) {
	hooks := []string{"output", "postrouting"}
	if _, in := p["iif"]; in {
		hooks = []string{"prerouting", "input"}
	}
	passes, where, by := x.fw.judge(p, hooks...)
	if passes == yes {
		return yes
	}
	x.shut = true
	if passes == unsure {
		x.add(isNote, "firewall", iface, "", "%s may be dropped by the %s of %s %s: not all of its conditions are understood here", what, by, where.table, where.name)
		return unsure
	}
	x.wrong("firewall", iface, x.fw.opening(where, port, from), "%s are dropped by the %s of %s %s", what, by, where.table, where.name)
	return no
}

// filter reads the packet filter; nil where there is none that is known.
func (x *exam) filter(ctx context.Context) (*firewall, error) {
	doc, err := x.tool(ctx, "nft", "-j", "list", "ruleset")
	if err != nil {
		if _, other := x.read("/proc/sys/kernel/ostype"); other != nil {
			return nil, errors.New("that is known for Linux only")
		}
		return nil, err
	}
	f, err := parseNft(doc)
	if err != nil {
		return nil, err
	}
	if tables, _ := x.read("/proc/net/ip_tables_names"); strings.Contains(tables, "filter") { // that of the older iptables, which nft does not show
		text, err := x.tool(ctx, "iptables-legacy-save")
		if err != nil {
			return nil, err
		}
		old := parseIptables(string(text))
		f.chains, f.wards = append(f.chains, old.chains...), cmp.Or(f.wards, old.wards)
	}
	return f, nil
}

// clock looks at whether this machine's clock is kept.
func (x *exam) clock() {
	synced, known := clockSynced()
	switch {
	case !known:
		x.unseen("clock", "this machine", "", "whether it is kept can't be seen on this system")
	case synced:
		x.fine("clock", "this machine", "is kept by a time server")
	default:
		x.add(isNote, "clock", "this machine", "sudo timedatectl set-ntp true", "no time server keeps it; a request is good for 30s by the host's clock")
	}
}

// sweep asks everybody, and looks at how that went.
func (x *exam) sweep(ctx context.Context) {
	scope := x.scope()
	if len(x.ifaces) == 0 && len(x.to) == 0 {
		return // that is wrong already
	}
	rd, err := x.ask(ctx, x.a, nil, x.known.expect(scope), nil)
	if err != nil {
		x.wrong("send", "this machine", x.sendFix(err, "", ""), "%v", err)
		return
	}
	x.rd = rd
	for _, u := range rd.stats.Unasked {
		x.wrong("send", u.Interface, x.sendFix(u.Err, u.Interface, u.To.String()), "%s", u)
	}
	if d := rd.stats.Drops; d > 0 {
		x.wrong("buffer", "this machine", "sudo sysctl -w net.core.rmem_max=4194304", "%d answers were dropped: the receive buffer is too small", d)
	}
	x.neighbours(len(rd.hosts))
	for _, w := range rd.stats.Warnings {
		if !strings.Contains(w, "answers were dropped") {
			x.add(isNote, "send", "this machine", "", "%s", w)
		}
	}
	x.known.learn(rd, scope)
	x.a.save(x.known)
	switch {
	case len(rd.hosts) > 0:
		x.fine("send", "this machine", "%s answered a sweep in %s", plural(len(rd.hosts), "host"), rd.took())
	case len(rd.distrusted) == 0:
		x.add(isNote, "send", "this machine", "", "nobody answered a sweep (%s)", rd.took())
	}
}

// sendFix is the line that mends why nothing could be sent to an address on an interface.
func (x *exam) sendFix(err error, iface, to string) string {
	switch {
	case errors.Is(err, syscall.ENOBUFS):
		return "sudo sysctl -w net.ipv4.neigh.default.gc_thresh3=8192 net.ipv4.neigh.default.gc_thresh2=4096"
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		if x.fw == nil {
			return x.asRoot()
		}
		return "sudo nft list ruleset"
	case errors.Is(err, syscall.ENETDOWN) && iface != "":
		return "sudo ip link set " + iface + " up"
	case to != "":
		return "ip route get " + to
	}
	return "ip route"
}

// neighbours looks at whether the kernel's table of neighbours has room for so many hosts (arp(7)).
func (x *exam) neighbours(hosts int) {
	text, err := x.read("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
	most, err2 := strconv.Atoi(text)
	if err != nil || err2 != nil || hosts <= most*4/5 {
		return
	}
	room := 4 * hosts
	x.wrong("buffer", "this machine", fmt.Sprintf("sudo sysctl -w net.ipv4.neigh.default.gc_thresh3=%d net.ipv4.neigh.default.gc_thresh2=%d", room, room/2),
		"the kernel's table of neighbours has room for %d, and there are %d hosts", most, hosts)
}

// linkTo returns the interface that has a machine of that address on its link.
func (x *exam) linkTo(a netip.Addr) (discover.Interface, bool) {
	for _, i := range x.ifaces {
		if i.Reaches(a) {
			return i, true
		}
	}
	return discover.Interface{}, a.IsLoopback() || ownAddr(a)
}
