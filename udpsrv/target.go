package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"rollcall/internal/discover"
	"rollcall/reports"
)

// target is HOST/SERVICE/PATH taken apart.
type target struct {
	host    string // hostname, address, or the beginning of an id
	service string
	path    string // point or branch, "" where none is named
}

// String returns host/service.
func (t target) String() string { return t.host + "/" + t.service }

// parseTarget reads HOST/SERVICE or HOST/SERVICE/PATH; words are paths that are allowed beside those of points.
func parseTarget(s string, words ...string) (target, error) {
	parts := strings.SplitN(strings.Trim(s, "/"), "/", 3)
	if len(parts) < 2 {
		return target{}, usagef("%q is not HOST/SERVICE", s)
	}
	t := target{host: parts[0], service: parts[1]}
	if _, err := netip.ParseAddr(t.host); err != nil && reports.ValidName(t.host) != nil {
		return t, usagef("%q is no name of a host, no id and no address", t.host)
	}
	if err := reports.ValidName(t.service); err != nil {
		return t, usagef("service: %v", err)
	}
	if len(parts) < 3 {
		return t, nil
	}
	t.path = parts[2]
	for _, w := range words {
		if t.path == w {
			return t, nil
		}
	}
	if err := reports.ValidPath(t.path); err != nil {
		return t, usagef("%v", err)
	}
	return t, nil
}

// verifyWait bounds how long it may take to see that a broker is the host's.
const verifyWait = time.Second

// reach finds the broker of the target's host and calls f with a link to it: the broker that --broker names, or the one that
// the cache knows if it still is the host's, or the one that a sweep finds.
func (a *app) reach(ctx context.Context, t target, q *asking, f func(context.Context, *link) error) error {
	if err := q.check(); err != nil {
		return err
	}
	known := a.openCache()
	cached := matching(known.Hosts, t.host)
	if a.named != nil {
		e := entry{Hostname: t.host}
		if len(cached) > 0 {
			e = cached[0] // for its hostname
		}
		if reports.ValidName(e.Hostname) != nil {
			return fmt.Errorf("host %q is not in the cache; with --broker name the host by its hostname", t.host)
		}
		b, err := a.pinNamed(*a.named)
		if err != nil {
			return err
		}
		_, err = a.try(ctx, known, e, t, b, f, false)
		return err
	}
	if len(cached) == 1 && cached[0].lacks(t.service) == nil {
		brokers, _ := cached[0].reachable()
		for _, b := range brokers {
			if done, err := a.try(ctx, known, cached[0], t, b, f, true); done || ctx.Err() != nil {
				return err
			}
		}
	}
	e, err := q.find(ctx, a, known, t.host, cached)
	if err != nil {
		return err
	}
	if err := e.lacks(t.service); err != nil {
		return err
	}
	brokers, err := e.usable()
	for _, b := range brokers {
		var done bool
		if done, err = a.try(ctx, known, e, t, b, f, false); done {
			return err
		}
	}
	return err
}

// lacks returns an error if the host told of its services, and the one of this name is not among them.
func (e entry) lacks(service string) error {
	var names []string
	if service == "" {
		return nil
	}
	for _, s := range e.Services {
		if s.Name == service {
			return nil
		}
		names = append(names, s.Name)
	}
	if len(names) == 0 || len(names) >= maxServices { // it told of none, or of more than are kept
		return nil
	}
	return fmt.Errorf("%s has no service %q; it has %s", e.Hostname, service, listed(names))
}

// errNotTheHosts says that a broker does not know the host.
var errNotTheHosts = errors.New("broker does not know the host")

// try connects to a broker and calls f; done is true once f was called. With must, a broker that has no retained word of the
// host is refused: addresses move.
func (a *app) try(ctx context.Context, known *cache, e entry, t target, b brokerURL, f func(context.Context, *link) error, must bool) (done bool, err error) {
	if _, notAddr := netip.ParseAddr(b.Host); b.pinned == nil && (a.named == nil || notAddr == nil) { // a name may be any broker's
		if b, err = a.pin(b, e); err != nil {
			return errors.Is(err, errUntrusted), err
		}
	}
	t.host = e.Hostname
	within := connectWait
	if must {
		within = verifyWait
	}
	err = withBroker(ctx, a, b, within, func(ctx context.Context, l *link) error {
		l.target = t
		if !l.look(ctx) && must {
			return errNotTheHosts
		}
		if services := l.described(); len(services) > 0 && e.ID != "" {
			known.describe(e.ID, e.Hostname, services)
			a.save(known)
		}
		done = true
		return f(ctx, l)
	})
	if err != nil && !done {
		a.log().Debug("broker is not usable", "host", e.Hostname, "broker", b.String(), "err", err)
	}
	return done, err
}

