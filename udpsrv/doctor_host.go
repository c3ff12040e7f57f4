package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"rollcall/internal/discover"
	"rollcall/reports"
)

// everybody looks at all hosts that answered, and at those that are missing.
func (x *exam) everybody(ctx context.Context) {
	if x.rd == nil {
		return
	}
	hosts := x.rd.sorted()
	x.hosts(ctx, hosts)
	for _, name := range x.rd.twins() {
		x.wrong("host", name, "udpsrv sweep", "several hosts have this name: rename all but one (`host:` in rollcall.yaml)")
	}
	for _, id := range x.rd.stats.Missing {
		if at := slices.IndexFunc(x.known.Hosts, func(e entry) bool { return e.ID == id.String() }); at >= 0 {
			x.silent(ctx, x.known.Hosts[at].Hostname, []entry{x.known.Hosts[at]})
		}
	}
}

// hosts looks at hosts that answer, some at a time.
func (x *exam) hosts(ctx context.Context, hosts []*host) {
	type seen struct {
		host reports.Host
		err  error
	}
	all := make([]seen, len(hosts))
	slots := make(chan struct{}, readAtOnce)
	var running sync.WaitGroup
	for i, h := range hosts {
		slots <- struct{}{}
		running.Go(func() {
			all[i].host, all[i].err = x.a.describe(ctx, h, false)
			<-slots
		})
	}
	running.Wait()
	for i, h := range hosts {
		if ctx.Err() == nil {
			x.answers(ctx, h, all[i].host, all[i].err)
		}
	}
}

// answers looks at a host that answers.
func (x *exam) answers(ctx context.Context, h *host, described reports.Host, unread error) {
	x.fine("host", h.Hostname, "answers from %s (id %s)", h.IPAddr, cmp.Or(h.ID, "none: the original form"))
	x.skewed(h.Hostname, h.ID)
	if h.stranger {
		x.wrong("key", h.Hostname, "udpsrv trust "+h.Hostname, "its key is not known here: it is found, but its services are not spoken to")
	}
	switch {
	case errors.Is(unread, errUntrusted):
	case unread != nil:
		x.broker(ctx, h, unread)
	default:
		x.fine("broker", h.Hostname, "%s", cmp.Or(strings.Join(described.Brokers, ", "), "answers"))
	}
	for _, s := range described.Services {
		x.service(h, s, unread == nil)
	}
}

// skewed tells of a host whose clock is another.
func (x *exam) skewed(name, id string) {
	if x.rd == nil || !slices.ContainsFunc(x.rd.stats.Skewed, func(o discover.ID) bool { return o.String() == id }) {
		return
	}
	fix := over(name, "sudo timedatectl set-ntp true")
	if synced, known := clockSynced(); known && !synced {
		fix = "sudo timedatectl set-ntp true; " + fix
	}
	x.wrong("clock", name, fix, "its clock and this machine's differ by more than 30s")
}

