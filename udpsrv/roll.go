package main

import (
	"cmp"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"rollcall/internal/discover"
	"rollcall/internal/trust"
	"rollcall/reports"
)

// Bounds of what one sweep keeps, whatever the network says.
const (
	maxHosts     = 10_000
	maxAtAddress = 256 // hosts that answer from one address
	maxServices  = 256 // of one host
	maxPoints    = 1 << 20
	maxFunction  = 64 // bytes; the longest of ours has 10
)

// Ways a host answers, as they stand in reports.Found.Via.
const (
	viaUDP  = "udp"
	viaMQTT = "mqtt"
)

// host is one host as a sweep knows it.
type host struct {
	reports.Found
	addrs        []netip.Addr      // all that it may be known by
	from         netip.AddrPort    // where its UDP answer came from
	prefix       int               // length, of the network that it answered in; 0: not known
	open         bool              // it answers anyone
	loopbackOnly bool              // its broker can't be reached from other machines
	own          bool              // it is this very machine
	key          ed25519.PublicKey // nil: it is open
	stranger     bool              // its key is not in known_hosts
	boot         string            // boot id; "": not known
	started      time.Time         // when its monitor did; zero: not known

	mac, model, os, arch, version string // as it says itself; "" where it is not known
}

// roll is all hosts of a sweep, merged over the ways by which they answer. It belongs to one goroutine.
type roll struct {
	hosts      []*host
	byName     map[string][]*host
	ids        map[string]bool
	at         map[netip.Addr]int // answers by UDP from each address
	trust      *identity          // nil: without keys
	distrusted []error            // hosts that are not who they were
	refused    int                // answers with names that can't be, or beyond the bounds
}

func newRoll() *roll {
	return &roll{byName: map[string][]*host{}, ids: map[string]bool{}, at: map[netip.Addr]int{}}
}

// answer takes an answer by UDP in. It returns the host and which of its services were not known before, or nil if the answer
// was refused. fresh is true for a host that no row told of yet.
func (r *roll) answer(a discover.Answer) (h *host, news []reports.FoundService, fresh bool) {
	d := a.Host
	id := hex.EncodeToString(d.ID[:])
	ip := a.From.Addr().Unmap()
	if reports.ValidName(d.Hostname) != nil || r.ids[id+" "+a.From.String()] {
		r.refused++
		return nil, nil, false
	}
	stranger := false
	if r.trust != nil {
		err := r.trust.check(d)
		if stranger = errors.Is(err, trust.ErrUnknownHost); err != nil && !stranger {
			r.distrusted = append(r.distrusted, err)
			return nil, nil, false
		}
	}
	if r.at[ip] >= maxAtAddress {
		r.at[ip]++
		return nil, nil, false
	}
	addrs := []netip.Addr{ip}
	for _, other := range d.Addrs {
		addrs = append(addrs, other.Unmap())
	}
	h = r.find(d.Hostname, func(h *host) bool {
		return h.ID == "" && slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.String() == h.IPAddr })
	})
	if fresh = h == nil; fresh {
		h = r.add(d.Hostname)
	}
	if h == nil {
		return nil, nil, false
	}
	r.ids[id+" "+a.From.String()] = true
	r.at[ip]++
	h.ID, h.IPAddr, h.addrs, h.from, h.prefix = id, ip.String(), addrs, a.From, a.Bits
	h.Via = append([]string{viaUDP}, h.Via...)
	h.Brokers, h.open, h.own = d.Brokers, d.Open, ownAddr(ip)
	h.key, h.stranger, h.boot, h.started = d.Key, stranger, d.BootID, d.Started
	h.mac, h.model, h.os, h.arch, h.version = d.MAC.String(), d.Model, d.OS, d.Arch, d.Version
	h.loopbackOnly = d.LoopbackOnly && !h.own
	if legalAddr(d.ExtAddr) && d.ExtAddr != "" {
		h.ExtAddr = d.ExtAddr
	}
	return h, r.sealedServices(h, d.Services), fresh
}

// sealedServices adds the services of an answer by UDP, which know more than the original form says.
func (r *roll) sealedServices(h *host, services []discover.Service) (news []reports.FoundService) {
	for _, s := range services {
		if reports.ValidName(s.Name) != nil || !legalText(s.Function, maxFunction) || s.Points < 0 || s.Points > maxPoints {
			r.refused++
			continue
		}
		on := reports.Service{Name: s.Name, Function: s.Function}.On(h.Hostname)
		f := reports.FoundService{Name: s.Name, Function: s.Function, Inputs: on.Inputs, Outputs: on.Outputs, Control: on.Control, Points: s.Points, Simulated: s.Simulated}
		if s.Status == reports.Online || s.Status == reports.Offline {
			f.Status = s.Status
		}
		if i := serviceIndex(h, s.Name); i >= 0 {
			h.Services[i] = f
			continue
		}
		if r.addService(h, f) {
			news = append(news, f)
		}
	}
	return news
}

