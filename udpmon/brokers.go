package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
)

// brokerAt is where the host's broker is.
type brokerAt struct {
	url      string         // for this machine's programs
	replyTo  string         // the same as a request in the original form names it
	others   []string       // what other machines are told; nil: every address of this machine, with the port of listen
	listen   netip.AddrPort // of an embedded broker that is open on all addresses
	loopback bool           // it is of use on this machine only
	open     bool           // an embedded broker that other machines can reach
}

// externalBroker returns where the broker of the configuration is.
func externalBroker(raw string) (brokerAt, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return brokerAt{}, fmt.Errorf("broker.url: %w", err)
	}
	a := brokerAt{url: raw, replyTo: u.Host, others: []string{raw}}
	if u.Scheme == "ssl" || u.Scheme == "mqtts" {
		a.replyTo = "mqtts://" + u.Host
	}
	addr, err := netip.ParseAddr(u.Hostname())
	a.loopback = u.Hostname() == "localhost" || (err == nil && addr.Unmap().IsLoopback())
	return a, nil
}

// embeddedBroker returns where a broker that listens there is.
func embeddedBroker(at netip.AddrPort) brokerAt {
	a := brokerAt{listen: at}
	if at.Addr().IsUnspecified() {
		at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port())
		a.open = true
	} else {
		a.loopback = at.Addr().IsLoopback()
		a.open = !a.loopback
		a.others = []string{"tcp://" + at.String()}
	}
	a.url, a.replyTo = "tcp://"+at.String(), at.String()
	return a
}

// told returns the URLs by which other machines reach the broker, at a time when this machine has these addresses.
func (a brokerAt) told(addrs []netip.Addr) []string {
	if a.others != nil {
		return a.others
	}
	var out []string
	for _, addr := range addrs {
		if a.listen.Addr().Is6() || addr.Is4() {
			out = append(out, "tcp://"+net.JoinHostPort(addr.String(), fmt.Sprint(a.listen.Port())))
		}
	}
	return out
}