// service looks at a service of a host whose broker was read, or not.
func (x *exam) service(h *host, s reports.HostService, read bool) {
	about := h.Hostname + "/" + s.Name
	switch {
	case s.Status == reports.Offline:
		x.wrong("service", about, over(h.Hostname, "sudo systemctl restart agent@"+s.Name), "is offline%s", because(s.Error))
	case s.Error != "":
		x.wrong("service", about, "udpsrv logs "+about, "%s", s.Error)
	case !read:
	case !s.Described && s.Status == reports.Unknown:
		x.add(isNote, "service", about, "", "knows the original form only: it can't be read or set by its points")
	case !s.Described:
		x.wrong("service", about, fmt.Sprintf(`udpsrv control %s '{"verb":"refresh"}'`, about), "has no description on the broker, so that nobody knows its points")
	default:
		x.fine("service", about, "%s", cmp.Or(string(s.Status), "described"))
	}
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// broker says why the broker of a host that answers can't be read.
func (x *exam) broker(ctx context.Context, h *host, err error) {
	e := entryOf(h, time.Time{})
	brokers, refused := e.reachable()
	if x.a.named != nil {
		brokers = []brokerURL{*x.a.named}
	}
	switch {
	case len(brokers) == 0 && refused != "":
		x.wrong("broker", h.Hostname, "udpsrv --broker "+refused+" get "+h.Hostname+"/SERVICE", "%v", err)
		return
	case len(brokers) == 0:
		x.wrong("broker", h.Hostname, "udpsrv enroll "+h.Hostname, "its broker listens on loopback only: let it obey this key, and it listens with TLS")
		return
	}
	for _, b := range brokers {
		at := net.JoinHostPort(b.Host, fmt.Sprint(b.Port))
		switch tcp := dials(ctx, at); {
		case errors.Is(tcp, syscall.ECONNREFUSED) && b.Port == portMQTTS:
			x.wrong("broker", h.Hostname, over(h.Hostname, "sudo systemctl restart udpmon"), "the host answers, but nobody listens at its broker's address %s", at)
		case errors.Is(tcp, syscall.ECONNREFUSED):
			x.wrong("broker", h.Hostname, over(h.Hostname, "sudo systemctl restart mosquitto udpmon"), "the host answers, but nobody listens at its broker's address %s: is its broker stopped?", at)
		case tcp != nil:
			x.wrong("broker", h.Hostname, over(h.Hostname, fmt.Sprintf("sudo nft insert rule inet filter input tcp dport %d accept", b.Port)),
				"the host answers, but its broker at %s does not: %v; its packet filter may drop TCP", at, tcp)
		default:
			x.wrong("broker", h.Hostname, over(h.Hostname, "journalctl -u udpmon -u mosquitto -n 20"), "broker at %s: %v", at, err)
		}
	}
}

// dialWait bounds how long a machine on the link has to take a connection: its address may have to be asked for again.
const dialWait = 2 * time.Second

// dials returns why a TCP connection can't be made.
func dials(ctx context.Context, at string) error {
	c, err := (&net.Dialer{Timeout: dialWait}).DialContext(ctx, "tcp", at)
	if err == nil {
		_ = c.Close() // nothing was written
	}
	return err
}

// named looks at the host that a person asks about.
func (x *exam) named(ctx context.Context, name string) {
	bare := reports.FirstLabel(name)
	var found []entry
	if x.rd != nil {
		if found = matching(entriesOf(x.rd), name); len(found) == 0 {
			found = matching(entriesOf(x.rd), bare)
		}
	}
	if len(found) > 1 {
		x.wrong("host", name, "udpsrv sweep", "%d hosts are meant by it: name one by its id or address", len(found))
	}
	if len(found) > 0 {
		x.hosts(ctx, slices.DeleteFunc(x.rd.sorted(), func(h *host) bool {
			return !slices.ContainsFunc(found, func(e entry) bool { return e.ID == h.ID && e.Hostname == h.Hostname && e.IPAddr == h.IPAddr })
		}))
		return
	}
	cached := matching(x.known.Hosts, name)
	if len(cached) == 0 {
		cached = matching(x.known.Hosts, bare)
	}
	if x.rd != nil && slices.ContainsFunc(x.rd.distrusted, func(err error) bool { return strings.Contains(err.Error(), bare) }) {
		return // that is why
	}
	x.silent(ctx, name, cached)
}

// silent finds out why a host did not answer the sweep; cached is what is known of it.
func (x *exam) silent(ctx context.Context, name string, cached []entry) {
	for _, e := range cached {
		x.add(isNote, "host", name, "", "last heard %s, at %s (id %s)", e.Seen.Local().Format("2006-01-02 15:04"), cmp.Or(e.Probe, e.IPAddr), e.ID)
	}
	targets := x.whereabouts(ctx, name, cached)
	if len(targets) == 0 {
		x.wrong("host", name, "udpsrv sweep", "nobody of this name answered, it was not heard before, and the name can't be looked up: see which hosts there are, or name it by its address")
		return
	}
	for _, at := range targets {
		x.search(ctx, name, at, cached)
	}
}

// whereabouts returns where the host may be: at its last addresses, at the address that it is named by, and where names say.
func (x *exam) whereabouts(ctx context.Context, name string, cached []entry) (out []netip.AddrPort) {
	add := func(a netip.Addr, port uint16) {
		if at := netip.AddrPortFrom(a.Unmap(), port); a.IsValid() && !slices.Contains(out, at) {
			out = append(out, at)
		}
	}
	for _, e := range cached {
		if at, err := netip.ParseAddrPort(e.Probe); err == nil {
			add(at.Addr(), at.Port())
		}
	}
	port := uint16(x.port)
	if a, err := netip.ParseAddr(name); err == nil {
		add(a, port)
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	for _, n := range []string{name, reports.FirstLabel(name) + ".local"} {
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", n)
		if err == nil && (n == name || len(out) == 0) {
			for _, a := range ips {
				if !a.Unmap().IsLoopback() { // as Debian's /etc/hosts has this machine's own name
					add(a, port)
				}
			}
		}
	}
	return out
}

// search asks for the host at one address, and looks at what is there.
func (x *exam) search(ctx context.Context, name string, at netip.AddrPort, cached []entry) {
	if _, linked := x.linkTo(at.Addr()); !linked && len(x.to) == 0 {
		x.beyond(ctx, name, at)
		return
	}
	one := x.asking
	one.to, one.want, one.subnets, one.wait = []string{at.String()}, "", nil, min(x.wait, searchWait)
	var expect []discover.Known
	for _, e := range cached {
		expect = append(expect, expected(e.ID, at.String())...)
	}
	rd, err := one.ask(ctx, x.a, nil, expect, nil)
	if err != nil {
		x.wrong("send", name, x.sendFix(err, "", at.Addr().String()), "%v", err)
		return
	}
	all := x.rd
	x.rd = rd
	x.distrusted()
	for _, h := range rd.sorted() {
		if _, addr := netip.ParseAddr(name); addr != nil && h.Hostname != reports.FirstLabel(name) && !slices.ContainsFunc(cached, func(e entry) bool { return e.ID == h.ID }) {
			x.wrong("host", name, "udpsrv doctor "+h.Hostname, "its address %s is that of %s now: it is off, or has another address", at.Addr(), h.Hostname)
			continue
		}
		if len(x.to) == 0 {
			x.deaf(name, at, all)
		}
		x.hosts(ctx, []*host{h})
	}
	x.rd = all
	if len(rd.hosts)+len(rd.distrusted) == 0 {
		x.probe(ctx, name, at, cached)
	}
}

// searchWait bounds how long a single host is asked: the rounds in which it may say that its clock is another take a second.
const searchWait = 2 * time.Second

// deaf tells of a host that answers when it is asked alone, but not when everybody is.
func (x *exam) deaf(name string, at netip.AddrPort, all *round) {
	fix := "udpsrv sweep --to " + at.Addr().String()
	switch {
	case x.shut:
		return // the packet filter, which was told of
	case x.fw == nil && (all == nil || len(all.hosts) == 0):
		x.wrong("firewall", name, x.asRoot(), "it answers at %s when it is asked alone, and nobody answers a broadcast: this machine's packet filter may drop answers from port %d", at.Addr(), x.port)
	default:
		x.wrong("host", name, fix, "it answers at %s when it is asked alone, but no broadcast: its network mask may be wrong, its switch or access point may keep broadcasts back; this asks it alone", at.Addr())
	}
}

// beyond looks for a host that is in another network.
func (x *exam) beyond(ctx context.Context, name string, at netip.AddrPort) {
	if !at.Addr().Is4() {
		x.wrong("host", name, "ip -6 route get "+at.Addr().String(), "its address %s is in another network, and only IPv4 networks can be asked through a relay", at.Addr())
		return
	}
	net24 := netip.PrefixFrom(at.Addr(), 24).Masked()
	one := x.asking
	one.to, one.interfaces, one.want, one.subnets = nil, nil, "", []string{net24.String()}
	rd, err := one.ask(ctx, x.a, nil, nil, nil)
	if err == nil {
		if found := matching(entriesOf(rd), reports.FirstLabel(name)); len(found) > 0 {
			x.add(isNote, "host", name, "udpsrv sweep --subnet "+net24.String(), "is in another network, at %s: broadcasts do not pass the router, but a host there relays", at.Addr())
			return
		}
		err = fmt.Errorf("none of the hosts that were heard through a relay is it")
	}
	x.wrong("host", name, "udpsrv sweep --subnet "+net24.String(), "its address %s is in another network: broadcasts do not pass routers, and no host there answered for it (%v)", at.Addr(), err)
	if tcp := dials(ctx, netip.AddrPortFrom(at.Addr(), portMQTTS).String()); tcp != nil && !errors.Is(tcp, syscall.ECONNREFUSED) {
		x.wrong("host", name, "ip route get "+at.Addr().String(), "no connection to %s: %v", at.Addr(), tcp)
	}
}