// report takes an answer in the original form in; it returns what answer does.
func (r *roll) report(rep reports.Report) (h *host, news []reports.FoundService, fresh bool) {
	f := reports.FoundFrom(rep)
	rep.Hostname = reports.FirstLabel(rep.Hostname)
	legal := reports.ValidName(rep.Hostname) == nil && legalAddr(rep.IPAddr) && legalAddr(rep.ExtAddr) &&
		reports.ValidName(f.Name) == nil && legalText(f.Function, maxFunction)
	for _, topic := range []string{f.Inputs, f.Outputs, f.Control} {
		legal = legal && legalText(topic, reports.MaxTopic)
	}
	if !legal {
		r.refused++
		return nil, nil, false
	}
	h = r.find(rep.Hostname, func(h *host) bool {
		return h.IPAddr == rep.IPAddr || rep.IPAddr == "" ||
			slices.ContainsFunc(h.addrs, func(a netip.Addr) bool { return a.String() == rep.IPAddr })
	})
	if fresh = h == nil; fresh {
		if h = r.add(rep.Hostname); h == nil {
			return nil, nil, false
		}
		h.IPAddr = rep.IPAddr
	}
	if !slices.Contains(h.Via, viaMQTT) {
		h.Via = append(h.Via, viaMQTT)
	}
	h.ExtAddr = cmp.Or(h.ExtAddr, rep.ExtAddr)
	if serviceIndex(h, f.Name) >= 0 || !r.addService(h, f) {
		return h, nil, fresh
	}
	return h, []reports.FoundService{f}, fresh
}

// find returns the first host of that name for which is returns true, or nil.
func (r *roll) find(name string, is func(*host) bool) *host {
	if i := slices.IndexFunc(r.byName[name], is); i >= 0 {
		return r.byName[name][i]
	}
	return nil
}

// add makes a new host, or returns nil when there are too many.
func (r *roll) add(name string) *host {
	if len(r.hosts) >= maxHosts {
		r.refused++
		return nil
	}
	h := &host{Found: reports.Found{Hostname: name, Via: []string{}, Services: []reports.FoundService{}}}
	r.hosts = append(r.hosts, h)
	r.byName[name] = append(r.byName[name], h)
	return h
}

func (r *roll) addService(h *host, f reports.FoundService) bool {
	if len(h.Services) >= maxServices {
		r.refused++
		return false
	}
	h.Services = append(h.Services, f)
	return true
}

func serviceIndex(h *host, name string) int {
	return slices.IndexFunc(h.Services, func(f reports.FoundService) bool { return f.Name == name })
}

// sorted returns the hosts by name, id and address, each with its services by name: the same hosts give the same bytes.
func (r *roll) sorted() []*host {
	out := slices.Clone(r.hosts)
	slices.SortFunc(out, func(a, b *host) int {
		return cmp.Or(strings.Compare(a.Hostname, b.Hostname), strings.Compare(a.ID, b.ID), strings.Compare(a.IPAddr, b.IPAddr))
	})
	for _, h := range out {
		slices.SortFunc(h.Services, func(a, b reports.FoundService) int { return strings.Compare(a.Name, b.Name) })
	}
	return out
}

// services returns how many services there are on all hosts.
func (r *roll) services() int {
	n := 0
	for _, h := range r.hosts {
		n += len(h.Services)
	}
	return n
}

// twins returns the names that more than one host has, sorted.
func (r *roll) twins() (names []string) {
	for name, hosts := range r.byName {
		if len(hosts) > 1 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// crowds returns the addresses from which more hosts answered than are believed, sorted.
func (r *roll) crowds() (addrs []netip.Addr) {
	for ip, n := range r.at {
		if n > maxAtAddress {
			addrs = append(addrs, ip)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs
}

// legalAddr reports whether s is an IP address or nothing.
func legalAddr(s string) bool {
	_, err := netip.ParseAddr(s)
	return s == "" || err == nil
}

// legalText reports whether s is text of at most most bytes. It may have control characters: it is cleaned when printed.
func legalText(s string, most int) bool { return len(s) <= most && utf8.ValidString(s) }