// reachable returns the brokers of the host that are on the host itself, without any credentials: what the network says of a
// broker is no reason to give it one. Whoever answers can name anybody, so that no other is connected to, and no name is
// looked up; the first such one is refused, "" for none.
func (e entry) reachable() (out []brokerURL, refused string) {
	ip, err := netip.ParseAddr(e.IPAddr)
	known, own := err == nil, err == nil && ownAddr(ip)
	for _, s := range e.Brokers {
		b, err := parseBroker(s)
		if err != nil {
			continue
		}
		b = b.stranger()
		local := b.Host == "localhost"
		if local && own {
			b.Host = "127.0.0.1"
		}
		at, err := netip.ParseAddr(b.Host)
		if known && err == nil && at.IsUnspecified() {
			at, b.Host = ip, e.IPAddr
		}
		literal := known && err == nil
		switch {
		case literal && (at.Unmap() == ip.Unmap() || own && ownAddr(at)):
			out = append(out, b)
		case local || err == nil && at.Unmap().IsLoopback():
			// That is this machine's own, not the host's.
		case refused == "":
			refused = b.String()
		}
	}
	if own { // a program of the host itself needs no key there
		slices.SortStableFunc(out, func(a, b brokerURL) int { return cmp.Compare(tlsRank(a), tlsRank(b)) })
	}
	return out, refused
}

// tlsRank puts brokers without TLS first.
func tlsRank(b brokerURL) int {
	if b.TLS {
		return 1
	}
	return 0
}

// usable returns what reachable does, or an error that says why there is nothing.
func (e entry) usable() ([]brokerURL, error) {
	brokers, refused := e.reachable()
	switch {
	case len(brokers) > 0:
		return brokers, nil
	case refused != "":
		return nil, fmt.Errorf("broker %s of %s is not on the host itself: if you trust it, name it with --broker %[1]s", refused, e.Hostname)
	case e.LoopbackOnly || len(e.Brokers) > 0:
		return nil, fmt.Errorf("broker of %s listens on loopback only; set `broker: {listen: 0.0.0.0:1883}` in its rollcall.yaml", e.Hostname)
	}
	return nil, fmt.Errorf("%s names no broker", e.Hostname)
}

// probeWait bounds how long a known host has to answer at its last address.
const probeWait = 500 * time.Millisecond

// find asks the network for the host and returns it. A host that is known is asked at its last address first.
func (q *asking) find(ctx context.Context, a *app, known *cache, name string, cached []entry) (entry, error) {
	if len(cached) == 1 && cached[0].Probe != "" && len(q.to) == 0 {
		probe := *q
		probe.to, probe.wait = []string{cached[0].Probe}, min(q.wait, probeWait)
		rd, err := probe.ask(ctx, a, nil, expected(cached[0].ID, cached[0].Probe), nil)
		if found := matching(entriesOf(rd), name); err == nil && len(found) == 1 {
			known.learn(rd, "")
			a.save(known)
			return found[0], nil
		}
	}
	var expect []discover.Known
	for _, e := range cached {
		expect = append(expect, expected(e.ID, e.Probe)...)
	}
	rd, err := q.ask(ctx, a, nil, expect, nil)
	if err != nil {
		return entry{}, err
	}
	if ctx.Err() != nil {
		return entry{}, errInterrupted
	}
	if err := errors.Join(rd.distrusted...); err != nil {
		return entry{}, err
	}
	a.crowds(rd)
	known.learn(rd, "")
	a.save(known)
	switch found := matching(entriesOf(rd), name); len(found) {
	case 0:
		return entry{}, fmt.Errorf("no host %q answered (%s)", name, rd.took())
	case 1:
		return found[0], nil
	default:
		var list []string
		for _, e := range found {
			list = append(list, fmt.Sprintf("%s (%s) at %s", e.ID, e.Hostname, e.IPAddr))
		}
		return entry{}, fmt.Errorf("%d hosts are meant by %q: %s; name one by its id or address", len(found), name, listed(list))
	}
}

// entriesOf returns the hosts that a sweep found.
func entriesOf(rd *round) []entry {
	var c cache
	for _, h := range rd.sorted() {
		c.put(h, time.Time{})
	}
	return c.Hosts
}
